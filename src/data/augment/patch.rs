//! Rectangles of an image: what is erased, and what is taken from another.

use crate::error::{Error, Result};
use crate::kernel::affine::ImageShape;
use crate::rng::Rng;
use std::ops::Range;

/// Rows and columns of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

impl Patch {
    /// The rectangle that begins `before` before the centre and is so long, as far as it lies in the image.
    fn around(shape: ImageShape, center: [usize; 2], before: [usize; 2], size: [usize; 2]) -> Self {
        let part = |center: usize, before: usize, size: usize, most: usize| {
            center.saturating_sub(before)..center.saturating_add(size).saturating_sub(before).min(most)
        };
        Self {
            rows: part(center[0], before[0], size[0], shape.height()),
            columns: part(center[1], before[1], size[1], shape.width()),
        }
    }

    /// A square of `size` pixels about any pixel.
    pub fn square(shape: ImageShape, size: usize, rng: &mut Rng) -> Self {
        Self::around(shape, center(shape, rng), [size / 2; 2], [size; 2])
    }

    /// CutMix's rectangle of a share `1 - lambda` of the image, about any pixel.
    pub fn cut(shape: ImageShape, lambda: f64, rng: &mut Rng) -> Self {
        let half = 0.5 * (1.0 - lambda).sqrt();
        let half = [shape.height(), shape.width()].map(|size| (half * size as f64) as usize);
        Self::around(shape, center(shape, rng), half, half.map(|half| 2 * half))
    }

    /// The share of the image.
    pub fn share(&self, shape: ImageShape) -> f64 {
        let pixels = self.rows.len() as f64 * self.columns.len() as f64;
        pixels / (shape.height() as f64 * shape.width() as f64)
    }

    /// The values of the image that are the rectangle's, as far as they lie together.
    pub fn ranges(&self, shape: ImageShape) -> impl Iterator<Item = Range<usize>> {
        let (planes, step) = shape.planes();
        let (height, width) = (shape.height(), shape.width());
        let Self { rows, columns } = self.clone();
        let rows = (0..planes).flat_map(move |plane| rows.clone().map(move |row| plane * height + row));
        rows.map(move |row| (row * width + columns.start) * step..(row * width + columns.end) * step)
    }
}

/// Any pixel: row and column.
fn center(shape: ImageShape, rng: &mut Rng) -> [usize; 2] {
    [shape.height(), shape.width()].map(|size| rng.below(size as u64) as usize)
}

/// Options of [`Augment::random_erasing`](super::Augment::random_erasing), with torchvision's defaults.
///
/// ```
/// use gemmule::data::RandomErasing;
/// let options = RandomErasing { p: 0.25, ..RandomErasing::default() };
/// assert_eq!((options.scale, options.ratio, options.value), ((0.02, 0.33), (0.3, 3.3), 0.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomErasing {
    /// The probability that a sample is changed.
    pub p: f64,
    /// The least and the largest share of the image, above 0 and at most 1.
    pub scale: (f64, f64),
    /// The least and the largest height in widths, above 0.
    pub ratio: (f64, f64),
    /// What stands in the rectangle.
    pub value: f64,
}

impl Default for RandomErasing {
    fn default() -> Self {
        Self { p: 0.5, scale: (0.02, 0.33), ratio: (0.3, 3.3), value: 0.0 }
    }
}

impl RandomErasing {
    /// # Errors
    /// [`Error::Argument`] names the option that is out of its range.
    pub(super) fn check(&self) -> Result<()> {
        let operation = "Augment::random_erasing";
        super::amount::probability(operation, self.p)?;
        let (least, most) = self.scale;
        if !(0.0 < least && least <= most && most <= 1.0) {
            let got = format!("{least}..={most}");
            return Err(Error::argument(operation, "scale", "a range above 0, at most 1", got));
        }
        let (least, most) = self.ratio;
        if !(0.0 < least && least <= most && most.is_finite()) {
            return Err(Error::argument(operation, "ratio", "a range above 0", format!("{least}..={most}")));
        }
        if !self.value.is_finite() {
            return Err(Error::argument(operation, "value", "a finite number", self.value));
        }
        Ok(())
    }

    /// The rectangle of a sample, if it has one. Zhong, Zheng, Kang, Li, Yang: "Random erasing data augmentation" (2017); ten
    /// attempts as in torchvision, each of a share and of a ratio whose logarithm is uniform.
    pub(super) fn draw(&self, shape: ImageShape, rng: &mut Rng) -> Option<Patch> {
        if rng.uniform_f64() >= self.p {
            return None;
        }
        let (height, width) = (shape.height(), shape.width());
        let pixels = height as f64 * width as f64;
        let (low, high) = (libm::log(self.ratio.0), libm::log(self.ratio.1));
        for _ in 0..10 {
            let area = pixels * (self.scale.0 + (self.scale.1 - self.scale.0) * rng.uniform_f64());
            let ratio = libm::exp(low + (high - low) * rng.uniform_f64());
            let size = [area * ratio, area / ratio].map(|square| square.sqrt().round_ties_even() as usize);
            if size[0] < height && size[1] < width {
                let start =
                    [height - size[0], width - size[1]].map(|most| rng.below(most as u64 + 1) as usize);
                return Some(Patch::around(shape, start, [0, 0], size));
            }
        }
        None
    }
}
