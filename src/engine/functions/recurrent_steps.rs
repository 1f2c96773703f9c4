//! The steps of a recurrent layer: the time loops, and the gradients of the weights.

use super::recurrent::{FEW, Kind, Packed, Recurrent};
use crate::context::Context;
use crate::engine::function::{Backward, BatchCall, Compute, Forward, Parameters, Pass};
use crate::kernel::Element;
use crate::kernel::compiled::Compiled;
use crate::kernel::gemm::view::{MatMut, MatRef};
use crate::kernel::gemm::{Epilogue, PackedB, gemm, gemm_packed, gemm_with, pack_b, packed_in};
use crate::kernel::recurrent::{self as kernel, Cell, Gru, Lstm, Rnn, Rows};

/// Why a view or a product of this file cannot fail: the shapes are the plan's.
const FITS: &str = "a recurrent layer's own shapes";

/// Rows of `cols` contiguous elements from `offset` on.
fn view<T: Element>(data: &[T], offset: usize, rows: usize, cols: usize, stride: usize) -> MatRef<'_, T> {
    MatRef::new(data, offset, rows, cols, stride as isize, 1).expect(FITS)
}

fn view_mut<T: Element>(
    data: &mut [T],
    offset: usize,
    rows: usize,
    cols: usize,
    stride: usize,
) -> MatMut<'_, T> {
    MatMut::new(data, offset, rows, cols, stride as isize, 1).expect(FITS)
}

/// C = A B + beta C + bias.
fn product<T: Element>(
    context: &Context,
    a: MatRef<'_, T>,
    b: &PackedB<'_, T>,
    beta: T,
    mut c: MatMut<'_, T>,
    bias: Option<&[T]>,
) {
    let epilogue = Epilogue { bias, ..Epilogue::default() };
    gemm_packed(context, T::one(), a, b, beta, &mut c, &epilogue).expect(FITS);
}

/// Runs `$body` with the cell as `$cell`.
macro_rules! with_cell {
    ($kind:expr, $cell:ident => $body:expr) => {
        match $kind {
            Kind::Rnn { relu } => {
                let $cell = Rnn { relu };
                $body
            }
            Kind::Lstm => {
                let $cell = Lstm;
                $body
            }
            Kind::Gru => {
                let $cell = Gru;
                $body
            }
        }
    };
}

impl<T: Element> Compute<T> for Recurrent {
    fn forward(&self, _: usize, mut call: Forward<'_, T>) -> Result<(), usize> {
        for direction in 0..self.directions {
            with_cell!(self.kind, cell => self.direction(cell, direction, &mut call));
        }
        Ok(())
    }

    fn backward(&self, _: usize, mut call: Backward<'_, T>) {
        for direction in 0..self.directions {
            with_cell!(self.kind, cell => self.direction_back(cell, direction, &mut call));
        }
    }

    fn batch(&self, pass: Pass, _: usize, tile: usize, call: BatchCall<'_, T>) {
        let weights = self.directions * self.weight_tiles();
        match pass {
            Pass::Prepare => self.pack(tile, call),
            _ if tile < weights => self.weight_gradients(tile, call),
            _ => self.initial_gradients(tile - weights, call),
        }
    }
}

impl Recurrent {
    fn matrix<'a, T: Element>(
        &self,
        context: &Context,
        shared: &'a [T],
        packed: Packed,
        direction: usize,
    ) -> PackedB<'a, T> {
        let range = self.packed_range(self.packed_number(packed, direction), size_of::<T>());
        let (rows, cols) = self.packed_shape(packed);
        packed_in(context, &shared[range], rows, cols).expect(FITS)
    }

    fn bias<'a, T>(&self, parameters: Parameters<'a, T>, direction: usize, which: usize) -> Option<&'a [T]> {
        self.bias.then(|| parameters[self.parameter(direction, which)])
    }

    /// Some samples through all steps, in one direction.
    fn direction<T, C: Cell<T>>(&self, cell: C, direction: usize, call: &mut Forward<'_, T>)
    where
        T: Element + for<'a> Compiled<kernel::Forward<'a, T, C>>,
    {
        let (samples, steps, hidden, width) =
            (call.samples.len(), self.steps, self.hidden, self.gates_width());
        let (sums, states_width, row) = (C::GATES * hidden, C::STATES * hidden, self.directions * self.row());
        let at_once = samples < FEW;
        let (sums_len, stride) =
            if at_once { (samples * steps * sums, steps * sums) } else { (samples * sums, sums) };
        let (gates, rest) = call.scratch.split_at_mut(sums_len);
        let states = &mut rest[..samples * states_width];
        for (k, part) in states.chunks_exact_mut(hidden).enumerate() {
            if self.initial {
                part.copy_from_slice(call.parameters[self.initial_state(direction, k % C::STATES)]);
            } else {
                part.fill(T::zero());
            }
        }
        let context = call.context;
        let input = self.matrix(context, call.shared, Packed::Input, direction);
        let recurrent = self.matrix(context, call.shared, Packed::Hidden, direction);
        let [bias_ih, bias_hh] = [2, 3].map(|which| self.bias(call.parameters, direction, which));
        let (x, mask) = (call.inputs[0], call.inputs.get(1));
        // Where the products with h stand: on those with x, or, where the cell takes them apart, behind them.
        let (behind, beta) = if sums == width { (0, T::one()) } else { (width, T::zero()) };
        if at_once {
            let rows = samples * steps;
            let a = view(x, 0, rows, self.inputs, self.inputs);
            product(context, a, &input, T::zero(), view_mut(gates, 0, rows, width, sums), bias_ih);
        }
        for index in 0..steps {
            let step = self.step(direction, index);
            let offset = if at_once { step * sums } else { 0 };
            if !at_once {
                let a = view(x, step * self.inputs, samples, self.inputs, steps * self.inputs);
                product(context, a, &input, T::zero(), view_mut(gates, 0, samples, width, sums), bias_ih);
            }
            let c = view_mut(gates, offset + behind, samples, width, stride);
            if index > 0 || self.initial {
                let h = view(states, 0, samples, hidden, states_width);
                product(context, h, &recurrent, beta, c, bias_hh);
            } else {
                // h is 0.
                let (a, b) = (view(&[], 0, samples, 0, 0), view(&[], 0, 0, width, 0));
                let epilogue = Epilogue { bias: bias_hh, ..Epilogue::default() };
                gemm_with(context, T::one(), a, b, beta, &mut { c }, &epilogue).expect(FITS);
            }
            let place = step * self.directions + direction;
            let kept = (!call.kept.is_empty())
                .then(|| Rows { data: &mut call.kept[place * self.row()..], stride: steps * row });
            let output = self.sequences.then(|| Rows {
                data: &mut call.output[place * hidden..],
                stride: steps * self.directions * hidden,
            });
            T::run(
                context,
                kernel::Forward {
                    cell,
                    hidden,
                    gates: Rows { data: &gates[offset..], stride },
                    states,
                    kept,
                    output,
                    mask: mask.map(|mask| Rows { data: &mask[step..], stride: steps }),
                },
            );
        }
        if !self.sequences {
            let outputs = call.output.chunks_exact_mut(self.directions * hidden);
            for (output, states) in outputs.zip(states.chunks_exact(states_width)) {
                output[direction * hidden..][..hidden].copy_from_slice(&states[..hidden]);
            }
        }
    }

    /// The same backward.
    fn direction_back<T, C: Cell<T>>(&self, cell: C, direction: usize, call: &mut Backward<'_, T>)
    where
        T: Element + for<'a> Compiled<kernel::Backward<'a, T, C>>,
    {
        let (samples, steps, hidden) = (call.samples.len(), self.steps, self.hidden);
        let (states_width, row) = (C::STATES * hidden, self.directions * self.row());
        let at_once = samples < FEW;
        let d_states = &mut call.scratch[..samples * states_width];
        d_states.fill(T::zero());
        if !self.sequences {
            let d_outputs = call.d_output.chunks_exact(self.directions * hidden);
            for (d, d_output) in d_states.chunks_exact_mut(states_width).zip(d_outputs) {
                d[..hidden].copy_from_slice(&d_output[direction * hidden..][..hidden]);
            }
        }
        let (context, mask) = (call.context, call.inputs.get(1));
        let recurrent = self.matrix(context, call.shared, Packed::HiddenBack, direction);
        let hidden_slot = self.kind.hidden_slot(0) * hidden;
        for index in (0..steps).rev() {
            let step = self.step(direction, index);
            let place = step * self.directions + direction;
            let d_output = self.sequences.then(|| Rows {
                data: &call.d_output[place * hidden..],
                stride: steps * self.directions * hidden,
            });
            T::run(
                context,
                kernel::Backward {
                    cell,
                    hidden,
                    kept: Rows { data: &mut call.kept[place * self.row()..], stride: steps * row },
                    d_states,
                    d_output,
                    mask: mask.map(|mask| Rows { data: &mask[step..], stride: steps }),
                },
            );
            if index > 0 && self.truncate.is_some_and(|piece| index.is_multiple_of(piece)) {
                d_states.fill(T::zero());
            } else if index > 0 || self.initial {
                let offset = place * self.row() + hidden_slot;
                let a = view(call.kept, offset, samples, self.gates_width(), steps * row);
                let c = view_mut(d_states, 0, samples, hidden, states_width);
                product(context, a, &recurrent, T::one(), c, None);
            }
            if let (Some(Some(d_x)), false) = (call.d_inputs.first_mut(), at_once) {
                self.input_gradient(context, direction, Some(step), (call.shared, call.kept), d_x);
            }
        }
        if let (Some(Some(d_x)), true) = (call.d_inputs.first_mut(), at_once) {
            self.input_gradient(context, direction, None, (call.shared, call.kept), d_x);
        }
        if self.initial {
            let place = self.step(direction, 0) * self.directions + direction;
            let at = place * self.row() + C::KEPT * hidden;
            for (kept, d) in call.kept.chunks_exact_mut(steps * row).zip(d_states.chunks_exact(states_width))
            {
                kept[at..at + states_width].copy_from_slice(d);
            }
        }
    }

    /// The gradient by x of one step, or of all; what the second direction adds comes after the first.
    fn input_gradient<T: Element>(
        &self,
        context: &Context,
        direction: usize,
        step: Option<usize>,
        (shared, kept): (&[T], &[T]),
        d_x: &mut [T],
    ) {
        let (inputs, steps, row) = (self.inputs, self.steps, self.directions * self.row());
        let samples = d_x.len() / (steps * inputs);
        let (first, rows, stride, x_first, x_stride) = match step {
            Some(step) => (step * row, samples, steps * row, step * inputs, steps * inputs),
            None => (0, samples * steps, row, 0, inputs),
        };
        for (number, &(gate, gates)) in self.kind.runs().iter().enumerate() {
            let weights = self.matrix(context, shared, Packed::InputBack(number), direction);
            let offset = first + direction * self.row() + self.kind.input_slot(gate) * self.hidden;
            let a = view(kept, offset, rows, gates * self.hidden, stride);
            let beta = if direction + number > 0 { T::one() } else { T::zero() };
            product(context, a, &weights, beta, view_mut(d_x, x_first, rows, inputs, x_stride), None);
        }
    }

    /// Packs one weight matrix.
    fn pack<T: Element>(&self, tile: usize, call: BatchCall<'_, T>) {
        let (packed, direction) = self.packed(tile);
        let which = usize::from(matches!(packed, Packed::Hidden | Packed::HiddenBack));
        let weights = call.parameters[self.parameter(direction, which)];
        let (rows, cols) = self.packed_shape(packed);
        let b = match packed {
            Packed::Input | Packed::Hidden => view(weights, 0, cols, rows, rows).transposed(),
            Packed::HiddenBack => view(weights, 0, rows, cols, cols),
            Packed::InputBack(run) => {
                view(weights, self.kind.runs()[run].0 * self.hidden * cols, rows, cols, cols)
            }
        };
        pack_b(call.context, b, call.writes[0]).expect(FITS);
    }

    /// The gradients of some rows of a direction's weights and biases: sums over all samples and steps, which the product has in
    /// an order that their number alone fixes.
    fn weight_gradients<T: Element>(&self, tile: usize, call: BatchCall<'_, T>) {
        let (parts, tiles, hidden) = (self.parts(), self.weight_tiles(), self.hidden);
        let (direction, tile) = (tile / tiles, tile % tiles);
        let gate = tile / parts.count();
        let (first, rows) = parts.part(tile % parts.count());
        let (terms, stride) = (call.batch * self.steps, self.directions * self.row());
        let kept = |slot: usize, first: usize, cols| {
            view(call.kept, direction * self.row() + slot * hidden + first, terms, cols, stride)
        };
        let by_x = kept(self.kind.input_slot(gate), first, rows);
        let by_h = kept(self.kind.hidden_slot(gate), first, rows);
        let before = kept(self.kind.counts().kept - 1, 0, hidden);
        let x = view(call.inputs[0], 0, terms, self.inputs, self.inputs);
        let one = [T::one()];
        let ones = MatRef::new(&one, 0, 1, terms, 0, 0).expect(FITS);
        let factors = [(by_x.transposed(), x), (by_h.transposed(), before), (ones, by_x), (ones, by_h)];
        // Both biases are added to the same sums, unless the cell takes them apart.
        let same = self.kind.input_slot(gate) == self.kind.hidden_slot(gate);
        let copied = match &*call.writes {
            [_, _, by_x, by_h] => same && !call.accumulate && by_x.len() == by_h.len(),
            _ => false,
        };
        let products = if copied { 3 } else { factors.len() };
        for (write, (a, b)) in call.writes.iter_mut().zip(factors).take(products) {
            add_product(call.context, a, b, call.accumulate, write);
        }
        if let (true, [_, _, by_x, by_h]) = (copied, call.writes) {
            by_h.copy_from_slice(by_x);
        }
    }

    /// The gradients of a direction's initial states: sums over the samples of what the first step left.
    fn initial_gradients<T: Element>(&self, direction: usize, call: BatchCall<'_, T>) {
        let (row, one) = (self.directions * self.row(), [T::one()]);
        let ones = MatRef::new(&one, 0, 1, call.batch, 0, 0).expect(FITS);
        let place = self.step(direction, 0) * self.directions + direction;
        for (state, write) in call.writes.iter_mut().enumerate() {
            let offset = place * self.row() + (self.kind.counts().kept + state) * self.hidden;
            let d = view(call.kept, offset, call.batch, self.hidden, self.steps * row);
            add_product(call.context, ones, d, call.accumulate, write);
        }
    }
}

/// Sets a gradient to a product, or adds it; nothing for one that is not wanted.
fn add_product<T: Element>(
    context: &Context,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    accumulate: bool,
    gradient: &mut [T],
) {
    if gradient.is_empty() {
        return;
    }
    let beta = if accumulate { T::one() } else { T::zero() };
    gemm(context, T::one(), a, b, beta, &mut view_mut(gradient, 0, a.rows(), b.cols(), b.cols()))
        .expect(FITS);
}
