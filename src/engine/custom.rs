//! Operations that a user writes.

use crate::context::Context;
use crate::kernel::Element;
use std::any::Any;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

/// A function of a sample's values, with a backward pass of its own: what a layer can lower to where the engine's operations
/// do not do ([`Builder::custom`](super::Builder::custom)).
///
/// It is called with some samples at a time, row by row, on any thread and in any number of pieces; so that the same seed
/// gives the same bits for any number of threads, what it makes of a sample must depend on that sample and the parameters
/// alone. `context` says which instruction set to use; its parallelism is serial.
///
/// It has one vector of parameters at most ([`Builder::vector`](super::Builder::vector); several go into one), and is not told
/// whether the model is in training. A model of f32 and one of f64 both may have it, so it is written for any [`Element`]:
///
/// ```
/// use gemmule::nn::{Builder, Dense, Layer, Loss, RowFunction, Sequential, Value};
/// use gemmule::optim::Sgd;
/// use gemmule::{Context, Element, Result};
///
/// /// y = x^2.
/// #[derive(Debug)]
/// struct Square;
///
/// impl<T: Element> RowFunction<T> for Square {
///     fn forward(&self, _: &Context, _: &[T], x: &[T], y: &mut [T]) {
///         for (y, &x) in y.iter_mut().zip(x) {
///             *y = x * x;
///         }
///     }
///     fn backward(&self, _: &Context, _: &[T], x: &[T], _: &[T], d_y: &[T], d_x: &mut [T]) {
///         for ((d_x, &d_y), &x) in d_x.iter_mut().zip(d_y).zip(x) {
///             *d_x = (x + x) * d_y;
///         }
///     }
/// }
///
/// impl Layer for Square {
///     fn describe(&self) -> String {
///         "square".to_owned()
///     }
///     fn inputs(&self) -> Option<usize> {
///         None
///     }
///     fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
///         let width = builder.width(input);
///         builder.custom(input, width, Square, None)
///     }
/// }
///
/// let mut model = Sequential::new().with(Dense::new(3, 4)).with(Square).build::<f64>(0)?;
/// model.compile(Loss::MeanSquaredError, Sgd::default())?;
/// # Ok::<(), gemmule::Error>(())
/// ```
pub trait RowFunction<T: Element>: fmt::Debug + Send + Sync + UnwindSafe + RefUnwindSafe {
    /// Writes the outputs `y` of all rows of `x`.
    fn forward(&self, context: &Context, parameters: &[T], x: &[T], y: &mut [T]);

    /// Writes the gradient by the inputs, from that by the outputs.
    fn backward(&self, context: &Context, parameters: &[T], x: &[T], y: &[T], d_y: &[T], d_x: &mut [T]);

    /// Adds the gradient by the parameters, summed over all samples of the batch, which come at once, to `d_parameters`, which
    /// are zeros. Called only if there are parameters.
    fn gradient(
        &self,
        context: &Context,
        parameters: &[T],
        x: &[T],
        y: &[T],
        d_y: &[T],
        d_parameters: &mut [T],
    ) {
        let _ = (context, parameters, x, y, d_y, d_parameters);
    }
}

/// A function for f32 and f64, behind one name for both.
#[derive(Clone)]
pub(crate) struct Custom {
    single: Arc<dyn RowFunction<f32>>,
    double: Arc<dyn RowFunction<f64>>,
}

impl Custom {
    pub(crate) fn new<F: RowFunction<f32> + RowFunction<f64> + 'static>(function: F) -> Self {
        let function = Arc::new(function);
        Self { single: Arc::clone(&function) as _, double: function }
    }

    /// The function for `T`.
    pub(crate) fn of<T: Element>(&self) -> &dyn RowFunction<T> {
        let either: [&dyn Any; 2] = [&self.single, &self.double];
        let found =
            either.into_iter().find_map(|function| function.downcast_ref::<Arc<dyn RowFunction<T>>>());
        found.expect("an element is f32 or f64").as_ref()
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.single.fmt(f)
    }
}
