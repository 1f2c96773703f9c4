//! Sizes along one or two axes, as arguments and in descriptions.

use super::spec::Spec;
use crate::error::{Error, Result};

/// One size for all of D axes, or one for each: `2` or `[2, 1]` (height, width).
pub trait Sizes<const D: usize>: sealed::Sealed {
    /// One for each axis.
    fn sizes(self) -> [usize; D];
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for usize {}
    impl<const D: usize> Sealed for [usize; D] {}
}

impl<const D: usize> Sizes<D> for usize {
    fn sizes(self) -> [usize; D] {
        [self; D]
    }
}

impl<const D: usize> Sizes<D> for [usize; D] {
    fn sizes(self) -> [usize; D] {
        self
    }
}

/// Sizes as a description holds them.
pub(super) fn numbers(sizes: &[usize]) -> Vec<f64> {
    sizes.iter().map(|&size| size as f64).collect()
}

/// The sizes in a description, from 0 on.
pub(super) fn all_sizes(spec: &Spec, name: &str) -> Result<Vec<usize>> {
    let is_size = |x: f64| x >= 0.0 && x.trunc() == x && x < (1_u64 << 53) as f64;
    let sizes = spec.numbers(name)?.iter().map(|&x| is_size(x).then_some(x as usize));
    sizes.collect::<Option<_>>().ok_or_else(|| wrong(spec, name, "whole numbers from 0 on"))
}

/// The sizes of D axes in a description.
pub(super) fn sizes<const D: usize>(spec: &Spec, name: &str) -> Result<[usize; D]> {
    all_sizes(spec, name)?.try_into().map_err(|_| wrong(spec, name, &format!("{D} numbers")))
}

/// An error about an option's numbers.
pub(super) fn wrong(spec: &Spec, name: &str, expected: &str) -> Error {
    let expected = format!("{expected} called {name} in {}", spec.kind);
    Error::argument("Spec", "option", expected, format_args!("{:?}", spec.numbers(name).unwrap_or_default()))
}

/// `3`, or `3 x 2` for several different ones.
pub(super) fn show(sizes: &[usize]) -> String {
    match sizes {
        [first, rest @ ..] if rest.iter().all(|size| size == first) => first.to_string(),
        _ => crate::tensor::shape::Times(sizes).to_string(),
    }
}
