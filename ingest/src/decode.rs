//! Bytes become Arrow columns.
