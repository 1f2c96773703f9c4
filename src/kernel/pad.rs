//! Channels-last samples with a border of one value, or without some of their rows and columns.

use super::element::Element;

/// What stands around a sample of rows x columns x channels: negative amounts are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Padding {
    channels: usize,
    rows: Side,
    columns: Side,
}

/// An axis: its length, and what is added before and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub len: usize,
    pub before: isize,
    pub after: isize,
}

impl Side {
    /// The length with what is added; `None` if nothing is left, or too much.
    pub(crate) fn output(self) -> Option<usize> {
        let len = isize::try_from(self.len).ok()?.checked_add(self.before)?.checked_add(self.after)?;
        // All of the input may be cut away while the other side adds more.
        usize::try_from(len).ok().filter(|&len| len > 0)
    }

    /// Which of the input's elements are in the output, and where the first of them stands there: what is cut off behind may be more
    /// than the input, and then takes away some of what is added before it.
    fn inside(self) -> (usize, usize, usize) {
        let cut = self.before.min(0).unsigned_abs().min(self.len);
        let end = self.len.saturating_sub(self.after.min(0).unsigned_abs());
        let before = self.before.max(0).unsigned_abs().min(self.output().unwrap_or(0));
        (cut, end.saturating_sub(cut), before)
    }

    fn reversed(self) -> Self {
        Self { len: self.output().unwrap_or(0), before: -self.before, after: -self.after }
    }
}

impl Padding {
    /// `None` if nothing is left, or too much.
    pub(crate) fn new(channels: usize, rows: Side, columns: Side) -> Option<Self> {
        rows.output()?.checked_mul(columns.output()?)?.checked_mul(channels)?;
        Some(Self { channels, rows, columns })
    }

    /// What cuts off what this one adds, and adds what it cuts off.
    pub(crate) fn reversed(self) -> Self {
        Self { rows: self.rows.reversed(), columns: self.columns.reversed(), ..self }
    }

    /// Added at the top, at the bottom, at the left, at the right.
    pub(crate) fn amounts(self) -> [isize; 4] {
        [self.rows.before, self.rows.after, self.columns.before, self.columns.after]
    }

    /// Copies samples, with `value` around them.
    ///
    /// # Panics
    /// If the slices are not of whole samples, as many of both.
    pub(crate) fn pad<T: Element>(self, value: T, input: &[T], output: &mut [T]) {
        let lengths = (self.rows.output().unwrap_or(0), self.columns.output().unwrap_or(0));
        let (wide, row) = (self.columns.len * self.channels, lengths.1 * self.channels);
        let (inputs, outputs) = (self.rows.len * wide, lengths.0 * row);
        if inputs == 0 || outputs == 0 {
            output.fill(value);
            return;
        }
        assert!(input.len().is_multiple_of(inputs) && input.len() / inputs * outputs == output.len());
        let (first_row, rows, above) = self.rows.inside();
        let (first, count, left) = self.columns.inside();
        let (first, count, left) = (first * self.channels, count * self.channels, left * self.channels);
        for (input, output) in input.chunks_exact(inputs).zip(output.chunks_exact_mut(outputs)) {
            let (top, rest) = output.split_at_mut((above * row).min(outputs));
            let (middle, bottom) = rest.split_at_mut(rows * row);
            top.fill(value);
            bottom.fill(value);
            let input = input[first_row * wide..].chunks_exact(wide);
            for (x, y) in input.zip(middle.chunks_exact_mut(row)) {
                y[..left].fill(value);
                y[left..left + count].copy_from_slice(&x[first..first + count]);
                y[left + count..].fill(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn borders_and_cuts() {
        let mut rng = Rng::new(4);
        let mut cut_all = 0;
        for _ in 0..2000 {
            let side = |rng: &mut Rng| Side {
                len: 1 + rng.below(5) as usize,
                before: rng.below(9) as isize - 4,
                after: rng.below(9) as isize - 4,
            };
            let (rows, columns, channels) = (side(&mut rng), side(&mut rng), 1 + rng.below(3) as usize);
            let Some(padding) = Padding::new(channels, rows, columns) else { continue };
            let (height, width) = (rows.output().unwrap(), columns.output().unwrap());
            let (inputs, outputs) = (rows.len * columns.len * channels, height * width * channels);
            let x: Vec<f32> = (0..2 * inputs).map(|i| i as f32).collect();
            let mut y = vec![f32::NAN; 2 * outputs];
            padding.pad(-1.0, &x, &mut y);
            let mut back = vec![f32::NAN; 2 * inputs];
            padding.reversed().pad(-2.0, &y, &mut back);
            let place = |at: usize, len: usize, side: Side| {
                let from = at as isize - side.before;
                (from >= 0 && from < side.len as isize && at < len).then_some(from as usize)
            };
            let mut expected = vec![-2.0; 2 * inputs];
            for (at, &y) in y.iter().enumerate() {
                let (sample, rest) = (at / outputs, at % outputs);
                let (row, column) = (rest / (width * channels), rest / channels % width);
                let from = place(row, height, rows).zip(place(column, width, columns));
                let want = from.map(|(row, column)| {
                    ((sample * rows.len + row) * columns.len + column) * channels + rest % channels
                });
                assert_eq!(y, want.map_or(-1.0, |at| x[at]), "{padding:?}");
                if let Some(at) = want {
                    expected[at] = x[at];
                }
            }
            cut_all += usize::from(expected.iter().all(|&x| x == -2.0));
            assert_eq!(back, expected, "{padding:?}");
        }
        assert!(cut_all > 0);
        assert_eq!(Side { len: 3, before: -2, after: -1 }.output(), None);
        assert_eq!(Side { len: 3, before: isize::MAX, after: 1 }.output(), None);
    }
}
