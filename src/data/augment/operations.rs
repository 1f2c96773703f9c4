//! The operations that can be added, one method each.

use super::amount::{Amount, Span, probability};
use super::geometry::{Kind, Move, Pass};
use super::mix::Mixing;
use super::patch::RandomErasing;
use super::{Augment, Rules, Stage};
use crate::engine::{BatchSource, TargetKind};
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::kernel::affine::{ImageShape, Interpolation, PaddingMode};
use std::marker::PhantomData;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

/// Samples whose classes are checked at once.
const CHECKED: usize = 1024;

impl<T: Element, S: BatchSource<T>> Augment<T, S> {
    /// The samples of `source` as they are; the methods below add what changes them. `seed` is what is drawn from.
    pub fn new(source: S, seed: u64) -> Self {
        Self {
            source,
            seed,
            epoch: AtomicU64::new(1),
            image: None,
            rules: Rules {
                interpolation: Interpolation::default(),
                padding: PaddingMode::default(),
                values: [0.0, 1.0],
            },
            added: 0,
            stages: Vec::new(),
            mixing: Mixing::default(),
            scratch: Mutex::new(Vec::new()),
            element: PhantomData,
        }
    }

    /// Says that samples are images. Needed by all operations but [`gaussian_noise`](Self::gaussian_noise) and
    /// [`mixup`](Self::mixup).
    ///
    /// # Errors
    /// [`Error::Data`] if samples have another number of values; [`Error::Argument`] if there is no pixel; [`Error::Overflow`];
    /// [`Error::State`] after an operation on images.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset, ImageShape};
    /// let data = Dataset::from_bytes(&[2, 4, 4, 3], vec![7; 96])?;
    /// let colours = Augment::<f32, _>::new(&data, 0).images(ImageShape::hwc(4, 4, 3))?.flip_horizontal(0.5)?;
    /// let error = Augment::<f32, _>::new(&data, 0).images(ImageShape::chw(1, 4, 4)).unwrap_err();
    /// assert!(error.to_string().contains("expected 16 values, channels * height * width, got 48"));
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn images(mut self, shape: ImageShape) -> Result<Self> {
        let operation = "Augment::images";
        shape.check(operation)?;
        let features = self.source.features();
        if features != shape.features() {
            let expected = format!("{} values, channels * height * width", shape.features());
            return Err(Error::data(operation, "sample", expected, features));
        }
        if self.image.is_some_and(|image| image != shape) {
            return Err(Error::State { operation, what: "the samples are images of another shape already" });
        }
        self.image = Some(shape);
        Ok(self)
    }

    /// How the moves that are added after it are interpolated: [`Interpolation::Bilinear`] before. Moves by whole pixels are exact
    /// in any way.
    #[must_use]
    pub fn interpolation(mut self, interpolation: Interpolation) -> Self {
        self.rules.interpolation = interpolation;
        self
    }

    /// What the moves that are added after it find outside the image: 0 before.
    ///
    /// # Errors
    /// [`Error::Argument`] for a constant that is not finite.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset, ImageShape, PaddingMode};
    /// use gemmule::{BatchSource, Context};
    /// let data = Dataset::from_bytes(&[1, 1, 3], vec![255, 51, 102])?;
    /// let data = Augment::new(&data, 0)
    ///     .images(ImageShape::chw(1, 1, 3))?
    ///     .padding_mode(PaddingMode::Edge)?
    ///     .shift(1.0 / 3.0..=1.0 / 3.0, 0.0)?;
    /// let mut row = [0.0_f64; 3];
    /// data.gather_features(&Context::detect()?, &[0], &mut row);
    /// assert_eq!(row, [1.0, 1.0, 51.0 / 255.0]);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn padding_mode(mut self, padding: PaddingMode) -> Result<Self> {
        if let PaddingMode::Constant(value) = padding
            && !value.is_finite()
        {
            return Err(Error::argument("Augment::padding_mode", "value", "a finite number", value));
        }
        self.rules.padding = padding;
        Ok(self)
    }

    /// The values of black and of white for [`brightness`](Self::brightness) and [`contrast`](Self::contrast) that are added after
    /// it; 0 and 1 before. Of samples that were standardised these are `(0 - mean) / std` and `(1 - mean) / std`.
    ///
    /// # Errors
    /// [`Error::Argument`] unless both are finite and `low` is below `high`.
    pub fn value_range(mut self, low: f64, high: f64) -> Result<Self> {
        if !(low < high && (high - low).is_finite()) {
            let got = format!("{low} and {high}");
            return Err(Error::argument(
                "Augment::value_range",
                "low and high",
                "finite, low below high",
                got,
            ));
        }
        self.rules.values = [low, high];
        Ok(self)
    }

    /// Random shifts to the right and down, in parts of the width and the height, continuous: Keras' `RandomTranslation`. (Those of
    /// torchvision's `RandomAffine` are rounded to whole pixels: see [`shift_pixels`](Self::shift_pixels).)
    ///
    /// # Errors
    /// [`Error::Argument`] unless the amounts are finite ranges; [`Error::State`] if the samples are no images.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset, ImageShape};
    /// let data = Dataset::from_bytes(&[1, 28, 28], vec![1; 784])?;
    /// // Up to 2.8 pixels to either side, and up to 5.6 down.
    /// let data = Augment::<f32, _>::new(&data, 0).images(ImageShape::chw(1, 28, 28))?.shift(0.1, 0.0..=0.2)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn shift(self, x: impl Into<Amount>, y: impl Into<Amount>) -> Result<Self> {
        let operation = "Augment::shift";
        let x = Span::new(operation, "x", x.into(), 0.0, None)?;
        let y = Span::new(operation, "y", y.into(), 0.0, None)?;
        self.add_move(operation, Kind::Shift(x, y))
    }

    /// Random shifts by whole pixels, at most `x` to either side and `y` up or down, each as likely as the others.
    ///
    /// # Errors
    /// [`Error::Argument`] if a shift is larger than the image; [`Error::State`] if the samples are no images.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset, ImageShape};
    /// let data = Dataset::from_bytes(&[1, 28, 28], vec![1; 784])?;
    /// let data = Augment::<f32, _>::new(&data, 0).images(ImageShape::chw(1, 28, 28))?.shift_pixels(2, 2)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn shift_pixels(self, x: usize, y: usize) -> Result<Self> {
        self.whole_pixels("Augment::shift_pixels", [("x", x), ("y", y)])
    }

    /// Random crops of the image's own size, after `padding` pixels were put around it as [`padding_mode`](Self::padding_mode) says:
    /// torchvision's `RandomCrop(size, padding)`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the padding is larger than the image; [`Error::State`] if the samples are no images.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset, ImageShape, PaddingMode};
    /// let data = Dataset::from_bytes(&[1, 3, 32, 32], vec![1; 3072])?;
    /// let data = Augment::<f32, _>::new(&data, 0)
    ///     .images(ImageShape::chw(3, 32, 32))?
    ///     .padding_mode(PaddingMode::Reflect)?
    ///     .random_crop(4)?
    ///     .flip_horizontal(0.5)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn random_crop(self, padding: usize) -> Result<Self> {
        self.whole_pixels("Augment::random_crop", [("padding", padding), ("padding", padding)])
    }

    fn whole_pixels(self, operation: &'static str, most: [(&'static str, usize); 2]) -> Result<Self> {
        let shape = self.image(operation)?;
        for ((what, most), size) in most.into_iter().zip([shape.width(), shape.height()]) {
            if most > size {
                return Err(Error::argument(operation, what, format_args!("at most {size} pixels"), most));
            }
        }
        let [x, y] = most.map(|(_, most)| most as u64);
        self.add_move(operation, Kind::ShiftPixels(x, y))
    }

    /// Left and right change places with the probability `p`; torchvision's default is 0.5.
    ///
    /// # Errors
    /// [`Error::Argument`] if `p` is no probability; [`Error::State`] if the samples are no images.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset, ImageShape};
    /// use gemmule::{BatchSource, Context};
    /// let data = Dataset::from_bytes(&[1, 1, 2], vec![0, 255])?;
    /// let data = Augment::new(&data, 0).images(ImageShape::chw(1, 1, 2))?.flip_horizontal(1.0)?;
    /// let mut row = [0.0_f32; 2];
    /// data.gather_features(&Context::detect()?, &[0], &mut row);
    /// assert_eq!(row, [1.0, 0.0]);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn flip_horizontal(self, p: f64) -> Result<Self> {
        let operation = "Augment::flip_horizontal";
        self.add_move(operation, Kind::FlipHorizontal(probability(operation, p)?))
    }

    /// Top and bottom change places with the probability `p`; torchvision's default is 0.5.
    ///
    /// # Errors
    /// [`Error::Argument`] if `p` is no probability; [`Error::State`] if the samples are no images.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset, ImageShape};
    /// let data = Dataset::from_bytes(&[1, 4, 4], vec![1; 16])?;
    /// let data = Augment::<f32, _>::new(&data, 0).images(ImageShape::chw(1, 4, 4))?.flip_vertical(0.5)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn flip_vertical(self, p: f64) -> Result<Self> {
        let operation = "Augment::flip_vertical";
        self.add_move(operation, Kind::FlipVertical(probability(operation, p)?))
    }

    /// Random rotations about the centre by degrees, counter-clockwise: torchvision's `RandomRotation`, but bilinear unless
    /// [`interpolation`](Self::interpolation) says otherwise. Quarters of a turn are exact.
    ///
    /// # Errors
    /// [`Error::Argument`] unless the amount is a finite range; [`Error::State`] if the samples are no images.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset, ImageShape};
    /// use gemmule::{BatchSource, Context};
    /// let data = Dataset::from_bytes(&[1, 2, 2], vec![0, 255, 0, 0])?;
    /// let data = Augment::new(&data, 0).images(ImageShape::chw(1, 2, 2))?.rotation(90.0..=90.0)?;
    /// let mut row = [0.0_f32; 4];
    /// data.gather_features(&Context::detect()?, &[0], &mut row);
    /// assert_eq!(row, [1.0, 0.0, 0.0, 0.0]);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn rotation(self, degrees: impl Into<Amount>) -> Result<Self> {
        let operation = "Augment::rotation";
        let degrees = Span::new(operation, "degrees", degrees.into(), 0.0, None)?;
        self.add_move(operation, Kind::Rotation(degrees))
    }

    /// Random sizes about the centre: `1 - x..=1 + x` times, or a range of factors as in torchvision's `RandomAffine`; above 1 is
    /// nearer, the inverse of Keras' zoom.
    ///
    /// # Errors
    /// [`Error::Argument`] unless the factors are in 0.001..=1000; [`Error::State`] if the samples are no images.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset, ImageShape};
    /// let data = Dataset::from_bytes(&[1, 4, 4], vec![1; 16])?;
    /// let data = Augment::<f32, _>::new(&data, 0).images(ImageShape::chw(1, 4, 4))?.scale(0.9..=1.2)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn scale(self, factor: impl Into<Amount>) -> Result<Self> {
        let operation = "Augment::scale";
        let factor = Span::new(operation, "factor", factor.into(), 1.0, Some((0.001, 1000.0)))?;
        self.add_move(operation, Kind::Scale(factor))
    }

    /// Adds normal numbers of mean 0 and standard deviation `std` to every value, in any samples: Keras' `GaussianNoise`. Nothing
    /// is held to a range.
    ///
    /// # Errors
    /// [`Error::Argument`] unless `std` is finite and at least 0.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset};
    /// use gemmule::Tensor;
    /// let data = Dataset::from_values(Tensor::<f32>::zeros(&[10, 3])?)?;
    /// let data = Augment::<f32, _>::new(&data, 0).gaussian_noise(0.1)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn gaussian_noise(mut self, std: f64) -> Result<Self> {
        if !(std.is_finite() && std >= 0.0) {
            let expected = "a finite number, at least 0";
            return Err(Error::argument("Augment::gaussian_noise", "std", expected, std));
        }
        let number = self.next_number();
        // A deviation of 0 would still turn -0 into 0.
        if std > 0.0 {
            self.stages.push(Stage::Noise(number, std));
        }
        Ok(self)
    }

    /// Random brightness: values are multiplied by a factor of `max(0, 1 - x)..=1 + x`, or of a range, and held to the range of the
    /// values ([`value_range`](Self::value_range); the distance from black is what is multiplied): torchvision's `ColorJitter`.
    ///
    /// # Errors
    /// [`Error::Argument`] unless the factors are finite and at least 0; [`Error::State`] if the samples are no images.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset, ImageShape};
    /// use gemmule::{BatchSource, Context};
    /// let data = Dataset::from_bytes(&[1, 1, 3], vec![0, 51, 204])?;
    /// let data = Augment::new(&data, 0).images(ImageShape::chw(1, 1, 3))?.brightness(2.0..=2.0)?;
    /// let mut row = [0.0_f64; 3];
    /// data.gather_features(&Context::detect()?, &[0], &mut row);
    /// assert_eq!(row, [0.0, 0.4, 1.0]);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn brightness(mut self, factor: impl Into<Amount>) -> Result<Self> {
        let span = factors("Augment::brightness", factor.into())?;
        self.image("Augment::brightness")?;
        let (number, values) = (self.next_number(), self.rules.values);
        self.stages.push(Stage::Brightness(number, span, values));
        Ok(self)
    }

    /// Random contrast: the distance of values from the mean of the image in grey is multiplied by a factor, as in
    /// [`brightness`](Self::brightness): torchvision's `ColorJitter`. Three channels are red, green and blue; any other number of
    /// them has the mean of all values.
    ///
    /// # Errors
    /// As [`brightness`](Self::brightness).
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset, ImageShape};
    /// let data = Dataset::from_bytes(&[1, 4, 4], vec![1; 16])?;
    /// let data = Augment::<f32, _>::new(&data, 0).images(ImageShape::chw(1, 4, 4))?.contrast(0.3)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn contrast(mut self, factor: impl Into<Amount>) -> Result<Self> {
        let span = factors("Augment::contrast", factor.into())?;
        self.image("Augment::contrast")?;
        let (number, values) = (self.next_number(), self.rules.values);
        self.stages.push(Stage::Contrast(number, span, values));
        Ok(self)
    }

    /// With the probability `p`, a square of `size` pixels about any pixel becomes 0, as far as it lies in the image: DeVries and
    /// Taylor, "Improved regularization of convolutional neural networks with cutout" (2017).
    ///
    /// # Errors
    /// [`Error::Argument`] if `p` is no probability; [`Error::State`] if the samples are no images.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset, ImageShape};
    /// let data = Dataset::from_bytes(&[1, 8, 8], vec![1; 64])?;
    /// let data = Augment::<f32, _>::new(&data, 0).images(ImageShape::chw(1, 8, 8))?.cutout(4, 0.5)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn cutout(mut self, size: usize, p: f64) -> Result<Self> {
        let operation = "Augment::cutout";
        let p = probability(operation, p)?;
        self.image(operation)?;
        let number = self.next_number();
        self.stages.push(Stage::Cutout(number, p, size));
        Ok(self)
    }

    /// Erases a rectangle of random size and shape, somewhere inside the image: torchvision's `RandomErasing`.
    ///
    /// # Errors
    /// [`Error::Argument`] names an option that is out of its range; [`Error::State`] if the samples are no images.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset, ImageShape, RandomErasing};
    /// let data = Dataset::from_bytes(&[1, 8, 8], vec![1; 64])?;
    /// let options = RandomErasing { p: 0.25, ..RandomErasing::default() };
    /// let data = Augment::<f32, _>::new(&data, 0).images(ImageShape::chw(1, 8, 8))?.random_erasing(options)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn random_erasing(mut self, options: RandomErasing) -> Result<Self> {
        options.check()?;
        self.image("Augment::random_erasing")?;
        let number = self.next_number();
        self.stages.push(Stage::Erasing(number, options));
        Ok(self)
    }

    /// Every sample becomes `lambda x + (1 - lambda) x'` and its targets likewise, where x' is any sample of the source, as it is in
    /// this epoch after the operations above, and lambda has the distribution Beta(alpha, alpha), drawn for each sample: Zhang,
    /// Cisse, Dauphin, Lopez-Paz, "mixup: beyond empirical risk minimization" (2017). Classes become shares of the classes,
    /// [`TargetKind::Values`], which [`Loss::CrossEntropy`](crate::nn::Loss::CrossEntropy) takes. torchvision's alpha is 1, Keras' 0.2; 0
    /// mixes nothing. For any samples.
    ///
    /// Beside [`cutmix`](Self::cutmix) each sample is mixed in one of the two ways, with the same probability.
    ///
    /// # Errors
    /// [`Error::Argument`] unless alpha is finite and at least 0; [`Error::Data`] if the source has a class beyond its count.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset};
    /// use gemmule::{BatchSource, Context, TargetKind};
    /// let data = Dataset::from_bytes(&[3, 2], vec![0, 0, 85, 170, 255, 255])?.with_classes(vec![0, 1, 2], 3)?;
    /// let data = Augment::<f32, _>::new(&data, 0).mixup(1.0)?;
    /// assert_eq!(data.target_kind(), Some(TargetKind::Values(3)));
    /// let mut targets = [0.0; 9];
    /// data.gather_values(&Context::detect()?, &[0, 1, 2], &mut targets);
    /// assert!(targets.chunks(3).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-6));
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn mixup(mut self, alpha: f64) -> Result<Self> {
        self.mixing.mixup = Some(self.check_mixing("Augment::mixup", alpha)?);
        Ok(self)
    }

    /// A rectangle of every sample is replaced by that of another, and the targets are mixed by its share of the image: Yun, Han, Oh,
    /// Chun, Choe, Yoo, "CutMix: regularization strategy to train strong classifiers with localizable features" (2019), with the
    /// rectangles of torchvision's `CutMix`, drawn for each sample. Otherwise as [`mixup`](Self::mixup); alpha is 1 in torchvision and
    /// Keras.
    ///
    /// # Errors
    /// As [`mixup`](Self::mixup); [`Error::State`] if the samples are no images.
    ///
    /// ```
    /// use gemmule::data::{Augment, Dataset, ImageShape};
    /// let data = Dataset::from_bytes(&[2, 8, 8], vec![1; 128])?.with_classes(vec![0, 1], 2)?;
    /// let data = Augment::<f32, _>::new(&data, 0).images(ImageShape::chw(1, 8, 8))?.mixup(0.2)?.cutmix(1.0)?;
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn cutmix(mut self, alpha: f64) -> Result<Self> {
        self.image("Augment::cutmix")?;
        self.mixing.cutmix = Some(self.check_mixing("Augment::cutmix", alpha)?);
        Ok(self)
    }

    /// Classes become places in a row of shares.
    fn check_mixing(&self, operation: &'static str, alpha: f64) -> Result<f64> {
        if !(alpha.is_finite() && alpha >= 0.0) {
            return Err(Error::argument(operation, "alpha", "a finite number, at least 0", alpha));
        }
        let Some(TargetKind::Classes(count)) = self.source.target_kind() else { return Ok(alpha) };
        let (mut samples, mut classes) = (Vec::with_capacity(CHECKED), [0; CHECKED]);
        let len = self.source.len();
        for start in (0..len).step_by(CHECKED) {
            samples.clear();
            samples.extend(start..len.min(start + CHECKED));
            let classes = &mut classes[..samples.len()];
            self.source.gather_classes(&samples, classes);
            if let Some(at) = classes.iter().position(|&class| class as usize >= count) {
                let what = format!("class of sample {}", samples[at]);
                return Err(Error::data(operation, what, format_args!("below {count}"), classes[at]));
            }
        }
        Ok(alpha)
    }

    fn image(&self, operation: &'static str) -> Result<ImageShape> {
        let what = "samples must be images: call Augment::images first";
        self.image.ok_or(Error::State { operation, what })
    }

    fn next_number(&mut self) -> u64 {
        self.added += 1;
        self.added - 1
    }

    /// Adds a move to those before it, if the rules are the same.
    fn add_move(mut self, operation: &'static str, kind: Kind) -> Result<Self> {
        self.image(operation)?;
        let one = Move { number: self.next_number(), kind };
        let Rules { interpolation, padding, .. } = self.rules;
        match self.stages.last_mut() {
            Some(Stage::Moves(pass)) if (pass.interpolation, pass.padding) == (interpolation, padding) => {
                pass.moves.push(one);
            }
            _ => self.stages.push(Stage::Moves(Pass { interpolation, padding, moves: vec![one] })),
        }
        Ok(self)
    }
}

/// Factors of brightness and contrast.
fn factors(operation: &'static str, amount: Amount) -> Result<Span> {
    let amount = match amount {
        // torchvision's range stops at 0.
        Amount::Within(most) if most > 1.0 => Amount::Between(0.0, 1.0 + most),
        amount => amount,
    };
    Span::new(operation, "factor", amount, 1.0, Some((0.0, f64::MAX)))
}
