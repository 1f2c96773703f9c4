//! What fitted and what did not.

use crate::file::json::short;
use crate::tensor::shape::Times;
use std::fmt;

/// Whether a file has to have exactly a model's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strict {
    /// It has: no other names, no other shapes.
    Yes,
    /// Those that fit are loaded.
    No,
}

/// What did not fit when parameters were loaded: nothing, if all is well.
///
/// [`Display`](fmt::Display) writes a line for an error or a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Parameters of the model that the file does not have.
    pub missing: Vec<String>,
    /// Tensors of the file that the model does not have.
    pub unexpected: Vec<String>,
    /// Parameters that have another shape in the file.
    pub mis_shaped: Vec<MisShaped>,
}

/// A parameter that has another shape in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MisShaped {
    /// For example `0.weight`.
    pub name: String,
    /// The model's shape.
    pub expected: Vec<usize>,
    /// The file's.
    pub got: Vec<usize>,
}

impl LoadReport {
    /// Whether everything fitted.
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.mis_shaped.is_empty()
    }
}

/// The most entries of each kind that are shown.
const SHOWN: usize = 8;

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_exact() {
            return f.write_str("all parameters");
        }
        let mut first = true;
        for (what, names) in [("missing", &self.missing), ("unexpected", &self.unexpected)] {
            if names.is_empty() {
                continue;
            }
            let shown: Vec<_> = names.iter().take(SHOWN).map(|name| plain(name)).collect();
            let comma = if first { "" } else { "; " };
            write!(f, "{comma}{what}: {}{}", shown.join(", "), more(names.len()))?;
            first = false;
        }
        for entry in self.mis_shaped.iter().take(SHOWN) {
            let comma = if first { "" } else { "; " };
            let (got, expected) = (Times(&entry.got), Times(&entry.expected));
            write!(f, "{comma}{} is {got}, not {expected}", plain(&entry.name))?;
            first = false;
        }
        f.write_str(&more(self.mis_shaped.len()))
    }
}

/// A name as it is, if it is one that may be shown.
fn plain(name: &str) -> String {
    let short = short(name);
    match short.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(same) if same == name => name.to_owned(),
        _ => short,
    }
}

fn more(count: usize) -> String {
    if count > SHOWN { format!(" and {} more", count - SHOWN) } else { String::new() }
}
