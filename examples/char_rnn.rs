//! An LSTM that writes like Jane Austen: it learns which character follows a window of text, and then goes on by itself.
//!
//! `cargo run --release --example char_rnn`
//!
//! 64 characters, each as 32 learned numbers, through an LSTM of 128 to the 72 characters there are. Trained on chapters 1 to 13 of
//! *Pride and Prejudice* (`examples/data/README.md`); the last twentieth of the text is kept for validation. The
//! 8 epochs take about three minutes on two cores and end at 1.51 nats a character on that rest, from 4.28: most words are English by then,
//! the sentences are not. `--quick` takes a part of the text, to see that everything works: it only learns which letters are frequent.

use clap::Parser;
use gemmule::data::Dataset;
use gemmule::kernel::softmax;
use gemmule::nn::{Dense, Embedding, Input, Loss, Lstm, Model, Sequential};
use gemmule::optim::Adam;
use gemmule::optim::schedule::CosineAnnealingLr;
use gemmule::rng::Rng;
use gemmule::train::{Control, Event, Fit};
use gemmule::{Context, Result, Tensor};

const BATCH: usize = 64;
/// The first step size; it falls to 0.
const RATE: f64 = 3e-3;
const TEXT: &str = include_str!("data/pride_and_prejudice.txt");

/// Trains a character LSTM on a text and samples from it.
#[derive(Parser)]
struct Options {
    /// How often to go through the text.
    #[arg(long, default_value_t = 8)]
    epochs: usize,
    /// Characters that the next one is guessed from.
    #[arg(long, default_value_t = 64)]
    window: usize,
    /// Units of the LSTM.
    #[arg(long, default_value_t = 128)]
    hidden: usize,
    /// How bold the samples are: near 0 always the likeliest character, 1 as likely as the model says.
    #[arg(long, default_value_t = 0.6)]
    temperature: f32,
    /// Characters to write.
    #[arg(long, default_value_t = 600)]
    length: usize,
    /// What weights, order and samples are drawn from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A small model on a part of the text.
    #[arg(long)]
    quick: bool,
}

/// Windows of characters, and which one follows each.
fn windows(text: &[u8], alphabet: &[u8], window: usize) -> Result<Dataset> {
    let count = text.len() - window;
    let bytes = (0..count).flat_map(|at| text[at..at + window].iter().copied()).collect();
    let next = text[window..].iter().map(|&c| u32::from(c)).collect();
    Dataset::from_bytes(&[count, window], bytes)?.with_scale(1.0, 0.0)?.with_classes(next, alphabet.len())
}

/// One of the characters, as likely as the model says at this temperature.
fn draw(context: &Context, logits: &[f32], temperature: f32, rng: &mut Rng) -> Result<u8> {
    let mut shares: Vec<f32> = logits.iter().map(|x| x / temperature.max(1e-3)).collect();
    softmax::forward_in_place(context, &mut shares, logits.len())?;
    let mut left = rng.uniform_f64() as f32;
    let found = shares.iter().position(|share| {
        left -= share;
        left < 0.0
    });
    Ok(found.unwrap_or(0) as u8)
}

/// Goes on from `text`, character by character.
fn write(model: &mut Model<f32>, mut text: Vec<u8>, options: &Options) -> Result<Vec<u8>> {
    let (context, mut rng) = (Context::detect()?, Rng::new(options.seed));
    let start = text.len();
    for _ in 0..options.length {
        let window: Vec<f32> = text[text.len() - options.window..].iter().map(|&c| f32::from(c)).collect();
        let input = Dataset::from_values(Tensor::from_slice(&[1, options.window], &window)?)?;
        let logits = model.predict(&input)?;
        text.push(draw(&context, logits.as_slice(), options.temperature, &mut rng)?);
    }
    Ok(text.split_off(start))
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    let mut text = TEXT.as_bytes();
    if options.quick {
        text = &text[..6000];
        (options.epochs, options.window, options.hidden, options.length) = (2, 16, 32, 80);
    }
    let mut alphabet = text.to_vec();
    alphabet.sort_unstable();
    alphabet.dedup();
    let place = |c: &u8| alphabet.binary_search(c).expect("a character of the text") as u8;
    let coded: Vec<u8> = text.iter().map(place).collect();
    let (train, test) = coded.split_at(coded.len() - coded.len() / 20);
    let train = windows(train, &alphabet, options.window)?;
    let test = windows(test, &alphabet, options.window)?;
    println!("{} windows of {} characters out of {}", train.len(), options.window, alphabet.len());

    let mut model = Sequential::new()
        .with(Input::new(&[options.window]))
        .with(Embedding::new(alphabet.len(), 32))
        .with(Lstm::new(32, options.hidden).return_sequences(false))
        .with(Dense::new(options.hidden, alphabet.len()))
        .build::<f32>(options.seed)?;
    model.compile(Loss::CrossEntropy, Adam { learning_rate: RATE, ..Adam::default() })?;
    let first = model.evaluate(&test)?.loss;
    println!("cross-entropy on the rest of the text: untrained {first:.3}");
    let mut show = |event: &Event<'_>| {
        if let Event::EpochEnd(log) = event {
            let rest = log.validation_loss.unwrap_or(f64::NAN);
            println!("epoch {}: {:.3}, on the rest {rest:.3}", log.epoch, log.loss);
        }
        Control::Continue
    };
    let steps = options.epochs * train.len().div_ceil(BATCH);
    let fit = Fit::new().epochs(options.epochs).batch_size(BATCH).seed(options.seed).validation(&test);
    model.fit(&train, fit.schedule(CosineAnnealingLr::new(steps as u64)).callback(&mut show))?;
    let last = model.evaluate(&test)?.loss;
    let begin = coded[..options.window].to_vec();
    let shown = |coded: &[u8]| coded.iter().map(|&c| alphabet[c as usize] as char).collect::<String>();
    println!("\n{}|{}", shown(&begin), shown(&write(&mut model, begin.clone(), &options)?));
    assert!(last < first, "nothing was learned");
    Ok(())
}
