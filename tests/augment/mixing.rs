//! Mixup and CutMix: shares, partners, targets.

use super::{assert_count, assert_uniform, images, rows};
use gemmule::data::{Augment, Dataset, ImageShape};
use gemmule::{BatchSource, Context, TargetKind, Tensor};

fn targets(source: &dyn BatchSource<f64>, indices: &[usize]) -> Vec<f64> {
    let Some(TargetKind::Values(width)) = source.target_kind() else { panic!("no values") };
    let mut out = vec![f64::NAN; indices.len() * width];
    source.gather_values(&Context::detect().unwrap(), indices, &mut out);
    out
}

/// Sample i is 1 at place i and of class i: mixtures show what they are of.
fn unit_vectors(len: usize) -> Dataset {
    let x = (0..len * len).map(|i| if i % len == i / len { 1.0_f64 } else { 0.0 }).collect();
    Dataset::from_values(Tensor::from_vec(&[len, len], x).unwrap())
        .unwrap()
        .with_classes((0..len as u32).collect(), len)
        .unwrap()
}

#[test]
fn mixup_has_shares_of_a_beta_distribution_and_any_partner() {
    let len = 40;
    let data = unit_vectors(len);
    for alpha in [0.2, 1.0, 3.0] {
        let augment = Augment::new(&data, 1).mixup(alpha).unwrap();
        assert_eq!(augment.target_kind(), Some(TargetKind::Values(len)));
        let (mut shares, mut partners, mut own) = (Vec::new(), Vec::new(), 0);
        let all: Vec<usize> = (0..len).collect();
        for epoch in 1..=100 {
            augment.begin_epoch(epoch);
            let (x, t) = (rows(&augment, &all), targets(&augment, &all));
            assert_eq!(x, t, "features and targets are mixed alike");
            for (i, row) in t.chunks(len).enumerate() {
                assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-15);
                match (0..len).find(|&j| j != i && row[j] != 0.0) {
                    Some(partner) => {
                        shares.push(row[i]);
                        partners.push((partner as f64 + 0.5) / len as f64);
                    }
                    // Itself, or so small an alpha that the share is rounded to 1.
                    None => own += 1,
                }
            }
        }
        let count = 100 * len;
        if alpha >= 1.0 {
            assert_count(own, count, 1.0 / len as f64);
        }
        let n = shares.len() as f64;
        let mean = shares.iter().sum::<f64>() / n;
        let variance = shares.iter().map(|s| (s - 0.5) * (s - 0.5)).sum::<f64>() / n;
        let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
        let fourth = 3.0 / (16.0 * (2.0 * alpha + 1.0) * (2.0 * alpha + 3.0));
        assert!((mean - 0.5).abs() < 5.0 * (expected / n).sqrt(), "alpha {alpha}: mean {mean}");
        let error = 5.0 * ((fourth - expected * expected) / n).sqrt();
        assert!((variance - expected).abs() < error, "alpha {alpha}: variance {variance}, not {expected}");
        assert_uniform(&partners, 0.0, 1.0);
    }
}

#[test]
fn a_mixture_is_of_what_the_partner_is_in_this_epoch() {
    let data = images(30, 12);
    let shape = ImageShape::chw(1, 3, 4);
    let before =
        || Augment::new(&data, 9).images(shape).unwrap().rotation(20.0).unwrap().gaussian_noise(0.1).unwrap();
    let (plain, mixed) = (before(), before().mixup(1.0).unwrap());
    let all: Vec<usize> = (0..30).collect();
    let (x, y) = (rows(&plain, &all), rows(&mixed, &all));
    let t = targets(&mixed, &all);
    let mut found = 0;
    for i in 0..30 {
        let own = i % 3;
        // The classes tell the share, if they differ; the partner is the one that explains the pixels.
        let share = t[3 * i + own];
        if share == 1.0 {
            continue;
        }
        let explains = |j: usize| {
            (0..12).all(|k| {
                (share * x[12 * i + k] + (1.0 - share) * x[12 * j + k] - y[12 * i + k]).abs() < 1e-12
            })
        };
        let partner = (0..30).find(|&j| explains(j)).unwrap_or_else(|| panic!("sample {i} is no mixture"));
        assert!(t[3 * i + partner % 3] == 1.0 - share);
        found += 1;
    }
    assert!(found > 10);
}

#[test]
fn cutmix_replaces_a_rectangle_and_counts_it() {
    let (len, height, width) = (20, 9, 7);
    for shape in [ImageShape::chw(2, height, width), ImageShape::hwc(height, width, 2)] {
        // Sample i is i everywhere.
        let features = shape.features();
        let x = (0..len * features).map(|i| (i / features) as f64).collect();
        let data = Dataset::from_values(Tensor::from_vec(&[len, features], x).unwrap())
            .unwrap()
            .with_classes((0..len as u32).collect(), len)
            .unwrap();
        let augment = Augment::new(&data, 4).images(shape).unwrap().cutmix(1.0).unwrap();
        let all: Vec<usize> = (0..len).collect();
        let mut shares = Vec::new();
        for epoch in 1..=100 {
            augment.begin_epoch(epoch);
            let (x, t) = (rows(&augment, &all), targets(&augment, &all));
            for (i, (x, t)) in x.chunks(features).zip(t.chunks(len)).enumerate() {
                let other: Vec<usize> = (0..features).filter(|&k| x[k] != i as f64).collect();
                let share = 1.0 - other.len() as f64 / features as f64;
                assert!((t[i] - share).abs() < 1e-14, "{} of {share}", t[i]);
                shares.push(share);
                let Some(&first) = other.first() else { continue };
                let partner = x[first] as usize;
                assert!(
                    other.iter().all(|&k| x[k] == x[first]) && (t[partner] - (1.0 - share)).abs() < 1e-14
                );
                // Both channels, and a rectangle.
                let pixel = |k: usize| if shape.is_channels_last() { k / 2 } else { k % (height * width) };
                let span = |f: &dyn Fn(usize) -> usize| {
                    let places = other.iter().map(|&k| f(pixel(k)));
                    places.clone().max().unwrap() - places.min().unwrap() + 1
                };
                assert_eq!(other.len(), 2 * span(&|p| p / width) * span(&|p| p % width));
            }
        }
        // Rectangles are cut at the border: on average less is replaced than the half that lambda says.
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        assert!((0.55..0.85).contains(&mean), "mean share {mean}");
    }
}

#[test]
fn both_ways_are_equally_likely() {
    let len = 50;
    let shape = ImageShape::chw(1, 8, 8);
    let x = (0..len * 64).map(|i| (i / 64) as f64).collect();
    let data = Dataset::from_values(Tensor::from_vec(&[len, 64], x).unwrap())
        .unwrap()
        .with_classes((0..len as u32).collect(), len)
        .unwrap();
    let augment = Augment::new(&data, 5).images(shape).unwrap().mixup(1.0).unwrap().cutmix(1.0).unwrap();
    let all: Vec<usize> = (0..len).collect();
    let (mut mixed, mut cut) = (0, 0);
    for epoch in 1..=40 {
        augment.begin_epoch(epoch);
        for row in rows(&augment, &all).chunks(64) {
            // A mixture is one value everywhere, but not a whole one.
            mixed +=
                usize::from(row[0] == row[1] && row.iter().all(|&x| x == row[0]) && row[0].fract() != 0.0);
            cut += usize::from(row.iter().any(|&x| x != row[0]));
        }
    }
    assert_count(mixed, 40 * len, 0.5 * 49.0 / 50.0);
    // Some rectangles are empty, and some are everything.
    assert!((500..1000).contains(&cut), "{cut}");
}

#[test]
fn target_values_are_mixed_alike() {
    let x: Vec<f64> = (0..60).map(f64::from).collect();
    let y = x.iter().step_by(3).flat_map(|x| [2.0 * x, -x]).collect();
    let data = Dataset::from_values(Tensor::from_vec(&[20, 3], x).unwrap()).unwrap();
    let data = data.with_values(Tensor::from_vec(&[20, 2], y).unwrap()).unwrap();
    let augment = Augment::new(&data, 2).mixup(0.4).unwrap();
    assert_eq!(augment.target_kind(), Some(TargetKind::Values(2)));
    let all: Vec<usize> = (0..20).collect();
    let (x, y) = (rows(&augment, &all), targets(&augment, &all));
    for (x, y) in x.chunks(3).zip(y.chunks(2)) {
        assert!((y[0] - 2.0 * x[0]).abs() < 1e-12 && (y[1] + x[0]).abs() < 1e-12);
    }
    assert!(x.chunks(3).enumerate().any(|(i, x)| (x[0] - 3.0 * i as f64).abs() > 1.0));
    // Without targets there are none.
    let bare = Dataset::from_values(Tensor::<f64>::zeros(&[2, 2]).unwrap()).unwrap();
    assert_eq!(Augment::<f64, _>::new(&bare, 0).mixup(1.0).unwrap().target_kind(), None);
}
