//! Tables kept beside the log: the latest reading of each series, and reference tables.
//!
//! Promise: both are folds over the log; losing them costs a replay, never an answer.

pub mod latest; // one row per series
pub mod reference; // thresholds, opening hours: CREATE TABLE and INSERT
