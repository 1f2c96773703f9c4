//! Measures GEMM beside other libraries, in turn, one process each. README.md says how it counts.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!(
    "the rivals are measured on Linux and x86-64: cores are chosen, and processes stopped, as Linux does it"
);

mod libraries;
mod limits;
mod machine;
mod operands;
mod process;
mod shapes;
#[path = "../../support/mod.rs"]
mod support;
mod system;
mod table;
mod worker;

use clap::{Parser, ValueEnum};
use gemmule::Isa;
use libraries::{Kind, Real, Settings};
use process::Process;
use shapes::Shape;
use std::fs::OpenOptions;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use table::{Round, Row};

/// Measures GEMM beside other libraries, in turn, and prints a table.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// OpenBLAS, or SciPy's build of it, to load
    #[arg(long, value_name = "PATH")]
    openblas: Option<PathBuf>,
    /// oneDNN to load (libdnnl.so); left out with --f64, which it has no product for
    #[arg(long, value_name = "PATH")]
    onednn: Option<PathBuf>,
    /// MKL to load (libmkl_rt.so)
    #[arg(long, value_name = "PATH")]
    mkl: Option<PathBuf>,
    /// Threads of each library
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// The core to pin everything to, with one thread; the last one if it is not given
    #[arg(long)]
    core: Option<usize>,
    /// How often every library is timed on every product
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// The instruction set of all libraries; the best that the CPU has if it is not given
    #[arg(long)]
    isa: Option<Level>,
    /// f64 instead of f32
    #[arg(long)]
    f64: bool,
    /// Only products whose name contains the word
    #[arg(long, value_name = "WORD")]
    filter: Option<String>,
    /// Append a section with machine, versions and table to this file
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Be the process of one library
    #[arg(long, hide = true)]
    worker: Option<Kind>,
}

/// The instruction sets that the rivals can be limited to.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    Avx512,
    Avx2,
}

impl Options {
    fn settings(&self) -> Result<Settings, String> {
        let isa = match self.isa {
            Some(Level::Avx512) => Isa::Avx512,
            Some(Level::Avx2) => Isa::Avx2,
            None if Isa::Avx512.is_available() => Isa::Avx512,
            None => Isa::Avx2,
        };
        if !isa.is_available() {
            return Err(format!("this CPU has no {isa}"));
        }
        Ok(Settings { isa, threads: self.threads.into() })
    }

    fn path(&self, kind: Kind) -> Option<&Path> {
        match kind {
            Kind::Openblas => self.openblas.as_deref(),
            Kind::Onednn => self.onednn.as_deref(),
            Kind::Mkl => self.mkl.as_deref(),
            _ => None,
        }
    }

    /// Those that take part, and lines about those that do not.
    fn kinds(&self, settings: Settings) -> (Vec<Kind>, Vec<String>) {
        let (mut kinds, mut left_out) = (Vec::new(), Vec::new());
        for &kind in Kind::value_variants() {
            let in_c = matches!(kind, Kind::Openblas | Kind::Onednn | Kind::Mkl);
            if in_c && self.path(kind).is_none() {
                left_out.push(format!("{kind} (no path is given)"));
            } else if let Some(reason) = libraries::unfit(kind, settings, self.f64) {
                left_out.push(format!("{kind} ({reason})"));
            } else {
                kinds.push(kind);
            }
        }
        (kinds, left_out)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = if options.f64 { run::<f64>(&options) } else { run::<f32>(&options) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run<T: Real>(options: &Options) -> Result<(), String> {
    let settings = options.settings()?;
    if let Some(kind) = options.worker {
        return worker::serve::<T>(kind, settings, options.path(kind));
    }
    let shapes = shapes::filtered(options.f64, options.filter.as_deref())?;
    let (kinds, left_out) = options.kinds(settings);
    if kinds.len() < 2 {
        return Err(format!("no rival to measure: {}", left_out.join(", ")));
    }
    // Before the long part, so that a wrong name is no loss.
    let mut record = match &options.record {
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            Some((path, file.map_err(|error| format!("{}: {error}", path.display()))?))
        }
        None => None,
    };
    let cores = system::restrict_cores(settings.threads, options.core)?;
    let mut workers = Vec::new();
    for &kind in &kinds {
        workers.push(Process::start(kind, settings, options.path(kind))?);
    }
    let mut text = introduction::<T>(options, settings, &cores, &workers, &left_out);
    text += &table::header(&kinds);
    text.push('\n');
    print(&text)?;

    let mut bandwidth = None;
    let mut ahead = 0;
    for shape in &shapes {
        let rounds = measure::<T>(shape, options, settings, &mut workers, &mut bandwidth)?;
        let row = Row::new(shape, size_of::<T>(), &rounds);
        ahead += usize::from(row.ahead());
        let line = row.line(&kinds) + "\n";
        print(&line)?;
        text += &line;
    }
    let summary = format!("\nAt least as fast as the best rival: {ahead} of {}.\n", shapes.len());
    print(&summary)?;
    if let Some((path, file)) = &mut record {
        let written = file.write_all(format!("{text}{summary}\n").as_bytes());
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// `print!` would panic where the reader has gone.
fn print(text: &str) -> Result<(), String> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot print: {error}"))
}

/// Checks every library's answer, then times all in turn. The turns begin with another library each round, so that none
/// always comes after the same one.
fn measure<T: Real>(
    shape: &Shape,
    options: &Options,
    settings: Settings,
    workers: &mut [Process],
    bandwidth: &mut Option<limits::Bandwidth>,
) -> Result<Vec<Round>, String> {
    for worker in workers.iter_mut() {
        let kind = worker.kind;
        let answer = worker.begin(&shape.name).map_err(|error| format!("{}: {error}", shape.name))?;
        operands::check::<T>(shape, &answer)
            .map_err(|error| format!("{}: {kind} is wrong: {error}", shape.name))?;
    }
    let mut rounds = Vec::new();
    for number in 0..usize::from(options.rounds) {
        let peak = limits::peak(settings.isa, options.f64, settings.threads)?;
        let bandwidth = shape
            .bound_by_memory()
            .then(|| bandwidth.get_or_insert_with(limits::Bandwidth::new).measure(settings.threads));
        let mut seconds = vec![0.0; workers.len()];
        for turn in 0..workers.len() {
            let index = (number + turn) % workers.len();
            seconds[index] = workers[index].time().map_err(|error| format!("{}: {error}", shape.name))?;
        }
        rounds.push(Round { peak, bandwidth, seconds });
    }
    Ok(rounds)
}

/// What stands above the table, in the terminal and in a record.
fn introduction<T: Real>(
    options: &Options,
    settings: Settings,
    cores: &[usize],
    workers: &[Process],
    left_out: &[String],
) -> String {
    let Settings { isa, threads } = settings;
    let mut text = format!("## GEMM beside rivals, {}, {isa}, {threads} thread(s)\n\n", T::NAME);
    text += &format!("Machine: {}; core(s) {cores:?}.\n", machine::describe());
    text += &format!(
        "Date: {}. Revision: {}. Rounds: {}.\n",
        machine::date(),
        machine::revision(),
        options.rounds
    );
    text += &format!("Arguments: `{}`\n\nLibraries:\n\n", arguments());
    for worker in workers {
        let file = options.path(worker.kind).and_then(Path::file_name).map(|name| name.to_string_lossy());
        let file = file.map(|name| format!(" (`{name}`)")).unwrap_or_default();
        text += &format!("- {}{file}: {}\n", worker.kind, worker.version);
    }
    if !left_out.is_empty() {
        text += &format!("- left out: {}\n", left_out.join("; "));
    }
    text += "\nGFLOP/s, medians of the rounds; share of the peak and of the read bandwidth: gemmule's, in per cent; ";
    text += "ratio: gemmule's rate by that of the best rival.\n\n";
    text
}

/// The command line, of paths the last part only.
fn arguments() -> String {
    let shortened = |argument: String| {
        let Some(slash) = argument.rfind('/') else { return argument };
        let path = argument.find('=').map_or(0, |equals| equals + 1);
        format!("{}{}", &argument[..path.min(slash)], &argument[slash + 1..])
    };
    let all = std::env::args_os().skip(1);
    all.map(|argument| shortened(argument.to_string_lossy().into_owned())).collect::<Vec<_>>().join(" ")
}
