//! Packets of MQTT 3.1.1 as packets of MQTT 5, and back.
//!
//! Promise: what 3.1.1 cannot say is left out on the way back; a reason code becomes the nearest one.

use rmqtt_codec::types::QoS;
use rmqtt_codec::v3::{self, SubscribeReturnCode};
use rmqtt_codec::v5::{
    Connect, ConnectAck, ConnectAckReason, Disconnect, DisconnectReasonCode, LastWill, Packet,
    PublishAck, PublishAck2, Subscribe, SubscribeAck, SubscribeAckReason, SubscriptionOptions,
    Unsubscribe, UnsubscribeAck,
};
use std::num::NonZeroU16;

/// A session of 3.1.1 that is not clean never expires; the door's bound still holds.
const NEVER: u32 = u32::MAX;

/// What a client said.
pub(super) fn read(packet: v3::Packet) -> Packet {
    match packet {
        v3::Packet::Connect(connect) => Packet::Connect(Box::new(read_connect(*connect))),
        v3::Packet::ConnectAck(ack) => Packet::ConnectAck(Box::new(ConnectAck {
            session_present: ack.session_present,
            reason_code: match ack.return_code {
                v3::ConnectAckReason::ConnectionAccepted => ConnectAckReason::Success,
                v3::ConnectAckReason::UnacceptableProtocolVersion => {
                    ConnectAckReason::UnsupportedProtocolVersion
                }
                v3::ConnectAckReason::IdentifierRejected => {
                    ConnectAckReason::ClientIdentifierNotValid
                }
                _ => ConnectAckReason::UnspecifiedError,
            },
            ..ConnectAck::default()
        })),
        v3::Packet::Publish(publish) => Packet::Publish(publish),
        v3::Packet::PublishAck { packet_id } => Packet::PublishAck(ack(packet_id)),
        v3::Packet::PublishReceived { packet_id } => Packet::PublishReceived(ack(packet_id)),
        v3::Packet::PublishRelease { packet_id } => Packet::PublishRelease(ack_2(packet_id)),
        v3::Packet::PublishComplete { packet_id } => Packet::PublishComplete(ack_2(packet_id)),
        v3::Packet::Subscribe { packet_id, topic_filters } => {
            let options = |qos: QoS| SubscriptionOptions { qos, ..SubscriptionOptions::default() };
            let topic_filters = topic_filters.into_iter().map(|(f, qos)| (f, options(qos)));
            Packet::Subscribe(Subscribe {
                packet_id,
                id: None,
                user_properties: Vec::new(),
                topic_filters: topic_filters.collect(),
            })
        }
        v3::Packet::SubscribeAck { packet_id, status } => Packet::SubscribeAck(SubscribeAck {
            packet_id,
            properties: Vec::new(),
            reason_string: None,
            status: status.into_iter().map(read_granted).collect(),
        }),
        v3::Packet::Unsubscribe { packet_id, topic_filters } => Packet::Unsubscribe(Unsubscribe {
            packet_id,
            user_properties: Vec::new(),
            topic_filters,
        }),
        v3::Packet::UnsubscribeAck { packet_id } => Packet::UnsubscribeAck(UnsubscribeAck {
            packet_id,
            properties: Vec::new(),
            reason_string: None,
            status: Vec::new(),
        }),
        v3::Packet::PingRequest => Packet::PingRequest,
        v3::Packet::PingResponse => Packet::PingResponse,
        v3::Packet::Disconnect => {
            Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection))
        }
    }
}

fn read_connect(connect: v3::Connect) -> Connect {
    let will = connect.last_will.map(|will| LastWill {
        qos: will.qos,
        retain: will.retain,
        topic: will.topic,
        message: will.message,
        will_delay_interval_sec: None,
        correlation_data: None,
        message_expiry_interval: None,
        content_type: None,
        user_properties: Vec::new(),
        is_utf8_payload: None,
        response_topic: None,
    });
    Connect {
        clean_start: connect.clean_session,
        keep_alive: connect.keep_alive,
        session_expiry_interval_secs: if connect.clean_session { 0 } else { NEVER },
        last_will: will,
        client_id: connect.client_id,
        username: connect.username,
        password: connect.password,
        ..Connect::default()
    }
}

fn read_granted(status: SubscribeReturnCode) -> SubscribeAckReason {
    match status {
        SubscribeReturnCode::Success(QoS::AtMostOnce) => SubscribeAckReason::GrantedQos0,
        SubscribeReturnCode::Success(QoS::AtLeastOnce) => SubscribeAckReason::GrantedQos1,
        SubscribeReturnCode::Success(QoS::ExactlyOnce) => SubscribeAckReason::GrantedQos2,
        SubscribeReturnCode::Failure => SubscribeAckReason::UnspecifiedError,
    }
}

/// What a client is told; `None` where 3.1.1 has no such packet.
pub(super) fn write(packet: Packet) -> Option<v3::Packet> {
    Some(match packet {
        Packet::Connect(connect) => v3::Packet::Connect(Box::new(v3::Connect {
            clean_session: connect.clean_start,
            keep_alive: connect.keep_alive,
            last_will: connect.last_will.map(|will| v3::LastWill {
                qos: will.qos,
                retain: will.retain,
                topic: will.topic,
                message: will.message,
            }),
            client_id: connect.client_id,
            username: connect.username,
            password: connect.password,
            ..v3::Connect::default()
        })),
        Packet::ConnectAck(ack) => v3::Packet::ConnectAck(v3::ConnectAck {
            return_code: write_connect_reason(ack.reason_code),
            session_present: ack.session_present,
        }),
        Packet::Publish(mut publish) => {
            publish.properties = None;
            v3::Packet::Publish(publish)
        }
        Packet::PublishAck(ack) => v3::Packet::PublishAck { packet_id: ack.packet_id },
        Packet::PublishReceived(ack) => v3::Packet::PublishReceived { packet_id: ack.packet_id },
        Packet::PublishRelease(ack) => v3::Packet::PublishRelease { packet_id: ack.packet_id },
        Packet::PublishComplete(ack) => v3::Packet::PublishComplete { packet_id: ack.packet_id },
        Packet::Subscribe(subscribe) => v3::Packet::Subscribe {
            packet_id: subscribe.packet_id,
            topic_filters: subscribe.topic_filters.into_iter().map(|(f, o)| (f, o.qos)).collect(),
        },
        Packet::SubscribeAck(ack) => v3::Packet::SubscribeAck {
            packet_id: ack.packet_id,
            status: ack.status.into_iter().map(write_granted).collect(),
        },
        Packet::Unsubscribe(unsubscribe) => v3::Packet::Unsubscribe {
            packet_id: unsubscribe.packet_id,
            topic_filters: unsubscribe.topic_filters,
        },
        Packet::UnsubscribeAck(ack) => v3::Packet::UnsubscribeAck { packet_id: ack.packet_id },
        Packet::PingRequest => v3::Packet::PingRequest,
        Packet::PingResponse => v3::Packet::PingResponse,
        Packet::Disconnect(disconnect) => match disconnect.reason_code {
            DisconnectReasonCode::NormalDisconnection => v3::Packet::Disconnect,
            _ => return None,
        },
        Packet::Auth(_) => return None,
    })
}

fn write_connect_reason(reason: ConnectAckReason) -> v3::ConnectAckReason {
    match reason {
        ConnectAckReason::Success => v3::ConnectAckReason::ConnectionAccepted,
        ConnectAckReason::UnsupportedProtocolVersion => {
            v3::ConnectAckReason::UnacceptableProtocolVersion
        }
        ConnectAckReason::ClientIdentifierNotValid => v3::ConnectAckReason::IdentifierRejected,
        ConnectAckReason::BadUserNameOrPassword => v3::ConnectAckReason::BadUserNameOrPassword,
        ConnectAckReason::NotAuthorized => v3::ConnectAckReason::NotAuthorized,
        _ => v3::ConnectAckReason::ServiceUnavailable,
    }
}

fn write_granted(reason: SubscribeAckReason) -> SubscribeReturnCode {
    match reason {
        SubscribeAckReason::GrantedQos0 => SubscribeReturnCode::Success(QoS::AtMostOnce),
        SubscribeAckReason::GrantedQos1 => SubscribeReturnCode::Success(QoS::AtLeastOnce),
        SubscribeAckReason::GrantedQos2 => SubscribeReturnCode::Success(QoS::ExactlyOnce),
        _ => SubscribeReturnCode::Failure,
    }
}

fn ack(packet_id: NonZeroU16) -> PublishAck {
    PublishAck { packet_id, ..PublishAck::default() }
}

fn ack_2(packet_id: NonZeroU16) -> PublishAck2 {
    PublishAck2 { packet_id, ..PublishAck2::default() }
}
