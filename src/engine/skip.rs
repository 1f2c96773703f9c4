//! Products with a batch that holds many zeros: see `kernel/gemm/zeros.rs`.

use super::arena::{Place, TileRows};
use super::findings::Findings;
use super::plan::Product;
use super::run::{Run, one_row};
use crate::error::Result;
use crate::kernel::gemm::zeros;
use crate::kernel::update::Ready;
use crate::kernel::{Element, activation, reduce};
use std::sync::atomic::Ordering;

impl<T: Element> Run<'_, T> {
    /// Some rows of y = f(x W + b), without the zeros of x.
    ///
    /// # Safety
    /// As [`Run::tile`].
    pub(super) unsafe fn rows_with_zeros(&self, p: &Product, rows: TileRows) -> Result<()> {
        let (Place::Buffer(x), Place::Parameters(w), Place::Buffer(y)) = (p.a, p.b, p.c) else {
            unreachable!("the batch times a weight")
        };
        let (inputs, outputs) = (p.a_layout.cols, p.b_layout.cols);
        // SAFETY: nobody writes the parameters now, and the rows of both buffers are this tile's alone.
        let (x, y, w, bias) = unsafe {
            (
                self.memory.read(x, self.memory.start(x, &rows, inputs), rows.count * inputs),
                self.memory.write(y, self.memory.start(y, &rows, outputs), rows.count * outputs),
                self.memory.parameters(w, inputs * outputs),
                match p.bias {
                    Place::Parameters(bias) => self.memory.parameters(bias, outputs),
                    _ => &[],
                },
            )
        };
        let panel = p.panels().1;
        zeros::RowsTimes { x, inputs, w, outputs, panel, bias, y: &mut *y }.run(self.context);
        activation::forward_in_place(self.context, p.activation, y)
    }

    /// A tile of a product of the whole batch, or of its transpose, without the zeros; if it is a weight gradient, maybe with the
    /// update.
    ///
    /// # Safety
    /// As [`Run::tile`].
    pub(super) unsafe fn with_zeros(
        &self,
        p: &Product,
        tile: usize,
        member: usize,
        ready: &[Ready<T>],
        findings: &Findings,
    ) {
        let (Place::Buffer(x), Place::Buffer(d), Place::Gradients(start)) = (p.a, p.b, p.c) else {
            let first = tile * zeros::ROWS;
            let count = zeros::ROWS.min(p.a_layout.rows - first);
            let rows = TileRows { first, count, most: zeros::ROWS, member };
            // SAFETY: passed on.
            let done = unsafe { self.rows_with_zeros(p, rows) };
            return done.unwrap_or_else(|error| panic!("a plan's product refused its own operands: {error}"));
        };
        let (inputs, d_row_stride, batch) = (p.a_layout.rows, p.b_layout.cols, self.plan.batch);
        let ((_, outputs), words) = (p.panels(), inputs.div_ceil(zeros::WORD));
        let (panel, first) = (tile / words, tile % words * zeros::WORD);
        let count = zeros::WORD.min(inputs - first);
        let (at, len) = (start + (panel * inputs + first) * outputs, count * outputs);
        // SAFETY: nobody writes the batch and the gradient of the output in this phase; the rows of the weight are this tile's alone.
        unsafe {
            let x = self.memory.read(x, 0, batch * inputs);
            let d = self.memory.read(d, panel * outputs, batch * d_row_stride - panel * outputs);
            // One tile of a panel looks for all: what is not finite gives NaN there, as the product with zeros does.
            let all = first == 0 && reduce::first_non_finite(self.context, d).is_some();
            let dw = self.memory.gradients_mut(at, len);
            let adds = self.accumulate;
            let product =
                zeros::TransposedTimes { x, inputs, first, count, d, d_row_stride, outputs, dw, adds, all };
            product.run(self.context);
            if let Some(index) = p.update {
                let group = self.graph.parameters[index].group;
                if !self.update_range(at, one_row(len), &ready[group]) {
                    findings.finite.store(false, Ordering::Relaxed);
                }
            }
        }
    }
}
