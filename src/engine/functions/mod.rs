//! Operations with kernels of their own: each is a [`Function`](super::function::Function).

pub(crate) mod attention;
pub(crate) mod conv;
pub(crate) mod embedding;
pub(crate) mod join;
pub(crate) mod masking;
pub(crate) mod norm;
pub(crate) mod norm_group;
mod norm_parts;
pub(crate) mod norm_rows;
pub(crate) mod pad;
pub(crate) mod pool;
pub(crate) mod positions;
pub(crate) mod rearrange;
pub(crate) mod recurrent;
mod recurrent_steps;
#[cfg(test)]
mod recurrent_tests;

use super::function::{Mode, Needs, Step};

/// One samples step forward, and one backward if there is something to go back to.
fn one_step_each(mode: &Mode) -> Needs {
    let backward = if mode.wants.contains(&true) { vec![Step::Samples] } else { Vec::new() };
    Needs { forward: vec![Step::Samples], backward, ..Needs::default() }
}
