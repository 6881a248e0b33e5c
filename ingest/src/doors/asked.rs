//! What a request asks for beside its rows: `?validate`, `?ack`, and who sends it.

use super::answer::ErrorAnswer;
use super::producer::source;
use crate::log::Source;
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};

/// What is done with the good rows of a request that has bad ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Validate {
    /// They are kept.
    EachRow,
    /// Nothing is kept.
    All,
}

/// When a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    /// When its rows are durable.
    Durable,
    /// When they wait for their partition; whether they are stored is not said.
    None,
}

/// All of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) validate: Validate,
    pub(super) ack: Ack,
    pub(super) source: Option<Source>,
}

/// What the head of a request asks for.
/// # Errors
/// A parameter or a header is none that is known.
pub(super) fn asked(head: &Parts) -> Result<Asked, ErrorAnswer> {
    let (validate, ack) = parameters(&head.uri)?;
    Ok(Asked { validate, ack, source: source(&head.headers)? })
}

/// `?validate=all&ack=none`.
fn parameters(uri: &Uri) -> Result<(Validate, Ack), ErrorAnswer> {
    let (mut validate, mut ack) = (Validate::EachRow, Ack::Durable);
    for pair in uri.query().unwrap_or_default().split('&').filter(|p| !p.is_empty()) {
        match pair {
            "validate=all" => validate = Validate::All,
            "validate=each" => validate = Validate::EachRow,
            "ack=none" => ack = Ack::None,
            "ack=durable" => ack = Ack::Durable,
            _ => {
                let message = format!("the parameter '{pair}' is not known");
                return Err(ErrorAnswer::new(StatusCode::BAD_REQUEST, message).hint(
                    "?validate=all takes nothing unless every row is good; ?ack=none does not wait until rows are durable",
                ));
            }
        }
    }
    Ok((validate, ack))
}
