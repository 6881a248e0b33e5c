//! Counters of the doors, as Prometheus reads them.
//!
//! Promise: no global state: whoever starts the doors owns the recorder, and may install it for the
//! other rooms too.

use crate::decode::{Decoded, DecodedRows};
use crate::log::Stream;
use crate::model::{Refusal, StreamUid};
use metrics::{Counter, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const META: Metadata<'static> = Metadata::new("weir_ingest", Level::INFO, None);

/// Upper bounds of latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 4.0, 16.0];

/// Times are kept one by one until they are put into buckets: after so many requests, or when somebody
/// asks.
const TIMES_MAX: u32 = 8 * 1024;

/// The recorder of a server.
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    requests: RwLock<HashMap<(&'static str, u16), Requests, ahash::RandomState>>,
    rows: RwLock<HashMap<StreamUid, Counter, ahash::RandomState>>,
    times: AtomicU32,
}

/// Requests of one door with one status.
#[derive(Clone)]
struct Requests {
    total: Counter,
    seconds: Histogram,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// An empty recorder.
    pub fn new() -> Arc<Self> {
        let builder =
            PrometheusBuilder::new().set_buckets(&LATENCY_BUCKETS).expect("there are buckets");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        Arc::new(Self {
            recorder: Arc::new(recorder),
            handle,
            requests: RwLock::default(),
            rows: RwLock::default(),
            times: AtomicU32::new(0),
        })
    }

    /// For `metrics::set_global_recorder`, so that other rooms' counters are shown too.
    pub fn recorder(&self) -> Arc<PrometheusRecorder> {
        Arc::clone(&self.recorder)
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// Adds to a counter.
    pub fn count(&self, name: &'static str, labels: Vec<Label>, n: u64) {
        self.recorder.register_counter(&Key::from_parts(name, labels), &META).increment(n);
    }

    /// Sets a gauge.
    #[expect(clippy::cast_precision_loss, reason = "for people and graphs")]
    pub fn set(&self, name: &'static str, labels: Vec<Label>, value: u64) {
        self.recorder.register_gauge(&Key::from_parts(name, labels), &META).set(value as f64);
    }

    /// One answered request.
    pub(super) fn request(&self, door: &'static str, status: u16, time: Duration) {
        let known = self.requests.read().get(&(door, status)).cloned();
        let requests = known.unwrap_or_else(|| {
            let requests = self.register_requests(door, status);
            self.requests.write().insert((door, status), requests.clone());
            requests
        });
        requests.total.increment(1);
        requests.seconds.record(time.as_secs_f64());
        if self.times.fetch_add(1, Ordering::Relaxed) % TIMES_MAX == TIMES_MAX - 1 {
            self.handle.run_upkeep();
        }
    }

    fn register_requests(&self, door: &'static str, status: u16) -> Requests {
        let labels = vec![Label::new("door", door), Label::new("status", status.to_string())];
        let total = Key::from_parts("weir_requests_total", labels);
        let seconds = Key::from_parts("weir_request_seconds", vec![Label::new("door", door)]);
        Requests {
            total: self.recorder.register_counter(&total, &META),
            seconds: self.recorder.register_histogram(&seconds, &META),
        }
    }

    /// Rows of a stream.
    fn rows(&self, stream: &Stream, n: u64) {
        if let Some(counter) = self.rows.read().get(&stream.uid()) {
            return counter.increment(n);
        }
        let labels = vec![Label::new("stream", stream.definition().name().to_owned())];
        let key = Key::from_parts("weir_rows_decoded_total", labels);
        let counter = self.recorder.register_counter(&key, &META);
        counter.increment(n);
        self.rows.write().insert(stream.uid(), counter);
    }

    /// What became of a request's rows.
    pub(super) fn decoded(&self, decoded: &Decoded) {
        self.rows_decoded(&decoded.rows, &decoded.refused);
    }

    /// As [`Self::decoded`], in its parts.
    pub(super) fn rows_decoded(&self, rows: &[DecodedRows], refused_rows: &[Refusal]) {
        for rows in rows {
            self.rows(&rows.stream, rows.indexes.len() as u64);
        }
        let mut refused: BTreeMap<&'static str, u64> = BTreeMap::new();
        for refusal in refused_rows {
            *refused.entry(refusal.reason.code()).or_default() += 1;
        }
        for (code, n) in refused {
            self.count("weir_rows_refused_total", vec![Label::new("code", code)], n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_put_into_buckets_before_anybody_asks_are_not_lost() {
        let metrics = Metrics::new();
        for _ in 0..TIMES_MAX + 3 {
            metrics.request("readings", 200, Duration::from_millis(3));
        }
        let all = metrics.render();
        assert!(all.contains("weir_request_seconds_count{door=\"readings\"} 8195"), "{all}");
    }
}
