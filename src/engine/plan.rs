//! A plan: every buffer, kernel and tile of a step on one batch size, decided before the first step.
//!
//! ```text
//! plan    phases, one after the other: between two of them the team meets
//! phase   jobs, side by side: no tile of a phase reads what another one writes
//! job     a chain     some rows of the batch through several operations: a tile is so many rows
//!         a product   over the whole batch, its tiles are blocks of the result; maybe the update in its epilogue
//!         a sum, the update
//! ```
//!
//! `maker.rs` makes it; this file says what it is, and shows it.

use super::arena::{BufferId, Place, Slot};
use super::function::{Batch, Pass};
use super::graph::Sparse;
use super::noise::{self, Noise};
use super::{Loss, fuse::Fusion};
use crate::kernel::activation::Activation;
use crate::kernel::gemm::plan as gemm;
use crate::kernel::gemm::view::Layout;
use crate::kernel::gemm::zeros;
use std::sync::Arc;

/// Elements of the flat arrays that an update tile has.
pub(crate) const UPDATE_ELEMENTS: usize = 8192;

/// Columns of a bias gradient that a tile has.
pub(crate) const BIAS_COLUMNS: usize = 256;

/// One product, with its operands as places.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    /// How it is cut, or each of its panels. In a chain: for a tile's rows, and for those of the last tile if they are fewer.
    pub plans: Vec<gemm::Plan>,
    pub a: Place,
    pub a_layout: Layout,
    pub b: Place,
    pub b_layout: Layout,
    pub c: Place,
    pub bias: Place,
    pub activation: Activation,
    pub derivative: Activation,
    /// What the derivative is computed from.
    pub saved: Place,
    /// C is the gradient of the parameter that begins here, and its tiles are followed by the update.
    pub update: Option<usize>,
    /// A holds many zeros, which are skipped: it is the batch, or its transpose in a weight gradient.
    pub zeros: bool,
    /// Rows of A and C that a sample has, if they are samples.
    pub positions: usize,
    /// Elements from a row of C to the next.
    pub c_row_stride: usize,
    /// B, C or both are stored in panels of columns, which are computed one by one.
    pub panels: Option<Panels>,
}

/// The panels of a product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panels {
    /// Columns of each.
    pub columns: usize,
    /// From a panel of B to the next, and of C.
    pub b_step: usize,
    pub c_step: usize,
}

impl Product {
    /// The number of panels, and the columns of each: all, if there are none.
    pub(crate) fn panels(&self) -> (usize, usize) {
        let columns = self.panels.map_or(self.b_layout.cols, |panels| panels.columns);
        (self.b_layout.cols.checked_div(columns).unwrap_or(1), columns)
    }

    /// Tiles of a product that skips zeros: of a weight gradient, as many for each panel.
    pub(crate) fn zeros_tiles(&self) -> usize {
        let rows = self.a_layout.rows;
        match self.c {
            Place::Gradients(_) => self.panels().0 * rows.div_ceil(zeros::WORD),
            _ => rows.div_ceil(zeros::ROWS),
        }
    }

    /// True if the result is multiplied by a derivative.
    pub(crate) fn takes_saved(&self) -> bool {
        !matches!(self.saved, Place::Null)
    }
}

/// The sums of a bias gradient: over the rows of `d_output`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BiasGradient {
    pub d_output: BufferId,
    pub width: usize,
    /// Rows that a sample has.
    pub positions: usize,
    /// Where the gradient begins in the flat arrays.
    pub gradient: usize,
    /// The update follows, of this group.
    pub update: bool,
    pub group: usize,
}

/// One operation on some rows of the batch.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Rows of the batch from the source, checked to be finite.
    Gather {
        input: BufferId,
    },
    /// Rows of A times all of B.
    Product(Box<Product>),
    Activation {
        activation: Activation,
        input: BufferId,
        output: BufferId,
    },
    /// A softmax or its logarithm, of each row of so many elements.
    Softmax {
        input: BufferId,
        output: BufferId,
        log: bool,
        row: usize,
    },
    /// Losses per sample and the gradient of their mean; only the losses if there is no `d_output`.
    Loss {
        output: BufferId,
        targets: Option<BufferId>,
        losses: BufferId,
        d_output: Option<BufferId>,
    },
    /// d *= f', in place.
    ActivationBackward {
        activation: Activation,
        saved: BufferId,
        d: BufferId,
    },
    SoftmaxBackward {
        output: BufferId,
        d_output: BufferId,
        d_input: BufferId,
        log: bool,
        row: usize,
    },
    /// y = x with the noise of a layer.
    Noise {
        input: BufferId,
        output: BufferId,
        noise: Noise,
        at: noise::Place,
    },
    /// d *= the noise's derivative, in place.
    NoiseBackward {
        d: BufferId,
        noise: Noise,
        at: noise::Place,
    },
    Custom {
        custom: CustomCall,
        input: BufferId,
        output: BufferId,
    },
    CustomBackward {
        custom: CustomCall,
        input: BufferId,
        output: BufferId,
        d_output: BufferId,
        d_input: BufferId,
    },
    /// A samples step of a function.
    Function {
        call: Arc<FunctionCall>,
        pass: Pass,
        step: usize,
    },
    /// to += from.
    AddTo {
        from: BufferId,
        to: BufferId,
    },
    Zero {
        buffer: BufferId,
    },
}

/// A function, and where it finds what it works on: buffers, and elements per sample.
#[derive(Clone, Debug)]
pub(crate) struct FunctionCall {
    /// Which of the graph's.
    pub function: usize,
    pub name: String,
    pub layer: usize,
    /// Which stage it is.
    pub stage: usize,
    /// Multiply-adds of a sample, about.
    pub work: f64,
    pub activation: Activation,
    pub training: bool,
    pub inputs: Vec<(BufferId, usize)>,
    pub output: (BufferId, usize),
    pub kept: Option<(BufferId, usize)>,
    /// What is kept is not needed after the chain.
    pub forgets: bool,
    /// Elements for the whole batch.
    pub shared: Option<(BufferId, usize)>,
    pub scratch: usize,
    pub scratch_per_sample: usize,
    pub d_output: Option<BufferId>,
    pub d_inputs: Vec<Option<BufferId>>,
}

/// A batch step of a function, as a job.
#[derive(Clone, Debug)]
pub(crate) struct FunctionJob {
    pub call: Arc<FunctionCall>,
    pub pass: Pass,
    pub step: usize,
    pub batch: Batch,
    /// The update follows each gradient that a tile has written.
    pub update: bool,
    /// The gradient is sparse.
    pub sparse: Option<Sparse>,
}

/// A function of the user's: its number, elements of a row that it takes, its parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CustomCall {
    pub function: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub parameter: Option<usize>,
}

/// The gradient by a custom function's parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CustomGradient {
    pub custom: CustomCall,
    pub input: BufferId,
    pub output: BufferId,
    pub d_output: BufferId,
}

impl Operation {
    /// What a forward operation writes.
    pub(crate) fn output(&self) -> Option<BufferId> {
        match self {
            Self::Product(p) => match p.c {
                Place::Buffer(id) => Some(id),
                _ => None,
            },
            Self::Gather { input: id }
            | Self::Activation { output: id, .. }
            | Self::Softmax { output: id, .. }
            | Self::Noise { output: id, .. }
            | Self::Custom { output: id, .. } => Some(*id),
            Self::Loss { .. }
            | Self::ActivationBackward { .. }
            | Self::SoftmaxBackward { .. }
            | Self::NoiseBackward { .. }
            | Self::CustomBackward { .. }
            | Self::AddTo { .. }
            | Self::Zero { .. } => None,
            Self::Function { call, pass, .. } => (*pass == Pass::Forward).then_some(call.output.0),
        }
    }
}

/// An operation in a chain.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub operation: Operation,
    /// Elements of a row, of what it writes.
    pub row: usize,
    pub layer: Option<usize>,
}

/// Operations, one after the other, on some rows of the batch at a time.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub links: Vec<Link>,
    pub rows_per_tile: usize,
}

/// What a job does.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Chain(Chain),
    Product(Box<Product>),
    BiasGradient(BiasGradient),
    CustomGradient(CustomGradient),
    Function(Box<FunctionJob>),
    /// A parameter that is stored in panels, row by row for who needs it so. A tile is a panel.
    Rows {
        parameter: usize,
        to: BufferId,
    },
    /// The optimiser, over the flat arrays.
    Update,
    /// The optimiser, over the rows of a parameter that were touched.
    UpdateRows(usize),
    /// A parameter is held to its constraint, some columns at a time.
    Constrain(usize),
}

/// Some work, cut into tiles.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub work: Work,
    pub tiles: usize,
    pub layer: Option<usize>,
}

/// What the team does between two meetings.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub jobs: Vec<Job>,
    /// The tiles, as job and number within it: a part of every job in each member's home range, so that a member has the
    /// same slice of the weights in every step, and as much to do as the others.
    pub order: Vec<(u32, u32)>,
    /// The batch is gathered here, and looked at afterwards.
    pub input: Option<BufferId>,
    /// The losses are computed here, and looked at afterwards.
    pub losses: Option<BufferId>,
    /// The update is a job of its own here: what bounds or looks at gradients comes before.
    pub updates: bool,
}

impl Phase {
    /// The phase of `jobs` for a team of `members`.
    pub(crate) fn new(jobs: Vec<Job>, members: usize) -> Self {
        let mut order = Vec::with_capacity(jobs.iter().map(|job| job.tiles).sum());
        for member in 0..members {
            for (index, job) in jobs.iter().enumerate() {
                let part = |member: usize| (job.tiles as u128 * member as u128 / members as u128) as usize;
                order.extend((part(member)..part(member + 1)).map(|tile| (index as u32, tile as u32)));
            }
        }
        let links = jobs.iter().flat_map(|job| match &job.work {
            Work::Chain(chain) => chain.links.as_slice(),
            _ => &[],
        });
        let (mut gathered, mut lost) = (None, None);
        for link in links {
            match link.operation {
                Operation::Gather { input } => gathered = Some(input),
                Operation::Loss { losses, .. } => lost = Some(losses),
                _ => {}
            }
        }
        let updates = jobs.iter().any(|job| matches!(job.work, Work::Update));
        Self { jobs, order, input: gathered, losses: lost, updates }
    }
}

impl Phase {
    /// The jobs whose gradients are sparse.
    pub(crate) fn sparse(&self) -> impl Iterator<Item = (&FunctionJob, Sparse)> {
        self.jobs.iter().filter_map(|job| match &job.work {
            Work::Function(job) => Some((&**job, job.sparse?)),
            _ => None,
        })
    }
}

/// A forward buffer and the layer that wrote it, for naming what is not finite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub layer: usize,
    pub buffer: BufferId,
    pub width: usize,
}

/// All phases of a step on one batch size.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub batch: usize,
    pub loss: Option<Loss>,
    /// Target values of a sample, if the loss takes any.
    pub target_width: usize,
    pub phases: Vec<Phase>,
    /// Where the buffers are in the arena.
    pub slots: Vec<Slot>,
    pub arena_len: usize,
    /// Members of the team that it has scratch memory for.
    pub members: usize,
    /// Packing buffers: so many elements for each member.
    pub workspace: BufferId,
    pub workspace_len: usize,
    /// What the batch is gathered into, if nobody reads it after the run: rows that stand in memory already can take its place.
    /// (Every operation writes to a buffer of its own, so nothing else writes this one.)
    pub gathered: Option<BufferId>,
    /// What the model puts out: logits, where a loss from logits follows.
    pub output: Option<BufferId>,
    pub output_width: usize,
    /// Where the caller's gradient of the outputs goes, if there is no loss.
    pub d_output: Option<BufferId>,
    pub d_input: Option<BufferId>,
    /// The phases before it.
    pub split: usize,
    /// The forward buffers that are still whole after the loss.
    pub outputs: Vec<Output>,
    /// Multiply-adds of all products.
    pub work: f64,
    pub layers: Vec<String>,
    pub fusion: Fusion,
    /// Bytes of an element.
    pub element: usize,
    /// Elements of the flat arrays that the update over all of them takes.
    pub dense: usize,
}

impl Plan {
    /// Where a buffer begins in the arena.
    pub(crate) fn offset(&self, id: BufferId) -> usize {
        id.slot(&self.slots).offset
    }

    /// What a phase does, in words.
    pub(crate) fn describe(&self, phase: &Phase) -> String {
        let jobs: Vec<String> = phase.jobs.iter().map(|job| self.describe_job(job)).collect();
        jobs.join(" | ")
    }

    fn describe_job(&self, job: &Job) -> String {
        match &job.work {
            Work::Chain(chain) => {
                let links: Vec<String> = chain.links.iter().map(|link| self.describe_link(link)).collect();
                links.join(" > ")
            }
            Work::Product(product) => describe_product(product),
            Work::BiasGradient(bias) => {
                format!("bias gradient{}", if bias.update { ", update" } else { "" })
            }
            Work::CustomGradient(_) => "custom gradient".to_owned(),
            Work::Function(job) => {
                let update = if job.update { ", update" } else { "" };
                let sparse = job.sparse.map_or(String::new(), |Sparse { rows, width, .. }| {
                    let (most, row) = (rows.min(self.batch * job.call.inputs[0].1), width * self.element);
                    format!(", sparse: at most {most} of {rows} rows, {} of {} bytes", most * row, rows * row)
                });
                format!("{}{}, over the batch{sparse}{update}", job.call.name, of_pass(job.pass))
            }
            Work::Rows { .. } => "weight row by row".to_owned(),
            Work::Update => "update".to_owned(),
            Work::UpdateRows(_) => "update of the rows that were touched".to_owned(),
            Work::Constrain(_) => "constraint".to_owned(),
        }
    }

    fn describe_link(&self, link: &Link) -> String {
        match &link.operation {
            Operation::Gather { .. } => "gather".to_owned(),
            Operation::Product(product) => describe_product(product),
            Operation::Activation { activation, .. } => activation.to_string(),
            Operation::Softmax { log, .. } => if *log { "log-softmax" } else { "softmax" }.to_owned(),
            Operation::Loss { d_output, .. } => {
                let with = if d_output.is_some() { " and its gradient" } else { "" };
                format!("{}{with}", self.loss.map_or("loss", Loss::name))
            }
            Operation::ActivationBackward { activation, .. } => format!("derivative of {activation}"),
            Operation::SoftmaxBackward { .. } => "softmax backward".to_owned(),
            Operation::Noise { noise, .. } => noise.name().to_owned(),
            Operation::NoiseBackward { noise, .. } => format!("times the mask of the {}", noise.name()),
            Operation::Custom { .. } => "custom".to_owned(),
            Operation::CustomBackward { .. } => "custom backward".to_owned(),
            Operation::Function { call, pass, .. } => {
                let activation = match call.activation {
                    Activation::Identity => String::new(),
                    _ if *pass == Pass::Backward => String::new(),
                    activation => format!(", {activation}"),
                };
                format!("{}{}{activation}", call.name, of_pass(*pass))
            }
            Operation::AddTo { .. } => "add to the gradient".to_owned(),
            Operation::Zero { .. } => "zero".to_owned(),
        }
    }
}

fn of_pass(pass: Pass) -> &'static str {
    match pass {
        Pass::Prepare => " prepared",
        Pass::Forward => "",
        Pass::Backward => " backward",
        Pass::Gradient => " gradient",
    }
}

fn describe_product(p: &Product) -> String {
    let mut text = format!("product {} x {} x {}", p.a_layout.rows, p.b_layout.cols, p.a_layout.cols);
    if matches!(p.bias, Place::Parameters(_)) {
        text += " + bias";
    }
    if p.activation != Activation::Identity {
        text += &format!(", {}", p.activation);
    }
    if p.derivative != Activation::Identity {
        text += &format!(", times the derivative of {}", p.derivative);
    }
    if p.zeros {
        text += ", zeros skipped";
    }
    if p.update.is_some() {
        text += ", update";
    }
    text
}

impl Plan {
    /// What is done, for which layer, in how many tiles, one line per job; what a phase multiplies and moves, with so many states of
    /// the optimiser.
    pub(crate) fn explain(&self, states: usize) -> String {
        let mut text = format!(
            "batch {}, {} members, {} phases, {} buffers in {} bytes, {:.3} M multiply-adds; {}\n",
            self.batch,
            self.members,
            self.phases.len(),
            self.slots.len(),
            self.arena_len * self.element,
            self.work / 1e6,
            self.fusion,
        );
        let layer = |layer: Option<usize>| layer.map_or("", |layer| self.layers[layer].as_str());
        for (index, phase) in self.phases.iter().enumerate() {
            let (flops, bytes) = (2.0 * self.multiply_adds(phase), self.bytes(phase, states));
            text += &format!("{index:3}  {:.3} MFLOP, {:.1} kB read and written\n", flops / 1e6, bytes / 1e3);
            for job in &phase.jobs {
                if let Work::Chain(chain) = &job.work {
                    let rows = format!("{} rows at a time:", chain.rows_per_tile);
                    text += &format!("     {rows:<64} {:4} tiles\n", job.tiles);
                    for link in &chain.links {
                        text += &format!("       {:<72} {}\n", self.describe_link(link), layer(link.layer));
                    }
                } else {
                    let what = self.describe_job(job);
                    text += &format!("     {what:<64} {:4} tiles  {}\n", job.tiles, layer(job.layer));
                }
            }
        }
        text
    }
}
