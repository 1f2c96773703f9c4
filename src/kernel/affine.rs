//! Images moved by an affine map: any chain of shifts, flips, rotations and scalings is one interpolation.
//!
//! ```text
//!   output pixel (x, y)                         a map from output to input, so every output pixel is written once
//!     --> input coordinate (a x + b y + c, d x + e y + f)                       in f64, f32 images too
//!     --> held to the image: to [-1, size] or [0, size - 1], or reflected       so no pixel is tested for being inside
//!     --> 1 pixel, or 4 and their distances                                     read from a copy with a border
//! ```
//!
//! Nothing is fused, so all instruction sets give the same bits.

use super::compiled::compiled;
use super::element::Element;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::simd::{Kernel, Simd};

/// How the values of a sample are an image: its size, and whether a channel's pixels or a pixel's channels lie together.
///
/// ```
/// use gemmule::data::ImageShape;
/// let (mnist, cifar) = (ImageShape::chw(1, 28, 28), ImageShape::hwc(32, 32, 3));
/// assert_eq!((mnist.features(), cifar.features()), (784, 3072));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    channels: usize,
    height: usize,
    width: usize,
    channels_last: bool,
}

impl ImageShape {
    /// Channels, rows, columns: PyTorch's order. With one channel both orders are one.
    #[must_use]
    pub const fn chw(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width, channels_last: false }
    }

    /// Rows, columns, channels: the order of Keras and of most image files.
    #[must_use]
    pub const fn hwc(height: usize, width: usize, channels: usize) -> Self {
        Self { channels, height, width, channels_last: true }
    }

    /// Channels of a pixel.
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// Rows.
    pub const fn height(&self) -> usize {
        self.height
    }

    /// Pixels of a row.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// True if a pixel's channels lie together.
    pub const fn is_channels_last(&self) -> bool {
        self.channels_last
    }

    /// Values of an image: `channels * height * width`, the largest number if that is larger.
    pub const fn features(&self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }

    /// Arrays of pixels one after the other, and the values of a pixel in one of them.
    pub(crate) const fn planes(&self) -> (usize, usize) {
        if self.channels_last { (1, self.channels) } else { (self.channels, 1) }
    }

    /// # Errors
    /// [`Error::Argument`] if there is no pixel, [`Error::Overflow`] if there are too many.
    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        let sizes = [self.channels, self.height, self.width];
        if sizes.contains(&0) {
            let got = format!("{} channels of {} x {}", self.channels, self.height, self.width);
            return Err(Error::argument(operation, "shape", "at least one pixel of one channel", got));
        }
        // Places in the copy with a border are 32 bits wide.
        let most = sizes.iter().try_fold(1_usize, |most, &size| most.checked_mul(size.checked_add(BORDER)?));
        match most {
            Some(most) if i32::try_from(most).is_ok() => Ok(()),
            _ => Err(Error::overflow(operation, format!("an image of {self:?}"))),
        }
    }
}

/// What a pixel is between the pixels of the image that it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interpolation {
    /// The nearest one, the even one on ties.
    Nearest,
    /// Linear in both directions between the four around it.
    #[default]
    Bilinear,
}

/// What is outside the image.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum PaddingMode {
    /// This value.
    Constant(f64),
    /// The nearest pixel of the image.
    Edge,
    /// The image, mirrored at the centres of its outer pixels, again and again: NumPy's and torchvision's `reflect`.
    Reflect,
}

impl Default for PaddingMode {
    fn default() -> Self {
        Self::Constant(0.0)
    }
}

/// Pixels on both sides of the copy, together: one before, for coordinates from -1 on, and two after, for the neighbour of the
/// last coordinate, `size`.
const BORDER: usize = 3;

/// Pixels of a row that are computed at once.
const PIXELS: usize = 32;

const RAMP: [f64; PIXELS] = {
    let mut ramp = [0.0; PIXELS];
    let mut i = 0;
    while i < PIXELS {
        ramp[i] = i as f64;
        i += 1;
    }
    ramp
};

/// Where coordinates of one direction are held.
#[derive(Clone, Copy)]
struct Axis {
    low: f64,
    high: f64,
    /// Of the mirrored images; 0 without.
    period: f64,
}

impl Axis {
    fn new(size: usize, padding: PaddingMode) -> Self {
        let last = (size - 1) as f64;
        match padding {
            PaddingMode::Constant(_) => Self { low: -1.0, high: size as f64, period: 0.0 },
            PaddingMode::Edge => Self { low: 0.0, high: last, period: 0.0 },
            PaddingMode::Reflect => Self { low: 0.0, high: last, period: 2.0 * last },
        }
    }

    #[inline(always)]
    fn hold(self, coordinates: &mut [f64; PIXELS]) {
        if self.period > 0.0 {
            for at in coordinates.iter_mut() {
                let far = at.abs();
                let near = far - self.period * (far / self.period).floor();
                let back = self.period - near;
                *at = if near < back { near } else { back };
            }
        }
        for at in coordinates {
            // What is so far out that it became NaN too.
            let x = if *at > self.low { *at } else { self.low };
            *at = if x < self.high { x } else { self.high };
        }
    }
}

/// A whole number below 2^31: the bits below the point of a sum with 2^52. The conversion of the language is a test for each.
#[inline(always)]
fn whole(x: f64) -> u64 {
    const POINT: f64 = 4_503_599_627_370_496.0;
    (x + POINT).to_bits() ^ POINT.to_bits()
}

pub(crate) struct Affine<'a, T> {
    shape: ImageShape,
    map: [f64; 6],
    axes: [Axis; 2],
    interpolation: Interpolation,
    padded: &'a [T],
    out: &'a mut [T],
}

impl<T: Element> Kernel for Affine<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let ImageShape { channels, height, width, channels_last } = self.shape;
        let (_, step) = self.shape.planes();
        let down = (width + BORDER) * step;
        let (padded_plane, plane) =
            if channels_last { (1, 1) } else { ((height + BORDER) * down, height * width) };
        let [a, b, c, d, e, f] = self.map;
        let (mut xs, mut ys) = ([0.0; PIXELS], [0.0; PIXELS]);
        let mut places = [0_u64; PIXELS];
        let (mut right, mut below) = ([T::zero(); PIXELS], [T::zero(); PIXELS]);
        for y in 0..height {
            let (row_x, row_y) = (b * y as f64 + c, e * y as f64 + f);
            for first in (0..width).step_by(PIXELS) {
                for i in 0..PIXELS {
                    let x = first as f64 + RAMP[i];
                    xs[i] = a * x + row_x;
                    ys[i] = d * x + row_y;
                }
                self.axes[0].hold(&mut xs);
                self.axes[1].hold(&mut ys);
                let nearest = matches!(self.interpolation, Interpolation::Nearest);
                for i in 0..PIXELS {
                    let (x, y) = if nearest {
                        (xs[i].round_ties_even(), ys[i].round_ties_even())
                    } else {
                        (xs[i].floor(), ys[i].floor())
                    };
                    (right[i], below[i]) = (T::from_f64(xs[i] - x), T::from_f64(ys[i] - y));
                    places[i] = whole((y + 1.0) * down as f64 + (x + 1.0) * step as f64);
                }
                let count = PIXELS.min(width - first);
                for channel in 0..channels {
                    let padded = &self.padded[channel * padded_plane..];
                    // As far as all four reach: one test for all.
                    let most = padded.len() - (down + step);
                    let corner = |at: usize| &padded[at..at + most];
                    let (upper, upper_right) = (corner(0), corner(step));
                    let (lower, lower_right) = (corner(down), corner(down + step));
                    let start = channel * plane + (y * width + first) * step;
                    let out = self.out[start..=start + (count - 1) * step].iter_mut().step_by(step);
                    if nearest {
                        for (out, &place) in out.zip(&places) {
                            *out = upper[place as usize];
                        }
                        continue;
                    }
                    let pixels = places.iter().zip(&right).zip(&below);
                    for (out, ((&place, &right), &below)) in out.zip(pixels) {
                        let at = place as usize;
                        let above = upper[at] + right * (upper_right[at] - upper[at]);
                        let under = lower[at] + right * (lower_right[at] - lower[at]);
                        *out = above + below * (under - above);
                    }
                }
            }
        }
    }
}

/// Moves an image in place: output pixel (x, y) is what is at `(a x + b y + c, d x + e y + f)`, where `map` is
/// `[a, b, c, d, e, f]` and pixels are one apart, the first at (0, 0). Coordinates are computed in f64. The shape was checked.
///
/// `padded` is memory for a copy with a border; it grows once.
pub(crate) fn affine<T: Element>(
    context: &Context,
    shape: ImageShape,
    map: [f64; 6],
    interpolation: Interpolation,
    padding: PaddingMode,
    padded: &mut Vec<T>,
    image: &mut [T],
) {
    pad(shape, padding, image, padded);
    let axes = [Axis::new(shape.width, padding), Axis::new(shape.height, padding)];
    T::run(context, Affine { shape, map, axes, interpolation, padded, out: image });
}

/// Copies an image into a border of [`BORDER`] pixels: the value of [`PaddingMode::Constant`], else 0, which is only read to be
/// multiplied by 0.
fn pad<T: Element>(shape: ImageShape, padding: PaddingMode, image: &[T], padded: &mut Vec<T>) {
    let (planes, step) = shape.planes();
    let (row, padded_row) = (shape.width * step, (shape.width + BORDER) * step);
    let padded_plane = (shape.height + BORDER) * padded_row;
    padded.resize(planes * padded_plane, T::zero());
    let images = image.chunks_exact(shape.height * row).zip(padded.chunks_exact_mut(padded_plane));
    for (image, padded) in images {
        let fill = match padding {
            PaddingMode::Constant(value) => T::from_f64(value),
            PaddingMode::Edge | PaddingMode::Reflect => T::zero(),
        };
        let (top, rest) = padded.split_at_mut(padded_row);
        let (middle, bottom) = rest.split_at_mut(shape.height * padded_row);
        top.fill(fill);
        bottom.fill(fill);
        for (out, row) in middle.chunks_exact_mut(padded_row).zip(image.chunks_exact(row)) {
            out[..step].fill(fill);
            out[step..step + row.len()].copy_from_slice(row);
            out[step + row.len()..].fill(fill);
        }
    }
}

compiled! {
    Affine<'a, Self>,
}
