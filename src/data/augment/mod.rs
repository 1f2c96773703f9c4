//! Samples that are others in every epoch.
//!
//! ```text
//!   source --gather--> row --op 0--> ... --op n--> row --mix with another sample's row--> batch
//!                            ^              ^              ^
//!   seed, epoch, sample -> stream(0)     stream(n)     stream(MIX)
//! ```

mod amount;
mod geometry;
mod mix;
mod operations;
mod patch;

pub use amount::Amount;
pub use patch::RandomErasing;

use crate::context::Context;
use crate::engine::{BatchSource, TargetKind};
use crate::kernel::Element;
use crate::kernel::affine::{ImageShape, Interpolation, PaddingMode};
use crate::kernel::blend::{adjust, blend};
use crate::kernel::reduce;
use crate::rng::{Rng, purpose};
use amount::Span;
use geometry::Pass;
use mix::{Mixed, Mixing};
use patch::Patch;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The stream of a sample that says what it is mixed with; operations have theirs by their number.
const MIX: u64 = u32::MAX as u64;

/// Random numbers of noise that are drawn at once.
const NOISE: usize = 512;

/// The share of red, green and blue in grey, as in torchvision.
const GREY: [f64; 3] = [0.2989, 0.587, 0.114];

/// A source whose samples are changed at random, others in every epoch, while a batch is gathered.
///
/// Operations are applied in the order in which they were added, as in torchvision's `Compose`; shifts, flips, rotations and
/// scalings that follow each other are **one** interpolation. [`mixup`](Self::mixup) and [`cutmix`](Self::cutmix) come last. What is
/// wrapped is a source or points to one: `&train`, an `Arc`, a source that was wrapped before.
///
/// ```
/// use gemmule::data::{Augment, Dataset, ImageShape};
/// use gemmule::nn::{Activation, Dense, Loss, Sequential};
/// use gemmule::optim::Adam;
/// use gemmule::train::Fit;
///
/// let pixels = (0..40 * 64).map(|i| (i * 37 % 251) as u8).collect();
/// let train = Dataset::from_bytes(&[40, 8, 8], pixels)?.with_classes((0..40).map(|i| i % 4).collect(), 4)?;
/// let augmented = Augment::new(&train, 42)
///     .images(ImageShape::chw(1, 8, 8))?
///     .rotation(10.0)?
///     .scale(0.1)?
///     .shift_pixels(1, 1)?
///     .gaussian_noise(0.05)?;
///
/// let net = Sequential::new().with(Dense::new(64, 16)).with(Activation::Relu).with(Dense::new(16, 4));
/// let mut model = net.build::<f32>(0)?;
/// model.compile(Loss::CrossEntropy, Adam::default())?;
/// model.fit(&augmented, Fit::new().epochs(2).validation(&train))?;
/// # Ok::<(), gemmule::Error>(())
/// ```
///
/// # Same bits
///
/// Every random number is a function of the seed, the epoch, the sample's index in the source and the number of the operation:
/// the stream `Rng::new(seed).stream(purpose::AUGMENT).stream(epoch).stream(sample).stream(number)`, where `number` counts the calls
/// that added an operation from 0 and is 2^32 - 1 for mixing. So a sample of an epoch has the same bits in any batch, on any thread
/// and in a resumed run. Of sources that wrap each other each needs a seed of its own.
///
/// The epoch is what [`begin_epoch`](BatchSource::begin_epoch) said last, which [`fit`](crate::nn::Model::fit) calls; 1 before.
pub struct Augment<T: Element, S> {
    source: S,
    seed: u64,
    epoch: AtomicU64,
    image: Option<ImageShape>,
    /// The rules of the moves that are added next.
    rules: Rules,
    /// How many were added: numbers of operations.
    added: u64,
    stages: Vec<Stage>,
    mixing: Mixing,
    /// Memory for threads that gather, taken and given back.
    scratch: Mutex<Vec<Scratch<T>>>,
    element: PhantomData<fn() -> T>,
}

/// What holds for the operations that are added after it was set.
#[derive(Clone, Copy, Debug)]
struct Rules {
    interpolation: Interpolation,
    padding: PaddingMode,
    /// Of black and of white.
    values: [f64; 2],
}

/// One operation on a row, or several that are one. The first number says which operation it is.
#[derive(Clone, Debug)]
enum Stage {
    Moves(Pass),
    Noise(u64, f64),
    Brightness(u64, Span, [f64; 2]),
    Contrast(u64, Span, [f64; 2]),
    /// With a probability, a square of so many pixels.
    Cutout(u64, f64, usize),
    Erasing(u64, RandomErasing),
}

struct Scratch<T> {
    /// An image with a border.
    padded: Vec<T>,
    /// The row, or the target values, of the sample that one is mixed with.
    partner: Vec<T>,
}

impl<T: Element, S: BatchSource<T>> Augment<T, S> {
    /// What the sample's numbers are drawn from.
    fn stream(&self) -> Rng {
        let epoch = self.epoch.load(Ordering::Relaxed);
        Rng::new(self.seed).stream(purpose::AUGMENT).stream(epoch)
    }

    fn mixed(&self, epoch: &Rng, sample: usize) -> Option<Mixed> {
        let mut rng = epoch.stream(sample as u64).stream(MIX);
        self.mixing.draw(self.source.len(), sample, self.image, &mut rng)
    }

    /// Calls `body` with memory that no other thread has.
    fn with_scratch(&self, body: impl FnOnce(&mut Scratch<T>)) {
        let pool = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        // The lock is let go before `body` runs.
        let scratch = pool().pop();
        let mut scratch = scratch.unwrap_or(Scratch { padded: Vec::new(), partner: Vec::new() });
        body(&mut scratch);
        pool().push(scratch);
    }

    /// All operations but mixing.
    fn apply(&self, context: &Context, sample: &Rng, row: &mut [T], scratch: &mut Scratch<T>) {
        for stage in &self.stages {
            if let Stage::Noise(number, std) = *stage {
                add_noise(context, sample.stream(number), std, row);
            }
            // The others are refused where the samples are no images.
            let Some(shape) = self.image else { continue };
            match *stage {
                Stage::Noise(..) => {}
                Stage::Moves(ref pass) => pass.apply(context, shape, sample, row, &mut scratch.padded),
                Stage::Brightness(number, span, values) => {
                    let factor = span.draw(&mut sample.stream(number));
                    scale_about(context, row, factor, values[0], values);
                }
                Stage::Contrast(number, span, values) => {
                    let factor = span.draw(&mut sample.stream(number));
                    scale_about(context, row, factor, grey_mean(context, shape, row), values);
                }
                Stage::Cutout(number, p, size) => {
                    let mut rng = sample.stream(number);
                    if rng.uniform_f64() < p {
                        fill(shape, &Patch::square(shape, size, &mut rng), 0.0, row);
                    }
                }
                Stage::Erasing(number, options) => {
                    if let Some(patch) = options.draw(shape, &mut sample.stream(number)) {
                        fill(shape, &patch, options.value, row);
                    }
                }
            }
        }
    }

    /// Mixes `row` with the partner's, which is what it is itself in this epoch before it is mixed.
    fn mix(&self, context: &Context, epoch: &Rng, mixed: &Mixed, row: &mut [T], scratch: &mut Scratch<T>) {
        let mut partner = std::mem::take(&mut scratch.partner);
        partner.resize(row.len(), T::zero());
        self.source.gather_features(context, &[mixed.partner], &mut partner);
        self.apply(context, &epoch.stream(mixed.partner as u64), &mut partner, scratch);
        match (&mixed.patch, self.image) {
            (Some(patch), Some(shape)) => {
                for range in patch.ranges(shape) {
                    row[range.clone()].copy_from_slice(&partner[range]);
                }
            }
            _ => {
                let (own, other) = (T::from_f64(mixed.share), T::from_f64(1.0 - mixed.share));
                blend(context, row, own, &partner, other);
            }
        }
        scratch.partner = partner;
    }

    /// The classes of a sample and its partner as a row of shares.
    fn mix_classes(&self, mixed: Option<&Mixed>, sample: usize, out: &mut [T]) {
        let mut classes = [0_u32; 2];
        let samples = [sample, mixed.map_or(sample, |mixed| mixed.partner)];
        self.source.gather_classes(&samples, &mut classes);
        out.fill(T::zero());
        let [own, other] = classes.map(|class| class as usize);
        match mixed {
            Some(mixed) if own != other => {
                out[own] = T::from_f64(mixed.share);
                out[other] = T::from_f64(1.0 - mixed.share);
            }
            _ => out[own] = T::one(),
        }
    }
}

fn add_noise<T: Element>(context: &Context, mut rng: Rng, std: f64, row: &mut [T]) {
    let mut noise = [T::zero(); NOISE];
    for row in row.chunks_mut(NOISE) {
        let noise = &mut noise[..row.len()];
        rng.fill_normal(context, noise, 0.0, std).expect("the deviation was checked");
        blend(context, row, T::one(), noise, T::one());
    }
}

/// `center + factor (x - center)`, held to the range of the values.
fn scale_about<T: Element>(context: &Context, row: &mut [T], factor: f64, center: f64, values: [f64; 2]) {
    // Not even rounded.
    if factor != 1.0 {
        let offset = T::from_f64((1.0 - factor) * center);
        adjust(context, row, T::from_f64(factor), offset, values.map(T::from_f64));
    }
}

/// The mean of the image in grey; over all channels if they are not three.
fn grey_mean<T: Element>(context: &Context, shape: ImageShape, row: &[T]) -> f64 {
    let pixels = shape.height() * shape.width();
    if shape.channels() != GREY.len() {
        return reduce::sum(context, row).to_f64() / row.len() as f64;
    }
    let mut sums = [T::zero(); GREY.len()];
    if shape.is_channels_last() {
        reduce::column_sums(context, row, GREY.len(), &mut sums)
    } else {
        reduce::sum_rows(context, row, pixels, &mut sums)
    }
    .expect("the shape was checked");
    let [red, green, blue] = sums.map(Element::to_f64);
    (GREY[0] * red + GREY[1] * green + GREY[2] * blue) / pixels as f64
}

fn fill<T: Element>(shape: ImageShape, patch: &Patch, value: f64, row: &mut [T]) {
    let value = T::from_f64(value);
    patch.ranges(shape).for_each(|range| row[range].fill(value));
}

impl<T: Element, S: BatchSource<T>> BatchSource<T> for Augment<T, S> {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn features(&self) -> usize {
        self.source.features()
    }

    /// Shares of the classes where they are mixed.
    fn target_kind(&self) -> Option<TargetKind> {
        match self.source.target_kind() {
            Some(TargetKind::Classes(count)) if self.mixing.is_on() => Some(TargetKind::Values(count)),
            kind => kind,
        }
    }

    fn begin_epoch(&self, epoch: u64) {
        self.source.begin_epoch(epoch);
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    fn ask_ahead(&self, context: &Context, indices: &[usize]) {
        self.source.ask_ahead(context, indices);
    }

    fn gather_features(&self, context: &Context, indices: &[usize], out: &mut [T]) {
        self.source.gather_features(context, indices, out);
        if self.stages.is_empty() && !self.mixing.is_on() {
            return;
        }
        let (epoch, features) = (self.stream(), self.source.features());
        self.with_scratch(|scratch| {
            for (row, &sample) in out.chunks_exact_mut(features.max(1)).zip(indices) {
                self.apply(context, &epoch.stream(sample as u64), row, scratch);
                if let Some(mixed) = self.mixed(&epoch, sample) {
                    self.mix(context, &epoch, &mixed, row, scratch);
                }
            }
        });
    }

    fn gather_classes(&self, indices: &[usize], out: &mut [u32]) {
        self.source.gather_classes(indices, out);
    }

    fn gather_values(&self, context: &Context, indices: &[usize], out: &mut [T]) {
        if !self.mixing.is_on() {
            return self.source.gather_values(context, indices, out);
        }
        let epoch = self.stream();
        match self.source.target_kind() {
            Some(TargetKind::Classes(count)) => {
                assert_eq!(Some(out.len()), indices.len().checked_mul(count), "Augment: the length of out");
                for (row, &sample) in out.chunks_exact_mut(count.max(1)).zip(indices) {
                    self.mix_classes(self.mixed(&epoch, sample).as_ref(), sample, row);
                }
            }
            Some(TargetKind::Values(width)) => {
                self.source.gather_values(context, indices, out);
                self.with_scratch(|scratch| {
                    scratch.partner.resize(width, T::zero());
                    for (row, &sample) in out.chunks_exact_mut(width.max(1)).zip(indices) {
                        let Some(mixed) = self.mixed(&epoch, sample) else { continue };
                        self.source.gather_values(context, &[mixed.partner], &mut scratch.partner);
                        let (own, other) = (T::from_f64(mixed.share), T::from_f64(1.0 - mixed.share));
                        blend(context, row, own, &scratch.partner, other);
                    }
                });
            }
            None => self.source.gather_values(context, indices, out),
        }
    }
}

/// The operations, not the samples.
impl<T: Element, S> fmt::Debug for Augment<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Augment")
            .field("seed", &self.seed)
            .field("epoch", &self.epoch)
            .field("image", &self.image)
            .field("stages", &self.stages)
            .field("mixing", &self.mixing)
            .finish_non_exhaustive()
    }
}
