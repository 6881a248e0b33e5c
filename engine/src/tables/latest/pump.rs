//! The latest readings of all streams, kept up with the log.
//!
//! Promise: a snapshot holds every reading that was durable when it was asked for; the background
//! pump only makes asking cheap.

use super::{LatestIndex, LatestRows};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::log::{EntryBody, Log, PartitionReader, ReadError, Stream};
use weir_ingest::model::{AppendTime, StreamDefinition, StreamUid};

/// Pause between two rounds of the pump, so that a busy log is read in larger bites.
const PUMP_PAUSE: Duration = Duration::from_millis(50);

/// Why the latest readings cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum LatestError {
    /// The log cannot be read.
    #[error("the latest readings of '{stream}' cannot be told, its log cannot be read: {source}")]
    Read {
        /// The stream.
        stream: String,
        /// Why.
        source: ReadError,
    },
}

/// See the module.
#[derive(Debug)]
pub struct LatestTables {
    log: Arc<Log>,
    streams: Mutex<HashMap<StreamUid, Arc<Mutex<Followed>>>>,
}

/// One stream's index and where its readers are.
#[derive(Debug)]
struct Followed {
    index: LatestIndex,
    readers: Vec<PartitionReader>,
}

impl LatestTables {
    /// Follows the streams of `log`; reads nothing yet.
    pub fn new(log: Arc<Log>) -> Self {
        Self { log, streams: Mutex::new(HashMap::new()) }
    }

    /// Reads the newest readings of a stream as it was declared in `definition`, with `age` by the log's
    /// clock. Reads files: call it on a blocking thread.
    /// # Errors
    /// The log cannot be read.
    pub fn read<T>(
        &self,
        stream: &Arc<Stream>,
        definition: &StreamDefinition,
        read: impl FnOnce(LatestRows<'_>) -> T,
    ) -> Result<T, LatestError> {
        let now = AppendTime(self.log.clock().wall_us());
        let followed = self.follow(stream);
        let mut followed = followed.lock();
        followed.catch_up(stream)?;
        let series = stream.series().snapshot();
        Ok(read(followed.index.rows(definition, &series, now)))
    }

    /// Reads on in every stream, once. Blocks on files.
    /// # Errors
    /// The first log that cannot be read; the others are read on all the same.
    pub fn catch_up(&self) -> Result<(), LatestError> {
        let streams = self.log.streams().all();
        self.streams.lock().retain(|uid, _| streams.iter().any(|stream| stream.uid() == *uid));
        let mut outcome = Ok(());
        for stream in &streams {
            let read = self.follow(stream).lock().catch_up(stream);
            outcome = outcome.and(read);
        }
        outcome
    }

    /// Keeps up with the log until the task is dropped or the log is gone.
    pub async fn pump(self: Arc<Self>) {
        let mut changes = self.log.changes();
        loop {
            let this = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || this.catch_up()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "latest readings fell behind"),
                Err(_) => return,
            }
            tokio::time::sleep(PUMP_PAUSE).await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn follow(&self, stream: &Arc<Stream>) -> Arc<Mutex<Followed>> {
        let mut streams = self.streams.lock();
        let followed = streams.entry(stream.uid()).or_insert_with(|| {
            let start = |partition: &Arc<_>| Followed::start(partition);
            let readers = stream.partitions().iter().map(start).collect();
            Arc::new(Mutex::new(Followed { index: LatestIndex::new(), readers }))
        });
        Arc::clone(followed)
    }
}

impl Followed {
    fn start(partition: &Arc<weir_ingest::log::Partition>) -> PartitionReader {
        partition.reader(partition.ends().log_start)
    }

    /// Reads each partition to the end it had when this began.
    fn catch_up(&mut self, stream: &Arc<Stream>) -> Result<(), LatestError> {
        let definition = stream.definition();
        for (reader, partition) in self.readers.iter_mut().zip(stream.partitions()) {
            let end = partition.ends().durable_end;
            while reader.position() < end {
                let entry = reader.next().map_err(|source| LatestError::Read {
                    stream: definition.name().to_owned(),
                    source,
                })?;
                let Some(entry) = entry else { break };
                if let EntryBody::Rows(rows) = &entry.body {
                    self.index.apply(&definition, entry.position(), rows);
                }
            }
        }
        Ok(())
    }
}
