//! How positions x channels are cut into rows that fill vectors.

/// Positions x channels, channels last. Where channels are few, several positions are taken as one wide row, so that
/// vectors are full and there are chains enough to hide the latency of an addition:
///
/// ```text
/// 3 channels     r g b r g b r g b r g b r g b r | g b r ...      32 positions: 96 numbers, 6 vectors of 16
/// wide row 0     0                                       95
/// wide row 1     96 ...
/// rest           positions that are left, less than a wide row
/// ```
///
/// What goes with a channel (its mean, its factor) stands in a wide row of its own, once for each position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plane {
    pub positions: usize,
    pub channels: usize,
    /// Positions of a wide row.
    pub group: usize,
}

/// Vectors that a wide row has at least.
const VECTORS: usize = 4;

impl Plane {
    /// Of elements of `element` bytes. The cut depends on the shape alone.
    pub(crate) fn new(positions: usize, channels: usize, element: usize) -> Self {
        let lanes = 64 / element;
        let mut group = 1;
        if channels < VECTORS * lanes {
            // Whole vectors, as few as are enough.
            let whole = (lanes >> channels.trailing_zeros()).max(1);
            group = whole * (VECTORS * lanes).div_ceil(whole * channels);
        }
        Self { positions, channels, group: if group <= positions { group } else { 1 } }
    }

    /// As many positions as `len` elements have, cut in the same way.
    pub(crate) fn of(self, len: usize) -> Self {
        Self { positions: len / self.channels, ..self }
    }

    /// Elements of a wide row.
    pub(crate) fn width(self) -> usize {
        self.group * self.channels
    }

    /// Whole wide rows.
    pub(crate) fn rows(self) -> usize {
        self.positions / self.group
    }

    /// Positions after them.
    pub(crate) fn rest(self) -> usize {
        self.positions % self.group
    }

    pub(crate) fn len(self) -> usize {
        self.positions * self.channels
    }
}

/// Repeats the first `channels` elements of a wide row.
pub(crate) fn repeat<T: Copy>(wide: &mut [T], channels: usize) {
    let mut done = channels;
    while done < wide.len() {
        let count = done.min(wide.len() - done);
        wide.copy_within(..count, done);
        done += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_rows_are_whole_vectors_where_channels_are_few() {
        for channels in 1..200 {
            let plane = Plane::new(10_000, channels, 4);
            if channels >= 64 {
                assert_eq!(plane.group, 1);
            } else {
                assert!(plane.width().is_multiple_of(16) && plane.width() >= 64 && plane.width() < 1024);
            }
            assert_eq!(plane.rows() * plane.width() + plane.rest() * channels, plane.len());
        }
        assert_eq!(Plane::new(10, 3, 4).group, 1);
        assert_eq!(Plane::new(1000, 3, 4).group, 32);
        assert_eq!(Plane::new(1000, 16, 4).group, 4);
        assert_eq!(Plane::new(1000, 16, 8).group, 2);
        let mut wide = [1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        repeat(&mut wide, 3);
        assert_eq!(wide, [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]);
    }
}
