//! A training run that is killed again and again ends with the weights of one that was not. A binary of its own: it starts
//! itself as the run that is killed.
//!
//! `GEMMULE_KILLS=500 cargo test --test crash -- --nocapture` kills more often than the 20 times of every day and says at
//! which moments. `ci/crash.sh` kills the same run at each system call of a save, and has each of them fail.

#[path = "common/folder.rs"]
mod folder;

use folder::Folder;
use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Dropout, Loss, Sequential};
use gemmule::optim::Adam;
use gemmule::rng::Rng;
use gemmule::train::{Checkpoints, Control, Event, Fit, Monitor, OnError};
use gemmule::{Context, Parallelism, Result, Tensor};
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The folder of the run. Set for the run that is killed, not for the test.
const FOLDER: &str = "GEMMULE_CRASH_FOLDER";

/// `continue`: the run goes on if a checkpoint cannot be written.
const ON_ERROR: &str = "GEMMULE_CRASH_ON_ERROR";

const KEEP: usize = 3;
const EPOCHS: usize = 5;
const SAMPLES: usize = 240;
const BATCH: usize = 6;

fn data(seed: u64, samples: usize) -> Result<Dataset> {
    let mut x = vec![0.0_f32; samples * 4];
    Rng::new(seed).fill_normal(&Context::detect()?, &mut x, 0.0, 1.0)?;
    let classes = x.chunks(4).map(|row| u32::from(row[0] * row[1] > 0.0)).collect();
    Dataset::from_values(Tensor::from_vec(&[samples, 4], x)?)?.with_classes(classes, 2)
}

/// The run: 200 steps with dropout, shuffled samples, Adam, validation, and a checkpoint after each. Goes on from the
/// latest and prints a hash of all that training changed.
fn train(folder: &Path) -> Result<()> {
    let (train, validation) = (data(1, SAMPLES)?, data(2, 20)?);
    let context = Context::detect()?.with_parallelism(Parallelism::Serial);
    let net = Sequential::new()
        .with(Dense::new(4, 24))
        .with(Activation::Tanh)
        .with(Dropout::new(0.25))
        .with(Dense::new(24, 2));
    let mut model = net.build_with::<f32>(context, 5)?;
    model.compile(Loss::CrossEntropy, Adam { learning_rate: 0.01, ..Adam::default() })?;
    let on_error = match env::var(ON_ERROR).as_deref() {
        Ok("continue") => OnError::Continue,
        _ => OnError::Stop,
    };
    let best = Monitor::new("validation_loss");
    let mut checkpoints = Checkpoints::new(folder).every_steps(1).keep(KEEP).best(best).on_error(on_error);
    let last = checkpoints.latest()?;
    if let Some(last) = &last {
        println!("from step {}, skipped {}", last.model().integer("steps")?, last.skipped().len());
    }
    let mut steps = last.as_ref().map_or(Ok(0), |last| last.model().integer("steps"))?;
    // A system call that says in a trace how far the run is.
    let mark = |what: &str| drop(fs::metadata(folder.join(format!("mark {what}"))));
    let mut watch = |event: &Event<'_>| {
        match event {
            Event::StepEnd { .. } => {
                steps += 1;
                mark(&format!("step {steps}"));
            }
            Event::CheckpointSaved(_) => mark(&format!("saved {steps}")),
            Event::CheckpointFailed(error) => println!("failed: {error}"),
            _ => {}
        }
        Control::Continue
    };
    let options = Fit::new().epochs(EPOCHS).batch_size(BATCH).seed(9).validation(&validation);
    model.fit(&train, options.callback(&mut watch).checkpoints(&mut checkpoints).resume(last))?;
    let state = model.state()?;
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for name in state.names() {
        for value in state.values::<f32>(name).unwrap_or_default() {
            hash = (hash ^ u64::from(value.to_bits())).wrapping_mul(0x100_0000_01b3);
        }
    }
    println!("hash {hash:016x} after {} steps", model.steps());
    Ok(())
}

/// If this process is the run, it ends here: the harness' own calls are none of what is tested.
fn be_the_run() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let done = train(Path::new(&folder));
    if let Err(error) = &done {
        println!("error: {error}");
    }
    std::process::exit(i32::from(done.is_err()));
}

/// The same program again, as the run.
fn command(folder: &Path) -> Command {
    let this = env::current_exe().unwrap();
    // An emulator, where this runs in one.
    let mut command = match env::var_os("GEMMULE_TEST_RUNNER") {
        Some(runner) => {
            let mut command = Command::new(runner);
            command.arg(this);
            command
        }
        None => Command::new(this),
    };
    command.args(["--exact", "killed_at_random_moments", "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a run that ended printed.
fn printed(child: Child) -> (bool, String) {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

fn line<'a>(text: &'a str, start: &str) -> &'a str {
    // The harness prints in front of the first line.
    let found = text.lines().find_map(|line| line.find(start).map(|at| &line[at..]));
    found.unwrap_or_else(|| panic!("no {start:?} in: {text}"))
}

/// What the run was doing when it was killed, by what it left.
fn phase(folder: &Path) -> &'static str {
    let Ok(entries) = fs::read_dir(folder) else { return "before the folder was there" };
    let names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    let checkpoints = names.iter().filter(|name| name.starts_with("checkpoint-")).count();
    match names.iter().find(|name| name.ends_with(".tmp")) {
        Some(name) if name.starts_with(".best") => "writing the best one aside",
        Some(_) => "writing one aside",
        None if checkpoints > KEEP => "between rename and removal",
        None if checkpoints == 0 => "before the first checkpoint",
        None => "between saves",
    }
}

#[test]
fn killed_at_random_moments() {
    be_the_run();
    let kills: usize = env::var("GEMMULE_KILLS").map_or(20, |text| text.parse().expect("GEMMULE_KILLS"));
    let folder = Folder::new("crash");
    let begin = Instant::now();
    let (success, text) = printed(command(&folder.0).spawn().unwrap());
    assert!(success, "{text}");
    let whole = begin.elapsed();
    let expected = line(&text, "hash ").to_owned();
    assert!(expected.ends_with(" after 200 steps"), "{expected}");
    fs::remove_dir_all(&folder.0).unwrap();

    let reader = Checkpoints::new(&folder.0);
    let mut rng = Rng::new(2026);
    let mut phases = std::collections::BTreeMap::<&str, usize>::new();
    let (mut killed, mut ended, mut newest, mut span) = (0, 0, 0, whole);
    while killed < kills {
        let mut child = command(&folder.0).spawn().unwrap();
        let moment = Instant::now() + span.mul_f64(rng.uniform_f64());
        let mut gone = false;
        while !gone && Instant::now() < moment {
            std::thread::sleep(Duration::from_micros(500));
            gone = child.try_wait().unwrap().is_some();
        }
        // Some seven kills for each run that comes to its end, whatever else the machine does.
        span = span.mul_f64(if gone { 0.7 } else { 1.05 });
        // SIGKILL on Unix.
        child.kill().unwrap();
        let (success, text) = printed(child);
        if success || gone {
            assert!(success, "{text}");
            assert_eq!(line(&text, "hash "), expected, "after {killed} kills");
            (ended, newest) = (ended + 1, 0);
            fs::remove_dir_all(&folder.0).unwrap();
            continue;
        }
        killed += 1;
        *phases.entry(phase(&folder.0)).or_default() += 1;
        let last = reader.latest().unwrap_or_else(|error| panic!("after {killed} kills: {error}"));
        let Some(last) = last else { continue };
        assert!(last.skipped().is_empty(), "after {killed} kills: {:?}", last.skipped());
        let steps = last.model().integer("steps").unwrap();
        assert!(steps >= newest, "after {killed} kills: at step {steps}, and was at {newest}");
        newest = steps;
    }
    let (success, text) = printed(command(&folder.0).spawn().unwrap());
    assert!(success, "{text}");
    assert_eq!(line(&text, "hash "), expected, "after {killed} kills");
    println!(
        "{killed} kills (GEMMULE_KILLS) until {} runs had ended, {:.1} s: {phases:?}",
        ended + 1,
        begin.elapsed().as_secs_f64()
    );
}

/// Real errors, where the system has them for everybody: files that may not grow (`ulimit -f`, whose signal is ignored, so
/// that a write falls short and the next one fails), and a file in place of the folder.
#[cfg(unix)]
#[test]
fn no_room_for_files() {
    let folder = Folder::new("crash-room");
    let (success, text) = printed(command(&folder.0).spawn().unwrap());
    assert!(success, "{text}");
    let expected = line(&text, "hash ").to_owned();
    fs::remove_dir_all(&folder.0).unwrap();

    // 512 or 1024 bytes, as the shell counts: less than a checkpoint.
    let limited = |on_error: &str| {
        let run = command(&folder.0);
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""]).arg(run.get_program());
        shell.args(run.get_args()).env(FOLDER, &folder.0).env(ON_ERROR, on_error);
        printed(shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    };
    let in_folder = folder.0.join("checkpoint-000000000001.gemmule");
    let (success, text) = limited("stop");
    assert!(!success && line(&text, "error: ").contains(in_folder.to_str().unwrap()), "{text}");
    let names =
        || fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(), [".lock"], "{text}");
    let (success, text) = limited("continue");
    assert!(success && line(&text, "hash ") == expected, "{text}");
    assert_eq!(text.matches("failed: ").count(), 200 + EPOCHS, "{text}");
    assert_eq!(names(), [".lock"], "{text}");

    // Those that are there stay.
    let half = Checkpoints::new(&folder.0);
    let mut child = command(&folder.0).spawn().unwrap();
    while half.list().unwrap().len() < KEEP {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    printed(child);
    let last = half.latest().unwrap().expect("three").model();
    let (success, text) = limited("stop");
    assert!(!success && text.contains("error: "), "{text}");
    assert_eq!(half.latest().unwrap().expect("three").model(), last);
    let (success, text) = printed(command(&folder.0).spawn().unwrap());
    assert!(success && line(&text, "hash ") == expected, "{text}");

    fs::remove_dir_all(&folder.0).unwrap();
    fs::write(&folder.0, b"a file").unwrap();
    let (success, text) = printed(command(&folder.0).spawn().unwrap());
    assert!(!success && line(&text, "error: ").contains(folder.0.to_str().unwrap()), "{text}");
    fs::remove_file(&folder.0).unwrap();
}
