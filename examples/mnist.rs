//! Trains a multi-layer perceptron on MNIST, or any other IDX set of its shape, such as Fashion-MNIST.
//!
//! `cargo run --release --example mnist`
//!
//! 784-64-64-10 with ReLU, softmax cross-entropy, Adam 1e-3, batches of 32, 5 epochs, unless told otherwise:
//! `cargo run --release --example mnist -- --help`. With `--features full` it shows a bar, and `--plot` draws.

use clap::{Parser, ValueEnum};
use gemmule::data::{Augment, Dataset, ImageShape, load_idx_dir};
use gemmule::nn::{Activation, Dense, Dropout, Init, Loss, Model, Sequential};
use gemmule::optim::schedule::{CosineAnnealingLr, ExponentialLr, OneCycleLr, Schedule, StepLr, Warmup};
use gemmule::optim::{Adam, Optimizer, Sgd};
use gemmule::train::{Checkpoints, ConfusionMatrix, Control, Event, Fit, History, TensorBoard};
use gemmule::{BatchSource, Context, Parallelism};
use std::path::PathBuf;
use std::process::ExitCode;

/// Trains a multi-layer perceptron on an IDX data set.
#[derive(Parser)]
struct Options {
    /// Folder with the four files of the set, plain or .gz.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/mnist"))]
    data: PathBuf,
    /// Widths of the hidden layers; give an empty text for none.
    #[arg(long, default_value = "64,64", value_parser = parse_hidden)]
    hidden: Hidden,
    /// Activation of the hidden layers: relu, gelu, silu, tanh, leaky_relu(0.2), ...
    #[arg(long, default_value = "relu")]
    activation: Activation,
    /// Optimiser.
    #[arg(long, value_enum, default_value = "adam")]
    optimizer: Rule,
    /// Learning rate: 1e-3 for adam, 0.1 for sgd, 0.05 for momentum, unless given.
    #[arg(long)]
    lr: Option<f64>,
    /// How the learning rate changes, step by step.
    #[arg(long, value_enum, default_value = "constant")]
    schedule: Rates,
    /// The share of the hidden layers' outputs that is dropped in training.
    #[arg(long, default_value_t = 0.0)]
    dropout: f64,
    /// Shifts, turns and scales the training images at random, other in every epoch.
    #[arg(long)]
    augment: bool,
    /// Samples of a batch.
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// How often to go through the training samples.
    #[arg(long, default_value_t = 5)]
    epochs: usize,
    /// What weights and order are drawn from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The most threads; as many as there are cores unless given.
    #[arg(long)]
    threads: Option<usize>,
    /// Folder for checkpoints, one after each epoch.
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    /// Go on from the latest checkpoint, if there is one.
    #[arg(long, requires = "checkpoint")]
    resume: bool,
    /// Folder for TensorBoard's event files.
    #[arg(long)]
    tensorboard: Option<PathBuf>,
    /// SVG file for the curves of loss and accuracy (with the feature `plot`).
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Print only the last line.
    #[arg(long)]
    quiet: bool,
}

#[derive(Clone)]
struct Hidden(Vec<usize>);

fn parse_hidden(text: &str) -> Result<Hidden, String> {
    let widths = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let parse = |part: &str| match part.parse() {
        Ok(width) if width > 0 => Ok(width),
        _ => Err(format!("{part:?} is not a width: expected numbers above 0, such as 512,512")),
    };
    widths.map(parse).collect::<Result<_, _>>().map(Hidden)
}

#[derive(Clone, Copy, ValueEnum)]
enum Rule {
    Sgd,
    Momentum,
    Adam,
}

impl Rule {
    fn optimizer(self, learning_rate: Option<f64>) -> Optimizer {
        let sgd = |default: f64, momentum: f64| Sgd {
            learning_rate: learning_rate.unwrap_or(default),
            momentum,
            ..Sgd::default()
        };
        match self {
            Self::Sgd => sgd(0.1, 0.0).into(),
            Self::Momentum => sgd(0.05, 0.9).into(),
            Self::Adam => {
                let default = Adam::default();
                Adam { learning_rate: learning_rate.unwrap_or(default.learning_rate), ..default }.into()
            }
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Rates {
    Constant,
    /// Half a cosine down to 0, after a linear warm-up of one epoch.
    Cosine,
    /// Up to ten times the rate and down again, with the momentum the other way round.
    OneCycle,
    /// A tenth after each third of the epochs.
    Step,
    /// 5 % less each epoch.
    Exponential,
}

impl Rates {
    fn schedule(self, rate: f64, epochs: u64, steps: u64) -> Option<Box<dyn Schedule>> {
        Some(match self {
            Self::Constant => return None,
            Self::Cosine => {
                let rest = (epochs.saturating_sub(1) * steps).max(1);
                Box::new(Warmup::new(steps, CosineAnnealingLr::new(rest)))
            }
            Self::OneCycle => Box::new(OneCycleLr::new(10.0 * rate, epochs * steps)),
            Self::Step => Box::new(StepLr::new((epochs / 3).max(1)).by_epoch()),
            Self::Exponential => Box::new(ExponentialLr::new(0.95).by_epoch()),
        })
    }
}

#[cfg(feature = "plot")]
fn plot(history: &History, path: &std::path::Path) -> gemmule::Result<()> {
    gemmule::train::Plot::history(history)?.save(path)
}

#[cfg(not(feature = "plot"))]
fn plot(_: &History, _: &std::path::Path) -> gemmule::Result<()> {
    Err(gemmule::Error::State {
        operation: "--plot",
        what: "built without the feature `plot`: add --features full",
    })
}

fn classes(data: &Dataset) -> usize {
    data.class_counts().map_or(0, |counts| counts.len())
}

fn build(options: &Options, context: Context, train: &Dataset) -> gemmule::Result<Model<f32>> {
    let mut net = Sequential::new();
    let mut inputs = train.features();
    // Glorot, as Keras begins; a last layer of zeros begins with all classes equally likely.
    let init = Init::GlorotUniform;
    for &width in &options.hidden.0 {
        let dense = Dense::new(inputs, width).weight_init(init).bias_init(Init::Zeros);
        net = net.with(dense).with(options.activation);
        if options.dropout > 0.0 {
            net = net.with(Dropout::new(options.dropout));
        }
        inputs = width;
    }
    let last = Dense::new(inputs, classes(train)).weight_init(Init::Zeros).bias_init(Init::Zeros);
    let mut model = net.with(last).build_with(context, options.seed)?;
    model.compile(Loss::CrossEntropy, options.optimizer.optimizer(options.lr))?;
    Ok(model)
}

fn run(options: &Options) -> gemmule::Result<()> {
    let parallelism = options.threads.map_or(Parallelism::Auto, Parallelism::Max);
    let context = Context::detect()?.with_parallelism(parallelism);
    // Said before the training, not after it.
    if options.plot.is_some() && !cfg!(feature = "plot") {
        return plot(&History::default(), std::path::Path::new(""));
    }
    let (train, test) = load_idx_dir(&options.data)?;
    let mut model = build(options, context, &train)?;
    #[cfg(feature = "progress")]
    let mut progress = gemmule::train::Progress::new().lines(|line| println!("{line}"));
    #[cfg(not(feature = "progress"))]
    let mut progress = |event: &Event<'_>| {
        if let Event::EpochEnd(log) = event {
            let figures: Vec<String> = log
                .values()
                .iter()
                .map(|(name, value)| format!("{} {value:.4}", name.replace('_', " ")))
                .collect();
            let speed = log.samples_per_second();
            println!("epoch {}: {}, {speed:.0} samples/s", log.epoch, figures.join(", "));
        }
        Control::Continue
    };
    let mut threads = 1;
    let mut watch = |event: &Event<'_>| {
        if let Event::TrainBegin { threads: used, .. } = event {
            threads = *used;
        }
        Control::Continue
    };
    let augmented;
    let source: &dyn BatchSource<f32> = if options.augment {
        let (height, width) = match *train.feature_shape() {
            [height, width] => (height, width),
            _ => (1, train.features()),
        };
        augmented = Augment::new(&train, options.seed)
            .images(ImageShape::chw(1, height, width))?
            .rotation(10.0)?
            .scale(0.1)?
            .shift(0.08, 0.08)?;
        &augmented
    } else {
        &train
    };
    let mut checkpoints = options.checkpoint.as_ref().map(Checkpoints::new);
    let last = match &checkpoints {
        Some(checkpoints) if options.resume => checkpoints.latest()?,
        _ => None,
    };
    let mut board = options.tensorboard.as_ref().map(TensorBoard::new);
    let mut fit = Fit::new()
        .epochs(options.epochs)
        .batch_size(options.batch)
        .seed(options.seed)
        .validation(&test)
        .callback(&mut watch)
        .resume(last);
    let steps = train.len().div_ceil(options.batch.max(1)) as u64;
    let rate = model.learning_rate().unwrap_or_default();
    if let Some(schedule) = options.schedule.schedule(rate, options.epochs as u64, steps) {
        fit = fit.schedule(schedule);
    }
    if let Some(checkpoints) = &mut checkpoints {
        fit = fit.checkpoints(checkpoints);
    }
    if let Some(board) = &mut board {
        fit = fit.callback(board);
    }
    if !options.quiet {
        println!(
            "{} training and {} test samples, {} parameters",
            train.len(),
            test.len(),
            model.parameter_count()
        );
        fit = fit.callback(&mut progress);
    }
    let history = model.fit(source, fit)?;
    if let Some(path) = &options.plot {
        plot(&history, path)?;
    }

    let predicted = model.predict_classes(&test)?;
    let actual: Vec<u32> = (0..test.len()).filter_map(|sample| test.class(sample)).collect();
    let matrix = ConfusionMatrix::new(classes(&train), &actual, &predicted)?;
    if !options.quiet {
        println!("\nconfusion matrix (columns: predicted)\n{matrix}\n");
        println!("{}\ntraining used {threads} thread(s)", gemmule::runtime_info()?);
    }
    println!("test accuracy {:.2} %", 100.0 * matrix.accuracy());
    Ok(())
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mnist: {error}");
            ExitCode::FAILURE
        }
    }
}
