//! Streams, alarms and the system as SQL tables.
