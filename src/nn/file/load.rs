//! Reads model files.

use super::description::{self, Description};
use super::report::{LoadReport, MisShaped, Strict};
use super::{FORMAT, KEY};
use crate::context::Context;
use crate::engine::Parameter;
use crate::error::{Error, Result};
use crate::file::MEMORY;
use crate::file::json::{Fault, short};
use crate::file::read::{format_error, reserve};
use crate::file::safetensors::{self, Dtype, Header};
use crate::kernel::Element;
use crate::nn::model::{Model, order, shape};
use crate::nn::registry::Layers;
use crate::nn::sequential::Sequential;
use crate::nn::spec::Spec;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A file whose header was read: what [`Model::load`] and [`Model::load_weights`] do, with choices.
///
/// ```
/// use gemmule::nn::{Dense, SavedModel, Sequential, Strict};
/// let model = Sequential::new().with(Dense::new(2, 1)).build::<f32>(0)?;
/// let bytes = model.to_bytes()?;
/// let saved = SavedModel::from_bytes(&bytes)?;
/// assert_eq!(saved.tensor_names(), ["0.weight", "0.bias"]);
///
/// // Another type of elements, if it is asked for: f32 to f64 is exact, f64 to f32 rounds to the nearest.
/// let refused = saved.load::<f64>().unwrap_err();
/// assert!(refused.to_string().ends_with("expected f64 (or convert), got f32"));
/// let double = SavedModel::from_bytes(&bytes)?.convert(true).load::<f64>()?;
/// assert_eq!(double.parameter("0.bias")?.as_slice()[0], f64::from(model.parameter("0.bias")?.as_slice()[0]));
///
/// // A module of PyTorch's that calls its `nn.Sequential` net: the names begin with `net.`
/// # let bytes = gemmule::nn::ModelFile::new(&model).weights_only().to_bytes()?;
/// let mut other = Sequential::new().with(Dense::new(2, 1)).build::<f32>(1)?;
/// let report = SavedModel::from_bytes(&bytes)?
///     .rename(|name| format!("net.{name}"))
///     .load_weights(&mut other, Strict::Yes);
/// assert!(report.unwrap_err().to_string().contains("missing: net.0.weight, net.0.bias; unexpected: 0.weight"));
/// # Ok::<(), gemmule::Error>(())
/// ```
pub struct SavedModel<'a> {
    path: PathBuf,
    source: Source<'a>,
    len: u64,
    /// Where the tensors' bytes begin.
    start: u64,
    header: Header,
    layers: Layers,
    convert: bool,
    rename: Box<dyn Fn(&str) -> String + 'a>,
}

enum Source<'a> {
    File(File),
    Bytes(&'a [u8]),
}

impl fmt::Debug for SavedModel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedModel").field("path", &self.path).field("bytes", &self.len).finish()
    }
}

impl<'a> SavedModel<'a> {
    /// Opens a safetensors file and reads its header.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] if the header is not one, or does not fit the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (mut file, len) = safetensors::open(path)?;
        let header = Header::read(&mut file, len, path)?;
        Self::new(path, Source::File(file), len, header)
    }

    /// Reads the header of a safetensors file in memory.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self> {
        let path = Path::new(MEMORY);
        let header = Header::read(&mut { bytes }, bytes.len() as u64, path)?;
        Self::new(path, Source::Bytes(bytes), bytes.len() as u64, header)
    }

    fn new(path: &Path, source: Source<'a>, len: u64, header: Header) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            source,
            len,
            start: len - header.data_len(),
            header,
            layers: Layers::new(),
            convert: false,
            rename: Box::new(str::to_owned),
        })
    }

    /// The kinds of layers that the file may name: [`Layers::new`] unless said otherwise.
    #[must_use]
    pub fn layers(self, layers: Layers) -> Self {
        Self { layers, ..self }
    }

    /// Whether elements of another type are converted: f16, bf16 and f32 to wider ones exactly, others to the nearest.
    /// Integers are never parameters, but for counts of batches.
    #[must_use]
    pub fn convert(self, on: bool) -> Self {
        Self { convert: on, ..self }
    }

    /// What the file calls the model's parameter of some name: for example `net.0.weight` for `0.weight`.
    #[must_use]
    pub fn rename(self, name_in_file: impl Fn(&str) -> String + 'a) -> Self {
        Self { rename: Box::new(name_in_file), ..self }
    }

    /// The names of the tensors, in the order of their bytes.
    pub fn tensor_names(&self) -> Vec<String> {
        (0..self.header.len()).map(|index| self.header.name(index).into_owned()).collect()
    }

    /// What the layers are; `None` if the file has no description: one of PyTorch's, or of [`Model::save_weights`].
    ///
    /// # Errors
    /// [`Error::Format`] if the description is damaged or of a later version.
    pub fn specs(&self) -> Result<Option<Vec<Spec>>> {
        self.header.text(KEY).map(|text| self.checked(description::specs(&text))).transpose()
    }

    /// Numbers that [`ModelFile::with_numbers`](super::ModelFile::with_numbers) stored; `None` if there are none.
    ///
    /// # Errors
    /// As [`specs`](Self::specs).
    pub fn numbers(&self, name: &str) -> Result<Option<Vec<f64>>> {
        let Some(text) = self.header.text(KEY) else { return Ok(None) };
        self.checked(description::numbers(&text, self.len, name))
    }

    /// A text that [`ModelFile::with_text`](super::ModelFile::with_text) stored; `None` if there is none.
    ///
    /// # Errors
    /// As [`specs`](Self::specs).
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(text) = self.header.text(KEY) else { return Ok(None) };
        self.checked(description::stored_text(&text, name))
    }

    /// Makes the model: see [`Model::load`].
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load<T: Element>(&self) -> Result<Model<T>> {
        self.load_with(Context::detect()?)
    }

    /// Makes the model, on the instruction set and with the parallelism of `context`.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_with<T: Element>(&self, context: Context) -> Result<Model<T>> {
        let Some(text) = self.header.text(KEY) else {
            let expected = "a description of the model; parameters alone are loaded into one that is built";
            return self.checked(Err(Fault::new("the metadata", expected, "none")));
        };
        let found = self.checked(Description::read(&text, self.len, &self.layers))?;
        drop(text);
        if found.element != T::NAME && !self.convert {
            return self.refuse_type(&found.element, T::NAME);
        }
        let net = found.layers.into_iter().fold(Sequential::new(), Sequential::with);
        let graph = net.graph()?;
        let inputs = graph.width(graph.input);
        if inputs as u64 != found.inputs {
            return self.checked(Err(Fault::new("inputs", inputs, found.inputs)));
        }
        // No memory is taken for parameters that the file does not have.
        let (places, report) = self.places::<T>(&graph.parameters)?;
        self.check_exact(&report)?;
        let mut model = Model::zeros(context, graph, net.layers().to_vec(), found.seed)?;
        self.read(&model.engine.graph().parameters.clone(), &places, |index, flat| {
            model.engine.write_parameter(index, flat);
        })?;
        if let Some(loss) = found.loss {
            let [first, others @ ..] = &found.optimizers[..] else {
                return self.checked(Err(Fault::new("optimizers", "at least one beside a loss", "none")));
            };
            model.compile(loss, *first)?;
            for (number, optimizer) in others.iter().enumerate() {
                let grouped = found.groups.iter().filter(|(_, group)| *group == number + 1);
                let names: Vec<_> = grouped.map(|(name, _)| name.as_str()).collect();
                model.parameter_group(&names, *optimizer)?;
            }
            if let Some((name, group)) = found.groups.iter().find(|(_, group)| *group > others.len()) {
                let expected = format!("one of {} groups", found.optimizers.len());
                return self.checked(Err(Fault::new(
                    format_args!("group of {}", short(name)),
                    expected,
                    group,
                )));
            }
            model.clip_gradients(found.clip)?;
            model.check_gradients(found.check_gradients);
        }
        let frozen: Vec<_> = found.frozen.iter().map(String::as_str).collect();
        model.set_trainable(&frozen, false)?;
        Ok(model)
    }

    /// Overwrites the parameters of a model: see [`Model::load_weights`].
    ///
    /// # Errors
    /// As [`Model::load_weights`].
    pub fn load_weights<T: Element>(&self, model: &mut Model<T>, strict: Strict) -> Result<LoadReport> {
        let parameters = model.engine.graph().parameters.clone();
        let (places, report) = self.places::<T>(&parameters)?;
        if strict == Strict::Yes || places.iter().all(Option::is_none) {
            self.check_exact(&report)?;
        }
        // All of them first: nothing is changed if one is bad.
        let mut all = Vec::new();
        self.read(&parameters, &places, |index, flat: Vec<T>| all.push((index, flat)))?;
        for (index, flat) in all {
            model.engine.write_parameter(index, flat);
        }
        Ok(report)
    }

    fn refuse(&self, format: &'static str, fault: Fault) -> Error {
        format_error(&self.path, format, fault.what, fault.expected, fault.got)
    }

    fn checked<R>(&self, result: Result<R, Fault>) -> Result<R> {
        result.map_err(|fault| self.refuse(FORMAT, fault))
    }

    fn refuse_type<R>(&self, got: &str, expected: &str) -> Result<R> {
        let expected = format!("{expected} (or convert)");
        Err(self.refuse(safetensors::FORMAT, Fault::new("the type of the elements", expected, got)))
    }

    fn check_exact(&self, report: &LoadReport) -> Result<()> {
        if report.is_exact() {
            return Ok(());
        }
        let expected = "the model's parameters, each in its shape";
        Err(self.refuse(safetensors::FORMAT, Fault::new("the tensors", expected, report)))
    }

    /// For each tensor of the file the parameter that it is for, and what does not fit.
    fn places<T: Element>(&self, parameters: &[Parameter]) -> Result<(Vec<Option<usize>>, LoadReport)> {
        let mut places = Vec::new();
        reserve("load", &mut places, self.header.len())?;
        places.resize(self.header.len(), None);
        let mut known = places.clone();
        let mut report = LoadReport::default();
        for (index, parameter) in parameters.iter().enumerate() {
            let name = (self.rename)(&parameter.name);
            let Some(at) = self.header.find(&name) else {
                report.missing.push(name);
                continue;
            };
            known[at] = Some(index);
            let (expected, got) = (shape(parameter), self.header.shape(at));
            if expected != got {
                report.mis_shaped.push(MisShaped { name, expected, got });
                continue;
            }
            let dtype = self.header.dtype(at);
            let exact = match size_of::<T>() {
                _ if parameter.is_count() && dtype == Dtype::I64 => Dtype::I64,
                4 => Dtype::F32,
                _ => Dtype::F64,
            };
            let is_float = matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::Bf16);
            if dtype != exact && !(self.convert && is_float) {
                let what = format!("the type of {}", short(&name));
                let hint = if is_float { " (or convert)" } else { "" };
                let fault = Fault::new(what, format_args!("{}{hint}", exact.name()), dtype.name());
                return Err(self.refuse(safetensors::FORMAT, fault));
            }
            places[at] = Some(index);
        }
        let unknown = (0..self.header.len()).filter(|&at| known[at].is_none());
        report.unexpected.extend(unknown.map(|at| self.header.name(at).into_owned()));
        Ok((places, report))
    }

    /// Reads the parameters that have places: `take` is given each as it is stored.
    fn read<T: Element>(
        &self,
        parameters: &[Parameter],
        places: &[Option<usize>],
        mut take: impl FnMut(usize, Vec<T>),
    ) -> Result<()> {
        let mut file;
        let mut bytes;
        let source: &mut dyn Read = match &self.source {
            Source::File(it) => {
                file = it;
                let failed = |source: io::Error| Error::Io { path: self.path.clone(), source };
                file.seek(SeekFrom::Start(self.start)).map_err(failed)?;
                &mut file
            }
            Source::Bytes(it) => {
                bytes = &it[self.start as usize..];
                &mut bytes
            }
        };
        let mut now: Option<Incoming<'_, T>> = None;
        self.header.read_tensors(source, &self.path, |at, piece| {
            let Some(index) = places[at] else { return Ok(()) };
            let parameter = &parameters[index];
            let incoming = match &mut now {
                Some(incoming) => incoming,
                None => now.insert(Incoming::new(parameter, &self.path)?),
            };
            incoming.take(self.header.dtype(at), piece)?;
            if incoming.seen == parameter.len()
                && let Some(done) = now.take()
            {
                take(index, done.flat);
            }
            Ok(())
        })
    }
}

/// A parameter of which a part was read.
struct Incoming<'a, T> {
    parameter: &'a Parameter,
    path: &'a Path,
    /// In the order of the engine.
    flat: Vec<T>,
    order: Box<dyn Iterator<Item = usize> + 'a>,
    seen: usize,
}

impl<'a, T: Element> Incoming<'a, T> {
    fn new(parameter: &'a Parameter, path: &'a Path) -> Result<Self> {
        let mut flat = Vec::new();
        reserve("a parameter", &mut flat, parameter.len())?;
        flat.resize(parameter.len(), T::zero());
        Ok(Self { parameter, path, flat, order: Box::new(order(parameter)), seen: 0 })
    }

    fn take(&mut self, dtype: Dtype, piece: &[u8]) -> Result<()> {
        let mut bad = None;
        safetensors::numbers(dtype, piece, |value| {
            let value = T::from_f64(value);
            if !value.is_finite() && bad.is_none() {
                bad = Some((self.seen, value.to_f64()));
            }
            if let Some(at) = self.order.next() {
                self.flat[at] = value;
            }
            self.seen += 1;
        });
        match bad {
            None => Ok(()),
            Some((index, value)) => {
                let place = format!("{} in {}", self.parameter.name, self.path.display());
                Err(Error::NonFinite { what: "parameter", place, step: 0, index, value })
            }
        }
    }
}
