//! SQL and questions over HTTP.
