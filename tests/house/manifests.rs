//! Versions stand once; the crates form one straight line.

use crate::{check, read, root};

/// Each crate with the crates of the house it may use.
const LINE: [(&str, &[&str]); 4] = [
    ("ingest", &[]),
    ("engine", &["weir-ingest"]),
    ("queries", &["weir-ingest", "weir-engine"]),
    (".", &["weir-ingest", "weir-engine", "weir-queries"]),
];

fn manifest(of: &str) -> String {
    read(root().join(of).join("Cargo.toml")).text
}

/// The dependency lines of a manifest: (section, line).
fn dependencies(manifest: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        } else if section.ends_with("dependencies") && !line.is_empty() && !line.starts_with('#') {
            found.push((section.clone(), line.to_owned()));
        }
    }
    found
}

#[test]
fn crates_depend_in_one_straight_line() {
    let mut findings = Vec::new();
    for (name, allowed) in LINE {
        for (section, line) in dependencies(&manifest(name)) {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or("");
            let ours = dependency.starts_with("weir-") && section != "workspace.dependencies";
            if ours && !allowed.contains(&dependency) {
                findings
                    .push(format!("{name}/Cargo.toml: {dependency} lies further down the line"));
            }
        }
    }
    check("src -> queries -> engine -> ingest", &findings);
}

#[test]
fn versions_stand_only_in_the_root_manifest() {
    let mut findings = Vec::new();
    for (name, _) in LINE {
        for (section, line) in dependencies(&manifest(name)) {
            if section != "workspace.dependencies" && !line.contains("workspace = true") {
                findings.push(format!("{name}/Cargo.toml: '{line}' should say workspace = true"));
            }
        }
        if !manifest(name).contains("[lints]\nworkspace = true") {
            findings.push(format!("{name}/Cargo.toml: lints come from the workspace"));
        }
    }
    check("versions and lints stand once", &findings);
}

#[test]
fn ingest_does_not_know_datafusion() {
    let manifest = manifest("ingest");
    assert!(!manifest.contains("datafusion"), "ingest ends at durability, without a SQL engine");
}
