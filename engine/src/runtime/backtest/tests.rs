//! What is refused, and that a test ends when it is told to. What it reports stands in tests/sql.

use super::*;
use crate::sql::{Statement, parse_statements};
use std::path::Path;
use weir_ingest::io::{SimulatedClock, SimulatedDisk};
use weir_ingest::log::LogConfig;

fn test_over_nothing(text: &str, halted: &dyn Fn() -> Option<SqlError>) -> Result<u64, SqlError> {
    let (disk, clock) = (SimulatedDisk::new(1), SimulatedClock::at(1_000_000_000));
    let config = LogConfig::new(Path::new("/weir"));
    let log = Log::open_manual(Arc::new(disk), Arc::new(clock), config).unwrap();
    let references = ReferenceTables::open(Arc::clone(&log)).unwrap();
    for statement in parse_statements(text).unwrap() {
        match statement {
            Statement::CreateStream { definition, .. } => {
                log.create_stream(definition).unwrap();
            }
            Statement::TestRule(test) => {
                return super::test(&log, &references, test, halted).map(|report| report.readings);
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("no test in {text}")
}

const STREAM: &str = "CREATE STREAM t (n DOUBLE) TOPIC '/{a}';";

#[test]
fn over_an_empty_log_there_is_nothing_to_report() {
    let text = format!("{STREAM} TEST RULE (CREATE RULE r RAISE WHEN n > 1 AS SELECT n FROM t)");
    assert_eq!(test_over_nothing(&text, &|| None), Ok(0));
}

#[test]
fn a_rule_that_is_not_there_or_not_right_is_refused_with_the_next_step() {
    let refused = |text: &str| test_over_nothing(text, &|| None).unwrap_err();
    let error = refused("TEST RULE hot");
    assert!(error.message.contains("no rule 'hot'"), "{error}");
    assert!(error.hint.unwrap().contains("TEST RULE (CREATE RULE"));
    let error = refused(&format!("{STREAM} TEST RULE (CREATE RULE r AS SELECT nn FROM t)"));
    assert!(error.message.contains("nn"), "{error}");
}

#[test]
fn a_test_ends_when_it_is_told_to() {
    let text = format!("{STREAM} TEST RULE (CREATE RULE r AS SELECT n FROM t)");
    let halted = test_over_nothing(&text, &|| Some(SqlError::new("enough")));
    assert_eq!(halted.unwrap_err().message, "enough");
}
