//! Event files, as TensorBoard reads them.
//!
//! ```text
//! file     records, one after the other
//! record   length (u64), its masked CRC-32C (u32), an Event, its masked CRC-32C (u32); all little-endian
//! Event    a protobuf message: wall time, step, and what happened
//! ```
//!
//! The messages are those of `event.proto` and `summary.proto` in TensorFlow; only the fields that are needed.

use super::crc32c::masked;
use crate::error::{Error, Result};
use crate::kernel::Element;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Names that are tried if a file of this second is there already.
const ATTEMPTS: usize = 1000;

/// A protobuf message as it grows.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, kind: u64) {
        self.varint(field << 3 | kind);
    }

    fn integer(mut self, field: u64, value: u64) -> Self {
        self.key(field, 0);
        self.varint(value);
        self
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn single(mut self, field: u64, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn doubles(self, field: u64, values: &[f64]) -> Self {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(field, &packed)
    }

    fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }
}

/// Writes an event file for TensorBoard: scalars and histograms. [`TensorBoard`](super::TensorBoard) is the callback that does so for a run.
///
/// ```
/// use gemmule::train::EventWriter;
/// let folder = std::env::temp_dir().join(format!("gemmule-events-{}", std::process::id()));
/// let mut events = EventWriter::create(&folder)?;
/// events.scalars(1, &[("loss", 0.5), ("accuracy", 0.75)])?;
/// events.histogram(1, "0.weight", &[0.1_f32, -0.2, 0.3])?;
/// let name = events.path().file_name().unwrap().to_string_lossy();
/// assert!(name.starts_with("events.out.tfevents."));
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), gemmule::Error>(())
/// ```
pub struct EventWriter {
    path: PathBuf,
    file: File,
    /// Bytes of whole records.
    len: u64,
    /// Seconds since 1970.
    clock: Box<dyn FnMut() -> f64 + Send>,
    /// Upper limits of a histogram's buckets.
    limits: Vec<f64>,
}

impl std::fmt::Debug for EventWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventWriter")
            .field("path", &self.path)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl EventWriter {
    /// A new file in `folder`, which is made if need be: `events.out.tfevents.SECONDS.HOST`.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self> {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        Self::with_clock(folder, &host(), now)
    }

    /// The same for a given host name, and with a clock that tells the seconds since 1970: for tests whose files are to be the
    /// same each time.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn with_clock(
        folder: impl AsRef<Path>,
        host: &str,
        mut clock: impl FnMut() -> f64 + Send + 'static,
    ) -> Result<Self> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.to_owned(), source })?;
        let time = clock();
        let safe = |c: char| c.is_ascii_alphanumeric() || ['.', '-', '_'].contains(&c);
        let host: String = host.chars().map(|c| if safe(c) { c } else { '_' }).collect();
        let name = format!("events.out.tfevents.{:010}.{host}", time as u64);
        let (path, file) = (0..ATTEMPTS)
            .find_map(|attempt| {
                let end = if attempt == 0 { String::new() } else { format!(".{attempt}") };
                let path = folder.join(format!("{name}{end}"));
                match File::options().append(true).create_new(true).open(&path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                    result => Some((path, result)),
                }
            })
            .unwrap_or_else(|| (folder.join(&name), Err(io::ErrorKind::AlreadyExists.into())));
        let file = file.map_err(|source| Error::Io { path: path.clone(), source })?;
        let mut new = Self { path, file, len: 0, clock: Box::new(clock), limits: Vec::new() };
        new.add(Message::default().double(1, time).bytes(3, b"brain.Event:2"))?;
        Ok(new)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes TensorBoard forget what other files of the folder have at this step and later: for a run that is resumed after the step
    /// before.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn restart(&mut self, step: u64) -> Result<()> {
        // A session log that says: started.
        let event = self.event(step).message(7, &Message::default().integer(1, 1));
        self.add(event)
    }

    /// Numbers at a step, by their tags. TensorBoard has them as `f32`.
    ///
    /// # Errors
    /// [`Error::Io`] with the path: then the file is as it was, if the system allows.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let value =
            |&(tag, value): &(&str, f64)| Message::default().bytes(1, tag.as_bytes()).single(2, value as f32);
        let summary = values.iter().fold(Message::default(), |summary, it| summary.message(1, &value(it)));
        let event = self.event(step).message(5, &summary);
        self.add(event)
    }

    /// How values are distributed at a step: over TensorFlow's buckets, whose limits are 0 and the powers of 1.1 times 1e-12 up to
    /// 1e20, of both signs; a value that is a limit counts above it. NaN and infinities are left out; nothing is written if nothing is
    /// left.
    ///
    /// # Errors
    /// As [`scalars`](Self::scalars).
    pub fn histogram<T: Element>(&mut self, step: u64, tag: &str, values: &[T]) -> Result<()> {
        if self.limits.is_empty() {
            self.limits = limits();
        }
        let mut counts = vec![0_u64; self.limits.len()];
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        let (mut number, mut sum, mut squares) = (0_u64, 0.0, 0.0);
        for &value in values {
            let x = value.to_f64();
            if !x.is_finite() {
                continue;
            }
            let bucket = self.limits.partition_point(|&limit| limit <= x).min(counts.len() - 1);
            counts[bucket] += 1;
            (least, most) = (least.min(x), most.max(x));
            number += 1;
            sum += x;
            squares += x * x;
        }
        if number == 0 {
            return Ok(());
        }
        let (limits, counts) = without_empty_runs(&self.limits, &counts);
        let histogram = Message::default()
            .double(1, least)
            .double(2, most)
            .double(3, number as f64)
            .double(4, sum)
            .double(5, squares)
            .doubles(6, &limits)
            .doubles(7, &counts);
        let value = Message::default().bytes(1, tag.as_bytes()).message(5, &histogram);
        let event = self.event(step).message(5, &Message::default().message(1, &value));
        self.add(event)
    }

    /// An event without contents: now, at a step.
    fn event(&mut self, step: u64) -> Message {
        Message::default().double(1, (self.clock)()).integer(2, step)
    }

    /// Adds a record in one piece.
    fn add(&mut self, event: Message) -> Result<()> {
        let (length, data) = ((event.0.len() as u64).to_le_bytes(), event.0);
        let record =
            [&length[..], &masked(&length).to_le_bytes(), &data, &masked(&data).to_le_bytes()].concat();
        match self.file.write_all(&record) {
            Ok(()) => {
                self.len += record.len() as u64;
                Ok(())
            }
            Err(source) => {
                // What was written of it would make all that follows unreadable.
                let _ = self.file.set_len(self.len);
                Err(Error::Io { path: self.path.clone(), source })
            }
        }
    }
}

/// The limits of the buckets, rising; the last is the largest number.
fn limits() -> Vec<f64> {
    let powers = || std::iter::successors(Some(1e-12), |x| Some(x * 1.1)).take_while(|&x| x < 1e20);
    let mut limits: Vec<f64> = powers().map(|x| -x).collect();
    limits.reverse();
    limits.push(0.0);
    limits.extend(powers());
    limits.push(f64::MAX);
    limits
}

/// The buckets with each run of empty ones made one, and none at the end.
fn without_empty_runs(limits: &[f64], counts: &[u64]) -> (Vec<f64>, Vec<f64>) {
    let (mut kept, mut numbers): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    for (&limit, &count) in limits.iter().zip(counts) {
        if count == 0 && numbers.last() == Some(&0.0) {
            kept.pop();
            numbers.pop();
        }
        kept.push(limit);
        numbers.push(count as f64);
    }
    if numbers.last() == Some(&0.0) {
        kept.pop();
        numbers.pop();
    }
    (kept, numbers)
}

/// What the machine is called.
fn host() -> String {
    let named = |name: &str| std::env::var(name).ok();
    let found = fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| named("HOSTNAME"))
        .or_else(|| named("COMPUTERNAME"));
    let found = found.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty() && name.len() < 100);
    found.unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_buckets_are_joined() {
        let (limits, counts) = without_empty_runs(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[0, 0, 2, 0, 1, 0]);
        assert_eq!((limits, counts), (vec![2.0, 3.0, 4.0, 5.0], vec![0.0, 2.0, 0.0, 1.0]));
    }

    #[test]
    fn messages_are_protobuf() {
        let message = Message::default().integer(2, 300).single(2, 1.0).bytes(16, b"ab");
        assert_eq!(message.0, [0x10, 0xAC, 0x02, 0x15, 0, 0, 0x80, 0x3F, 0x82, 0x01, 2, b'a', b'b']);
    }
}
