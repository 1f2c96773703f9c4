//! Rows of a table for whole numbers: see [`kernel::embedding`](crate::kernel::embedding).

use crate::engine::function::{
    Batch, BatchCall, Compute, Forward, Function, Mode, Needs, Pass, Step, Target, Write,
};
use crate::kernel::Element;
use crate::kernel::embedding::{self, ScatterAdd};

/// Elements of a part of the table whose gradients are summed, and updated, by themselves: 256 KiB of f32, which stay in L2 from the
/// zeros at the beginning to the update. Each part looks at all indices of the batch, so there are at most so many.
const PART: usize = 1 << 16;
const MOST_PARTS: usize = 256;

/// Of a sparse gradient: elements of the batch's rows that a part has on average, and the most parts.
const SPARSE_PART: usize = 1 << 13;
const MOST_SPARSE_PARTS: usize = 32;

/// Each index of the input becomes a row of the parameter, which is (rows, width).
#[derive(Debug)]
pub(crate) struct Embedding {
    pub rows: usize,
    pub width: usize,
    /// Indices per sample.
    pub length: usize,
    /// The row that gets no gradient.
    pub padding: Option<usize>,
    /// The parameter is sparse: what is there is cleared where need be.
    pub sparse: bool,
}

impl Embedding {
    /// Rows of a part of the table.
    fn part(&self, batch: usize) -> usize {
        if self.sparse {
            let parts = (batch * self.length * self.width).div_ceil(SPARSE_PART);
            return self.rows.div_ceil(parts.clamp(1, MOST_SPARSE_PARTS));
        }
        PART.div_ceil(self.width).max(self.rows.div_ceil(MOST_PARTS))
    }
}

impl Function for Embedding {
    fn name(&self) -> String {
        format!("embedding, {} of {} x {}", self.length, self.rows, self.width)
    }

    fn work(&self) -> f64 {
        (self.length * self.width) as f64
    }

    fn needs(&self, mode: &Mode) -> Needs {
        let mut gradient = Vec::new();
        if mode.trained[0] {
            let (len, part) = (self.rows * self.width, self.part(mode.batch) * self.width);
            let write = |start: usize| {
                let range = start..len.min(start + part);
                vec![Write { target: Target::Gradient(0), range }]
            };
            let tiles = (0..len).step_by(part).map(write).collect();
            gradient.push(Batch { reads: 0..0, tiles });
        }
        Needs { forward: vec![Step::Samples], gradient, ..Needs::default() }
    }

    fn differentiates(&self, _: usize) -> bool {
        false
    }

    fn expects(&self) -> String {
        format!("whole numbers from 0 to {}", self.rows - 1)
    }
}

impl<T: Element> Compute<T> for Embedding {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        embedding::gather(call.parameters[0], self.width, call.inputs[0], call.output)
    }

    fn touched(&self, input: &[T], touch: &mut dyn FnMut(usize)) {
        let rows = input.iter().map(|&index| Element::to_f64(index) as usize);
        rows.filter(|&row| Some(row) != self.padding).for_each(touch);
    }

    fn batch(&self, _: Pass, _: usize, tile: usize, call: BatchCall<'_, T>) {
        let table = &mut *call.writes[0];
        if !call.accumulate {
            table.fill(T::zero());
        }
        let scatter = ScatterAdd {
            indices: call.inputs[0],
            rows: call.d_output,
            width: self.width,
            skip: self.padding,
            table,
            first: tile * self.part(call.batch),
        };
        embedding::scatter_add(call.context, scatter);
    }
}

/// 1 for each index that is not `padding`, 0 for those that are: the mask of a sequence.
#[derive(Debug)]
pub(crate) struct NotPadding {
    pub padding: usize,
}

impl Function for NotPadding {
    fn name(&self) -> String {
        format!("mask of what is not {}", self.padding)
    }

    fn work(&self) -> f64 {
        0.0
    }

    fn needs(&self, _: &Mode) -> Needs {
        Needs { forward: vec![Step::Samples], ..Needs::default() }
    }

    fn differentiates(&self, _: usize) -> bool {
        false
    }
}

impl<T: Element> Compute<T> for NotPadding {
    fn forward(&self, _: usize, call: Forward<'_, T>) -> Result<(), usize> {
        let padding = <T as Element>::from_f64(self.padding as f64);
        for (mask, &index) in call.output.iter_mut().zip(call.inputs[0]) {
            *mask = if index == padding { T::zero() } else { T::one() };
        }
        Ok(())
    }
}
