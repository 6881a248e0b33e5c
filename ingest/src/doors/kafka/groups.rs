//! Consumer groups: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, and who asks about them.
//!
//! Promise: who is in a group is kept in memory, bounded; after a restart members come in anew and go on from
//! what they committed, which `commits` keeps durable. Elsewhere: how a group agrees is `group`'s.

mod asking;
mod group;
mod member;

use super::KafkaDoor;
use super::limits::KafkaLimits;
use group::{Group, Phase};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::heartbeat_request::HeartbeatRequest;
use kafka_protocol::messages::join_group_request::JoinGroupRequest;
use kafka_protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use kafka_protocol::messages::leave_group_request::LeaveGroupRequest;
use kafka_protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use kafka_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use kafka_protocol::messages::{HeartbeatResponse, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;
use member::{Candidate, Joined, Rejected};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{oneshot, watch};

/// Bytes of a group's name.
const NAME_BYTES_MAX: usize = 255;
/// From this version of JoinGroup on a member is given an id before it is let in.
const IDS_FIRST: i16 = 4;

/// Who asks to be a member.
#[derive(Debug)]
pub(super) struct Caller {
    /// What it calls itself.
    pub(super) client: String,
    /// Where it is.
    pub(super) host: IpAddr,
}

/// All groups that have members.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_name: Mutex<HashMap<String, Group>>,
    /// Members that were given ids.
    ids: AtomicU64,
}

impl Groups {
    /// Time goes on.
    pub(super) fn sweep(&self, now_us: u64) {
        let mut groups = self.by_name.lock();
        groups.values_mut().for_each(|group| group.sweep(now_us));
        groups.retain(|_, group| group.size() > 0);
    }

    /// Nobody is answered any more.
    pub(super) fn close(&self) {
        self.by_name.lock().clear();
    }

    /// Whether an offset of this member may be committed.
    pub(super) fn may_commit(
        &self,
        name: &str,
        member: &str,
        instance: Option<&str>,
        generation: i32,
        now_us: u64,
    ) -> Result<(), Code> {
        let mut groups = self.by_name.lock();
        let group = groups.get_mut(name).filter(|group| !group.members.is_empty());
        match group {
            // Who shares with nobody keeps its offsets here all the same.
            None if generation < 0 => Ok(()),
            None => Err(Code::UnknownMemberId),
            Some(group) => {
                group.check(member, instance, generation, now_us)?;
                match group.phase {
                    Phase::Syncing { .. } => Err(Code::RebalanceInProgress),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Whether a group has members.
    pub(super) fn is_active(&self, name: &str) -> bool {
        self.by_name.lock().get(name).is_some_and(|group| !group.members.is_empty())
    }

    fn with<T>(&self, name: &str, change: impl FnOnce(&mut Group) -> T) -> Option<T> {
        self.by_name.lock().get_mut(name).map(change)
    }
}

/// Whether a group may have this name.
pub(super) fn check_name(name: &str) -> Result<(), Code> {
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains('\0');
    if fits { Ok(()) } else { Err(Code::InvalidGroupId) }
}

impl KafkaDoor {
    fn now_us(&self) -> u64 {
        self.log.clock().monotonic_us()
    }

    /// Time goes on.
    pub(super) fn sweep(&self, connections: usize) {
        self.groups.sweep(self.now_us());
        self.metrics.set("weir_kafka_connections", Vec::new(), connections as u64);
    }

    /// Answers when all members have joined, or those who have not were waited for long enough.
    pub(super) async fn join_group(
        &self,
        request: JoinGroupRequest,
        version: i16,
        caller: Caller,
        closing: watch::Receiver<bool>,
    ) -> JoinGroupResponse {
        let joined = match self.begin_join(request, version, caller) {
            Ok(waiting) => told(waiting, closing)
                .await
                .unwrap_or_else(|| Err(Rejected::new(Code::CoordinatorNotAvailable, ""))),
            Err(rejected) => Err(rejected),
        };
        match joined {
            Ok(joined) => join_response(joined),
            Err(Rejected { code, member }) => JoinGroupResponse::default()
                .with_error_code(code.code())
                .with_generation_id(-1)
                .with_protocol_name(Some(StrBytes::new()))
                .with_member_id(StrBytes::from_string(member)),
        }
    }

    fn begin_join(
        &self,
        request: JoinGroupRequest,
        version: i16,
        caller: Caller,
    ) -> Result<oneshot::Receiver<Result<Joined, Rejected>>, Rejected> {
        let name = request.group_id.0.to_string();
        let (who, limits) = (candidate(&request, version, caller), &self.kafka);
        let no = |code| Err(Rejected::new(code, who.member.clone()));
        if let Err(code) = check_name(&name) {
            return no(code);
        }
        let session_ms = who.session_us / 1000;
        if !(limits.session_ms_min..=limits.session_ms_max).contains(&session_ms) {
            return no(Code::InvalidSessionTimeout);
        }
        if who.bytes() > KafkaLimits::MEMBER_BYTES_MAX {
            return no(Code::InvalidRequest);
        }
        let now_us = self.now_us();
        let mut groups = self.groups.by_name.lock();
        let known = groups.get(&name).and_then(|g| g.members.get(&who.member));
        let fits = match known {
            Some(known) => has_room(&groups, limits, known.who.bytes(), who.bytes()),
            None => size(&groups) < limits.members_max && has_room(&groups, limits, 0, who.bytes()),
        };
        if !fits {
            return no(Code::GroupMaxSizeReached);
        }
        if !groups.contains_key(&name) && !who.member.is_empty() {
            return no(Code::UnknownMemberId);
        }
        let number = self.groups.ids.fetch_add(1, Ordering::Relaxed);
        let fresh = format!("{}-{:x}-{number}", who.client, self.started.0);
        let group = groups.entry(name).or_insert_with(Group::new);
        if version >= IDS_FIRST && who.member.is_empty() && who.instance.is_none() {
            group.promise(fresh.clone(), who.session_us, now_us);
            return Err(Rejected::new(Code::MemberIdRequired, fresh));
        }
        let (sender, receiver) = oneshot::channel();
        group.join(who, fresh, sender, limits.group_delay_ms * 1000, now_us);
        Ok(receiver)
    }

    /// Answers when the leader has shared out.
    pub(super) async fn sync_group(
        &self,
        request: SyncGroupRequest,
        closing: watch::Receiver<bool>,
    ) -> SyncGroupResponse {
        let share = match self.begin_sync(&request) {
            Ok(waiting) => told(waiting, closing).await.unwrap_or(Err(Code::NotCoordinator)),
            Err(code) => Err(code),
        };
        match share {
            Ok(share) => SyncGroupResponse::default().with_assignment(share),
            Err(code) => SyncGroupResponse::default().with_error_code(code.code()),
        }
    }

    fn begin_sync(
        &self,
        request: &SyncGroupRequest,
    ) -> Result<oneshot::Receiver<Result<bytes::Bytes, Code>>, Code> {
        let (sender, receiver) = oneshot::channel();
        let share = |share: &SyncGroupRequestAssignment| {
            (share.member_id.to_string(), owned(&share.assignment))
        };
        let shares: Vec<_> = request.assignments.iter().map(share).collect();
        let fresh: usize = shares.iter().map(|(_, share)| share.len()).sum();
        let (instance, now_us) = (request.group_instance_id.as_deref(), self.now_us());
        let mut groups = self.groups.by_name.lock();
        if fresh > 0 && !has_room(&groups, &self.kafka, 0, fresh) {
            return Err(Code::GroupMaxSizeReached);
        }
        let group = groups.get_mut(&*request.group_id.0).ok_or(Code::UnknownMemberId)?;
        let (member, generation) = (&request.member_id, request.generation_id);
        group.sync(member, instance, generation, shares, sender, now_us);
        Ok(receiver)
    }

    pub(super) fn heartbeat(&self, request: &HeartbeatRequest) -> HeartbeatResponse {
        let (member, instance) = (&request.member_id, request.group_instance_id.as_deref());
        let (generation, now_us) = (request.generation_id, self.now_us());
        let heard = self.groups.with(&request.group_id.0, |group| {
            group.heartbeat(member, instance, generation, now_us)
        });
        let code = heard.unwrap_or(Err(Code::UnknownMemberId)).err().map_or(0, |code| code.code());
        HeartbeatResponse::default().with_error_code(code)
    }

    pub(super) fn leave_group(
        &self,
        request: &LeaveGroupRequest,
        version: i16,
    ) -> LeaveGroupResponse {
        let now_us = self.now_us();
        let leave = |member: &str, instance: Option<&str>| {
            let left = self.groups.with(&request.group_id.0, |g| g.leave(member, instance, now_us));
            left.unwrap_or(Err(Code::UnknownMemberId)).err().map_or(0, |code| code.code())
        };
        if version < 3 {
            return LeaveGroupResponse::default().with_error_code(leave(&request.member_id, None));
        }
        let members = request.members.iter().map(|one| {
            MemberResponse::default()
                .with_error_code(leave(&one.member_id, one.group_instance_id.as_deref()))
                .with_member_id(one.member_id.clone())
                .with_group_instance_id(one.group_instance_id.clone())
        });
        LeaveGroupResponse::default().with_members(members.collect())
    }
}

/// What comes, unless nobody waits any more.
async fn told<T>(waiting: oneshot::Receiver<T>, mut closing: watch::Receiver<bool>) -> Option<T> {
    tokio::select! {
        told = waiting => told.ok(),
        _ = closing.wait_for(|closing| *closing) => None,
    }
}

fn size(groups: &HashMap<String, Group>) -> usize {
    groups.values().map(Group::size).sum()
}

/// Whether so many bytes fit in the place of those.
fn has_room(
    groups: &HashMap<String, Group>,
    limits: &KafkaLimits,
    old: usize,
    fresh: usize,
) -> bool {
    let bytes: usize = groups.values().map(Group::bytes).sum();
    bytes.saturating_sub(old).saturating_add(fresh) <= limits.members_bytes_max
}

fn candidate(request: &JoinGroupRequest, version: i16, caller: Caller) -> Candidate {
    let us = |ms: i32| u64::try_from(ms).unwrap_or(0) * 1000;
    let session_us = us(request.session_timeout_ms);
    let protocol =
        |(name, metadata): (&StrBytes, &bytes::Bytes)| (name.to_string(), owned(metadata));
    Candidate {
        member: request.member_id.to_string(),
        instance: request.group_instance_id.as_ref().map(ToString::to_string),
        client: caller.client,
        host: caller.host,
        session_us,
        // Version 0 has only one time.
        rebalance_us: if version == 0 { session_us } else { us(request.rebalance_timeout_ms) },
        protocol_type: request.protocol_type.to_string(),
        protocols: request.protocols.iter().map(|p| protocol((&p.name, &p.metadata))).collect(),
    }
}

/// Bytes that do not keep the whole request.
fn owned(bytes: &bytes::Bytes) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes)
}

fn join_response(joined: Joined) -> JoinGroupResponse {
    let member = |(id, instance, metadata): (String, Option<String>, bytes::Bytes)| {
        JoinGroupResponseMember::default()
            .with_member_id(StrBytes::from_string(id))
            .with_group_instance_id(instance.map(StrBytes::from_string))
            .with_metadata(metadata)
    };
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_name(Some(StrBytes::from_string(joined.protocol)))
        .with_leader(StrBytes::from_string(joined.leader))
        .with_member_id(StrBytes::from_string(joined.member))
        .with_members(joined.members.into_iter().map(member).collect())
}
