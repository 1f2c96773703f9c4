//! Two passes over a file: the first counts rows and finds kinds and categories, the second fills arrays of exact size.

use super::columns::{Columns, Kind, Role, number, place};
use super::records::Records;
use super::{Csv, CsvTable, Missing};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::file::read::{self, Budget, Size, Source};
use crate::kernel::Element;
use crate::tensor::Tensor;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Of a file, plain or compressed.
type AnyRecords<'p, 'r> = Records<'p, Box<dyn Read + 'r>>;

pub fn read<T: Element, R: Read + Seek>(
    csv: &Csv,
    path: &Path,
    mut reader: R,
    size: Size,
) -> Result<CsvTable> {
    check(csv)?;
    let failed = |source| Error::Io { path: path.to_owned(), source };
    let mut budget = Budget::new(size, csv.limit);
    let start = reader.stream_position().map_err(failed)?;
    let mut first = Vec::with_capacity(2);
    reader.by_ref().take(2).read_to_end(&mut first).map_err(failed)?;
    let compressed = first == [0x1f, 0x8b];
    let mut pass = |work: &mut dyn FnMut(AnyRecords) -> Result<()>| {
        reader.seek(SeekFrom::Start(start)).map_err(failed)?;
        let reader = if compressed { decompressed(path, &mut reader)? } else { Box::new(&mut reader) };
        let source = Source { operation: "Csv::read", path, format: "CSV", part: "", compressed, reader };
        work(Records::new(source, parser(csv)))
    };

    let mut columns = None;
    let (mut rows, mut dropped) = (0_usize, 0);
    pass(&mut |mut records| {
        if csv.header {
            if !records.next(&mut budget)? {
                return Err(records.error("the first line", "the names of the columns", "none"));
            }
            columns = Some(Columns::new(csv, &records, &mut budget)?);
        }
        while records.next(&mut budget)? {
            let columns = match &mut columns {
                Some(columns) => columns,
                none => none.insert(Columns::new(csv, &records, &mut budget)?),
            };
            if records.len() != columns.all.len() {
                let what = format!("line {}", records.line());
                let expected = format!("{} fields, as in the first line", columns.all.len());
                return Err(records.error(what, expected, records.len()));
            }
            if columns.keeps(&records)? {
                rows += 1;
                columns.learn(&records, &mut budget)?;
            } else {
                dropped += 1;
            }
        }
        Ok(())
    })?;
    let Some(mut columns) = columns.filter(|_| rows != 0) else {
        let got =
            if dropped == 0 { "none".to_owned() } else { format!("none, as {dropped} have missing values") };
        return Err(Error::data("Csv::read", path.display().to_string(), "at least 1 row", got));
    };
    columns.sort();

    let width = |role: fn(&Role) -> bool| columns.all.iter().filter(|info| role(&info.role)).count();
    let features = width(|role| matches!(role, Role::Feature(_)));
    let targets = width(|role| matches!(role, Role::Target(_)));
    let labelled = csv.label.is_some();
    if features == 0 {
        return Err(Error::data("Csv::read", path.display().to_string(), "at least 1 column of features", 0));
    }
    let values = (features + targets).saturating_mul(rows).saturating_mul(size_of::<T>());
    let bytes = values.saturating_add(if labelled { 4 * rows } else { 0 });
    if !budget.take(bytes) {
        let expected = format_args!("at most {} bytes (the limit)", budget.limit).to_string();
        let got = format_args!("{rows} rows of {features} features: {bytes} bytes").to_string();
        return Err(read::format_error(path, "CSV", "the size of the table", expected, got));
    }
    let mut x = Tensor::<T>::zeros(&[rows, features])?;
    let mut y = Tensor::<T>::zeros(&[if targets == 0 { 0 } else { rows }, targets])?;
    let mut labels = Vec::<u32>::new();
    read::reserve("Csv::read", &mut labels, if labelled { rows } else { 0 })?;
    // Sums and counts of the values that are there; allocated only where a mean is asked for.
    let mut sums = vec![
        (0.0_f64, 0_u64);
        if columns.all.iter().any(|info| info.rule == Missing::Mean) { features } else { 0 }
    ];
    let mut row = 0;
    pass(&mut |mut records| {
        if csv.header && !records.next(&mut budget)? {
            return Err(changed(&records));
        }
        while records.next(&mut budget)? {
            if records.len() != columns.all.len() || !columns.keeps(&records)? {
                continue;
            }
            if row == rows {
                return Err(changed(&records));
            }
            for (i, info) in columns.all.iter().enumerate() {
                if info.role == Role::Ignored {
                    continue;
                }
                let text = columns.value(&records, i)?;
                let value = match (text, info.kind) {
                    // Found and replaced below: no value is NaN.
                    (None, _) => f64::NAN,
                    (Some(text), Kind::Text) => f64::from(info.code(text).ok_or_else(|| changed(&records))?),
                    (Some(text), _) => {
                        let value = number(text).filter(|&value| T::from_f64(value).to_f64().is_finite());
                        value.ok_or_else(|| not_a_number::<T>(&records, &info.name, text))?
                    }
                };
                match info.role {
                    Role::Feature(feature) => {
                        x.as_mut_slice()[row * features + feature] = T::from_f64(value);
                        if let Some((sum, count)) = sums.get_mut(feature).filter(|_| text.is_some()) {
                            *sum += value;
                            *count += 1;
                        }
                    }
                    Role::Target(target) => y.as_mut_slice()[row * targets + target] = T::from_f64(value),
                    _ => labels.push(value as u32),
                }
            }
            row += 1;
        }
        if row == rows { Ok(()) } else { Err(changed(&records)) }
    })?;

    let mut table = CsvTable {
        features: vec![String::new(); features],
        targets: Vec::new(),
        categories: vec![None; features],
        classes: Vec::new(),
        fills: vec![None; features],
        dropped,
        // Replaced below: a table has one.
        dataset: Dataset::from_bytes(&[1, 1], vec![0])?,
    };
    let mut target_names = vec![String::new(); targets];
    for info in columns.all {
        match info.role {
            Role::Feature(feature) => {
                let fill = match info.fill {
                    Some(fill) => Some(fill),
                    None => {
                        let mean = sums.get(feature).filter(|sum| sum.1 != 0).map(|sum| sum.0 / sum.1 as f64);
                        statistic(&x, feature, info.rule, info.kind, mean, &mut budget, path)?
                    }
                };
                replace(&mut x, feature, fill).map_err(|()| {
                    let expected = "a value in at least one row, as a missing one takes its place from them";
                    read::format_error(path, "CSV", format!("column {:?}", info.name), expected, "none")
                })?;
                table.fills[feature] = fill;
                table.features[feature] = info.name;
                table.categories[feature] = Some(info.categories).filter(|_| info.kind == Kind::Text);
            }
            Role::Target(target) => target_names[target] = info.name,
            Role::Label => {
                table.classes = info.categories;
                table.targets.push(info.name);
            }
            Role::Ignored => {}
        }
    }
    table.targets.append(&mut target_names);
    table.dataset = Dataset::from_values(x)?;
    if labelled {
        table.dataset = table.dataset.with_classes(labels, table.classes.len())?;
    } else if targets != 0 {
        table.dataset = table.dataset.with_values(y)?;
    }
    Ok(table)
}

fn check(csv: &Csv) -> Result<()> {
    let operation = "Csv::read";
    let marks = [Some(csv.delimiter), csv.quote, csv.comment];
    let clash = marks.iter().flatten().any(|mark| b"\r\n".contains(mark))
        || csv.quote == Some(csv.delimiter)
        || csv.comment.is_some_and(|comment| comment == csv.delimiter || csv.quote == Some(comment));
    if clash {
        let expected = "different bytes for delimiter, quote and comment, no line break";
        let got =
            marks.map(|mark| mark.map_or("none".to_owned(), |mark| format!("{:?}", mark as char))).join(", ");
        return Err(Error::argument(operation, "delimiter, quote, comment", expected, got));
    }
    if csv.label.is_some() && !csv.targets.is_empty() {
        return Err(Error::argument(operation, "label and targets", "one of them", "both"));
    }
    for rule in csv.missing_in.iter().map(|(_, rule)| rule).chain([&csv.missing]) {
        if let Missing::Constant(value) = rule
            && !value.is_finite()
        {
            return Err(Error::argument(
                operation,
                "the constant for missing values",
                "a finite number",
                value,
            ));
        }
    }
    Ok(())
}

fn parser(csv: &Csv) -> csv_core::Reader {
    let mut builder = csv_core::ReaderBuilder::new();
    builder.delimiter(csv.delimiter).comment(csv.comment).quoting(csv.quote.is_some());
    builder.quote(csv.quote.unwrap_or(b'"')).build()
}

#[cfg(feature = "gzip")]
fn decompressed<'a>(_: &Path, reader: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    Ok(Box::new(flate2::read::MultiGzDecoder::new(reader)))
}

#[cfg(not(feature = "gzip"))]
fn decompressed<'a>(path: &Path, _: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let expected = "plain contents, as gemmule was built without its feature `gzip`";
    Err(read::format_error(path, "CSV", "the file", expected, "gzip"))
}

fn changed<R: Read>(records: &Records<R>) -> Error {
    records.error("the file", "the same contents when it is read again", "others")
}

fn not_a_number<T: Element>(records: &Records<impl Read>, name: &str, text: &str) -> Error {
    let expected = match number(text) {
        Some(_) => format!("a finite number of {}", T::NAME),
        None => {
            "a number, as the column's first value is one (or name the column in `categorical`)".to_owned()
        }
    };
    let short: String = text.chars().take(40).collect();
    records.error(place(records.line(), name), expected, format_args!("{short:?}"))
}

/// What takes the place of a missing value.
fn statistic<T: Element>(
    x: &Tensor<T>,
    feature: usize,
    rule: Missing,
    kind: Kind,
    mean: Option<f64>,
    budget: &mut Budget,
    path: &Path,
) -> Result<Option<f64>> {
    match rule {
        Missing::MostFrequent => {}
        // Text with such a rule has no missing value: that was an error.
        _ if kind == Kind::Text => return Ok(None),
        Missing::Error | Missing::DropRow => return Ok(None),
        Missing::Mean => return Ok(mean),
        Missing::Constant(value) => return Ok(Some(value)),
        Missing::Median => {}
    }
    let features = x.shape()[1];
    let column = x.as_slice().iter().skip(feature).step_by(features);
    let there = column.map(|&value| Element::to_f64(value)).filter(|value| !value.is_nan());
    let count = there.clone().count();
    if count == 0 {
        return Ok(None);
    }
    if !budget.take(count * size_of::<f64>()) {
        let expected = format_args!("at most {} bytes (the limit)", budget.limit).to_string();
        return Err(read::format_error(
            path,
            "CSV",
            "the memory to replace missing values",
            expected,
            "more",
        ));
    }
    let mut values = Vec::new();
    read::reserve("Csv::read", &mut values, count)?;
    values.extend(there);
    values.sort_unstable_by(f64::total_cmp);
    Ok(Some(if rule == Missing::Median {
        let (low, high) = (values[(count - 1) / 2], values[count / 2]);
        low + (high - low) / 2.0
    } else {
        let longest = values.chunk_by(|a, b| a == b).rev().max_by_key(|run| run.len());
        longest.expect("there are values")[0]
    }))
}

/// Puts `fill` where a value is missing; an error if there is none.
fn replace<T: Element>(x: &mut Tensor<T>, feature: usize, fill: Option<f64>) -> Result<(), ()> {
    let features = x.shape()[1];
    for value in x.as_mut_slice().iter_mut().skip(feature).step_by(features) {
        if Element::to_f64(*value).is_nan() {
            *value = T::from_f64(fill.ok_or(())?);
        }
    }
    Ok(())
}
