//! Logs of runs: what stands in them, that a resumed run's are those of an uninterrupted one, and what they say when files fail.

use gemmule::data::Dataset;
use gemmule::nn::{Activation, Dense, Loss, Model, Sequential};
use gemmule::optim::Adam;
use gemmule::train::{
    Checkpoint, Checkpoints, Control, CsvLog, Event, EventWriter, Fit, History, JsonLines, TensorBoard,
};
use gemmule::{Error, Result, Tensor};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder that is removed again.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gemmule-logs-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const EPOCHS: usize = 4;
/// Of an epoch: the last has fewer samples.
const STEPS: usize = 5;

fn data() -> Result<Dataset> {
    let x = Tensor::from_fn(&[28, 2], |at| ((at[0] * 7 + at[1] * 5) % 13) as f32 / 13.0)?;
    Dataset::from_values(x)?.with_classes((0..28).map(|row| row / 7 % 2).collect(), 2)
}

fn model() -> Result<Model<f32>> {
    let net = Sequential::new().with(Dense::new(2, 4)).with(Activation::Tanh).with(Dense::new(4, 2));
    let mut model = net.build(1)?;
    model.compile(Loss::CrossEntropy, Adam::default())?;
    Ok(model)
}

/// All logs of a run, in a folder.
struct Logs {
    epochs: CsvLog,
    steps: CsvLog,
    json: JsonLines,
    board: TensorBoard,
}

impl Logs {
    fn new(folder: &Path) -> Self {
        Self {
            epochs: CsvLog::epochs(folder.join("epochs.csv")),
            steps: CsvLog::steps(folder.join("steps.csv"), 3),
            json: JsonLines::new(folder.join("events.jsonl")).every(2),
            board: TensorBoard::new(folder.join("board")).every(2).histograms(2).clock("a host", || 1.5e9),
        }
    }

    fn fit(&mut self, checkpoints: Option<&mut Checkpoints>, from: Option<Checkpoint>) -> Result<History> {
        let (data, mut model) = (data()?, model()?);
        let fit = Fit::new().epochs(EPOCHS).batch_size(6).validation(&data).resume(from);
        let fit = match checkpoints {
            Some(checkpoints) => fit.checkpoints(checkpoints),
            None => fit,
        };
        let Self { epochs, steps, json, board } = self;
        model.fit(&data, fit.callback(epochs).callback(steps).callback(json).callback(board))
    }
}

/// The texts, without what differs from run to run: seconds, and that a run began.
fn texts(folder: &Path) -> [String; 3] {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let lines = |text: &str, cut: char| {
        let lines = text.lines().filter(|line| !line.contains("train_begin"));
        let lines = lines.map(|line| line.rsplit_once(cut).map_or(line, |(before, _)| before).to_owned());
        lines.collect::<Vec<_>>().join("\n")
    };
    let json = read("events.jsonl");
    let json = json
        .lines()
        .filter(|line| !line.contains("train_begin"))
        .map(|line| line.split_once(",\"seconds\"").map_or(line, |(before, _)| before).to_owned());
    let json = json.collect::<Vec<_>>().join("\n");
    [lines(&read("epochs.csv"), ','), read("steps.csv"), json]
}

#[test]
fn rows_hold_every_figure() -> Result<()> {
    let folder = Folder::new("rows");
    let history = Logs::new(&folder.0).fit(None, None)?;
    let [epochs, steps, json] = texts(&folder.0);
    let rows: Vec<Vec<&str>> = epochs.lines().map(|line| line.split(',').collect()).collect();
    let names =
        "epoch,step,loss,accuracy,validation_loss,validation_accuracy,learning_rate,samples".split(',');
    assert_eq!(rows[0], names.collect::<Vec<_>>());
    assert_eq!(rows.len(), 1 + EPOCHS);
    for (row, log) in rows[1..].iter().zip(&history.epochs) {
        assert_eq!((row[0], row[1]), (&*log.epoch.to_string(), &*(log.epoch * STEPS).to_string()));
        for (field, (_, value)) in row[2..].iter().zip(log.values()) {
            assert_eq!(field.parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }
    // Each third of 20 steps.
    assert_eq!(steps.lines().count(), 1 + 20 / 3);
    assert!(steps.starts_with("step,epoch,samples,loss,learning_rate\n3,1,6,0."), "{steps}");
    // Ten of the steps; begin and end of each epoch; the end.
    assert_eq!(json.lines().count(), 10 + 2 * EPOCHS + 1);
    assert!(json.starts_with("{\"epoch\":1,\"step\":0,\"event\":\"epoch_begin\"}\n"), "{json}");
    assert!(json.ends_with("\"event\":\"train_end\",\"epochs\":4,\"stopped\":false}"), "{json}");
    let table = history.to_csv();
    assert_eq!(table.lines().count(), 1 + EPOCHS);
    let header = "epoch,loss,accuracy,validation_loss,validation_accuracy,learning_rate,samples,seconds";
    assert_eq!(table.lines().next(), Some(header));
    Ok(())
}

/// Logs that go on to the end of the run, cut off and written again from each step.
#[test]
fn logs_of_resumed_runs_are_those_of_uninterrupted_ones() -> Result<()> {
    let folder = Folder::new("resume");
    Logs::new(&folder.0).fit(None, None)?;
    let expected = texts(&folder.0);
    let mut checkpoints = Checkpoints::new(folder.0.join("checkpoints")).every_steps(1).keep(100);
    let again = Folder::new("resume-again");
    Logs::new(&again.0).fit(Some(&mut checkpoints), None)?;
    let all = checkpoints.list()?;
    assert_eq!(all.len(), EPOCHS * STEPS);
    for (index, path) in all.iter().enumerate() {
        // Killed in the middle of a row.
        for name in ["epochs.csv", "steps.csv", "events.jsonl"] {
            let path = folder.0.join(name);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text + "{\"epo").unwrap();
        }
        Logs::new(&folder.0).fit(None, Some(Checkpoint::read(path)?))?;
        assert_eq!(texts(&folder.0), expected, "resumed after step {}", index + 1);
    }
    // A run that begins anew does so in a new file.
    Logs::new(&folder.0).fit(None, None)?;
    assert_eq!(texts(&folder.0), expected);
    Ok(())
}

/// A run that a callback stopped within an epoch has told the end of that epoch: a resumed one takes it back.
#[test]
fn the_end_of_a_stopped_epoch_is_taken_back() -> Result<()> {
    let (whole, folder) = (Folder::new("whole"), Folder::new("stopped"));
    Logs::new(&whole.0).fit(None, None)?;
    let mut checkpoints = Checkpoints::new(folder.0.join("checkpoints")).every_steps(1);
    let (data, mut model, mut logs) = (data()?, model()?, Logs::new(&folder.0));
    let mut stop = |event: &Event<'_>| match event {
        Event::StepEnd { epoch: 2, step: 3, .. } => Control::Stop,
        _ => Control::Continue,
    };
    let Logs { epochs, steps, json, board } = &mut logs;
    let fit = Fit::new().epochs(EPOCHS).batch_size(6).validation(&data).checkpoints(&mut checkpoints);
    let fit = fit.callback(epochs).callback(steps).callback(json).callback(board);
    model.fit(&data, fit.callback(&mut stop))?;
    assert!(texts(&folder.0)[0].contains("\n2,8,"));
    let latest = checkpoints.latest()?;
    let (data, mut logs) = (self::data()?, Logs::new(&folder.0));
    let Logs { epochs, steps, json, board } = &mut logs;
    let mut never = |_: &Event<'_>| Control::Continue;
    let fit = Fit::new().epochs(EPOCHS).batch_size(6).validation(&data).resume(latest);
    let fit = fit.callback(epochs).callback(steps).callback(json).callback(board).callback(&mut never);
    self::model()?.fit(&data, fit)?;
    // The first run wrote checkpoints, and said so.
    let [epochs, steps, json] = texts(&folder.0);
    let json: Vec<&str> = json.lines().filter(|line| !line.contains("checkpoint_saved")).collect();
    assert_eq!([epochs, steps, json.join("\n")], texts(&whole.0));
    Ok(())
}

#[test]
fn files_that_are_not_logs_are_refused_with_their_path() -> Result<()> {
    let folder = Folder::new("refused");
    let mut checkpoints = Checkpoints::new(folder.0.join("checkpoints")).every_epochs(1);
    Logs::new(&folder.0).fit(Some(&mut checkpoints), None)?;
    let latest = || checkpoints.list().map(|all| Checkpoint::read(&all[0])).unwrap();
    for (name, text, what) in [
        (
            "epochs.csv",
            "epoch,step,loss\none,2,3\n",
            "line 2: expected a row that begins with a number, got \"one\"",
        ),
        ("epochs.csv", "some,other,columns\n", "columns: expected epoch,step,loss,"),
        ("steps.csv", "step\n\u{fffd}\n", "line 2: expected a row that begins with a number"),
        ("events.jsonl", "[]\n", "line 1: expected an object that begins with"),
        ("events.jsonl", &"x".repeat(2 << 20), "line 1: expected a line of a log"),
    ] {
        let path = folder.0.join(name);
        let before = fs::read(&path).unwrap();
        fs::write(&path, text).unwrap();
        let error = Logs::new(&folder.0).fit(None, Some(latest()?)).unwrap_err();
        assert!(matches!(&error, Error::Format { path: of, .. } if *of == path), "{error}");
        assert!(error.to_string().contains(what), "{error}");
        // What it was, it still is.
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{name}");
        fs::write(&path, before).unwrap();
    }
    for name in ["epochs.csv", "steps.csv", "events.jsonl", "board"] {
        let folder = Folder::new("missing");
        let mut logs = Logs::new(&folder.0);
        let missing = folder.0.join("none").join(name);
        match name {
            "epochs.csv" => logs.epochs = CsvLog::epochs(&missing),
            "steps.csv" => logs.steps = CsvLog::steps(&missing, 1),
            "events.jsonl" => logs.json = JsonLines::new(&missing),
            _ => {
                fs::write(folder.0.join("none"), "a file").unwrap();
                logs.board = TensorBoard::new(&missing);
            }
        }
        match logs.fit(None, None).unwrap_err() {
            Error::Io { path, .. } => assert!(path.starts_with(&missing), "{}", path.display()),
            error => panic!("{error}"),
        }
    }
    Ok(())
}

/// CRC-32C bit by bit, and its mask.
fn masked(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 & 0_u32.wrapping_sub(crc & 1));
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// The events of a file, each checked by both its sums.
fn events(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let (mut rest, mut events) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let len = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        assert_eq!((word(8), word(12 + len)), (masked(&rest[..8]), masked(&rest[12..12 + len])));
        events.push(rest[12..12 + len].to_vec());
        rest = &rest[16 + len..];
    }
    events
}

/// The fields of a protobuf message: numbers as their bytes.
fn fields(message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(rest: &mut &[u8]) -> u64 {
        let len = rest.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let value = rest[..len].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7F));
        *rest = &rest[len..];
        value
    }
    let (mut rest, mut fields) = (message, Vec::new());
    while !rest.is_empty() {
        let key = varint(&mut rest);
        let value = match key & 7 {
            0 => varint(&mut rest).to_le_bytes().to_vec(),
            kind => {
                let len = match kind {
                    1 => 8,
                    5 => 4,
                    _ => varint(&mut rest) as usize,
                };
                let (value, after) = rest.split_at(len);
                rest = after;
                value.to_vec()
            }
        };
        fields.push((key >> 3, value));
    }
    fields
}

fn double(bytes: &[u8]) -> f64 {
    f64::from_le_bytes(bytes.try_into().unwrap())
}

#[test]
fn event_files_are_tensorboard_s() -> Result<()> {
    let folder = Folder::new("events");
    let mut time = 1.5e9;
    let mut writer = EventWriter::with_clock(&folder.0, "my host/1", move || {
        time += 0.25;
        time
    })?;
    let name = writer.path().file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(name, "events.out.tfevents.1500000000.my_host_1");
    writer.scalars(7, &[("loss", 0.5), ("naïve \"tag\"", f64::NAN)])?;
    writer.histogram(300, "0.weight", &[0.0_f32, 0.0, 1.0, -2.5, f32::NAN, f32::INFINITY, 1e-20])?;
    writer.histogram(301, "nothing", &[f64::NAN])?;
    writer.restart(8)?;
    let second = EventWriter::with_clock(&folder.0, "my host/1", || 1.5e9 + 0.9)?;
    assert_eq!(second.path().file_name().unwrap().to_str().unwrap(), format!("{name}.1"));

    let events = events(writer.path());
    assert_eq!(events.len(), 4);
    let first = fields(&events[0]);
    assert_eq!((double(&first[0].1), &first[1]), (1.5e9 + 0.25, &(3, b"brain.Event:2".to_vec())));
    let scalars = fields(&events[1]);
    assert_eq!((scalars[0].0, double(&scalars[0].1)), (1, 1.5e9 + 0.5));
    assert_eq!(scalars[1], (2, 7_u64.to_le_bytes().to_vec()));
    let values = fields(&scalars[2].1);
    assert_eq!((scalars[2].0, values.len()), (5, 2));
    assert_eq!(fields(&values[0].1), [(1, b"loss".to_vec()), (2, 0.5_f32.to_le_bytes().to_vec())]);
    assert_eq!(fields(&values[1].1)[0], (1, "naïve \"tag\"".as_bytes().to_vec()));

    let value = fields(&fields(&fields(&events[2])[2].1)[0].1);
    let histogram = fields(&value[1].1);
    let numbers: Vec<f64> = histogram[..5].iter().map(|(_, bytes)| double(bytes)).collect();
    assert_eq!(numbers, [-2.5, 1.0, 5.0, -1.5, 7.25]);
    let list = |bytes: &[u8]| bytes.chunks(8).map(double).collect::<Vec<f64>>();
    let (limits, counts) = (list(&histogram[5].1), list(&histogram[6].1));
    // An empty run, -2.5, an empty run, zeros and 1e-20, an empty run, 1.
    assert_eq!(counts, [0.0, 1.0, 0.0, 3.0, 0.0, 1.0]);
    assert!(limits[0] <= -2.5 && limits[1] > -2.5 && limits[2] == 0.0 && limits[3] == 1e-12);
    assert!(limits[4] <= 1.0 && limits[5] > 1.0 && limits[5] < 1.1001, "{limits:?}");
    assert_eq!(fields(&events[3])[1..], [(2, 8_u64.to_le_bytes().to_vec()), (7, vec![8, 1])]);
    Ok(())
}

#[test]
fn the_board_has_every_figure() -> Result<()> {
    let folder = Folder::new("board");
    let history = Logs::new(&folder.0).fit(None, None)?;
    let read =
        |part: &str| events(&folder.0.join(format!("board/{part}/events.out.tfevents.1500000000.a_host")));
    let tags = |part: &str| {
        let mut all = Vec::new();
        for event in read(part) {
            let event = fields(&event);
            let Some((_, summary)) = event.iter().find(|field| field.0 == 5) else { continue };
            let step = u64::from_le_bytes(event[1].1.clone().try_into().unwrap());
            for (_, value) in fields(summary) {
                let value = fields(&value);
                all.push((step, String::from_utf8(value[0].1.clone()).unwrap(), value[1].clone()));
            }
        }
        all
    };
    let (train, validation) = (tags("train"), tags("validation"));
    let count = |tag: &str| train.iter().filter(|value| value.1 == tag).count();
    assert_eq!((count("batch_loss"), count("loss"), count("accuracy")), (10, EPOCHS, EPOCHS));
    assert_eq!((count("0.weight"), count("2.bias.grad"), count("learning_rate")), (2, 2, EPOCHS));
    let losses: Vec<_> = validation.iter().filter(|value| value.1 == "loss").collect();
    for (log, (step, _, (_, value))) in history.epochs.iter().zip(losses) {
        let expected = log.validation_loss.unwrap() as f32;
        assert_eq!((*step, value), ((log.epoch * STEPS) as u64, &expected.to_le_bytes().to_vec()));
    }
    assert_eq!(validation.len(), 2 * EPOCHS);
    Ok(())
}

/// Writes a run that was stopped and resumed, and what its files hold, for ci/tensorboard_events.py.
#[test]
#[ignore = "for ci/tensorboard.sh, which reads the files with the real package"]
fn for_the_real_tensorboard() -> Result<()> {
    let folder = PathBuf::from(std::env::var("GEMMULE_TENSORBOARD_DIR").expect("where to write"));
    let mut expected = String::new();
    let mut checkpoints = Checkpoints::new(folder.join("checkpoints")).every_steps(1).keep(100);
    let data = data()?;
    let board = || TensorBoard::new(&folder).every(1).histograms(1);
    // All of it; then the same from step 8 on, so that steps 9 to 20 are there twice.
    model()?.fit(
        &data,
        Fit::new()
            .epochs(EPOCHS)
            .batch_size(6)
            .validation(&data)
            .callback(&mut board())
            .checkpoints(&mut checkpoints),
    )?;
    let mut write = |kind: &str, run: &str, tag: &str, step: u64, values: &[f32]| {
        expected += &format!("{kind} {run} {tag} {step}");
        values.iter().for_each(|value| expected += &format!(" {value:?}"));
        expected.push('\n');
    };
    // Another callback sees what the board is to hold; before the point of resuming by a run of its own.
    let mut known = Vec::new();
    let mut watch = gemmule::train::WithRun(
        |event: &Event<'_>, run: &mut gemmule::train::Run<'_, f32>| -> Result<Control> {
            let step = run.total_steps();
            match event {
                Event::StepEnd { loss, .. } => {
                    write("scalar", "train", "batch_loss", step, &[*loss as f32]);
                }
                Event::EpochEnd(log) => {
                    for (name, value) in log.values() {
                        let of = name.strip_prefix("validation_").map(|name| ("validation", name));
                        let (part, name) = of.unwrap_or(("train", name));
                        write("scalar", part, name, step, &[value as f32]);
                    }
                    for info in run.model().parameters() {
                        let values = run.model().parameter(&info.name)?;
                        write("histogram", "train", &info.name, step, values.as_slice());
                        let gradient = run.gradient(&info.name)?;
                        let tag = format!("{}.grad", info.name);
                        write("histogram", "train", &tag, step, gradient.as_slice());
                    }
                    known.push(step);
                }
                _ => {}
            }
            Ok(Control::Continue)
        },
    );
    model()?.fit(&data, Fit::new().epochs(EPOCHS).batch_size(6).validation(&data).callback(&mut watch))?;
    let from = Checkpoint::read(&checkpoints.list()?[7])?;
    let mut again = board();
    let fit = Fit::new().epochs(EPOCHS).batch_size(6).validation(&data).callback(&mut again);
    model()?.fit(&data, fit.resume(from))?;
    assert_eq!(known.len(), EPOCHS);
    fs::write(folder.join("expected.txt"), expected).unwrap();
    Ok(())
}
