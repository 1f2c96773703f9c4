//! A row of numbers added to each position of a sequence: sines and cosines, or numbers that are learned.

use crate::engine::function::{
    Backward, Batch, BatchCall, Compute, Forward, Function, Mode, Needs, Pass, Step, Target, Write,
};
use crate::kernel::Element;
use crate::kernel::embedding;

/// y = x + (sin, cos, sin, ...) at each position (Vaswani et al. 2017), with
///
/// ```text
///   added[position][2 i]     = sin(position / 10000^(2 i / width))
///   added[position][2 i + 1] = cos(position / 10000^(2 i / width))
/// ```
#[derive(Debug)]
pub(crate) struct Sinusoids {
    /// Positions, for plans.
    length: usize,
    single: Vec<f32>,
    double: Vec<f64>,
}

impl Sinusoids {
    /// For sequences of (length, width); `None` if there is no memory.
    pub(crate) fn new(length: usize, width: usize) -> Option<Self> {
        let mut double = Vec::new();
        double.try_reserve_exact(length.checked_mul(width)?).ok()?;
        for position in 0..length {
            for column in 0..width {
                let pair = (column / 2 * 2) as f64;
                let angle = position as f64 * libm::exp(pair * (-libm::log(1e4) / width as f64));
                double.push(if column % 2 == 0 { libm::sin(angle) } else { libm::cos(angle) });
            }
        }
        let mut single = Vec::new();
        single.try_reserve_exact(double.len()).ok()?;
        single.extend(double.iter().map(|&x| x as f32));
        Some(Self { length, single, double })
    }

    fn len(&self) -> usize {
        self.double.len()
    }
}

/// y = x + the first `length` rows of the parameter, which has rows of `width`.
#[derive(Debug)]
pub(crate) struct LearnedPositions {
    pub length: usize,
    pub width: usize,
    /// Rows of the parameter.
    pub rows: usize,
}

/// Parts of the learned rows whose gradients are summed by themselves, and the fewest elements of one.
const PARTS: usize = 8;
const LEAST: usize = 1024;

impl LearnedPositions {
    fn len(&self) -> usize {
        self.length * self.width
    }

    fn part(&self) -> usize {
        self.len().div_ceil(PARTS).next_multiple_of(LEAST)
    }
}

impl Function for Sinusoids {
    fn name(&self) -> String {
        format!("sinusoids of {} positions", self.length)
    }

    fn work(&self) -> f64 {
        self.len() as f64
    }

    fn needs(&self, _: &Mode) -> Needs {
        Needs { forward: vec![Step::Samples], backward: vec![Step::Samples], ..Needs::default() }
    }
}

macro_rules! with_table {
    ($($float:ty: $table:ident),*) => {$(
        impl Compute<$float> for Sinusoids {
            fn forward(&self, _: usize, call: Forward<'_, $float>) -> Result<(), usize> {
                add_to_each(call, &self.$table);
                Ok(())
            }

            fn backward(&self, _: usize, call: Backward<'_, $float>) {
                pass_on(call);
            }
        }
    )*};
}

with_table! { f32: single, f64: double }

impl Function for LearnedPositions {
    fn name(&self) -> String {
        format!("learned rows of {} positions", self.length)
    }

    fn work(&self) -> f64 {
        self.len() as f64
    }

    fn needs(&self, mode: &Mode) -> Needs {
        let mut gradient = Vec::new();
        if mode.trained[0] {
            let (used, all) = (self.len(), self.rows * self.width);
            let mut starts: Vec<usize> = (0..used).step_by(self.part()).collect();
            // What belongs to no position is the last tile's.
            starts.push(all);
            let write = |ends: &[usize]| vec![Write { target: Target::Gradient(0), range: ends[0]..ends[1] }];
            gradient.push(Batch { reads: 0..0, tiles: starts.windows(2).map(write).collect() });
        }
        Needs { forward: vec![Step::Samples], backward: vec![Step::Samples], gradient, ..Needs::default() }
    }
}

impl<T: Element> Compute<T> for LearnedPositions {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        let rows = &call.parameters[0][..self.len()];
        add_to_each(call, rows);
        Ok(())
    }

    fn backward(&self, _: usize, call: Backward<'_, T>) {
        pass_on(call);
    }

    /// Sums over the batch, sample after sample.
    fn batch(&self, _: Pass, _: usize, tile: usize, call: BatchCall<'_, T>) {
        let sums = &mut *call.writes[0];
        if !call.accumulate {
            sums.fill(T::zero());
        }
        let start = tile * self.part();
        let end = self.len().min(start + sums.len());
        for d_sample in call.d_output.chunks_exact(self.len()) {
            embedding::add(call.context, &mut sums[..end - start], &d_sample[start..end]);
        }
    }
}

fn add_to_each<T: Element>(call: Forward<'_, T>, rows: &[T]) {
    call.output.copy_from_slice(call.inputs[0]);
    for output in call.output.chunks_exact_mut(rows.len()) {
        embedding::add(call.context, output, rows);
    }
}

/// The gradient of a sum.
fn pass_on<T: Element>(call: Backward<'_, T>) {
    if let Some(d_input) = call.d_inputs[0].as_deref_mut() {
        d_input.copy_from_slice(call.d_output);
    }
}
