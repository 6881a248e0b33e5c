//! Fuzz targets for everything that reads bytes weir did not just write itself.
//!
//! Promise: whatever the bytes say, no target panics and none holds more memory than twice its input
//! and a constant. The same functions run under libFuzzer and, over the corpus and seeded mutations
//! of it, as plain tests.

pub mod bounded;
pub mod disk;
pub mod mend;
pub mod seeds;
pub mod targets;
