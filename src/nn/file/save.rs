//! Writes model files.

use super::KEY;
use super::description::{VERSION, push_spec};
use super::training::{clip_spec, loss_spec, optimizer_spec};
use crate::engine::Parameter;
use crate::error::{Error, Result};
use crate::file::json::{push, push_number, push_string};
use crate::file::safetensors::{self, Dtype, Part};
use crate::file::{MEMORY, write};
use crate::kernel::{Element, reduce};
use crate::nn::model::{Model, order, shape};
use crate::nn::spec::Spec;
use std::io::{self, Write};
use std::path::Path;

/// Bytes that are gathered of a parameter before they are written.
const PIECE: usize = 1 << 14;

/// A model's file with more in it than [`Model::save`] writes: numbers and texts of one's own, such as those of the transform
/// that the model's data went through.
///
/// They stand in the description, not among the tensors: PyTorch still loads the file with `strict=True`.
/// [`SavedModel`](super::SavedModel) reads them back, with the same bits.
///
/// ```
/// use gemmule::nn::{Dense, ModelFile, SavedModel, Sequential};
/// let model = Sequential::new().with(Dense::new(2, 1)).build::<f32>(0)?;
/// let bytes = ModelFile::new(&model)
///     .with_numbers("transform.mean", &[0.1307, 0.5])
///     .with_text("classes", "cat,dog")
///     .to_bytes()?;
///
/// let saved = SavedModel::from_bytes(&bytes)?;
/// assert_eq!(saved.numbers("transform.mean")?, Some(vec![0.1307, 0.5]));
/// assert_eq!(saved.text("classes")?.as_deref(), Some("cat,dog"));
/// assert_eq!(saved.numbers("transform.std")?, None);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ModelFile<'a, T: Element> {
    model: &'a Model<T>,
    numbers: Vec<(String, Vec<f64>)>,
    texts: Vec<(String, String)>,
    described: bool,
}

impl<'a, T: Element> ModelFile<'a, T> {
    /// The file that [`Model::save`] writes.
    pub fn new(model: &'a Model<T>) -> Self {
        Self { model, numbers: Vec::new(), texts: Vec::new(), described: true }
    }

    /// The same with a list of numbers, in place of one of this name.
    #[must_use]
    pub fn with_numbers(mut self, name: impl Into<String>, values: &[f64]) -> Self {
        let name = name.into();
        self.numbers.retain(|(other, _)| *other != name);
        self.numbers.push((name, values.to_vec()));
        self
    }

    /// The same with a text, in place of one of this name.
    #[must_use]
    pub fn with_text(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        let name = name.into();
        self.texts.retain(|(other, _)| *other != name);
        self.texts.push((name, text.into()));
        self
    }

    /// The same without the description, and so without numbers and texts: the parameters alone.
    #[must_use]
    pub fn weights_only(mut self) -> Self {
        self.described = false;
        self
    }

    /// Writes the file: aside, synced, renamed, the directory synced.
    ///
    /// # Errors
    /// As [`Model::save`]; [`Error::Argument`] if a number is NaN or infinite.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let (metadata, parts) = self.contents()?;
        write::write(path.as_ref(), |out| self.emit(out, metadata.as_deref(), &parts))
    }

    /// The file in memory.
    ///
    /// # Errors
    /// As [`save`](Self::save); [`Error::OutOfMemory`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let (metadata, parts) = self.contents()?;
        let numbers: usize = self.model.engine.graph().parameters.iter().map(Parameter::len).sum();
        // An upper bound for the header of common names: it grows if there is more.
        let header = 1024 + 2 * metadata.as_ref().map_or(0, String::len) + 128 * parts.len();
        let bytes = numbers.saturating_mul(size_of::<T>()).saturating_add(header);
        let mut out = Vec::new();
        out.try_reserve(bytes).map_err(|_| Error::OutOfMemory { what: "a model file", bytes })?;
        let done = self.emit(&mut out, metadata.as_deref(), &parts);
        done.map_err(|source| Error::Io { path: MEMORY.into(), source })?;
        Ok(out)
    }

    fn emit(&self, out: &mut dyn Write, description: Option<&str>, parts: &[Part]) -> io::Result<()> {
        // As PyTorch's own tools write and expect it.
        let mut metadata = vec![("format", "pt")];
        metadata.extend(description.map(|text| (KEY, text)));
        let parameters = &self.model.engine.graph().parameters;
        let data = |index: usize, out: &mut dyn Write| {
            let parameter: &Parameter = &parameters[index];
            write_values(parameter, self.model.engine.parameters(parameter), out)
        };
        safetensors::write(out, &metadata, parts, &data)
    }

    /// The description, unless it is left out, and the tensors.
    fn contents(&self) -> Result<(Option<String>, Vec<Part>)> {
        let model = self.model;
        let mut parts = Vec::new();
        for parameter in &model.engine.graph().parameters {
            let values = model.engine.parameters(parameter);
            if reduce::first_non_finite(&model.context(), values).is_some() {
                // Where it stands in the file.
                let found = order(parameter).map(|at| values[at]).enumerate();
                let (index, value) = found.into_iter().find(|(_, x)| !x.is_finite()).unwrap_or_default();
                let (place, value) = (parameter.name.clone(), value.to_f64());
                return Err(Error::NonFinite { what: "parameter", place, step: model.steps(), index, value });
            }
            let dtype = match size_of::<T>() {
                _ if parameter.is_count() => Dtype::I64,
                4 => Dtype::F32,
                _ => Dtype::F64,
            };
            parts.push(Part { name: parameter.name.clone(), dtype, shape: shape(parameter) });
        }
        Ok((if self.described { Some(self.describe()?) } else { None }, parts))
    }

    fn describe(&self) -> Result<String> {
        let (model, graph) = (self.model, self.model.engine.graph());
        let version = env!("CARGO_PKG_VERSION");
        let mut out = format!("{{\"version\":{VERSION},\"crate\":\"{version}\",\"element\":\"{}\"", T::NAME);
        push(&mut out, format_args!(",\"inputs\":{},\"seed\":{}", model.inputs(), model.engine.seed));
        let refuse = |what, expected: &str, got: String| Err(Error::argument("save", what, expected, got));
        let layers = model.specs().into_iter().zip(graph.tops.iter().map(|&top| &graph.layers[top]));
        list(&mut out, "layers", ('[', ']'), layers, |out, (spec, name)| {
            let Some(spec) = spec else {
                let expected = "layers that describe themselves (Layer::spec), or save_weights";
                return refuse("layer", expected, name.clone());
            };
            let expected = "options that JSON holds";
            push_spec(out, &spec).or_else(|what| refuse("layer", expected, format!("{name} with {what}")))
        })?;
        let plain = |out: &mut String, spec: &Spec| {
            push_spec(out, spec).or_else(|what| refuse("training", "options that JSON holds", what))
        };
        if let Some(loss) = model.loss() {
            out.push_str(",\"loss\":");
            plain(&mut out, &loss_spec(loss))?;
            list(&mut out, "optimizers", ('[', ']'), model.optimizers.all().iter(), |out, optimizer| {
                plain(out, &optimizer_spec(optimizer))
            })?;
            let grouped = graph.parameters.iter().filter(|parameter| parameter.group != 0);
            list(&mut out, "groups", ('{', '}'), grouped, |out, parameter| {
                push_string(out, &parameter.name);
                push(out, format_args!(":{}", parameter.group));
                Ok(())
            })?;
            out.push_str(",\"clip\":");
            plain(&mut out, &clip_spec(model.engine.clip))?;
            push(&mut out, format_args!(",\"check_gradients\":{}", model.engine.check_gradients));
        }
        let frozen = graph.parameters.iter().filter(|parameter| parameter.frozen && !parameter.buffer);
        list(&mut out, "frozen", ('[', ']'), frozen, |out, parameter| {
            push_string(out, &parameter.name);
            Ok(())
        })?;
        list(&mut out, "numbers", ('{', '}'), self.numbers.iter(), |out, (name, values)| {
            push_string(out, name);
            out.push_str(":[");
            for (index, &value) in values.iter().enumerate() {
                if !value.is_finite() {
                    return refuse("numbers", "finite ones", format!("{value} in {name}"));
                }
                if index > 0 {
                    out.push(',');
                }
                push_number(out, value);
            }
            out.push(']');
            Ok(())
        })?;
        list(&mut out, "texts", ('{', '}'), self.texts.iter(), |out, (name, text)| {
            push_string(out, name);
            out.push(':');
            push_string(out, text);
            Ok(())
        })?;
        out.push('}');
        Ok(out)
    }
}

/// Appends `,"name":[...]`, or nothing if there are no items.
fn list<I>(
    out: &mut String,
    name: &str,
    (open, close): (char, char),
    items: impl Iterator<Item = I>,
    mut item: impl FnMut(&mut String, I) -> Result<()>,
) -> Result<()> {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return Ok(());
    }
    push(out, format_args!(",\"{name}\":{open}"));
    for (index, it) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        item(out, it)?;
    }
    out.push(close);
    Ok(())
}

/// Writes a parameter as it is shown: a weight as outputs x inputs.
fn write_values<T: Element>(parameter: &Parameter, flat: &[T], out: &mut dyn Write) -> io::Result<()> {
    if parameter.is_count() {
        return out.write_all(&(Element::to_f64(flat[0]) as i64).to_le_bytes());
    }
    let mut piece = Vec::with_capacity(PIECE);
    for index in order(parameter) {
        let bits = flat[index].bits();
        if size_of::<T>() == 4 {
            piece.extend_from_slice(&(bits as u32).to_le_bytes());
        } else {
            piece.extend_from_slice(&bits.to_le_bytes());
        }
        if piece.len() >= PIECE {
            out.write_all(&piece)?;
            piece.clear();
        }
    }
    out.write_all(&piece)
}
