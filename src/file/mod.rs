//! Files: written whole or not at all, read within bounds. Beside the layers, for all that read or write.

pub(crate) mod write;
