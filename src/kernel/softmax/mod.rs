//! Softmax and its relatives over the last axis: rows of `width` elements, one after the other.
//!
//! | function | of each row | gradient |
//! | --- | --- | --- |
//! | [`forward`] | y = e^(x - m) / sum e^(x - m) | [`backward`]: y (d - sum d y) |
//! | [`log_softmax`] | y = (x - m) - ln sum e^(x - m) | [`log_softmax_backward`]: d - e^y sum d |
//! | [`log_sum_exp`] | y = m + ln sum e^(x - m) | [`log_sum_exp_backward`]: d e^(x - y) |
//!
//! m is the row's maximum, so nothing overflows, whatever the finite inputs. e^ and ln are those of
//! [`math`](super::math); the quotient is a product with the rounded 1 / sum, so a row of n sums to 1 within
//! 4 ULP times the root of n. The `_in_place` ones give the same bits; those of [`masked`] leave elements out.
//!
//! A row's bits depend on that row alone. Its sums run over vectors in ascending order, then by a fixed tree, in chunks
//! of 1024 elements that are added in order, so that the error of wide rows stays small:
//!
//! ```text
//!   row      x0 .. x15 | x16 .. x31 | x32 .. x41, and nothing
//!   vectors     v0     +     v1     +     v2, zeros past the end
//!   tree     lane i + lane i+8, then i + i+4, i + i+2, i + i+1
//! ```
//!
//! A NaN makes all of its row NaN. So does +infinity, and a row that is -infinity throughout, as in PyTorch, since both
//! have no softmax; beside finite elements -infinity just has the weight 0. `log_sum_exp` has a value there: +infinity,
//! and -infinity for the row of -infinity; its gradient there is NaN.

mod kernels;
pub mod masked;
mod rows;

use super::compiled::compiled;
use super::element::Element;
use super::math::check_length;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::share;
use kernels::{Backward, ForEachRow, LogRow, LogSumExp, LogSumExpBackward};

pub(crate) use kernels::{GradientRow, RowMap, SoftmaxRow};
pub(crate) use rows::{Apart, Here, Nowhere, Place, exp_shifted_sum, row_max};

/// Checks that `length` elements are whole rows; returns their number.
fn check_rows(operation: &'static str, what: &'static str, length: usize, width: usize) -> Result<usize> {
    if width == 0 {
        return Err(Error::shape(operation, "width", "at least 1", 0));
    }
    if !length.is_multiple_of(width) {
        return Err(Error::shape(operation, what, format_args!("whole rows of {width}"), length));
    }
    Ok(length / width)
}

/// `output` is the softmax of each row of `input`: numbers from 0 to 1 with the sum 1.
///
/// f32: within a relative 4 * 2^-23 of e^(x - m) / sum, where x - m is rounded to f32; tested up to 5000 wide.
///
/// # Errors
/// [`Error::Shape`] if the width is 0, the input is not whole rows, or the slices differ in length.
///
/// ```
/// use gemmule::{Context, kernel::softmax};
/// let (context, mut y) = (Context::detect()?, [0.0_f32; 4]);
/// softmax::forward(&context, &[0.0, 0.0, 3e38, -3e38], &mut y, 2)?;
/// assert_eq!(y, [0.5, 0.5, 1.0, 0.0]);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn forward<T: Element>(context: &Context, input: &[T], output: &mut [T], width: usize) -> Result<()> {
    check_rows("softmax::forward", "input", input.len(), width)?;
    check_length("softmax::forward", "output", input.len(), output.len())?;
    share::run::<T, _>(
        context,
        ForEachRow { operation: SoftmaxRow, input: Some(input), output, width, keep: None },
    );
    Ok(())
}

/// [`forward`], `data` becoming its own softmax.
///
/// # Errors
/// [`Error::Shape`] if the width is 0 or the data are not whole rows.
pub fn forward_in_place<T: Element>(context: &Context, data: &mut [T], width: usize) -> Result<()> {
    check_rows("softmax::forward_in_place", "data", data.len(), width)?;
    share::run::<T, _>(
        context,
        ForEachRow { operation: SoftmaxRow, input: None, output: data, width, keep: None },
    );
    Ok(())
}

/// `output` is the logarithm of the softmax of each row of `input`, without taking the logarithm of small numbers.
///
/// # Errors
/// [`Error::Shape`] if the width is 0, the input is not whole rows, or the slices differ in length.
pub fn log_softmax<T: Element>(context: &Context, input: &[T], output: &mut [T], width: usize) -> Result<()> {
    check_rows("softmax::log_softmax", "input", input.len(), width)?;
    check_length("softmax::log_softmax", "output", input.len(), output.len())?;
    share::run::<T, _>(
        context,
        ForEachRow { operation: LogRow, input: Some(input), output, width, keep: None },
    );
    Ok(())
}

/// [`log_softmax`], `data` becoming its own.
///
/// # Errors
/// [`Error::Shape`] if the width is 0 or the data are not whole rows.
pub fn log_softmax_in_place<T: Element>(context: &Context, data: &mut [T], width: usize) -> Result<()> {
    check_rows("softmax::log_softmax_in_place", "data", data.len(), width)?;
    share::run::<T, _>(
        context,
        ForEachRow { operation: LogRow, input: None, output: data, width, keep: None },
    );
    Ok(())
}

/// `output[row]` is the logarithm of the sum of the exponentials of that row of `input`.
///
/// # Errors
/// [`Error::Shape`] if the width is 0, the input is not whole rows, or `output` is not one element per row.
pub fn log_sum_exp<T: Element>(context: &Context, input: &[T], output: &mut [T], width: usize) -> Result<()> {
    let rows = check_rows("softmax::log_sum_exp", "input", input.len(), width)?;
    check_length("softmax::log_sum_exp", "output", rows, output.len())?;
    share::run::<T, _>(context, LogSumExp { input, output, width, keep: None });
    Ok(())
}

/// The gradient of [`forward`] from its output: `d_input = y (d - sum d y)` in each row.
///
/// # Errors
/// [`Error::Shape`] if the width is 0, the output is not whole rows, or the slices differ in length.
pub fn backward<T: Element>(
    context: &Context,
    output: &[T],
    d_output: &[T],
    d_input: &mut [T],
    width: usize,
) -> Result<()> {
    check_rows("softmax::backward", "output", output.len(), width)?;
    check_length("softmax::backward", "d_output", output.len(), d_output.len())?;
    check_length("softmax::backward", "d_input", output.len(), d_input.len())?;
    let d_output = Some(d_output);
    share::run::<T, _>(context, Backward::<T, false> { output, d_output, d_input, width, keep: None });
    Ok(())
}

/// [`backward`], `d` becoming the gradient of the input.
///
/// # Errors
/// [`Error::Shape`] if the width is 0, the output is not whole rows, or the slices differ in length.
pub fn backward_in_place<T: Element>(
    context: &Context,
    output: &[T],
    d: &mut [T],
    width: usize,
) -> Result<()> {
    check_rows("softmax::backward_in_place", "output", output.len(), width)?;
    check_length("softmax::backward_in_place", "d", output.len(), d.len())?;
    share::run::<T, _>(
        context,
        Backward::<T, false> { output, d_output: None, d_input: d, width, keep: None },
    );
    Ok(())
}

/// The gradient of [`log_softmax`] from its output: `d_input = d - e^y sum d` in each row.
///
/// # Errors
/// [`Error::Shape`] if the width is 0, the output is not whole rows, or the slices differ in length.
pub fn log_softmax_backward<T: Element>(
    context: &Context,
    output: &[T],
    d_output: &[T],
    d_input: &mut [T],
    width: usize,
) -> Result<()> {
    check_rows("softmax::log_softmax_backward", "output", output.len(), width)?;
    check_length("softmax::log_softmax_backward", "d_output", output.len(), d_output.len())?;
    check_length("softmax::log_softmax_backward", "d_input", output.len(), d_input.len())?;
    let d_output = Some(d_output);
    share::run::<T, _>(context, Backward::<T, true> { output, d_output, d_input, width, keep: None });
    Ok(())
}

/// [`log_softmax_backward`], `d` becoming the gradient of the input.
///
/// # Errors
/// [`Error::Shape`] if the width is 0, the output is not whole rows, or the slices differ in length.
pub fn log_softmax_backward_in_place<T: Element>(
    context: &Context,
    output: &[T],
    d: &mut [T],
    width: usize,
) -> Result<()> {
    check_rows("softmax::log_softmax_backward_in_place", "output", output.len(), width)?;
    check_length("softmax::log_softmax_backward_in_place", "d", output.len(), d.len())?;
    share::run::<T, _>(
        context,
        Backward::<T, true> { output, d_output: None, d_input: d, width, keep: None },
    );
    Ok(())
}

/// The gradient of [`log_sum_exp`] from its input and output: `d_input = d_output[row] e^(x - y)`, the row's softmax
/// times one number.
///
/// # Errors
/// [`Error::Shape`] if the width is 0, the input is not whole rows, `d_input` differs from it in length, or the others
/// are not one element per row.
pub fn log_sum_exp_backward<T: Element>(
    context: &Context,
    input: &[T],
    output: &[T],
    d_output: &[T],
    d_input: &mut [T],
    width: usize,
) -> Result<()> {
    let rows = check_rows("softmax::log_sum_exp_backward", "input", input.len(), width)?;
    check_length("softmax::log_sum_exp_backward", "output", rows, output.len())?;
    check_length("softmax::log_sum_exp_backward", "d_output", rows, d_output.len())?;
    check_length("softmax::log_sum_exp_backward", "d_input", input.len(), d_input.len())?;
    let input = Some(input);
    share::run::<T, _>(context, LogSumExpBackward { input, output, d_output, d_input, width, keep: None });
    Ok(())
}

/// [`log_sum_exp_backward`], the input in `data` becoming its gradient.
///
/// # Errors
/// [`Error::Shape`] if the width is 0, the data are not whole rows, or the others are not one element per row.
pub fn log_sum_exp_backward_in_place<T: Element>(
    context: &Context,
    data: &mut [T],
    output: &[T],
    d_output: &[T],
    width: usize,
) -> Result<()> {
    let rows = check_rows("softmax::log_sum_exp_backward_in_place", "data", data.len(), width)?;
    check_length("softmax::log_sum_exp_backward_in_place", "output", rows, output.len())?;
    check_length("softmax::log_sum_exp_backward_in_place", "d_output", rows, d_output.len())?;
    share::run::<T, _>(
        context,
        LogSumExpBackward { input: None, output, d_output, d_input: data, width, keep: None },
    );
    Ok(())
}

compiled! {
    ForEachRow<'a, Self, SoftmaxRow>,
    ForEachRow<'a, Self, LogRow>,
    LogSumExp<'a, Self>,
    LogSumExpBackward<'a, Self>,
    Backward<'a, Self, false>,
    Backward<'a, Self, true>,
}
