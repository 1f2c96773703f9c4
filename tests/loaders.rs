//! Loaders of npy, npz, CSV and folders of pictures: what NumPy, pandas, scikit-learn and Pillow read from the same files,
//! and an error for every damaged one. (IDX: tests/bad_files.rs. Memory: tests/loaders_alloc.rs.)

#[cfg(feature = "csv")]
#[path = "loaders/csv.rs"]
mod csv;
#[cfg(feature = "image")]
#[path = "loaders/images.rs"]
mod images;
#[path = "loaders/npy.rs"]
mod npy;
#[cfg(feature = "npz")]
#[path = "loaders/npz.rs"]
mod npz;
#[path = "loaders/support.rs"]
mod support;
