//! Trains a convolutional network on MNIST, or on any other set of its shape, such as Fashion-MNIST.
//!
//! `cargo run --release --example mnist_cnn`
//!
//! Two convolutions 3 x 3 (1-32-64), each with ReLU and 2 x 2 max pooling, then 1600-128-10 with dropout; softmax cross-entropy, Adam with
//! its rate in one cycle, batches of 64, 12 epochs, small shifts, turns and scalings of the training images unless told otherwise:
//! `cargo run --release --example mnist_cnn -- --help`. With `--features full` it shows a bar.
//!
//! Fashion-MNIST (Xiao, Rasul, Vollgraf 2017) is ten kinds of clothes as images of MNIST's size, in four files of the same names and format.
//! Its authors' repository has them, and Linux distributions package them (Debian: `dataset-fashion-mnist`, which puts them under
//! `/usr/share/datasets/fashion-mnist`):
//!
//! `cargo run --release --example mnist_cnn -- --flip --no-augment --data /usr/share/datasets/fashion-mnist`

use clap::Parser;
use gemmule::data::{Augment, Dataset, ImageShape, load_idx_dir};
use gemmule::nn::{
    Activation, Conv2d, Dense, Dropout, Flatten, Init, Input, Loss, MaxPool2d, Model, Sequential,
};
use gemmule::optim::Adam;
use gemmule::optim::schedule::OneCycleLr;
use gemmule::train::{ConfusionMatrix, Control, Event, Fit};
use gemmule::{BatchSource, Context, Error, Parallelism};
use std::path::PathBuf;
use std::process::ExitCode;

/// Trains a convolutional network on an IDX data set of images.
#[derive(Parser)]
struct Options {
    /// Folder with the four files of the set, plain or .gz.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/mnist"))]
    data: PathBuf,
    /// How often to go through the training samples.
    #[arg(long, default_value_t = 12)]
    epochs: usize,
    /// Samples of a batch.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// The highest learning rate: it begins at a 25th of it and ends near 0.
    #[arg(long, default_value_t = 3e-3)]
    lr: f64,
    /// The share of the hidden dense layer's outputs that is dropped in training, and of half as many of its inputs.
    #[arg(long, default_value_t = 0.4)]
    dropout: f64,
    /// The training images as they are: not shifted, turned and scaled at random.
    #[arg(long)]
    no_augment: bool,
    /// Half of the training images mirrored as well: for clothes, not for digits.
    #[arg(long)]
    flip: bool,
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

fn build(
    options: &Options,
    context: Context,
    size: [usize; 2],
    classes: usize,
) -> gemmule::Result<Model<f32>> {
    let [height, width] = size;
    // Without padding a convolution takes 2, a pool halves what is left.
    let rest = |size: usize| (size.saturating_sub(2) / 2).saturating_sub(2) / 2;
    let features = 64 * rest(height) * rest(width);
    let conv =
        |inputs, outputs| Conv2d::new(inputs, outputs, 3).weight_init(Init::HeNormal).bias_init(Init::Zeros);
    let mut net = Sequential::new()
        .with(Input::new(&[1, height, width]))
        .with(conv(1, 32))
        .with(Activation::Relu)
        .with(MaxPool2d::new(2))
        .with(conv(32, 64))
        .with(Activation::Relu)
        .with(MaxPool2d::new(2))
        .with(Flatten::new());
    if options.dropout > 0.0 {
        net = net.with(Dropout::new(options.dropout / 2.0));
    }
    let dense = Dense::new(features, 128).weight_init(Init::HeNormal).bias_init(Init::Zeros);
    net = net.with(dense).with(Activation::Relu);
    if options.dropout > 0.0 {
        net = net.with(Dropout::new(options.dropout));
    }
    // A last layer of zeros begins with all classes equally likely.
    let last = Dense::new(128, classes).weight_init(Init::Zeros).bias_init(Init::Zeros);
    let mut model = net.with(last).build_with(context, options.seed)?;
    model.compile(Loss::CrossEntropy, Adam { learning_rate: options.lr, ..Adam::default() })?;
    Ok(model)
}

/// The training samples, changed as the options say.
fn changed<'a>(
    options: &Options,
    train: &'a Dataset,
    [height, width]: [usize; 2],
) -> gemmule::Result<Box<dyn BatchSource<f32> + 'a>> {
    if options.no_augment && !options.flip {
        return Ok(Box::new(train));
    }
    let mut augment = Augment::new(train, options.seed).images(ImageShape::chw(1, height, width))?;
    if !options.no_augment {
        augment = augment.rotation(8.0)?.scale(0.08)?.shift(0.07, 0.07)?;
    }
    if options.flip {
        augment = augment.flip_horizontal(0.5)?;
    }
    Ok(Box::new(augment))
}

fn run(options: &Options) -> gemmule::Result<()> {
    let parallelism = options.threads.map_or(Parallelism::Auto, Parallelism::Max);
    let context = Context::detect()?.with_parallelism(parallelism);
    let (train, test) = load_idx_dir(&options.data)?;
    let &[height, width] = train.feature_shape() else {
        return Err(Error::State {
            operation: "mnist_cnn",
            what: "the samples are no images of one channel",
        });
    };
    let classes = train.class_counts().map_or(0, |counts| counts.len());
    let mut model = build(options, context, [height, width], classes)?;
    let source = changed(options, &train, [height, width])?;
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
    let steps = train.len().div_ceil(options.batch.max(1)) * options.epochs;
    let mut fit = Fit::new()
        .epochs(options.epochs)
        .batch_size(options.batch)
        .seed(options.seed)
        .schedule(OneCycleLr::new(options.lr, steps as u64))
        .validation(&test)
        .callback(&mut watch);
    if !options.quiet {
        println!(
            "{} training and {} test images of {height} x {width}, {} parameters",
            train.len(),
            test.len(),
            model.parameter_count()
        );
        fit = fit.callback(&mut progress);
    }
    model.fit(&*source, fit)?;

    let predicted = model.predict_classes(&test)?;
    let actual: Vec<u32> = (0..test.len()).filter_map(|sample| test.class(sample)).collect();
    let matrix = ConfusionMatrix::new(classes, &actual, &predicted)?;
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
            eprintln!("mnist_cnn: {error}");
            ExitCode::FAILURE
        }
    }
}
