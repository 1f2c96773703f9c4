//! The feature `tracing`: a span for each run of a plan, and one for each of its phases.

#![cfg(feature = "tracing")]

use gemmule::data::Dataset;
use gemmule::nn::{Dense, Loss, Sequential};
use gemmule::optim::Sgd;
use gemmule::{Context, Parallelism, Tensor};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps what it is told, a line for each span.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        *self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = span.metadata().name().to_owned();
        span.record(&mut Text(&mut line));
        let mut lines = self.0.lock().unwrap();
        lines.push(line);
        Id::from_u64(lines.len() as u64)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_step_has_a_span_for_each_phase() {
    let x = Tensor::from_vec(&[4, 2], (0..8).map(|i| i as f32 / 8.0).collect()).unwrap();
    let data = Dataset::from_values(x).unwrap().with_classes(vec![0, 1, 2, 0], 3).unwrap();
    let context = Context::detect().unwrap().with_parallelism(Parallelism::Serial);
    let mut model = Sequential::new().with(Dense::new(2, 3)).build_with::<f32>(context, 0).unwrap();
    model.compile(Loss::CrossEntropy, Sgd::default()).unwrap();
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || model.step(&data, &[0, 1, 2]).unwrap());
    let lines = lines.0.lock().unwrap();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[0].starts_with("run task=Train") && lines[0].contains("samples=3 step=1"), "{lines:?}");
    assert!(
        lines[1].starts_with("phase index=0") && lines[1].contains("gather > product 3 x 3 x 2"),
        "{lines:?}"
    );
    assert!(lines[3].starts_with("phase index=2") && lines[3].contains("update"), "{lines:?}");
}
