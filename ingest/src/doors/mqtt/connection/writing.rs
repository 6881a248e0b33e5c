//! What is said to the client.
//!
//! Promise: no more is made than the socket takes soon; a client that does not read is not written to on
//! and on. Only the newest connection of a client takes what waits for it.

use super::{Connection, WRITE_BYTES, greeting};
use crate::doors::mqtt::outbound::Next;
use crate::doors::mqtt::session::When;
use crate::doors::mqtt::wire::Put;
use bytes::BytesMut;
use rmqtt_codec::v5::Packet;
use std::io;
use tokio::time::Instant;

/// Whose session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    This,
    Another,
}

impl Connection<'_> {
    pub(super) fn say(&mut self, packet: Packet) {
        if self.wire.put(packet, &mut self.output) == Put::LeftOut {
            tracing::debug!("a packet is larger than the client takes");
        }
    }

    /// Makes packets of what waits for the client, while there is room.
    pub(super) fn fill_output(&mut self) -> Owner {
        let now = self.door.now().0;
        let mut session = self.seat.session.lock();
        if session.link != Some(self.link) {
            return Owner::Another;
        }
        while self.output.len() < WRITE_BYTES {
            let Some(next) = session.outbound.next(now) else { break };
            let publish = match next {
                Next::Release(packet_id) => {
                    self.wire.put(greeting::release(packet_id), &mut self.output);
                    continue;
                }
                Next::Publish(publish) => publish,
            };
            let (id, topic) = (publish.packet_id, publish.topic.clone());
            if id.is_some() {
                session.has_changed(When::Soon);
            }
            let known = self.aliases.knows(&topic);
            let packet = Packet::Publish(Box::new(self.aliases.shorten(*publish)));
            if self.wire.put(packet, &mut self.output) == Put::LeftOut {
                session.outbound.left_out(id);
                if !known {
                    self.aliases.forget(&topic);
                }
            }
        }
        Owner::This
    }

    /// Writes as much as the socket takes now.
    pub(super) fn write_some(&mut self) -> io::Result<()> {
        let was_unread = self.is_unread();
        if self.stream.write_now(&mut self.output)? > 0 && was_unread {
            self.heard = Instant::now();
        }
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
        Ok(())
    }

    /// Writes the rest and hears the client out.
    pub(super) async fn farewell(&mut self) {
        let goodbye = std::mem::take(&mut self.output);
        self.stream.finish(&goodbye).await;
    }
}
