//! Files: what everything that reads or writes one shares.

pub(crate) mod read;
pub(crate) mod write;
#[cfg(feature = "npz")]
pub(crate) mod zip;
