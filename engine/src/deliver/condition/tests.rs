//! WHERE over an event.

use super::super::event::tests::transition;
use super::*;

fn columns() -> BTreeMap<String, DataType> {
    let column = |name: &str, data_type| (name.to_owned(), data_type);
    BTreeMap::from([
        column("building", DataType::Utf8),
        column("floor", DataType::Utf8),
        column("avg_temp", DataType::Float64),
        column("readings", DataType::Int64),
        column("ok", DataType::Boolean),
        column("note", DataType::Utf8),
        column("elsewhere", DataType::Float64),
    ])
}

fn check(text: &str, expected: bool) {
    let transition = transition("a", "3");
    let mut condition = Condition::new(text, &columns()).unwrap();
    assert_eq!(condition.holds(&transition), Ok(expected), "{text}");
    assert_eq!(condition.holds(&transition), Ok(expected), "{text}, planned before");
    let mut restored = Condition::restored(text, condition.columns().to_vec());
    assert_eq!(restored.holds(&transition), Ok(expected), "{text}, restored");
}

#[test]
fn columns_of_the_event_of_the_key_and_of_the_rule_can_be_asked() {
    for text in [
        "severity = 'high' AND state = 'raised'",
        "severity IN ('high', 'critical')",
        "rule LIKE 'floor%'",
        "building = '41' AND floor = '3'",
        "avg_temp > 20",
        "avg_temp BETWEEN 23 AND 24 AND readings >= 6",
        "ok AND note = 'hot'",
        "subject LIKE '/building/41/%'",
        "time >= TIMESTAMP '2026-01-01T00:00:00Z'",
        "NOT historical AND active AND NOT acknowledged",
        "upper(note) = 'HOT'",
        "elsewhere IS NULL",
        "TRUE",
    ] {
        check(text, true);
    }
    for text in ["severity = 'low'", "avg_temp > 24", "elsewhere > 1", "reason = 'no_data'"] {
        check(text, false);
    }
}

#[test]
fn what_cannot_be_asked_is_refused_at_create() {
    let refused = |text: &str| Condition::new(text, &columns()).map(drop).unwrap_err();
    let ConditionError::UnknownColumn { column, columns } = refused("temprature > 3") else {
        panic!();
    };
    assert_eq!(column, "temprature");
    assert!(columns.contains("avg_temp") && columns.contains("severity"), "{columns}");
    assert!(matches!(refused("avg_temp + 1"), ConditionError::NotBoolean(_)));
    assert!(matches!(refused("time > now()"), ConditionError::Volatile(_)));
    assert!(matches!(refused("random() > 0.5"), ConditionError::Volatile(_)));
    assert!(matches!(refused("max(avg_temp) > 3"), ConditionError::Evaluation(_)));
    assert!(matches!(refused("nosuch(avg_temp)"), ConditionError::Evaluation(_)));
}

#[test]
fn an_event_whose_columns_do_not_suit_is_an_error_of_that_event_only() {
    let mut condition = Condition::new("1 / readings > 0", &columns()).unwrap();
    let mut odd = transition("a", "3");
    odd.values = r#"{"readings":0}"#.to_owned();
    assert!(matches!(condition.holds(&odd), Err(ConditionError::Evaluation(_))));
    odd.values = r#"{"readings":1}"#.to_owned();
    assert_eq!(condition.holds(&odd), Ok(true));
}
