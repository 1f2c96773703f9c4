//! Every sum against its formula in f64, the same bits on every instruction set, and memory that ends where it should.

use super::*;
use crate::simd::Isa;
use crate::simd::tests::guard::{Guarded, Plain};

fn contexts() -> Vec<Context> {
    Isa::available().map(|isa| Context::new(isa).expect("an available instruction set")).collect()
}

/// Numbers in [-1, 1).
fn random(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn cast<T: Element>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&x| T::from_f64(x)).collect()
}

/// Calls `f` with the places of input, weight and output of every product of one sample.
fn products(sizes: &Sizes, mut f: impl FnMut(usize, usize, usize)) {
    let [channels, outputs] = sizes.channels.map(|channels| channels / sizes.groups);
    let [height, width] = sizes.output;
    let inside = |i: usize, output: usize, tap: usize| {
        let at = (output * sizes.stride[i] + tap * sizes.dilation[i]).checked_sub(sizes.padding[i])?;
        (at < sizes.input[i]).then_some(at)
    };
    for (oy, ox) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for tap in 0..sizes.taps() {
            let (ky, kx) = (tap / sizes.kernel[1], tap % sizes.kernel[1]);
            let (Some(y), Some(x)) = (inside(0, oy, ky), inside(1, ox, kx)) else { continue };
            for group in 0..sizes.groups {
                for (c, n) in (0..channels).flat_map(|c| (0..outputs).map(move |n| (c, n))) {
                    f(
                        (y * sizes.input[1] + x) * sizes.channels[0] + group * channels + c,
                        (tap * channels + c) * sizes.channels[1] + group * outputs + n,
                        (oy * width + ox) * sizes.channels[1] + group * outputs + n,
                    );
                }
            }
        }
    }
}

/// Input, weights, gradient of the output, bias of the outputs, bias of the inputs.
struct Operands {
    samples: usize,
    values: [Vec<f64>; 5],
}

impl Operands {
    fn new(sizes: &Sizes, samples: usize, seed: u64) -> Self {
        let lengths = [
            samples * sizes.inputs(),
            sizes.weights(),
            samples * sizes.outputs(),
            sizes.channels[1],
            sizes.channels[0],
        ];
        let mut seed = seed;
        let values = lengths.map(|length| {
            seed += 1;
            random(seed, length)
        });
        Self { samples, values }
    }

    /// Output, gradient of the input, gradient of the weights.
    fn naive(&self, sizes: &Sizes) -> [Vec<f64>; 3] {
        let [input, weights, d_output, bias, back] = &self.values;
        let repeat =
            |values: &[f64], len: usize| values.iter().copied().cycle().take(len).collect::<Vec<_>>();
        let mut output = repeat(bias, d_output.len());
        let mut d_input = repeat(back, input.len());
        let mut d_weights = vec![0.0; weights.len()];
        for sample in 0..self.samples {
            let (i, o) = (sample * sizes.inputs(), sample * sizes.outputs());
            products(sizes, |x, w, y| {
                output[o + y] += input[i + x] * weights[w];
                d_input[i + x] += d_output[o + y] * weights[w];
                d_weights[w] += input[i + x] * d_output[o + y];
            });
        }
        [output, d_input, d_weights]
    }
}

/// Memory for the operands, the results and scratch.
struct Pages<T: Plain>(Vec<Guarded<T>>);

fn run<T: Element + Plain>(
    context: &Context,
    convolution: &Convolution,
    operands: &Operands,
    pages: &mut Pages<T>,
    at_end: bool,
) -> [Vec<T>; 3] {
    let lengths: Vec<usize> = operands.values.iter().map(Vec::len).collect();
    let results = [lengths[2], lengths[0], lengths[1]];
    let arranged = [Direction::Output, Direction::Input].map(|direction| {
        let (rows, width) = convolution.arranged(direction);
        if rows == 0 { lengths[1] } else { rows * width }
    });
    let others = [arranged[0], arranged[1], convolution.sums().weights(), convolution.scratch()];
    let all: Vec<usize> = lengths.iter().chain(&results).chain(&others).copied().collect();
    if pages.0.len() < all.len() || all.iter().zip(&pages.0).any(|(&len, page)| page.capacity() < len) {
        pages.0 = all.iter().map(|&len| Guarded::new(len.max(4096))).collect();
    }
    let mut rooms: Vec<&mut [T]> = pages
        .0
        .iter_mut()
        .zip(&all)
        .map(|(page, &len)| if at_end { page.at_end(len) } else { page.at_start(len) })
        .collect();
    for (room, values) in rooms.iter_mut().zip(&operands.values) {
        room.copy_from_slice(&cast::<T>(values));
    }
    for room in &mut rooms[5..] {
        // What is in them at first does not matter.
        room.fill(T::nan());
    }
    let [
        input,
        weights,
        d_output,
        bias,
        back,
        output,
        d_input,
        d_weights,
        for_output,
        for_input,
        sums,
        scratch,
    ] = rooms.as_mut_slice()
    else {
        unreachable!()
    };
    let finish = |bias| Finish { bias: Some(bias), activation: Activation::Identity };
    arrange(context, convolution, Direction::Output, weights, for_output);
    convolution.to_output(context, [input, for_output], finish(bias), output, scratch);
    arrange(context, convolution, Direction::Input, weights, for_input);
    scratch.fill(T::nan());
    convolution.to_input(context, [d_output, for_input], finish(back), d_input, scratch);
    scratch.fill(T::nan());
    let summed = convolution.sums();
    let cut = (summed.rows() * 2).div_ceil(5);
    let (low, high) = sums.split_at_mut(cut * summed.channels[1]);
    convolution.to_weights(context, [input, d_output], 0..cut, low, false, scratch);
    convolution.to_weights(context, [input, d_output], cut..summed.rows(), high, false, scratch);
    if convolution.sums_are_gradient() {
        d_weights.copy_from_slice(sums);
    } else {
        convolution.fold(context, sums, d_weights, false);
    }
    [output.to_vec(), d_input.to_vec(), d_weights.to_vec()]
}

/// In two parts.
fn arrange<T: Element>(
    context: &Context,
    convolution: &Convolution,
    direction: Direction,
    weights: &[T],
    arranged: &mut [T],
) {
    let (rows, width) = convolution.arranged(direction);
    if rows == 0 {
        arranged.copy_from_slice(weights);
        return;
    }
    let (low, high) = arranged.split_at_mut(rows / 2 * width);
    convolution.arrange(context, direction, weights, 0..rows / 2, low);
    convolution.arrange(context, direction, weights, rows / 2..rows, high);
}

/// A pseudo-random choice of options, and some that are chosen.
fn shapes() -> Vec<Sizes> {
    let plain = Sizes {
        input: [1, 1],
        output: [1, 1],
        channels: [1, 1],
        groups: 1,
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        padding: [0, 0],
    };
    let square = |input: usize, kernel: usize, padding: usize, channels: [usize; 2]| {
        let output = [input + 2 * padding + 1 - kernel; 2];
        Sizes { input: [input; 2], output, channels, kernel: [kernel; 2], padding: [padding; 2], ..plain }
    };
    let mut shapes = vec![
        plain,
        square(3, 7, 3, [2, 3]),
        square(13, 3, 0, [32, 64]),
        square(8, 3, 1, [64, 48]),
        square(6, 3, 1, [33, 17]),
        square(5, 3, 1, [70, 5]),
        square(14, 3, 0, [1, 32]),
        square(12, 5, 2, [3, 16]),
        square(4, 1, 0, [40, 96]),
        square(2, 3, 1, [18, 130]),
        // Those that are packed, in one or another pass.
        square(28, 5, 2, [1, 6]),
        square(14, 5, 0, [6, 16]),
        square(12, 3, 1, [4, 4]),
        Sizes { stride: [2, 2], output: [6, 6], padding: [1, 1], ..square(12, 4, 1, [3, 5]) },
        Sizes { stride: [1, 3], output: [8, 4], input: [9, 12], ..square(9, 2, 0, [2, 7]) },
        // Those with fewer products: cut tiles, several slabs, several chunks of channels, more behind than before.
        square(14, 3, 1, [32, 48]),
        square(16, 3, 1, [16, 16]),
        square(9, 3, 2, [64, 32]),
        square(8, 3, 1, [528, 16]),
        Sizes { input: [7, 19], output: [8, 19], padding: [1, 1], ..square(8, 3, 1, [32, 64]) },
        Sizes { groups: 21, ..square(7, 3, 1, [21, 21]) },
        Sizes { groups: 40, ..square(5, 5, 2, [40, 40]) },
    ];
    let mut state = 7_u64;
    let mut draw = |from: usize, to: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        from + (state >> 33) as usize % (to + 1 - from)
    };
    while shapes.len() < 95 {
        let groups = draw(1, 4);
        let groups = if groups == 4 { 1 } else { groups };
        let mut sizes = Sizes {
            groups,
            channels: [draw(1, 9) * groups, draw(1, 20) * groups],
            input: [draw(1, 9), draw(1, 11)],
            kernel: [draw(1, 4), draw(1, 5)],
            stride: [draw(1, 3), draw(1, 3)],
            dilation: [draw(1, 2), draw(1, 3)],
            padding: [draw(0, 3), draw(0, 3)],
            ..plain
        };
        if draw(1, 5) == 1 {
            sizes.groups = sizes.channels[0];
            sizes.channels[1] = sizes.channels[0];
        }
        // More behind than before at times, as output padding and `same` have it.
        let fits = (0..2).all(|i| {
            let behind = draw(0, 1);
            let room = sizes.input[i] + 2 * sizes.padding[i] + behind;
            let reach = sizes.dilation[i] * (sizes.kernel[i] - 1);
            sizes.output[i] = if room > reach { (room - reach - 1) / sizes.stride[i] + 1 } else { 0 };
            sizes.output[i] > 0
        });
        if fits {
            shapes.push(sizes);
        }
    }
    shapes
}

fn all<T: Element + Plain>(tolerance: f64) {
    let mut pages = Pages(Vec::new());
    for (number, sizes) in shapes().into_iter().enumerate() {
        let convolution = Convolution::new(sizes, false);
        let operands = Operands::new(&sizes, 1 + number % 3, number as u64);
        let expected = operands.naive(&sizes);
        let mut first: Option<[Vec<u64>; 3]> = None;
        for context in contexts() {
            let got = run::<T>(&context, &convolution, &operands, &mut pages, number % 2 == 0);
            for (what, (got, expected)) in
                ["output", "d_input", "d_weights"].iter().zip(got.iter().zip(&expected))
            {
                let scale = expected.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
                for (got, expected) in got.iter().zip(expected) {
                    let error = (Element::to_f64(*got) - expected).abs() / scale;
                    assert!(error <= tolerance, "{sizes:?} {context:?} {what}: {got}, expected {expected}");
                }
            }
            if context.isa() != Isa::Portable {
                let bits = got.map(|values| values.iter().map(|x| x.bits()).collect());
                assert_eq!(first.get_or_insert_with(|| bits.clone()), &bits, "{sizes:?} {context:?}");
            }
        }
    }
}

#[test]
fn sums_are_those_of_the_formula_f32() {
    all::<f32>(3e-6);
}

#[test]
fn sums_are_those_of_the_formula_f64() {
    all::<f64>(1e-14);
}

fn arranged_for_output(convolution: &Convolution, weights: &[f64]) -> Vec<f32> {
    let (rows, width) = convolution.arranged(Direction::Output);
    let mut arranged = vec![f32::NAN; if rows == 0 { weights.len() } else { rows * width }];
    arrange(&contexts()[0], convolution, Direction::Output, &cast(weights), &mut arranged);
    arranged
}

#[test]
fn shapes_with_few_channels_are_packed() {
    let packed = |number: usize| {
        let sizes = shapes()[number];
        let [output, input, sums] = Convolution::new(sizes, false).packings.map(|packing| *packing.packed());
        [
            output.channels[1] / sizes.channels[1],
            input.channels[0] / sizes.channels[0],
            sums.channels[1] / sizes.channels[1],
        ]
    };
    // LeNet's: 6 of 16 lanes, 12 of them.
    assert_eq!(packed(10), [2, 2, 2]);
    assert_eq!(packed(11), [1, 2, 1]);
    assert_eq!(packed(12), [4, 1, 4]);
    assert_eq!(packed(2), [1; 3]);
}

#[test]
fn a_sample_does_not_depend_on_the_others() {
    let context = contexts()[0];
    for sizes in shapes().into_iter().step_by(5) {
        let convolution = Convolution::new(sizes, false);
        let operands = Operands::new(&sizes, 5, 3);
        let [input, weights, ..] = &operands.values;
        let (input, weights) = (cast::<f32>(input), arranged_for_output(&convolution, weights));
        let mut scratch = vec![0.0; convolution.scratch()];
        let mut together = vec![0.0; 5 * sizes.outputs()];
        convolution.to_output(&context, [&input, &weights], Finish::NONE, &mut together, &mut scratch);
        let mut alone = vec![0.0; sizes.outputs()];
        for sample in 0..5 {
            let input = &input[sample * sizes.inputs()..][..sizes.inputs()];
            convolution.to_output(&context, [input, &weights], Finish::NONE, &mut alone, &mut scratch);
            assert_eq!(alone, together[sample * sizes.outputs()..][..sizes.outputs()], "{sizes:?}");
        }
    }
}

#[test]
fn activations_follow_the_sum() {
    let sizes = shapes()[5];
    let convolution = Convolution::new(sizes, false);
    let operands = Operands::new(&sizes, 2, 4);
    let [input, weights, _, bias, _] = &operands.values;
    let [input, bias] = [input, bias].map(|values| cast::<f32>(values));
    let weights = arranged_for_output(&convolution, weights);
    let mut scratch = vec![0.0; convolution.scratch()];
    for context in contexts() {
        let mut expected = vec![0.0; 2 * sizes.outputs()];
        for activation in [Activation::Identity, Activation::Relu, Activation::Tanh] {
            let finish = Finish { bias: Some(&bias), activation: Activation::Identity };
            convolution.to_output(&context, [&input, &weights], finish, &mut expected, &mut scratch);
            activation::forward_in_place(&context, activation, &mut expected).expect("a valid activation");
            let mut got = vec![0.0; expected.len()];
            let finish = Finish { activation, ..finish };
            convolution.to_output(&context, [&input, &weights], finish, &mut got, &mut scratch);
            assert_eq!(got, expected);
        }
    }
}

/// Borders cost little: few products with zeros.
#[test]
fn few_products_are_with_zeros() {
    for (sizes, most) in [(shapes()[2], 1.05), (shapes()[3], 1.05)] {
        let mut exact = 0_usize;
        products(&sizes, |_, _, _| exact += 1);
        for images in Convolution::new(sizes, true).images {
            let Images::Gather(gather) = images else { panic!("a direct sum") };
            let work = gather.work() as f64;
            assert!(work <= most * exact as f64, "{sizes:?}: {work} products for {exact}");
        }
    }
}

#[test]
fn many_channels_have_fewer_products() {
    let fast = |sizes: Sizes, direct: bool| {
        let Convolution { images: [output, input], to_weights, .. } = Convolution::new(sizes, direct);
        let [output, input] = [output, input].map(|images| matches!(images, Images::Winograd(_)));
        [output, input, matches!(to_weights, Weights::Winograd(_))]
    };
    let chosen: Vec<(usize, [bool; 3])> = shapes()
        .into_iter()
        .map(|sizes| fast(sizes, false))
        .enumerate()
        .filter(|(_, fast)| fast.contains(&true))
        .collect();
    let expected = [
        (2, [true, false, true]),
        (3, [true; 3]),
        (15, [true; 3]),
        (17, [false, true, false]),
        (18, [true, true, false]),
        (19, [true; 3]),
    ];
    assert_eq!(chosen, expected);
    assert!(shapes().into_iter().all(|sizes| fast(sizes, true) == [false; 3]));
}

/// Against the largest error of direct sums; forward and back it is smaller than that.
#[test]
fn fewer_products_are_as_exact() {
    let context = contexts()[0];
    for number in [2, 3, 15, 19] {
        let sizes = shapes()[number];
        let operands = Operands::new(&sizes, 2, 11);
        let expected = operands.naive(&sizes);
        let [fast, direct] = [false, true].map(|direct| {
            let mut pages = Pages(Vec::new());
            let got = run::<f32>(&context, &Convolution::new(sizes, direct), &operands, &mut pages, false);
            let error = |(got, expected): (&Vec<f32>, &Vec<f64>)| {
                got.iter().zip(expected).fold(0.0_f64, |most, (x, y)| most.max((f64::from(*x) - y).abs()))
            };
            got.iter().zip(&expected).map(error).collect::<Vec<_>>()
        });
        for (fast, direct) in fast.iter().zip(&direct) {
            assert!(*fast <= 2.0 * direct, "{sizes:?}: {fast:e}, direct {direct:e}");
        }
    }
}
