//! What a record says of the machine and the revision.

use std::fs;
use std::process::Command;

/// Model, family, cores and caches, on one line.
pub fn describe() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.trim() == name).map_or("unknown", |(_, value)| value.trim())
    };
    let processors = info.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "{} (family {}, model {}, stepping {}), {processors} processor(s){}",
        field("model name"),
        field("cpu family"),
        field("model"),
        field("stepping"),
        caches()
    )
}

/// The caches of the first processor: `, L1d 32K, L2 1024K, L3 32768K`.
fn caches() -> String {
    let read = |index: usize, file: &str| {
        fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{file}"))
            .map(|text| text.trim().to_owned())
            .ok()
    };
    let mut text = String::new();
    for index in 0.. {
        let Some((level, size)) = read(index, "level").zip(read(index, "size")) else { break };
        match read(index, "type").as_deref() {
            Some("Instruction") => {}
            Some("Data") => text += &format!(", L{level}d {size}"),
            _ => text += &format!(", L{level} {size}"),
        }
    }
    text
}

/// The revision that this was built from, and whether the tree differs from it now.
pub fn revision() -> String {
    let here = env!("CARGO_MANIFEST_DIR");
    let Some(revision) = output(Command::new("git").args(["-C", here, "rev-parse", "--short", "HEAD"]))
    else {
        return "unknown".into();
    };
    // Records are not code.
    let paths = ["--", ":/", ":(top,exclude)benches/records"];
    let clean = output(Command::new("git").args(["-C", here, "status", "--porcelain"]).args(paths));
    if clean.is_some_and(|changes| changes.is_empty()) {
        revision
    } else {
        format!("{revision}, with changes")
    }
}

/// The day, in UTC.
pub fn date() -> String {
    output(Command::new("date").args(["-u", "+%Y-%m-%d"])).unwrap_or_else(|| "unknown".into())
}

/// What a command prints, if it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
