//! The events of a run as JSON, one object per line.

use super::Start;
use super::lines::Lines;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::train::callback::{Callback, Control, Event, Run};
use std::fmt::Write;
use std::path::PathBuf;

/// Writes an object per event to a file, one per line.
///
/// Each begins with `epoch` (from 1), `step` (within the epoch) and `event`: `train_begin`, `epoch_begin`, `step_end`, `epoch_end`,
/// `checkpoint_saved`, `checkpoint_failed`, `failed` or `train_end`; what follows depends on the event. Numbers are as short as reads
/// back exactly; NaN and infinities are `null`, since JSON has none.
///
/// A run that begins anew replaces the file. One that is resumed goes on with it: events after the step at which it is resumed are cut
/// off, so that none is there twice but for the beginning of the run.
///
/// ```
/// # use gemmule::data::Dataset;
/// # use gemmule::nn::{Dense, Loss, Sequential};
/// # use gemmule::optim::Sgd;
/// # use gemmule::Tensor;
/// # let x = Tensor::from_slice(&[4, 1], &[0.0_f64, 1.0, 2.0, 3.0])?;
/// # let line = Dataset::from_values(x.clone())?.with_values(x.map(|x| 2.0 * x))?;
/// # let mut model = Sequential::new().with(Dense::new(1, 1)).build::<f64>(0)?;
/// # model.compile(Loss::MeanSquaredError, Sgd::default())?;
/// use gemmule::train::{Fit, JsonLines};
///
/// let path = std::env::temp_dir().join(format!("gemmule-json-{}.jsonl", std::process::id()));
/// let mut log = JsonLines::new(&path);
/// model.fit(&line, Fit::new().epochs(3).callback(&mut log))?;
/// let text = std::fs::read_to_string(&path).unwrap();
/// assert!(text.contains("{\"epoch\":3,\"step\":1,\"event\":\"epoch_end\",\"loss\":"));
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    every: u64,
    file: Option<Lines>,
}

impl JsonLines {
    /// A log at `path`, of every step.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), every: 1, file: None }
    }

    /// Writes `step_end` after every `n` steps of the run; never if it is 0.
    #[must_use]
    pub fn every(self, n: u64) -> Self {
        Self { every: n, ..self }
    }

    fn begin(&mut self, start: Start) -> Result<()> {
        self.file = Some(if start.is_resumed() {
            Lines::resume(&self.path, "JSON lines", |_, line| keeps(line, start))?
        } else {
            Lines::create(&self.path)?
        });
        Ok(())
    }
}

/// Whether an event was before the moment at which the run is resumed.
fn keeps(line: &str, start: Start) -> Result<bool, (String, String)> {
    let shown = || line.chars().take(80).collect::<String>();
    let expected = "an object that begins with \"epoch\", \"step\" and \"event\"";
    let parse = || {
        let rest = line.strip_prefix("{\"epoch\":").filter(|rest| rest.ends_with('}'))?;
        let (epoch, rest) = rest.split_once(",\"step\":")?;
        let (step, rest) = rest.split_once(",\"event\":\"")?;
        let (event, _) = rest.split_once('"')?;
        Some((epoch.parse::<u64>().ok()?, step.parse::<u64>().ok()?, event))
    };
    let (epoch, step, event) = parse().ok_or_else(|| (expected.to_owned(), shown()))?;
    Ok(match event {
        // It did not end after all.
        "train_end" => false,
        // Told again where the epoch begins.
        "epoch_begin" => epoch < start.epoch || epoch == start.epoch && start.step > 0,
        "epoch_end" => epoch < start.epoch,
        _ => (epoch, step) <= (start.epoch, start.step),
    })
}

/// An object as it grows.
struct Object(String);

impl Object {
    fn new(epoch: usize, step: usize, event: &str) -> Self {
        Self(format!("{{\"epoch\":{epoch},\"step\":{step},\"event\":\"{event}\""))
    }

    fn name(&mut self, name: &str) {
        self.0.push(',');
        push_text(&mut self.0, name);
        self.0.push(':');
    }

    fn integer(mut self, name: &str, value: u64) -> Self {
        self.name(name);
        self.0 += &value.to_string();
        self
    }

    fn number(mut self, name: &str, value: f64) -> Self {
        self.name(name);
        self.0 += &if value.is_finite() { format!("{value:?}") } else { "null".to_owned() };
        self
    }

    fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        push_text(&mut self.0, value);
        self
    }

    fn truth(mut self, name: &str, value: bool) -> Self {
        self.name(name);
        self.0 += &value.to_string();
        self
    }

    fn end(self) -> String {
        self.0 + "}\n"
    }
}

/// A string as RFC 8259 has it.
fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => *out += "\\\"",
            '\\' => *out += "\\\\",
            '\n' => *out += "\\n",
            '\r' => *out += "\\r",
            '\t' => *out += "\\t",
            // Line separators, which JavaScript takes for line breaks, too.
            c if c < ' ' || ['\u{7f}', '\u{2028}', '\u{2029}'].contains(&c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

impl<T: Element> Callback<T> for JsonLines {
    fn on_event(&mut self, event: &Event<'_>, run: &mut Run<'_, T>) -> Result<Control> {
        if let Some(start) = Start::of(event) {
            self.begin(start)?;
        }
        let (epoch, step) = (run.epoch(), run.step());
        let object = |name| Object::new(epoch, step, name);
        let object = match *event {
            Event::TrainBegin { epochs, steps, samples, threads, .. } => object("train_begin")
                .integer("epochs", epochs as u64)
                .integer("steps_per_epoch", steps as u64)
                .integer("samples", samples as u64)
                .integer("threads", threads as u64),
            Event::EpochBegin { .. } => object("epoch_begin"),
            Event::StepEnd { samples, loss, .. }
                if self.every > 0 && run.total_steps().is_multiple_of(self.every) =>
            {
                object("step_end")
                    .number("loss", loss)
                    .integer("samples", samples as u64)
                    .number("learning_rate", run.learning_rate())
            }
            Event::EpochEnd(log) => {
                let values = log.values().into_iter();
                values
                    .fold(object("epoch_end"), |object, (name, value)| object.number(name, value))
                    .integer("samples", log.samples as u64)
                    .number("seconds", log.seconds)
            }
            Event::CheckpointSaved(path) => object("checkpoint_saved").text("path", &path.to_string_lossy()),
            Event::CheckpointFailed(error) => object("checkpoint_failed").text("error", &error.to_string()),
            Event::Failed(error) => object("failed").text("error", &error.to_string()),
            Event::TrainEnd(history) => object("train_end")
                .integer("epochs", history.epochs.len() as u64)
                .truth("stopped", history.stopped),
            _ => return Ok(Control::Continue),
        };
        let Some(file) = &mut self.file else {
            return Err(Error::State { operation: "JsonLines", what: "the run has not begun" });
        };
        file.add(&object.end())?;
        Ok(Control::Continue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        let object = Object::new(1, 2, "e").text("a\"b", "\\ \n\r\t\u{1} \u{2028} ü 🦀").end();
        let expected =
            "{\"epoch\":1,\"step\":2,\"event\":\"e\",\"a\\\"b\":\"\\\\ \\n\\r\\t\\u0001 \\u2028 ü 🦀\"}\n";
        assert_eq!(object, expected);
    }

    #[test]
    fn numbers_read_back() {
        for value in [0.1, -0.0, 1e-300, f64::MAX, 5e-324, 1.0 / 3.0, 1e16] {
            let object = Object::new(1, 0, "e").number("x", value).end();
            let text = object.split("\"x\":").nth(1).unwrap().trim_end_matches("}\n");
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
            assert!(text.len() < 26, "{text}");
        }
        assert!(Object::new(1, 0, "e").number("x", f64::NAN).end().ends_with("\"x\":null}\n"));
        assert!(Object::new(1, 0, "e").number("x", f64::NEG_INFINITY).end().ends_with("\"x\":null}\n"));
    }

    #[test]
    fn what_a_resumed_run_keeps() {
        let line = |epoch, step, event| Object::new(epoch, step, event).number("loss", 1.0).end();
        let start = |epoch, step| Start { epoch, step, steps_per_epoch: 4 };
        let kept = |epoch, step, event, from| {
            keeps(line(epoch, step, event).trim_end(), from).unwrap_or_else(|_| panic!("refused"))
        };
        // Within epoch 2, after its step 3.
        for (epoch, step, event, expected) in [
            (1, 4, "epoch_end", true),
            (2, 0, "epoch_begin", true),
            (2, 3, "step_end", true),
            (2, 3, "checkpoint_saved", true),
            (2, 3, "epoch_end", false),
            (2, 3, "train_end", false),
            (2, 4, "step_end", false),
            (3, 0, "epoch_begin", false),
        ] {
            assert_eq!(kept(epoch, step, event, start(2, 3)), expected, "{epoch} {step} {event}");
        }
        // Between epochs 1 and 2.
        for (epoch, step, event, expected) in [
            (1, 4, "epoch_end", true),
            (2, 0, "checkpoint_saved", true),
            (2, 0, "epoch_begin", false),
            (2, 1, "step_end", false),
        ] {
            assert_eq!(kept(epoch, step, event, start(2, 0)), expected, "{epoch} {step} {event}");
        }
        assert!(keeps("{\"epoch\":1}", start(2, 0)).is_err() && keeps("", start(2, 0)).is_err());
    }
}
