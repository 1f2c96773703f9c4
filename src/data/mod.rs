//! Data sets: reading, splitting, transforming, batching.
//!
//! ```text
//!   IDX file, bytes, tensor --> Dataset --> splits, folds --> Dataset, Dataset, ...      (views: nothing is copied)
//!                                  |                             |
//!                                  |                          Transforms: fitted on the training part, applied to all
//!                                  |
//!                               Sampler --> Batches: the order of an epoch, a function of seed and epoch alone
//!                                              |
//!                                           BatchSource: gathers a batch; bytes become floats here
//! ```
//!
//! | wanted | here |
//! | --- | --- |
//! | parts | [`train_test_split`], [`stratified_split`], [`group_split`], [`ordered_train_test_split`] |
//! | cross-validation | [`KFold`], [`StratifiedKFold`], [`GroupKFold`], [`TimeSeriesSplit`], repeated and random ones: [`Splitter`] |
//! | classes of unequal size | [`class_weights`], [`WeightedRandomSampler`], [`random_oversample`], [`random_undersample`] |
//! | features on one scale | [`Standardize`], [`MinMax`], [`OneHot`], together [`Transforms`] |
//!
//! ```
//! use gemmule::data::{Batches, Dataset, train_test_split};
//!
//! // Ten grey images of 2 x 2 pixels in two classes.
//! let images = Dataset::from_bytes(&[10, 2, 2], (0..40).collect())?;
//! let images = images.with_classes(vec![0, 1, 0, 1, 0, 1, 0, 1, 0, 1], 2)?;
//! let (train, test) = train_test_split(&images, 0.2, 42)?;
//! assert_eq!((train.len(), test.len()), (8, 2));
//!
//! for epoch in 0..2 {
//!     let batches = Batches::new(train.len(), 3, Some((42, epoch)))?;
//!     assert_eq!(batches.iter().map(|indices| indices.len()).collect::<Vec<_>>(), [3, 3, 2]);
//! }
//! # Ok::<(), gemmule::Error>(())
//! ```

mod augment;
mod batches;
mod classes;
#[cfg(feature = "csv")]
mod csv;
mod dataset;
mod folds;
mod idx;
#[cfg(feature = "image")]
mod images;
mod imbalance;
mod npy;
#[cfg(feature = "npz")]
mod npz;
mod prefetch;
mod safetensors;
mod sampler;
mod split;
mod strata;
mod transform;

pub use crate::kernel::affine::{ImageShape, Interpolation, PaddingMode};
pub use augment::{Amount, Augment, RandomErasing};
pub use batches::Batches;
#[cfg(feature = "csv")]
pub use csv::{Column, Csv, CsvTable, Missing};
pub use dataset::Dataset;
pub use folds::{
    Fold, Folds, GroupKFold, GroupShuffleSplit, KFold, RepeatedKFold, RepeatedStratifiedKFold, ShuffleSplit,
    Splitter, StratifiedKFold, StratifiedShuffleSplit, TimeSeriesSplit,
};
pub use idx::{
    DEFAULT_DECOMPRESSED_LIMIT, IdxArray, load_idx, load_idx_dir, read_idx, read_idx_from,
    read_idx_with_limit,
};
#[cfg(feature = "image")]
pub use images::{ImageFolder, Images};
pub use imbalance::{class_weights, random_oversample, random_undersample, sample_weights};
pub use npy::{NpyArray, NpyData, NpyView, load_npy, read_npy, read_npy_from, write_npy, write_npy_to};
#[cfg(feature = "npz")]
pub use npz::{Npz, load_npz, read_npz, write_npz, write_npz_compressed, write_npz_to};
pub use prefetch::Prefetch;
pub use safetensors::{load_safetensors, read_safetensors, read_safetensors_from};
pub use sampler::{RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler};
pub use split::{
    group_split, group_split_indices, ordered_train_test_split, random_split, split_indices,
    stratified_split, stratified_split_indices, stratified_train_test_split, train_test_split,
};
pub use transform::{MinMax, OneHot, Parts, Standardize, Transform, Transforms, Unknown};

use crate::error::{Error, Result};

/// The numbers `0..len`.
fn indices(operation: &'static str, len: usize) -> Result<Vec<usize>> {
    let mut indices = Vec::new();
    indices
        .try_reserve_exact(len)
        .map_err(|_| Error::OutOfMemory { what: operation, bytes: len.saturating_mul(size_of::<usize>()) })?;
    indices.extend(0..len);
    Ok(indices)
}
