//! Functions as operations and jobs.

use super::arena::BufferId;
use super::function::{Batch, MOST_WRITES, Mode, Needs, Pass, Step, Target};
use super::fuse::Stage;
use super::graph::{Node, Op, Value};
use super::maker::Maker;
use super::plan::{FunctionCall, FunctionJob, Job, Operation, Work};
use crate::error::Error;
use crate::kernel::Element;
use crate::kernel::activation::Activation;
use std::collections::VecDeque;
use std::sync::Arc;

impl Maker<'_> {
    pub(super) fn function_forward<T: Element>(
        &mut self,
        index: usize,
        stage: &Stage,
        number: usize,
        activation: Activation,
        output: BufferId,
    ) {
        let called = &self.graph.functions[number];
        let flows = self.training && self.flow.of_output(stage);
        let parameters = called.parameters.iter().map(|id| &self.graph.parameters[id.index]);
        let mode = Mode {
            batch: self.batch,
            training: self.training,
            wants: (0..stage.inputs.len()).map(|i| self.flow.of_input(self.graph, stage, i)).collect(),
            trained: parameters.clone().map(|parameter| flows && !parameter.frozen).collect(),
            element: self.element,
        };
        let weights = parameters.clone().next().map(|first| {
            let elements: usize = parameters.map(|parameter| parameter.len()).sum();
            (first.offset, elements * self.element)
        });
        let function = called.function.function();
        if let Some((expected, got)) = function.refuses(&mode) {
            let s = if self.batch == 1 { "" } else { "s" };
            let previous = format!("a batch of {} sample{s}", self.batch);
            // A stage is called by its last operation, which may be the activation.
            let is_it = |node: &&Node| matches!(node.op, Op::Function(function) if function == number);
            let layer = self.graph.nodes.iter().find(is_it).map_or(stage.layer, |node| node.layer);
            let layer = self.graph.layers[layer].clone();
            self.refused.get_or_insert(Error::Layer { layer, previous, expected, got });
        }
        let needs = function.needs(&mode);
        self.check_needs(number, &needs, &mode);
        let whole_forward = needs.forward.iter().any(|step| matches!(step, Step::Batch(_)));
        let call = Arc::new(FunctionCall {
            function: number,
            name: function.name(),
            layer: stage.layer,
            stage: index,
            work: function.work(),
            activation,
            training: self.training,
            inputs: stage.inputs.iter().map(|&input| (self.at(input), self.graph.width(input))).collect(),
            output: (output, self.graph.width(stage.output)),
            kept: (needs.kept > 0).then(|| (self.buffer(needs.kept), needs.kept)),
            forgets: !self.training && !whole_forward,
            // From the time 0, when it may be prepared.
            shared: (needs.shared > 0).then(|| (self.buffers.add(needs.shared, 0), needs.shared)),
            scratch: needs.scratch,
            scratch_per_sample: needs.scratch_per_sample,
            d_output: None,
            d_inputs: Vec::new(),
        });
        self.workspace_len = self.workspace_len.max(needs.scratch);
        for (step, batch) in needs.prepare.iter().enumerate() {
            let job = self.function_job(&call, Pass::Prepare, step, batch, false);
            if self.prepare.len() == step {
                self.prepare.push(Vec::new());
            }
            self.prepare[step].push(job);
        }
        let row = needs.in_hand.unwrap_or(call.output.1 + needs.kept);
        self.function_steps::<T>(&call, Pass::Forward, &needs.forward, row, weights);
        self.calls.push((call, needs));
    }

    /// The samples steps in the chain, the others as phases.
    fn function_steps<T: Element>(
        &mut self,
        call: &Arc<FunctionCall>,
        pass: Pass,
        steps: &[Step],
        row: usize,
        weights: Option<(usize, usize)>,
    ) {
        for (step, what) in steps.iter().enumerate() {
            match what {
                Step::Samples => {
                    let operation = Operation::Function { call: Arc::clone(call), pass, step };
                    self.link::<T>(operation, row, Some(call.layer), weights);
                }
                Step::Batch(batch) => {
                    self.close_chain::<T>();
                    let job = self.function_job(call, pass, step, batch, false);
                    self.push(vec![job]);
                }
            }
        }
    }

    /// The gradients by the stage's inputs, where they are wanted; those by its parameters are to be done later.
    pub(super) fn function_backward<T: Element>(
        &mut self,
        index: usize,
        stage: &Stage,
        d: BufferId,
    ) -> Vec<(Value, BufferId)> {
        let found = self.calls.iter().find(|(call, _)| call.stage == index);
        let (call, needs) = found.cloned().expect("what goes backward went forward");
        let mut d_inputs = Vec::with_capacity(stage.inputs.len());
        for (at, &input) in stage.inputs.iter().enumerate() {
            let wanted = self.flow.of_input(self.graph, stage, at);
            d_inputs.push(wanted.then(|| self.buffer(self.graph.width(input))));
        }
        let call =
            Arc::new(FunctionCall { d_output: Some(d), d_inputs: d_inputs.clone(), ..(*call).clone() });
        let inputs: usize = call.inputs.iter().map(|input| input.1).sum();
        let row = needs.in_hand.unwrap_or(inputs + needs.kept);
        self.function_steps::<T>(&call, Pass::Backward, &needs.backward, row, None);
        self.function_gradient(&call, &needs);
        let of_inputs = stage.inputs.iter().zip(d_inputs);
        of_inputs.filter_map(|(&input, d_input)| Some((input, d_input?))).collect()
    }

    /// What is left to do for a stage whose output has no gradient: running statistics.
    pub(super) fn without_gradient(&mut self, index: usize) {
        if let Some((call, needs)) = self.calls.iter().find(|(call, _)| call.stage == index).cloned() {
            self.function_gradient(&call, &needs);
        }
    }

    fn function_gradient(&mut self, call: &Arc<FunctionCall>, needs: &Needs) {
        let steps = needs.gradient.iter().enumerate();
        let jobs: VecDeque<Job> = steps
            .map(|(step, batch)| self.function_job(call, Pass::Gradient, step, batch, self.fusion.update))
            .collect();
        if !jobs.is_empty() {
            // All of them use what is shared and kept.
            self.pending.push(jobs);
        }
    }

    fn function_job(
        &self,
        call: &Arc<FunctionCall>,
        pass: Pass,
        step: usize,
        batch: &Batch,
        update: bool,
    ) -> Job {
        let parameters = self.graph.functions[call.function].parameters.iter();
        let mut sparse = parameters.filter_map(|id| self.graph.parameters[id.index].sparse);
        let sparse = if pass == Pass::Gradient { sparse.next() } else { None };
        let job = FunctionJob { call: Arc::clone(call), pass, step, batch: batch.clone(), update, sparse };
        Job { tiles: batch.tiles.len(), layer: Some(call.layer), work: Work::Function(Box::new(job)) }
    }

    /// No tile writes what another one writes or reads, and every gradient is written once: a bug of the function otherwise.
    fn check_needs(&self, number: usize, needs: &Needs, mode: &Mode) {
        let called = &self.graph.functions[number];
        let name = called.function.function().name();
        let of_steps = |steps: &[Step]| {
            let batches = steps.iter().filter_map(|step| match step {
                Step::Samples => None,
                Step::Batch(batch) => Some(batch.clone()),
            });
            batches.collect::<Vec<_>>()
        };
        let (forward, backward) = (of_steps(&needs.forward), of_steps(&needs.backward));
        let mut gradients = vec![0; called.parameters.len()];
        for (batch, is_last) in
            [(&needs.prepare, false), (&forward, false), (&backward, false), (&needs.gradient, true)]
                .into_iter()
                .flat_map(|(batches, is_last)| batches.iter().map(move |batch| (batch, is_last)))
        {
            let mut writes: Vec<(usize, usize, usize)> = Vec::new();
            for tile in &batch.tiles {
                assert!(tile.len() <= MOST_WRITES, "{name}: a tile writes too many ranges");
                for write in tile {
                    let (target, len) = match write.target {
                        Target::Shared => (0, needs.shared),
                        Target::Gradient(i) | Target::Buffer(i) => {
                            let parameter = &self.graph.parameters[called.parameters[i].index];
                            assert!(is_last, "{name}: a parameter is written before the losses are known");
                            assert_eq!(matches!(write.target, Target::Buffer(_)), parameter.buffer, "{name}");
                            gradients[i] += write.range.len();
                            (i + 1, parameter.len())
                        }
                    };
                    assert!(write.range.end <= len, "{name}: a tile writes beyond its memory");
                    writes.push((target, write.range.start, write.range.end));
                }
            }
            if !batch.reads.is_empty() {
                assert!(batch.reads.end <= needs.shared, "{name}: a step reads beyond its memory");
                writes.push((0, batch.reads.start, batch.reads.end));
            }
            writes.retain(|(_, start, end)| start < end);
            writes.sort_unstable();
            let apart = |pair: &[(usize, usize, usize)]| pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1;
            assert!(writes.windows(2).all(apart), "{name}: two tiles of a step write the same");
        }
        for ((id, &trained), written) in called.parameters.iter().zip(&mode.trained).zip(gradients) {
            let parameter = &self.graph.parameters[id.index];
            let expected = if trained { parameter.len() } else { 0 };
            assert!(
                parameter.buffer || written == expected,
                "{name}: {written} of {expected} gradients of {} are written",
                parameter.name
            );
        }
        if mode.wants.contains(&true) {
            assert!(needs.backward.iter().any(|step| matches!(step, Step::Samples)), "{name}: no gradient");
        }
    }
}
