//! The house rules a program can check: direction of dependencies, headers, sizes, versions, guards.
//!
//! Promise: each rule names the file that breaks it and what to do about it.

#![allow(clippy::disallowed_methods, reason = "reads the sources, not the log")]

mod directions;
mod documents;
mod manifests;
mod sources;

use std::path::{Path, PathBuf};

/// The checkout.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Directories of the house that hold sources.
const ROOMS: [&str; 6] = ["src", "ingest", "engine", "queries", "tests", "benches"];

/// A file with its path from the root.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("tests.rs")
    }
}

/// All files below the rooms whose name ends with `suffix`, by path.
fn files(suffix: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for room in ROOMS {
        walk(&root().join(room), suffix, &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(directory: &Path, suffix: &str, found: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                walk(&path, suffix, found);
            }
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(read(path));
        }
    }
}

fn read(path: PathBuf) -> Source {
    let text = std::fs::read_to_string(&path).expect("a source is UTF-8");
    let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
    Source { path, text }
}

/// Fails with one line a finding.
fn check(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
