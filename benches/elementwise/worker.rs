//! Runs named workloads on demand, for `peers/elementwise.py`: reads orders from its input, answers each with a line.
//!
//! | order | answer |
//! | --- | --- |
//! | (when it starts) | `ready VERSION` |
//! | `begin NAME` | `answer ELEMENTS X...`: 16 numbers of the first answer, evenly spread |
//! | `time` | `took NANOSECONDS` per element |
//!
//! Any other answer is an error's text. The end of the input ends the process.

use crate::support::thread_seconds;
use crate::workloads::{self, Work, Workload};
use gemmule::{Context, Parallelism};
use std::io::{BufRead, Write, stdin, stdout};

/// A batch takes at least about as long.
const BATCH_SECONDS: f64 = 0.02;
/// Work before it: the others have had the caches.
const WARM_SECONDS: f64 = 0.004;

/// Obeys until the input ends.
pub fn serve() {
    let context = Context::detect().expect("an instruction set").with_parallelism(Parallelism::Serial);
    let all: Vec<Workload> = workloads::all().into_iter().chain([workloads::copy()]).collect();
    say(&format!("ready gemmule {} {}", env!("CARGO_PKG_VERSION"), context.isa()));
    let mut current: Option<Running> = None;
    for line in stdin().lock().lines() {
        let line = line.expect("the orders are text");
        match line.split_once(' ') {
            Some(("begin", name)) => match all.iter().find(|workload| workload.name == name) {
                Some(workload) => {
                    let running = Running::start(workload, &context);
                    say(&running.first_answer);
                    current = Some(running);
                }
                None => say(&format!("no workload {name}")),
            },
            None if line == "time" => match &mut current {
                Some(running) => say(&format!("took {}", running.time(&context))),
                None => say("nothing was begun"),
            },
            _ => say(&format!("not an order: {line}")),
        }
    }
}

fn say(line: &str) {
    let mut out = stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("somebody reads");
}

struct Running {
    work: Box<dyn Work>,
    elements: usize,
    first_answer: String,
    warm: u64,
    repeats: u64,
}

impl Running {
    fn start(workload: &Workload, context: &Context) -> Self {
        let mut work = workload.start(context);
        let answer = work.answer();
        let samples: String = (0..16).map(|i| format!(" {}", answer[i * answer.len() / 16])).collect();
        let first_answer = format!("answer {}{samples}", workload.elements);
        let mut repeats = 1;
        let seconds = loop {
            let seconds = batch(work.as_mut(), context, repeats);
            if seconds >= BATCH_SECONDS / 4.0 {
                break seconds / repeats as f64;
            }
            repeats *= 2;
        };
        let count = |time: f64| (time / seconds).ceil() as u64;
        Self {
            work,
            elements: workload.elements,
            first_answer,
            warm: count(WARM_SECONDS),
            repeats: count(BATCH_SECONDS),
        }
    }

    /// Nanoseconds per element.
    fn time(&mut self, context: &Context) -> f64 {
        batch(self.work.as_mut(), context, self.warm);
        batch(self.work.as_mut(), context, self.repeats) * 1e9 / (self.repeats as f64 * self.elements as f64)
    }
}

/// Seconds of this thread's processor time.
pub fn batch(work: &mut dyn Work, context: &Context, repeats: u64) -> f64 {
    let start = thread_seconds();
    for _ in 0..repeats {
        work.run(context);
    }
    thread_seconds() - start
}
