//! Exports parameters to NumPy.

use crate::data::write_npz_to;
use crate::error::{Error, Result};
use crate::file::write;
use crate::kernel::Element;
use crate::nn::Model;
use std::io;
use std::path::Path;

impl<T: Element> Model<T> {
    /// Writes the parameters as an npz file under PyTorch's names: `numpy.load(path)["0.weight"]` is outputs x inputs. The file
    /// is replaced at once, as by [`save`](Self::save), which keeps the layers too.
    ///
    /// ```
    /// use gemmule::data::read_npz;
    /// use gemmule::nn::{Dense, Sequential};
    /// # let path = std::env::temp_dir().join(format!("gemmule-doc-export-{}.npz", std::process::id()));
    /// let model = Sequential::new().with(Dense::new(3, 2)).build::<f32>(0)?;
    /// model.save_npz(&path)?;
    /// let arrays = read_npz(&path)?;
    /// assert_eq!((arrays[0].0.as_str(), arrays[1].0.as_str()), ("0.weight", "0.bias"));
    /// assert_eq!(arrays[0].1.to_tensor::<f32>()?, model.parameter("0.weight")?);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`]: the old file is as it was then. [`Error::OutOfMemory`]: a copy of the parameters is made.
    pub fn save_npz(&self, path: impl AsRef<Path>) -> Result<()> {
        let named = |info: crate::nn::ParameterInfo| Ok((self.parameter(&info.name)?, info.name));
        let arrays: Vec<_> =
            self.parameters().into_iter().chain(self.buffers()).map(named).collect::<Result<_>>()?;
        write::write(path.as_ref(), |out| {
            write_npz_to(out, arrays.iter().map(|(tensor, name)| (name, tensor))).map_err(|error| match error
            {
                // The file's own name is put in its place.
                Error::Io { source, .. } => source,
                error => io::Error::other(error),
            })
        })
    }
}
