//! Headers, sizes and words that do not stay.

use crate::{check, files};

const FILE_LINES_MAX: usize = 600;

#[test]
fn every_source_opens_with_its_promise() {
    let findings: Vec<String> = files(".rs")
        .iter()
        .filter(|source| !source.is_test() && !source.text.starts_with("//!"))
        .map(|source| format!("{}: open it with a //! header", source.path))
        .collect();
    check("a file opens with a header", &findings);
}

#[test]
fn no_source_is_longer_than_a_person_reads() {
    let findings: Vec<String> = files(".rs")
        .iter()
        .map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(source, lines)| {
            format!("{}: {lines} lines, at most {FILE_LINES_MAX}; split it", source.path)
        })
        .collect();
    check("files stay short", &findings);
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let words = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];
    let findings: Vec<String> = files(".rs")
        .iter()
        .flat_map(|source| {
            let hits = words.iter().filter(|word| source.text.contains(**word));
            hits.map(|word| format!("{}: {word}", source.path)).collect::<Vec<_>>()
        })
        .collect();
    check("what is not built is refused with a sentence", &findings);
}

#[test]
fn libraries_do_not_print() {
    let findings: Vec<String> = files(".rs")
        .iter()
        .filter(|s| {
            !s.is_test() && ["ingest/", "engine/", "queries/"].iter().any(|l| s.path.starts_with(l))
        })
        .filter(|s| !s.path.contains("/examples/"))
        .filter(|s| s.text.contains("println!(") || s.text.contains("eprint!("))
        .map(|s| format!("{}: use tracing", s.path))
        .collect();
    check("libraries do not print", &findings);
}

#[test]
fn every_sql_file_is_served_by_the_catalog() {
    let code: String = files(".rs").into_iter().filter(|s| !s.is_test()).map(|s| s.text).collect();
    let findings: Vec<String> = files(".sql")
        .iter()
        .filter(|source| source.path.starts_with("queries/"))
        .filter(|source| {
            let name = source.path.rsplit('/').next().unwrap_or(&source.path);
            !code.contains(&format!("{name}\""))
        })
        .map(|source| format!("{}: no code includes it", source.path))
        .collect();
    check("a shipped SQL file is listed where it is used", &findings);
}
