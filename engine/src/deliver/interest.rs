//! Who wants the readings of a series, of many that each ask with a pattern: the words' own index, which
//! the doors use too.

pub use weir_ingest::model::{InStream, Interest};
