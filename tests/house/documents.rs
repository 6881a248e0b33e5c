//! ARCHITECTURE.md tells the truth: each invariant names a guard that is there.

use crate::{check, files, read, root};

/// The invariants of the design; each has a row in the table.
const INVARIANTS: [&str; 18] = [
    "L1", "L2", "L3", "L4", "L5", "D1", "D2", "D3", "S1", "S2", "S3", "S4", "S5", "A1", "A2", "A3",
    "Q1", "Q2",
];

/// Rows `| id | sentence | guards |` of the table of invariants.
fn rows() -> Vec<(String, String)> {
    let text = read(root().join("docs/ARCHITECTURE.md")).text;
    text.lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let known = cells.len() == 5 && INVARIANTS.contains(&cells[1]);
            known.then(|| (cells[1].to_owned(), cells[3].to_owned()))
        })
        .collect()
}

#[test]
fn every_invariant_is_in_the_architecture() {
    let rows = rows();
    let findings: Vec<String> = INVARIANTS
        .iter()
        .filter(|id| !rows.iter().any(|(row, _)| row == *id))
        .map(|id| format!("docs/ARCHITECTURE.md has no row for {id}"))
        .collect();
    check("invariants are written down", &findings);
}

#[test]
fn every_invariant_names_a_guard_that_exists() {
    let sources = files(".rs");
    let mut findings = Vec::new();
    for (id, guards) in rows() {
        let named: Vec<&str> = guards.split('`').skip(1).step_by(2).collect();
        let absent = guards.contains("absent on purpose") || guards.contains("not yet");
        if named.is_empty() && !absent {
            findings.push(format!("{id}: no guard is named"));
        }
        for guard in named {
            let path = sources.iter().any(|s| s.path == guard);
            let text = sources
                .iter()
                .any(|s| s.path != "tests/house/documents.rs" && s.text.contains(guard));
            if !path && !text {
                findings.push(format!("{id}: the guard `{guard}` is neither a file nor in one"));
            }
        }
    }
    check("invariants have guards", &findings);
}

#[test]
fn the_readme_names_the_commands_that_ci_runs() {
    let readme = read(root().join("README.md")).text;
    for command in ["cargo run --release -- demo", "cargo test --workspace"] {
        assert!(readme.contains(command), "README.md should name `{command}`");
    }
}
