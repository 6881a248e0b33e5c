//! Refused rows, kept (D2, P8).
//!
//! Promise: what a door refuses can be listed by SQL with its reason and its bytes, cut at
//! `Limits::DEAD_LETTER_BYTES_MAX`; where the log does not take it, whoever sent it is not told otherwise.

use crate::log::{InternalLog, Log, Receipt};
use crate::model::{AppendTime, Limits, Refusal};
use arrow::array::{
    ArrayRef, BinaryBuilder, RecordBatch, StringBuilder, TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// Columns of the dead letters.
pub fn dead_letters_schema() -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("time", time(), false),
        Field::new("received_at", time(), false),
        Field::new("door", DataType::Utf8, false),
        Field::new("topic", DataType::Utf8, true),
        Field::new("stream", DataType::Utf8, true),
        Field::new("reason", DataType::Utf8, false),
        Field::new("code", DataType::Utf8, false),
        Field::new("payload", DataType::Binary, false),
        Field::new("index", DataType::UInt32, false),
    ]))
}

/// What a letter takes beside its payload and its reason, at most.
const LETTER_BYTES: usize = 2 * 1024;

/// Refused rows on their way into the log.
#[derive(Debug, Default)]
pub(super) struct Letters {
    waiting: Vec<Receipt>,
    kept: Kept,
}

/// Whether the refused rows of a request are in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kept {
    #[default]
    All,
    /// Some of them, or none.
    NotAll,
}

/// Queues refused rows. `topic` says where a row was meant to go.
pub(super) fn append(
    log: &Log,
    door: &'static str,
    refused: &[Refusal],
    topic: impl Fn(&Refusal) -> Option<String>,
    now: AppendTime,
) -> Letters {
    let partition = log.internal(InternalLog::DeadLetters);
    let queue = |refused| partition.append(batch(log, door, refused, &topic, now));
    Letters { waiting: pieces(refused).into_iter().map(queue).collect(), kept: Kept::All }
}

impl Letters {
    /// Of these, which nobody keeps.
    #[cfg(feature = "kafka")]
    pub(super) fn nowhere(refused: &[Refusal]) -> Self {
        let kept = if refused.is_empty() { Kept::All } else { Kept::NotAll };
        Self { waiting: Vec::new(), kept }
    }

    /// Resolves when all of them are durable, or will not be.
    pub(super) async fn kept(self) -> Kept {
        let mut kept = self.kept;
        for receipt in self.waiting {
            if let Err(error) = receipt.await {
                if kept == Kept::All {
                    tracing::warn!(%error, "refused rows could not be kept");
                }
                kept = Kept::NotAll;
            }
        }
        kept
    }
}

/// `refused`, cut so that each piece fits an append.
fn pieces(refused: &[Refusal]) -> Vec<&[Refusal]> {
    let (mut pieces, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, refusal) in refused.iter().enumerate() {
        let letter = LETTER_BYTES + refusal.payload.len() + refusal.reason.to_string().len();
        if bytes + letter > Limits::GROUP_BYTES_MAX && at > from {
            pieces.push(&refused[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += letter;
    }
    if from < refused.len() {
        pieces.push(&refused[from..]);
    }
    pieces
}

fn batch(
    log: &Log,
    door: &str,
    refused: &[Refusal],
    topic: &impl Fn(&Refusal) -> Option<String>,
    now: AppendTime,
) -> RecordBatch {
    let rows = refused.len();
    let mut topics = StringBuilder::new();
    let mut streams = StringBuilder::new();
    let mut payloads = BinaryBuilder::new();
    for refusal in refused {
        let topic = topic(refusal);
        streams.append_option(topic.as_deref().and_then(|topic| stream_of(log, topic)));
        topics.append_option(topic);
        payloads.append_value(&refusal.payload);
    }
    let times = TimestampMicrosecondArray::from(vec![now.0; rows]).with_timezone("UTC");
    let text = |of: &dyn Fn(&Refusal) -> String| -> ArrayRef {
        let mut builder = StringBuilder::new();
        refused.iter().for_each(|refusal| builder.append_value(of(refusal)));
        Arc::new(builder.finish())
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times.clone()),
        Arc::new(times),
        text(&|_| door.to_owned()),
        Arc::new(topics.finish()),
        Arc::new(streams.finish()),
        text(&|refusal| refusal.reason.to_string()),
        text(&|refusal| refusal.reason.code().to_owned()),
        Arc::new(payloads.finish()),
        Arc::new(UInt32Array::from_iter_values(refused.iter().map(|r| r.index))),
    ];
    RecordBatch::try_new(dead_letters_schema(), columns).expect("built as the schema says")
}

fn stream_of(log: &Log, topic: &str) -> Option<String> {
    let matches =
        |s: &Arc<crate::log::Stream>| s.definition().template().match_path(topic).is_some();
    let stream = log.streams().all().into_iter().find(matches)?;
    Some(stream.definition().name().to_owned())
}
