//! The latest reading of each series, for questions.
//!
//! Promise: what was confirmed is there at most a moment later. How it answers SQL is
//! `queries::catalog`'s.

mod pump;

pub use crate::stream::latest::index::{AGE, LatestIndex, LatestRows, latest_schema};
pub use pump::{LatestError, LatestTables};
