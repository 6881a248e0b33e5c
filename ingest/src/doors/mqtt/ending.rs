//! Why a connection ends.

use super::keep::NotKept;
use super::wire::WireError;
use rmqtt_codec::v5::{Disconnect, DisconnectReasonCode, Packet};

/// What the client is told, in a code and a sentence; one of 3.1.1 just sees its connection end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) code: DisconnectReasonCode,
    pub(super) what: String,
}

impl Ending {
    pub(super) fn new(code: DisconnectReasonCode, what: impl Into<String>) -> Self {
        Self { code, what: what.into() }
    }

    /// A packet where none of its kind may be.
    pub(super) fn protocol(what: impl Into<String>) -> Self {
        Self::new(DisconnectReasonCode::ProtocolError, what)
    }

    /// The session is not this connection's any more.
    pub(super) fn taken_over() -> Self {
        let what = "another connection has this client identifier now";
        Self::new(DisconnectReasonCode::SessionTakenOver, what)
    }

    /// The DISCONNECT that says it.
    pub(super) fn packet(&self) -> Packet {
        let mut disconnect = Disconnect::new(self.code);
        disconnect.reason_string = Some(self.what.as_str().into());
        Packet::Disconnect(disconnect)
    }
}

impl From<NotKept> for Ending {
    fn from(error: NotKept) -> Self {
        Self::new(DisconnectReasonCode::QuotaExceeded, error.to_string())
    }
}

impl From<WireError> for Ending {
    fn from(error: WireError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}
