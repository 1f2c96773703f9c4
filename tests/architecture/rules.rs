//! The rules, and who may use whom.

use super::scan::{self, Found, Kind, Token};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A file of `src/`, its path with forward slashes.
pub struct File {
    pub path: String,
    pub source: String,
}

/// What stands beside the layers and may be used by all of them.
const EVERYWHERE: [&str; 7] = ["error", "context", "environment", "file", "rng", "runtime", "state"];

/// Who may use which others, besides itself and [`EVERYWHERE`]. `engine::source` is that folder's one public
/// face for data. A module that is not here is a decision that nobody wrote down.
const ARROWS: [(&str, &[&str]); 16] = [
    ("error", &[]),
    ("environment", &[]),
    // Knows bytes, no tensors and no layers.
    ("file", &[]),
    ("context", &["simd", "parallel"]),
    ("rng", &["simd", "kernel", "parallel"]),
    ("runtime", &["simd", "kernel", "parallel"]),
    ("state", &["kernel"]),
    ("parallel", &[]),
    ("simd", &[]),
    ("kernel", &["simd", "parallel"]),
    ("tensor", &["simd", "kernel", "parallel"]),
    ("engine", &["simd", "kernel", "parallel", "tensor"]),
    ("data", &["kernel", "parallel", "tensor", "engine::source"]),
    // A model is told its optimiser; an optimiser knows no model.
    ("nn", &["simd", "kernel", "parallel", "tensor", "engine", "optim"]),
    ("optim", &["simd", "kernel", "parallel", "tensor", "engine"]),
    ("train", &["simd", "kernel", "parallel", "tensor", "engine", "data", "nn", "optim"]),
];

/// What `crate::engine` gives of `engine::source` under a shorter name.
const SOURCE_NAMES: [&str; 3] = ["source", "BatchSource", "TargetKind"];

/// Where `unsafe` may stand: whole folders end with a slash.
const UNSAFE: [&str; 18] = [
    "simd/",
    "parallel/",
    // The register tile of convolutions: pointers, checked once a tile.
    "kernel/conv/microkernel.rs",
    "kernel/gemm/view.rs",
    "kernel/gemm/pack.rs",
    "kernel/gemm/microkernel.rs",
    "kernel/gemm/driver.rs",
    "kernel/gemm/epilogue.rs",
    // Calls other libraries with pointers.
    "kernel/gemm/backend.rs",
    "kernel/gemm/small.rs",
    "kernel/gemm/stream.rs",
    // Runs single tiles of the driver, to see which elements each owns.
    "kernel/gemm/tests.rs",
    "tensor/buffer.rs",
    "engine/arena.rs",
    "engine/check.rs",
    // Gives functions their slices of the shared arrays.
    "engine/invoke.rs",
    "engine/run.rs",
    "engine/skip.rs",
];

/// The one file that knows rayon, and its unit tests, which build pools.
const RAYON: [&str; 2] = ["parallel/mod.rs", "parallel/tests.rs"];

/// Where `feature = "rayon"` may be asked: where it decides, and where it is reported.
const RAYON_FEATURE: [&str; 2] = ["parallel/", "runtime.rs"];

/// Other libraries for products: the one file that knows each, and where their features may be asked. What a context
/// chooses must mean the same in every build.
const LIBRARIES: [&str; 2] = ["matrixmultiply", "cblas_sys"];
const LIBRARY_FEATURES: [&str; 2] = ["matrixmultiply", "cblas"];
const LIBRARY_CALLS: &str = "kernel/gemm/backend.rs";
const LIBRARY_CHOICE: [&str; 2] = ["context.rs", LIBRARY_CALLS];

/// Lines of a file.
const LONGEST: usize = 600;

/// What prints. The library never does: progress, logging and plots are callbacks.
const PRINTING_MACROS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];
const PRINTING_CALLS: [&str; 2] = ["stdout", "stderr"];

/// All `.rs` files below a folder, in order.
pub fn read(src: &Path) -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![src.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                let relative = path.strip_prefix(src).unwrap();
                let parts: Vec<_> = relative.iter().map(|part| part.to_str().unwrap()).collect();
                files.push(File { path: parts.join("/"), source });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Everything in these files that breaks a rule, one line each.
pub fn violations(files: &[File]) -> Vec<String> {
    let root = files.iter().find(|file| file.path == "lib.rs").map(|file| Root::of(&file.source));
    let root = root.unwrap_or_default();
    let mut found = Vec::new();
    for file in files {
        let tokens = scan::tokens(&file.source);
        let mut report = |line: usize, what: String| found.push(format!("src/{}:{line}: {what}", file.path));
        imports(file, &tokens, &root, &mut report);
        words(file, &tokens, &mut report);
        prints(file, &tokens, &mut report);
        let lines = file.source.lines().count();
        if lines > LONGEST {
            report(lines, format!("{lines} lines: files stay under about {LONGEST}"));
        }
    }
    found
}

fn stands_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path == *place || (place.ends_with('/') && path.starts_with(place)))
}

/// The names that `lib.rs` gives to what lies deeper, and those it declares itself.
#[derive(Default)]
struct Root {
    exported: BTreeMap<String, Vec<String>>,
    declared: Vec<String>,
}

impl Root {
    fn of(source: &str) -> Self {
        let tokens = scan::tokens(source);
        let mut root = Self::default();
        for (at, token) in tokens.iter().enumerate() {
            if token.is_word("use") {
                root.exports(&tokens, at + 1);
            }
            let declares = ["fn", "struct", "enum", "trait", "type", "const", "static"];
            if token.word().is_some_and(|word| declares.contains(&word)) {
                root.declared.extend(tokens.get(at + 1).and_then(Token::word).map(str::to_owned));
            }
        }
        root
    }

    /// `use a::{b, c as d};`: b is a::b, d is a::c.
    fn exports(&mut self, tokens: &[Token], at: usize) {
        let end = at + tokens[at..].iter().take_while(|token| !token.is_mark(';')).count();
        let tokens = &tokens[at..end];
        let mut all = Vec::new();
        scan::tree(tokens, 0, &mut Vec::new(), &mut all);
        for mut path in all {
            path.retain(|segment| !["crate", "self"].contains(&segment.as_str()));
            let Some(last) = path.last() else { continue };
            let rename = tokens.windows(3).find(|it| it[0].is_word(last) && it[1].is_word("as"));
            let name = rename.and_then(|it| it[2].word()).unwrap_or(last).to_owned();
            // `use name;` and what a prelude shows again say nothing new.
            if path.len() == 1 && name == path[0] {
                continue;
            }
            self.exported.entry(name).or_insert(path);
        }
    }

    /// Follows a name of the root to the module that it comes from.
    fn resolve(&self, path: &[String]) -> Vec<String> {
        match self.exported.get(&path[0]) {
            Some(target) => target.iter().chain(&path[1..]).cloned().collect(),
            _ => path.to_vec(),
        }
    }
}

/// The modules that a file is: `kernel/gemm/mod.rs` is kernel, gemm.
fn modules_of(path: &str) -> Vec<String> {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod") || parts == ["lib"] {
        parts.pop();
    }
    parts
}

/// The path from the root of the crate, or `None` if it leaves the crate.
fn absolute(file: &[String], found: &Found) -> Option<Vec<String>> {
    let mut base: Vec<String> = file.iter().chain(&found.modules).cloned().collect();
    let mut rest = found.segments.as_slice();
    match rest[0].as_str() {
        "crate" => {
            base.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        _ => {}
    }
    // `use super::{super::a}` and `{self}` are legal too.
    for segment in rest {
        match segment.as_str() {
            "super" => drop(base.pop()?),
            "self" => {}
            _ => base.push(segment.clone()),
        }
    }
    Some(base)
}

fn imports(file: &File, tokens: &[Token], root: &Root, report: &mut impl FnMut(usize, String)) {
    let modules = modules_of(&file.path);
    // lib.rs and the prelude show everything.
    let Some(layer) = modules.first().filter(|layer| *layer != "prelude") else { return };
    let Some((_, arrows)) = ARROWS.iter().find(|(name, _)| name == layer) else {
        return report(
            1,
            format!("`{layer}` is in no layer: add it to ARROWS in tests/architecture/rules.rs"),
        );
    };
    for found in scan::paths(tokens) {
        let written = found.segments.join("::");
        let Some(path) = absolute(&modules, &found) else {
            report(found.line, format!("`{written}` leads out of the crate"));
            continue;
        };
        if path.is_empty() || path[0] == "*" {
            report(found.line, format!("`{written}` is the whole crate: name what is used"));
            continue;
        }
        let path = root.resolve(&path);
        let target = path[0].as_str();
        let source = target == "engine" && path.get(1).is_some_and(|it| SOURCE_NAMES.contains(&it.as_str()));
        let allowed = target == layer
            || EVERYWHERE.contains(&target) && layer != "error"
            || arrows.contains(&target)
            || source && arrows.contains(&"engine::source")
            || root.declared.iter().any(|name| name == target);
        if !allowed {
            let what = if ARROWS.iter().any(|(name, _)| *name == target) {
                format!("`{layer}` may not use `{target}` (`{written}`)")
            } else {
                format!("`{written}`: cannot tell which layer `{target}` is in: use the path of its module")
            };
            report(found.line, what);
        }
    }
    for (at, token) in tokens.iter().enumerate() {
        let follows = |ahead: usize, word: &str| tokens.get(at + ahead).is_some_and(|it| it.is_word(word));
        let marked = |ahead: usize, mark| tokens.get(at + ahead).is_some_and(|it| it.is_mark(mark));
        if token.is_word("extern") && follows(1, "crate") {
            report(token.line, "`extern crate` hides where a path leads".to_owned());
        }
        if token.is_mark('[') && follows(1, "path") && marked(2, '=')
            || token.is_word("include") && marked(1, '!')
        {
            report(
                token.line,
                "the module tree is the folder tree: no `path` attribute, no `include!`".to_owned(),
            );
        }
    }
}

fn words(file: &File, tokens: &[Token], report: &mut impl FnMut(usize, String)) {
    for (at, token) in tokens.iter().enumerate() {
        if token.is_word("unsafe") && !stands_in(&file.path, &UNSAFE) {
            report(token.line, "`unsafe` stands only in the files that ARCHITECTURE.md lists".to_owned());
        }
        let is_rayon = token.word().is_some_and(|word| word == "rayon" || word == "rayon_core");
        if is_rayon && !stands_in(&file.path, &RAYON) {
            report(token.line, format!("only src/{} knows rayon", RAYON[0]));
        }
        if token.word().is_some_and(|word| LIBRARIES.contains(&word)) && file.path != LIBRARY_CALLS {
            report(token.line, format!("only src/{LIBRARY_CALLS} knows other libraries for products"));
        }
        let asks = |feature: &str| {
            token.is_word("feature")
                && tokens.get(at + 1).is_some_and(|it| it.is_mark('='))
                && tokens.get(at + 2).is_some_and(|it| it.kind == Kind::Text(feature.to_owned()))
        };
        if asks("rayon") && !stands_in(&file.path, &RAYON_FEATURE) {
            report(token.line, "the feature `rayon` is decided in src/parallel/".to_owned());
        }
        if LIBRARY_FEATURES.into_iter().any(asks) && !stands_in(&file.path, &LIBRARY_CHOICE) {
            report(token.line, "features for products are decided in src/context.rs".to_owned());
        }
    }
}

/// Unit tests may print.
fn prints(file: &File, tokens: &[Token], report: &mut impl FnMut(usize, String)) {
    if file.path.ends_with("/tests.rs") || file.path.contains("/tests/") {
        return;
    }
    let tokens = scan::without_tests(tokens);
    for pair in tokens.windows(2) {
        let Some(word) = pair[0].word() else { continue };
        let prints = PRINTING_MACROS.contains(&word) && pair[1].is_mark('!')
            || PRINTING_CALLS.contains(&word) && pair[1].is_mark('(');
        if prints {
            report(pair[0].line, format!("`{word}`: the library never prints"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "
        mod error; pub mod kernel; mod runtime;
        pub use error::{Error, Result};
        pub use kernel::{Element, gemm::{self, MatRef as View}};
        pub use nn::Sequential;
        pub use train::fit as train_all;
        pub mod prelude { pub use crate::{Error, Sequential, engine::BatchSource}; }
        const LIMIT: usize = 1;
    ";

    fn check(path: &str, source: &str) -> Vec<String> {
        let file = |path: &str, source: &str| File { path: path.to_owned(), source: source.to_owned() };
        violations(&[file("lib.rs", LIB), file(path, source)])
    }

    #[track_caller]
    fn good(path: &str, source: &str) {
        assert_eq!(check(path, source), Vec::<String>::new(), "{path}: {source}");
    }

    #[track_caller]
    fn bad(path: &str, source: &str, what: &str) {
        let found = check(path, source);
        assert!(
            found.len() == 1 && found[0].contains(what),
            "{path}: {source}: found {found:?}, not {what:?}"
        );
    }

    #[test]
    fn arrows_to_the_left_are_good() {
        good(
            "kernel/math.rs",
            "use crate::simd::{Simd, Vector}; use crate::error::Result; use super::loops;",
        );
        good(
            "kernel/gemm/mod.rs",
            "use super::Element; use super::super::simd::Simd; use crate::parallel::run;",
        );
        good("kernel/element.rs", "mod sealed { use super::{Elementary, super::math}; }");
        good("context.rs", "use crate::simd::Selected; mod tests { use super::*; }");
        good("train/fit.rs", "use crate::{data::Dataset, nn::{self, Sequential}, optim::*, LIMIT};");
        good("nn/model.rs", "use crate::optim::Optimizer;");
        good("nn/dense.rs", "impl crate::engine::Layer<crate::tensor::Tensor<f32>> for super::Dense {}");
        good("data/idx.rs", "use crate::engine::{BatchSource, source::TargetKind}; use crate::rng::Rng;");
        good("engine/run.rs", "use crate::{Element, Error, gemm, View, context::Context};");
        good("lib.rs", "mod train; pub use train::fit; use crate::nn;");
        good("engine/mod.rs", "use self::plan::Plan; // not crate::train\nconst A: &str = \"crate::nn\";");
        good("prelude.rs", "pub use crate::{nn, train};");
    }

    #[test]
    fn arrows_to_the_right_are_found() {
        bad("simd/mod.rs", "use crate::kernel::math;", "`simd` may not use `kernel`");
        bad("kernel/math.rs", "use crate::tensor::Tensor;", "`kernel` may not use `tensor`");
        bad("kernel/gemm/driver.rs", "fn f() { super::super::super::tensor::g() }", "may not use `tensor`");
        bad("kernel/math.rs", "mod tests { use super::super::super::nn::X; }", "may not use `nn`");
        bad("tensor/mod.rs", "use crate::{error::Error, kernel, engine::Plan};", "may not use `engine`");
        bad("nn/dense.rs", "use crate::train;", "`nn` may not use `train`");
        bad("optim/sgd.rs", "use crate::nn::Sequential;", "`optim` may not use `nn`");
        bad("optim/sgd.rs", "fn f(x: &crate::train::Fit) {}", "`optim` may not use `train`");
        bad("engine/mod.rs", "use crate::data::Dataset;", "`engine` may not use `data`");
        bad("data/idx.rs", "use crate::engine::{BatchSource, Plan};", "`data` may not use `engine`");
        bad("data/idx.rs", "use crate::simd::Simd;", "`data` may not use `simd`");
        bad("parallel/team.rs", "use crate::kernel;", "`parallel` may not use `kernel`");
        bad("error.rs", "use crate::context::Context;", "`error` may not use `context`");
        bad("kernel/math.rs", "macro_rules! m { () => { $crate::nn::x!() } }", "may not use `nn`");
    }

    #[test]
    fn a_detour_over_the_root_is_found() {
        bad("kernel/math.rs", "use crate::Sequential;", "`kernel` may not use `nn` (`crate::Sequential`)");
        bad("kernel/math.rs", "use crate::train_all;", "may not use `train`");
        bad("simd/mod.rs", "use crate::View;", "`simd` may not use `kernel`");
        bad("simd/avx2.rs", "use super::super::Element;", "(`super::super::Element`)");
        bad("kernel/math.rs", "use crate::prelude::Error;", "cannot tell");
        bad("kernel/math.rs", "use crate::Unheard;", "cannot tell");
        bad("kernel/math.rs", "use crate::*;", "whole crate");
        bad("kernel/mod.rs", "use super::*;", "whole crate");
        bad("kernel/math.rs", "use crate as root;", "whole crate");
        bad("kernel/mod.rs", "use super as root;", "whole crate");
        bad("kernel/mod.rs", "use super::{self as root};", "whole crate");
        bad("kernel/mod.rs", "use super::super::x;", "out of the crate");
        bad("kernel/mod.rs", "extern crate self as me;", "extern crate");
        bad("kernel/mod.rs", "#[path = \"../nn/x.rs\"] mod x;", "folder tree");
        bad("kernel/mod.rs", "include!(\"../nn/x.rs\");", "folder tree");
        good("kernel/mod.rs", "#![doc = include_str!(\"x.md\")]");
        bad("surprise/mod.rs", "", "`surprise` is in no layer");
    }

    #[test]
    fn other_libraries_are_known_in_one_file() {
        good("kernel/gemm/backend.rs", "#[cfg(feature = \"cblas\")] const F: F = cblas_sys::cblas_sgemm;");
        good("kernel/gemm/backend.rs", "#[cfg(feature = \"matrixmultiply\")] use matrixmultiply::sgemm;");
        good(
            "context.rs",
            "const A: [bool; 2] = [cfg!(feature = \"cblas\"), cfg!(feature = \"matrixmultiply\")];",
        );
        bad("kernel/gemm/mod.rs", "use matrixmultiply::dgemm;", "other libraries");
        bad("engine/run.rs", "fn f() { cblas_sys::cblas_sgemm(); }", "other libraries");
        bad("kernel/gemm/mod.rs", "#[cfg(feature = \"cblas\")] fn f() {}", "src/context.rs");
        bad("runtime.rs", "const A: bool = cfg!(feature = \"matrixmultiply\");", "src/context.rs");
    }

    #[test]
    fn rayon_is_known_in_one_file() {
        good("parallel/mod.rs", "use rayon::spawn;");
        good("parallel/tests.rs", "use rayon::ThreadPoolBuilder;");
        good("parallel/team.rs", "// free of rayon\n#[cfg(feature = \"rayon\")] fn f() {}");
        good("runtime.rs", "const THREADS: bool = cfg!(feature = \"rayon\");");
        good("nn/dense.rs", "/// Runs in rayon's pool.\nconst A: &str = \"rayon\";");
        bad("parallel/team.rs", "fn f() { rayon::join(a, b) }", "knows rayon");
        bad("kernel/math.rs", "use {rayon::prelude::*};", "knows rayon");
        bad("kernel/math.rs", "use r#rayon as r;", "knows rayon");
        bad("kernel/math.rs", "#[cfg(any(test, feature = \"rayon\"))] fn f() {}", "feature `rayon`");
    }

    #[test]
    fn unsafe_stands_in_its_files() {
        for place in
            ["simd/avx2.rs", "parallel/mod.rs", "kernel/gemm/driver.rs", "tensor/buffer.rs", "engine/run.rs"]
        {
            good(place, "unsafe { f() }");
        }
        good("kernel/math.rs", "#![forbid(unsafe_code)] // unsafe\nconst A: &str = r#\"unsafe\"#;");
        bad("kernel/math.rs", "fn f() {\n    unsafe { g() }\n}", "src/kernel/math.rs:2: `unsafe`");
        bad("kernel/gemm/blocking.rs", "unsafe impl Send for A {}", "`unsafe`");
        bad("tensor/mod.rs", "#[unsafe(no_mangle)] fn f() {}", "`unsafe`");
        bad("engine/plan.rs", "mod tests { /* ' */ unsafe fn f() {} }", "`unsafe`");
    }

    #[test]
    fn printing_is_found() {
        good("train/fit.rs", "//! println!(\"x\")\nlet print = 1; // eprintln!()");
        good("train/fit.rs", "#[cfg(test)] mod tests { fn f() { println!(\"{}\", 1) } }");
        good("nn/tests.rs", "println!()");
        bad("train/fit.rs", "fn f() { println!(\"x\") }", "`println`");
        bad("train/fit.rs", "fn f() { std::eprint!(\"x\") }", "`eprint`");
        bad("train/fit.rs", "fn f() { writeln!(std::io::stdout(), \"x\") }", "`stdout`");
        bad("train/fit.rs", "fn f() { dbg!(1) } #[cfg(test)] mod tests { fn f() { dbg!(1) } }", "`dbg`");
    }

    #[test]
    fn long_files_are_found() {
        good("nn/dense.rs", &"\n".repeat(600));
        bad("nn/dense.rs", &"\n".repeat(601), "601 lines");
    }
}
