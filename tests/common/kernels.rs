//! A list of kernels, each on whole arrays, for tests of what they have in common.

use crate::common::{cast, random};
use gemmule::kernel::activation::{self, Activation};
use gemmule::kernel::{convert, loss, math, reduce, softmax, update};
use gemmule::{Context, Element, Result};

/// What the kernels read and write: `count` elements in rows of `width`.
pub struct Arrays<T> {
    pub width: usize,
    pub x: Vec<T>,
    pub positive: Vec<T>,
    pub bytes: Vec<u8>,
    pub classes: Vec<u32>,
    pub keep: Vec<bool>,
    pub out: [Vec<T>; 4],
    /// One per row.
    pub rows: Vec<T>,
    pub places: Vec<u32>,
}

impl<T: Element> Arrays<T> {
    pub fn new(rows: usize, width: usize) -> Self {
        let count = rows * width;
        let x: Vec<T> = cast(&random(1, count).iter().map(|x| 4.0 * x).collect::<Vec<_>>());
        Self {
            width,
            positive: x.iter().map(|x| x.abs() + T::from_f64(0.01)).collect(),
            bytes: (0..count).map(|i| i as u8).collect(),
            classes: (0..rows).map(|i| (i * 7 % width) as u32).collect(),
            // Five rows, again and again: `rows` is a multiple of 5, and pieces are not.
            keep: (0..5 * width).map(|i| i % 3 != 1).collect(),
            out: std::array::from_fn(|k| cast(&random(2 + k as u64, count))),
            rows: vec![T::zero(); rows],
            places: vec![0; rows],
            x,
        }
    }
}

/// Reads and writes the arrays; gives one more number.
pub type Run<T> = fn(&Context, &mut Arrays<T>) -> Result<T>;

/// Kernels of every family.
pub fn all<T: Element>() -> Vec<(&'static str, Run<T>)> {
    vec![
        ("exp", |c, a| math::exp(c, &a.x, &mut a.out[0]).map(|()| T::zero())),
        ("exp_backward", |c, a| math::exp_backward(c, &a.positive, &a.x, &mut a.out[0]).map(|()| T::zero())),
        ("tanh_in_place", |c, a| {
            math::tanh_in_place(c, &mut a.out[0]);
            Ok(T::zero())
        }),
        ("pow", |c, a| math::pow(c, &a.positive, &a.x, &mut a.out[0]).map(|()| T::zero())),
        ("pow_in_place", |c, a| math::pow_in_place(c, &mut a.positive, &a.x).map(|()| T::zero())),
        ("pow_scalar", |c, a| {
            math::pow_scalar(c, &a.positive, T::from_f64(1.5), &mut a.out[0]).map(|()| T::zero())
        }),
        ("gelu", |c, a| activation::forward(c, Activation::Gelu, &a.x, &mut a.out[0]).map(|()| T::zero())),
        ("relu in place", |c, a| {
            activation::forward_in_place(c, Activation::Relu, &mut a.out[0]).map(|()| T::zero())
        }),
        ("silu backward", |c, a| {
            activation::backward(c, Activation::Silu, &a.x, &a.positive, &mut a.out[0]).map(|()| T::zero())
        }),
        ("elu backward in place", |c, a| {
            activation::backward_in_place(c, Activation::ELU, &a.x, &mut a.out[0]).map(|()| T::zero())
        }),
        ("prelu", |c, a| {
            activation::prelu(c, &a.x, &[T::from_f64(0.25)], a.width, &mut a.out[0]).map(|()| T::zero())
        }),
        ("softmax", |c, a| softmax::forward(c, &a.x, &mut a.out[0], a.width).map(|()| T::zero())),
        ("softmax in place", |c, a| softmax::forward_in_place(c, &mut a.out[0], a.width).map(|()| T::zero())),
        ("softmax with a mask", |c, a| {
            softmax::masked::forward(c, &a.x, &a.keep, &mut a.out[0], a.width).map(|()| T::zero())
        }),
        ("log_sum_exp with a mask", |c, a| {
            softmax::masked::log_sum_exp(c, &a.x, &a.keep, &mut a.rows, a.width).map(|()| T::zero())
        }),
        ("softmax backward", |c, a| {
            softmax::backward(c, &a.positive, &a.x, &mut a.out[0], a.width).map(|()| T::zero())
        }),
        ("log_softmax backward", |c, a| {
            softmax::log_softmax_backward(c, &a.x, &a.positive, &mut a.out[0], a.width).map(|()| T::zero())
        }),
        ("mean squared error", |c, a| {
            let rows = loss::Rows::mean(a.width);
            loss::mean_squared_error(c, &a.x, &a.positive, rows, &mut a.rows, Some(&mut a.out[0]))
        }),
        ("cross-entropy of classes", |c, a| {
            let (options, rows) = (loss::CrossEntropy::default(), loss::Rows::mean(a.width));
            let (losses, d) = (&mut a.rows, Some(&mut a.out[0][..]));
            loss::cross_entropy_classes(c, &a.x, &a.classes, &options, rows, losses, d)
        }),
        ("cross-entropy with all options", |c, a| {
            let weights = &a.positive[..a.width];
            let options = loss::CrossEntropy {
                ignore_index: Some(3),
                label_smoothing: 0.1,
                class_weights: Some(weights),
            };
            let samples = &a.positive[..a.classes.len()];
            let rows = loss::Rows::mean(a.width).weighted(samples);
            let (losses, d) = (&mut a.rows, Some(&mut a.out[0][..]));
            loss::cross_entropy_classes(c, &a.x, &a.classes, &options, rows, losses, d)
        }),
        ("soft cross-entropy", |c, a| {
            let (options, rows) = (loss::CrossEntropy::default(), loss::Rows::sum(a.width));
            let (losses, d) = (&mut a.rows, Some(&mut a.out[0][..]));
            loss::cross_entropy_soft(c, &a.x, &a.positive, &options, rows, losses, d)
        }),
        ("multi-class hinge", |c, a| {
            let (options, rows) = (loss::MultiClassHinge::default(), loss::Rows::mean(a.width));
            let (losses, d) = (&mut a.rows, Some(&mut a.out[0][..]));
            loss::multi_class_hinge(c, &a.x, &a.classes, &options, rows, losses, d)
        }),
        ("cosine", |c, a| {
            let (options, rows) = (loss::Cosine::default(), loss::Rows::mean(a.width));
            loss::cosine(c, &a.x, &a.positive, &options, rows, &mut a.rows, Some(&mut a.out[0]))
        }),
        ("sum", |c, a| Ok(reduce::sum(c, &a.x))),
        ("dot", |c, a| reduce::dot(c, &a.x, &a.positive)),
        ("max", |c, a| reduce::max(c, &a.x)),
        ("L1 norm", |c, a| Ok(reduce::norm(c, reduce::Norm::L1, &a.x))),
        ("sum_rows", |c, a| reduce::sum_rows(c, &a.x, a.width, &mut a.rows).map(|()| T::zero())),
        ("dot_rows", |c, a| reduce::dot_rows(c, &a.x, &a.positive, a.width, &mut a.rows).map(|()| T::zero())),
        ("argmax_rows", |c, a| {
            reduce::argmax_rows(c, &a.x, a.width, &mut a.places)?;
            Ok(T::from_f64(a.places.iter().map(|&place| f64::from(place)).sum()))
        }),
        ("variance", |c, a| reduce::variance(c, &a.x, 1)),
        ("adam", |c, a| {
            let step = update::Adam::default().step(3)?;
            let [p, m, v, _] = &mut a.out;
            v.iter_mut().for_each(|v| *v = v.abs());
            update::adam(c, &step, p, &a.x, m, v).map(|finite| T::from_f64(f64::from(u8::from(finite))))
        }),
        ("lion", |c, a| {
            let step = update::Lion::default().step(3)?.clip_value(1.0)?;
            let [p, m, ..] = &mut a.out;
            update::lion(c, &step, p, &a.x, m).map(|finite| T::from_f64(f64::from(u8::from(finite))))
        }),
        ("clip_norm", |c, a| {
            let [p, m, ..] = &mut a.out;
            update::clip_norm(c, &mut [p, m], 1.0).map(T::from_f64)
        }),
        ("bytes", |c, a| {
            convert::bytes_to_floats(c, &a.bytes, T::from_f64(0.5), T::one(), &mut a.out[0])
                .map(|()| T::zero())
        }),
    ]
}
