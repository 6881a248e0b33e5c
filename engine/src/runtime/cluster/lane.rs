//! One partition with all rules over it: what this process does while the partition is its own.
//!
//! Promise: what it writes is a function of the partition's rows and ticks, whoever owns it and however
//! often that changes. It stops writing when somebody else has claimed the partition: its ticks count for
//! nothing from the claim on, its transactions are refused, its checkpoints are older than the other's.

use super::begin::{Begin, LaneSnapshot, resume, rules_over, unknown};
use super::lane_error::LaneError;
use super::lane_rule::{Counts, LaneRule, RuleSnapshot, Taking, told};
use super::letters::{Written, lane_name, letter};
use super::shared::Shared;
use crate::alarms::Transition;
use crate::stream::input::{Flush, Input, Lane as Same, Offsets, Rows};
use std::sync::Arc;
use weir_ingest::kafka::{KafkaLogError, KafkaPartition, KafkaReader, Outbox, read_committed};
use weir_ingest::log::{EntryBody, EntryReader, LogEntry, Stream, TickKind, TickPolicy};
use weir_ingest::model::{AppendTime, EventTime, Offset, PartitionId};

/// Entries taken before what came of them is written.
const ENTRIES_MAX: usize = 256;

/// A partition at work.
#[derive(Debug)]
pub(super) struct Lane {
    shared: Arc<Shared>,
    name: String,
    id: PartitionId,
    stream: Arc<Stream>,
    rules: Vec<LaneRule>,
    partition: Arc<KafkaPartition>,
    reader: KafkaReader,
    outbox: Outbox,
    written: Written,
    policy: TickPolicy,
    generation: u64,
    /// Checkpoints of this generation.
    saved: u64,
    /// Before it, or among so many ticks at it, everything is taken again.
    resumed_at: (Offset, u32),
    position: Offset,
    /// Taken at `position`.
    ticks: u32,
    taken: AppendTime,
    newest: Option<(EventTime, AppendTime)>,
    since_checkpoint: u64,
    counts: Counts,
}

impl Lane {
    /// Takes the partition over from whoever had it, and goes on from the newest checkpoint.
    pub(super) fn open(
        shared: &Arc<Shared>,
        stream: &str,
        id: PartitionId,
    ) -> Result<Self, LaneError> {
        let definitions = shared.definitions().map_err(LaneError::Refused)?;
        let own = definitions.streams.iter().find(|s| s.definition().name() == stream);
        let own = Arc::clone(own.ok_or_else(|| unknown(stream))?);
        let topic = shared.topics.get(stream).ok_or_else(|| unknown(stream))?;
        let partition = shared.kafka.partition(&definitions.log, &own, topic, id);
        let name = lane_name(stream, id);
        // In this order: from the claim on the ticks of the one before do not count, from the opening of
        // the outbox on it writes nothing; what it wrote until then is read after that.
        let generation = partition.claim()?;
        let outbox = shared.outbox(&name, id)?;
        let snapshot = shared.checkpoints.newest(&shared.lanes(stream, id))?;
        let mut rules = rules_over(&definitions, stream);
        let now = AppendTime(shared.clock.wall_us());
        let mut policy = TickPolicy::of(&own.definition(), now);
        let begin = match snapshot {
            None => Begin::default(),
            Some(snapshot) => {
                resume(snapshot, shared, &definitions, &own, &mut rules, &mut policy)?
            }
        };
        for input in &definitions.tables {
            let take = |rule: &mut LaneRule| drop(rule.take(input, Offset(u64::MAX), begin.tables));
            rules.iter_mut().for_each(take);
        }
        let mut written = Written::default();
        let (alarms_topic, alarms_partition) = shared.alarms(id);
        let from = begin.alarms;
        read_committed(&shared.kafka, alarms_topic, alarms_partition, from, |record| {
            written.note(&name, record);
        })?;
        let from = rules.iter().map(LaneRule::from).min().unwrap_or(begin.position);
        // Rows that are read again have the times they had.
        let last = if from < begin.position { AppendTime(i64::MIN) } else { begin.taken };
        let reader = partition.reader(from, last)?;
        tracing::info!(lane = %name, generation, from = %begin.position, "partition taken over");
        Ok(Self {
            shared: Arc::clone(shared),
            name,
            id,
            stream: own,
            rules,
            partition,
            reader,
            outbox,
            written,
            policy,
            generation,
            saved: 0,
            resumed_at: (begin.position, begin.ticks),
            position: from,
            ticks: 0,
            taken: begin.taken,
            newest: begin.newest,
            since_checkpoint: 0,
            counts: Counts::default(),
        })
    }

    /// What it calls itself.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes what has come and writes what comes of it; whether there was anything.
    pub(super) fn step(&mut self) -> Result<Stepped, LaneError> {
        let mut transitions = Vec::new();
        let mut entries = 0;
        while entries < ENTRIES_MAX {
            let Some(entry) = self.reader.next()? else { break };
            entries += 1;
            self.take(entry, &mut transitions);
        }
        self.note_unread();
        self.check_memory();
        // Whoever has claimed it since has read the same rows: what was judged here is not written.
        if self.reader.generation() > self.generation {
            return Err(LaneError::Fenced);
        }
        self.publish(transitions)?;
        if entries == 0 {
            self.tick()?;
            return Ok(Stepped::Waiting);
        }
        if self.since_checkpoint >= self.shared.checkpoint_bytes {
            self.checkpoint()?;
        }
        Ok(Stepped::Worked)
    }

    fn take(&mut self, entry: LogEntry, transitions: &mut Vec<Transition>) {
        for mut entry in self.pieces(entry) {
            let taking = self.place(&entry);
            if taking == Taking::New {
                // A reader that began anew does not know the times before it.
                entry.append_time = entry.append_time.max(self.taken);
                self.rules.iter_mut().for_each(LaneRule::resumed);
            }
            self.note_time(&entry);
            let offset = entry.base_offset;
            let Some(input) = self.input(entry) else { continue };
            self.since_checkpoint += input.bytes().max(1);
            for rule in &mut self.rules {
                transitions.extend(told(rule.take(&input, offset, taking), &mut self.counts));
            }
        }
    }

    /// An entry, cut where the checkpoint stands and where a rule begins to read again.
    fn pieces(&self, entry: LogEntry) -> Vec<LogEntry> {
        let (begin, end) = (entry.base_offset, entry.end_offset());
        let EntryBody::Rows(batch) = &entry.body else { return vec![entry] };
        if begin >= self.resumed_at.0 {
            return vec![entry];
        }
        let places = self.rules.iter().map(LaneRule::from).chain([self.resumed_at.0]);
        let mut cuts: Vec<Offset> = places.filter(|at| begin < *at && *at < end).collect();
        cuts.extend([begin, end]);
        cuts.sort_unstable();
        cuts.dedup();
        let piece = |cut: &[Offset]| {
            let row = |at: Offset| usize::try_from(at.0 - begin.0).expect("rows of one batch");
            let rows = batch.slice(row(cut[0]), row(cut[1]) - row(cut[0]));
            LogEntry { base_offset: cut[0], body: EntryBody::Rows(rows), ..entry.clone() }
        };
        cuts.windows(2).map(piece).collect()
    }

    fn note_time(&mut self, entry: &LogEntry) {
        let (time, appended) = (entry.max_time, entry.append_time);
        self.taken = self.taken.max(appended);
        match entry.body {
            EntryBody::Rows(_) => self.policy.on_rows(PartitionId(0), time, appended),
            EntryBody::Tick { .. } => {}
            EntryBody::Restart { .. } | EntryBody::Gap { .. } => return,
        }
        if self.newest.is_none_or(|(newest, _)| time > newest) {
            self.newest = Some((time, appended));
        }
    }

    /// Notes where an entry stands; whether that is before the checkpoint.
    fn place(&mut self, entry: &LogEntry) -> Taking {
        let end = entry.end_offset();
        if end > self.position {
            (self.position, self.ticks) = (end, 0);
        }
        let (resumed_at, ticks) = self.resumed_at;
        let is_tick = matches!(entry.body, EntryBody::Tick { .. });
        self.ticks += u32::from(is_tick);
        let before = match is_tick {
            true => end < resumed_at || end == resumed_at && self.ticks <= ticks,
            false => end <= resumed_at,
        };
        if before { Taking::Again } else { Taking::New }
    }

    /// An entry as rules see it, for whom the partition is the only one.
    fn input(&self, entry: LogEntry) -> Option<Input> {
        let (appended, partition) = (entry.append_time, PartitionId(0));
        match entry.body {
            EntryBody::Rows(batch) => Some(Input::Rows(Rows {
                stream: 0,
                batch,
                definition: self.stream.definition(),
                series: self.stream.series().snapshot(),
                partitions: Same::Same(0),
                offsets: Offsets::From(entry.base_offset),
                append_times: Same::Same(appended.0),
            })),
            EntryBody::Tick { event_time, kind } => {
                let flush = match kind {
                    TickKind::Idle => Flush::No,
                    TickKind::Flush => Flush::Yes,
                };
                Some(Input::Tick { stream: 0, partition, event_time, flush, appended })
            }
            EntryBody::Gap { from, to } => {
                tracing::warn!(lane = %self.name, %from, %to, "rows are gone from the topic");
                Some(Input::Gap { stream: 0, partition, appended })
            }
            EntryBody::Restart { .. } => None,
        }
    }

    /// Writes what is not written yet: all of it or nothing.
    fn publish(&mut self, mut transitions: Vec<Transition>) -> Result<(), LaneError> {
        if let Err(reason) = self.written.suppress(&mut transitions) {
            return Err(LaneError::Refused(reason));
        }
        if transitions.is_empty() {
            return Ok(());
        }
        for receipt in transitions.iter_mut().filter_map(|t| t.receipt.as_mut()) {
            receipt.partitions.iter_mut().for_each(|place| place.partition = self.id);
        }
        let letters: Vec<_> = transitions.iter().map(|t| letter(&self.name, t)).collect();
        Ok(self.outbox.send(&letters)?)
    }

    /// Event time goes on where nothing comes: said once, in the topic of ticks, then read from there.
    fn tick(&mut self) -> Result<(), LaneError> {
        for due in self.policy.due(AppendTime(self.shared.clock.wall_us())) {
            let receipt = self.partition.tick_at(self.position, due.event_time, TickKind::Idle);
            receipt.wait().map_err(|error| {
                LaneError::Cluster(KafkaLogError::Refused {
                    doing: "writing a tick".to_owned(),
                    detail: error.to_string(),
                })
            })?;
        }
        Ok(())
    }

    fn note_unread(&mut self) {
        let unread = self.reader.take_unread();
        if let Some(first) = unread.first() {
            tracing::warn!(
                lane = %self.name, records = unread.len(), offset = %first.offset,
                reason = %first.refusal.reason, "records that are no readings are passed over"
            );
        }
    }

    fn check_memory(&mut self) {
        let limit = self.shared.rule_memory_max;
        for rule in &mut self.rules {
            let bytes = rule.bytes();
            if bytes > limit {
                rule.fail(format!(
                    "its state takes {bytes} bytes, more than engine.rule_memory_max = {limit}"
                ));
            }
        }
    }

    /// Makes the state of all rules durable, unless they are on their way back to a checkpoint.
    pub(super) fn checkpoint(&mut self) -> Result<(), LaneError> {
        self.since_checkpoint = 0;
        let (position, ticks) = (self.position, self.ticks);
        if (position, ticks) <= self.resumed_at {
            return Ok(());
        }
        let rules: Option<Vec<RuleSnapshot>> = self.rules.iter().map(LaneRule::snapshot).collect();
        let Some(rules) = rules else { return Ok(()) };
        let series = self.stream.series().snapshot();
        let ids = 0..u32::try_from(series.len()).expect("series ids are u32");
        let topic = |id| series.topic(weir_ingest::model::SeriesId(id)).to_owned();
        let (alarms_topic, alarms_partition) = self.shared.alarms(self.id);
        let snapshot = LaneSnapshot {
            fingerprint: self.shared.fingerprint.clone(),
            position,
            ticks,
            taken: self.taken,
            topics: ids.map(topic).collect(),
            alarms: self.shared.kafka.end_of(alarms_topic, alarms_partition)?,
            newest: self.newest,
            rules,
        };
        let Counts { late, errors } = self.counts;
        tracing::debug!(lane = %self.name, %position, late, errors, "checkpoint");
        self.saved += 1;
        let stream = self.stream.definition();
        let lane = self.shared.lanes(stream.name(), self.id);
        Ok(self.shared.checkpoints.save(&lane, (self.generation, self.saved), &snapshot)?)
    }
}

/// Whether a step had something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stepped {
    Worked,
    Waiting,
}
