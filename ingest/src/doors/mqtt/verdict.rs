//! What a publisher is told of one message.
//!
//! Promise: a message that will never be taken is told apart from one that may be sent again; MQTT 5 hears
//! both in PUBACK, a client of 3.1.1 gets no PUBACK for the second and is disconnected, so that it repeats.

use crate::doors::confirm::is_full;
use crate::log::AppendError;
use crate::model::{Refusal, RefusalReason};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{Packet, PublishAck, PublishAckReason};
use std::num::NonZeroU16;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Durable, or handed to those who subscribed.
    Taken,
    /// Nobody subscribes to it, and it is only passed on.
    Unheard,
    /// It will not be taken, however often it comes; it is a dead letter.
    Refused { code: PublishAckReason, why: String },
    /// It was not confirmed; sending it again may help.
    Failed { code: PublishAckReason, why: String },
}

impl Verdict {
    /// Of a refused reading.
    pub(super) fn refused(refusal: &Refusal) -> Self {
        let code = match &refusal.reason {
            RefusalReason::Topic(_)
            | RefusalReason::NoStream(_)
            | RefusalReason::WrittenByRule { .. } => PublishAckReason::TopicNameInvalid,
            RefusalReason::TooManySeries(_) => PublishAckReason::QuotaExceeded,
            _ => PublishAckReason::PayloadFormatInvalid,
        };
        Self::Refused { code, why: refusal.reason.to_string() }
    }

    /// Of rows that a partition did not confirm.
    pub(super) fn failed(error: &AppendError) -> Self {
        let code = match error {
            _ if is_full(error) => PublishAckReason::QuotaExceeded,
            _ => PublishAckReason::UnspecifiedError,
        };
        Self::Failed { code, why: error.to_string() }
    }

    /// A word for the counters.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Unheard => "unheard",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
        }
    }

    /// PUBACK or PUBREC.
    pub(super) fn packet(&self, qos: QoS, packet_id: NonZeroU16) -> Packet {
        let (reason_code, why) = match self {
            Self::Taken => (PublishAckReason::Success, None),
            Self::Unheard => (PublishAckReason::NoMatchingSubscribers, None),
            Self::Refused { code, why } | Self::Failed { code, why } => (*code, Some(why)),
        };
        let reason_string = why.map(|why| why.as_str().into());
        let ack = PublishAck { packet_id, reason_code, properties: Vec::new(), reason_string };
        match qos {
            QoS::ExactlyOnce => Packet::PublishReceived(ack),
            _ => Packet::PublishAck(ack),
        }
    }
}
