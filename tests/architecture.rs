//! The layers of `src/` stand as ARCHITECTURE.md draws them: every import points to the left.
//!
//! Reads the sources as text. [`scan`] turns a file into identifiers, string literals and punctuation, without
//! comments, so a word in a comment or in a message is not an import. It does not expand macros: a path that a
//! macro glues together would be missed.

#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/scan.rs"]
mod scan;

use std::path::Path;

#[test]
fn the_tree_keeps_to_its_layers() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rules::read(&src);
    assert!(files.iter().any(|file| file.path == "lib.rs"), "{} has no lib.rs", src.display());
    let found = rules::violations(&files);
    assert!(found.is_empty(), "{} in {}:\n{}", found.len(), src.display(), found.join("\n"));
}
