//! A library's own process: reads orders from its input, a line each, and answers each with a line.
//!
//! | order | answer |
//! | --- | --- |
//! | (when it starts) | `ready VERSION` |
//! | `shape NAME` | `answer NOT-FINITE BITS...`: operands are made, the product is computed and the repeats are chosen |
//! | `time` | `took NANOSECONDS` of one product |
//!
//! Any other answer is an error's text. The end of the input ends the process.

use crate::libraries::{self, Kind, Library, Real, Settings};
use crate::operands::{Answer, Operands};
use crate::shapes::{self, Shape};
use crate::system;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;
use std::time::Instant;

/// A batch of products takes at least about as long.
const BATCH_SECONDS: f64 = 0.02;
/// Work before a batch is timed: the other libraries have had the caches, and threads were asleep.
const WARM_SECONDS: f64 = 0.004;

/// An order's answer, as a line.
#[derive(Debug, PartialEq)]
pub enum Reply {
    Ready(String),
    Answer(Answer),
    /// Nanoseconds of one product.
    Took(f64),
}

impl Reply {
    fn line(&self) -> String {
        match self {
            Self::Ready(version) => format!("ready {}", version.replace('\n', " ")),
            Self::Answer(answer) => {
                let samples = answer.samples.iter().map(|value| format!(" {:x}", value.to_bits()));
                format!("answer {}{}", answer.not_finite, samples.collect::<String>())
            }
            Self::Took(nanoseconds) => format!("took {nanoseconds}"),
        }
    }

    /// The reply that a line is; the line itself if it is none.
    pub fn parse(line: &str) -> Result<Self, String> {
        let parsed = match line.split_once(' ') {
            Some(("ready", version)) => Some(Self::Ready(version.to_owned())),
            Some(("took", nanoseconds)) => nanoseconds.parse().ok().map(Self::Took),
            Some(("answer", rest)) => {
                let mut words = rest.split(' ');
                let not_finite = words.next().and_then(|word| word.parse().ok());
                let samples: Option<Vec<f64>> =
                    words.map(|word| u64::from_str_radix(word, 16).ok().map(f64::from_bits)).collect();
                not_finite
                    .zip(samples)
                    .map(|(not_finite, samples)| Self::Answer(Answer { not_finite, samples }))
            }
            _ => None,
        };
        parsed.ok_or_else(|| line.to_owned())
    }
}

/// Loads the library and obeys until the input ends.
pub fn serve<T: Real>(kind: Kind, settings: Settings, path: Option<&Path>) -> Result<(), String> {
    system::end_with_parent()?;
    let library = match libraries::open::<T>(kind, settings, path) {
        Ok(library) => library,
        Err(error) => return say(&error),
    };
    let mut worker = Worker { library, threads: settings.threads, work: None };
    say(&Reply::Ready(worker.library.version()).line())?;
    for line in stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        match worker.obey(&line) {
            Ok(reply) => say(&reply.line())?,
            Err(error) => say(&error)?,
        }
    }
    Ok(())
}

fn say(line: &str) -> Result<(), String> {
    let mut out = stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| error.to_string())
}

struct Worker<T: Real> {
    library: Box<dyn Library<T>>,
    threads: usize,
    work: Option<Work<T>>,
}

/// The shape that is measured.
struct Work<T: Real> {
    operands: Operands<T>,
    /// Products that warm up, products that are timed.
    warm: u64,
    repeats: u64,
}

impl<T: Real> Worker<T> {
    fn obey(&mut self, order: &str) -> Result<Reply, String> {
        match order.split_once(' ') {
            Some(("shape", name)) => {
                let all = shapes::all(T::NAME == "f64");
                let shape = all.into_iter().find(|shape| shape.name == name);
                self.begin(shape.ok_or_else(|| format!("no shape {name}"))?).map(Reply::Answer)
            }
            None if order == "time" => self.time().map(Reply::Took),
            _ => Err(format!("not an order: {order}")),
        }
    }

    fn begin(&mut self, shape: Shape) -> Result<Answer, String> {
        // The memory of the last one goes first.
        self.work = None;
        let mut operands = Operands::new(shape)?;
        self.library.multiply(&mut operands)?;
        let answer = operands.answer();
        let mut work = Work { operands, warm: 0, repeats: 1 };
        // Until a batch is long enough to tell how many are needed.
        let seconds = loop {
            let seconds = self.batch(&mut work, false)?;
            if seconds * work.repeats as f64 >= BATCH_SECONDS / 4.0 {
                break seconds;
            }
            work.repeats *= 2;
        };
        work.repeats = (BATCH_SECONDS / seconds).ceil() as u64;
        // A product that is as long as a batch brings its own operands to the caches.
        work.warm = if work.repeats == 1 { 0 } else { (WARM_SECONDS / seconds).ceil() as u64 };
        self.work = Some(work);
        Ok(answer)
    }

    fn time(&mut self) -> Result<f64, String> {
        let mut work = self.work.take().ok_or("no shape was named")?;
        let seconds = self.batch(&mut work, true)?;
        self.work = Some(work);
        Ok(seconds * 1e9)
    }

    /// Seconds of one product. With one thread, of processor time, so that what neighbours take away does not count;
    /// with several, of the wall clock.
    fn batch(&mut self, work: &mut Work<T>, warm: bool) -> Result<f64, String> {
        for _ in 0..if warm { work.warm } else { 0 } {
            self.library.multiply(&mut work.operands)?;
        }
        let (wall, own) = (Instant::now(), system::process_seconds());
        for _ in 0..work.repeats {
            self.library.multiply(&mut work.operands)?;
        }
        let seconds = match self.threads {
            1 => system::process_seconds() - own,
            _ => wall.elapsed().as_secs_f64(),
        };
        Ok(seconds / work.repeats as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_survive_the_pipe() {
        let answer = Answer { not_finite: 2, samples: vec![0.1, -1e300, f64::MIN_POSITIVE] };
        for reply in [Reply::Ready("a b c".into()), Reply::Answer(answer), Reply::Took(12.345_678_9)] {
            assert_eq!(Reply::parse(&reply.line()), Ok(reply));
        }
        assert_eq!(Reply::parse("no such file"), Err("no such file".into()));
        assert_eq!(Reply::parse("took long"), Err("took long".into()));
    }
}
