//! TEST RULE: one at a time, for a bounded time, and only as long as somebody waits for the answer.

use super::{Executor, blocking};
use arrow::array::RecordBatch;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use weir_engine::runtime::backtest;
use weir_engine::sql::{SqlError, TestStatement};

/// How long a test may take.
const TEST_TIME_MAX: Duration = Duration::from_secs(600);

/// Tells the test that nobody waits for it any more.
#[derive(Debug)]
struct Awaited(Arc<AtomicBool>);

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Executor {
    pub(super) async fn test(&self, statement: TestStatement) -> Result<RecordBatch, SqlError> {
        let one = Arc::clone(&self.testing).try_acquire_owned().map_err(|_| {
            SqlError::new("another rule is being tested").with_hint(
                "say it again when that is done, or test on a copy of the data directory: \
                 weir test FILE.sql --data DIR",
            )
        })?;
        let left = Arc::new(AtomicBool::new(false));
        let awaited = Awaited(Arc::clone(&left));
        let (log, references) = (Arc::clone(&self.log), Arc::clone(&self.references));
        let rows = blocking(move || {
            let _one = one;
            let clock = Arc::clone(log.clock());
            let time = u64::try_from(TEST_TIME_MAX.as_micros()).unwrap_or(u64::MAX);
            let until = clock.monotonic_us().saturating_add(time);
            let halted = || match (left.load(Ordering::SeqCst), clock.monotonic_us() > until) {
                (true, _) => Some(SqlError::new("nobody waits for the test any more")),
                (false, true) => Some(too_long()),
                (false, false) => None,
            };
            Ok(backtest::test(&log, &references, statement, &halted)?.table())
        })
        .await;
        drop(awaited);
        rows
    }
}

fn too_long() -> SqlError {
    let seconds = TEST_TIME_MAX.as_secs();
    SqlError::new(format!("the test took more than {seconds} s and was stopped")).with_hint(
        "test on a copy of the data directory, where it may take its time: \
         weir test FILE.sql --data DIR",
    )
}
