//! What the phases of a plan multiply and move: for who looks at a plan, or measures it.

use super::function::Pass;
use super::plan::{Job, Link, Operation, Phase, Plan, Product, Work};

impl Plan {
    /// Multiply-adds of a phase's products.
    pub(crate) fn multiply_adds(&self, phase: &Phase) -> f64 {
        let of_job = |job: &Job| match &job.work {
            Work::Product(product) => product.multiply_adds(),
            Work::Chain(chain) => chain.links.iter().map(|link| link.multiply_adds(self.batch)).sum(),
            // What is prepared, and sums that pass between samples steps, multiply little.
            Work::Function(job) if job.pass == Pass::Gradient => self.batch as f64 * job.call.work,
            Work::BiasGradient(_)
            | Work::CustomGradient(_)
            | Work::Function(_)
            | Work::Rows { .. }
            | Work::Update
            | Work::UpdateRows(_)
            | Work::Constrain(_) => 0.0,
        };
        phase.jobs.iter().map(of_job).sum()
    }

    /// Bytes that a phase reads and writes, each operand of an operation once, wherever it is: an update with so many states. Not counted
    /// are the rows of sparse gradients, which a plan does not know, constraints, and what is prepared; of functions, which say nothing of
    /// their memory, only values of samples: inputs, outputs, what they keep.
    pub(crate) fn bytes(&self, phase: &Phase, states: usize) -> f64 {
        // Parameters and states are read and written.
        let update = (2 + 2 * states) as f64;
        let batch = self.batch as f64;
        let of_job = |job: &Job| match &job.work {
            Work::Product(product) => {
                product.elements(product.a_layout.rows as f64)
                    + if product.update.is_some() { update * product.result() } else { 0.0 }
            }
            Work::Chain(chain) => chain.links.iter().map(|link| link.elements(batch)).sum(),
            Work::BiasGradient(bias) => {
                let rows = batch * bias.positions as f64;
                bias.width as f64 * (rows + 1.0 + if bias.update { update } else { 0.0 })
            }
            Work::CustomGradient(job) => batch * (job.custom.inputs + 2 * job.custom.outputs) as f64,
            Work::Function(job) => batch * job.call.inputs.iter().map(|input| input.1).sum::<usize>() as f64,
            Work::Rows { .. } | Work::UpdateRows(_) | Work::Constrain(_) => 0.0,
            Work::Update => (1.0 + update) * self.dense as f64,
        };
        self.element as f64 * phase.jobs.iter().map(of_job).sum::<f64>()
    }
}

impl Product {
    pub(crate) fn multiply_adds(&self) -> f64 {
        self.a_layout.rows as f64 * self.a_layout.cols as f64 * self.b_layout.cols as f64
    }

    /// Elements of the result, if it is a gradient.
    fn result(&self) -> f64 {
        self.a_layout.rows as f64 * self.b_layout.cols as f64
    }

    /// Elements of A, B and C with so many rows, and of what a derivative is computed from.
    fn elements(&self, rows: f64) -> f64 {
        let (depth, cols) = (self.a_layout.cols as f64, self.b_layout.cols as f64);
        let saved = if self.takes_saved() { 1.0 } else { 0.0 };
        rows * depth + depth * cols + (1.0 + saved) * rows * cols
    }
}

impl Link {
    fn multiply_adds(&self, batch: usize) -> f64 {
        match &self.operation {
            Operation::Product(p) => {
                batch as f64 * p.positions as f64 * p.b_layout.rows as f64 * p.b_layout.cols as f64
            }
            // The first step counts for all of a pass.
            Operation::Function { call, step: 0, .. } => batch as f64 * call.work,
            _ => 0.0,
        }
    }

    /// Elements that are read and written for a batch.
    fn elements(&self, batch: f64) -> f64 {
        let each = match &self.operation {
            Operation::Product(p) => return p.elements(batch * p.positions as f64),
            Operation::Zero { .. } => self.row,
            Operation::Gather { .. }
            | Operation::Activation { .. }
            | Operation::Softmax { .. }
            | Operation::Noise { .. }
            | Operation::NoiseBackward { .. } => 2 * self.row,
            Operation::Loss { d_output, .. } => (1 + usize::from(d_output.is_some())) * self.row,
            Operation::ActivationBackward { .. }
            | Operation::SoftmaxBackward { .. }
            | Operation::AddTo { .. } => 3 * self.row,
            Operation::Custom { custom, .. } => custom.inputs + custom.outputs,
            Operation::CustomBackward { custom, .. } => 2 * (custom.inputs + custom.outputs),
            Operation::Function { call, pass, step } => {
                let values = call.inputs.iter().chain([&call.output]).map(|value| value.1).sum::<usize>();
                match (pass, step) {
                    (Pass::Backward, 0) => 2 * values,
                    (_, 0) => values + call.kept.map_or(0, |kept| kept.1),
                    _ => 0,
                }
            }
        };
        batch * each as f64
    }
}
