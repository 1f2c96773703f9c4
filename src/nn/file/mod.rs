//! Model files: safetensors with PyTorch's names and layouts, and what the model is as JSON in the metadata.

mod description;
mod load;
mod report;
mod save;
mod training;

pub use load::SavedModel;
pub use report::{LoadReport, MisShaped, Strict};
pub use save::ModelFile;

use crate::context::Context;
use crate::error::Result;
use crate::kernel::Element;
use crate::nn::model::Model;
use std::path::Path;

/// The key of the description in the metadata.
const KEY: &str = "gemmule";
/// How errors call what is behind it.
const FORMAT: &str = "gemmule model";

impl<T: Element> Model<T> {
    /// Saves the model: parameters, layers, and what it is trained with, but not the optimiser's state. The file is replaced
    /// at once: whoever opens it finds the old one or the new one.
    ///
    /// It is a safetensors file. PyTorch loads it into the same `nn.Sequential` with
    /// `load_state_dict(safetensors.torch.load_file(path), strict=True)`: names and layouts are PyTorch's. The metadata
    /// `gemmule` is JSON and says what the layers are, so that [`load`](Self::load) needs nothing else. [`ModelFile`] stores
    /// more with it, [`SavedModel`] has the choices of loading.
    ///
    /// ```
    /// use gemmule::Tensor;
    /// use gemmule::data::Dataset;
    /// use gemmule::nn::{Activation, Dense, Model, Sequential};
    /// # let path = std::env::temp_dir().join(format!("gemmule-doc-save-{}.safetensors", std::process::id()));
    ///
    /// let net = Sequential::new().with(Dense::new(4, 8)).with(Activation::Relu).with(Dense::new(8, 3));
    /// let mut model = net.build::<f32>(0)?;
    /// model.save(&path)?;
    ///
    /// let mut loaded = Model::<f32>::load(&path)?;
    /// let x = Dataset::from_values(Tensor::from_slice(&[1, 4], &[1.0_f32, 2.0, 3.0, 4.0])?)?;
    /// assert_eq!(loaded.predict(&x)?, model.predict(&x)?);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io): the old file is as it was then. [`Error::Argument`](crate::Error::Argument) names a
    /// layer that does not describe itself: [`save_weights`](Self::save_weights) needs no description.
    /// [`Error::NonFinite`](crate::Error::NonFinite) if a parameter is NaN or infinite, which no reader would take.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        ModelFile::new(self).save(path)
    }

    /// Saves the parameters alone, for a model that is built by other means: the same file without its description.
    ///
    /// # Errors
    /// As [`save`](Self::save), but any layer will do.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        ModelFile::new(self).weights_only().save(path)
    }

    /// What [`save`](Self::save) writes, in memory.
    ///
    /// ```
    /// use gemmule::nn::{Dense, Model, Sequential};
    /// let model = Sequential::new().with(Dense::new(2, 1)).build::<f64>(0)?;
    /// let loaded = Model::<f64>::from_bytes(&model.to_bytes()?)?;
    /// assert_eq!(loaded.parameter("0.weight")?, model.parameter("0.weight")?);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`save`](Self::save); [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        ModelFile::new(self).to_bytes()
    }

    /// Loads a model that [`save`](Self::save) wrote, on the instruction set of [`Context::detect`].
    ///
    /// If it was compiled, it can be trained further; the optimiser begins anew. The elements have to be of the file's type:
    /// [`SavedModel::convert`] allows others. Besides the model's own numbers, at most one parameter and 64 KiB are in memory,
    /// and the file's header about twice. A damaged file is refused: files have a checksum.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); [`Error::Format`](crate::Error::Format) if it is not such a file, is damaged, has a
    /// layer of an unknown kind ([`SavedModel::layers`]), or elements of another type;
    /// [`Error::NonFinite`](crate::Error::NonFinite); what [`Sequential::build`](super::Sequential::build) returns.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        SavedModel::open(path)?.load()
    }

    /// As [`load`](Self::load), on the instruction set and with the parallelism of `context`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(context: Context, path: impl AsRef<Path>) -> Result<Self> {
        SavedModel::open(path)?.load_with(context)
    }

    /// Loads a model from what [`to_bytes`](Self::to_bytes) or [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        SavedModel::from_bytes(bytes)?.load()
    }

    /// Overwrites the parameters by those of a safetensors file, PyTorch's for example, as `load_state_dict` does. There
    /// `safetensors.torch.save_file(module.state_dict(), path)` writes one: dense, convolutional, normalising and recurrent layers have
    /// the same names and shapes here. Names of a module around its `nn.Sequential` are for [`SavedModel::rename`].
    ///
    /// With [`Strict::Yes`] the file has to have these parameters, in these shapes, and no others. With [`Strict::No`] those
    /// that fit are taken; it is an error if there is none. The optimiser goes on as it is.
    ///
    /// ```
    /// use gemmule::nn::{Dense, Sequential, Strict};
    /// # let path = std::env::temp_dir().join(format!("gemmule-doc-weights-{}.safetensors", std::process::id()));
    /// let trained = Sequential::new().with(Dense::new(4, 8)).with(Dense::new(8, 3)).build::<f32>(0)?;
    /// trained.save_weights(&path)?;
    ///
    /// // Another number of classes: the first layer alone fits.
    /// let mut model = Sequential::new().with(Dense::new(4, 8)).with(Dense::new(8, 5)).build::<f32>(1)?;
    /// let report = model.load_weights(&path, Strict::No)?;
    /// assert_eq!(report.mis_shaped[0].name, "1.weight");
    /// assert_eq!(model.parameter("0.weight")?, trained.parameter("0.weight")?);
    /// let error = model.load_weights(&path, Strict::Yes).unwrap_err();
    /// assert!(error.to_string().ends_with("1.weight is 3 x 8, not 5 x 8; 1.bias is 3, not 5"));
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::Format`](crate::Error::Format),
    /// [`Error::NonFinite`](crate::Error::NonFinite): nothing is changed then.
    pub fn load_weights(&mut self, path: impl AsRef<Path>, strict: Strict) -> Result<LoadReport> {
        SavedModel::open(path)?.load_weights(self, strict)
    }
}
