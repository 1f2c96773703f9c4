//! The targets of a data set: classes, values, or several labels per sample.

use super::features::Values;
use super::rows::Rows;
use super::{Dataset, check_finite, rows};
use crate::engine::TargetKind;
use crate::error::{Error, Result};
use crate::kernel::Element;
use crate::tensor::Tensor;
use std::sync::Arc;

#[derive(Clone)]
pub(super) enum Targets {
    Classes {
        labels: Arc<Vec<u32>>,
        count: usize,
    },
    Values {
        values: Values,
        width: usize,
    },
    /// 0 or 1 for each label of each sample.
    Labels {
        bytes: Arc<Vec<u8>>,
        count: usize,
    },
}

impl Targets {
    pub(super) fn kind(&self) -> TargetKind {
        match self {
            Self::Classes { count, .. } => TargetKind::Classes(*count),
            Self::Values { width, .. } => TargetKind::Values(*width),
            Self::Labels { count, .. } => TargetKind::Values(*count),
        }
    }
}

impl Dataset {
    /// The same samples with a class each, below `count`. Replaces the targets that there were.
    ///
    /// # Errors
    /// [`Error::Data`] if the number of labels is not that of the samples; if a label is not below `count` (names
    /// the sample); if `count` is 0 or above 2^32.
    pub fn with_classes(self, labels: Vec<u32>, count: usize) -> Result<Self> {
        let operation = "Dataset::with_classes";
        check_per_sample(operation, "labels", self.len, labels.len())?;
        check_count(operation, "the number of classes", count)?;
        if let Some((sample, label)) = labels.iter().enumerate().find(|&(_, &label)| label as usize >= count)
        {
            let expected = format!("a class below {count}");
            return Err(Error::data(operation, format!("the label of sample {sample}"), expected, label));
        }
        Ok(self.with_targets(Targets::Classes { labels: Arc::new(labels), count }))
    }

    /// The same samples with target values each; the first dimension of `values` counts the samples. Replaces the
    /// targets that there were.
    ///
    /// # Errors
    /// [`Error::Data`] if the first dimension is not the number of samples, or there is no value per sample;
    /// [`Error::NonFinite`] if a value is NaN or infinite.
    pub fn with_values<T: Element>(self, values: Tensor<T>) -> Result<Self> {
        let operation = "Dataset::with_values";
        let (len, width, _) = rows(operation, "target values", values.shape())?;
        if len != self.len {
            let expected = format!("{} rows (one per sample)", self.len);
            return Err(Error::data(operation, "target values", expected, len));
        }
        check_finite("target values", &values)?;
        Ok(self.with_targets(Targets::Values { values: Values::new(values), width }))
    }

    /// The same samples with any number of labels each, all below `count`: several classes at once, or none. A label
    /// that is named twice counts once. Replaces the targets that there were.
    ///
    /// They are kept as a byte per sample and label and gathered as values 0 and 1 (*multi-hot*), which is what the
    /// binary cross-entropy takes: [`target_kind`](Self::target_kind) is `Values(count)`.
    ///
    /// ```
    /// use gemmule::data::Dataset;
    ///
    /// // Topics of three texts: the first has two, the last none.
    /// let texts = Dataset::from_bytes(&[3, 1], vec![7, 8, 9])?.with_labels(&[&[0, 2][..], &[1], &[]], 3)?;
    /// assert_eq!(texts.labels(0), Some(&[1, 0, 1][..]));
    /// assert_eq!(texts.label_counts(), Some(vec![1, 1, 1]));
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Data`] if there is not one list per sample; if a label is not below `count` (names the sample); if
    /// `count` is 0 or above 2^32; [`Error::OutOfMemory`].
    pub fn with_labels<L: AsRef<[u32]>>(self, labels: &[L], count: usize) -> Result<Self> {
        let operation = "Dataset::with_labels";
        check_per_sample(operation, "lists of labels", self.len, labels.len())?;
        check_count(operation, "the number of labels", count)?;
        let what = "samples x labels";
        let len = self.len.checked_mul(count).ok_or_else(|| Error::overflow(operation, what))?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { what: operation, bytes: len })?;
        bytes.resize(len, 0);
        for (sample, (row, labels)) in bytes.chunks_exact_mut(count).zip(labels).enumerate() {
            for &label in labels.as_ref() {
                let Some(byte) = row.get_mut(label as usize) else {
                    let expected = format!("labels below {count}");
                    return Err(Error::data(
                        operation,
                        format!("the labels of sample {sample}"),
                        expected,
                        label,
                    ));
                };
                *byte = 1;
            }
        }
        Ok(self.with_targets(Targets::Labels { bytes: Arc::new(bytes), count }))
    }

    /// As [`with_labels`](Self::with_labels) from the matrix itself: `bytes` (samples, count), each 0 or 1.
    ///
    /// # Errors
    /// [`Error::Data`] if the number of bytes is not `count` per sample; if one is neither 0 nor 1 (names sample and
    /// label); if `count` is 0 or above 2^32.
    pub fn with_multi_hot(self, bytes: Vec<u8>, count: usize) -> Result<Self> {
        let operation = "Dataset::with_multi_hot";
        check_count(operation, "the number of labels", count)?;
        if Some(bytes.len()) != self.len.checked_mul(count) {
            let expected = format!("{} x {count} (samples, labels)", self.len);
            return Err(Error::data(operation, "bytes", expected, bytes.len()));
        }
        if let Some(found) = bytes.iter().position(|&byte| byte > 1) {
            let what = format!("sample {}, label {}", found / count, found % count);
            return Err(Error::data(operation, what, "0 or 1", bytes[found]));
        }
        Ok(self.with_targets(Targets::Labels { bytes: Arc::new(bytes), count }))
    }

    fn with_targets(self, targets: Targets) -> Self {
        Self { targets: Some(targets), target_rows: Rows(None), ..self }
    }

    /// What the targets are; `None` if the set has none. Labels are values: one for each label.
    pub fn target_kind(&self) -> Option<TargetKind> {
        self.targets.as_ref().map(Targets::kind)
    }

    /// The class of a sample; `None` if it is out of range or the targets are not classes.
    pub fn class(&self, sample: usize) -> Option<u32> {
        match &self.targets {
            Some(Targets::Classes { labels, .. }) if sample < self.len => {
                Some(labels[self.target_rows.get(sample)])
            }
            _ => None,
        }
    }

    /// The class of each sample; `None` if the targets are not classes.
    pub fn classes(&self) -> Option<Vec<u32>> {
        (0..self.len).map(|sample| self.class(sample)).collect()
    }

    /// How many samples each class has; `None` if the targets are not classes.
    pub fn class_counts(&self) -> Option<Vec<usize>> {
        let Some(Targets::Classes { labels, count }) = &self.targets else { return None };
        let mut counts = vec![0; *count];
        for sample in 0..self.len {
            counts[labels[self.target_rows.get(sample)] as usize] += 1;
        }
        Some(counts)
    }

    /// For each label 1 if the sample has it and 0 if not; `None` if it is out of range or the targets are not
    /// [labels](Self::with_labels).
    pub fn labels(&self, sample: usize) -> Option<&[u8]> {
        match &self.targets {
            Some(Targets::Labels { bytes, count }) if sample < self.len => {
                Some(&bytes[self.target_rows.range(sample, *count)])
            }
            _ => None,
        }
    }

    /// How many samples have each label; `None` if the targets are not [labels](Self::with_labels).
    pub fn label_counts(&self) -> Option<Vec<usize>> {
        let Some(Targets::Labels { bytes, count }) = &self.targets else { return None };
        let mut counts = vec![0; *count];
        for sample in 0..self.len {
            let row = &bytes[self.target_rows.range(sample, *count)];
            counts.iter_mut().zip(row).for_each(|(count, &byte)| *count += usize::from(byte));
        }
        Some(counts)
    }

    /// The target values of a sample, or 0 and 1 for its labels; `None` if it is out of range or the targets are
    /// classes. Exact: no `f32` is changed.
    ///
    /// ```
    /// use gemmule::{Tensor, data::Dataset};
    ///
    /// let prices = Tensor::from_slice(&[2, 1], &[1.5_f32, 2.5])?;
    /// let houses = Dataset::from_bytes(&[2, 1], vec![3, 4])?.with_values(prices)?;
    /// assert_eq!(houses.value(1), Some(vec![2.5]));
    /// assert_eq!(houses.subset(&[1])?.target_values()?.as_slice(), [2.5]);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn value(&self, sample: usize) -> Option<Vec<f64>> {
        match &self.targets {
            Some(Targets::Values { values, width }) if sample < self.len => {
                Some(values.row(self.target_rows.range(sample, *width)))
            }
            _ => self.labels(sample).map(|row| row.iter().map(|&byte| f64::from(byte)).collect()),
        }
    }

    /// The target values of all samples, in order: `(samples, values)`.
    ///
    /// # Errors
    /// [`Error::Data`] if the targets are classes or there are none; [`Error::OutOfMemory`].
    pub fn target_values(&self) -> Result<Tensor<f64>> {
        let Some(TargetKind::Values(width)) = self.target_kind() else {
            return Err(Error::data("Dataset::target_values", "targets", "values", self.target_words()));
        };
        let mut all = Tensor::zeros(&[self.len, width])?;
        for (sample, row) in all.as_mut_slice().chunks_exact_mut(width).enumerate() {
            row.copy_from_slice(&self.value(sample).unwrap_or_default());
        }
        Ok(all)
    }

    /// What the targets are, in words.
    pub(in crate::data) fn target_words(&self) -> String {
        match &self.targets {
            Some(Targets::Classes { count, .. }) => format!("{count} classes"),
            Some(Targets::Values { width, .. }) => format!("{width} target values"),
            Some(Targets::Labels { count, .. }) => format!("{count} labels"),
            None => "no targets".to_owned(),
        }
    }
}

fn check_per_sample(operation: &'static str, what: &str, samples: usize, got: usize) -> Result<()> {
    if got != samples {
        return Err(Error::data(operation, what, format!("{samples} (one per sample)"), got));
    }
    Ok(())
}

fn check_count(operation: &'static str, what: &str, count: usize) -> Result<()> {
    if count == 0 || count as u64 > 1 << 32 {
        return Err(Error::data(operation, what, "1 to 2^32", count));
    }
    Ok(())
}
