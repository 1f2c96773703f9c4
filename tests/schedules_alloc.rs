//! Steps under a schedule, an average of the weights and a time budget allocate nothing after the first ones. Counts every
//! allocation of the process: a binary of its own.

#[allow(unsafe_code, reason = "a global allocator that counts")]
#[path = "common/allocator.rs"]
mod allocator;

use allocator::calls;
use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Loss, Sequential};
use gemmule::optim::schedule::{CosineAnnealingLr, OneCycleLr, Schedule, SequentialLr, Warmup};
use gemmule::optim::{Adam, Sgd};
use gemmule::train::{Control, Event, ExponentialMovingAverage, Fit, StopOnNan, TimeBudget};
use gemmule::{Context, Parallelism, Result, Tensor};
use std::time::Duration;

/// One test: two at once would count each other's.
#[test]
fn steps_under_a_schedule_allocate_nothing() -> Result<()> {
    let x = Tensor::from_vec(&[400, 4], (0..1600).map(|i| i as f32 / 1600.0).collect())?;
    let data = Dataset::from_values(x)?.with_classes((0..400).map(|i| i % 2).collect(), 2)?;
    let net = Sequential::new().with(Dense::new(4, 8)).with(Activation::Relu).with(Dense::new(8, 2));
    let mut model = net.build_with::<f32>(Context::detect()?.with_parallelism(Parallelism::Serial), 1)?;
    model.compile(Loss::CrossEntropy, Adam::default())?;
    model.parameter_group(&["0.bias"], Sgd { momentum: 0.9, ..Sgd::default() })?;
    let mut counts = Vec::with_capacity(1000);
    let mut watch = |event: &Event<'_>| {
        if matches!(event, Event::StepEnd { .. }) {
            counts.push(calls());
        }
        Control::Continue
    };
    let cycle = SequentialLr::starting_with(OneCycleLr::new(0.01, 60))
        .then(60, CosineAnnealingLr::new(100).by_epoch());
    let (mut average, mut nan) = (ExponentialMovingAverage::default().warm_up(true), StopOnNan::new());
    let mut budget = TimeBudget::new(Duration::from_secs(3600));
    let options = Fit::new().batch_size(4).schedule(Warmup::new(10, cycle)).callback(&mut average);
    model.fit(&data, options.callback(&mut nan).callback(&mut budget).callback(&mut watch))?;
    assert_eq!(counts.len(), 100);
    assert_eq!(counts[99] - counts[1], 0, "{counts:?}");
    Ok(())
}
