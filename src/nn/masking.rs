//! Steps of sequences that do not count.

use super::layer::Layer;
use super::spec::Spec;
use crate::engine::functions::masking::{Counts, ZeroOthers};
use crate::engine::{Builder, Form, Value, show};
use crate::error::{Error, Result};

/// Leaves out the steps of a sequence (L, E) where all features equal `mask_value`, as Keras' `Masking`: the layers behind it that know
/// masks, such as [`Lstm`](super::Lstm), pass over them, and others find zeros there.
///
/// So samples of different lengths, padded to one with a number that no feature has, are treated each in its own length.
///
/// ```
/// use gemmule::nn::{Dense, Gru, Input, Masking, Sequential};
/// let model = Sequential::new()
///     .with(Input::new(&[20, 3]))
///     .with(Masking::new(-1.0))
///     .with(Gru::new(3, 8).return_sequences(false))
///     .with(Dense::new(8, 1))
///     .build::<f32>(0)?;
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Masking {
    mask_value: f64,
}

impl Masking {
    /// Leaves out steps of `mask_value`, a finite number, in the model's precision; Keras' default is 0.
    pub fn new(mask_value: f64) -> Self {
        Self { mask_value }
    }
}

impl Layer for Masking {
    fn describe(&self) -> String {
        format!("Masking {}", self.mask_value)
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        if !self.mask_value.is_finite() {
            let expected = "a finite number";
            return Err(Error::argument("build", "mask_value of the Masking", expected, self.mask_value));
        }
        let [steps, features] = *builder.dims(input) else {
            return Err(
                builder.refusal("a sequence of L steps of E features, (L, E)", show(builder.dims(input)))
            );
        };
        let input = builder.in_rows(input)?;
        let counts = Counts { value: self.mask_value };
        let mask = builder.function(&[input], Form::rows(&[steps]), counts, &[])?;
        let output = builder.function(&[input, mask], Form::rows(&[steps, features]), ZeroOthers, &[])?;
        builder.set_mask(output, mask)?;
        Ok(output)
    }

    fn spec(&self) -> Option<Spec> {
        Some(Spec::new("masking").with("mask_value", self.mask_value))
    }
}
