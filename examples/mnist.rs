//! Trains a multi-layer perceptron on MNIST, or any other IDX set of its shape, such as Fashion-MNIST.
//!
//! `cargo run --release --example mnist`
//!
//! 784-64-64-10 with ReLU, softmax cross-entropy, Adam 1e-3, batches of 32, 5 epochs, unless told otherwise:
//! `cargo run --release --example mnist -- --help`.

use clap::{Parser, ValueEnum};
use gemmule::data::{Dataset, load_idx_dir};
use gemmule::nn::{Activation, Dense, Init, Loss, Model, Sequential};
use gemmule::optim::{Adam, Optimizer, Sgd};
use gemmule::train::{ConfusionMatrix, Control, Event, Fit, Progress};
use gemmule::{Context, Parallelism};
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
    let (train, test) = load_idx_dir(&options.data)?;
    let mut model = build(options, context, &train)?;
    let mut progress = Progress::new().lines(|line| println!("{line}"));
    let mut threads = 1;
    let mut watch = |event: &Event<'_>| {
        if let Event::TrainBegin { threads: used, .. } = event {
            threads = *used;
        }
        Control::Continue
    };
    let mut fit = Fit::new()
        .epochs(options.epochs)
        .batch_size(options.batch)
        .seed(options.seed)
        .validation(&test)
        .callback(&mut watch);
    if !options.quiet {
        println!(
            "{} training and {} test samples, {} parameters",
            train.len(),
            test.len(),
            model.parameter_count()
        );
        fit = fit.callback(&mut progress);
    }
    model.fit(&train, fit)?;

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
