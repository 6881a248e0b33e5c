//! Counters of the doors, as Prometheus reads them.
//!
//! Promise: no global state: whoever starts the doors owns the recorder, and may install it for the
//! other rooms too.

use crate::decode::Decoded;
use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const META: Metadata<'static> = Metadata::new("weir_ingest", Level::INFO, None);

/// Upper bounds of latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 4.0, 16.0];

/// The recorder of a server.
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
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
        Arc::new(Self { recorder: Arc::new(recorder), handle })
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

    /// Records how long something took.
    pub fn took(&self, name: &'static str, labels: Vec<Label>, time: Duration) {
        let key = Key::from_parts(name, labels);
        self.recorder.register_histogram(&key, &META).record(time.as_secs_f64());
    }

    /// One answered request.
    pub(super) fn request(&self, door: &'static str, status: u16, time: Duration) {
        let labels = vec![Label::new("door", door), Label::new("status", status.to_string())];
        self.count("weir_requests_total", labels, 1);
        let labels = vec![Label::new("door", door)];
        self.took("weir_request_seconds", labels, time);
    }

    /// What became of a request's rows.
    pub(super) fn decoded(&self, decoded: &Decoded) {
        let mut accepted: BTreeMap<String, u64> = BTreeMap::new();
        for rows in &decoded.rows {
            let name = rows.stream.definition().name().to_owned();
            *accepted.entry(name).or_default() += rows.indexes.len() as u64;
        }
        for (stream, n) in accepted {
            self.count("weir_rows_decoded_total", vec![Label::new("stream", stream)], n);
        }
        let mut refused: BTreeMap<&'static str, u64> = BTreeMap::new();
        for refusal in &decoded.refused {
            *refused.entry(refusal.reason.code()).or_default() += 1;
        }
        for (code, n) in refused {
            self.count("weir_rows_refused_total", vec![Label::new("code", code)], n);
        }
    }
}
