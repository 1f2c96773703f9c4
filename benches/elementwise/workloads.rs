//! What is timed, each under a name: the functions, softmax, cross-entropy, Adam and a copy.

use crate::buffer::Buffer;
use crate::functions::{self, Function, Kind};
use gemmule::kernel::activation::Saved;
use gemmule::kernel::{loss, softmax, update};
use gemmule::{Context, kernel::math};

/// 64 Ki numbers: input and output together half of an L2 cache.
pub const COUNT: usize = 1 << 16;

/// Something to run again and again.
pub trait Work {
    /// Runs it once.
    fn run(&mut self, context: &Context);
    /// What the last run wrote.
    fn answer(&self) -> &[f32];
    /// Looks whether the first run's answer is right.
    fn check(&self, context: &Context) -> Result<(), String>;
}

/// A name, and what makes the work.
pub struct Workload {
    pub name: String,
    /// What a run's time is divided by.
    pub elements: usize,
    make: Box<dyn Fn() -> Box<dyn Work>>,
}

impl Workload {
    fn new<W: Work + 'static>(name: &str, elements: usize, make: impl Fn() -> W + 'static) -> Self {
        Self { name: name.to_owned(), elements, make: Box::new(move || Box::new(make())) }
    }

    /// The work, its first answer checked.
    ///
    /// # Panics
    /// If the answer is wrong.
    pub fn start(&self, context: &Context) -> Box<dyn Work> {
        let mut work = (self.make)();
        work.run(context);
        work.check(context).unwrap_or_else(|error| panic!("{}, {}: {error}", self.name, context.isa()));
        work
    }
}

/// The copy that others are compared with.
pub fn copy() -> Workload {
    Workload::new("copy", COUNT, || Copy {
        input: Buffer::spread(COUNT, -8.0, 8.0),
        output: Buffer::zeros(COUNT),
    })
}

/// All but the copy.
pub fn all() -> Vec<Workload> {
    let mut workloads = Vec::new();
    for function in functions::all() {
        let name = function.name.clone();
        workloads.push(Workload::new(&name, COUNT, move || Map::new(function.clone())));
    }
    for width in [10, 512] {
        let elements = COUNT / width * width;
        workloads.push(Workload::new(&format!("softmax, rows of {width}"), elements, move || Softmax {
            input: Buffer::spread(elements, -8.0, 8.0),
            output: Buffer::zeros(elements),
            width,
        }));
    }
    for (rows, width) in [(128, 10), (6553, 10), (128, 512)] {
        let name = format!("cross-entropy with gradient, {rows} rows of {width}");
        workloads.push(Workload::new(&name, rows * width, move || CrossEntropy::new(rows, width)));
    }
    for (name, count) in [("16 Ki", 1 << 14), ("16 Mi", 1 << 24)] {
        workloads.push(Workload::new(&format!("adam, {name} parameters"), count, move || Adam::new(count)));
    }
    workloads
}

/// All numbers are finite, and near those of f64.
fn near(got: &[f32], exact: impl Iterator<Item = f64>, relative: f64) -> Result<(), String> {
    for (i, (&got, exact)) in got.iter().zip(exact).enumerate() {
        let difference = (f64::from(got) - exact).abs();
        // Written so that NaN fails.
        if difference.is_nan() || difference > relative * exact.abs() + 2e-7 {
            return Err(format!("element {i} is {got}, not {exact}"));
        }
    }
    Ok(())
}

struct Copy {
    input: Buffer,
    output: Buffer,
}

impl Work for Copy {
    fn run(&mut self, _: &Context) {
        self.output.copy_from_slice(&self.input);
    }
    fn answer(&self) -> &[f32] {
        &self.output
    }
    fn check(&self, _: &Context) -> Result<(), String> {
        near(&self.output, self.input.iter().map(|&x| f64::from(x)), 0.0)
    }
}

/// A function of one number.
struct Map {
    function: Function,
    input: Buffer,
    ones: Buffer,
    output: Buffer,
}

impl Map {
    fn new(function: Function) -> Self {
        let (low, high) = match (function.kind, function.name.as_str()) {
            // From the output, which is in (0, 1) for most.
            (Kind::Derivative(activation), _) if activation.saved() == Saved::Input => (-8.0, 8.0),
            (Kind::Derivative(_) | Kind::MathDerivative(..), _) => (0.01, 0.99),
            (_, "ln" | "sqrt" | "rsqrt" | "x^0.75" | "x^-0.5" | "x^3") => (0.001, 1000.0),
            (_, "ln_1p") => (-0.99, 100.0),
            _ => (-8.0, 8.0),
        };
        let (ones, output) = (Buffer::ones(COUNT), Buffer::zeros(COUNT));
        Self { function, input: Buffer::spread(COUNT, low, high), ones, output }
    }
}

impl Work for Map {
    fn run(&mut self, context: &Context) {
        self.function.run(context, &self.input, &self.ones, &mut self.output);
    }
    fn answer(&self) -> &[f32] {
        &self.output
    }
    /// Against the f64 kernel, which is another algorithm. (All inputs: `benches/exhaustive`.)
    fn check(&self, context: &Context) -> Result<(), String> {
        let input: Vec<f64> = self.input.iter().map(|&x| f64::from(x)).collect();
        let (ones, mut output) = (vec![1.0; COUNT], vec![0.0; COUNT]);
        self.function.run(context, &input, &ones, &mut output);
        near(&self.output, output.into_iter(), 5e-7)
    }
}

struct Softmax {
    input: Buffer,
    output: Buffer,
    width: usize,
}

impl Work for Softmax {
    fn run(&mut self, context: &Context) {
        softmax::forward(context, &self.input, &mut self.output, self.width).expect("whole rows");
    }
    fn answer(&self) -> &[f32] {
        &self.output
    }
    fn check(&self, context: &Context) -> Result<(), String> {
        let exact = probabilities(context, &self.input, self.width);
        near(&self.output, exact.into_iter(), 2e-6)
    }
}

/// Softmax by its definition, in f64.
fn probabilities(context: &Context, input: &[f32], width: usize) -> Vec<f64> {
    let logits: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
    let mut powers = vec![0.0; logits.len()];
    math::exp(context, &logits, &mut powers).expect("equal lengths");
    for row in powers.chunks_mut(width) {
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|x| *x /= sum);
    }
    powers
}

/// Mean cross-entropy of logits, and its gradient, in one pass.
struct CrossEntropy {
    logits: Buffer,
    classes: Vec<u32>,
    losses: Buffer,
    gradient: Buffer,
    width: usize,
}

impl CrossEntropy {
    fn new(rows: usize, width: usize) -> Self {
        Self {
            logits: Buffer::spread(rows * width, -8.0, 8.0),
            classes: (0..rows).map(|row| (row * 7 % width) as u32).collect(),
            losses: Buffer::zeros(rows),
            gradient: Buffer::zeros(rows * width),
            width,
        }
    }
}

impl Work for CrossEntropy {
    fn run(&mut self, context: &Context) {
        let (options, rows) = (loss::CrossEntropy::default(), loss::Rows::mean(self.width));
        let (losses, gradient) = (&mut self.losses, Some(&mut self.gradient[..]));
        loss::cross_entropy_classes(context, &self.logits, &self.classes, &options, rows, losses, gradient)
            .expect("whole rows");
    }
    fn answer(&self) -> &[f32] {
        &self.gradient
    }
    fn check(&self, context: &Context) -> Result<(), String> {
        let rows = self.classes.len();
        let mut exact = probabilities(context, &self.logits, self.width);
        for (row, &class) in exact.chunks_mut(self.width).zip(&self.classes) {
            row[class as usize] -= 1.0;
            row.iter_mut().for_each(|x| *x /= rows as f64);
        }
        near(&self.gradient, exact.into_iter(), 2e-6)
    }
}

/// A step of Adam, each with its own number.
struct Adam {
    parameters: Buffer,
    gradients: Buffer,
    first: Buffer,
    second: Buffer,
    steps: u64,
}

impl Adam {
    fn new(count: usize) -> Self {
        Self {
            parameters: Buffer::spread(count, -1.0, 1.0),
            gradients: Buffer::spread(count, 0.5, -0.5),
            first: Buffer::zeros(count),
            second: Buffer::zeros(count),
            steps: 0,
        }
    }
}

impl Work for Adam {
    fn run(&mut self, context: &Context) {
        self.steps += 1;
        let step = update::Adam::default().step(self.steps).expect("defaults");
        let Self { parameters, gradients, first, second, .. } = self;
        update::adam(context, &step, parameters, gradients, first, second).expect("equal lengths");
    }
    fn answer(&self) -> &[f32] {
        &self.parameters
    }
    /// After the first step: each parameter has gone 0.001 against the sign of its gradient.
    fn check(&self, _: &Context) -> Result<(), String> {
        let before = Buffer::spread(self.parameters.len(), -1.0, 1.0);
        let exact = before.iter().zip(self.gradients.iter()).map(|(&p, &g)| {
            let g = f64::from(g);
            f64::from(p) - 0.001 * g / (g.abs() + 1e-8)
        });
        near(&self.parameters, exact, 3e-7)
    }
}
