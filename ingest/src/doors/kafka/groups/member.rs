//! One member of a consumer group.

use bytes::Bytes;
use kafka_protocol::ResponseError as Code;
use std::net::IpAddr;
use tokio::sync::oneshot;

/// What a member is told when all have joined.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::doors::kafka) struct Joined {
    pub(in crate::doors::kafka) generation: i32,
    pub(in crate::doors::kafka) protocol: String,
    pub(in crate::doors::kafka) leader: String,
    pub(in crate::doors::kafka) member: String,
    /// Id, instance and metadata of each member; only the leader is told.
    pub(in crate::doors::kafka) members: Vec<(String, Option<String>, Bytes)>,
}

/// Why a member is not told what it asked for; with the id it should come again with, if it needs one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doors::kafka) struct Rejected {
    pub(in crate::doors::kafka) code: Code,
    pub(in crate::doors::kafka) member: String,
}

impl Rejected {
    pub(super) fn new(code: Code, member: impl Into<String>) -> Self {
        Self { code, member: member.into() }
    }
}

pub(super) type Joining = oneshot::Sender<Result<Joined, Rejected>>;
pub(super) type Syncing = oneshot::Sender<Result<Bytes, Code>>;

/// Who a member is and what it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doors::kafka) struct Candidate {
    /// Empty where it has none yet.
    pub(in crate::doors::kafka) member: String,
    /// A name that it keeps over its restarts.
    pub(in crate::doors::kafka) instance: Option<String>,
    pub(in crate::doors::kafka) client: String,
    pub(in crate::doors::kafka) host: IpAddr,
    pub(in crate::doors::kafka) session_us: u64,
    pub(in crate::doors::kafka) rebalance_us: u64,
    pub(in crate::doors::kafka) protocol_type: String,
    /// Ways to share the work, by preference, and what it says of itself for each.
    pub(in crate::doors::kafka) protocols: Vec<(String, Bytes)>,
}

impl Candidate {
    /// About what is kept of it.
    pub(super) fn bytes(&self) -> usize {
        let protocols = self.protocols.iter().map(|(name, metadata)| name.len() + metadata.len());
        let instance = self.instance.as_ref().map_or(0, String::len);
        256 + self.member.len() + instance + self.client.len() + protocols.sum::<usize>()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) who: Candidate,
    pub(super) assignment: Bytes,
    /// When it is taken for gone, unless it waits for an answer.
    pub(super) gone_at: u64,
    pub(super) joining: Option<Joining>,
    pub(super) syncing: Option<Syncing>,
}

impl Member {
    pub(super) fn new(who: Candidate, now_us: u64) -> Self {
        let gone_at = now_us.saturating_add(who.session_us);
        Self { who, assignment: Bytes::new(), gone_at, joining: None, syncing: None }
    }

    /// It was heard.
    pub(super) fn heard(&mut self, now_us: u64) {
        self.gone_at = now_us.saturating_add(self.who.session_us);
    }

    /// Whether somebody still listens to what it waits for.
    pub(super) fn waits(&self) -> bool {
        self.joining.as_ref().is_some_and(|joining| !joining.is_closed())
            || self.syncing.as_ref().is_some_and(|syncing| !syncing.is_closed())
    }

    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.who.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// What waits is told that it waits in vain.
    pub(super) fn reject(&mut self, code: Code) {
        if let Some(joining) = self.joining.take() {
            drop(joining.send(Err(Rejected::new(code, self.who.member.clone()))));
        }
        if let Some(syncing) = self.syncing.take() {
            drop(syncing.send(Err(code)));
        }
    }
}
