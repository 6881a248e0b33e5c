//! What a row does not say itself: where it came in.
//!
//! Promise: a reading says all of it, what was published to a topic belongs there, an event has attributes.

use super::shape::Form;

/// What a row does not say itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Envelope<'e> {
    /// A reading says all of it.
    Reading,
    /// A reading that was published to its topic.
    Published { topic: &'e str },
    /// A CloudEvent says where its data belongs.
    Event { topic: &'e str, time: Option<&'e str>, source: &'e str, id: &'e str },
}

impl<'e> Envelope<'e> {
    pub(super) fn form(self) -> Form {
        match self {
            Self::Reading | Self::Published { .. } => Form::Reading,
            Self::Event { .. } => Form::Flat,
        }
    }

    pub(super) fn time(self) -> Option<&'e str> {
        match self {
            Self::Reading | Self::Published { .. } => None,
            Self::Event { time, .. } => time,
        }
    }
}
