//! Files: written whole or not at all, read within bounds. Beside the layers, for all that read or write.

pub(crate) mod json;
pub(crate) mod read;
pub(crate) mod safetensors;
pub(crate) mod write;
#[cfg(feature = "npz")]
pub(crate) mod zip;

/// What errors name where bytes are in memory, not in a file.
pub(crate) const MEMORY: &str = "(bytes)";
