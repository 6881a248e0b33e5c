//! Which event times a filter can still let through.
//!
//! Promise: never narrower than the filter; what is not understood does not narrow at all.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, Operator, TryCast};
use std::fmt;
use weir_ingest::model::reading;

/// Event times from `first` to `last`, both included, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeSpan {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl TimeSpan {
    pub(super) const ALL: Self = Self { first: i64::MIN, last: i64::MAX };

    /// What all of `filters` together let through.
    pub(super) fn of(filters: &[Expr]) -> Self {
        filters.iter().filter_map(span).fold(Self::ALL, Self::and)
    }

    /// Whether `filter` says something about `time` that a scan can use.
    pub(super) fn understands(filter: &Expr) -> bool {
        span(filter).is_some()
    }

    /// Whether some time of `first..=last` is inside.
    pub(super) fn overlaps(self, first: i64, last: i64) -> bool {
        first <= self.last && last >= self.first
    }

    fn and(self, other: Self) -> Self {
        Self { first: self.first.max(other.first), last: self.last.min(other.last) }
    }

    fn or(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let edge = |us: i64| match chrono::DateTime::from_timestamp_micros(us) {
            Some(time) if us != i64::MIN && us != i64::MAX => {
                time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
            }
            _ => "..".to_owned(),
        };
        write!(f, "[{}, {}]", edge(self.first), edge(self.last))
    }
}

fn span(filter: &Expr) -> Option<TimeSpan> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            match (span(left), span(right)) {
                (Some(left), Some(right)) => Some(left.and(right)),
                (one, other) => one.or(other),
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(span(left)?.or(span(right)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if is_time(left) {
                compared(*op, literal_us(right)?)
            } else if is_time(right) {
                compared(op.swap()?, literal_us(left)?)
            } else {
                None
            }
        }
        Expr::Between(between) if !between.negated && is_time(&between.expr) => Some(TimeSpan {
            first: literal_us(&between.low)?.floor,
            last: literal_us(&between.high)?.ceiling,
        }),
        _ => None,
    }
}

fn compared(op: Operator, literal: Literal) -> Option<TimeSpan> {
    let TimeSpan { first, last } = TimeSpan::ALL;
    match op {
        Operator::Eq => Some(TimeSpan { first: literal.floor, last: literal.ceiling }),
        Operator::Gt | Operator::GtEq => Some(TimeSpan { first: literal.floor, last }),
        Operator::Lt => {
            let last =
                if literal.floor == literal.ceiling { literal.floor - 1 } else { literal.ceiling };
            Some(TimeSpan { first, last })
        }
        Operator::LtEq => Some(TimeSpan { first, last: literal.ceiling }),
        _ => None,
    }
}

/// `time`, also behind a cast to another unit (which keeps the order).
fn is_time(expr: &Expr) -> bool {
    match expr {
        Expr::Column(column) => column.name == reading::TIME,
        Expr::Cast(Cast { expr, field }) => is_timestamp(field.data_type()) && is_time(expr),
        Expr::TryCast(TryCast { expr, field }) => is_timestamp(field.data_type()) && is_time(expr),
        _ => false,
    }
}

fn is_timestamp(data_type: &arrow::datatypes::DataType) -> bool {
    matches!(data_type, arrow::datatypes::DataType::Timestamp(..))
}

/// A literal in microseconds, rounded both ways where its unit is finer.
#[derive(Debug, Clone, Copy)]
struct Literal {
    floor: i64,
    ceiling: i64,
}

fn literal_us(expr: &Expr) -> Option<Literal> {
    let exact = |us: Option<i64>| us.map(|us| Literal { floor: us, ceiling: us });
    match expr {
        Expr::Literal(ScalarValue::TimestampMicrosecond(Some(us), _), _) => exact(Some(*us)),
        Expr::Literal(ScalarValue::TimestampSecond(Some(s), _), _) => {
            exact(s.checked_mul(1_000_000))
        }
        Expr::Literal(ScalarValue::TimestampMillisecond(Some(ms), _), _) => {
            exact(ms.checked_mul(1_000))
        }
        Expr::Literal(ScalarValue::TimestampNanosecond(Some(ns), _), _) => {
            let floor = ns.div_euclid(1_000);
            let ceiling = if ns.rem_euclid(1_000) == 0 { floor } else { floor + 1 };
            Some(Literal { floor, ceiling })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::TimeSpan;
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::{Expr, col, lit};

    fn us(value: i64) -> Expr {
        lit(ScalarValue::TimestampMicrosecond(Some(value), Some("UTC".into())))
    }

    fn ns(value: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(value), Some("UTC".into())))
    }

    fn check(filters: &[Expr], first: i64, last: i64) {
        assert_eq!(TimeSpan::of(filters), TimeSpan { first, last });
    }

    #[test]
    fn comparisons_of_time_with_a_literal_narrow_the_span() {
        check(&[col("time").gt_eq(us(10)), col("time").lt(us(20))], 10, 19);
        check(&[us(10).lt_eq(col("time")).and(us(20).gt_eq(col("time")))], 10, 20);
        check(&[col("time").between(us(10), us(20))], 10, 20);
        check(&[col("time").eq(us(10))], 10, 10);
    }

    #[test]
    fn a_finer_unit_is_rounded_outwards() {
        check(&[col("time").gt(ns(10_500)), col("time").lt(ns(20_500))], 10, 21);
    }

    #[test]
    fn or_takes_the_hull_and_only_if_both_sides_are_understood() {
        check(&[col("time").eq(us(10)).or(col("time").eq(us(20)))], 10, 20);
        check(&[col("time").eq(us(10)).or(col("co2").gt(lit(3)))], i64::MIN, i64::MAX);
    }

    #[test]
    fn what_is_not_about_time_does_not_narrow() {
        check(&[col("received_at").gt(us(10))], i64::MIN, i64::MAX);
        assert!(!TimeSpan::understands(&col("co2").gt(lit(3))));
    }
}
