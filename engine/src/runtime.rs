//! The tasks that pump the synchronous cores.
