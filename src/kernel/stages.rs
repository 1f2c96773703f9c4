//! Feature-wise steps over a row: each element of the result comes from one element of the row.
//!
//! ```text
//!   stored row   u8, f32 or f64     x0   x1   x2 ...
//!   columns      which of them      c0   c1   c2 ...      all of them in order, if there is no list
//!   f64          a stage, for a block of columns at a time
//!                the next stage ...
//!   result       f32 or f64, rounded once
//! ```

use super::convert::check_lengths;
use super::element::Element;
use crate::context::Context;
use crate::error::Result;
use crate::simd::{Kernel, Simd};

/// Elements that go through all stages together: they stay in the first cache.
const BLOCK: usize = 128;

/// One step, computed in f64: every operation rounded, none fused, so the same bits on every instruction set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stage {
    /// `(x - shift) / scale`, a pair for each column.
    Shift {
        /// What is taken off.
        shift: Vec<f64>,
        /// What is divided by; none is 0.
        scale: Vec<f64>,
    },
    /// `x * scale + offset`, a pair for each column, then not below the lower and not above the upper bound.
    Scale {
        /// The factors.
        scale: Vec<f64>,
        /// What is added.
        offset: Vec<f64>,
        /// Lower and upper bound.
        bounds: [f64; 2],
    },
    /// 1 where `x` is the column's code and 0 where it is not; a column whose code is NaN keeps `x`.
    Indicate {
        /// A code or NaN for each column.
        codes: Vec<f64>,
    },
}

impl Stage {
    /// The stage of the columns `columns` of this stage's.
    fn select(&self, columns: &[usize]) -> Self {
        let of = |values: &[f64]| columns.iter().map(|&column| values[column]).collect();
        match self {
            Self::Shift { shift, scale } => Self::Shift { shift: of(shift), scale: of(scale) },
            Self::Scale { scale, offset, bounds } => {
                Self::Scale { scale: of(scale), offset: of(offset), bounds: *bounds }
            }
            Self::Indicate { codes } => Self::Indicate { codes: of(codes) },
        }
    }

    /// The stage of the columns from `at` on, in place.
    #[inline(always)]
    fn apply(&self, at: usize, x: &mut [f64]) {
        match self {
            Self::Shift { shift, scale } => {
                for ((x, shift), scale) in x.iter_mut().zip(&shift[at..]).zip(&scale[at..]) {
                    *x = (*x - shift) / scale;
                }
            }
            Self::Scale { scale, offset, bounds: [low, high] } => {
                for ((x, scale), offset) in x.iter_mut().zip(&scale[at..]).zip(&offset[at..]) {
                    let y = *x * scale + offset;
                    let y = if y < *low { *low } else { y };
                    *x = if y > *high { *high } else { y };
                }
            }
            Self::Indicate { codes } => {
                for (x, code) in x.iter_mut().zip(&codes[at..]) {
                    let indicator = if *x == *code { 1.0 } else { 0.0 };
                    *x = if code.is_nan() { *x } else { indicator };
                }
            }
        }
    }
}

/// The stages that a stored row goes through. Every stage has `width` columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stages {
    /// Elements of the result.
    pub width: usize,
    /// The stored element that each comes from; none: all in order.
    pub columns: Option<Vec<usize>>,
    /// One after the other.
    pub stages: Vec<Stage>,
}

impl Stages {
    /// No stage.
    pub fn identity(width: usize) -> Self {
        Self { width, columns: None, stages: Vec::new() }
    }

    /// These and then `stage`, which takes the columns `columns` of what these give, or all of them in order.
    pub fn then(&self, columns: Option<&[usize]>, stage: Stage) -> Self {
        let mut all = match columns {
            None => self.clone(),
            Some(columns) => Self {
                width: columns.len(),
                columns: Some(match &self.columns {
                    None => columns.to_vec(),
                    Some(stored) => columns.iter().map(|&column| stored[column]).collect(),
                }),
                stages: self.stages.iter().map(|stage| stage.select(columns)).collect(),
            },
        };
        all.stages.push(stage);
        all
    }
}

pub(crate) struct Run<'a, A, T> {
    row: &'a [A],
    stages: &'a Stages,
    out: &'a mut [T],
}

impl<A: Copy + Into<f64>, T: Element> Kernel for Run<'_, A, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { row, stages, out } = self;
        let mut block = [0.0_f64; BLOCK];
        for (i, out) in out.chunks_mut(BLOCK).enumerate() {
            let at = i * BLOCK;
            let block = &mut block[..out.len()];
            match &stages.columns {
                None => block.iter_mut().zip(&row[at..]).for_each(|(x, &stored)| *x = stored.into()),
                Some(columns) => {
                    block.iter_mut().zip(&columns[at..]).for_each(|(x, &column)| *x = row[column].into())
                }
            }
            stages.stages.iter().for_each(|stage| stage.apply(at, block));
            out.iter_mut().zip(block).for_each(|(out, x)| *out = T::from_f64(*x));
        }
    }
}

/// The row through the stages, on the caller's thread. NaN stays NaN; overflow gives infinity.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if `out` has another width.
pub(crate) fn run<A, T>(context: &Context, row: &[A], stages: &Stages, out: &mut [T]) -> Result<()>
where
    T: Element + for<'a> super::compiled::Compiled<Run<'a, A, T>>,
    A: Copy + Into<f64>,
{
    check_lengths("transform", stages.width, out.len())?;
    T::run(context, Run { row, stages, out });
    Ok(())
}
