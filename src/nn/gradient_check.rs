//! Gradients against differences of losses.

use super::model::Model;
use crate::engine::BatchSource;
use crate::error::Result;
use crate::tensor::Tensor;

impl Model<f64> {
    /// The largest relative error of the gradients of the loss on the samples `indices` against central differences: for the
    /// tests of a layer of one's own. Below 1e-7 where loss and layers are smooth near the parameters.
    ///
    /// For every number w of every parameter that is trained: `|g - n| / max(|g|, |n|, 1e-3)`, with
    /// `n = (loss(w + h) - loss(w - h)) / 2h` and `h = 1e-5 max(|w|, 1)`. The parameters are as before afterwards; the time is two
    /// passes for each number, so take a small model.
    ///
    /// Gradients by the inputs of the model are not compared: put a dense layer before the layer that is tested.
    ///
    /// # Errors
    /// As [`gradients`](Self::gradients); the parameter in hand may be moved then.
    ///
    /// ```
    /// use gemmule::data::Dataset;
    /// use gemmule::nn::{Activation, Dense, Loss, Sequential};
    /// use gemmule::optim::Sgd;
    /// use gemmule::Tensor;
    /// let x = Tensor::from_slice(&[2, 3], &[0.1, -0.4, 0.8, 0.3, 0.9, -0.2])?;
    /// let data = Dataset::from_values(x)?.with_classes(vec![0, 1], 2)?;
    /// let mut model = Sequential::new()
    ///     .with(Dense::new(3, 4))
    ///     .with(Activation::Tanh)
    ///     .with(Dense::new(4, 2))
    ///     .build::<f64>(0)?;
    /// model.compile(Loss::CrossEntropy, Sgd::default())?;
    /// assert!(model.gradient_error(&data, &[0, 1])? < 1e-7);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn gradient_error(&mut self, source: &dyn BatchSource<f64>, indices: &[usize]) -> Result<f64> {
        // Every pass changes them.
        let mut buffers: Vec<(String, Tensor<f64>)> = Vec::new();
        for info in self.buffers() {
            buffers.push((info.name.clone(), self.parameter(&info.name)?));
        }
        self.gradients(source, indices)?;
        let mut trained: Vec<(String, Tensor<f64>, Tensor<f64>)> = Vec::new();
        for info in self.parameters() {
            if self.is_trainable(&info.name)? {
                let (values, gradient) = (self.parameter(&info.name)?, self.gradient(&info.name)?);
                trained.push((info.name, values, gradient));
            }
        }
        let mut worst = 0.0_f64;
        for (name, values, gradient) in &trained {
            let mut moved = values.clone();
            for (i, (&w, &g)) in values.as_slice().iter().zip(gradient.as_slice()).enumerate() {
                let h = 1e-5 * w.abs().max(1.0);
                let mut loss_at = |w: f64| {
                    moved.as_mut_slice()[i] = w;
                    self.set_parameter(name, &moved)?;
                    // As training computes it, dropout included: its masks are those of this step.
                    self.gradients(source, indices).map(|(loss, _)| loss)
                };
                let n = (loss_at(w + h)? - loss_at(w - h)?) / (2.0 * h);
                moved.as_mut_slice()[i] = w;
                worst = worst.max((g - n).abs() / g.abs().max(n.abs()).max(1e-3));
            }
            self.set_parameter(name, values)?;
        }
        self.gradients(source, indices)?;
        for (name, values) in &buffers {
            self.set_parameter(name, values)?;
        }
        Ok(worst)
    }
}
