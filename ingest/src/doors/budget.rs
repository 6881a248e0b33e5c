//! The byte budget of everything that comes in and is not confirmed yet (P9, D3).
//!
//! Promise: bytes are held only with a permit for them; a permit gives them back when it is dropped.
//! Over the budget a door says so at once, or reads no further until there are bytes.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One permit of the semaphore stands for this many bytes, so that 32-bit counts suffice.
const UNIT_BYTES: usize = 1024;

/// Bytes of request bodies and unconfirmed rows that may be held at once.
#[derive(Debug)]
pub struct IngestBudget {
    units: Arc<Semaphore>,
    units_max: usize,
}

/// Bytes taken from the budget until this is dropped.
#[derive(Debug)]
pub struct Permit {
    units: Arc<Semaphore>,
    held: OwnedSemaphorePermit,
}

/// Bytes that cannot be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// The budget has not that many left.
    #[error("the server holds as many unconfirmed bytes as it may; try again in a moment")]
    Server,
    /// One partition has used up its share.
    #[error(
        "a partition of this stream has as many bytes waiting for its disk as it may; try again in a moment"
    )]
    Partition,
}

impl IngestBudget {
    /// A budget of `bytes_max`.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        let units_max = units_of(bytes_max);
        Arc::new(Self { units: Arc::new(Semaphore::new(units_max)), units_max })
    }

    /// Takes `bytes`.
    /// # Errors
    /// They are not there now.
    pub fn take(&self, bytes: usize) -> Result<Permit, OverBudget> {
        let units = Arc::clone(&self.units);
        let held = acquire(&units, units_of(bytes))?;
        Ok(Permit { units, held })
    }

    /// Takes `bytes`, as soon as they are there: for a door that reads no further meanwhile.
    pub async fn wait(&self, bytes: usize) -> Permit {
        let units = Arc::clone(&self.units);
        let n = u32::try_from(units_of(bytes).min(self.units_max)).unwrap_or(u32::MAX);
        let held = Arc::clone(&units).acquire_many_owned(n).await;
        Permit { units, held: held.expect("the budget is never closed") }
    }

    /// Bytes held now.
    pub fn in_flight(&self) -> usize {
        (self.units_max - self.units.available_permits()) * UNIT_BYTES
    }

    /// Bytes that may be held.
    pub fn bytes_max(&self) -> usize {
        self.units_max * UNIT_BYTES
    }
}

impl Permit {
    /// Holds at least `bytes` from now on.
    /// # Errors
    /// The budget has not the rest; what is held stays held.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), OverBudget> {
        let missing = units_of(bytes).saturating_sub(self.held.num_permits());
        if missing > 0 {
            self.held.merge(acquire(&self.units, missing)?);
        }
        Ok(())
    }

    /// As [`Self::grow_to`], as soon as they are there; what is held stays held meanwhile, so that who waits for
    /// long lets go of it.
    pub async fn wait_to(&mut self, bytes: usize) {
        let missing = units_of(bytes).saturating_sub(self.held.num_permits());
        if missing > 0 {
            let n = u32::try_from(missing).unwrap_or(u32::MAX);
            let rest = Arc::clone(&self.units).acquire_many_owned(n).await;
            self.held.merge(rest.expect("the budget is never closed"));
        }
    }

    /// Gives back what goes beyond `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let extra = self.held.num_permits().saturating_sub(units_of(bytes));
        drop(self.held.split(extra));
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.held.num_permits() * UNIT_BYTES
    }
}

fn acquire(units: &Arc<Semaphore>, wanted: usize) -> Result<OwnedSemaphorePermit, OverBudget> {
    let wanted = u32::try_from(wanted).map_err(|_| OverBudget::Server)?;
    Arc::clone(units).try_acquire_many_owned(wanted).map_err(|_| OverBudget::Server)
}

fn units_of(bytes: usize) -> usize {
    bytes.div_ceil(UNIT_BYTES).min(Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_when_the_permit_is_dropped() {
        let budget = IngestBudget::new(10 * 1024);
        let mut permit = budget.take(3 * 1024).expect("room");
        permit.grow_to(8 * 1024).expect("room");
        permit.grow_to(1).expect("it holds more already");
        assert_eq!((budget.in_flight(), permit.bytes()), (8 * 1024, 8 * 1024));
        assert_eq!(permit.grow_to(11 * 1024), Err(OverBudget::Server));
        assert_eq!(budget.take(3 * 1024).err(), Some(OverBudget::Server));
        permit.shrink_to(7 * 1024);
        let other = budget.take(3 * 1024).expect("room");
        drop((permit, other));
        assert_eq!(budget.in_flight(), 0);
    }
}
