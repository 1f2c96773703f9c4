//! Samples by class, or by group.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// The classes that there are, each with its samples in order.
pub(super) struct Classes<L>(Vec<(L, Vec<usize>)>);

impl<L: Ord + Copy> Classes<L> {
    /// The smallest label first.
    pub fn ascending(operation: &'static str, labels: &[L]) -> Result<Self> {
        if labels.is_empty() {
            return Err(Error::data(operation, "samples", "at least 1", 0));
        }
        let mut members: BTreeMap<L, Vec<usize>> = BTreeMap::new();
        for (sample, &label) in labels.iter().enumerate() {
            members.entry(label).or_default().push(sample);
        }
        Ok(Self(members.into_iter().collect()))
    }

    /// The class of the first sample first.
    pub fn by_appearance(operation: &'static str, labels: &[L]) -> Result<Self> {
        let mut classes = Self::ascending(operation, labels)?;
        classes.0.sort_by_key(|(_, members)| members[0]);
        Ok(classes)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Each with its samples.
    pub fn members(&self) -> impl Iterator<Item = (L, &[usize])> {
        self.0.iter().map(|(label, members)| (*label, members.as_slice()))
    }

    /// The samples of class i.
    pub fn of(&self, i: usize) -> &[usize] {
        &self.0[i].1
    }

    /// How many samples each has.
    pub fn counts(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|(_, members)| members.len())
    }
}

impl<L: Ord + Copy + std::fmt::Display> Classes<L> {
    /// Each has at least `least` samples.
    pub fn check_least(&self, operation: &'static str, least: usize, of: &str) -> Result<()> {
        match self.0.iter().find(|(_, members)| members.len() < least) {
            None => Ok(()),
            Some((label, members)) => {
                let expected = format!("at least {least} samples ({of})");
                Err(Error::data(operation, format!("class {label}"), expected, members.len()))
            }
        }
    }
}
