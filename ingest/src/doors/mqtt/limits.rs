//! Every bound of the MQTT door, with its unit (D3).

use serde::{Deserialize, Serialize};

/// Bounds an operator may set; `Default` is what `weir serve` starts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MqttLimits {
    /// Bytes one packet of a client may have.
    pub packet_bytes_max: u32,
    /// QoS 1 and 2 messages under way on one connection, in each direction: the receive maximum.
    pub in_flight_max: u16,
    /// Longest keep-alive; MQTT 5 clients that ask for more are told this one.
    pub keep_alive_s_max: u16,
    /// Topic aliases of one connection, in each direction.
    pub topic_alias_max: u16,
    /// Longest time a session is kept without a connection; clients that ask for more are told this one.
    pub session_expiry_s_max: u32,
    /// Sessions kept at once, connected or not.
    pub sessions_max: usize,
    /// Subscriptions of one session.
    pub subscriptions_max: usize,
    /// Messages that wait for one session; what goes beyond is read from the log again, or dropped.
    pub waiting_max: usize,
    /// Bytes of messages that wait for one session.
    pub waiting_bytes_max: usize,
    /// Bytes of all messages that are held, retained ones among them; beyond that one waits for a session.
    pub messages_bytes_max: usize,
    /// Rows of a partition the door may be behind before it leaves them to the sessions: each reads the rows
    /// of its QoS 1 and 2 filters from the log, QoS 0 and what groups share miss them.
    pub live_behind_rows_max: u64,
    /// Rows of a partition that a session which was away looks through at most.
    pub catch_up_rows_max: u64,
    /// Topics with a retained message.
    pub retained_max: usize,
    /// Bytes of all retained messages.
    pub retained_bytes_max: usize,
    /// Topics, as filters, whose messages are passed on as they are if no stream takes them.
    pub relay: Vec<String>,
    /// Topics, as filters, that nobody may subscribe to; wider filters do not get them either.
    pub private: Vec<String>,
}

impl Default for MqttLimits {
    fn default() -> Self {
        Self {
            packet_bytes_max: 1024 * 1024 + 64 * 1024,
            in_flight_max: 1024,
            keep_alive_s_max: 3600,
            topic_alias_max: 64,
            session_expiry_s_max: 7 * 24 * 3600,
            sessions_max: 20_000,
            subscriptions_max: 1000,
            waiting_max: 1000,
            waiting_bytes_max: 4 * 1024 * 1024,
            messages_bytes_max: 256 * 1024 * 1024,
            live_behind_rows_max: 200_000,
            catch_up_rows_max: 1_000_000,
            retained_max: 100_000,
            retained_bytes_max: 64 * 1024 * 1024,
            relay: Vec::new(),
            private: Vec::new(),
        }
    }
}
