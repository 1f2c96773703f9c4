//! What each column is for, and what is learnt of it.

use super::records::Records;
use super::{Column, Csv, Like, Missing};
use crate::error::{Error, Result};
use crate::file::read::{Budget, format_error};
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

/// What a column is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Feature(usize),
    Target(usize),
    Label,
    Ignored,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No value so far.
    Unknown,
    Number,
    Text,
}

#[derive(Debug)]
pub struct Info {
    pub name: String,
    pub role: Role,
    pub kind: Kind,
    pub rule: Missing,
    /// The different texts; their numbers are positions in `categories` once those are sorted.
    codes: HashMap<Box<str>, u32>,
    pub categories: Vec<String>,
    /// The categories were given: another text is an error.
    fixed: bool,
    pub fill: Option<f64>,
}

/// The texts that pandas takes for missing values.
fn is_missing(text: &str, more: &[String]) -> bool {
    const MARKERS: [&str; 19] = [
        "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
        "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
    ];
    MARKERS.contains(&text) || more.iter().any(|marker| marker == text)
}

/// A number, infinite or not; `None` if it is text.
pub fn number(text: &str) -> Option<f64> {
    // NaN is a marker, in its usual spellings; in others it is text.
    text.parse().ok().filter(|number: &f64| !number.is_nan())
}

pub struct Columns<'a> {
    pub all: Vec<Info>,
    na_values: &'a [String],
}

impl<'a> Columns<'a> {
    /// `records` stands on the first record: names, or values if there is no header.
    pub fn new<R: Read>(csv: &'a Csv, records: &Records<R>, budget: &mut Budget) -> Result<Self> {
        let count = records.len();
        let name = |i| if csv.header { records.field(i).map(str::to_owned) } else { Ok(format!("{i}")) };
        let mut all = Vec::new();
        let mut bytes = count * size_of::<Info>();
        for i in 0..count {
            bytes += if csv.header { records.field(i)?.len() } else { 8 };
        }
        // The names twice: they are returned.
        if !budget.take(bytes.saturating_mul(2)) {
            let expected = format_args!("columns that fit in {} bytes (the limit)", budget.limit).to_string();
            return Err(records.error("the first line", expected, format_args!("{count} columns")));
        }
        crate::file::read::reserve("Csv::read", &mut all, count)?;
        for i in 0..count {
            all.push(Info {
                name: name(i)?,
                role: Role::Ignored,
                kind: Kind::Unknown,
                rule: csv.missing,
                codes: HashMap::new(),
                categories: Vec::new(),
                fixed: false,
                fill: None,
            });
        }
        let mut columns = Self { all, na_values: &csv.na_values };
        columns.roles(csv, records.path())?;
        Ok(columns)
    }

    fn roles(&mut self, csv: &Csv, path: &Path) -> Result<()> {
        let mut ignored = vec![false; self.all.len()];
        for column in &csv.ignore {
            ignored[self.find(path, "the column to ignore", column)?] = true;
        }
        let free = |info: &Info, ignored: bool, column: &Column| match info.role {
            Role::Ignored if !ignored => Ok(()),
            _ => Err(Error::argument(
                "Csv::read",
                "columns",
                "one use for each",
                format!("several for {column}"),
            )),
        };
        if let Some(column) = &csv.label {
            let at = self.find(path, "the label", column)?;
            free(&self.all[at], ignored[at], column)?;
            (self.all[at].role, self.all[at].kind) = (Role::Label, Kind::Text);
            if let Some(classes) = &csv.classes {
                self.all[at].fix(classes)?;
            }
        }
        for (target, column) in csv.targets.iter().enumerate() {
            let at = self.find(path, "a target", column)?;
            free(&self.all[at], ignored[at], column)?;
            (self.all[at].role, self.all[at].kind) = (Role::Target(target), Kind::Number);
        }
        match &csv.features {
            Some(features) => {
                for (feature, column) in features.iter().enumerate() {
                    let at = self.find(path, "a feature", column)?;
                    free(&self.all[at], ignored[at], column)?;
                    self.all[at].role = Role::Feature(feature);
                    if let Some(Like { categories, fill }) =
                        csv.like.as_ref().and_then(|like| like.get(feature))
                    {
                        self.all[at].kind = if categories.is_some() { Kind::Text } else { Kind::Number };
                        self.all[at].fill = *fill;
                        if let Some(categories) = categories {
                            self.all[at].fix(categories)?;
                        }
                    }
                }
            }
            None => {
                let mut feature = 0;
                for (info, ignored) in self.all.iter_mut().zip(ignored) {
                    if info.role == Role::Ignored && !ignored {
                        info.role = Role::Feature(feature);
                        feature += 1;
                    }
                }
            }
        }
        for column in &csv.categorical {
            let at = self.find(path, "a categorical column", column)?;
            match self.all[at].role {
                Role::Target(_) => {
                    return Err(Error::argument(
                        "Csv::read",
                        "a categorical column",
                        "a feature",
                        "a target",
                    ));
                }
                _ => self.all[at].kind = Kind::Text,
            }
        }
        for (column, rule) in &csv.missing_in {
            let at = self.find(path, "the column of a rule for missing values", column)?;
            self.all[at].rule = *rule;
        }
        Ok(())
    }

    fn find(&self, path: &Path, what: &str, column: &Column) -> Result<usize> {
        let count = self.all.len();
        let mut found = match column {
            Column::Name(name) => {
                let mut same = (0..count).filter(|&i| self.all[i].name == *name);
                (same.next(), same.next())
            }
            Column::Index(index) if *index < 0 => (count.checked_sub(index.unsigned_abs()), None),
            Column::Index(index) => (Some(*index as usize).filter(|&index| index < count), None),
        };
        if let (Some(_), Some(_)) = found {
            found.0 = None;
        }
        found.0.ok_or_else(|| {
            let names: Vec<_> = self.all.iter().take(20).map(|info| format!("{:?}", info.name)).collect();
            let more = if count > names.len() { ", ..." } else { "" };
            let expected = format!("one of the {count} columns ({}{more})", names.join(", "));
            let got = format!("{column}{}", if found.1.is_some() { ", twice" } else { "" });
            format_error(path, "CSV", what, expected, got)
        })
    }

    /// The value of a column in this record; `None` if it is missing.
    pub fn value<'r, R: Read>(&self, records: &'r Records<R>, index: usize) -> Result<Option<&'r str>> {
        let text = records.field(index)?;
        Ok(Some(text).filter(|text| !is_missing(text, self.na_values)))
    }

    /// Whether this record is used; an error if its rule for a missing value says so.
    pub fn keeps<R: Read>(&self, records: &Records<R>) -> Result<bool> {
        let mut keeps = true;
        for (i, info) in self.all.iter().enumerate() {
            if info.role == Role::Ignored || self.value(records, i)?.is_some() {
                continue;
            }
            let expected = match (info.rule, info.role) {
                (Missing::DropRow, _) => {
                    keeps = false;
                    continue;
                }
                (Missing::Error, _) => "a value (a rule for missing ones was not chosen)",
                (_, Role::Label) => "a label (only DropRow applies to labels)",
                (_, Role::Target(_)) => "a target (only DropRow applies to targets)",
                (Missing::MostFrequent, _) => continue,
                (_, Role::Feature(_)) if info.kind == Kind::Text => {
                    "a value (DropRow or MostFrequent apply to text)"
                }
                _ => continue,
            };
            return Err(records.error(place(records.line(), &info.name), expected, "a missing one"));
        }
        Ok(keeps)
    }

    /// What a record that is used tells of the kinds and categories.
    pub fn learn<R: Read>(&mut self, records: &Records<R>, budget: &mut Budget) -> Result<()> {
        for i in 0..self.all.len() {
            if self.all[i].role == Role::Ignored || self.all[i].kind == Kind::Number {
                continue;
            }
            let Some(text) = self.value(records, i)? else { continue };
            let info = &mut self.all[i];
            if info.kind == Kind::Unknown {
                info.kind = if number(text).is_some() { Kind::Number } else { Kind::Text };
            }
            if info.kind == Kind::Number || info.codes.contains_key(text) {
                continue;
            }
            let place = place(records.line(), &info.name);
            if info.fixed {
                let known: Vec<_> = info.categories.iter().take(20).map(|name| format!("{name:?}")).collect();
                let more = if info.categories.len() > known.len() { ", ..." } else { "" };
                let expected = format!("one of {}{more}", known.join(", "));
                return Err(records.error(place, expected, format_args!("{text:?}")));
            }
            // Here and in the list that is returned, and tables that double.
            if !budget.take(2 * text.len() + 200) {
                let expected =
                    format_args!("texts that fit in {} bytes (the limit)", budget.limit).to_string();
                return Err(records.error(
                    place,
                    expected,
                    format_args!("{} different ones", info.codes.len()),
                ));
            }
            info.codes.insert(text.into(), 0);
        }
        Ok(())
    }

    /// Numbers the categories in their order.
    pub fn sort(&mut self) {
        for info in &mut self.all {
            if !info.fixed && !info.codes.is_empty() {
                let mut names: Vec<String> = info.codes.keys().map(|name| name.as_ref().to_owned()).collect();
                let numbers = names.iter().all(|name| number(name).is_some());
                let value = |name: &String| if numbers { number(name).unwrap_or(0.0) } else { 0.0 };
                names.sort_unstable_by(|a, b| value(a).total_cmp(&value(b)).then_with(|| a.cmp(b)));
                info.number(names);
            }
        }
    }
}

impl Info {
    fn fix(&mut self, names: &[String]) -> Result<()> {
        self.codes = names.iter().map(|name| (name.as_str().into(), 0)).collect();
        if self.codes.len() != names.len() || names.is_empty() {
            let got = format!("{} texts, {} different", names.len(), self.codes.len());
            return Err(Error::argument("Csv::read", "classes", "different texts, at least one", got));
        }
        self.fixed = true;
        self.number(names.to_vec());
        Ok(())
    }

    fn number(&mut self, names: Vec<String>) {
        for (code, name) in names.iter().enumerate() {
            self.codes.insert(name.as_str().into(), code as u32);
        }
        self.categories = names;
    }

    /// The position of a text among the categories.
    pub fn code(&self, text: &str) -> Option<u32> {
        self.codes.get(text).copied()
    }
}

pub fn place(line: u64, name: &str) -> String {
    format!("line {line}, column {name:?}")
}
