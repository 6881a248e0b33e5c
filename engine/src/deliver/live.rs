//! Live tails: what becomes durable from now on, to whoever listens.
//!
//! Promise: a listener gets what is durable, in log order per partition, through a bounded queue; one
//! that does not keep up is told how many events it missed and never delays anybody (A3, D3).
//! Elsewhere: server-sent events are `queries`' wire; what an alarm's event looks like is `event`'s.

mod listeners;

use super::event;
use crate::alarms::{Transition, transition_rows};
use arrow::array::RecordBatch;
use futures::Stream as FuturesStream;
use listeners::{Listener, Listeners};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::{Notify, mpsc, watch};
use tracing::warn;
use weir_ingest::doors::reading_json;
use weir_ingest::log::{EntryBody, InternalLog, Log, LogEntry, Partition, PartitionReader, Stream};
use weir_ingest::model::{Offset, SeriesId, TopicPattern, reading};

/// Events one listener may have waiting.
pub const LIVE_EVENTS_MAX: usize = 1_024;
/// Rows the hub may be behind one partition before it jumps to the end and says so.
pub const LIVE_BEHIND_ROWS_MAX: u64 = 200_000;

/// What to listen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveKind {
    /// Transitions of alarms.
    Alarms,
    /// Readings of all streams.
    Readings,
}

/// One event of a live tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveEvent {
    /// The transition's id, or `stream/partition/offset`; empty for `lagged`.
    pub id: Arc<str>,
    /// `alarm`, `reading`, or `lagged`: the data then says how many were missed.
    pub event: &'static str,
    /// JSON.
    pub data: Arc<str>,
}

impl LiveEvent {
    fn lagged(missed: u64) -> Self {
        Self { id: "".into(), event: "lagged", data: format!("{{\"missed\":{missed}}}").into() }
    }
}

/// A listener's end; ends when the hub stops.
#[derive(Debug)]
pub struct LiveStream {
    events: mpsc::Receiver<LiveEvent>,
    missed: Arc<AtomicU64>,
}

impl FuturesStream for LiveStream {
    type Item = LiveEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<LiveEvent>> {
        match self.events.poll_recv(context) {
            // Not empty: only the runtime's turn is over, and what was missed came later.
            Poll::Pending if !self.events.is_empty() => Poll::Pending,
            Poll::Pending => match self.missed.swap(0, Ordering::AcqRel) {
                0 => Poll::Pending,
                missed => Poll::Ready(Some(LiveEvent::lagged(missed))),
            },
            ready => ready,
        }
    }
}

/// One partition being followed.
#[derive(Debug)]
struct Followed {
    /// `None` for internal/alarms.
    stream: Option<Arc<Stream>>,
    partition: Arc<Partition>,
    reader: PartitionReader,
}

impl Followed {
    fn new(stream: Option<Arc<Stream>>, partition: &Arc<Partition>, from: Offset) -> Self {
        let reader = partition.reader(from);
        Self { stream, partition: Arc::clone(partition), reader }
    }
}

/// Everything of one kind.
#[derive(Debug, Default)]
struct Side {
    listeners: Listeners,
    followed: Vec<Followed>,
}

/// See the module.
#[derive(Debug)]
pub struct LiveHub {
    log: Arc<Log>,
    alarms: Mutex<Side>,
    readings: Mutex<Side>,
    /// Somebody came to listen; by kind. A commit wakes nobody while nobody does.
    alarms_listener: Notify,
    readings_listener: Notify,
    stop: watch::Sender<bool>,
}

impl LiveHub {
    /// Starts the two tasks that follow the log; they read nothing while nobody listens. Must be
    /// called inside a tokio runtime.
    pub fn start(log: Arc<Log>) -> Arc<Self> {
        let hub = Arc::new(Self {
            log,
            alarms: Mutex::default(),
            readings: Mutex::default(),
            alarms_listener: Notify::new(),
            readings_listener: Notify::new(),
            stop: watch::Sender::new(false),
        });
        for kind in [LiveKind::Alarms, LiveKind::Readings] {
            drop(tokio::spawn(Arc::clone(&hub).follow(kind)));
        }
        hub
    }

    /// What becomes durable from now on and matches: an alarm by its subject, its members or its
    /// reading's topic, a reading by its topic.
    pub fn subscribe(&self, kind: LiveKind, pattern: TopicPattern) -> LiveStream {
        let (sender, events) = mpsc::channel(LIVE_EVENTS_MAX);
        let missed = Arc::new(AtomicU64::new(0));
        let listener = Listener { pattern, events: sender, missed: Arc::clone(&missed) };
        let mut side = self.side(kind).lock();
        if side.listeners.is_empty() {
            side.followed = self.partitions_now(kind);
        }
        // After a stop the sender is dropped here and the stream ends at once.
        if !*self.stop.borrow() {
            side.listeners.add(listener);
            self.came(kind).notify_one();
        }
        LiveStream { events, missed }
    }

    /// Ends every stream and both tasks. Idempotent.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        for kind in [LiveKind::Alarms, LiveKind::Readings] {
            *self.side(kind).lock() = Side::default();
        }
    }

    fn came(&self, kind: LiveKind) -> &Notify {
        match kind {
            LiveKind::Alarms => &self.alarms_listener,
            LiveKind::Readings => &self.readings_listener,
        }
    }

    fn side(&self, kind: LiveKind) -> &Mutex<Side> {
        match kind {
            LiveKind::Alarms => &self.alarms,
            LiveKind::Readings => &self.readings,
        }
    }

    /// All partitions of a kind, from their durable ends.
    fn partitions_now(&self, kind: LiveKind) -> Vec<Followed> {
        let at_end = |stream: Option<&Arc<Stream>>, partition: &Arc<Partition>| {
            Followed::new(stream.map(Arc::clone), partition, partition.ends().durable_end)
        };
        match kind {
            LiveKind::Alarms => vec![at_end(None, self.log.internal(InternalLog::Alarms))],
            LiveKind::Readings => {
                let streams = self.log.streams().all();
                let each = streams.iter();
                each.flat_map(|s| s.partitions().iter().map(|p| at_end(Some(s), p))).collect()
            }
        }
    }

    async fn follow(self: Arc<Self>, kind: LiveKind) {
        let mut changes = self.log.changes();
        let mut stopped = self.stop.subscribe();
        loop {
            let step = self.step(kind);
            if step == Step::More {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                biased;
                _ = stopped.changed() => return,
                () = self.came(kind).notified() => {}
                changed = changes.changed(), if step == Step::Idle => {
                    if changed.is_err() { return }
                }
            }
        }
    }

    /// Reads at most one frame of each partition.
    fn step(&self, kind: LiveKind) -> Step {
        let mut guard = self.side(kind).lock();
        let side = &mut *guard;
        side.listeners.forget_gone();
        if side.listeners.is_empty() {
            side.followed.clear();
            return Step::Unheard;
        }
        if kind == LiveKind::Readings {
            self.meet_new_streams(&mut side.followed);
        }
        let mut step = Step::Idle;
        for followed in &mut side.followed {
            let end = followed.partition.ends().durable_end;
            let behind = end.0.saturating_sub(followed.reader.position().0);
            if behind == 0 {
                continue;
            }
            if behind > LIVE_BEHIND_ROWS_MAX {
                followed.reader = followed.partition.reader(end);
                side.listeners.all_missed(behind);
                continue;
            }
            match followed.reader.next() {
                Ok(None) => {}
                Ok(Some(entry)) => {
                    step = Step::More;
                    tell(&mut side.listeners, followed.stream.as_deref(), &entry);
                }
                Err(error) => {
                    warn!(%error, "a live tail jumps to the end");
                    followed.reader = followed.partition.reader(end);
                }
            }
        }
        step
    }

    /// Streams created while we follow are followed from their first row; dropped ones no more.
    fn meet_new_streams(&self, followed: &mut Vec<Followed>) {
        let streams = self.log.streams().all();
        let uid = |followed: &Followed| followed.stream.as_ref().map(|stream| stream.uid());
        followed.retain(|one| streams.iter().any(|stream| Some(stream.uid()) == uid(one)));
        for stream in streams {
            if followed.iter().all(|one| uid(one) != Some(stream.uid())) {
                let new = stream.partitions().iter().map(|partition| {
                    let start = partition.ends().log_start;
                    Followed::new(Some(Arc::clone(&stream)), partition, start)
                });
                followed.extend(new);
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nobody listens: what becomes durable is nobody's concern.
    Unheard,
    Idle,
    More,
}

fn tell(listeners: &mut Listeners, stream: Option<&Stream>, entry: &LogEntry) {
    let EntryBody::Rows(batch) = &entry.body else { return };
    match stream {
        Some(stream) => tell_readings(listeners, stream, entry, batch),
        None => tell_alarms(listeners, batch),
    }
}

fn tell_alarms(listeners: &Listeners, batch: &RecordBatch) {
    match transition_rows::decode(batch) {
        Ok(transitions) => {
            for transition in &transitions {
                listeners.tell_alarm(transition, || alarm_event(transition));
            }
        }
        Err(error) => warn!(%error, "transitions cannot be read"),
    }
}

fn alarm_event(transition: &Transition) -> LiveEvent {
    LiveEvent {
        id: transition.id.as_str().into(),
        event: "alarm",
        data: event::cloud_event(transition).to_string().into(),
    }
}

fn tell_readings(
    listeners: &mut Listeners,
    stream: &Stream,
    entry: &LogEntry,
    batch: &RecordBatch,
) {
    let directory = stream.series().snapshot();
    let definition = stream.definition();
    let mut audience = listeners.in_stream(stream.uid());
    for (row, series) in reading::series_column(batch).values().iter().enumerate() {
        let topic = directory.topic(SeriesId(*series));
        let offset = entry.base_offset.plus(row as u64);
        audience.tell(SeriesId(*series), topic, || LiveEvent {
            id: format!("{}/{}/{offset}", definition.name(), entry.partition).into(),
            event: "reading",
            data: reading_json(batch, row, topic).into(),
        });
    }
}

#[cfg(test)]
mod tests;
