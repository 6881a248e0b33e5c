//! Transitions as columns: the rows of internal/alarms and internal/rows, and of `alarm_history`.
//!
//! Promise: `decode(encode(t)) == t`.

use super::columns::{Columns, RowsError, optional, text_array, time_array, utc};
use super::lifecycle::{Acknowledged, Annunciation, ConditionState, State};
use super::transition::{Key, PartitionReceipt, Receipt, Transition, Window};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListBuilder, RecordBatch, StringBuilder, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::Serialize;
use serde_json::value::RawValue;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};
use weir_ingest::model::{AppendTime, EventTime};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    let time = |name, nullable| Field::new(name, utc(), nullable);
    let flag = |name| Field::new(name, DataType::Boolean, false);
    let members = DataType::new_list(DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        time("time", false),
        text("id", false),
        text("alarm_id", true),
        text("rule", false),
        Field::new("rule_uid", DataType::UInt64, false),
        Field::new("rule_version", DataType::UInt32, false),
        Field::new("ordinal", DataType::UInt64, false),
        text("key", false),
        text("subject", false),
        text("kind", false),
        text("severity", false),
        text("state", false),
        text("condition", false),
        flag("acknowledged"),
        text("annunciation", false),
        time("shelved_until", true),
        time("append_time", false),
        time("window_start", true),
        time("window_end", true),
        text("topic", true),
        Field::new("members", members, false),
        text("values", false),
        flag("late"),
        flag("historical"),
        text("reason", true),
        text("operator", true),
        text("comment", true),
        text("receipt", true),
    ]))
});

/// The columns; `time` is the event time.
pub fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// Transitions as one batch of [`schema`].
pub fn encode(transitions: &[Transition]) -> RecordBatch {
    let all = transitions;
    let text = |of: &dyn Fn(&Transition) -> String| text_array(all.iter().map(|t| Some(of(t))));
    let optional = |of: &dyn Fn(&Transition) -> Option<String>| text_array(all.iter().map(of));
    let time = |of: &dyn Fn(&Transition) -> Option<i64>| time_array(all.iter().map(of));
    let flag = |of: &dyn Fn(&Transition) -> bool| -> ArrayRef {
        Arc::new(all.iter().map(|t| Some(of(t))).collect::<BooleanArray>())
    };
    let columns: Vec<ArrayRef> = vec![
        time(&|t| Some(t.event_time.0)),
        text(&|t| t.id.clone()),
        optional(&|t| t.alarm_id.clone()),
        text(&|t| t.rule.clone()),
        Arc::new(UInt64Array::from_iter_values(all.iter().map(|t| t.rule_uid))),
        Arc::new(UInt32Array::from_iter_values(all.iter().map(|t| t.rule_version))),
        Arc::new(UInt64Array::from_iter_values(all.iter().map(|t| t.ordinal))),
        text(&|t| t.key.to_json()),
        text(&|t| t.subject.clone()),
        text(&|t| t.kind.to_string()),
        text(&|t| t.severity.to_string()),
        text(&|t| t.state.isa_name().to_owned()),
        text(&|t| t.state.condition.as_str().to_owned()),
        flag(&|t| t.state.acknowledged == Acknowledged::Yes),
        text(&|t| t.state.annunciation.as_str().to_owned()),
        time(&|t| t.state.annunciation.until().map(|until| until.0)),
        time(&|t| Some(t.append_time.0)),
        time(&|t| t.window.map(|w| w.start.0)),
        time(&|t| t.window.map(|w| w.end.0)),
        optional(&|t| t.topic.clone()),
        members(all.iter().map(|t| t.members.as_slice())),
        text(&|t| t.values.clone()),
        flag(&|t| t.late),
        flag(&|t| t.historical),
        optional(&|t| t.reason.clone()),
        optional(&|t| t.operator.clone()),
        optional(&|t| t.comment.clone()),
        optional(&receipt_json),
    ];
    RecordBatch::try_new(schema(), columns).expect("the columns are the schema's")
}

/// A column of topic paths.
pub(super) fn members<'a>(rows: impl Iterator<Item = &'a [String]>) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in rows {
        row.iter().for_each(|topic| builder.values().append_value(topic));
        builder.append(true);
    }
    Arc::new(builder.finish())
}

/// The receipt as one JSON object, with what it proves.
pub fn receipt_json(transition: &Transition) -> Option<String> {
    #[derive(Serialize)]
    struct Written<'a> {
        rule_version: u32,
        window: Option<Window>,
        value: Option<&'a RawValue>,
        watermark: Option<EventTime>,
        sensors_used: u64,
        sensors_expected: Option<u64>,
        late: u64,
        incomplete: bool,
        partitions: &'a [PartitionReceipt],
        event_time: EventTime,
        append_time: AppendTime,
        historical: bool,
    }
    let receipt = transition.receipt.as_ref()?;
    let written = Written {
        rule_version: transition.rule_version,
        window: transition.window,
        value: serde_json::from_str(&transition.values).ok(),
        watermark: receipt.watermark,
        sensors_used: receipt.sensors_used,
        sensors_expected: receipt.sensors_expected,
        late: receipt.late,
        incomplete: receipt.incomplete,
        partitions: &receipt.partitions,
        event_time: transition.event_time,
        append_time: transition.append_time,
        historical: transition.historical,
    };
    Some(serde_json::to_string(&written).expect("a receipt is JSON"))
}

/// The transitions of a batch of [`schema`].
/// # Errors
/// A column is missing, or a value is none that `encode` writes.
pub fn decode(batch: &RecordBatch) -> Result<Vec<Transition>, RowsError> {
    let columns = Columns(batch);
    let (time, append_time) = (columns.times("time")?, columns.times("append_time")?);
    let (id, alarm_id) = (columns.text("id")?, columns.text("alarm_id")?);
    let (rule, rule_uid) = (columns.text("rule")?, columns.u64s("rule_uid")?);
    let (rule_version, ordinal) = (columns.u32s("rule_version")?, columns.u64s("ordinal")?);
    let (key, subject) = (columns.text("key")?, columns.text("subject")?);
    let (kind, severity) = (columns.text("kind")?, columns.text("severity")?);
    let (start, end) = (columns.times("window_start")?, columns.times("window_end")?);
    let (topic, members) = (columns.text("topic")?, columns.lists("members")?);
    let (values, receipt) = (columns.text("values")?, columns.text("receipt")?);
    let (late, historical) = (columns.flags("late")?, columns.flags("historical")?);
    let (reason, operator) = (columns.text("reason")?, columns.text("operator")?);
    let comment = columns.text("comment")?;
    (0..batch.num_rows())
        .map(|row| {
            Ok(Transition {
                id: id.value(row).to_owned(),
                alarm_id: optional(alarm_id, row),
                rule: rule.value(row).to_owned(),
                rule_uid: rule_uid.value(row),
                rule_version: rule_version.value(row),
                ordinal: ordinal.value(row),
                key: json::<Key>("key", row, key.value(row))?,
                subject: subject.value(row).to_owned(),
                kind: word("kind", row, kind.value(row))?,
                severity: word("severity", row, severity.value(row))?,
                state: state(columns, row)?,
                event_time: EventTime(time.value(row)),
                append_time: AppendTime(append_time.value(row)),
                window: (start.is_valid(row) && end.is_valid(row)).then(|| Window {
                    start: EventTime(start.value(row)),
                    end: EventTime(end.value(row)),
                }),
                topic: optional(topic, row),
                members: texts(&members.value(row)),
                values: values.value(row).to_owned(),
                late: late.value(row),
                historical: historical.value(row),
                reason: optional(reason, row),
                operator: optional(operator, row),
                comment: optional(comment, row),
                receipt: optional(receipt, row)
                    .map(|text| json::<Receipt>("receipt", row, &text))
                    .transpose()?,
            })
        })
        .collect()
}

fn texts(list: &ArrayRef) -> Vec<String> {
    let texts = list.as_string_opt::<i32>().into_iter().flatten();
    texts.flatten().map(str::to_owned).collect()
}

fn state(columns: Columns<'_>, row: usize) -> Result<State, RowsError> {
    let condition = match columns.text("condition")?.value(row) {
        "normal" => ConditionState::Normal,
        "active" => ConditionState::Active,
        other => return Err(value("condition", row, format!("'{other}' is no condition"))),
    };
    let acknowledged = match columns.flags("acknowledged")?.value(row) {
        true => Acknowledged::Yes,
        false => Acknowledged::No,
    };
    let until = columns.times("shelved_until")?;
    let annunciation = match columns.text("annunciation")?.value(row) {
        "in_service" => Annunciation::InService,
        "shelved" => Annunciation::Shelved { until: AppendTime(until.value(row)) },
        "suppressed" => Annunciation::Suppressed,
        "out_of_service" => Annunciation::OutOfService,
        other => return Err(value("annunciation", row, format!("'{other}' is no annunciation"))),
    };
    Ok(State { condition, acknowledged, annunciation })
}

pub(super) fn json<T: serde::de::DeserializeOwned>(
    column: &'static str,
    row: usize,
    text: &str,
) -> Result<T, RowsError> {
    serde_json::from_str(text).map_err(|e| value(column, row, e.to_string()))
}

fn word<T: FromStr<Err: std::fmt::Display>>(
    column: &'static str,
    row: usize,
    text: &str,
) -> Result<T, RowsError> {
    text.parse().map_err(|e: T::Err| value(column, row, e.to_string()))
}

pub(super) fn value(column: &'static str, row: usize, detail: String) -> RowsError {
    RowsError::Value { column, row, detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarms::{Severity, TransitionKind};
    use weir_ingest::model::{Offset, PartitionId};

    fn plain(kind: TransitionKind) -> Transition {
        Transition {
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            alarm_id: None,
            rule: "hvac".to_owned(),
            rule_uid: 7,
            rule_version: 2,
            ordinal: 11,
            key: Key(vec![
                ("site".into(), Some("ber\"lin".into())),
                ("floor".into(), Some("null".into())),
                ("room".into(), None),
            ]),
            subject: "/site/berlin".to_owned(),
            kind,
            severity: Severity::High,
            state: State::default(),
            event_time: EventTime(1_000),
            append_time: AppendTime(2_000),
            window: None,
            topic: None,
            members: Vec::new(),
            values: "{}".to_owned(),
            late: false,
            historical: false,
            reason: None,
            operator: None,
            comment: None,
            receipt: None,
        }
    }

    fn full(kind: TransitionKind) -> Transition {
        Transition {
            alarm_id: Some("a".repeat(32)),
            state: State {
                condition: ConditionState::Active,
                acknowledged: Acknowledged::No,
                annunciation: Annunciation::Shelved { until: AppendTime(99) },
            },
            window: Some(Window { start: EventTime(-5), end: EventTime(5) }),
            topic: Some("/site/berlin/x".to_owned()),
            members: vec!["/a".to_owned(), "/b".to_owned()],
            values: r#"{"avg_c":22.5}"#.to_owned(),
            late: true,
            historical: true,
            reason: Some("no_data".to_owned()),
            operator: Some("mia".to_owned()),
            comment: Some("on it".to_owned()),
            receipt: Some(Receipt {
                watermark: Some(EventTime(4)),
                sensors_used: 3,
                sensors_expected: None,
                late: 1,
                incomplete: true,
                partitions: vec![PartitionReceipt {
                    stream: "climate".to_owned(),
                    partition: PartitionId(1),
                    first_offset: Offset(10),
                    last_offset: Offset(12),
                    watermark_before: None,
                }],
            }),
            ..plain(kind)
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let all = [
            plain(TransitionKind::Row),
            full(TransitionKind::Raised),
            full(TransitionKind::RuleDropped),
        ];
        let batch = encode(&all);
        assert_eq!(batch.schema_ref().field(0).name(), "time");
        assert_eq!(decode(&batch).unwrap(), all);
        assert!(decode(&encode(&[])).unwrap().is_empty());
    }

    #[test]
    fn a_receipt_says_what_it_proves() {
        let text = receipt_json(&full(TransitionKind::Raised)).unwrap();
        let receipt: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(receipt["rule_version"], 2);
        assert_eq!(receipt["window"]["end"], 5);
        assert_eq!(receipt["value"]["avg_c"], 22.5);
        assert_eq!(receipt["partitions"][0]["last_offset"], 12);
        assert_eq!(
            (&receipt["event_time"], &receipt["append_time"]),
            (&1_000.into(), &2_000.into())
        );
        assert_eq!(receipt["historical"], true);
    }

    #[test]
    fn a_batch_of_something_else_is_refused_by_name() {
        let batch = encode(&[plain(TransitionKind::Row)]).project(&[0, 1]).unwrap();
        assert!(decode(&batch).unwrap_err().to_string().contains("'append_time'"));
    }
}
