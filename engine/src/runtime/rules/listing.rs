//! The rules as tables, and one rule explained.

use super::super::definition::Planned;
use super::super::task::{Progressed, RuleState};
use super::{RuleStatus, Rules, refused};
use crate::deliver::event::rfc3339;
use crate::sql::SqlError;
use crate::sql::plan::{Key, RulePlan, Shape};
use crate::stream::window::Path;
use arrow::array::{
    ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt32Array, UInt64Array,
};
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::model::EventTime;

impl Rules {
    /// EXPLAIN RULE: how it is evaluated, and its plan.
    /// # Errors
    /// There is no such rule.
    pub fn explain(&self, name: &str) -> Result<RecordBatch, SqlError> {
        let rule = self.get(name)?;
        let mut lines = vec![("rule", rule.stored.text.clone())];
        if rule.stored.replaces.is_some() {
            lines.push(("version", version(&rule.stored, rule.progressed().version)));
        }
        if let Some(planned) = rule.planned() {
            lines.push(("evaluated", describe(planned)));
            if let Some(into) = &planned.plan.into {
                let template = into.stream.template().as_str();
                lines.push(("writes", format!("the stream '{}', {template}", into.stream.name())));
            }
            for latest in &planned.plan.latest {
                let name = planned.plan.streams[latest.stream].name();
                let how = "of each series the newest value that precedes the reading";
                lines.push(("looks up", format!("latest.{name}: {how}")));
            }
            let mut below = planned.plan.nested.as_ref();
            while let Some(nested) = below {
                lines.push(("over rows", describe_shape(&nested.inner)));
                below = nested.inner.nested.as_ref();
            }
            if let Shape::Windowed(aggregation) = &planned.plan.shape {
                lines.push(("path", describe_path(&aggregation.path)));
            }
            lines.push(("state", self.state_of(planned)));
            lines.push(("key", describe_key(planned)));
            if let Some(predicate) = &planned.statement.suppress {
                lines.push(("suppressed", format!("while {predicate}; NULL does not suppress")));
            }
            lines.push(("plan", planned.plan.explained.clone()));
        }
        if let Err(reason) = &rule.running {
            lines.push(("failed", reason.clone()));
        }
        let columns: [(&str, ArrayRef); 2] = [
            ("what", Arc::new(StringArray::from_iter_values(lines.iter().map(|(w, _)| *w)))),
            ("how", Arc::new(StringArray::from_iter_values(lines.iter().map(|(_, h)| h)))),
        ];
        RecordBatch::try_from_iter(columns).map_err(refused)
    }

    /// `system.rules`.
    pub fn table(&self) -> RecordBatch {
        let all = self.list();
        let text = |of: &dyn Fn(&RuleStatus) -> Option<String>| -> ArrayRef {
            Arc::new(all.iter().map(of).collect::<StringArray>())
        };
        let count = |of: &dyn Fn(&Progressed) -> u64| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(all.iter().map(|s| of(&s.progressed))))
        };
        let versions: ArrayRef =
            Arc::new(UInt32Array::from_iter_values(all.iter().map(|s| s.version)));
        let lag: Float64Array = all.iter().map(|s| Some(s.lag_seconds)).collect();
        let watermark = times(all.iter().map(|s| s.progressed.watermark));
        let reason = |s: &RuleStatus| match &s.progressed.state {
            RuleState::Failed(reason) => Some(reason.clone()),
            _ => None,
        };
        RecordBatch::try_from_iter_with_nullable([
            ("rule", text(&|s| Some(s.name.clone())), true),
            ("version", versions, true),
            ("status", text(&|s| Some(s.progressed.state.as_str().to_owned())), true),
            ("lag_rows", count(&|p| p.lag_rows), true),
            ("lag_seconds", Arc::new(lag) as ArrayRef, true),
            ("watermark", watermark, true),
            ("outputs", count(&|p| p.outputs), true),
            ("late", count(&|p| p.late), true),
            ("errors", count(&|p| p.errors), true),
            ("streams", text(&|s| Some(s.streams.join(", "))), true),
            ("reason", text(&reason), true),
            ("text", text(&|s| Some(s.text.clone())), true),
        ])
        .expect("columns of one length")
    }

    /// `system.watermarks`.
    pub fn watermarks(&self) -> RecordBatch {
        let mut rows = Vec::new();
        for status in self.list() {
            for (stream, partition, watermark) in status.progressed.watermarks {
                rows.push((status.name.clone(), stream, partition.cast_signed(), watermark));
            }
        }
        let rule: StringArray = rows.iter().map(|(rule, ..)| Some(rule)).collect();
        let stream: StringArray = rows.iter().map(|(_, stream, ..)| Some(stream)).collect();
        let partition: Int32Array =
            rows.iter().map(|(_, _, partition, _)| Some(*partition)).collect();
        RecordBatch::try_from_iter_with_nullable([
            ("rule", Arc::new(rule) as ArrayRef, true),
            ("stream", Arc::new(stream), true),
            ("partition", Arc::new(partition), true),
            ("watermark", times(rows.iter().map(|(.., watermark)| *watermark)), true),
        ])
        .expect("columns of one length")
    }
}

fn version(stored: &super::StoredRule, at_work: u32) -> String {
    let since = rfc3339(EventTime(stored.starts_after.0));
    let newest = format!("{}, since {since}", stored.version);
    match at_work < stored.version {
        true => format!("{newest}; version {at_work} still judges the windows that were open then"),
        false => newest,
    }
}

fn times(values: impl Iterator<Item = Option<EventTime>>) -> ArrayRef {
    let times: TimestampMicrosecondArray = values.map(|time| time.map(|t| t.0)).collect();
    Arc::new(times.with_timezone("UTC"))
}

/// When a rule is evaluated, as part of a sentence.
pub(super) fn describe(planned: &Planned) -> String {
    let waits = planned.statement.raise.as_ref().is_some_and(|raise| {
        let clear = planned.statement.clear.as_ref().map_or(Duration::ZERO, |c| c.hold);
        raise.hold > Duration::ZERO || clear > Duration::ZERO
    });
    match &planned.plan.shape {
        Shape::Windowed(_) | Shape::Sessions(_) => describe_shape(&planned.plan),
        Shape::PerReading if planned.plan.branches.iter().any(|b| b.along.is_some()) => {
            "per reading, in event-time order behind the watermark (it has lag or rate)".to_owned()
        }
        Shape::PerReading if waits => {
            "per reading, in event-time order behind the watermark (it has FOR)".to_owned()
        }
        Shape::PerReading => "per reading, on arrival".to_owned(),
    }
}

fn describe_shape(plan: &RulePlan) -> String {
    match &plan.shape {
        Shape::Windowed(aggregation) => format!(
            "once a window of {} is closed in every partition",
            seconds(aggregation.grid.size_us)
        ),
        Shape::Sessions(aggregation) => format!(
            "once a session is over: when event time in every partition has come to {} after its last \
             reading",
            seconds(aggregation.gap_us)
        ),
        Shape::PerReading => "per reading".to_owned(),
    }
}

fn describe_path(path: &Path) -> String {
    match path {
        Path::Dense(_) => "dense: numbers are added up by series".to_owned(),
        Path::BySeries(_, reason) => format!("general, groups told by series, because {reason}"),
        Path::General(reason) => format!("general, because {reason}"),
    }
}

fn seconds(us: i64) -> String {
    format!("{} s", us as f64 / 1e6)
}

fn describe_key(planned: &Planned) -> String {
    match &planned.plan.key {
        Key::Topic => "topic".to_owned(),
        Key::Columns(columns) => {
            columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        }
    }
}
