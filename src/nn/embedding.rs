//! Rows of a table for whole numbers: tokens, categories.

use super::layer::Layer;
use super::registry::{init_of, init_spec};
use super::spec::Spec;
use crate::engine::functions::embedding::{self, NotPadding};
use crate::engine::{Builder, Form, Init, Value, show};
use crate::error::{Error, Result};
use crate::kernel::embedding::MOST_ROWS;

/// Each whole number of the input becomes a row of a table that is learned: y = weight\[x\], as in PyTorch and Keras.
///
/// The input has any dimensions, mostly (L) tokens of a sequence or (F) columns of categories; the output has `embedding_dim` as one
/// more, (L, E). The numbers are held as floats, from 0 to `num_embeddings` - 1: another number, or one that is not whole, is an
/// error of the step, which then changes nothing.
///
/// Parameter `weight` (num_embeddings, embedding_dim), standard normal at first, as in PyTorch. Its gradient is the sum of the
/// rows of d_y that each number of the batch has, sample by sample and position by position; there is none for the input.
///
/// ```
/// use gemmule::Tensor;
/// use gemmule::data::Dataset;
/// use gemmule::nn::{Dense, Embedding, Flatten, Input, Sequential};
///
/// // Three columns of categories, each a number below 50.
/// let mut model = Sequential::new()
///     .with(Input::new(&[3]))
///     .with(Embedding::new(50, 8).padding_idx(0))
///     .with(Flatten::new())
///     .with(Dense::new(3 * 8, 2))
///     .build::<f32>(0)?;
/// let data = |x: [f32; 3]| Dataset::from_values(Tensor::from_slice(&[1, 3], &x)?);
/// assert_eq!(model.predict(&data([1.0, 49.0, 0.0])?)?.shape(), [1, 2]);
/// assert!(model.predict(&data([1.0, 50.0, 0.0])?).is_err());
/// # Ok::<(), gemmule::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    num_embeddings: usize,
    embedding_dim: usize,
    padding_idx: Option<usize>,
    mask: bool,
    sparse: bool,
    weight: Init,
}

impl Embedding {
    /// A table of `num_embeddings` rows of `embedding_dim` numbers. There are at most 2^24 rows: larger whole numbers are not all
    /// exact as `f32`.
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> Self {
        let weight = Init::Normal { mean: 0.0, std: 1.0 };
        Self { num_embeddings, embedding_dim, padding_idx: None, mask: false, sparse: false, weight }
    }

    /// The same with a number that means nothing is there: its row begins as zeros and gets no gradient.
    #[must_use]
    pub fn padding_idx(self, index: usize) -> Self {
        Self { padding_idx: Some(index), ..self }
    }

    /// The same, and the layers after it leave out the positions that hold `padding_idx`: attention and recurrent layers. Keras'
    /// `mask_zero`, for any number. The input is a sequence then: (L).
    #[must_use]
    pub fn with_mask(self) -> Self {
        Self { mask: true, ..self }
    }

    /// The same with a sparse gradient, PyTorch's `sparse=True`: a step clears, bounds and updates only the rows that its batch has, so
    /// that its work grows with the batch and not with the table.
    ///
    /// ```text
    /// R            the rows that the batch has, without padding_idx; of all batches since the last update, if some are accumulated
    /// rows in R    the optimiser's rule, with the number of the step: Adam's bias correction counts all steps, not those of the row
    /// others       weights and the optimiser's state stay as they are
    /// ```
    ///
    /// The gradient is what it is otherwise, zeros in all other rows: so [`Model::gradient`](super::Model::gradient) shows it, and
    /// so it counts in a norm. Plain gradient descent and Adagrad give the same bits as without. All other optimisers are lazy: what
    /// is left of a row's moments would go on moving it, and waits here until the row comes again. Adam is then PyTorch's `SparseAdam`,
    /// but for where epsilon is added; momentum too belongs to the rows of the batch, where PyTorch's SGD goes on with all rows that
    /// were ever there.
    ///
    /// What looks at all weights still does: copies and averages of them, files, checkpoints.
    ///
    /// # Errors
    /// Weight decay and L1 penalties move every row at every step: a step, or `apply`, is an [`Error::Layer`] if the optimiser of
    /// the table has one, [`AdamW`](crate::optim::AdamW)'s default too. Give the table a
    /// [group](super::Model::parameter_group) of its own. [`set_constraint`](super::Model::set_constraint) refuses it likewise.
    ///
    /// ```
    /// use gemmule::Tensor;
    /// use gemmule::data::Dataset;
    /// use gemmule::nn::{Dense, Embedding, Flatten, Input, Loss, Sequential};
    /// use gemmule::optim::Adam;
    ///
    /// let mut model = Sequential::new()
    ///     .with(Input::new(&[2]))
    ///     .with(Embedding::new(10_000, 4).sparse())
    ///     .with(Flatten::new())
    ///     .with(Dense::new(2 * 4, 2))
    ///     .build::<f32>(0)?;
    /// model.compile(Loss::CrossEntropy, Adam::default())?;
    /// let x = Tensor::from_slice(&[2, 2], &[7.0, 9999.0, 7.0, 3.0])?;
    /// let data = Dataset::from_values(x)?.with_classes(vec![0, 1], 2)?;
    /// let before = model.parameter("0.weight")?;
    /// model.step(&data, &[0, 1])?;
    /// let after = model.parameter("0.weight")?;
    /// let rows = before.as_slice().chunks(4).zip(after.as_slice().chunks(4));
    /// let moved: Vec<usize> = rows.enumerate().filter(|(_, (a, b))| a != b).map(|(row, _)| row).collect();
    /// assert_eq!(moved, [3, 7, 9999]);
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    #[must_use]
    pub fn sparse(self) -> Self {
        Self { sparse: true, ..self }
    }

    /// The same with weights that begin as `init` says.
    #[must_use]
    pub fn weight_init(self, init: Init) -> Self {
        Self { weight: init, ..self }
    }

    fn check(&self, builder: &Builder, dims: &[usize]) -> Result<()> {
        let Self { num_embeddings, embedding_dim, padding_idx, mask, .. } = *self;
        if num_embeddings == 0 || embedding_dim == 0 || num_embeddings > MOST_ROWS {
            let expected = "1 to 2^24 rows of at least one number";
            return Err(Error::argument("build", "Embedding", expected, self.describe()));
        }
        if let Some(index) = padding_idx
            && index >= num_embeddings
        {
            let expected = format!("below num_embeddings, {num_embeddings}");
            return Err(Error::argument("build", "padding_idx of the Embedding", expected, index));
        }
        if mask && padding_idx.is_none() {
            let expected = "a padding_idx, which is what is masked";
            return Err(Error::argument("build", "mask of the Embedding", expected, "none"));
        }
        if mask && dims.len() != 1 {
            let expected = "a sequence of whole numbers, (L), to mask";
            return Err(builder.refusal(expected, show(dims)));
        }
        Ok(())
    }
}

impl Layer for Embedding {
    fn describe(&self) -> String {
        format!("Embedding {} x {}", self.num_embeddings, self.embedding_dim)
    }

    fn inputs(&self) -> Option<usize> {
        None
    }

    fn lower(&self, builder: &mut Builder, input: Value) -> Result<Value> {
        self.check(builder, builder.dims(input))?;
        let input = builder.in_rows(input)?;
        let (rows, width, length) = (self.num_embeddings, self.embedding_dim, builder.width(input));
        let weight = builder.tensor("weight", &[rows, width], &[0, 1], (rows, width), self.weight)?;
        if let Some(row) = self.padding_idx {
            builder.zero_at_first(weight, row * width..(row + 1) * width);
        }
        let mut dims = builder.dims(input).to_vec();
        dims.push(width);
        if self.sparse {
            builder.sparse(weight, rows);
        }
        let (padding, sparse) = (self.padding_idx, self.sparse);
        let function = embedding::Embedding { rows, width, length, padding, sparse };
        let output = builder.function(&[input], Form::rows(&dims), function, &[weight])?;
        if let (true, Some(padding)) = (self.mask, self.padding_idx) {
            let form = builder.form(input).clone();
            let mask = builder.function(&[input], form, NotPadding { padding }, &[])?;
            builder.set_mask(output, mask)?;
        }
        Ok(output)
    }

    fn spec(&self) -> Option<Spec> {
        let spec = Spec::new("embedding").with("num_embeddings", self.num_embeddings);
        let spec = spec.with("embedding_dim", self.embedding_dim).with("mask", self.mask);
        let spec = spec.with("weight_init", init_spec(self.weight));
        let spec = spec.with("padding", self.padding_idx.is_some());
        let spec = match self.padding_idx {
            Some(index) => spec.with("padding_idx", index),
            None => spec,
        };
        // Not in older files.
        Some(if self.sparse { spec.with("sparse", true) } else { spec })
    }
}

pub(super) fn embedding_of(spec: &Spec) -> Result<Embedding> {
    spec.has_only(&[
        "num_embeddings",
        "embedding_dim",
        "padding",
        "padding_idx",
        "mask",
        "weight_init",
        "sparse",
    ])?;
    let padding_idx = spec.flag("padding")?.then(|| spec.size("padding_idx")).transpose()?;
    Ok(Embedding {
        num_embeddings: spec.size("num_embeddings")?,
        embedding_dim: spec.size("embedding_dim")?,
        padding_idx,
        mask: spec.flag("mask")?,
        sparse: spec.get("sparse").is_some() && spec.flag("sparse")?,
        weight: init_of(spec.spec("weight_init")?)?,
    })
}
