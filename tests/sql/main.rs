//! Golden cases: what rules say over timed readings, in files that a building operator can read.
//!
//! Promise: every file below `cases/` is run in all the ways its header names, and one bad case hides
//! no other. README.md beside this describes the format. Beside them: random windows held against the
//! same SELECT as a batch (`windows`), and deliberate faults, each of which must be found (`sabotage`).
//! `WEIR_CASE=<part of a path>` runs some of them; `WEIR_BLESS=1` writes what came out into the files,
//! for a person to review.
#![allow(clippy::disallowed_methods, reason = "reads its cases, and writes them when asked to")]

mod case;
mod diff;
#[cfg(debug_assertions)]
#[path = "../log/faults.rs"]
mod faults;
mod header;
mod line;
#[cfg(debug_assertions)]
#[path = "../simulation/removed.rs"]
mod removed;
#[cfg(debug_assertions)]
#[path = "../simulation/oracle.rs"]
mod oracle;
mod replayed;
#[cfg(debug_assertions)]
#[path = "../simulation/rules.rs"]
mod rules;
#[cfg(debug_assertions)]
mod sabotage;
mod scribe;
#[path = "../log/seeds.rs"]
mod seeds;
mod span;
mod statements;
mod system;
mod table;
mod ways;
mod windows;
mod world;

use case::Case;
use seeds::{guarded, on_all_cores, seeds};
use std::path::{Path, PathBuf};

#[test]
fn every_case_holds_in_all_its_ways() {
    let cases = found();
    assert!(!cases.is_empty(), "no case matches");
    let bless = std::env::var("WEIR_BLESS").is_ok_and(|bless| bless == "1");
    let (_, mut failures) = on_all_cores(&cases, |path| {
        let found = guarded(|| Ok(one(path, bless))).unwrap_or_else(|panic| vec![panic]);
        let name = path.strip_prefix(directory()).unwrap_or(path).display();
        let found: Vec<String> =
            found.into_iter().map(|failure| format!("{name}: {failure}")).collect();
        if found.is_empty() { Ok(()) } else { Err(found.join("\n\n")) }
    });
    failures.sort();
    println!("{} cases", cases.len());
    assert!(failures.is_empty(), "{} cases fail:\n\n{}", failures.len(), failures.join("\n"));
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql/cases")
}

fn found() -> Vec<PathBuf> {
    let part = std::env::var("WEIR_CASE").unwrap_or_default();
    let mut found = Vec::new();
    walk(&directory(), &mut found);
    found.retain(|path| path.to_string_lossy().contains(&part));
    found.sort();
    found
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("the cases are there") {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// What does not hold in one file.
fn one(path: &Path, bless: bool) -> Vec<String> {
    if path.extension().is_none_or(|extension| extension != "rule") {
        return vec!["a case is a file <name>.rule".to_owned()];
    }
    let text = std::fs::read_to_string(path).expect("a case is UTF-8");
    let mut case = match Case::parse(&text) {
        Ok(case) => case,
        Err(error) => return vec![error],
    };
    if bless {
        match ways::straight(&case) {
            Ok(got) => case.expected = got,
            Err(error) => return vec![error],
        }
        let blessed = format!("{}{}", case.above, case.expected);
        std::fs::write(path, blessed).expect("the case can be written");
    }
    ways::check(&case)
}

/// Seeds of windows held against a batch.
const WINDOW_SEEDS: u64 = 600;

#[test]
fn every_emitted_window_equals_the_batch_query_over_the_rows_not_late_for_it() {
    let seeds = seeds(WINDOW_SEEDS);
    let (compared, violations) = on_all_cores(&seeds, |seed| {
        windows::run(*seed).map_err(|violation| format!("WEIR_SEED={seed}: {violation}"))
    });
    assert!(violations.is_empty(), "{}:\n{}", violations.len(), violations.join("\n"));
    let (mut windows, mut late, mut dense) = (0, 0, 0);
    for compared in compared {
        windows += compared.windows;
        late += compared.late;
        dense += compared.dense;
    }
    println!("{windows} rows of windows, {late} late readings, {dense} rules on the dense path");
    if seeds.len() as u64 >= WINDOW_SEEDS {
        assert!(windows > 10 * WINDOW_SEEDS && late > WINDOW_SEEDS, "{windows} {late}");
        assert!(dense > WINDOW_SEEDS / 3, "{dense}");
    }
}

#[test]
fn what_is_not_known_in_a_case_is_refused_with_a_sentence() {
    let good = "# holds: x\n# defends: S4\n# ways: straight, restart, partitions, shuffle\n\
                ---- from 2026-01-05T08:00:00Z\nat topic n\n0s /a 1\n----\n";
    assert!(Case::parse(good).is_ok());
    for (from, to, sentence) in [
        ("# holds", "# hold", "'# hold' is not known"),
        ("S4", "S9", "'S9' in '# defends:'"),
        (", shuffle", "", "say why"),
        ("shuffle", "sideways", "'sideways' in '# ways:' is not known"),
        ("straight, ", "", "names straight and restart"),
        ("---- from", "---- since", "write '---- from '"),
        ("\n----\n", "\n", "write one '---- from <instant>'"),
        ("0s /a 1", "now /a 1", "'now' is no time"),
        ("0s /a 1", "0s /a", "1 values for the 2 columns"),
        ("0s /a 1", "5s silence\n0s /a 1", "time does not go back"),
        ("0s /a 1", "0s DROP RULE x", "no ';'"),
        ("at topic n", "at n", "at least 'at' and 'topic'"),
    ] {
        let error = Case::parse(&good.replace(from, to)).expect_err(to);
        assert!(error.contains(sentence), "{to}: {error}");
    }
}

#[test]
fn a_wrong_expectation_is_found_and_shown() {
    let text = "# holds: x\n# defends: P7\n# ways: straight, restart, partitions, shuffle\n\
                CREATE STREAM t (n DOUBLE) TOPIC '/{a}';\n\
                CREATE RULE r AS SELECT n FROM t;\n\
                ---- from 2026-01-05T08:00:00Z\nat topic n\n0s /a 1\n----\nnothing\n";
    let failures = ways::check(&Case::parse(text).expect("it is a case"));
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].contains("- nothing") && failures[0].contains("n=1.0"), "{failures:?}");
}

#[test]
fn a_late_reading_that_claims_every_way_is_found_out() {
    let text = "# holds: x\n# defends: S4\n# ways: straight, restart, partitions, shuffle\n\
                CREATE STREAM t (n DOUBLE) TOPIC '/{a}' WITH (partitions = 1, idle = '1 hour');\n\
                CREATE RULE r AS SELECT count(*) AS n\n\
                FROM TUMBLE(t, DESCRIPTOR(time), size => INTERVAL '1' SECOND)\n\
                GROUP BY window_start, window_end;\n\
                ---- from 2026-01-05T08:00:00Z\nat topic time n\n\
                0s /a 0s 1\n7s /b 7s 1\n8s /c 1s 1\n9s /d 1s 1\n10s /e 10s 1\n----\n";
    let mut case = Case::parse(text).expect("it is a case");
    case.expected = ways::straight(&case).expect("it runs");
    assert!(case.expected.contains("late"), "{}", case.expected);
    let failures = ways::check(&case);
    assert!(failures.iter().any(|f| f.starts_with("shuffled")), "{failures:?}");
    assert!(failures.iter().any(|f| f.starts_with("with 1 and with 4")), "{failures:?}");
}
