//! The durable, partitioned log.
