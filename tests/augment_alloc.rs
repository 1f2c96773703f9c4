//! After the first samples, augmentation allocates nothing, and neither does a prefetch.

#[allow(unsafe_code, reason = "a global allocator that counts")]
#[path = "common/allocator.rs"]
mod allocator;

use allocator::calls;
use gemmule::data::{Augment, Dataset, ImageShape, PaddingMode, Prefetch, RandomErasing};
use gemmule::{BatchSource, Context, Parallelism, TargetKind};
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn gathering_allocates_nothing() {
    let data =
        Dataset::from_bytes(&[64, 3, 20, 20], (0..64 * 1200).map(|i| (i % 251) as u8).collect()).unwrap();
    let data = data.with_classes((0..64).map(|i| i % 5).collect(), 5).unwrap();
    let augment = Augment::<f32, _>::new(data, 1)
        .images(ImageShape::chw(3, 20, 20))
        .and_then(|a| a.rotation(10.0))
        .and_then(|a| a.scale(0.1))
        .and_then(|a| a.padding_mode(PaddingMode::Reflect))
        .and_then(|a| a.random_crop(2))
        .and_then(|a| a.gaussian_noise(0.1))
        .and_then(|a| a.brightness(0.1))
        .and_then(|a| a.contrast(0.1))
        .and_then(|a| a.cutout(4, 0.5))
        .and_then(|a| a.random_erasing(RandomErasing::default()))
        .and_then(|a| a.mixup(0.2))
        .and_then(|a| a.cutmix(1.0))
        .unwrap();
    let context = Context::detect().unwrap().with_parallelism(Parallelism::Serial);
    let indices: Vec<usize> = (0..64).collect();
    let (mut x, mut t) = (vec![0.0; 32 * 1200], vec![0.0; 32 * 5]);
    let mut gather = |source: &dyn BatchSource<f32>, epoch: u64| {
        source.begin_epoch(epoch);
        for batch in indices.chunks(32) {
            source.ask_ahead(&context, batch);
            source.gather_features(&context, batch, &mut x);
            source.gather_values(&context, batch, &mut t);
        }
    };
    gather(&augment, 1);
    let before = calls();
    (2..10).for_each(|epoch| gather(&augment, epoch));
    assert_eq!(calls() - before, 0, "allocations of augmentation");

    // Batches in the background use the memory of those before.
    let ahead = Prefetch::new(Counted(augment, AtomicUsize::new(0)));
    let mut before = 0;
    for (i, batch) in indices.chunks(32).cycle().take(100).enumerate() {
        if i == 10 {
            before = calls();
        }
        ahead.ask_ahead(&context, batch);
        // A batch that is not begun would be taken from the thread.
        while ahead.source().1.load(Ordering::Relaxed) <= i {
            std::thread::yield_now();
        }
        ahead.gather_features(&context, batch, &mut x);
        ahead.gather_values(&context, batch, &mut t);
        ahead.begin_epoch(i as u64);
    }
    assert_eq!(calls() - before, 0, "allocations of the prefetch");
}

/// Counts the batches whose targets were gathered in the background.
struct Counted(Augment<f32, Dataset>, AtomicUsize);

impl BatchSource<f32> for Counted {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn features(&self) -> usize {
        self.0.features()
    }
    fn target_kind(&self) -> Option<TargetKind> {
        self.0.target_kind()
    }
    fn begin_epoch(&self, epoch: u64) {
        self.0.begin_epoch(epoch);
    }
    fn gather_features(&self, context: &Context, indices: &[usize], out: &mut [f32]) {
        self.0.gather_features(context, indices, out);
    }
    fn gather_classes(&self, indices: &[usize], out: &mut [u32]) {
        self.0.gather_classes(indices, out);
    }
    fn gather_values(&self, context: &Context, indices: &[usize], out: &mut [f32]) {
        self.0.gather_values(context, indices, out);
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}
