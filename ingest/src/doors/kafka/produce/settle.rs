//! What a producer is told of the records of one partition.
//!
//! Promise: what was certainly not stored is told apart from what may be; both can be sent again. Records that
//! are refused are refused for good: if none was taken the code says so, else they are listed beside it.

use super::prepare::{Prepared, Refused};
use super::{DOOR, KafkaDoor};
use crate::decode::DecodedRows;
use crate::doors::confirm::is_full;
use crate::doors::dead_letters::{self, Kept, Letters};
use crate::doors::kafka::batch;
use crate::doors::kafka::sequences::Key;
use crate::doors::producer::{Sender, one_each};
use crate::log::{AppendError, ProducerId, Receipt, Source, Stream};
use crate::model::{Offset, PartitionId, Refusal, StreamUid, reading};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::HashSet;
use std::sync::Arc;

/// Refused records an answer lists.
const REFUSED_LISTED_MAX: usize = 100;

/// Records of one partition that are queued in the log and not durable yet.
#[derive(Debug)]
pub(super) struct Appended {
    waiting: Vec<Waiting>,
    letters: Letters,
    errors: Vec<BatchIndexAndErrorMessage>,
    refused: usize,
    count: u32,
    /// By whom, if it may come again.
    sent: Option<(StreamUid, Source)>,
}

#[derive(Debug)]
struct Waiting {
    receipt: Receipt,
    /// All records of the batch went there, in order, to the partition that was named.
    whole: bool,
    /// Whether some of them may be known by their ids.
    with_ids: bool,
}

impl KafkaDoor {
    /// Queues the records of one partition.
    pub(super) fn append(
        &self,
        stream: &Arc<Stream>,
        index: i32,
        prepared: Prepared,
    ) -> Result<Appended, Refused> {
        let Prepared { rows, refused, topics, count, sender, .. } = prepared;
        let named = PartitionId(u32::try_from(index).unwrap_or(u32::MAX));
        let source = sender.map(|sender| self.source(stream, named, &sender)).transpose()?;
        let rows = if source.is_some() { one_batch_each(rows)? } else { rows };
        let topic = |refusal: &Refusal| topics.get(&refusal.index).cloned();
        let letters = dead_letters::append(&self.log, DOOR, &refused, topic, self.now());
        let sender = Sender::new(source);
        let waiting = rows.into_iter().map(|rows| {
            let in_order = || rows.indexes.iter().copied().eq(0..count);
            let whole = rows.partition == named && in_order();
            let with_ids = rows.batch.column_by_name(reading::DEDUPE).is_some();
            let (receipt, _) = sender.append(rows);
            Waiting { receipt, whole, with_ids }
        });
        let waiting = waiting.collect();
        let listed = refused.iter().take(REFUSED_LISTED_MAX).map(listed).collect();
        let sent = source.map(|source| (stream.uid(), source));
        Ok(Appended { waiting, letters, errors: listed, refused: refused.len(), count, sent })
    }

    /// Which batch of which producer it is.
    fn source(
        &self,
        stream: &Stream,
        named: PartitionId,
        sender: &batch::Sender,
    ) -> Result<Source, Refused> {
        let (producer, wire) = (ProducerId(sender.producer), Some(named.0));
        let known =
            || stream.partitions().iter().filter_map(|p| p.producer_at(producer, wire)).max();
        let key = Key { producer: producer.0, stream: stream.uid(), partition: named.0 };
        match self.sequences.turn(key, sender, known) {
            Ok(sequence) => {
                Ok(Source { producer, epoch: sender.epoch, sequence, wire_partition: wire })
            }
            Err(code) => {
                let why = format!(
                    "the batch with sequence {} of the producer {} is not the one that comes next",
                    sender.sequence, sender.producer
                );
                Err(Refused::new(code, why))
            }
        }
    }
}

impl Appended {
    /// Resolves when all of it is durable, or will not be.
    pub(super) async fn settled(self, door: &KafkaDoor) -> PartitionProduceResponse {
        let Self { waiting, letters, errors, refused, count, sent } = self;
        let mut base: Option<Offset> = None;
        let mut failed: Option<AppendError> = None;
        let taken = !waiting.is_empty();
        for Waiting { receipt, whole, with_ids } in waiting {
            match receipt.await {
                Ok(appended) => {
                    // A batch that was there already answers with the place it has.
                    let again = sent.is_some() && appended.rows == 0 && !with_ids;
                    if whole && (appended.rows == count || again) {
                        base = Some(appended.base_offset);
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        let kept = letters.kept().await;
        if let Some(error) = failed {
            return told(&Refused::new(code(&error), error.to_string()));
        }
        if let Some((stream, source)) = sent.filter(|_| taken) {
            let partition = source.wire_partition.unwrap_or_default();
            let key = Key { producer: source.producer.0, stream, partition };
            door.sequences.stored(key, source.epoch, source.sequence, count);
        }
        let answer = PartitionProduceResponse::default()
            .with_base_offset(base.map_or(-1, |base| base.0.cast_signed()))
            .with_log_append_time_ms(-1)
            .with_log_start_offset(-1);
        if refused == 0 {
            return answer;
        }
        let why = format!(
            "{refused} of {count} records were refused; {}",
            match kept {
                Kept::All => "they are in the table dead_letters",
                Kept::NotAll => "not all of them could be kept as dead letters",
            }
        );
        let code = if taken { 0 } else { Code::InvalidRecord.code() };
        answer
            .with_error_code(code)
            .with_record_errors(errors)
            .with_error_message(Some(StrBytes::from_string(why)))
    }
}

/// What goes to one partition is one batch, or the second would be taken for the first that comes again.
fn one_batch_each(rows: Vec<DecodedRows>) -> Result<Vec<DecodedRows>, Refused> {
    let mut seen = HashSet::new();
    if rows.iter().all(|rows| seen.insert(rows.partition)) {
        return Ok(rows);
    }
    one_each(rows).map_err(|_| {
        let why = "more records for one partition than a producer may send at once";
        Refused::new(Code::MessageTooLarge, why)
    })
}

fn listed(refusal: &Refusal) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage::default()
        .with_batch_index(i32::try_from(refusal.index).unwrap_or(i32::MAX))
        .with_batch_index_error_message(Some(StrBytes::from_string(refusal.reason.to_string())))
}

/// The answer where nothing was taken.
pub(super) fn told(refused: &Refused) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_error_code(refused.code.code())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1)
        .with_error_message(Some(StrBytes::from_string(refused.why.clone())))
}

/// What rows are told that a partition did not confirm.
fn code(error: &AppendError) -> Code {
    match error {
        _ if is_full(error) => Code::KafkaStorageError,
        AppendError::Unknown { .. } => Code::NotEnoughReplicasAfterAppend,
        AppendError::Busy { .. } => Code::RequestTimedOut,
        AppendError::Stopped => Code::NotLeaderOrFollower,
        AppendError::TooLarge { .. } => Code::MessageTooLarge,
        AppendError::OutOfOrder { .. } => Code::DuplicateSequenceNumber,
        AppendError::Fenced { .. } => Code::InvalidProducerEpoch,
        AppendError::Full { .. } | AppendError::Catalog(_) | AppendError::Corrupt { .. } => {
            Code::KafkaStorageError
        }
    }
}
