//! Where bytes arrive.
