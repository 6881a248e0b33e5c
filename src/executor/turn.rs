//! TEST RULE and EXPLAIN ALARM read the log again: one at a time, for a bounded time, and only as long as
//! somebody waits for the answer.

use super::{Executor, blocking};
use arrow::array::RecordBatch;
use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_engine::runtime::backtest;
use weir_engine::runtime::explain::explain_alarm;
use weir_engine::sql::{SqlError, TestStatement};
use weir_ingest::io::Clock;

/// How long it may take.
const TIME_MAX: Duration = Duration::from_secs(600);

/// Who reads.
#[derive(Debug, Clone, Copy)]
enum Reader {
    /// TEST RULE.
    Test,
    /// EXPLAIN ALARM.
    Explanation,
}

impl Reader {
    fn busy(self) -> SqlError {
        SqlError::new("another rule is being tested, or another alarm explained").with_hint(
            match self {
                Self::Test => {
                    "say it again when that is done, or test on a copy of the data directory: \
                     weir test FILE.sql --data DIR"
                }
                Self::Explanation => "say it again when that is done",
            },
        )
    }

    fn too_long(self) -> SqlError {
        let seconds = TIME_MAX.as_secs();
        match self {
            Self::Test => {
                SqlError::new(format!("the test took more than {seconds} s and was stopped"))
                    .with_hint(
                        "test on a copy of the data directory, where it may take its time: \
                         weir test FILE.sql --data DIR",
                    )
            }
            Self::Explanation => SqlError::new(format!(
                "the rule looks at more than the rows behind the alarm; reading its input again took more \
                 than {seconds} s and was stopped"
            ))
            .with_hint("SELECT receipt FROM alarm_history WHERE alarm_id = '...' is what was recorded"),
        }
    }
}

/// One who reads, from the first input on.
#[derive(Debug)]
struct Turn {
    reader: Reader,
    turns: Arc<Semaphore>,
    taken: OnceCell<OwnedSemaphorePermit>,
    clock: Arc<dyn Clock>,
    until_us: u64,
    /// Nobody waits for the answer.
    left: Arc<AtomicBool>,
}

impl Turn {
    fn new(
        reader: Reader,
        turns: &Arc<Semaphore>,
        clock: &Arc<dyn Clock>,
        left: &Arc<AtomicBool>,
    ) -> Self {
        let time = u64::try_from(TIME_MAX.as_micros()).unwrap_or(u64::MAX);
        Self {
            reader,
            turns: Arc::clone(turns),
            taken: OnceCell::new(),
            until_us: clock.monotonic_us().saturating_add(time),
            clock: Arc::clone(clock),
            left: Arc::clone(left),
        }
    }

    /// Why no further input is to be read.
    fn halted(&self) -> Option<SqlError> {
        if self.taken.get().is_none() {
            match Arc::clone(&self.turns).try_acquire_owned() {
                Ok(permit) => drop(self.taken.set(permit)),
                Err(_) => return Some(self.reader.busy()),
            }
        }
        match (self.left.load(Ordering::SeqCst), self.clock.monotonic_us() > self.until_us) {
            (true, _) => Some(SqlError::new("nobody waits for the answer any more")),
            (false, true) => Some(self.reader.too_long()),
            (false, false) => None,
        }
    }
}

/// Tells the reader that nobody waits for it any more.
#[derive(Debug)]
struct Awaited(Arc<AtomicBool>);

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Executor {
    pub(super) async fn test(&self, statement: TestStatement) -> Result<RecordBatch, SqlError> {
        let (log, references) = (Arc::clone(&self.log), Arc::clone(&self.references));
        self.in_turn(Reader::Test, move |halted| {
            Ok(backtest::test(&log, &references, statement, halted)?.table())
        })
        .await
    }

    pub(super) async fn explain(&self, id: String) -> Result<RecordBatch, SqlError> {
        let (log, references) = (Arc::clone(&self.log), Arc::clone(&self.references));
        let memory_max = self.rules.memory_max();
        self.in_turn(Reader::Explanation, move |halted| {
            explain_alarm(&log, &references, &id, memory_max, halted)
        })
        .await
    }

    /// Runs `read`, whose turn it is from when it asks whether it is halted.
    async fn in_turn(
        &self,
        reader: Reader,
        read: impl FnOnce(&dyn Fn() -> Option<SqlError>) -> Result<RecordBatch, SqlError>
        + Send
        + 'static,
    ) -> Result<RecordBatch, SqlError> {
        let left = Arc::new(AtomicBool::new(false));
        let _awaited = Awaited(Arc::clone(&left));
        let (turns, clock) = (Arc::clone(&self.turns), Arc::clone(self.log.clock()));
        blocking(move || {
            let turn = Turn::new(reader, &turns, &clock, &left);
            read(&|| turn.halted())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_ingest::io::SimulatedClock;

    fn turn(turns: &Arc<Semaphore>, clock: &Arc<SimulatedClock>) -> (Turn, Awaited) {
        let left = Arc::new(AtomicBool::new(false));
        let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
        (Turn::new(Reader::Explanation, turns, &clock, &left), Awaited(left))
    }

    #[test]
    fn the_log_is_read_again_for_one_at_a_time_who_waits_and_not_for_ever() {
        let (turns, clock) = (Arc::new(Semaphore::new(1)), Arc::new(SimulatedClock::at(0)));
        let (rests, _waits) = turn(&turns, &clock);
        let (first, _first_waits) = turn(&turns, &clock);
        let (second, second_waits) = turn(&turns, &clock);
        assert_eq!(first.halted(), None, "one that reads nothing keeps nobody waiting");
        assert!(second.halted().is_some_and(|why| why.message.contains("another alarm explained")));
        assert!(first.halted().is_none());
        clock.advance(TIME_MAX + Duration::from_secs(1));
        assert!(first.halted().is_some_and(|why| why.message.contains("took more than 600 s")));
        drop((first, rests));
        assert!(second.halted().is_some_and(|why| why.message.contains("took more than 600 s")));
        drop(second_waits);
        assert!(second.halted().is_some_and(|why| why.message.contains("nobody waits")));
    }
}
