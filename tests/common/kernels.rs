//! A list of kernels, each on whole arrays, for tests of what they have in common.

use crate::common::{cast, random};
use gemmule::kernel::activation::{self, Activation};
use gemmule::kernel::{convert, loss, math, reduce, softmax, update};
use gemmule::rng::Rng;
use gemmule::{Context, Element, Result};

/// What the kernels read and write: `count` elements in rows of `width`.
#[derive(Clone)]
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
    /// One per column.
    pub columns: Vec<T>,
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
            columns: vec![T::zero(); width],
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
        ("soft cross-entropy with all options", |c, a| {
            let class_weights = Some(&a.positive[..a.width]);
            let options = loss::CrossEntropy { label_smoothing: 0.1, class_weights, ..Default::default() };
            let rows = loss::Rows::mean(a.width).weighted(&a.positive[..a.classes.len()]);
            let (losses, d) = (&mut a.rows, Some(&mut a.out[0][..]));
            loss::cross_entropy_soft(c, &a.x, &a.positive, &options, rows, losses, d)
        }),
        ("likelihood with all options", |c, a| {
            let class_weights = Some(&a.positive[..a.width]);
            let options = loss::NegativeLogLikelihood { ignore_index: Some(3), class_weights };
            let rows = loss::Rows::mean(a.width).weighted(&a.positive[..a.classes.len()]);
            let (losses, d) = (&mut a.rows, Some(&mut a.out[0][..]));
            loss::negative_log_likelihood(c, &a.x, &a.classes, &options, rows, losses, d)
        }),
        ("absolute error with weights", |c, a| {
            let rows = loss::Rows::sum(a.width).weighted(&a.positive[..a.classes.len()]);
            let (losses, d) = (&mut a.rows, Some(&mut a.out[0][..]));
            loss::mean_absolute_error(c, &a.x, &a.positive, rows, losses, d)
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
        ("argmax and argmin", |c, a| {
            Ok(T::from_f64((reduce::argmax(c, &a.x)? + 3 * reduce::argmin(c, &a.positive)?) as f64))
        }),
        ("L2 norm", |c, a| Ok(reduce::norm(c, reduce::Norm::L2, &a.x))),
        ("L2 norm of small numbers", |c, a| {
            a.out[0].iter_mut().for_each(|x| *x *= T::from_f64(1e-30));
            Ok(reduce::norm(c, reduce::Norm::L2, &a.out[0]))
        }),
        ("column_sums", |c, a| reduce::column_sums(c, &a.x, a.width, &mut a.columns).map(|()| T::zero())),
        ("column_dots", |c, a| {
            reduce::column_dots(c, &a.x, &a.positive, a.width, &mut a.columns).map(|()| T::zero())
        }),
        ("column_max", |c, a| reduce::column_max(c, &a.x, a.width, &mut a.columns).map(|()| T::zero())),
        ("column_norms", |c, a| {
            reduce::column_norms(c, reduce::Norm::L2, &a.x, a.width, &mut a.columns).map(|()| T::zero())
        }),
        ("column_means_variances", |c, a| {
            let [means, ..] = &mut a.out;
            let width = a.width;
            reduce::column_means_variances(c, &a.x, width, 1, &mut means[..width], &mut a.columns)
                .map(|()| T::zero())
        }),
        ("column_argmin", |c, a| {
            let mut places = [0; 512];
            reduce::column_argmin(c, &a.x, a.width, &mut places[..a.width])?;
            Ok(T::from_f64(places.iter().enumerate().map(|(i, &p)| i as f64 * f64::from(p)).sum()))
        }),
        ("mean_variance_rows", |c, a| {
            let rows = a.rows.len();
            let means = &mut a.out[0][..rows];
            reduce::mean_variance_rows(c, &a.x, a.width, 0, means, &mut a.rows).map(|()| T::zero())
        }),
        ("add_row", |c, a| {
            reduce::add_row(c, &a.positive[..a.width], &mut a.out[0], a.width).map(|()| T::zero())
        }),
        ("glu", |c, a| {
            // Half of the rows, of twice the width each.
            let count = a.rows.len() / 2 * a.width;
            activation::glu(c, &a.x[..2 * count], a.width, &mut a.out[0][..count]).map(|()| T::zero())
        }),
        ("glu_backward", |c, a| {
            let count = a.rows.len() / 2 * a.width;
            let (x, d) = (&a.x[..2 * count], &a.positive[..count]);
            activation::glu_backward(c, x, a.width, d, &mut a.out[0][..2 * count]).map(|()| T::zero())
        }),
        ("uniform numbers", |c, a| Rng::new(1).fill_uniform(c, &mut a.out[0], -1.0, 1.0).map(|()| T::zero())),
        ("normal numbers", |c, a| Rng::new(1).fill_normal(c, &mut a.out[0], 0.0, 1.0).map(|()| T::zero())),
        ("truncated normal numbers", |c, a| {
            Rng::new(1).fill_truncated_normal(c, &mut a.out[0], 0.0, 1.0, -2.0, 9.0).map(|()| T::zero())
        }),
        ("exponential numbers", |c, a| {
            Rng::new(1).fill_exponential(c, &mut a.out[0], 2.0).map(|()| T::zero())
        }),
        ("dropout", |c, a| Rng::new(1).fill_dropout(c, &mut a.out[0], 0.8).map(|()| T::zero())),
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
