//! Reads CSV files: tables of numbers and text with a label, targets or neither.

mod columns;
mod records;
mod table;

use super::dataset::Dataset;
use super::idx::DEFAULT_DECOMPRESSED_LIMIT;
use crate::error::{Error, Result};
use crate::file::read::{self, READER, Size};
use crate::kernel::Element;
use std::fmt;
use std::io::{Cursor, Read, Seek};
use std::path::{Path, PathBuf};

/// Reads a CSV file into a [`Dataset`]: which columns are features, which is the label, what stands for a missing value.
///
/// Without further words the first line names the columns and every column is a feature. [`label`](Self::label) makes one
/// the class of each row, [`targets`](Self::targets) makes some the values of a regression.
///
/// **Numbers and text.** A column is of numbers if its first value that is not missing is one, and then all have to be;
/// else, and if [`categorical`](Self::categorical) says so, it is text: each value becomes the position of its text among
/// the column's different texts. Those are sorted, as numbers if all are numbers, else by code points, as scikit-learn's
/// `LabelEncoder` and `OrdinalEncoder` sort them. Labels always become positions in the same way: labels 0 to 9, all of
/// them there, stay what they are. A file for testing has to be read with the categories of that for training:
/// [`like`](Self::like).
///
/// **Missing values.** Empty fields and the markers of pandas (`NA`, `N/A`, `NaN`, `nan`, `NULL`, `null`, `None`, `<NA>`, `n/a`,
/// `#N/A` and a few more) are missing; what happens then says [`missing`](Self::missing): an error unless told otherwise.
/// A number that is infinite, or too large for the type, is an error.
///
/// **Lines.** Fields may be quoted, with the quote doubled inside; spaces around a field are removed; blank lines are
/// skipped; every line has as many fields as the first. A byte order mark is skipped. With the feature `gzip`, compressed
/// files are known by their contents.
///
/// **Memory.** The file is read twice and never held. Peak memory is at most twice the size of the file and 1 MiB, or the
/// [`limit`](Self::limit) if that is more: only short fields (`f64` of two digits) and many different texts need more than the
/// first.
///
/// ```
/// # let path = std::env::temp_dir().join(format!("gemmule-doc-{}.csv", std::process::id()));
/// use gemmule::data::{Csv, Missing};
///
/// std::fs::write(&path, "\
/// length,width,colour,species
/// 5.1,3.5,red,setosa
/// 6.2,,blue,virginica
/// 4.9,3.0,red,setosa
/// ")?;
/// let table = Csv::new(&path).label("species").missing(Missing::Mean).read()?;
/// assert_eq!((table.dataset.len(), table.dataset.feature_shape()), (3, &[3][..]));
/// assert_eq!(table.features, ["length", "width", "colour"]);
/// assert_eq!(table.classes, ["setosa", "virginica"]);
/// assert_eq!(table.dataset.class(1), Some(1));
/// assert_eq!(table.categories[2].as_deref(), Some(&["blue".to_owned(), "red".to_owned()][..]));
/// assert_eq!(table.fills[1], Some(3.25));
///
/// // Files for testing: the categories and means of the first.
/// let test = Csv::new(&path).label("species").missing(Missing::Mean).like(&table).read()?;
/// assert_eq!(test.classes, table.classes);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is read before `read`"]
pub struct Csv {
    path: PathBuf,
    header: bool,
    delimiter: u8,
    quote: Option<u8>,
    comment: Option<u8>,
    label: Option<Column>,
    targets: Vec<Column>,
    features: Option<Vec<Column>>,
    ignore: Vec<Column>,
    categorical: Vec<Column>,
    missing: Missing,
    missing_in: Vec<(Column, Missing)>,
    na_values: Vec<String>,
    classes: Option<Vec<String>>,
    like: Option<Vec<Like>>,
    limit: u64,
}

/// What an earlier table says of a feature.
#[derive(Clone, Debug)]
struct Like {
    categories: Option<Vec<String>>,
    fill: Option<f64>,
}

/// A column by its name, or by its position from 0; a negative position counts from the end, -1 is the last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Column {
    /// By its name in the first line.
    Name(String),
    /// By its position.
    Index(isize),
}

impl From<&str> for Column {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for Column {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<&String> for Column {
    fn from(name: &String) -> Self {
        Self::Name(name.clone())
    }
}

impl From<usize> for Column {
    fn from(index: usize) -> Self {
        Self::Index(isize::try_from(index).unwrap_or(isize::MAX))
    }
}

impl From<i32> for Column {
    fn from(index: i32) -> Self {
        Self::Index(index as isize)
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name:?}"),
            Self::Index(index) => write!(f, "{index}"),
        }
    }
}

/// What becomes of a value that is missing. Labels and targets are never replaced: a missing one is an error unless the rule is
/// [`DropRow`](Self::DropRow).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Missing {
    /// An error that names line and column.
    #[default]
    Error,
    /// The row is left out, as by `DataFrame.dropna`; [`CsvTable::dropped`] counts them.
    DropRow,
    /// The mean of the column's values (summed in f64, row by row). Only for numbers, as in `SimpleImputer`.
    Mean,
    /// The median of the column's values, the mean of the middle two of an even number. Only for numbers.
    Median,
    /// The most frequent value, the smallest of several: for numbers and for text.
    MostFrequent,
    /// This value. Only for numbers.
    Constant(f64),
}

/// What [`Csv::read`] gives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CsvTable {
    /// The rows as samples of shape `[features]`.
    pub dataset: Dataset,
    /// The names of the features, in the order of the dataset; positions (`0`, `1`, ...) if the file has no header.
    pub features: Vec<String>,
    /// The names of the label or the targets.
    pub targets: Vec<String>,
    /// For each feature that is text, what its values 0, 1, ... stand for.
    pub categories: Vec<Option<Vec<String>>>,
    /// What the classes 0, 1, ... stand for; empty without a label.
    pub classes: Vec<String>,
    /// For each feature, what a missing value was, or would have been, replaced by.
    pub fills: Vec<Option<f64>>,
    /// How many rows were left out.
    pub dropped: usize,
}

impl Csv {
    /// A file whose first line names the columns, all of them features.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            header: true,
            delimiter: b',',
            quote: Some(b'"'),
            comment: None,
            label: None,
            targets: Vec::new(),
            features: None,
            ignore: Vec::new(),
            categorical: Vec::new(),
            missing: Missing::Error,
            missing_in: Vec::new(),
            na_values: Vec::new(),
            classes: None,
            like: None,
            limit: DEFAULT_DECOMPRESSED_LIMIT,
        }
    }

    /// Whether the first line names the columns (yes, unless this says otherwise).
    pub fn header(mut self, header: bool) -> Self {
        self.header = header;
        self
    }

    /// What separates fields: a comma, unless this says otherwise; `b'\t'`, `b';'`.
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// What surrounds fields with delimiters or line breaks in them: `"`, unless this says otherwise; `None` for nothing.
    pub fn quote(mut self, quote: Option<u8>) -> Self {
        self.quote = quote;
        self
    }

    /// Lines that begin with this byte are skipped; none, unless this says otherwise.
    pub fn comment(mut self, comment: Option<u8>) -> Self {
        self.comment = comment;
        self
    }

    /// The column that holds the class of each row, by name or position (-1 is the last).
    pub fn label(mut self, column: impl Into<Column>) -> Self {
        self.label = Some(column.into());
        self
    }

    /// The columns that hold the values to predict, numbers all.
    ///
    /// ```
    /// # use gemmule::data::Csv;
    /// let file = std::io::Cursor::new("1,2,3\n4,5,9\n");
    /// let table = Csv::new("").header(false).targets([-1]).read_from(file)?;
    /// assert_eq!(format!("{:?}", table.dataset), "Dataset(2 samples of 2 f32, 1 target values)");
    /// # Ok::<(), gemmule::Error>(())
    /// ```
    pub fn targets<C: Into<Column>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.targets = columns.into_iter().map(Into::into).collect();
        self
    }

    /// These columns are the features, in this order; otherwise all that are not label, target or ignored, in the file's.
    pub fn features<C: Into<Column>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.features = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// These columns are not looked at.
    pub fn ignore<C: Into<Column>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.ignore = columns.into_iter().map(Into::into).collect();
        self
    }

    /// These features are text even if they begin with a number, such as postcodes.
    pub fn categorical<C: Into<Column>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.categorical = columns.into_iter().map(Into::into).collect();
        self
    }

    /// What becomes of missing values: [`Missing::Error`] unless this says otherwise.
    pub fn missing(mut self, rule: Missing) -> Self {
        self.missing = rule;
        self
    }

    /// As [`missing`](Self::missing), for one column.
    pub fn missing_in(mut self, column: impl Into<Column>, rule: Missing) -> Self {
        self.missing_in.push((column.into(), rule));
        self
    }

    /// Further texts that mean a missing value, such as `?`.
    pub fn na_values<S: Into<String>>(mut self, texts: impl IntoIterator<Item = S>) -> Self {
        self.na_values = texts.into_iter().map(Into::into).collect();
        self
    }

    /// The classes 0, 1, ... are these texts; another label is an error.
    pub fn classes<S: Into<String>>(mut self, texts: impl IntoIterator<Item = S>) -> Self {
        self.classes = Some(texts.into_iter().map(Into::into).collect());
        self
    }

    /// The features, categories, classes and replacements of an earlier table, so that both mean the same: what was
    /// fitted on the data for training is applied to others. A text that the earlier table has not is an error.
    pub fn like(mut self, table: &CsvTable) -> Self {
        self.features = Some(table.features.iter().map(Into::into).collect());
        let both = table.categories.iter().zip(&table.fills);
        self.like =
            Some(both.map(|(categories, &fill)| Like { categories: categories.clone(), fill }).collect());
        if !table.classes.is_empty() {
            self.classes = Some(table.classes.clone());
        }
        self
    }

    /// The memory that may be used beyond twice the file and 1 MiB: 1 GiB unless this says otherwise.
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Reads the file; features are f32.
    ///
    /// # Errors
    /// [`Error::Io`]. [`Error::Format`] if a line has another number of fields, a quote stays open, text is not UTF-8, a
    /// number is none or not finite, a value is missing or a category unknown (each names the line, where it ends, and the
    /// column); if a column that was asked for is not there; if the limit is exceeded. [`Error::Data`] if no row or no
    /// feature remains. [`Error::Argument`] if options contradict each other.
    pub fn read(&self) -> Result<CsvTable> {
        self.read_as::<f32>()
    }

    /// As [`read`](Self::read), with features and targets of f64 or f32.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_as<T: Element>(&self) -> Result<CsvTable> {
        let (mut file, size) = read::open(&self.path)?;
        if let Size::File(_) = size {
            return table::read::<T, _>(self, &self.path, file, size);
        }
        // It cannot be read twice.
        let mut bytes = Vec::new();
        let limited = file.by_ref().take(self.limit.saturating_add(1)).read_to_end(&mut bytes);
        limited.map_err(|source| Error::Io { path: self.path.clone(), source })?;
        if bytes.len() as u64 > self.limit {
            let expected = format_args!("at most {} bytes (the limit)", self.limit).to_string();
            return Err(read::format_error(&self.path, "CSV", "the size of the stream", expected, "more"));
        }
        table::read::<T, _>(self, &self.path, Cursor::new(bytes), size)
    }

    /// As [`read`](Self::read), from anything that can be read twice (from where it stands); errors call it `(reader)`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_from(&self, reader: impl Read + Seek) -> Result<CsvTable> {
        table::read::<f32, _>(self, Path::new(READER), reader, Size::Unknown)
    }
}
