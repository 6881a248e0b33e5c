//! EXPLAIN WATERMARK: which partition a rule waits for, and what would move it.
//!
//! Promise: from what the rule published when it last waited and from the tick policy; the rule is not
//! held up.

use super::super::marks::Mark;
use super::super::task::Progressed;
use super::{Rules, refused};
use crate::sql::SqlError;
use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use std::sync::Arc;
use weir_ingest::log::TickOutlook;
use weir_ingest::model::{AppendTime, EventTime, PartitionId};

/// How far the rule is in one partition.
#[derive(Clone)]
struct LaneProgressed {
    stream: String,
    partition: u32,
    watermark: Option<EventTime>,
    mark: Mark,
}

fn lanes(progressed: &Progressed) -> Vec<LaneProgressed> {
    let marked = progressed.watermarks.iter().cloned().zip(&progressed.marks);
    marked
        .map(|((stream, partition, watermark), mark)| LaneProgressed {
            stream,
            partition,
            watermark,
            mark: *mark,
        })
        .collect()
}

/// One row of the answer.
struct Line {
    lane: LaneProgressed,
    set_by: Option<String>,
    outlook: TickOutlook,
    holds: bool,
    why: String,
}

impl Rules {
    /// A row for each partition the rule reads.
    /// # Errors
    /// There is no such rule, or it does not run.
    pub fn explain_watermark(&self, name: &str) -> Result<RecordBatch, SqlError> {
        let rule = self.get(name)?;
        if let Err(reason) = &rule.running {
            return Err(SqlError::new(format!("the rule '{name}' does not run: {reason}")));
        }
        let progressed = rule.progressed();
        let now = self.log.append_clock().floor();
        let lanes = lanes(&progressed);
        let slowest = lanes.iter().map(|lane| lane.watermark).min().flatten();
        let lines = lanes.iter().map(|lane| self.line(lane, slowest, now));
        table(&lines.collect::<Vec<_>>(), &progressed)
    }

    fn line(&self, lane: &LaneProgressed, slowest: Option<EventTime>, now: AppendTime) -> Line {
        let partition = PartitionId(lane.partition);
        let outlook = self.log.tick_outlook(&lane.stream, partition);
        let holds = lane.watermark == slowest;
        let why = if holds { held(lane, &outlook, now) } else { ahead(lane, slowest) };
        Line { set_by: self.set_by(lane), lane: lane.clone(), outlook, holds, why }
    }

    /// The topic path whose reading has the newest event time, or `tick` where a tick went further.
    fn set_by(&self, lane: &LaneProgressed) -> Option<String> {
        match (lane.mark.reading, lane.mark.tick) {
            (Some((at, series)), tick) if tick.is_none_or(|tick| tick <= at) => {
                let stream = self.log.streams().get(&lane.stream)?;
                Some(stream.series().snapshot().topic(series).to_owned())
            }
            (_, Some(_)) => Some("tick".to_owned()),
            (_, None) => None,
        }
    }
}

/// What the rule waits for in a partition that holds it back.
fn held(lane: &LaneProgressed, outlook: &TickOutlook, now: AppendTime) -> String {
    let place = format!("partition {} of {}", lane.partition, lane.stream);
    let since = match lane.mark.appended {
        Some(appended) => format!("{place} has had no row for {}", seconds(now.0 - appended.0)),
        None => format!("{place} has had no row since the rule began to read"),
    };
    let due = |at: &AppendTime| seconds((at.0 - now.0).max(0));
    match outlook {
        TickOutlook::ByRule => format!(
            "{since}; the rule '{0}' writes {0} and its ticks: EXPLAIN WATERMARK {0} says what it waits for",
            lane.stream
        ),
        TickOutlook::Silent => {
            format!("{place}: the stream has had no reading yet, so no time goes on")
        }
        TickOutlook::Clock { due: at } => format!("{since}; a tick is due in {}", due(at)),
        TickOutlook::CatchUp { due: at } => {
            format!("{since}; a tick with the stream's newest event time is due in {}", due(at))
        }
        TickOutlook::Never => format!(
            "{since}; the stream is a backfill (its newest reading was not live): no ticks; newer rows \
             or FLUSH STREAM {} close its windows",
            lane.stream
        ),
    }
}

fn ahead(lane: &LaneProgressed, slowest: Option<EventTime>) -> String {
    match (lane.watermark, slowest) {
        (Some(own), Some(slowest)) => {
            format!("{} ahead of the slowest", seconds(own.0 - slowest.0))
        }
        _ => "ahead of a partition without any event time".to_owned(),
    }
}

fn seconds(us: i64) -> String {
    format!("{:.1} s", us as f64 / 1e6)
}

fn ticks(outlook: &TickOutlook) -> &'static str {
    match outlook {
        TickOutlook::Silent | TickOutlook::Never => "none",
        TickOutlook::ByRule => "its rule's watermark",
        TickOutlook::Clock { .. } => "with the clock",
        TickOutlook::CatchUp { .. } => "up to the stream's newest",
    }
}

fn table(lines: &[Line], progressed: &Progressed) -> Result<RecordBatch, SqlError> {
    let newest = |line: &Line| line.lane.mark.reading.map(|(at, _)| at.0);
    let partitions = lines.iter().map(|line| line.lane.partition.cast_signed());
    let columns: [(&str, ArrayRef); 9] = [
        ("stream", Arc::new(StringArray::from_iter_values(lines.iter().map(|l| &l.lane.stream)))),
        ("partition", Arc::new(Int32Array::from_iter_values(partitions))),
        ("watermark", times(lines.iter().map(|l| l.lane.watermark.map(|at| at.0)))),
        ("newest_event_time", times(lines.iter().map(newest))),
        ("set_by", Arc::new(lines.iter().map(|l| l.set_by.as_deref()).collect::<StringArray>())),
        ("ticks", Arc::new(StringArray::from_iter_values(lines.iter().map(|l| ticks(&l.outlook))))),
        ("last_append", times(lines.iter().map(|l| l.lane.mark.appended.map(|at| at.0)))),
        ("holds_back", Arc::new(lines.iter().map(|l| Some(l.holds)).collect::<BooleanArray>())),
        ("why", Arc::new(StringArray::from_iter_values(lines.iter().map(|l| why(l, progressed))))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .map_err(refused)
}

/// A rule that is behind its log may know it already.
fn why(line: &Line, progressed: &Progressed) -> String {
    match progressed.lag_rows {
        0 => line.why.clone(),
        rows => format!("{} (the rule has {rows} rows still to take)", line.why),
    }
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}
