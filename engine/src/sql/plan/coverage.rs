//! Where coverage is known: in windows that are worked out by series.

use super::Shape;
use crate::sql::functions::coverage::Counted;
use crate::sql::{RuleStatement, SqlError};
use crate::stream::window::Path;

/// Refuses coverage where it would not be known, with the reason.
pub(super) fn check(rule: &RuleStatement, shape: &Shape) -> Result<(), SqlError> {
    let aggregates = shape.grouping().map(|grouping| grouping.aggregates.as_slice());
    let mut functions = aggregates.unwrap_or_default().iter().map(|a| a.function.fun().name());
    let what = match (rule.coverage, functions.find_map(Counted::of)) {
        (Some(_), _) => "REQUIRE COVERAGE".to_owned(),
        (None, Some(counted)) => format!("{}()", counted.name()),
        (None, None) => return Ok(()),
    };
    let reason = match shape {
        Shape::Windowed(windows) => match &windows.path {
            Path::Dense(_) => return Ok(()),
            Path::General(reason) => reason.clone(),
        },
        Shape::Sessions(_) => "a session is as long as its readings last".to_owned(),
        Shape::PerReading => "it has no window".to_owned(),
    };
    Err(SqlError::new(format!("{what} is not known here: {reason}")).with_hint(
        "coverage is known over TUMBLE and HOP of one stream, grouped by levels of the topic, with count, \
         sum, avg, min and max",
    ))
}
