//! A product from its checked operands: the plan, the packing buffers, the team.

use super::Epilogue;
use super::blocking::Blocking;
use super::driver::Operands;
use super::microkernel::COMPANIONS;
use super::plan::{Plan, Shape};
use super::small::{Direct, is_direct};
use super::view::{Layout, MatMut, MatRef};
use super::workspace::with_workspace;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::kernel::activation::Activation;
use crate::kernel::element::Element;
use crate::parallel;

/// The product after its checks. `blocking` can be injected, so that small tests reach every edge.
#[allow(clippy::too_many_arguments, reason = "BLAS's arguments and what the tests inject")]
pub(crate) fn product<T: Element>(
    context: &Context,
    alpha: T,
    a: MatRef<'_, T>,
    b: Factor<'_, T>,
    beta: T,
    c: &mut MatMut<'_, T>,
    epilogue: &Epilogue<'_, T>,
    width: usize,
    blocking: Option<Blocking>,
) -> Result<()> {
    let (b_pointer, mut b_layout, packed) = match b {
        Factor::Matrix(b) => (b.pointer(), b.layout(), false),
        Factor::Packed(panels, layout) => (panels.as_ptr(), layout, true),
    };
    let (mut a_layout, c_layout) = (a.layout(), c.layout());
    if alpha == T::zero() {
        (a_layout.cols, b_layout.rows) = (0, 0);
    }
    let saved = epilogue.derivative.map(|(activation, saved)| (activation, saved.pointer(), saved.layout()));
    if let Some((_, _, layout)) = saved
        && layout.col_stride != 1
        && layout.cols > 1
    {
        return Err(Error::shape("gemm", "saved matrix of the derivative", "contiguous columns", layout));
    }
    let c_pointer = c.pointer();
    let operands = |workspace| Operands {
        a: a.pointer(),
        a_row_stride: a_layout.row_stride,
        a_col_stride: a_layout.col_stride,
        b: b_pointer,
        b_row_stride: b_layout.row_stride,
        b_col_stride: b_layout.col_stride,
        c: c_pointer,
        c_row_stride: c_layout.row_stride,
        c_col_stride: c_layout.col_stride,
        alpha,
        beta,
        bias: epilogue.bias.map_or(std::ptr::null(), <[T]>::as_ptr),
        activation: epilogue.activation,
        derivative: saved.map_or(Activation::Identity, |(activation, ..)| activation),
        saved: saved.map_or(std::ptr::null(), |(_, pointer, _)| pointer),
        saved_row_stride: saved.map_or(0, |(.., layout)| layout.row_stride),
        tile_function: epilogue.tile_function,
        companions: [std::ptr::null(); COMPANIONS],
        companion_count: 0,
        workspace,
    };
    if width == 1 && !packed && blocking.is_none() && is_direct::<T>(a_layout, b_layout, c_layout) {
        let operands = operands(std::ptr::null_mut());
        T::run(context, Direct { operands: &operands, m: c_layout.rows, n: c_layout.cols, k: a_layout.cols });
        return Ok(());
    }
    let by_column = epilogue.bias.is_some() || saved.is_some();
    let shape = Shape { a: a_layout, b: b_layout, c: c_layout, packed, by_column, long_rows: false };
    let plan = Plan::new::<T>(context, &shape, width, blocking);
    // As many members as can have something to do.
    let width = width.min(plan.tasks().max(1));
    with_workspace(plan.workspace_len() * width, |workspace: *mut T| {
        let operands = operands(workspace);
        let task = |index, member| {
            // SAFETY: plan and operands come from checked views that are borrowed until here; every task runs once,
            // and each thread has a member number of its own.
            unsafe { plan.run(context, &operands, index, member) };
        };
        if width == 1 {
            (0..plan.tasks()).for_each(|index| task(index, 0));
        } else {
            parallel::with_team(width, |team| {
                team.phase(plan.tasks(), &|tile: parallel::Tile| task(tile.index, tile.member));
            });
        }
    })
}

/// The right factor of a product.
#[derive(Clone, Copy)]
pub(crate) enum Factor<'a, T> {
    /// As it is.
    Matrix(MatRef<'a, T>),
    /// In panels that [`pack_all`](super::pack::pack_all) made, of a matrix of this many rows and columns.
    Packed(&'a [T], Layout),
}
