//! What questions may ask of the running rules: which alarms rest on sensors that fell silent.

use arrow::array::RecordBatch;
use parking_lot::Mutex;
use weir_engine::alarms::StaleAlarms;
use weir_queries::catalog::{NoSystem, SystemSource};

/// Told before each question; the rest of `system.*` is empty.
#[derive(Debug, Default)]
pub(crate) struct Stale(Mutex<Vec<(String, StaleAlarms)>>);

impl Stale {
    /// By rule, the alarms whose sensors are silent now.
    pub(crate) fn set(&self, stale: Vec<(String, StaleAlarms)>) {
        *self.0.lock() = stale;
    }
}

impl SystemSource for Stale {
    fn stale_alarms(&self) -> Vec<(String, StaleAlarms)> {
        self.0.lock().clone()
    }

    fn rules(&self) -> RecordBatch {
        NoSystem.rules()
    }

    fn watermarks(&self) -> RecordBatch {
        NoSystem.watermarks()
    }

    fn subscriptions(&self) -> RecordBatch {
        NoSystem.subscriptions()
    }
}
