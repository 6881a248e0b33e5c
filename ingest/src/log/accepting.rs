//! Somebody says that the wall clock is right as it is.
//!
//! Promise: what was accepted is durable before anything goes on by it. Elsewhere: when it is not to be
//! believed is `clock_watch`'s.

use super::{Catalog, CatalogError, ClockState, Log, LogConfig, OpenError, format, opening};
use crate::io::{Clock, Disk};
use std::sync::Arc;

impl Log {
    /// Whether the wall clock is to be believed.
    pub fn clock_state(&self) -> ClockState {
        self.env.clock_state()
    }

    /// The wall clock is right as it is; what it was until now.
    /// # Errors
    /// The catalog did not take it.
    pub fn accept_clock(&self) -> Result<ClockState, CatalogError> {
        self.env.accept_clock()
    }
}

/// Accepts the wall clock as it is for a directory that no server has open; how it was.
/// # Errors
/// The directory cannot be opened, or its catalog did not take it.
pub fn accept_clock(
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    config: &LogConfig,
) -> Result<ClockState, OpenError> {
    let log = Log::open_read_only(Arc::clone(disk), Arc::clone(clock), config.clone())?;
    let (state, change) = (log.clock_state(), log.env.accepting_clock());
    drop(log);
    let directory = &config.directory;
    let _lock = disk
        .lock(&directory.join(opening::LOCK))
        .map_err(|error| format::locked(directory, error))?;
    Catalog::open(disk, &directory.join(opening::CATALOG))?.change(&[change])?;
    Ok(state)
}
