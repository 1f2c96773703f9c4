//! How often, how far, how much: every test draws thousands of samples and can fail.

use super::{assert_count, assert_uniform, copies, rows};
use gemmule::data::{Augment, ImageShape, RandomErasing};
use gemmule::{BatchSource, Tensor};

const COUNT: usize = 4000;

fn all(count: usize) -> Vec<usize> {
    (0..count).collect()
}

#[test]
fn flips_happen_with_their_probability() {
    let data = copies(COUNT, 2, 2, |y, x| (2 * y + x) as f64);
    let augment = Augment::new(&data, 1)
        .images(ImageShape::chw(1, 2, 2))
        .and_then(|a| a.flip_horizontal(0.3))
        .and_then(|a| a.flip_vertical(0.8))
        .unwrap();
    let mut counts = [0; 4];
    for row in rows(&augment, &all(COUNT)).chunks(4) {
        // The corner at the upper left says which of the flips happened.
        counts[row[0] as usize] += 1;
    }
    for (i, p) in [0.7 * 0.2, 0.3 * 0.2, 0.7 * 0.8, 0.3 * 0.8].into_iter().enumerate() {
        assert_count(counts[i], COUNT, p);
    }
}

#[test]
fn pixel_shifts_are_equally_likely() {
    let data = copies(COUNT, 7, 9, |y, x| f64::from(y == 3 && x == 4));
    let shape = ImageShape::chw(1, 7, 9);
    let shifts = Augment::new(&data, 2).images(shape).unwrap().shift_pixels(2, 1).unwrap();
    let crops = Augment::new(&data, 3).images(shape).unwrap().random_crop(1).unwrap();
    for (augment, most_x, most_y) in [(shifts, 2, 1), (crops, 1, 1)] {
        let mut counts = [[0; 9]; 7];
        for row in rows(&augment, &all(COUNT)).chunks(63) {
            let at = row.iter().position(|&x| x == 1.0).expect("the pixel stays inside");
            counts[at / 9][at % 9] += 1;
        }
        let places = ((2 * most_x + 1) * (2 * most_y + 1)) as f64;
        for (y, counts) in counts.iter().enumerate() {
            for (x, &count) in counts.iter().enumerate() {
                if x.abs_diff(4) <= most_x && y.abs_diff(3) <= most_y {
                    assert_count(count, COUNT, 1.0 / places);
                } else {
                    assert_eq!(count, 0, "{x}, {y}");
                }
            }
        }
    }
}

#[test]
fn shifts_are_uniform() {
    let data = copies(COUNT, 11, 21, |y, x| f64::from(y == 5 && x == 10));
    let augment =
        Augment::new(&data, 3).images(ImageShape::chw(1, 11, 21)).unwrap().shift(0.2, -0.1..=0.3).unwrap();
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    for row in rows(&augment, &all(COUNT)).chunks(11 * 21) {
        // Between pixels the light is shared: its centre is where it was moved to.
        let center =
            |f: fn(usize) -> usize| row.iter().enumerate().map(|(i, x)| f(i) as f64 * x).sum::<f64>();
        xs.push(center(|i| i % 21) - 10.0);
        ys.push(center(|i| i / 21) - 5.0);
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
    assert_uniform(&xs, -0.2 * 21.0, 0.2 * 21.0);
    assert_uniform(&ys, -0.1 * 11.0, 0.3 * 11.0);
    // The two directions are drawn apart.
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (x, y) = (mean(&xs), mean(&ys));
    let product = xs.iter().zip(&ys).map(|(a, b)| (a - x) * (b - y)).sum::<f64>() / COUNT as f64;
    assert!((product / (4.2 * 2.2 / 3.0)).abs() < 5.0 / (COUNT as f64).sqrt(), "correlation {product}");
}

#[test]
fn angles_and_sizes_are_uniform() {
    // A plane: the values tell the map.
    let data = copies(COUNT, 3, 3, |_, x| x as f64 - 1.0);
    let augment = |seed| Augment::new(&data, seed).images(ImageShape::chw(1, 3, 3)).unwrap();
    let turned = rows(&augment(4).rotation(30.0).unwrap(), &all(COUNT));
    // One pixel below the centre is what was at (-sin, cos) from it, which is inside.
    let sines: Vec<f64> = turned.chunks(9).map(|row| -row[7]).collect();
    let degrees: Vec<f64> = sines.iter().map(|sine| libm::asin(*sine).to_degrees()).collect();
    assert_uniform(&degrees, -30.0, 30.0);
    let scaled = rows(&augment(5).scale(1.0..=3.0).unwrap(), &all(COUNT));
    let factors: Vec<f64> = scaled.chunks(9).map(|row| 1.0 / row[5]).collect();
    assert_uniform(&factors, 1.0, 3.0);
}

#[test]
fn noise_has_its_deviation() {
    let data = copies(50, 20, 31, |_, _| 3.0);
    let augment = Augment::new(&data, 6).gaussian_noise(0.25).unwrap();
    let noise = rows(&augment, &all(50));
    let count = noise.len() as f64;
    let mean = noise.iter().sum::<f64>() / count - 3.0;
    let variance = noise.iter().map(|x| (x - 3.0) * (x - 3.0)).sum::<f64>() / count;
    assert!(mean.abs() < 5.0 * 0.25 / count.sqrt(), "mean {mean}");
    assert!((variance / 0.0625 - 1.0).abs() < 5.0 * (2.0 / count).sqrt(), "variance {variance}");
    // No two samples and no two epochs have the same.
    augment.begin_epoch(2);
    let other = rows(&augment, &all(50));
    let product =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - 3.0) * (b - 3.0)).sum::<f64>() / 0.0625;
    assert!((product(&noise, &other) / count).abs() < 5.0 / count.sqrt());
    assert!((product(&noise[620..], &noise) / (count - 620.0)).abs() < 5.0 / count.sqrt());
}

#[test]
fn brightness_and_contrast_are_uniform() {
    let data = copies(COUNT, 1, 2, |_, x| 0.2 + 0.1 * x as f64);
    let augment = |seed| Augment::new(&data, seed).images(ImageShape::chw(1, 1, 2)).unwrap();
    let factors = |augment: Augment<f64, _>| -> Vec<f64> {
        rows(&augment, &all(COUNT)).chunks(2).map(|row| (row[1] - row[0]) / 0.1).collect()
    };
    assert_uniform(&factors(augment(7).brightness(0.4).unwrap()), 0.6, 1.4);
    assert_uniform(&factors(augment(8).contrast(0.5).unwrap()), 0.5, 1.5);
    // A number above 1 begins at 0.
    assert_uniform(&factors(augment(9).contrast(1.5).unwrap()), 0.0, 2.5);
    // Darker towards black, wherever that is.
    let dark = augment(0).value_range(-1.0, 1.0).unwrap().brightness(0.5..=0.5).unwrap();
    assert!((rows(&dark, &[0])[0] - -0.4).abs() < 1e-15);
}

/// The rectangle of zeros of an image of ones: first row, first column, height, width.
fn rectangle(row: &[f64], width: usize) -> Option<[usize; 4]> {
    let zeros = || (0..row.len()).filter(|&i| row[i] == 0.0);
    let (first, last) = (zeros().next()?, zeros().next_back()?);
    let (left, right) = (zeros().map(|i| i % width).min()?, zeros().map(|i| i % width).max()?);
    let found = [first / width, left, last / width - first / width + 1, right - left + 1];
    assert_eq!(zeros().count(), found[2] * found[3], "not a rectangle");
    Some(found)
}

#[test]
fn cutouts_are_squares_about_any_pixel() {
    let data = copies(COUNT, 10, 12, |_, _| 1.0);
    let augment = Augment::new(&data, 10).images(ImageShape::chw(1, 10, 12)).unwrap().cutout(5, 0.6).unwrap();
    let (mut count, mut whole, mut corners) = (0, 0, 0);
    for row in rows(&augment, &all(COUNT)).chunks(120) {
        let Some([_, _, height, width]) = rectangle(row, 12) else { continue };
        count += 1;
        assert!((3..=5).contains(&height) && (3..=5).contains(&width));
        whole += usize::from(height == 5 && width == 5);
        corners += usize::from(height == 3 && width == 3);
    }
    assert_count(count, COUNT, 0.6);
    // Centres two pixels from the border, or on a corner.
    assert_count(whole, COUNT, 0.6 * 6.0 * 8.0 / 120.0);
    assert_count(corners, COUNT, 0.6 * 4.0 / 120.0);
}

#[test]
fn erased_rectangles_have_their_shares_and_ratios() {
    let (height, width) = (60, 50);
    let data = copies(COUNT, height, width, |_, _| 1.0);
    let options = RandomErasing { p: 0.7, scale: (0.05, 0.25), ratio: (0.5, 2.0), value: 0.0 };
    let augment = Augment::new(&data, 11)
        .images(ImageShape::chw(1, height, width))
        .unwrap()
        .random_erasing(options)
        .unwrap();
    let (mut shares, mut ratios, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows(&augment, &all(COUNT)).chunks(height * width) {
        let Some([top, left, h, w]) = rectangle(row, width) else { continue };
        shares.push((h * w) as f64 / (height * width) as f64);
        ratios.push(libm::log(h as f64 / w as f64));
        places.push((top as f64 + 0.5) / (height - h + 1) as f64);
        assert!(left + w <= width);
    }
    assert_count(shares.len(), COUNT, 0.7);
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let errors = (shares.len() as f64).sqrt();
    // Sides are rounded to pixels, so within a little more than five standard errors.
    assert!((mean(&shares) - 0.15).abs() < 5.0 * 0.2 / 12.0_f64.sqrt() / errors + 0.002, "{}", mean(&shares));
    assert!(
        mean(&ratios).abs() < 10.0 * std::f64::consts::LN_2 / 12.0_f64.sqrt() / errors + 0.02,
        "{}",
        mean(&ratios)
    );
    assert!((mean(&places) - 0.5).abs() < 5.0 / 12.0_f64.sqrt() / errors, "{}", mean(&places));
    assert!(shares.iter().all(|s| (0.045..0.26).contains(s)));
}

/// Operations draw from streams of their own: one more at the end changes none before it.
#[test]
fn operations_draw_apart() {
    let data = copies(400, 5, 5, |y, x| (5 * y + x) as f64 / 25.0);
    let first = || {
        Augment::<f64, _>::new(&data, 12)
            .images(ImageShape::chw(1, 5, 5))
            .unwrap()
            .flip_horizontal(0.5)
            .unwrap()
    };
    let both = first().flip_vertical(0.5).unwrap();
    let (one, two) = (rows(&first(), &all(400)), rows(&both, &all(400)));
    let mut flips = [[0; 2]; 2];
    for (one, two) in one.chunks(25).zip(two.chunks(25)) {
        let (left, same) = (one[0] != 0.0, one == two);
        flips[usize::from(left)][usize::from(same)] += 1;
        let turned: Vec<f64> = (0..25).map(|i| one[(4 - i / 5) * 5 + i % 5]).collect();
        assert!(same || two == turned);
    }
    for count in flips.as_flattened() {
        assert_count(*count, 400, 0.25);
    }
}

/// Features that are no images have noise and mixup too.
#[test]
fn features_of_any_kind_have_noise() {
    let x = Tensor::from_slice(&[2, 3], &[1.0_f64, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let data = gemmule::data::Dataset::from_values(x).unwrap();
    let augment = Augment::new(&data, 0).gaussian_noise(0.01).unwrap();
    let got = rows(&augment, &[1, 0]);
    for (got, expected) in got.iter().zip([4.0, 5.0, 6.0, 1.0, 2.0, 3.0]) {
        assert!(*got != expected && (got - expected).abs() < 0.1, "{got}");
    }
}
