//! The log on its own, without rules: data directories of earlier formats.
//!
//! Promise: what a released version wrote is read by this one, row for row, and gone on with.

mod climate;
mod fixtures;
