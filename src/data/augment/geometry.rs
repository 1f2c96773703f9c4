//! Shifts, flips, rotations and scalings as one map from output to input.

use super::amount::Span;
use crate::context::Context;
use crate::kernel::Element;
use crate::kernel::affine::{ImageShape, Interpolation, PaddingMode, affine};
use crate::rng::Rng;

/// One move. `number` says which operation of the augmentation it is, and so what it draws from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub number: u64,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// To the right and down, in parts of the width and of the height.
    Shift(Span, Span),
    /// By up to so many whole pixels.
    ShiftPixels(u64, u64),
    /// Left and right changed, with this probability.
    FlipHorizontal(f64),
    FlipVertical(f64),
    /// By degrees, counter-clockwise.
    Rotation(Span),
    Scale(Span),
}

/// Moves that follow each other and share their rules: one interpolation.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub interpolation: Interpolation,
    pub padding: PaddingMode,
    pub moves: Vec<Move>,
}

/// `x -> A x + t` about the centre of the image, from output to input.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Map {
    a: [[f64; 2]; 2],
    t: [f64; 2],
}

const IDENTITY: Map = Map { a: [[1.0, 0.0], [0.0, 1.0]], t: [0.0, 0.0] };

impl Map {
    fn linear(a: [[f64; 2]; 2]) -> Self {
        Self { a, ..IDENTITY }
    }

    /// First `next`, then this: `next` is of a move that comes after, and maps its output to its input.
    fn after(self, next: Self) -> Self {
        let row = |r: [f64; 2], v: [f64; 2]| r[0] * v[0] + r[1] * v[1];
        let column = |j: usize| [next.a[0][j], next.a[1][j]];
        Self {
            a: self.a.map(|r| [row(r, column(0)), row(r, column(1))]),
            t: [row(self.a[0], next.t) + self.t[0], row(self.a[1], next.t) + self.t[1]],
        }
    }

    /// In pixels from the first one.
    fn of_pixels(self, shape: ImageShape) -> [f64; 6] {
        let center = [(shape.width() - 1) as f64 / 2.0, (shape.height() - 1) as f64 / 2.0];
        let offset = |i: usize| {
            let [a, b] = self.a[i];
            center[i] - a * center[0] - b * center[1] + self.t[i]
        };
        let [[a, b], [d, e]] = self.a;
        [a, b, offset(0), d, e, offset(1)]
    }
}

/// True if every output pixel is a whole input pixel.
fn moves_whole_pixels(map: [f64; 6]) -> bool {
    let [a, b, c, d, e, f] = map;
    [a, b, d, e].iter().all(|x| [0.0, 1.0, -1.0].contains(x)) && c.fract() == 0.0 && f.fract() == 0.0
}

/// Sine and cosine of an angle in degrees, exact for quarters of a turn.
fn sin_cos(degrees: f64) -> (f64, f64) {
    let quarters = degrees / 90.0;
    if quarters.fract() == 0.0 {
        let quarter = quarters - 4.0 * (quarters / 4.0).floor();
        return match quarter as i64 {
            0 => (0.0, 1.0),
            1 => (1.0, 0.0),
            2 => (0.0, -1.0),
            _ => (-1.0, 0.0),
        };
    }
    libm::sincos(degrees.to_radians())
}

impl Kind {
    /// From output to input.
    fn draw(self, shape: ImageShape, rng: &mut Rng) -> Map {
        match self {
            Self::Shift(x, y) => {
                let x = x.draw(rng) * shape.width() as f64;
                let y = y.draw(rng) * shape.height() as f64;
                Map { t: [-x, -y], ..IDENTITY }
            }
            Self::ShiftPixels(x, y) => {
                let mut pixels = |most: u64| rng.below(2 * most + 1) as f64 - most as f64;
                let (x, y) = (pixels(x), pixels(y));
                Map { t: [-x, -y], ..IDENTITY }
            }
            Self::FlipHorizontal(p) if rng.uniform_f64() < p => Map::linear([[-1.0, 0.0], [0.0, 1.0]]),
            Self::FlipVertical(p) if rng.uniform_f64() < p => Map::linear([[1.0, 0.0], [0.0, -1.0]]),
            Self::FlipHorizontal(_) | Self::FlipVertical(_) => IDENTITY,
            Self::Rotation(degrees) => {
                let (sin, cos) = sin_cos(degrees.draw(rng));
                Map::linear([[cos, -sin], [sin, cos]])
            }
            Self::Scale(factor) => {
                let inverse = 1.0 / factor.draw(rng);
                Map::linear([[inverse, 0.0], [0.0, inverse]])
            }
        }
    }
}

impl Pass {
    /// Moves `image` as `sample`, the sample's stream, says.
    pub fn apply<T: Element>(
        &self,
        context: &Context,
        shape: ImageShape,
        sample: &Rng,
        image: &mut [T],
        padded: &mut Vec<T>,
    ) {
        let draw = |one: &Move| one.kind.draw(shape, &mut sample.stream(one.number));
        let map = self.moves.iter().fold(IDENTITY, |map, one| map.after(draw(one)));
        if map == IDENTITY {
            return;
        }
        let map = map.of_pixels(shape);
        // The value of a pixel is itself, whatever its neighbours are.
        let interpolation = if moves_whole_pixels(map) { Interpolation::Nearest } else { self.interpolation };
        affine(context, shape, map, interpolation, self.padding, padded, image);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_of_a_turn_are_exact() {
        for (degrees, expected) in [
            (0.0, (0.0, 1.0)),
            (90.0, (1.0, 0.0)),
            (-90.0, (-1.0, 0.0)),
            (180.0, (0.0, -1.0)),
            (-270.0, (1.0, 0.0)),
            (720.0, (0.0, 1.0)),
            (1e300, (0.0, 1.0)),
        ] {
            assert_eq!(sin_cos(degrees), expected, "{degrees}");
        }
        let (sin, cos) = sin_cos(30.0);
        assert!((sin - 0.5).abs() < 1e-15 && (cos - 0.75_f64.sqrt()).abs() < 1e-15, "{sin} {cos}");
    }

    #[test]
    fn maps_follow_each_other() {
        let shift = Map { t: [3.0, 0.0], ..IDENTITY };
        let turn = Map::linear([[0.0, -1.0], [1.0, 0.0]]);
        // First the turn of (1, 0) to (0, 1), then the shift.
        assert_eq!(shift.after(turn).a, turn.a);
        assert_eq!(shift.after(turn).t, [3.0, 0.0]);
        // First the shift of 0 to (3, 0), then the turn.
        assert_eq!(turn.after(shift).t, [0.0, 3.0]);
        assert_eq!(IDENTITY.of_pixels(ImageShape::chw(1, 7, 4)), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        let flip = Map::linear([[-1.0, 0.0], [0.0, 1.0]]);
        assert_eq!(flip.of_pixels(ImageShape::chw(1, 7, 4)), [-1.0, 0.0, 3.0, 0.0, 1.0, 0.0]);
    }
}
