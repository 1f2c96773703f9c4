//! What the tiles of a run tell its leader.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// What the tiles of a run tell the leader.
pub(super) struct Findings {
    /// The least index of an input that is not finite.
    pub input: AtomicUsize,
    /// The least index of an output that is not finite.
    pub output: AtomicUsize,
    pub correct: AtomicUsize,
    pub finite: AtomicBool,
    /// A function refused an input: the least stage and index of those, and the layer.
    pub refuses: AtomicBool,
    pub refused: Mutex<Option<Refused>>,
}

/// Which input a function refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Refused {
    pub stage: usize,
    /// Its element of the batch.
    pub index: usize,
    pub function: usize,
    pub layer: usize,
    /// Its value, as the bits of an f64.
    pub value: u64,
    /// Elements of a sample.
    pub row: usize,
}

/// No such index.
pub(super) const NONE: usize = usize::MAX;

impl Findings {
    /// Nothing was found.
    pub(super) fn none() -> Self {
        Self {
            input: AtomicUsize::new(NONE),
            output: AtomicUsize::new(NONE),
            correct: AtomicUsize::new(0),
            finite: AtomicBool::new(true),
            refuses: AtomicBool::new(false),
            refused: Mutex::new(None),
        }
    }
}
