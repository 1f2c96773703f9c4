//! What the transforms measure, and how a step is laid over a data set.

use crate::context::Context;
use crate::data::Dataset;
use crate::engine::{BatchSource, TargetKind};
use crate::error::{Error, Result};
use crate::kernel::stages::{self, Stage, Stages};
use crate::kernel::{Element, reduce};
use crate::tensor::Tensor;

/// Rows that are looked at together: the memory of a fit is these in `f64`. The chunk of a column's variance.
const ROWS: usize = reduce::ROW_CHUNK;

/// What a transform is fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Features,
    Targets,
}

impl Of {
    /// How many there are of each sample.
    pub fn width(self, operation: &'static str, data: &Dataset) -> Result<usize> {
        match (self, data.target_kind()) {
            (Self::Features, _) => Ok(data.features()),
            (Self::Targets, Some(TargetKind::Values(width))) if data.labels(0).is_none() => Ok(width),
            _ => Err(Error::data(operation, "targets", "values", data.target_words())),
        }
    }
}

/// Gives the samples in order, [`ROWS`] at a time and in `f64`, to `each`, with the first one's number.
pub(super) fn blocks(
    operation: &'static str,
    context: &Context,
    data: &Dataset,
    of: Of,
    mut each: impl FnMut(usize, &[f64]) -> Result<()>,
) -> Result<()> {
    let width = of.width(operation, data)?;
    let mut block = Tensor::<f64>::zeros(&[ROWS.min(data.len()), width])?;
    let mut indices = Vec::with_capacity(ROWS);
    for first in (0..data.len()).step_by(ROWS) {
        indices.clear();
        indices.extend(first..data.len().min(first + ROWS));
        let block = &mut block.as_mut_slice()[..indices.len() * width];
        match of {
            Of::Features => data.gather_features(context, &indices, block),
            Of::Targets => data.gather_values(context, &indices, block),
        }
        each(first, block)?;
    }
    Ok(())
}

/// Mean and population variance of each column.
pub(super) struct Moments {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
}

impl Moments {
    /// Each block by [`reduce::column_means_variances`]; the blocks combined in order (Chan, Golub and LeVeque, 1979).
    pub fn new(operation: &'static str, context: &Context, data: &Dataset, of: Of) -> Result<Self> {
        let width = of.width(operation, data)?;
        let [mut mean, mut squares, mut means, mut variances] = std::array::from_fn(|_| vec![0.0; width]);
        blocks(operation, context, data, of, |first, block| {
            reduce::column_means_variances(context, block, width, 0, &mut means, &mut variances)?;
            let (before, now) = (first as f64, (block.len() / width) as f64);
            let all = before + now;
            let columns = mean.iter_mut().zip(&mut squares).zip(means.iter().zip(&variances));
            for ((mean, squares), (next, variance)) in columns {
                let difference = next - *mean;
                *mean += difference * (now / all);
                *squares += variance * now + difference * difference * (before * (now / all));
            }
            Ok(())
        })?;
        let variance: Vec<f64> = squares.into_iter().map(|squares| squares / data.len() as f64).collect();
        if let Some(at) = mean.iter().zip(&variance).position(|(m, v)| !(m.is_finite() && v.is_finite())) {
            let got = format!("{} and {}", mean[at], variance[at]);
            return Err(Error::data(operation, column(of, at), "a finite mean and variance", got));
        }
        Ok(Self { mean, variance })
    }
}

/// The smallest and the largest of each column.
pub(super) fn extremes(
    operation: &'static str,
    context: &Context,
    data: &Dataset,
    of: Of,
) -> Result<[Vec<f64>; 2]> {
    let width = of.width(operation, data)?;
    let [mut least, mut most] = [f64::INFINITY, f64::NEG_INFINITY].map(|start| vec![start; width]);
    blocks(operation, context, data, of, |_, block| {
        for row in block.chunks_exact(width) {
            least.iter_mut().zip(row).for_each(|(least, &x)| *least = least.min(x));
            most.iter_mut().zip(row).for_each(|(most, &x)| *most = most.max(x));
        }
        Ok(())
    })?;
    Ok([least, most])
}

/// A column in words.
pub(super) fn column(of: Of, at: usize) -> String {
    match of {
        Of::Features => format!("feature {at}"),
        Of::Targets => format!("target value {at}"),
    }
}

/// What is transformed has as many columns as what the transform was fitted to; that it was fitted at all.
pub(super) fn check_fitted(operation: &'static str, what: &str, fitted: usize, got: usize) -> Result<()> {
    if fitted == 0 {
        let what = "the transform is not fitted: call fit with the training part first";
        return Err(Error::State { operation, what });
    }
    if got != fitted {
        return Err(Error::data(operation, what, format!("{fitted} (as fitted)"), got));
    }
    Ok(())
}

/// `data` with its target values through `stage`: a copy of them, in `f64`.
pub(super) fn stage_targets(operation: &'static str, data: &Dataset, stage: Stage) -> Result<Dataset> {
    Of::Targets.width(operation, data)?;
    let values = through(data.target_values()?, stage)?;
    data.clone().with_values(values)
}

/// Rows of values through `stage`, rounded once.
pub(super) fn through<T: Element>(mut values: Tensor<T>, stage: Stage) -> Result<Tensor<T>> {
    let width = values.shape().iter().skip(1).product::<usize>().max(1);
    let stages = Stages::identity(width).then(None, stage);
    let context = Context::detect()?;
    let mut row = vec![0.0_f64; width];
    for out in values.as_mut_slice().chunks_exact_mut(width) {
        row.iter_mut().zip(&*out).for_each(|(row, &x)| *row = x.to_f64());
        stages::run(&context, &row, &stages, out)?;
    }
    Ok(values)
}

/// Checks that `values` has a row of `fitted` numbers per sample.
pub(super) fn check_rows<T: Element>(
    operation: &'static str,
    fitted: usize,
    values: &Tensor<T>,
) -> Result<()> {
    let width = values.shape().iter().skip(1).product::<usize>();
    check_fitted(operation, "numbers in a row", fitted, width)
}
