//! What a model is, as JSON: the text `gemmule` in a file's metadata.
//!
//! ```text
//!   {"version":1,"crate":"0.1.0","element":"f32","inputs":784,"seed":0,
//!    "layers":[{"kind":"dense","options":{"inputs":784,...}},{"kind":"relu","options":{}}],
//!    "loss":{...},"optimizers":[{...}],"groups":{"0.bias":1},"frozen":["2.weight"],"clip":{...},"check_gradients":false,
//!    "numbers":{"transform.mean":[0.5]},"texts":{"note":"..."}}
//! ```
//!
//! `loss` to `clip` only if the model was compiled. A reader refuses a version and keys that it does not know: what it left
//! out would make another model.

use super::training::{clip_of, loss_of, optimizer_of};
use crate::engine::Loss;
use crate::error::Result;
use crate::file::json::{Fault, Parser, push, push_number, push_string, short};
use crate::file::read::reserve;
use crate::nn::layer::Layer;
use crate::nn::registry::Layers;
use crate::nn::spec::{OptionValue, Spec};
use crate::optim::{Clip, Optimizer};
use std::borrow::Cow;

pub(super) const VERSION: u64 = 1;

/// The longest JSON of one layer, in bytes: what it is made of while it is read follows this.
const LONGEST_SPEC: usize = 1 << 16;
/// How deep specs may be nested.
const DEEPEST_SPEC: usize = 16;
/// Numbers of one list that a file may have, whatever its size.
const MOST_NUMBERS: u64 = 1 << 16;
/// Layers (parameters in lists) that a file may have without tensors of some size.
const MOST_LAYERS: u64 = 4096;

/// A description that was read.
pub(super) struct Description {
    pub element: String,
    pub inputs: u64,
    pub seed: u64,
    pub layers: Vec<Box<dyn Layer>>,
    pub loss: Option<Loss>,
    pub optimizers: Vec<Optimizer>,
    /// Parameters that are not in group 0.
    pub groups: Vec<(String, usize)>,
    pub frozen: Vec<String>,
    pub clip: Clip,
    pub check_gradients: bool,
}

/// A spec with the names of what is in it; `Err` names an option that JSON does not hold.
pub(super) fn push_spec(out: &mut String, spec: &Spec) -> Result<(), String> {
    push_nested(out, spec, 0)
}

fn push_nested(out: &mut String, spec: &Spec, depth: usize) -> Result<(), String> {
    if depth > DEEPEST_SPEC {
        return Err(format!("descriptions nested more than {DEEPEST_SPEC} deep"));
    }
    let start = out.len();
    out.push_str("{\"kind\":");
    push_string(out, &spec.kind);
    out.push_str(",\"options\":{");
    for (index, (name, value)) in spec.options.iter().enumerate() {
        if spec.options[..index].iter().any(|(other, _)| other == name) {
            return Err(format!("the option {name} twice"));
        }
        if index > 0 {
            out.push(',');
        }
        push_string(out, name);
        out.push(':');
        let number = |out: &mut String, value: f64| {
            if !value.is_finite() {
                return Err(format!("the option {name} with the number {value}"));
            }
            push_number(out, value);
            Ok(())
        };
        match value {
            OptionValue::Flag(value) => push(out, format_args!("{value}")),
            OptionValue::Integer(value) => push(out, format_args!("{value}")),
            OptionValue::Number(value) => number(out, *value)?,
            OptionValue::Text(text) => push_string(out, text),
            OptionValue::Numbers(values) => {
                out.push('[');
                for (index, &value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    number(out, value)?;
                }
                out.push(']');
            }
            OptionValue::Spec(spec) => push_nested(out, spec, depth + 1)?,
            OptionValue::Specs(specs) => {
                out.push('[');
                for (index, spec) in specs.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    push_nested(out, spec, depth + 1)?;
                }
                out.push(']');
            }
        }
    }
    out.push_str("}}");
    if out.len() - start > LONGEST_SPEC {
        return Err(format!("options of more than {LONGEST_SPEC} bytes"));
    }
    Ok(())
}

/// Reads a spec.
fn read_spec(parser: &mut Parser<'_>, depth: usize) -> Result<Spec, Fault> {
    if depth > DEEPEST_SPEC {
        return Err(parser.fault(format_args!("descriptions nested at most {DEEPEST_SPEC} deep")));
    }
    if depth == 0 {
        let mut ahead = parser.clone();
        let start = ahead.position();
        ahead.skip()?;
        let len = ahead.position() - start;
        if len > LONGEST_SPEC {
            let expected = format_args!("at most {LONGEST_SPEC} bytes").to_string();
            return Err(Fault::new(format_args!("the description at byte {start}"), expected, len));
        }
    }
    let (mut kind, mut options) = (None, Vec::new());
    parser.object(|parser, _, key| {
        match &*key {
            "kind" => kind = Some(parser.string()?.into_owned()),
            "options" => parser.object(|parser, _, name| {
                options.push((name.into_owned(), read_value(parser, depth)?));
                Ok(())
            })?,
            _ => return Err(Fault::new("a description", "kind and options", short(&key))),
        }
        Ok(())
    })?;
    let kind = kind.ok_or_else(|| Fault::new("a description", "a kind", "none"))?;
    Ok(Spec { kind, options })
}

fn read_value(parser: &mut Parser<'_>, depth: usize) -> Result<OptionValue, Fault> {
    Ok(match parser.peek() {
        Some(b'{') => OptionValue::Spec(read_spec(parser, depth + 1)?),
        Some(b'"') => OptionValue::Text(parser.string()?.into_owned()),
        Some(b'[') if holds_objects(parser) => {
            let mut specs = Vec::new();
            parser.array(|parser| {
                specs.push(read_spec(parser, depth + 1)?);
                Ok(())
            })?;
            OptionValue::Specs(specs)
        }
        Some(b'[') => OptionValue::Numbers(read_numbers(parser, LONGEST_SPEC as u64)?),
        Some(b't' | b'f') => OptionValue::Flag(parser.word()? == "true"),
        _ => {
            let integer = parser.clone().number()?.parse();
            match integer {
                Ok(value) => parser.number().map(|_| OptionValue::Integer(value))?,
                Err(_) => OptionValue::Number(parser.float()?),
            }
        }
    })
}

/// Whether the first element of the array that comes is an object.
fn holds_objects(parser: &Parser<'_>) -> bool {
    let mut found = false;
    // What is wrong with it is found when it is read.
    let _ = parser.clone().array(|parser| {
        found |= parser.peek() == Some(b'{');
        Err(Fault::new("array", "its first element", "more"))
    });
    found
}

fn read_flag(parser: &mut Parser<'_>) -> Result<bool, Fault> {
    match parser.peek() {
        Some(b't' | b'f') => Ok(parser.word()? == "true"),
        _ => Err(parser.fault("true or false")),
    }
}

fn read_numbers(parser: &mut Parser<'_>, most: u64) -> Result<Vec<f64>, Fault> {
    let mut count = 0;
    parser.clone().array(|parser| {
        count += 1;
        parser.float().map(drop)
    })?;
    if count as u64 > most {
        return Err(Fault::new("numbers", format_args!("at most {most} in a file of this size"), count));
    }
    let mut values = Vec::new();
    reserve("numbers", &mut values, count)
        .map_err(|error| Fault::new("numbers", "memory for them", error))?;
    parser.array(|parser| {
        values.push(parser.float()?);
        Ok(())
    })?;
    Ok(values)
}

/// An error as what is wrong with the text.
fn fault(what: String) -> impl Fn(crate::error::Error) -> Fault {
    move |error| Fault::new(&what, "something that can be made", error)
}

impl Description {
    /// Reads a description that stands in a file of `len` bytes, and makes its layers.
    pub(super) fn read(text: &str, len: u64, registry: &Layers) -> Result<Self, Fault> {
        let most = MOST_LAYERS + len / 1024;
        let mut found = Self {
            element: String::new(),
            inputs: 0,
            seed: 0,
            layers: Vec::new(),
            loss: None,
            optimizers: Vec::new(),
            groups: Vec::new(),
            frozen: Vec::new(),
            clip: Clip::Off,
            check_gradients: false,
        };
        let too_many =
            |what: &str| Fault::new(what, format_args!("at most {most} in a file of this size"), "more");
        each(text, |parser, key| {
            match key {
                "version" => {
                    let version = parser.unsigned()?;
                    if version != VERSION {
                        let expected = format_args!("{VERSION}; a later gemmule wrote others").to_string();
                        return Err(Fault::new("version", expected, version));
                    }
                }
                "element" => found.element = parser.string()?.into_owned(),
                "inputs" => found.inputs = parser.unsigned()?,
                "seed" => found.seed = parser.unsigned()?,
                "layers" => parser.array(|parser| {
                    if found.layers.len() as u64 == most {
                        return Err(too_many("layers"));
                    }
                    let spec = read_spec(parser, 0)?;
                    let what = format!("layer {}", found.layers.len());
                    found.layers.push(registry.make(&spec).map_err(fault(what))?);
                    Ok(())
                })?,
                "loss" => {
                    found.loss = Some(loss_of(&read_spec(parser, 0)?).map_err(fault("loss".to_owned()))?);
                }
                "optimizers" => parser.array(|parser| {
                    if found.optimizers.len() as u64 == most {
                        return Err(too_many("optimizers"));
                    }
                    let what = format!("optimiser {}", found.optimizers.len());
                    found.optimizers.push(optimizer_of(&read_spec(parser, 0)?).map_err(fault(what))?);
                    Ok(())
                })?,
                "groups" => parser.object(|parser, _, name| {
                    if found.groups.len() as u64 == most {
                        return Err(too_many("groups"));
                    }
                    let group = usize::try_from(parser.unsigned()?).unwrap_or(usize::MAX);
                    found.groups.push((name.into_owned(), group));
                    Ok(())
                })?,
                "frozen" => parser.array(|parser| {
                    if found.frozen.len() as u64 == most {
                        return Err(too_many("frozen"));
                    }
                    found.frozen.push(parser.string()?.into_owned());
                    Ok(())
                })?,
                "clip" => found.clip = clip_of(&read_spec(parser, 0)?).map_err(fault("clip".to_owned()))?,
                "check_gradients" => found.check_gradients = read_flag(parser)?,
                _ => parser.skip()?,
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// Goes through a whole description: no key that is unknown, none twice, none missing that has to be there.
fn each(text: &str, mut member: impl FnMut(&mut Parser<'_>, &str) -> Result<(), Fault>) -> Result<(), Fault> {
    const NEEDED: [&str; 5] = ["version", "element", "inputs", "seed", "layers"];
    const OTHERS: [&str; 9] =
        ["crate", "loss", "optimizers", "groups", "frozen", "clip", "check_gradients", "numbers", "texts"];
    let mut seen = [false; NEEDED.len() + OTHERS.len()];
    let mut parser = Parser::new(text, 0);
    parser.object(|parser, _, key| {
        let Some(at) = NEEDED.iter().chain(&OTHERS).position(|known| *known == key) else {
            return Err(Fault::new("the description", "keys of this version", short(&key)));
        };
        if std::mem::replace(&mut seen[at], true) {
            return Err(Fault::new("the description", "no key twice", short(&key)));
        }
        member(parser, &key)
    })?;
    parser.end()?;
    match NEEDED.iter().zip(&seen).find(|(_, seen)| !**seen) {
        None => Ok(()),
        Some((key, _)) => Err(Fault::new("the description", format_args!("the key {key}"), "none")),
    }
}

/// What stands at `name` in the part `part` of a description.
fn lookup<R>(
    text: &str,
    part: &str,
    name: &str,
    mut read: impl FnMut(&mut Parser<'_>) -> Result<R, Fault>,
) -> Result<Option<R>, Fault> {
    let mut found = None;
    each(text, |parser, key| {
        if key != part {
            return parser.skip();
        }
        parser.object(|parser, _, key| {
            if key == name {
                found = Some(read(parser)?);
                return Ok(());
            }
            parser.skip()
        })
    })?;
    Ok(found)
}

/// Numbers that were stored with the model.
pub(super) fn numbers(text: &str, len: u64, name: &str) -> Result<Option<Vec<f64>>, Fault> {
    lookup(text, "numbers", name, |parser| read_numbers(parser, MOST_NUMBERS + len / 16))
}

/// A text that was stored with the model.
pub(super) fn stored_text(text: &str, name: &str) -> Result<Option<String>, Fault> {
    lookup(text, "texts", name, |parser| parser.string().map(Cow::into_owned))
}

/// The specs of the layers.
pub(super) fn specs(text: &str) -> Result<Vec<Spec>, Fault> {
    let mut specs = Vec::new();
    each(text, |parser, key| {
        if key != "layers" {
            return parser.skip();
        }
        parser.array(|parser| {
            specs.push(read_spec(parser, 0)?);
            Ok(())
        })
    })?;
    Ok(specs)
}
