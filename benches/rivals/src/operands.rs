//! What is multiplied, and whether an answer is right.

use crate::libraries::Real;
use crate::shapes::Shape;
use gemmule::{Element, Tensor};

/// How many elements of an answer are compared.
const SAMPLES: usize = 256;

/// A product's operands, 64-byte aligned.
pub struct Operands<T: Real> {
    pub shape: Shape,
    pub a: Tensor<T>,
    pub b: Tensor<T>,
    pub c: Tensor<T>,
}

impl<T: Real> Operands<T> {
    /// A and B from counters, C of NaN: what a library does not write is seen.
    pub fn new(shape: Shape) -> Result<Self, String> {
        let filled = |len: usize, operand: u32| {
            let mut tensor = Tensor::zeros(&[len])?;
            for (index, value) in tensor.as_mut_slice().iter_mut().enumerate() {
                *value = T::value(hash(index, operand));
            }
            Ok(tensor)
        };
        let error = |error: gemmule::Error| format!("{}: {error}", shape.name);
        let a = filled(shape.m * shape.k, A).map_err(error)?;
        let b = filled(shape.k * shape.n, B).map_err(error)?;
        let c = Tensor::full(&[shape.m * shape.n], T::NAN).map_err(error)?;
        Ok(Self { a, b, c, shape })
    }

    /// What [`check`] wants to see of the answer.
    pub fn answer(&self) -> Answer {
        let c = self.c.as_slice();
        Answer {
            not_finite: c.iter().filter(|value| !value.is_finite()).count(),
            samples: samples(&self.shape).map(|index| Element::to_f64(c[index])).collect(),
        }
    }
}

/// What a worker says of a product's result.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How many elements are infinite or NaN: none should be.
    pub not_finite: usize,
    /// The elements at [`samples`].
    pub samples: Vec<f64>,
}

/// Compares an answer with sums in f64. The bound is Higham's, for sums of any order: gamma(k + 2) times the sum of the
/// terms' sizes, for the answer and for the sum that it is compared with.
pub fn check<T: Real>(shape: &Shape, answer: &Answer) -> Result<(), String> {
    if answer.not_finite > 0 {
        return Err(format!("{} elements are infinite or NaN", answer.not_finite));
    }
    if answer.samples.len() != samples(shape).count() {
        return Err(format!("{} elements instead of {}", answer.samples.len(), samples(shape).count()));
    }
    let gamma = |unit: f64| {
        let terms = (shape.k + 2) as f64 * unit;
        terms / (1.0 - terms)
    };
    let factor = gamma(T::UNIT) + gamma(f64::EPSILON / 2.0);
    let (a_strides, b_strides) = (shape.a_strides(), shape.b_strides());
    let value = |index, operand| Element::to_f64(T::value(hash(index, operand)));
    for (index, &got) in samples(shape).zip(&answer.samples) {
        let (row, column) = (index / shape.n, index % shape.n);
        let (mut sum, mut size) = (0.0, 0.0);
        for k in 0..shape.k {
            let x = value(row * a_strides.0 + k * a_strides.1, A);
            let y = value(k * b_strides.0 + column * b_strides.1, B);
            sum += x * y;
            size += (x * y).abs();
        }
        let bound = factor * size;
        if (got - sum).abs() > bound {
            return Err(format!("C[{row}, {column}] is {got}, but should be {sum} within {bound:e}"));
        }
    }
    Ok(())
}

/// Positions in C: the last element, and others that a hash chooses.
fn samples(shape: &Shape) -> impl Iterator<Item = usize> {
    let len = shape.m * shape.n;
    (0..SAMPLES.min(len)).map(move |sample| match sample {
        0 => len - 1,
        _ => hash(sample, C) as usize % len,
    })
}

const A: u32 = 1;
const B: u32 = 2;
const C: u32 = 3;

/// 32 bits that look random, from a position in an operand.
fn hash(index: usize, operand: u32) -> u32 {
    let bits = (index as u32 ^ operand.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
    let bits = (bits ^ bits >> 13).wrapping_mul(0xc2b2_ae35);
    bits ^ bits >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive<T: Real>(shape: &Shape) -> Operands<T> {
        let mut operands = Operands::<T>::new(shape.clone()).expect("small");
        let (a, b) = (shape.a_strides(), shape.b_strides());
        for i in 0..shape.m {
            for j in 0..shape.n {
                let sum = (0..shape.k).fold(T::ZERO, |sum, k| {
                    sum + operands.a.as_slice()[i * a.0 + k * a.1] * operands.b.as_slice()[k * b.0 + j * b.1]
                });
                operands.c.as_mut_slice()[i * shape.n + j] = sum;
            }
        }
        operands
    }

    #[test]
    fn right_answers_pass_and_wrong_ones_do_not() {
        for shape in crate::shapes::filtered(false, Some("odd 33x1000x17")).expect("there is one") {
            let mut operands = naive::<f32>(&shape);
            assert_eq!(check::<f32>(&shape, &operands.answer()), Ok(()));
            let last = operands.c.len() - 1;
            operands.c.as_mut_slice()[last] += 1e-3;
            assert!(
                check::<f32>(&shape, &operands.answer()).is_err_and(|error| error.contains("C[32, 999]"))
            );
            operands.c.as_mut_slice()[0] = f32::NAN;
            assert!(check::<f32>(&shape, &operands.answer()).is_err_and(|error| error.contains("NaN")));
        }
        for shape in crate::shapes::filtered(true, Some("dW 512x10x128")).expect("there is one") {
            assert_eq!(check::<f64>(&shape, &naive::<f64>(&shape).answer()), Ok(()));
        }
    }
}
