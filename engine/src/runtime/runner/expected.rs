//! Sensors that should report although they never did: those of the table that a stream's `expected`
//! names.
//!
//! Promise: what is expected is what precedes it in the input order, so a replay expects the same (P6); a
//! sensor that never reported is silent, never well (P11).

use super::evaluate::keys;
use super::{Judge, Runner, RunnerError, topic_of};
use crate::alarms::KeyValue;
use crate::stream::along::AlongStage;
use crate::stream::input::{Lane, Offsets, Rows};
use crate::stream::pipeline::{number_rows, row_column, with_rows};
use crate::stream::window::{GroupColumn, Grouping, ListedSensor};
use crate::tables::reference::ReferenceTable;
use arrow::array::{
    ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::compute::cast;
use datafusion::error::Result;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::model::{
    AppendTime, EventTime, Offset, SeriesDirectory, SeriesId, StreamDefinition, reading,
};

/// The column of a table of sensors that has their topic paths.
pub const TOPIC_COLUMN: &str = "topic";

impl Runner {
    /// Silence counts for the sensors that the tables name now and did not before: from when their rows
    /// hold, or from where the rule begins; from `now`, an event time, where both were always so.
    pub(super) fn expect_sensors(&mut self, now: i64) -> std::result::Result<(), RunnerError> {
        if !std::mem::take(&mut self.expects_anew) || self.silence_us == 0 {
            return Ok(());
        }
        self.read_tables()?;
        for stream in 0..self.plan.streams.len() {
            let sensors = self.new_sensors(stream, now);
            if sensors.is_empty() {
                continue;
            }
            let keys = self.keys_of(stream, &sensors).unwrap_or_default();
            let Judge::Alarms(alarms) = &mut self.judge else { return Ok(()) };
            for (sensor, key) in keys {
                let (topic, from) = &sensors[sensor];
                alarms.expect(&key, topic, EventTime(*from))?;
            }
        }
        Ok(())
    }

    /// Tells the windows which sensors the tables name now.
    pub(super) fn list_sensors(&mut self) {
        if !std::mem::take(&mut self.lists_anew) {
            return;
        }
        let Some(windows) = &mut self.windows else { return };
        for (stream, definition) in self.plan.streams.iter().enumerate() {
            if let Some(name) = &definition.options().expected {
                windows.list(stream, listed_sensors(definition, self.fold.get(name)));
            }
        }
    }

    /// Topic paths and from when they are expected.
    fn new_sensors(&mut self, stream: usize, now: i64) -> Vec<(String, i64)> {
        let definition = Arc::clone(&self.plan.streams[stream]);
        let named = definition.options().expected.as_ref().and_then(|name| self.fold.get(name));
        let (Some(table), Judge::Alarms(alarms)) = (named, &mut self.judge) else {
            return Vec::new();
        };
        let mut sensors: BTreeMap<String, i64> = BTreeMap::new();
        for (topic, from) in table.texts(TOPIC_COLUMN) {
            if definition.template().match_path(&topic).is_some() {
                let known = sensors.entry(topic).or_insert(from);
                *known = from.min(*known);
            }
        }
        let begins = self.starts_after.0;
        let new = sensors.into_iter().filter(|(topic, _)| alarms.expects_anew(topic));
        let from = |from: i64| if from.max(begins) < 0 { now } else { from.max(begins) };
        new.map(|(topic, valid_from)| (topic, from(valid_from))).collect()
    }

    /// The keys of these sensors, as the SELECT makes them of a reading whose fields are all NULL; what
    /// WHERE does not say no to counts.
    fn keys_of(
        &mut self,
        stream: usize,
        sensors: &[(String, i64)],
    ) -> Result<Vec<(usize, Vec<KeyValue>)>> {
        let plan = Arc::clone(&self.plan);
        let rows = nothing_of(&plan.streams[stream], stream, sensors);
        let time_of = |row: usize| rows.times()[row];
        let mut found = BTreeMap::new();
        for branch in plan.branches.iter().filter(|branch| branch.stream == stream) {
            let mut batch = number_rows(&rows.table())?;
            if let Some(along) = &branch.along {
                batch = along.before.where_not_false().run_at(batch, &self.tables, &time_of)?;
                batch = without_values(along, &batch)?;
            }
            for pipeline in branch.before_session.iter().chain([&branch.pipeline]) {
                batch = pipeline.where_not_false().run_at(batch, &self.tables, &time_of)?;
            }
            if let Some(grouping) = plan.shape.grouping() {
                let groups = groups_without_values(grouping, &batch)?;
                batch = grouping.after.where_not_false().run(groups, &self.tables)?;
            }
            let of_row: Vec<usize> =
                row_column(&batch).values().iter().map(|row| *row as usize).collect();
            let topics = || of_row.iter().map(|row| vec![Some(topic_of(&rows, *row).to_owned())]);
            let keys = keys(&plan, &batch).unwrap_or_else(|| topics().collect());
            for (row, key) in of_row.iter().zip(keys) {
                found.entry(*row).or_insert(key);
            }
        }
        Ok(found.into_iter().collect())
    }
}

/// The sensors of a stream that the table it names has, sorted by topic.
pub fn listed_sensors(
    definition: &StreamDefinition,
    table: Option<&Arc<ReferenceTable>>,
) -> Vec<ListedSensor> {
    let Some(content) = table.and_then(|table| table.content().ok()) else { return Vec::new() };
    let topics = content.rows().column_by_name(TOPIC_COLUMN);
    let Some(topics) = topics.and_then(|topics| topics.as_string_opt::<i32>()) else {
        return Vec::new();
    };
    let mut sensors: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    for (row, topic) in topics.iter().enumerate() {
        if let Some(topic) = topic.filter(|t| definition.template().match_path(t).is_some()) {
            let span = (content.from()[row], content.until()[row]);
            sensors.entry(topic).or_default().push(span);
        }
    }
    let sensor = |(topic, spans): (&str, _)| ListedSensor { topic: topic.into(), spans };
    sensors.into_iter().map(sensor).collect()
}

/// A reading of each sensor that says nothing.
fn nothing_of(
    definition: &Arc<StreamDefinition>,
    stream: usize,
    sensors: &[(String, i64)],
) -> Rows {
    let series = SeriesDirectory::new(definition.template().clone());
    let ids: Vec<u32> = (0..).take(sensors.len()).collect();
    for (id, (topic, _)) in ids.iter().zip(sensors) {
        series.push(SeriesId(*id), topic.as_str().into());
    }
    let times = sensors.iter().map(|(_, from)| *from);
    let schema = reading::stored_schema(definition, reading::Hidden::default());
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        Arc::new(UInt32Array::from(ids)),
    ];
    let fields = schema.fields().iter().skip(columns.len());
    columns.extend(fields.map(|field| new_null_array(field.data_type(), sensors.len())));
    Rows {
        stream,
        batch: RecordBatch::try_new(schema, columns).expect("columns follow the schema"),
        definition: Arc::clone(definition),
        series: series.snapshot(),
        partitions: Lane::Same(0),
        offsets: Offsets::From(Offset(0)),
        append_times: Lane::Same(AppendTime(0).0),
    }
}

/// Rows of which nothing is known along their series.
fn without_values(along: &AlongStage, batch: &RecordBatch) -> Result<RecordBatch> {
    let mut columns = batch.columns()[..batch.num_columns() - 1].to_vec();
    let of_functions = along.schema.fields().iter().skip(columns.len());
    columns.extend(of_functions.map(|f| new_null_array(f.data_type(), batch.num_rows())));
    with_rows(&along.schema, columns, row_column(batch).clone())
}

/// Each row as a group of its own, whose aggregates are not known.
fn groups_without_values(grouping: &Grouping, batch: &RecordBatch) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let mut columns = Vec::with_capacity(grouping.schema.fields().len());
    for (column, field) in grouping.group.iter().zip(grouping.schema.fields()) {
        columns.push(match column {
            GroupColumn::Key(expr) => {
                cast(&expr.evaluate(batch)?.into_array(rows)?, field.data_type())?
            }
            GroupColumn::WindowStart | GroupColumn::WindowEnd => {
                new_null_array(field.data_type(), rows)
            }
        });
    }
    let aggregates = grouping.schema.fields().iter().skip(columns.len());
    columns.extend(aggregates.map(|field| new_null_array(field.data_type(), rows)));
    with_rows(&grouping.schema, columns, row_column(batch).clone())
}
