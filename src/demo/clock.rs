//! The building's clock: starts in the evening and goes faster than ours.

use std::time::Duration;
use weir_ingest::io::{Clock, RealClock};

/// `speed` seconds of it pass in one real second.
#[derive(Debug)]
pub(super) struct EveningClock {
    real: RealClock,
    origin_us: u64,
    start_us: i64,
    speed: u32,
}

impl EveningClock {
    pub(super) fn new(start_us: i64, speed: u32) -> Self {
        let real = RealClock::new();
        let origin_us = real.monotonic_us();
        Self { real, origin_us, start_us, speed }
    }

    fn gone_us(&self) -> u64 {
        (self.real.monotonic_us() - self.origin_us) * u64::from(self.speed)
    }
}

impl Clock for EveningClock {
    fn wall_us(&self) -> i64 {
        self.start_us + self.gone_us().cast_signed()
    }

    fn monotonic_us(&self) -> u64 {
        self.gone_us()
    }

    fn real(&self, duration: Duration) -> Duration {
        duration / self.speed
    }
}
