//! Calls functions: each gets the slices that its step may read and write.

use super::arena::{BufferId, TileRows};
use super::findings::{Findings, Refused};
use super::function::{
    Backward, BatchCall, Forward, MOST_INPUTS, MOST_PARAMETERS, MOST_WRITES, Pass, Random, Target,
};
use super::graph::{Called, Parameter, Sparse};
use super::plan::{FunctionCall, FunctionJob, Phase};
use super::run::{Run, one_row};
use super::touched::Touched;
use crate::kernel::Element;
use crate::kernel::update::Ready;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

impl<T: Element> Run<'_, T> {
    /// The function's parameters, of which there are `called.parameters.len()`.
    ///
    /// # Safety
    /// Nobody writes them while the slices live.
    unsafe fn function_parameters(&self, called: &Called) -> [&[T]; MOST_PARAMETERS] {
        let mut slices = [&[] as &[T]; MOST_PARAMETERS];
        for (slice, id) in slices.iter_mut().zip(&called.parameters) {
            let parameter = &self.graph.parameters[id.index];
            // SAFETY: passed on.
            *slice = unsafe { self.memory.parameters(parameter.offset, parameter.len()) };
        }
        slices
    }

    fn random(&self, call: &FunctionCall, called: &Called) -> Random {
        Random { seed: self.dropout, layer: call.layer, number: called.number }
    }

    /// A samples step, on the rows of a tile of a chain.
    ///
    /// # Safety
    /// As [`Run::tile`].
    pub(super) unsafe fn samples_step(
        &self,
        call: &FunctionCall,
        pass: Pass,
        step: usize,
        rows: TileRows,
        findings: &Findings,
    ) {
        let called = &self.graph.functions[call.function];
        let function = called.function.of::<T>();
        let memory = &self.memory;
        let range = |id: BufferId, row: usize| (id, memory.start(id, &rows, row), rows.count * row);
        let samples = rows.first..rows.first + rows.count;
        // SAFETY: the rows of a tile are its alone, and its operations run one after the other; the buffers of a call are
        // different ones; parameters and what is shared are written in other phases.
        unsafe {
            let parameters = self.function_parameters(called);
            let parameters = &parameters[..called.parameters.len()];
            let shared = call.shared.map_or(&[] as &[T], |(id, len)| memory.read(id, 0, len));
            let mut inputs = [&[] as &[T]; MOST_INPUTS];
            for (slice, &(id, row)) in inputs.iter_mut().zip(&call.inputs) {
                let (id, start, len) = range(id, row);
                *slice = memory.read(id, start, len);
            }
            let inputs = &inputs[..call.inputs.len()];
            let kept = match call.kept.map(|(id, row)| range(id, row)) {
                Some((id, start, len)) => memory.write(id, start, len),
                None => &mut [],
            };
            let scratch = call.scratch + rows.count * call.scratch_per_sample;
            let scratch = memory.write(self.plan.workspace, rows.member * self.plan.workspace_len, scratch);
            let random = self.random(call, called);
            if pass == Pass::Forward {
                let (output, start, len) = range(call.output.0, call.output.1);
                let done = function.forward(
                    step,
                    Forward {
                        context: self.context,
                        training: call.training,
                        samples,
                        activation: call.activation,
                        parameters,
                        shared,
                        inputs,
                        output: memory.write(output, start, len),
                        kept,
                        scratch,
                        random,
                    },
                );
                if let Err(index) = done {
                    let value = inputs[0].get(index).map_or(f64::NAN, |&value| Element::to_f64(value));
                    self.refuse(call, rows.first * call.inputs[0].1 + index, value, findings);
                }
                return;
            }
            let d_output = match call.d_output.map(|id| range(id, call.output.1)) {
                Some((id, start, len)) => memory.read(id, start, len),
                None => &[],
            };
            let mut d_inputs: [Option<&mut [T]>; MOST_INPUTS] = [const { None }; MOST_INPUTS];
            for ((slice, id), &(_, row)) in d_inputs.iter_mut().zip(&call.d_inputs).zip(&call.inputs) {
                *slice = id.map(|id| range(id, row)).map(|(id, start, len)| memory.write(id, start, len));
            }
            function.backward(
                step,
                Backward {
                    context: self.context,
                    samples,
                    parameters,
                    shared,
                    inputs,
                    d_output,
                    d_inputs: &mut d_inputs[..call.d_inputs.len()],
                    kept,
                    scratch,
                    random,
                },
            );
        }
    }

    fn refuse(&self, call: &FunctionCall, index: usize, value: f64, findings: &Findings) {
        let (stage, function, layer) = (call.stage, call.function, call.layer);
        let row = call.inputs[0].1;
        let this = Refused { stage, index, function, layer, value: value.to_bits(), row };
        let mut refused = findings.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused = Some(refused.map_or(this, |other| other.min(this)));
        findings.refuses.store(true, Ordering::Relaxed);
    }

    /// Which rows of sparse gradients a phase is about to add to: for the leader, before it.
    pub(super) fn touch(&self, phase: &Phase, touched: &mut Touched) {
        for (job, sparse) in phase.sparse() {
            let rows = touched.rows_mut(sparse);
            if !self.accumulate {
                rows.begin();
            }
            let (id, row) = job.call.inputs[0];
            // SAFETY: between phases only the leader runs.
            let input = unsafe { self.memory.read(id, 0, self.plan.batch * row) };
            let function = self.graph.functions[job.call.function].function.of::<T>();
            function.touched(input, &mut |row| rows.insert(row));
        }
    }

    /// Part `part` of `parts` of the update of a parameter whose gradient is sparse.
    ///
    /// # Safety
    /// As [`Run::tile`].
    pub(super) unsafe fn update_part(
        &self,
        parameter: usize,
        part: usize,
        parts: usize,
        ready: &[Ready<T>],
        touched: &Touched,
        findings: &Findings,
    ) {
        let parameter = &self.graph.parameters[parameter];
        let Some(sparse) = parameter.sparse else { return };
        let rows = touched.rows(sparse).fresh();
        let rows = &rows[rows.len() * part / parts..rows.len() * (part + 1) / parts];
        // SAFETY: passed on: each row is there once.
        unsafe { self.update_rows(parameter, sparse, rows.iter(), ready, findings) };
    }

    /// # Safety
    /// As [`Run::update_range`], for each of the rows.
    unsafe fn update_rows<'a>(
        &self,
        parameter: &Parameter,
        sparse: Sparse,
        rows: impl Iterator<Item = &'a u32>,
        ready: &[Ready<T>],
        findings: &Findings,
    ) {
        for &row in rows {
            let start = parameter.offset + row as usize * sparse.width;
            // SAFETY: passed on.
            if !unsafe { self.update_range(start, one_row(sparse.width), &ready[parameter.group]) } {
                findings.finite.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Tile `tile` of a batch step.
    ///
    /// # Safety
    /// As [`Run::tile`].
    pub(super) unsafe fn batch_step(
        &self,
        job: &FunctionJob,
        tile: usize,
        member: usize,
        ready: &[Ready<T>],
        touched: &Touched,
        findings: &Findings,
    ) {
        let call = &*job.call;
        let called = &self.graph.functions[call.function];
        let memory = &self.memory;
        let batch = self.plan.batch;
        let parameter = |number: usize| &self.graph.parameters[called.parameters[number].index];
        let writes_of_tile = &job.batch.tiles[tile];
        // SAFETY: what a tile writes nobody else reads or writes in its phase: the plan looked at what the function said. What
        // it reads was written in other phases.
        unsafe {
            let all = if job.pass == Pass::Gradient {
                [&[] as &[T]; MOST_PARAMETERS]
            } else {
                self.function_parameters(called)
            };
            let parameters =
                if job.pass == Pass::Gradient { &all[..0] } else { &all[..called.parameters.len()] };
            let whole = |id: BufferId, row: usize| memory.read(id, 0, batch * row);
            let mut inputs = [&[] as &[T]; MOST_INPUTS];
            let (mut count, mut kept) = (0, &[] as &[T]);
            if job.pass != Pass::Prepare {
                count = call.inputs.len();
                for (slice, &(id, row)) in inputs.iter_mut().zip(&call.inputs) {
                    *slice = whole(id, row);
                }
                kept = call.kept.map_or(kept, |(id, row)| whole(id, row));
            }
            let d_output = call.d_output.map_or(&[] as &[T], |id| whole(id, call.output.1));
            let reads = job.batch.reads.clone();
            let shared = call.shared.filter(|_| !reads.is_empty());
            let shared = shared.map_or(&[] as &[T], |(id, _)| memory.read(id, reads.start, reads.len()));
            let mut writes: [&mut [T]; MOST_WRITES] = std::array::from_fn(|_| <&mut [T]>::default());
            for (slice, write) in writes.iter_mut().zip(writes_of_tile) {
                let (start, len) = (write.range.start, write.range.len());
                *slice = match (write.target, call.shared) {
                    (Target::Shared, Some((id, _))) => memory.write(id, start, len),
                    (Target::Shared, None) => &mut [],
                    (Target::Gradient(i), _) => memory.gradients_mut(parameter(i).offset + start, len),
                    (Target::Buffer(i), _) => memory.parameters_mut(parameter(i).offset + start, len),
                };
            }
            if let Some(sparse) = job.sparse {
                for (part, write) in writes.iter_mut().zip(writes_of_tile) {
                    touched.rows(sparse).clear(&write.range, sparse.width, part);
                }
            }
            let scratch = memory.write(self.plan.workspace, member * self.plan.workspace_len, call.scratch);
            called.function.of::<T>().batch(
                job.pass,
                job.step,
                tile,
                BatchCall {
                    context: self.context,
                    batch,
                    parameters,
                    shared,
                    inputs: &inputs[..count],
                    d_output,
                    kept,
                    writes: &mut writes[..writes_of_tile.len()],
                    accumulate: self.accumulate || job.sparse.is_some(),
                    scratch,
                },
            );
            if !job.update {
                return;
            }
            for write in writes_of_tile {
                if let (Target::Gradient(i), Some(sparse)) = (write.target, job.sparse) {
                    let part = write.range.start / sparse.width..write.range.end / sparse.width;
                    let rows = touched.rows(sparse).fresh().iter();
                    let rows = rows.filter(|&&row| part.contains(&(row as usize)));
                    self.update_rows(parameter(i), sparse, rows, ready, findings);
                } else if let Target::Gradient(i) = write.target {
                    let (parameter, layout) = (parameter(i), one_row(write.range.len()));
                    let start = parameter.offset + write.range.start;
                    if !self.update_range(start, layout, &ready[parameter.group]) {
                        findings.finite.store(false, Ordering::Relaxed);
                    }
                }
            }
        }
    }
}
