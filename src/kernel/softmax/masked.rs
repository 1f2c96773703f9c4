//! Softmax and its relatives with a mask: `keep` says which elements take part.
//!
//! A row's result is that of its kept elements alone, as if the others did not exist, whatever they hold (NaN too). An
//! element that is left out has the softmax 0, the logarithm -infinity and the gradient 0. Where all are kept the bits
//! are those of the functions [without a mask](super).
//!
//! A row of which nothing is kept is a row of zeros (-infinity for the logarithms) with the gradient 0, so that a query
//! of attention that may look at nothing gets nothing. PyTorch's softmax of such a row, masked with -infinity, is NaN,
//! which would spoil the parameters for the sake of padding. Kept elements that are all -infinity give NaN, as without
//! a mask.
//!
//! `keep` holds whole rows, used again from the first when the input has more: one mask of (queries, keys) serves
//! inputs of (heads, queries, keys).
//!
//! Each function returns [`Error::Shape`] as its namesake without a mask does, and if `keep` is not
//! whole rows of which the input has a multiple.

use super::super::element::Element;
use super::super::math::check_length;
use super::check_rows;
use super::kernels::{Backward, ForEachRow, Keep, LogRow, LogSumExp, LogSumExpBackward, SoftmaxRow};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::share;

/// Checks `rows` of `width` against the mask.
fn check_keep(operation: &'static str, keep: &[bool], rows: usize, width: usize) -> Result<()> {
    let mask_rows = keep.len() / width;
    let whole = keep.len().is_multiple_of(width);
    if whole && (rows == 0 || (mask_rows > 0 && rows.is_multiple_of(mask_rows))) {
        return Ok(());
    }
    let expected =
        format_args!("{rows} rows of {width}, or a number of rows that divides {rows}").to_string();
    Err(Error::shape(operation, "keep", expected, format_args!("{} elements", keep.len())))
}

/// The [softmax](super::forward) of the elements that are kept.
///
/// # Errors
/// As [all](self).
///
/// ```
/// use gemmule::{Context, kernel::softmax};
/// let (context, mut y) = (Context::detect()?, [7.0_f32; 6]);
/// let keep = [true, true, false, false, false, false];
/// softmax::masked::forward(&context, &[1.0, 1.0, f32::NAN, 1.0, 2.0, 3.0], &keep, &mut y, 3)?;
/// assert_eq!(y, [0.5, 0.5, 0.0, 0.0, 0.0, 0.0]);
/// # Ok::<(), gemmule::Error>(())
/// ```
pub fn forward<T: Element>(
    context: &Context,
    input: &[T],
    keep: &[bool],
    output: &mut [T],
    width: usize,
) -> Result<()> {
    const OPERATION: &str = "softmax::masked::forward";
    let rows = check_rows(OPERATION, "input", input.len(), width)?;
    check_keep(OPERATION, keep, rows, width)?;
    check_length(OPERATION, "output", input.len(), output.len())?;
    let keep = Some(Keep::new(keep));
    share::run::<T, _>(
        context,
        ForEachRow { operation: SoftmaxRow, input: Some(input), output, width, keep },
    );
    Ok(())
}

/// [`forward`], `data` becoming its own softmax.
///
/// # Errors
/// As [all](self).
pub fn forward_in_place<T: Element>(
    context: &Context,
    data: &mut [T],
    keep: &[bool],
    width: usize,
) -> Result<()> {
    const OPERATION: &str = "softmax::masked::forward_in_place";
    let rows = check_rows(OPERATION, "data", data.len(), width)?;
    check_keep(OPERATION, keep, rows, width)?;
    let keep = Some(Keep::new(keep));
    share::run::<T, _>(context, ForEachRow { operation: SoftmaxRow, input: None, output: data, width, keep });
    Ok(())
}

/// The [logarithm of the softmax](super::log_softmax) of the elements that are kept.
///
/// # Errors
/// As [all](self).
pub fn log_softmax<T: Element>(
    context: &Context,
    input: &[T],
    keep: &[bool],
    output: &mut [T],
    width: usize,
) -> Result<()> {
    const OPERATION: &str = "softmax::masked::log_softmax";
    let rows = check_rows(OPERATION, "input", input.len(), width)?;
    check_keep(OPERATION, keep, rows, width)?;
    check_length(OPERATION, "output", input.len(), output.len())?;
    let keep = Some(Keep::new(keep));
    share::run::<T, _>(context, ForEachRow { operation: LogRow, input: Some(input), output, width, keep });
    Ok(())
}

/// [`log_softmax`], `data` becoming its own.
///
/// # Errors
/// As [all](self).
pub fn log_softmax_in_place<T: Element>(
    context: &Context,
    data: &mut [T],
    keep: &[bool],
    width: usize,
) -> Result<()> {
    const OPERATION: &str = "softmax::masked::log_softmax_in_place";
    let rows = check_rows(OPERATION, "data", data.len(), width)?;
    check_keep(OPERATION, keep, rows, width)?;
    let keep = Some(Keep::new(keep));
    share::run::<T, _>(context, ForEachRow { operation: LogRow, input: None, output: data, width, keep });
    Ok(())
}

/// The [logarithm of the sum of the exponentials](super::log_sum_exp) of the elements that are kept; -infinity if none
/// is.
///
/// # Errors
/// As [all](self).
pub fn log_sum_exp<T: Element>(
    context: &Context,
    input: &[T],
    keep: &[bool],
    output: &mut [T],
    width: usize,
) -> Result<()> {
    const OPERATION: &str = "softmax::masked::log_sum_exp";
    let rows = check_rows(OPERATION, "input", input.len(), width)?;
    check_keep(OPERATION, keep, rows, width)?;
    check_length(OPERATION, "output", rows, output.len())?;
    share::run::<T, _>(context, LogSumExp { input, output, width, keep: Some(Keep::new(keep)) });
    Ok(())
}

/// The gradient of [`forward`] from its output. What `d_output` holds for elements that are left out does not matter.
///
/// # Errors
/// As [all](self).
pub fn backward<T: Element>(
    context: &Context,
    output: &[T],
    keep: &[bool],
    d_output: &[T],
    d_input: &mut [T],
    width: usize,
) -> Result<()> {
    const OPERATION: &str = "softmax::masked::backward";
    let rows = check_rows(OPERATION, "output", output.len(), width)?;
    check_keep(OPERATION, keep, rows, width)?;
    check_length(OPERATION, "d_output", output.len(), d_output.len())?;
    check_length(OPERATION, "d_input", output.len(), d_input.len())?;
    let (d_output, keep) = (Some(d_output), Some(Keep::new(keep)));
    share::run::<T, _>(context, Backward::<T, false> { output, d_output, d_input, width, keep });
    Ok(())
}

/// [`backward`], `d` becoming the gradient of the input.
///
/// # Errors
/// As [all](self).
pub fn backward_in_place<T: Element>(
    context: &Context,
    output: &[T],
    keep: &[bool],
    d: &mut [T],
    width: usize,
) -> Result<()> {
    const OPERATION: &str = "softmax::masked::backward_in_place";
    let rows = check_rows(OPERATION, "output", output.len(), width)?;
    check_keep(OPERATION, keep, rows, width)?;
    check_length(OPERATION, "d", output.len(), d.len())?;
    let keep = Some(Keep::new(keep));
    share::run::<T, _>(context, Backward::<T, false> { output, d_output: None, d_input: d, width, keep });
    Ok(())
}

/// The gradient of [`log_softmax`] from its output. What `d_output` holds for elements that are left out does not
/// matter.
///
/// # Errors
/// As [all](self).
pub fn log_softmax_backward<T: Element>(
    context: &Context,
    output: &[T],
    keep: &[bool],
    d_output: &[T],
    d_input: &mut [T],
    width: usize,
) -> Result<()> {
    const OPERATION: &str = "softmax::masked::log_softmax_backward";
    let rows = check_rows(OPERATION, "output", output.len(), width)?;
    check_keep(OPERATION, keep, rows, width)?;
    check_length(OPERATION, "d_output", output.len(), d_output.len())?;
    check_length(OPERATION, "d_input", output.len(), d_input.len())?;
    let (d_output, keep) = (Some(d_output), Some(Keep::new(keep)));
    share::run::<T, _>(context, Backward::<T, true> { output, d_output, d_input, width, keep });
    Ok(())
}

/// [`log_softmax_backward`], `d` becoming the gradient of the input.
///
/// # Errors
/// As [all](self).
pub fn log_softmax_backward_in_place<T: Element>(
    context: &Context,
    output: &[T],
    keep: &[bool],
    d: &mut [T],
    width: usize,
) -> Result<()> {
    const OPERATION: &str = "softmax::masked::log_softmax_backward_in_place";
    let rows = check_rows(OPERATION, "output", output.len(), width)?;
    check_keep(OPERATION, keep, rows, width)?;
    check_length(OPERATION, "d", output.len(), d.len())?;
    let keep = Some(Keep::new(keep));
    share::run::<T, _>(context, Backward::<T, true> { output, d_output: None, d_input: d, width, keep });
    Ok(())
}

/// The gradient of [`log_sum_exp`] from its input and output.
///
/// # Errors
/// As [all](self).
pub fn log_sum_exp_backward<T: Element>(
    context: &Context,
    input: &[T],
    keep: &[bool],
    output: &[T],
    d_output: &[T],
    d_input: &mut [T],
    width: usize,
) -> Result<()> {
    const OPERATION: &str = "softmax::masked::log_sum_exp_backward";
    let rows = check_rows(OPERATION, "input", input.len(), width)?;
    check_keep(OPERATION, keep, rows, width)?;
    check_length(OPERATION, "output", rows, output.len())?;
    check_length(OPERATION, "d_output", rows, d_output.len())?;
    check_length(OPERATION, "d_input", input.len(), d_input.len())?;
    let (input, keep) = (Some(input), Some(Keep::new(keep)));
    share::run::<T, _>(context, LogSumExpBackward { input, output, d_output, d_input, width, keep });
    Ok(())
}

/// [`log_sum_exp_backward`], the input in `data` becoming its gradient.
///
/// # Errors
/// As [all](self).
pub fn log_sum_exp_backward_in_place<T: Element>(
    context: &Context,
    data: &mut [T],
    keep: &[bool],
    output: &[T],
    d_output: &[T],
    width: usize,
) -> Result<()> {
    const OPERATION: &str = "softmax::masked::log_sum_exp_backward_in_place";
    let rows = check_rows(OPERATION, "data", data.len(), width)?;
    check_keep(OPERATION, keep, rows, width)?;
    check_length(OPERATION, "output", rows, output.len())?;
    check_length(OPERATION, "d_output", rows, d_output.len())?;
    let keep = Some(Keep::new(keep));
    share::run::<T, _>(
        context,
        LogSumExpBackward { input: None, output, d_output, d_input: data, width, keep },
    );
    Ok(())
}
