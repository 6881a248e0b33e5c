//! Producers: each sends a batch until it is confirmed, and now and then once more after that.

use super::World;
use crate::climate::rows;
use rand::RngExt;
use weir_ingest::io::Clock;
use weir_ingest::log::{AppendError, AppendResult, ProducerId, Receipt, Source};

/// What the producer of one partition has under way.
#[derive(Debug, Default)]
pub(super) struct Producer {
    next_sequence: u64,
    /// Sent, and not known to be stored.
    pending: Option<Batch>,
    /// Confirmed last, with its first offset.
    last: Option<(Batch, u64)>,
    waiting: Option<(Receipt, Sent)>,
}

#[derive(Debug, Clone)]
struct Batch {
    sequence: u64,
    room: u64,
    values: Vec<u64>,
}

/// Whether a batch that waits for its answer was confirmed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    New,
    Again,
}

impl World<'_> {
    /// The producer of some partition sends what it has under way, or what was confirmed, or new rows.
    pub(super) fn produce(&mut self) -> Result<(), String> {
        let (log, stream) = (self.log()?, self.stream()?);
        let room = self.rng.random_range(0..20);
        let route = |room| log.streams().route(&format!("/room/{room}")).map_err(|e| e.to_string());
        let partition = route(room)?.partition.0 as usize;
        let producer = &mut self.producers[partition];
        if producer.waiting.is_some() {
            return Ok(());
        }
        let again = producer.last.as_ref().filter(|_| self.rng.random_bool(0.2));
        let (batch, sent) = match (&producer.pending, again) {
            (Some(pending), _) => (pending.clone(), Sent::New),
            (None, Some((last, _))) => (last.clone(), Sent::Again),
            (None, None) => {
                let n = self.rng.random_range(1..20_u64);
                let values: Vec<u64> = (self.next_value..self.next_value + n).collect();
                self.next_value += n;
                self.models[partition].sent(values.clone());
                let new = Batch { sequence: producer.next_sequence, room, values };
                producer.next_sequence += n;
                producer.pending = Some(new.clone());
                (new, Sent::New)
            }
        };
        let source = Source {
            producer: ProducerId(partition as u64),
            epoch: 0,
            sequence: batch.sequence,
            wire_partition: None,
        };
        let series = route(batch.room)?.series.0;
        let batch = rows(&stream, series, &batch.values, self.clock.wall_us());
        let receipt = stream.partitions()[partition].append_from(batch, source);
        producer.waiting = Some((receipt, sent));
        Ok(())
    }

    /// Takes the answers that are there.
    pub(super) fn collect_produced(&mut self) -> Result<(), String> {
        for partition in 0..self.producers.len() {
            let producer = &mut self.producers[partition];
            let Some((mut receipt, sent)) = producer.waiting.take() else { continue };
            match receipt.try_take() {
                None => producer.waiting = Some((receipt, sent)),
                Some(answer) => self.answered(partition, sent, answer)?,
            }
        }
        Ok(())
    }

    fn answered(
        &mut self,
        partition: usize,
        sent: Sent,
        answer: AppendResult,
    ) -> Result<(), String> {
        let producer = &mut self.producers[partition];
        let told = match answer {
            Ok(told) => told,
            Err(error @ (AppendError::OutOfOrder { .. } | AppendError::Fenced { .. })) => {
                return Err(format!("a retry is refused: {error}"));
            }
            Err(_) => {
                self.outcome.unconfirmed += 1;
                return Ok(());
            }
        };
        let base = told.base_offset.0;
        self.outcome.confirmed += 1;
        self.outcome.retried += u64::from(told.rows == 0);
        match sent {
            Sent::New => {
                let batch = producer.pending.take().ok_or("an answer to nothing")?;
                self.models[partition].confirmed(&batch.values, base)?;
                producer.last = Some((batch, base));
                Ok(())
            }
            Sent::Again => match &producer.last {
                Some((_, known)) if *known == base && told.rows == 0 => Ok(()),
                known => Err(format!("sent again: {} rows at {base}, not {known:?}", told.rows)),
            },
        }
    }

    /// The process is gone: nobody answers any more.
    pub(super) fn forget_answers(&mut self) {
        self.producers.iter_mut().for_each(|producer| producer.waiting = None);
    }
}
