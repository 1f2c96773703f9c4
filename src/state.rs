//! What has to be kept so that a run can go on as if it had not been interrupted: names and numbers.

use crate::error::{Error, Result};
use crate::kernel::Element;
use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Numbers of an array that are turned to bytes at a time.
const CHUNK: usize = 1 << 12;

/// Named numbers, texts and arrays: what a callback, a schedule or a whole run keeps in a checkpoint.
///
/// ```
/// use gemmule::State;
///
/// let mut state = State::new();
/// state.set_integer("waited", 3);
/// state.set_number("best", 0.25);
/// state.set_values("weights", &[1.0_f32, 2.0]);
/// assert_eq!(state.integer("waited")?, 3);
/// assert_eq!(state.values::<f32>("weights")?, [1.0, 2.0]);
/// assert_eq!(state.number("worst").unwrap_err().to_string(), "State: worst: expected a number, got nothing");
///
/// let mut whole = State::new();
/// whole.set_part("early stopping", &state);
/// assert_eq!(whole.number("early stopping/best")?, 0.25);
/// assert_eq!(whole.part("early stopping"), state);
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, PartialEq)]
enum Entry {
    Integer(u64),
    Number(f64),
    Text(String),
    Integers(Vec<u64>),
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl Entry {
    fn kind(&self) -> &'static str {
        match self {
            Self::Integer(_) => "an integer",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Integers(_) => "integers",
            Self::Single(_) => "values of f32",
            Self::Double(_) => "values of f64",
        }
    }

    /// The kind in a file.
    fn code(&self) -> u8 {
        match self {
            Self::Integer(_) => 0,
            Self::Number(_) => 1,
            Self::Text(_) => 2,
            Self::Integers(_) => 3,
            Self::Single(_) => 4,
            Self::Double(_) => 5,
        }
    }

    /// The bytes of the contents in a file.
    fn len(&self) -> usize {
        match self {
            Self::Integer(_) | Self::Number(_) => 8,
            Self::Text(text) => text.len(),
            Self::Integers(values) => 8 * values.len(),
            Self::Single(values) => 4 * values.len(),
            Self::Double(values) => 8 * values.len(),
        }
    }
}

impl State {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// True if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// True if something has this name.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Keeps an integer under `name`, in place of what was there.
    pub fn set_integer(&mut self, name: impl Into<String>, value: u64) {
        self.entries.insert(name.into(), Entry::Integer(value));
    }

    /// Keeps a number under `name`, to the bit (NaN and infinities too).
    pub fn set_number(&mut self, name: impl Into<String>, value: f64) {
        self.entries.insert(name.into(), Entry::Number(value));
    }

    /// Keeps a text under `name`.
    pub fn set_text(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.entries.insert(name.into(), Entry::Text(value.into()));
    }

    /// Keeps integers under `name`.
    pub fn set_integers(&mut self, name: impl Into<String>, values: Vec<u64>) {
        self.entries.insert(name.into(), Entry::Integers(values));
    }

    /// Keeps an array of f32 or f64 under `name`.
    pub fn set_values<T: Element>(&mut self, name: impl Into<String>, values: &[T]) {
        let values: Box<dyn Any> = Box::new(values.to_vec());
        let entry = match values.downcast::<Vec<f32>>() {
            Ok(values) => Entry::Single(*values),
            Err(values) => Entry::Double(*values.downcast().expect("an element is f32 or f64")),
        };
        self.entries.insert(name.into(), entry);
    }

    /// Keeps all of `part`, each name behind `name/`. A part that is given away is not copied.
    pub fn set_part(&mut self, name: &str, part: impl Into<Self>) {
        let named = part.into().entries.into_iter().map(|(inner, entry)| (format!("{name}/{inner}"), entry));
        self.entries.extend(named);
    }

    /// What [`set_part`](Self::set_part) kept under `name`; nothing if nothing was.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        Self { entries: self.inside(name).map(|(inner, entry)| (inner.to_owned(), entry.clone())).collect() }
    }

    /// The names of a part, without a copy of what is in it.
    pub(crate) fn part_names(&self, name: &str) -> impl Iterator<Item = &str> {
        self.inside(name).map(|(inner, _)| inner)
    }

    /// Names are in order: those of a part follow each other.
    fn inside(&self, name: &str) -> impl Iterator<Item = (&str, &Entry)> {
        let start = format!("{name}/");
        let from = self.entries.range(start.clone()..);
        from.map_while(move |(full, entry)| Some((full.strip_prefix(&start)?, entry)))
    }

    /// [`part`](Self::part) without a copy: it is not in here any more.
    #[must_use]
    pub(crate) fn take_part(&mut self, name: &str) -> Self {
        let start = format!("{name}/");
        let mut inside = self.entries.split_off(&start);
        let after = inside.keys().find(|full| !full.starts_with(&start)).cloned();
        let mut after = after.map_or_else(BTreeMap::new, |after| inside.split_off(&after));
        self.entries.append(&mut after);
        let inner = |(full, entry): (String, Entry)| (full[start.len()..].to_owned(), entry);
        Self { entries: inside.into_iter().map(inner).collect() }
    }

    #[cfg(test)]
    pub(crate) fn remove(&mut self, name: &str) {
        self.entries.remove(name);
    }

    /// The integer under `name`.
    ///
    /// # Errors
    /// [`Error::Data`] if something else is there, or nothing.
    pub fn integer(&self, name: &str) -> Result<u64> {
        match self.entries.get(name) {
            Some(Entry::Integer(value)) => Ok(*value),
            other => Err(wrong(name, "an integer", other)),
        }
    }

    /// The number under `name`.
    ///
    /// # Errors
    /// [`Error::Data`] if something else is there, or nothing.
    pub fn number(&self, name: &str) -> Result<f64> {
        match self.entries.get(name) {
            Some(Entry::Number(value)) => Ok(*value),
            other => Err(wrong(name, "a number", other)),
        }
    }

    /// The text under `name`.
    ///
    /// # Errors
    /// [`Error::Data`] if something else is there, or nothing.
    pub fn text(&self, name: &str) -> Result<&str> {
        match self.entries.get(name) {
            Some(Entry::Text(value)) => Ok(value),
            other => Err(wrong(name, "a text", other)),
        }
    }

    /// The integers under `name`.
    ///
    /// # Errors
    /// [`Error::Data`] if something else is there, or nothing.
    pub fn integers(&self, name: &str) -> Result<&[u64]> {
        match self.entries.get(name) {
            Some(Entry::Integers(values)) => Ok(values),
            other => Err(wrong(name, "integers", other)),
        }
    }

    /// The array of `T` under `name`.
    ///
    /// # Errors
    /// [`Error::Data`] if something else is there (an array of the other type, too), or nothing.
    pub fn values<T: Element>(&self, name: &str) -> Result<&[T]> {
        let entry = self.entries.get(name);
        let values: Option<&dyn Any> = match entry {
            Some(Entry::Single(values)) => Some(values),
            Some(Entry::Double(values)) => Some(values),
            _ => None,
        };
        let found = values.and_then(|values| values.downcast_ref::<Vec<T>>());
        found.map(Vec::as_slice).ok_or_else(|| wrong(name, &format!("values of {}", T::NAME), entry))
    }

    /// The number of bytes that [`write_to`](Self::write_to) writes.
    pub(crate) fn encoded_len(&self) -> u64 {
        let of = |(name, entry): (&String, &Entry)| (8 + name.len() + 1 + 8 + entry.len()) as u64;
        self.entries.iter().map(of).sum()
    }

    /// As bytes: per entry the length of its name, the name, its kind, the length of its contents, the contents; all numbers
    /// little-endian. Arrays go out piece by piece: there is no second copy of them.
    pub(crate) fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        for (name, entry) in &self.entries {
            out.write_all(&(name.len() as u64).to_le_bytes())?;
            out.write_all(name.as_bytes())?;
            out.write_all(&[entry.code()])?;
            out.write_all(&(entry.len() as u64).to_le_bytes())?;
            match entry {
                Entry::Integer(value) => out.write_all(&value.to_le_bytes())?,
                Entry::Number(value) => out.write_all(&value.to_le_bytes())?,
                Entry::Text(text) => out.write_all(text.as_bytes())?,
                Entry::Integers(values) => array(out, values, u64::to_le_bytes)?,
                Entry::Single(values) => array(out, values, f32::to_le_bytes)?,
                Entry::Double(values) => array(out, values, f64::to_le_bytes)?,
            }
        }
        Ok(())
    }

    /// What [`write_to`](Self::write_to) wrote; where it is something else, what was expected there and what came.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, (String, String, String)> {
        let mut rest = bytes;
        let mut entries = BTreeMap::new();
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let refuse = |what: &str, got: String| {
                Err((format!("the entry at byte {at} of the state"), what.to_owned(), got))
            };
            let Some(name) = piece(&mut rest) else {
                return refuse("a name", format!("{} bytes after it", bytes.len() - at));
            };
            let Ok(name) = std::str::from_utf8(name) else {
                return refuse("a name in UTF-8", "other bytes".into());
            };
            let Some((&kind, after)) = rest.split_first() else {
                return refuse("its kind", "the end".into());
            };
            rest = after;
            let Some(contents) = piece(&mut rest) else {
                return refuse("its contents", format!("{} bytes after them", rest.len()));
            };
            let entry = match (kind, contents.len()) {
                (0, 8) => words(contents).next().map(|word| Entry::Integer(u64::from_le_bytes(word))),
                (1, 8) => words(contents).next().map(|word| Entry::Number(f64::from_le_bytes(word))),
                (2, _) => std::str::from_utf8(contents).ok().map(|text| Entry::Text(text.to_owned())),
                (3, len) if len % 8 == 0 => {
                    Some(Entry::Integers(words(contents).map(u64::from_le_bytes).collect()))
                }
                (4, len) if len % 4 == 0 => {
                    Some(Entry::Single(words(contents).map(f32::from_le_bytes).collect()))
                }
                (5, len) if len % 8 == 0 => {
                    Some(Entry::Double(words(contents).map(f64::from_le_bytes).collect()))
                }
                _ => None,
            };
            let Some(entry) = entry else {
                return refuse("contents of its kind", format!("{} bytes of kind {kind}", contents.len()));
            };
            if entries.insert(name.to_owned(), entry).is_some() {
                return refuse("a name that is not there yet", format!("{name:?} again"));
            }
        }
        Ok(Self { entries })
    }
}

/// So that a part can be lent: [`State::set_part`] copies it then.
impl From<&State> for State {
    fn from(state: &State) -> Self {
        state.clone()
    }
}

/// Numbers one after the other.
fn array<T: Copy, const N: usize>(
    out: &mut dyn Write,
    values: &[T],
    to_bytes: impl Fn(T) -> [u8; N],
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(N * values.len().min(CHUNK));
    for values in values.chunks(CHUNK) {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|&value| to_bytes(value)));
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// A length and as many bytes.
fn piece<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk::<8>()?;
    let (piece, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
    *rest = after;
    Some(piece)
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

fn wrong(name: &str, expected: &str, got: Option<&Entry>) -> Error {
    Error::data("State", name, expected, got.map_or("nothing", Entry::kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> State {
        let mut state = State::new();
        state.set_integer("i", u64::MAX);
        state.set_number("n", f64::NEG_INFINITY);
        state.set_text("t", "Grüße");
        state.set_integers("is", vec![1, 2, 3]);
        state.set_values("single", &[1.5_f32, -0.0]);
        state.set_values("double", &[0.1_f64]);
        state.set_values::<f64>("none", &[]);
        state
    }

    fn encode(state: &State) -> Vec<u8> {
        let mut bytes = Vec::new();
        state.write_to(&mut bytes).unwrap();
        assert_eq!(state.encoded_len(), bytes.len() as u64);
        bytes
    }

    #[test]
    fn bytes_and_back() {
        let mut state = example();
        assert_eq!(State::decode(&encode(&state)).unwrap(), state);
        assert_eq!(State::decode(&[]).unwrap(), State::new());
        // Longer than a chunk, and not by whole ones.
        let values: Vec<f32> =
            (0..2 * CHUNK as u32 + 3).map(|bits| f32::from_bits(0x7f00_0000 + bits)).collect();
        state.set_values("long", &values);
        let again = State::decode(&encode(&state)).unwrap();
        let bits = |state: &State| -> Vec<u32> {
            state.values::<f32>("long").unwrap().iter().map(|value| value.to_bits()).collect()
        };
        assert_eq!(bits(&again), bits(&state));
    }

    /// Neighbours in the order of names are no parts of each other.
    #[test]
    fn parts_are_theirs_alone() {
        let part = example();
        let mut whole = State::new();
        for name in ["a", "b", "b!", "b0", "c"] {
            whole.set_part(name, &part);
        }
        whole.set_integer("b", 1);
        whole.set_integer("b/", 2);
        assert_eq!(whole.part("b").integer("").unwrap(), 2);
        whole.entries.remove("b/");
        assert_eq!(whole.part("b"), part);
        let count = whole.names().count();
        assert_eq!(whole.take_part("b"), part);
        assert_eq!(whole.names().count(), count - part.names().count());
        assert!(whole.part("b").is_empty() && whole.take_part("b").is_empty());
        assert_eq!(
            (whole.take_part("c"), whole.take_part("a"), whole.part("b0")),
            (part.clone(), part.clone(), part)
        );
        assert!(whole.take_part("z").is_empty() && whole.contains("b"));
    }

    #[test]
    fn every_prefix_is_refused_or_whole_entries() {
        let bytes = encode(&example());
        let mut whole = 0;
        for len in 0..bytes.len() {
            match State::decode(&bytes[..len]) {
                Ok(state) => {
                    whole += 1;
                    assert_eq!(encode(&state), &bytes[..len]);
                }
                Err((what, expected, got)) => {
                    assert!(!what.is_empty() && !expected.is_empty() && !got.is_empty())
                }
            }
        }
        assert_eq!(whole, 7);
    }

    #[test]
    fn lengths_are_claims() {
        for len in [u64::MAX, 1 << 40, 9] {
            let mut bytes = len.to_le_bytes().to_vec();
            bytes.extend(*b"abcdefgh");
            assert!(State::decode(&bytes).is_err());
        }
        let twice = [encode(&example()), encode(&example())].concat();
        assert!(State::decode(&twice).unwrap_err().2.ends_with("again"));
    }
}
