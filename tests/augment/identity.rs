//! What changes nothing changes no bit; what is exact is exact; what is wrong is refused.

use super::{copies, features, images, rows};
use crate::common::{all_bits, contexts};
use gemmule::data::{Amount, Augment, Dataset, ImageShape, PaddingMode, RandomErasing};
use gemmule::{BatchSource, Element, Error, TargetKind, Tensor};

/// Values that arithmetic would change: both zeros, tiny and huge ones, and what is no image at all.
fn awkward() -> Dataset {
    let values = [0.0, -0.0, 1e-310, -1e300, 0.1, f64::MAX, 0.7, -0.0, 1e-45, 3.0, -2.0, 1.0 / 3.0];
    Dataset::from_values(Tensor::from_slice(&[2, 6], &values).unwrap()).unwrap()
}

fn is_identity<T: Element>(shape: ImageShape) {
    let data = awkward();
    let none = RandomErasing { p: 0.0, ..RandomErasing::default() };
    let augment = || Augment::<T, _>::new(&data, 5).images(shape).unwrap();
    let all = augment()
        .shift(0.0, 0.0)
        .and_then(|a| a.shift_pixels(0, 0))
        .and_then(|a| a.random_crop(0))
        .and_then(|a| a.flip_horizontal(0.0))
        .and_then(|a| a.flip_vertical(0.0))
        .and_then(|a| a.rotation(0.0))
        .and_then(|a| a.scale(0.0))
        .and_then(|a| a.gaussian_noise(0.0))
        .and_then(|a| a.brightness(0.0))
        .and_then(|a| a.contrast(0.0))
        .and_then(|a| a.cutout(0, 1.0))
        .and_then(|a| a.cutout(5, 0.0))
        .and_then(|a| a.random_erasing(none))
        .and_then(|a| a.mixup(0.0))
        .and_then(|a| a.cutmix(0.0))
        .unwrap();
    // Moves that undo each other are one move that does nothing.
    let back =
        augment().flip_horizontal(1.0).unwrap().rotation(180.0..=180.0).unwrap().flip_vertical(1.0).unwrap();
    let turned = augment().rotation(720.0..=720.0).unwrap();
    for context in contexts() {
        let expected = all_bits(&features::<T>(&data, &context, &[0, 1, 0]));
        for (what, augment) in [("nothing", &augment()), ("all", &all), ("back", &back), ("turned", &turned)]
        {
            for epoch in 1..20 {
                augment.begin_epoch(epoch);
                let got = all_bits(&features(augment, &context, &[0, 1, 0]));
                assert_eq!(got, expected, "{what} {shape:?} {} epoch {epoch}", context.isa());
            }
        }
    }
}

#[test]
fn amounts_of_nothing_change_no_bit() {
    for shape in [ImageShape::chw(1, 2, 3), ImageShape::chw(3, 1, 2), ImageShape::hwc(1, 2, 3)] {
        is_identity::<f32>(shape);
        is_identity::<f64>(shape);
    }
}

#[test]
fn whole_pixels_are_copied() {
    let data = images(1, 12);
    let row = rows(&data, &[0]);
    let augment = || Augment::<f64, _>::new(&data, 0).images(ImageShape::chw(1, 3, 4)).unwrap();
    let at = |x: usize, y: usize| row[y * 4 + x];
    let flipped = rows(&augment().flip_horizontal(1.0).unwrap(), &[0]);
    assert_eq!(flipped, (0..12).map(|i| at(3 - i % 4, i / 4)).collect::<Vec<_>>());
    let flipped = rows(&augment().flip_vertical(1.0).unwrap(), &[0]);
    assert_eq!(flipped, (0..12).map(|i| at(i % 4, 2 - i / 4)).collect::<Vec<_>>());
    let turned = rows(&augment().rotation(180.0..=180.0).unwrap(), &[0]);
    assert_eq!(turned, row.iter().rev().copied().collect::<Vec<_>>());
    // A pixel to the right, two up.
    let shift = |padding| {
        let augment =
            augment().padding_mode(padding).unwrap().shift(0.25..=0.25, -2.0 / 3.0..=-2.0 / 3.0).unwrap();
        rows(&augment, &[0])
    };
    let shifted = shift(PaddingMode::Constant(-1.0));
    let expected = |i: usize| if i > 0 && i < 4 { at(i - 1, 2) } else { -1.0 };
    assert_eq!(shifted, (0..12).map(expected).collect::<Vec<_>>());
    let shifted = shift(PaddingMode::Edge);
    assert_eq!(shifted, (0..12).map(|i: usize| at((i % 4).saturating_sub(1), 2)).collect::<Vec<_>>());
    let shifted = shift(PaddingMode::Reflect);
    let expected = |i: usize| at([1, 0, 1, 2][i % 4], [2, 1, 0][i / 4]);
    assert_eq!(shifted, (0..12).map(expected).collect::<Vec<_>>());
    // Beside an infinity, which a product with 0 would make NaN of.
    let data = copies(1, 1, 3, |_, x| if x == 1 { f64::MAX } else { x as f64 });
    let flip =
        Augment::<f32, _>::new(&data, 0).images(ImageShape::chw(1, 1, 3)).unwrap().flip_horizontal(1.0);
    assert_eq!(features(&flip.unwrap(), &contexts()[0], &[0]), [2.0, f32::INFINITY, 0.0]);
}

/// A lone row, column or pixel, and maps that lead far out.
#[test]
fn thin_images_and_far_coordinates_are_fine() {
    for (height, width) in [(1, 1), (1, 7), (7, 1), (2, 33), (3, 70)] {
        let data = images(3, height * width);
        let (low, high) =
            rows(&data, &[0, 1, 2]).into_iter().fold((1.0_f64, 0.0_f64), |(a, b), x| (a.min(x), b.max(x)));
        for padding in [PaddingMode::Edge, PaddingMode::Reflect] {
            let augment = Augment::new(&data, 0)
                .images(ImageShape::chw(1, height, width))
                .and_then(|a| a.padding_mode(padding))
                .and_then(|a| a.rotation(180.0))
                .and_then(|a| a.scale(0.001..=1000.0))
                .and_then(|a| a.shift(-1e12..=1e12, 1e300))
                .unwrap();
            for epoch in 0..50 {
                augment.begin_epoch(epoch);
                // Edge and mirror show pixels of the image and values between them.
                for x in rows(&augment, &[0, 1, 2]) {
                    assert!(x >= low - 1e-12 && x <= high + 1e-12, "{height} x {width}: {x}");
                }
            }
        }
    }
}

type Refused<'a> = Result<Augment<f32, &'a Dataset>, Error>;

#[test]
fn what_is_wrong_is_refused() {
    let data = images(4, 12);
    let new = || Augment::<f32, _>::new(&data, 0);
    let image = || new().images(ImageShape::chw(1, 3, 4)).unwrap();
    let erasing = |scale, ratio, p, value| image().random_erasing(RandomErasing { p, scale, ratio, value });
    let refused: [(Refused<'_>, &str); 27] = [
        (new().images(ImageShape::chw(1, 3, 5)), "expected 15 values, channels * height * width, got 12"),
        (new().images(ImageShape::chw(0, 3, 4)), "got 0 channels of 3 x 4"),
        (new().images(ImageShape::chw(1, usize::MAX, 4)), "overflows"),
        (new().images(ImageShape::hwc(usize::MAX, 1, 1)), "overflows"),
        (image().images(ImageShape::chw(3, 2, 2)), "another shape"),
        (new().rotation(1.0), "Augment::rotation: samples must be images"),
        (new().cutmix(1.0), "Augment::cutmix: samples must be images"),
        (new().contrast(1.0), "Augment::contrast: samples must be images"),
        (image().rotation(-1.0), "degrees: expected at least 0, or a range, got -1"),
        (image().rotation(f64::NAN), "got NaN"),
        (
            image().rotation(Amount::Between(2.0, 1.0)),
            "expected a finite range, the lower end first, got 2..=1",
        ),
        (image().shift(f64::INFINITY, 0.0), "x: expected a finite range"),
        (image().shift(0.0, Amount::Between(-1.7e308, 1.7e308)), "y: expected a finite range"),
        (image().scale(1.0), "factor: expected within 0.001..=1000, got 0..=2"),
        (image().scale(0.5..=2000.0), "got 0.5..=2000"),
        (image().brightness(-0.5..=1.0), "factor: expected within 0..="),
        (image().flip_horizontal(1.5), "p: expected a probability in 0..=1, got 1.5"),
        (image().cutout(3, f64::NAN), "p: expected a probability"),
        (image().shift_pixels(5, 1), "x: expected at most 4 pixels, got 5"),
        (image().random_crop(4), "padding: expected at most 3 pixels, got 4"),
        (new().gaussian_noise(-0.1), "std: expected a finite number, at least 0, got -0.1"),
        (new().mixup(f64::NAN), "alpha: expected a finite number, at least 0, got NaN"),
        (
            erasing((0.0, 0.5), (0.3, 3.3), 0.5, 0.0),
            "scale: expected a range above 0, at most 1, got 0..=0.5",
        ),
        (erasing((0.1, 0.5), (3.3, 0.3), 0.5, 0.0), "ratio: expected a range above 0, got 3.3..=0.3"),
        (erasing((0.1, 0.5), (0.3, 3.3), 0.5, f64::NAN), "value: expected a finite number, got NaN"),
        (image().padding_mode(PaddingMode::Constant(f64::NAN)), "value: expected a finite number, got NaN"),
        (image().value_range(1.0, 1.0), "low and high: expected finite, low below high, got 1 and 1"),
    ];
    for (result, expected) in refused {
        let error = result.map(drop).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }
}

/// A source whose classes are not those that it says.
struct Lying;

impl BatchSource<f32> for Lying {
    fn len(&self) -> usize {
        2000
    }
    fn features(&self) -> usize {
        1
    }
    fn target_kind(&self) -> Option<TargetKind> {
        Some(TargetKind::Classes(3))
    }
    fn gather_features(&self, _: &gemmule::Context, _: &[usize], out: &mut [f32]) {
        out.fill(0.0);
    }
    fn gather_classes(&self, indices: &[usize], out: &mut [u32]) {
        for (&sample, out) in indices.iter().zip(out) {
            *out = if sample == 1500 { 3 } else { 0 };
        }
    }
    fn gather_values(&self, _: &gemmule::Context, _: &[usize], _: &mut [f32]) {}
}

#[test]
fn a_class_beyond_the_count_is_found_before_it_is_mixed() {
    let error = Augment::new(Lying, 0).mixup(1.0).map(drop).unwrap_err().to_string();
    assert_eq!(error, "Augment::mixup: class of sample 1500: expected below 3, got 3");
}
