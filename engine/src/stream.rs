//! Event time: input order, watermarks, windows.
