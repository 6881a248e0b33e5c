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
mod header;
mod line;
mod replayed;
#[cfg(debug_assertions)]
#[path = "../simulation/rules.rs"]
mod rules;
#[cfg(debug_assertions)]
mod sabotage;
mod scribe;
mod span;
mod statements;
mod system;
mod table;
mod ways;
mod windows;
mod world;

use case::Case;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cases run at once.
const THREADS: usize = 2;

#[test]
fn every_case_holds_in_all_its_ways() {
    let cases = found();
    assert!(!cases.is_empty(), "no case matches");
    let bless = std::env::var("WEIR_BLESS").is_ok_and(|bless| bless == "1");
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(path) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let run = catch_unwind(AssertUnwindSafe(|| one(path, bless)));
                    let found = run.unwrap_or_else(|panic| vec![said(panic.as_ref())]);
                    let name = path.strip_prefix(directory()).unwrap_or(path).display();
                    let found = found.into_iter().map(|failure| format!("{name}: {failure}"));
                    failures.lock().expect("no thread panics with it").extend(found);
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no thread panics with it");
    failures.sort();
    println!("{} cases", cases.len());
    assert!(failures.is_empty(), "{} failures:\n\n{}", failures.len(), failures.join("\n"));
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

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a panic: {}", text.unwrap_or("without a message"))
}

/// Seeds of windows held against a batch.
const WINDOW_SEEDS: u64 = 600;

#[test]
fn every_emitted_window_equals_the_batch_query_over_the_rows_not_late_for_it() {
    let given = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = given.map_or(0..WINDOW_SEEDS, |seed: u64| seed..seed + 1);
    let (mut windows, mut late, mut dense) = (0, 0, 0);
    let mut violations = Vec::new();
    for seed in seeds {
        match windows::run(seed) {
            Ok(compared) => {
                windows += compared.windows;
                late += compared.late;
                dense += compared.dense;
            }
            Err(violation) => violations.push(format!("WEIR_SEED={seed}: {violation}")),
        }
    }
    assert!(violations.is_empty(), "{}:\n{}", violations.len(), violations.join("\n"));
    println!("{windows} rows of windows, {late} late readings, {dense} rules on the dense path");
    if given.is_none() {
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
