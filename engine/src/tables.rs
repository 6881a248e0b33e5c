//! Tables kept beside the log.
