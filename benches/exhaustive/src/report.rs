//! The table, in the terminal and in a record.

use crate::measure::{Found, Machine, Worst};
use crate::oracle::{Row, Unit};
use crate::{Options, machine};
use gemmule::kernel::Accuracy;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::Duration;

/// Prints lines as they come, to the record too, so that a run that is cut off leaves what it found.
pub struct Report {
    record: Option<File>,
    failures: Vec<String>,
    functions: usize,
    seconds: f64,
}

impl Report {
    /// The head of the table.
    pub fn begin(options: &Options, machine: &Machine) -> Result<Self, String> {
        let record = match &options.record {
            Some(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                Some(file.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            None => None,
        };
        let mut report = Self { record, failures: Vec::new(), functions: 0, seconds: 0.0 };
        let which = match options.stride {
            1 => "all 2^32 inputs".to_owned(),
            stride => format!("one input of {stride}, and all edges"),
        };
        let isas: Vec<&str> = machine.fused.iter().map(|context| context.isa().name()).collect();
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let library = gemmule::runtime_info().map_err(|error| error.to_string())?.to_string();
        let library = library.lines().next().unwrap_or_default();
        report.line(&format!("## f32 functions of one number: {which}\n"))?;
        report.line(&format!("Machine: {}.", machine::describe()))?;
        report.line(&format!("Date: {}. Revision: {}.", machine::date(), machine::revision()))?;
        report.line(&format!("Runtime: {library}. Oracle: core-math {}.", core_math_version()))?;
        report.line(&format!("Arguments: `{}`\n", arguments.join(" ")))?;
        report.line(&format!(
            "Fused: {} and the scalar twin, compared bit for bit, NaN as one class. An error is the largest of all inputs, in ULP \
             of the exact result (2^-149 for subnormal ones); of a derivative with *, in ULP or 2^-24 of the largest |f'|, whichever \
             is larger. Stated: by the crate's documentation. Allowed: by the project.\n",
            isas.join(", ")
        ))?;
        report.line("| function | fused | at | stated | portable | at | stated | allowed | bits of the fused | hash, fused | hash, portable | s |")?;
        report.line("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
        Ok(report)
    }

    /// A function's row.
    pub fn function(
        &mut self,
        row: &Row,
        stated: &Accuracy,
        found: &Found,
        took: Duration,
    ) -> Result<(), String> {
        self.functions += 1;
        self.seconds += took.as_secs_f64();
        let star = if row.unit == Unit::Ulp { "" } else { "*" };
        let cells =
            |worst: &Worst| (format!("{:.4}{star}", worst.error), format!("{:e}", f32::from_bits(worst.at)));
        let (fused, fused_at) = found.fused.as_ref().map_or(("-".into(), "-".into()), cells);
        let (portable, portable_at) = cells(&found.portable);
        let bits =
            if found.different == 0 { "same".to_owned() } else { format!("{} DIFFER", found.different) };
        let fused_hash = found.fused_hash.map_or("-".to_owned(), |hash| format!("{hash:016x}"));
        self.line(&format!(
            "| {} | {fused} | {fused_at} | {} | {portable} | {portable_at} | {} | {} | {bits} | {fused_hash} | {:016x} | {:.1} |",
            row.name,
            stated.fused,
            stated.portable,
            row.allowed,
            found.portable_hash,
            took.as_secs_f64(),
        ))?;
        let checks = [
            ("fused", found.fused, stated.fused, row.allowed),
            // Two roundings where the other sets have one: what is stated is all that is asked.
            ("portable", Some(found.portable), stated.portable, f64::INFINITY),
        ];
        for (name, worst, stated, allowed) in checks {
            let Some(worst) = worst else { continue };
            let at = format!("{:#010x}", worst.at);
            // Written so that NaN fails.
            if worst.error.is_nan() || worst.error > stated {
                self.failures.push(format!("{}, {name}: {} at {at}, stated {stated}", row.name, worst.error));
            }
            if worst.error.is_nan() || worst.error > allowed {
                self.failures
                    .push(format!("{}, {name}: {} at {at}, allowed {allowed}", row.name, worst.error));
            }
        }
        self.failures.extend(found.differences.iter().cloned());
        if found.different > found.differences.len() as u64 {
            self.failures.push(format!("{}: {} differences in all", row.name, found.different));
        }
        Ok(())
    }

    /// What the oracle's errors are, and what failed. True if nothing did.
    pub fn end(mut self, rows: &[Row]) -> Result<bool, String> {
        let bound = rows.iter().map(Row::bound).fold(0.0, f64::max);
        let failures = std::mem::take(&mut self.failures);
        self.line(&format!(
            "\n{} functions in {:.0} s. The oracle's own error is at most {bound:.1e} of the unit. Failures: {}.",
            self.functions,
            self.seconds,
            failures.len()
        ))?;
        for failure in &failures {
            self.line(&format!("- FAILED: {failure}"))?;
        }
        self.line("")?;
        // The line that says how a run of tests went.
        println!("{} passed, {} failed", self.functions - self.functions.min(failures.len()), failures.len());
        Ok(failures.is_empty())
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")
            .and_then(|()| out.flush())
            .map_err(|error| format!("cannot print: {error}"))?;
        match &mut self.record {
            Some(file) => writeln!(file, "{line}").map_err(|error| format!("the record: {error}")),
            None => Ok(()),
        }
    }
}

/// The version that was compiled in: this package's lock file says it.
fn core_math_version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let rest = lock.split("name = \"core-math\"\nversion = \"").nth(1);
    rest.and_then(|rest| rest.split('"').next()).unwrap_or("of unknown version")
}
