//! A recurrent layer, in one direction or both: what it keeps, packs and cuts. What is done with it is in `recurrent_steps.rs`.
//!
//! ```text
//! prepare    W_ih', W_hh', and for the backward pass W_hh and W_ih, packed for products: every step reads them
//! forward    some samples through all steps: x W_ih', + h W_hh', gates; with few samples the first product takes all steps at once
//! backward   the same from the last step on: the gates' gradients, written over what was kept; dh += d W_hh, dx = d W_ih
//! gradient   dW_ih = d' x, dW_hh = d' h, biases: each tile some rows of all four, one product over all samples and steps
//!
//! kept of a sample    step 0 [ row of direction 0 | row of direction 1 ] step 1 [ .. | .. ] ..
//! a row               gates, then their gradients | c, .. | h before the step | (first step: gradients of the initial states)
//! ```
//!
//! So rows are equally far apart over samples and steps, which makes dW one product over both.

use crate::engine::function::{Batch, Function, Mode, Needs, Step, Target, Write};
use crate::kernel::gemm::blocking::Parts;
use crate::kernel::gemm::packed_b_len;
use crate::kernel::recurrent::{Cell, Gru, Lstm, Rnn};
use std::ops::Range;

/// Fewer samples than this take the product with the inputs for all steps at once: one step's would be too few rows.
pub(super) const FEW: usize = 4;

/// Tiles that the gradients are cut into at least, where that leaves each a vector's rows, and the most rows of one.
const GRADIENT_TILES: usize = 8;
const GRADIENT_ROWS: Range<usize> = 16..64;

/// Which cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rnn { relu: bool },
    Lstm,
    Gru,
}

/// Rows of `hidden` elements that a cell has: see [`Cell`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub gates: usize,
    pub states: usize,
    pub kept: usize,
}

impl Kind {
    pub(super) fn counts(self) -> Counts {
        fn of<C: Cell<f32>>(_: C) -> Counts {
            Counts { gates: C::GATES, states: C::STATES, kept: C::KEPT }
        }
        match self {
            Self::Rnn { relu } => of(Rnn { relu }),
            Self::Lstm => of(Lstm),
            Self::Gru => of(Gru),
        }
    }

    /// Gates of the weights.
    pub(crate) fn gates(self) -> usize {
        match self {
            Self::Rnn { .. } => 1,
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }

    /// h, and for the LSTM c.
    pub(crate) fn states(self) -> usize {
        self.counts().states
    }

    /// Where the gradient by a gate's product with x stands in a row that is kept.
    pub(super) fn input_slot(self, gate: usize) -> usize {
        if self == Self::Gru { (gate + 1) % 3 } else { gate }
    }

    /// Where the gradients by the products with h stand, which follow each other.
    pub(super) fn hidden_slot(self, gate: usize) -> usize {
        if self == Self::Gru { gate + 1 } else { gate }
    }

    /// The gates whose gradients by the products with x follow each other: the first, and how many.
    pub(super) fn runs(self) -> &'static [(usize, usize)] {
        match self {
            Self::Rnn { .. } => &[(0, 1)],
            Self::Lstm => &[(0, 4)],
            Self::Gru => &[(0, 2), (2, 1)],
        }
    }
}

/// A layer on a sequence, with the inputs x (steps x inputs) and maybe a mask (steps).
///
/// Parameters, of each direction: `weight_ih` (gates hidden x inputs), `weight_hh` (gates hidden x hidden), if there are biases
/// `bias_ih` and `bias_hh` (gates hidden), if they are trained the initial states (hidden each).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recurrent {
    pub kind: Kind,
    pub inputs: usize,
    pub hidden: usize,
    pub steps: usize,
    /// 1, or 2: from the first step on, and from the last one.
    pub directions: usize,
    pub bias: bool,
    /// The initial states are parameters; otherwise zeros.
    pub initial: bool,
    /// The output is h after every step; otherwise after the last one.
    pub sequences: bool,
    /// No gradient passes from one piece of so many steps to the one before.
    pub truncate: Option<usize>,
}

/// A weight matrix as it is packed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Packed {
    /// W_ih'
    Input,
    /// W_hh'
    Hidden,
    /// W_hh
    HiddenBack,
    /// The rows of W_ih of a run of gates.
    InputBack(usize),
}

impl Recurrent {
    /// Elements of the gates of a step, of weights and sums.
    pub(super) fn gates_width(&self) -> usize {
        self.kind.gates() * self.hidden
    }

    /// Elements of a row that is kept.
    pub(super) fn row(&self) -> usize {
        let counts = self.kind.counts();
        (counts.kept + if self.initial { counts.states } else { 0 }) * self.hidden
    }

    pub(super) fn parameters(&self) -> usize {
        2 + if self.bias { 2 } else { 0 } + if self.initial { self.kind.states() } else { 0 }
    }

    /// The number of a parameter: weight_ih, weight_hh, bias_ih, bias_hh.
    pub(super) fn parameter(&self, direction: usize, which: usize) -> usize {
        direction * self.parameters() + which
    }

    pub(super) fn initial_state(&self, direction: usize, state: usize) -> usize {
        self.parameter(direction, if self.bias { 4 } else { 2 } + state)
    }

    /// The step that is done as number `index` in a direction.
    pub(super) fn step(&self, direction: usize, index: usize) -> usize {
        if direction == 0 { index } else { self.steps - 1 - index }
    }

    /// Packed matrix `number`, and its direction: what the backward pass alone needs comes last.
    pub(super) fn packed(&self, number: usize) -> (Packed, usize) {
        let directions = self.directions;
        if number < 2 * directions {
            (if number.is_multiple_of(2) { Packed::Input } else { Packed::Hidden }, number / 2)
        } else if number < 3 * directions {
            (Packed::HiddenBack, number - 2 * directions)
        } else {
            let (number, runs) = (number - 3 * directions, self.kind.runs().len());
            (Packed::InputBack(number % runs), number / runs)
        }
    }

    /// The number of a packed matrix.
    pub(super) fn packed_number(&self, packed: Packed, direction: usize) -> usize {
        match packed {
            Packed::Input => 2 * direction,
            Packed::Hidden => 2 * direction + 1,
            Packed::HiddenBack => 2 * self.directions + direction,
            Packed::InputBack(run) => 3 * self.directions + direction * self.kind.runs().len() + run,
        }
    }

    /// Rows and columns of a packed matrix.
    pub(super) fn packed_shape(&self, packed: Packed) -> (usize, usize) {
        match packed {
            Packed::Input => (self.inputs, self.gates_width()),
            Packed::Hidden => (self.hidden, self.gates_width()),
            Packed::HiddenBack => (self.gates_width(), self.hidden),
            Packed::InputBack(run) => (self.kind.runs()[run].1 * self.hidden, self.inputs),
        }
    }

    /// Where packed matrix `number` stands in the shared memory, for elements of so many bytes.
    pub(super) fn packed_range(&self, number: usize, element: usize) -> Range<usize> {
        let mut range = 0..0_usize;
        for number in 0..=number {
            let (rows, cols) = self.packed_shape(self.packed(number).0);
            let len =
                if element == 4 { packed_b_len::<f32>(rows, cols) } else { packed_b_len::<f64>(rows, cols) };
            // Beyond what a slice can have, the plan finds no memory.
            let len = len.map_or(usize::MAX / 16, |len| len.next_multiple_of(16));
            range = range.end..range.end.saturating_add(len);
        }
        range
    }

    /// A gate's rows of the weights, as the gradients are cut.
    pub(super) fn parts(&self) -> Parts {
        let rows = (self.directions * self.gates_width()).div_ceil(GRADIENT_TILES).next_multiple_of(16);
        Parts::new(self.hidden, rows.clamp(GRADIENT_ROWS.start, GRADIENT_ROWS.end))
    }

    /// The tiles of a direction's weights, and then one for each direction's initial states.
    pub(super) fn weight_tiles(&self) -> usize {
        self.kind.gates() * self.parts().count()
    }

    /// What the tile of `rows` rows from row `first` on writes of the gradients, of those that are trained; nothing of others.
    fn gradient_writes(&self, trained: &[bool], direction: usize, first: usize, rows: usize) -> Vec<Write> {
        let widths = [self.inputs, self.hidden, 1, 1];
        let count = if self.bias { 4 } else { 2 };
        (0..count)
            .map(|which| {
                let number = self.parameter(direction, which);
                let range = if trained[number] {
                    first * widths[which]..(first + rows) * widths[which]
                } else {
                    0..0
                };
                Write { target: Target::Gradient(number), range }
            })
            .collect()
    }

    fn gradient(&self, trained: &[bool]) -> Batch {
        let (parts, mut tiles) = (self.parts(), Vec::new());
        for direction in 0..self.directions {
            for gate in 0..self.kind.gates() {
                for part in 0..parts.count() {
                    let (first, rows) = parts.part(part);
                    tiles.push(self.gradient_writes(trained, direction, gate * self.hidden + first, rows));
                }
            }
        }
        if self.initial {
            tiles.extend((0..self.directions).map(|direction| {
                let of_state = |state| {
                    let number = self.initial_state(direction, state);
                    let range = if trained[number] { 0..self.hidden } else { 0..0 };
                    Write { target: Target::Gradient(number), range }
                };
                (0..self.kind.states()).map(of_state).collect()
            }));
        }
        Batch { reads: 0..0, tiles }
    }
}

impl Function for Recurrent {
    fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Rnn { relu: false } => "RNN",
            Kind::Rnn { relu: true } => "RNN of relu",
            Kind::Lstm => "LSTM",
            Kind::Gru => "GRU",
        };
        let both = if self.directions == 2 { " in both directions" } else { "" };
        format!("{kind} {} -> {}{both}, {} steps", self.inputs, self.hidden, self.steps)
    }

    fn work(&self) -> f64 {
        let products = self.gates_width() as f64 * (self.inputs + self.hidden) as f64;
        self.directions as f64 * self.steps as f64 * products
    }

    fn multiply_adds(&self) -> f64 {
        self.work()
    }

    fn needs(&self, mode: &Mode) -> Needs {
        let counts = self.kind.counts();
        let wants_x = mode.training && mode.wants.first() == Some(&true);
        let forward = 2 * self.directions;
        let matrices = match (mode.training, wants_x) {
            (false, _) => forward,
            (true, false) => forward + self.directions,
            (true, true) => forward + self.directions * (1 + self.kind.runs().len()),
        };
        let range = |number| self.packed_range(number, mode.element);
        let pack = |number| vec![Write { target: Target::Shared, range: range(number) }];
        let trains = mode.training && mode.trained.contains(&true);
        // With few samples, the sums of all steps of theirs.
        let sums = counts.gates * self.hidden;
        let few = mode.batch.min(FEW - 1) * self.steps;
        Needs {
            prepare: vec![Batch { reads: 0..0, tiles: (0..matrices).map(pack).collect() }],
            forward: vec![Step::Samples],
            backward: if mode.training { vec![Step::Samples] } else { Vec::new() },
            gradient: if trains { vec![self.gradient(&mode.trained)] } else { Vec::new() },
            kept: if mode.training { (self.directions * self.row()).saturating_mul(self.steps) } else { 0 },
            shared: range(matrices - 1).end,
            scratch: few.saturating_mul(sums),
            scratch_per_sample: sums + counts.states * self.hidden,
            // A step's: what other steps keep is not looked at meanwhile.
            in_hand: Some(self.inputs + sums + counts.states * self.hidden + self.row()),
        }
    }

    /// Not by a mask.
    fn differentiates(&self, input: usize) -> bool {
        input == 0
    }
}
