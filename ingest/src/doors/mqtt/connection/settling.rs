//! What a client published, on its way into the log and back to the client.
//!
//! Promise: confirmed in order, when it is durable; how it ended is known before the session has another
//! connection.

use super::{Connection, End, FAREWELL, ROW_BYTES, told};
use crate::doors::mqtt::keep::NotKept;
use crate::doors::mqtt::publish::Ack;
use crate::doors::mqtt::verdict::Verdict;
use crate::doors::mqtt::wire::Version;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{DisconnectReasonCode, Packet};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

/// What is said when it is durable.
pub(super) enum Settled {
    /// What became of messages.
    Acks(Vec<Ack>),
    /// As it is.
    Packets(Vec<Packet>),
    /// Nothing: the client would take it for durable.
    NotKept(NotKept, Vec<Ack>),
}

pub(super) type Settling<'d> = Pin<Box<dyn Future<Output = Settled> + Send + 'd>>;

impl Connection<'_> {
    /// Hands what was published to the log; it is confirmed when it is durable.
    pub(super) async fn queue(&mut self, batch: &mut Vec<Publish>) -> Result<(), End> {
        if batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(batch);
        self.unsettled += batch.len();
        let mut permit = match self.permit.take() {
            Some(permit) => permit,
            None => self.door.budget.wait(0).await,
        };
        let bytes: usize = batch.iter().map(|message| message.payload.len() + ROW_BYTES).sum();
        if permit.grow_to(2 * bytes).is_err() {
            // What this connection has under way may be what fills the budget.
            self.settle().await?;
        }
        permit.shrink_to(2 * bytes);
        let queued = self.door.queue(Some(&self.seat), batch, permit).await;
        let (door, seat, version) = (self.door, Arc::clone(&self.seat), self.version);
        self.settling.push_back(Box::pin(async move {
            let acks = queued.settled().await;
            match door.keep_ids(&seat, &acks, version).await {
                Ok(()) => Settled::Acks(acks),
                Err(error) => Settled::NotKept(error, acks),
            }
        }));
        Ok(())
    }

    /// Says what became of messages, in order.
    pub(super) fn confirm(&mut self, settled: Settled) -> Result<(), End> {
        self.settling.pop_front();
        let acks = match settled {
            Settled::Acks(acks) => acks,
            Settled::Packets(packets) => {
                packets.into_iter().for_each(|packet| self.say(packet));
                return Ok(());
            }
            Settled::NotKept(error, acks) => {
                self.door.published(&acks);
                return Err(End::Told(error.into()));
            }
        };
        self.unsettled -= acks.len();
        let mut session = self.seat.session.lock();
        let mut answers = Vec::with_capacity(acks.len());
        let mut end = Ok(());
        self.door.published(&acks);
        for Ack { id, qos, verdict } in acks {
            let Some(id) = id else { continue };
            if qos == QoS::AtLeastOnce {
                session.inbound.confirmed();
            }
            if let (Verdict::Failed { why, .. }, Version::V3) = (&verdict, self.version) {
                end = Err(told(DisconnectReasonCode::QuotaExceeded, why));
                break;
            }
            answers.push(verdict.packet(qos, id));
        }
        drop(session);
        answers.into_iter().for_each(|packet| self.say(packet));
        end
    }

    /// Waits for what is under way and confirms it.
    pub(super) async fn settle(&mut self) -> Result<(), End> {
        while !self.settling.is_empty() {
            let settled = next_settled(&mut self.settling).await;
            self.confirm(settled)?;
        }
        Ok(())
    }

    /// Says PUBCOMP when it is durable that the ids are free: a client gives them to other messages then.
    pub(super) fn release(&mut self, packets: Vec<Packet>) {
        if packets.is_empty() {
            return;
        }
        let (door, seat) = (self.door, Arc::clone(&self.seat));
        self.settling.push_back(Box::pin(async move {
            match door.keep(&seat).await {
                Ok(()) => Settled::Packets(packets),
                Err(error) => Settled::NotKept(error, Vec::new()),
            }
        }));
    }

    /// Waits for what is under way, so that it is known what of it was taken.
    pub(super) async fn drain(&mut self) {
        let all = async {
            while !self.settling.is_empty() {
                let settled = next_settled(&mut self.settling).await;
                drop(self.confirm(settled));
            }
        };
        drop(tokio::time::timeout(FAREWELL, all).await);
    }
}

pub(super) async fn next_settled(settling: &mut VecDeque<Settling<'_>>) -> Settled {
    match settling.front_mut() {
        Some(first) => first.await,
        None => std::future::pending().await,
    }
}
