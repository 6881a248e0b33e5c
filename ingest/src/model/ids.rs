//! Numbers that must not be swapped get names.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Row position inside one partition; dense, grows from 0.
    Offset(u64)
);
number!(
    /// Partition of one stream, from 0.
    PartitionId(u32)
);
number!(
    /// One topic path in one stream; dense in its stream, from 0, never reused.
    SeriesId(u32)
);
number!(
    /// Identity of a stream that survives DROP and CREATE of the same name; from 1.
    StreamUid(u32)
);
number!(
    /// Version of a stream's columns; grows with ALTER STREAM, from 1.
    SchemaId(u32)
);
number!(
    /// When the sensor measured: microseconds since 1970-01-01T00:00:00Z.
    EventTime(i64)
);
number!(
    /// When the log took it: microseconds since 1970-01-01T00:00:00Z, strictly growing over a process.
    AppendTime(i64)
);

impl Offset {
    /// The offset `rows` further on.
    pub fn plus(self, rows: u64) -> Self {
        Self(self.0 + rows)
    }
}
