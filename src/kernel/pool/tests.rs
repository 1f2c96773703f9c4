//! Against naive twins, which know no spans.

use super::*;
use crate::context::Context;
use crate::rng::Rng;
use crate::simd::Isa;

/// Two axes of options, one for rows and one for columns.
struct Case {
    channels: usize,
    inputs: [usize; 2],
    options: [Options; 2],
}

impl Case {
    fn random(rng: &mut Rng, dilated: bool) -> Self {
        let axis = |rng: &mut Rng| {
            let kernel = 1 + rng.below(5) as usize;
            let dilation = if dilated { 1 + rng.below(3) as usize } else { 1 };
            let width = dilation * (kernel - 1) + 1;
            Options {
                kernel,
                stride: 1 + rng.below(4) as usize,
                padding: rng.below(width as u64 / 2 + 1) as usize,
                dilation,
                ceil_mode: rng.below(2) == 1,
            }
        };
        let options = [axis(rng), axis(rng)];
        let inputs = options.map(|o| {
            let least = (o.dilation * (o.kernel - 1) + 1).saturating_sub(2 * o.padding).max(1);
            least + rng.below(9) as usize
        });
        Self { channels: 1 + rng.below(40) as usize, inputs, options }
    }

    fn windows(&self) -> Windows {
        let [rows, columns] = [0, 1].map(|i| Axis::new("height", self.inputs[i], self.options[i]).unwrap());
        Windows::new(self.channels, rows, columns).unwrap()
    }

    /// PyTorch's formula.
    fn outputs(&self) -> [usize; 2] {
        [0, 1].map(|i| {
            let (o, input) = (self.options[i], self.inputs[i] as isize);
            let (stride, padding) = (o.stride as isize, o.padding as isize);
            let room = input + 2 * padding - (o.dilation * (o.kernel - 1)) as isize - 1;
            let up = if o.ceil_mode { stride - 1 } else { 0 };
            let mut output = (room + up) / stride + 1;
            if o.ceil_mode && (output - 1) * stride >= input + padding {
                output -= 1;
            }
            output as usize
        })
    }

    /// For each output position: the elements of its window inside of the input, and its size with padding.
    fn window(&self, output: [usize; 2]) -> (Vec<[usize; 2]>, usize) {
        let axis = |i: usize| {
            let o = self.options[i];
            let begin = (output[i] * o.stride) as isize - o.padding as isize;
            let all: Vec<isize> = (0..o.kernel).map(|k| begin + (k * o.dilation) as isize).collect();
            let limit = self.inputs[i] as isize;
            let inside: Vec<usize> =
                all.iter().filter(|&&at| at >= 0 && at < limit).map(|&at| at as usize).collect();
            (inside, all.iter().filter(|&&at| at < limit + o.padding as isize).count())
        };
        let ((rows, height), (columns, width)) = (axis(0), axis(1));
        let inside = rows.iter().flat_map(|&y| columns.iter().map(move |&x| [y, x])).collect();
        (inside, height * width)
    }

    fn place(&self, [y, x]: [usize; 2], channel: usize) -> usize {
        (y * self.inputs[1] + x) * self.channels + channel
    }

    /// Calls with each output's number, its channel, and its window.
    fn each(&self, mut with: impl FnMut(usize, usize, &[[usize; 2]], usize)) {
        let [height, width] = self.outputs();
        for y in 0..height {
            for x in 0..width {
                let (inside, size) = self.window([y, x]);
                for channel in 0..self.channels {
                    with((y * width + x) * self.channels + channel, channel, &inside, size);
                }
            }
        }
    }
}

fn numbers<T: Element>(rng: &mut Rng, len: usize, kinds: u64) -> Vec<T> {
    (0..len).map(|_| T::from_f64(rng.below(kinds) as f64 - (kinds / 2) as f64)).collect()
}

fn contexts() -> Vec<Context> {
    Isa::available().map(|isa| Context::new(isa).unwrap()).collect()
}

/// Bits, with one NaN.
fn bits<T: Element>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| if x.is_nan() { T::nan().bits() } else { x.bits() }).collect()
}

fn check_max<T: Element>(case: &Case, rng: &mut Rng, special: bool) {
    let (windows, samples) = (case.windows(), 2);
    let (inputs, outputs) = (windows.input_len(), windows.output_len());
    assert_eq!(outputs, case.outputs()[0] * case.outputs()[1] * case.channels);
    // Few different numbers: many are equal.
    let mut x: Vec<T> = numbers(rng, samples * inputs, 5);
    if special {
        for x in &mut x {
            match rng.below(8) {
                0 => *x = T::nan(),
                1 => *x = T::neg_infinity(),
                2 => *x = T::infinity(),
                3 => *x = -T::zero(),
                _ => {}
            }
        }
    }
    let dy: Vec<T> = numbers(rng, samples * outputs, 1000);
    for relu in [false, true] {
        // What the largest is taken of.
        let compared: Vec<T> = match relu {
            // -0 stays -0, and NaN NaN.
            true => x.iter().map(|&x| if x < T::zero() { T::zero() } else { x }).collect(),
            false => x.clone(),
        };
        let (mut y, mut dx) = (vec![T::neg_infinity(); dy.len()], vec![T::zero(); x.len()]);
        for sample in 0..samples {
            let x = &compared[sample * inputs..][..inputs];
            let dx = &mut dx[sample * inputs..][..inputs];
            case.each(|output, channel, inside, _| {
                let mut best = None;
                for &at in inside {
                    let value = x[case.place(at, channel)];
                    if best.is_none_or(|(most, _)| value > most || value.is_nan()) {
                        best = Some((value, at));
                    }
                }
                if let Some((most, at)) = best {
                    y[sample * outputs + output] = most;
                    dx[case.place(at, channel)] += dy[sample * outputs + output];
                }
            });
        }
        for context in contexts() {
            let (mut found, mut kept) = (vec![T::nan(); y.len()], vec![T::nan(); y.len()]);
            max_forward(&context, &windows, relu, &x, &mut found, &mut kept);
            assert_eq!(bits(&found), bits(&y), "{context:?} {:?}", windows);
            found.fill(T::nan());
            max_forward(&context, &windows, relu, &x, &mut found, &mut []);
            assert_eq!(bits(&found), bits(&y), "{context:?} {:?}", windows);
            let mut d_x = vec![T::nan(); x.len()];
            max_backward(&context, &windows, &kept, &dy, &mut d_x);
            assert_eq!(bits(&d_x), bits(&dx), "{context:?} {:?}", windows);
        }
    }
}

fn check_average<T: Element>(case: &Case, rng: &mut Rng) {
    let windows = case.windows();
    let (inputs, outputs) = (windows.input_len(), windows.output_len());
    let x: Vec<T> = numbers(rng, inputs, 1000);
    let dy: Vec<T> = numbers(rng, outputs, 1000);
    for divisor in [Divisor::Inside, Divisor::Padded, Divisor::Constant(7.0), Divisor::Constant(-8.0)] {
        let (mut y, mut dx) = (vec![T::zero(); outputs], vec![T::zero(); inputs]);
        case.each(|output, channel, inside, size| {
            let by = match divisor {
                Divisor::Inside => inside.len() as f64,
                Divisor::Padded => size as f64,
                Divisor::Constant(value) => value,
            };
            let by = T::from_f64(by);
            let sum = inside.iter().fold(T::zero(), |sum, &at| sum + x[case.place(at, channel)]);
            y[output] = sum / by;
            inside.iter().for_each(|&at| dx[case.place(at, channel)] += dy[output] / by);
        });
        for context in contexts() {
            let mut found = vec![T::nan(); outputs];
            average_forward(&context, &windows, divisor, &x, &mut found);
            assert_eq!(found, y, "{context:?} {divisor:?} {windows:?}");
            let mut d_x = vec![T::nan(); inputs];
            average_backward(&context, &windows, divisor, &dy, &mut d_x);
            assert_eq!(d_x, dx, "{context:?} {divisor:?} {windows:?}");
        }
    }
}

#[test]
fn the_largest_of_any_windows() {
    let mut rng = Rng::new(1);
    for round in 0..300 {
        let case = Case::random(&mut rng, true);
        check_max::<f32>(&case, &mut rng, round % 2 == 0);
        check_max::<f64>(&case, &mut rng, round % 2 == 1);
    }
}

#[test]
fn means_of_any_windows() {
    let mut rng = Rng::new(2);
    for _ in 0..300 {
        let case = Case::random(&mut rng, false);
        check_average::<f32>(&case, &mut rng);
        check_average::<f64>(&case, &mut rng);
    }
}

#[test]
fn pairs_side_by_side_have_a_loop_of_their_own() {
    let mut rng = Rng::new(3);
    let options = Options { kernel: 2, stride: 2, padding: 0, dilation: 1, ceil_mode: false };
    for channels in [1, 3, 6, 8, 15, 16, 17, 32, 49] {
        for inputs in [[2, 2], [4, 6], [5, 2], [2, 7], [7, 9]] {
            let case = Case { channels, inputs, options: [options; 2] };
            assert!(case.windows().pairs);
            check_max::<f32>(&case, &mut rng, true);
            check_max::<f64>(&case, &mut rng, false);
            check_average::<f32>(&case, &mut rng);
        }
    }
    let cut = Options { ceil_mode: true, ..options };
    assert!(!Case { channels: 1, inputs: [5, 4], options: [cut; 2] }.windows().pairs);
    // Pairs, but with gaps behind them.
    for (inputs, strides) in [([4, 4], [3, 3]), ([5, 5], [4, 4]), ([8, 4], [2, 3]), ([5, 6], [3, 2])] {
        let options = strides.map(|stride| Options { stride, ..options });
        let case = Case { channels: 17, inputs, options };
        assert!(!case.windows().pairs);
        check_max::<f32>(&case, &mut rng, false);
        check_average::<f32>(&case, &mut rng);
    }
}

#[test]
fn adaptive_windows_are_those_of_pytorch() {
    // Begin at floor(i input / output), end at ceil((i + 1) input / output).
    let axis = Axis::adaptive(7, 3).unwrap();
    let ends: Vec<[usize; 2]> = axis.spans.iter().map(|s| [s.start, s.start + s.count]).collect();
    assert_eq!(ends, [[0, 3], [2, 5], [4, 7]]);
    assert!(!axis.is_disjoint());
    let axis = Axis::adaptive(3, 5).unwrap();
    let ends: Vec<[usize; 2]> = axis.spans.iter().map(|s| [s.start, s.start + s.count]).collect();
    assert_eq!(ends, [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]);
    let windows = Windows::new(3, Axis::adaptive(6, 2).unwrap(), Axis::adaptive(4, 4).unwrap()).unwrap();
    assert!(windows.covered && windows.disjoint);
}

#[test]
fn what_does_not_fit_is_said_with_the_arithmetic() {
    let options = Options { kernel: 5, stride: 1, padding: 0, dilation: 1, ceil_mode: false };
    let said = |input, options| Axis::new("width", input, options).unwrap_err();
    let (expected, got) = said(3, options);
    assert_eq!(expected, "a width of at least 5");
    assert_eq!(got, "3 (kernel 5 does not fit input 3 with padding 0: 3 + 2 x 0 = 3)");
    let wide = Options { kernel: 3, dilation: 3, padding: 1, ..options };
    let dilated = "kernel 3 with dilation 3 (3 x 2 + 1 = 7)";
    let (expected, got) = said(4, wide);
    assert_eq!(expected, "a width of at least 5");
    assert_eq!(got, format!("4 ({dilated} does not fit input 4 with padding 1: 4 + 2 x 1 = 6)"));
    assert_eq!(said(9, Options { padding: 3, ..options }).1, "padding 3 for kernel 5");
    assert_eq!(said(9, Options { stride: 0, ..options }).1, "kernel 5, stride 0, dilation 1");
    assert!(Axis::adaptive(3, 0).is_err() && Axis::adaptive(3, usize::MAX).is_err());
    for huge in [usize::MAX, 1 << 40] {
        let all = Options { kernel: huge, stride: huge, padding: huge, dilation: huge, ceil_mode: true };
        for options in [
            all,
            Options { kernel: huge, ..options },
            Options { padding: huge, ..options },
            Options { stride: huge, ..options },
            Options { dilation: huge, ..options },
        ] {
            said(9, options);
        }
    }
    let long = Axis::adaptive(1 << 13, 1).unwrap();
    assert!(Windows::new(1, long.clone(), long).is_err());
}
