//! One partition of a stream, kept as one partition of a topic.
//!
//! Promise: `log::PartitionLog`. Unlike on a disk, questions go over the network: they may take as long as
//! the cluster does, and fail.

use super::cluster::KafkaLog;
use super::connection::{ANSWER_WITHIN, Quiet};
use super::consume::{KafkaReader, TickReader};
use super::errors::KafkaLogError;
use super::produce::Target;
use super::records::{self, Record};
use super::ticks::{Said, TickRecord};
use super::topic::KafkaTopic;
use crate::log::{
    AppendError, Ends, EntryReader, GroupError, Log, PartitionLog, ReadError, Receipt, Stream,
    Streams, TickKind, TrimError,
};
use crate::model::{AppendTime, EventTime, Offset, PartitionId};
use arrow::array::RecordBatch;
use rand::TryRng;
use rand::rngs::SysRng;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Claims of one partition before it is said that somebody else always comes first.
const CLAIMS_MAX: u32 = 10;

/// A partition of a topic.
#[derive(Debug)]
pub struct KafkaPartition {
    cluster: Arc<KafkaLog>,
    /// Knows the stream and its series.
    here: Arc<Log>,
    stream: Arc<Stream>,
    topic: Arc<KafkaTopic>,
    ticks_topic: String,
    id: PartitionId,
    /// In whose name ticks are written; 0 where nobody claims partitions.
    generation: AtomicU64,
}

impl KafkaPartition {
    pub(super) fn new(
        cluster: Arc<KafkaLog>,
        here: Arc<Log>,
        stream: Arc<Stream>,
        topic: Arc<KafkaTopic>,
        id: PartitionId,
    ) -> Self {
        let (ticks_topic, generation) = (topic.ticks(), AtomicU64::new(0));
        Self { cluster, here, stream, topic, ticks_topic, id, generation }
    }

    /// The stream its rows are of.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The topic it is a partition of.
    pub fn topic(&self) -> &KafkaTopic {
        &self.topic
    }

    /// A reader that begins at `from`, whose entries have append times not less than `last`.
    /// # Errors
    /// The cluster cannot be asked.
    pub fn reader(
        self: &Arc<Self>,
        from: Offset,
        last: AppendTime,
    ) -> Result<KafkaReader, ReadError> {
        KafkaReader::new(Arc::clone(self), from, last)
    }

    /// Makes this process the one whose ticks count: with a generation larger than all before, which
    /// is its own. Whoever has claimed it before is told by [`KafkaReader::generation`].
    /// # Errors
    /// The cluster does not take it.
    pub fn claim(&self) -> Result<u64, KafkaLogError> {
        let refused = |detail: String| KafkaLogError::Refused {
            doing: format!("claiming partition {} of '{}'", self.id, self.topic.name),
            detail,
        };
        let mut ticks = TickReader::new(self, Offset(u64::MAX))?;
        for _ in 0..CLAIMS_MAX {
            ticks.read_all()?;
            let token = SysRng.try_next_u64().map_err(|error| refused(error.to_string()))?;
            let generation = ticks.ticks.generation() + 1;
            let claimed = self.mark(generation, Said::Claim { token }, Offset(0));
            claimed.wait().map_err(|error| refused(error.to_string()))?;
            ticks.read_all()?;
            if ticks.ticks.is_held_by(token) {
                self.generation.store(generation, Ordering::SeqCst);
                return Ok(generation);
            }
        }
        Err(refused("another process claims it at the same time, again and again".to_owned()))
    }

    /// Writes a tick of its owner, who has taken every row before `offset` and none behind it.
    pub fn tick_at(&self, offset: Offset, event_time: EventTime, kind: TickKind) -> Receipt {
        let generation = self.generation.load(Ordering::SeqCst);
        self.mark(generation, Said::tick(kind, offset, event_time), offset)
    }

    pub(super) fn id_of(&self) -> PartitionId {
        self.id
    }

    pub(super) fn ticks_topic(&self) -> &str {
        &self.ticks_topic
    }

    pub(super) fn streams(&self) -> &Streams {
        self.here.streams()
    }

    pub(super) fn cluster(&self) -> &Arc<KafkaLog> {
        &self.cluster
    }

    /// The oldest offset kept and the one after the newest.
    pub(super) fn watermarks(&self) -> Result<(Offset, Offset), KafkaLogError> {
        let id = self.id.0.cast_signed();
        let (low, high) = self
            .cluster
            .asking()
            .fetch_watermarks(&self.topic.name, id, ANSWER_WITHIN)
            .map_err(|error| KafkaLogError::refused(self.asking(), &error))?;
        let offset = |n: i64| Offset(n.max(0).cast_unsigned());
        Ok((offset(low), offset(high)))
    }

    fn asking(&self) -> String {
        format!("asking how far partition {} of '{}' is", self.id, self.topic.name)
    }

    fn mark(&self, generation: u64, what: Said, offset: Offset) -> Receipt {
        let to = Target { topic: &self.ticks_topic, partition: self.id };
        let group = self.topic.group.clone();
        let key = format!("{group} {generation}");
        let record = TickRecord { group, generation, what };
        let value = serde_json::to_string(&record).expect("texts and numbers are JSON");
        let record = Record { key, value };
        self.cluster.producer().mark(to, record, offset)
    }

    fn delete_before(&self, before: Offset) -> Result<(), KafkaLogError> {
        let refused = |error: KafkaError| KafkaLogError::refused("deleting them", &error);
        let config = self.cluster.connection().client();
        let admin: AdminClient<Quiet> =
            AdminClient::from_config_and_context(&config, Quiet).map_err(refused)?;
        let mut list = TopicPartitionList::new();
        let at = rdkafka::Offset::Offset(i64::try_from(before.0).unwrap_or(i64::MAX));
        let id = self.id.0.cast_signed();
        list.add_partition_offset(&self.topic.name, id, at).map_err(refused)?;
        let options = AdminOptions::new()
            .request_timeout(Some(ANSWER_WITHIN))
            .operation_timeout(Some(ANSWER_WITHIN));
        let deleted = waited_for(admin.delete_records(&list, &options))?.map_err(refused)?;
        deleted.elements().iter().try_for_each(|place| place.error()).map_err(refused)
    }
}

/// Waits for an answer of the client on a thread of its own: this one may be a runtime's.
fn waited_for<F>(answer: F) -> Result<F::Output, KafkaLogError>
where
    F: Future<Output: Send> + Send,
{
    let failed = |detail: String| {
        let doing = "waiting for the cluster".to_owned();
        KafkaLogError::Refused { doing, detail }
    };
    std::thread::scope(|threads| {
        let wait = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.map(|runtime| runtime.block_on(answer)).map_err(|e| failed(e.to_string()))
        };
        threads.spawn(wait).join().unwrap_or_else(|_| Err(failed("a panic".to_owned())))
    })
}

impl PartitionLog for KafkaPartition {
    fn id(&self) -> PartitionId {
        self.id
    }

    fn append(&self, rows: RecordBatch) -> Receipt {
        let to = Target { topic: &self.topic.name, partition: self.id };
        self.cluster.producer().rows(to, &records::written(&self.topic, &self.stream, &rows))
    }

    /// Asks the cluster how far the rows are, and blocks for that.
    fn append_tick(&self, event_time: EventTime, kind: TickKind) -> Receipt {
        match self.watermarks() {
            Ok((_, end)) => self.tick_at(end, event_time, kind),
            Err(error) => {
                let detail = Arc::from(error.to_string());
                Receipt::known(self.id, Err(AppendError::Unknown { partition: self.id, detail }))
            }
        }
    }

    fn read_from(self: Arc<Self>, from: Offset) -> Result<Box<dyn EntryReader>, ReadError> {
        Ok(Box::new(self.reader(from, AppendTime(i64::MIN))?))
    }

    /// No time is safe: another process may append with any.
    fn ends(&self) -> Result<Ends, ReadError> {
        let (log_start, durable_end) = self.watermarks().map_err(|error| ReadError::Io {
            partition: self.id,
            detail: Arc::from(error.to_string()),
        })?;
        Ok(Ends { log_start, durable_end, safe_time: AppendTime(i64::MIN) })
    }

    fn commit_group(&self, group: &str, next: Offset) -> Result<(), GroupError> {
        let (cluster, place) = (&self.cluster, (self.topic.name.as_str(), self.id));
        let committed = cluster.groups().commit(cluster.connection(), group, place, next);
        committed.map_err(|error| self.of_group(group, &error))
    }

    fn group(&self, group: &str) -> Result<Option<Offset>, GroupError> {
        let (cluster, place) = (&self.cluster, (self.topic.name.as_str(), self.id));
        let position = cluster.groups().position(cluster.connection(), group, place);
        position.map_err(|error| self.of_group(group, &error))
    }

    /// DeleteRecords, which a cluster may refuse: it needs the permission to delete.
    fn trim(&self, before: Offset) -> Result<Offset, TrimError> {
        let elsewhere =
            |detail: String| TrimError::Elsewhere { partition: self.id, detail: Arc::from(detail) };
        let marks = || self.watermarks().map_err(|error| elsewhere(error.to_string()));
        let (low, high) = marks()?;
        let before = before.min(high);
        if before <= low {
            return Ok(low);
        }
        self.delete_before(before).map_err(|error| elsewhere(error.to_string()))?;
        Ok(marks()?.0)
    }
}

impl KafkaPartition {
    fn of_group(&self, group: &str, error: &KafkaLogError) -> GroupError {
        GroupError::Elsewhere {
            group: group.to_owned(),
            partition: self.id,
            detail: Arc::from(error.to_string()),
        }
    }
}
