//! One consumer group: who is in it, and how its members agree on who reads what.
//!
//! Promise: a pure state machine over the time it is told. Members of one generation agree on its leader and
//! get what that one assigned; whoever is silent for its session is out, and the others share anew.

use super::member::{Candidate, Joined, Joining, Member, Rejected, Syncing};
use bytes::Bytes;
use kafka_protocol::ResponseError as Code;
use std::collections::{BTreeMap, HashMap};

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody is in it.
    Empty,
    /// Members come in until then.
    Joining { until_us: u64, not_before_us: u64 },
    /// The leader shares out the work until then.
    Syncing { until_us: u64 },
    /// Everybody has its share.
    Stable,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) phase: Phase,
    pub(super) generation: i32,
    pub(super) protocol_type: String,
    pub(super) protocol: String,
    leader: String,
    pub(super) members: BTreeMap<String, Member>,
    /// Ids that were given and have not joined yet, and until when they may.
    promised: HashMap<String, u64>,
}

impl Group {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            promised: HashMap::new(),
        }
    }

    /// Members and promised ones.
    pub(super) fn size(&self) -> usize {
        self.members.len() + self.promised.len()
    }

    /// About what is kept of its members.
    pub(super) fn bytes(&self) -> usize {
        let member = |member: &Member| member.who.bytes() + member.assignment.len();
        self.members.values().map(member).sum::<usize>() + 256 * self.promised.len()
    }

    /// Gives an id, to join with.
    pub(super) fn promise(&mut self, id: String, session_us: u64, now_us: u64) {
        self.promised.insert(id, now_us.saturating_add(session_us));
    }

    /// A member comes in, or comes back. `delay_us` is how long others are waited for who come for the first
    /// time.
    pub(super) fn join(
        &mut self,
        who: Candidate,
        fresh: String,
        to: Joining,
        delay_us: u64,
        now_us: u64,
    ) {
        if let Err(rejected) = self.may_join(&who) {
            drop(to.send(Err(rejected)));
            return;
        }
        let (id, known) = match self.id_of(&who) {
            Some(known) if who.member.is_empty() => (self.replace(&known, fresh), true),
            Some(known) => (known, true),
            None if who.member.is_empty() => (fresh, false),
            None => (who.member.clone(), false),
        };
        self.promised.remove(&id);
        let who = Candidate { member: id.clone(), ..who };
        let same = self.members.get(&id).is_some_and(|m| m.who.protocols == who.protocols);
        let leads = id == self.leader;
        self.protocol_type.clone_from(&who.protocol_type);
        let member =
            self.members.entry(id.clone()).or_insert_with(|| Member::new(who.clone(), now_us));
        member.who = who;
        member.heard(now_us);
        // It asked before and does not wait for that answer any more.
        member.reject(Code::RebalanceInProgress);
        let settled = match self.phase {
            Phase::Stable => known && same && !leads,
            Phase::Syncing { .. } => known && same,
            Phase::Empty | Phase::Joining { .. } => false,
        };
        if settled {
            let joined = self.joined(&id);
            drop(to.send(Ok(joined)));
            return;
        }
        member_mut(&mut self.members, &id, |member| member.joining = Some(to));
        let delay_us = if self.phase == Phase::Empty { delay_us } else { 0 };
        self.rebalance(delay_us, now_us);
        self.complete_join(now_us);
    }

    fn may_join(&self, who: &Candidate) -> Result<(), Rejected> {
        let no = |code| Err(Rejected::new(code, who.member.clone()));
        let others = self.members.values().filter(|m| m.who.member != who.member);
        let others: Vec<&Member> = others.collect();
        let all_can = |name: &String| {
            others.iter().all(|m| m.who.protocols.iter().any(|(other, _)| other == name))
        };
        let agrees = others.is_empty()
            || (self.protocol_type == who.protocol_type
                && who.protocols.iter().any(|(name, _)| all_can(name)));
        if who.protocols.is_empty() || who.protocol_type.is_empty() || !agrees {
            return no(Code::InconsistentGroupProtocol);
        }
        if who.member.is_empty() || self.promised.contains_key(&who.member) {
            return Ok(());
        }
        match self.members.get(&who.member) {
            None => no(Code::UnknownMemberId),
            Some(known) if known.who.instance != who.instance => no(Code::FencedInstanceId),
            Some(_) => Ok(()),
        }
    }

    /// The id under which it is known: its own, or that of the one that had its name.
    fn id_of(&self, who: &Candidate) -> Option<String> {
        if self.members.contains_key(&who.member) {
            return Some(who.member.clone());
        }
        let named = |m: &&Member| m.who.instance.is_some() && m.who.instance == who.instance;
        self.members.values().find(named).map(|m| m.who.member.clone())
    }

    /// The one that had this id has another now; whoever still uses the old one is shut out.
    fn replace(&mut self, old: &str, fresh: String) -> String {
        if let Some(mut member) = self.members.remove(old) {
            member.reject(Code::FencedInstanceId);
            member.who.member.clone_from(&fresh);
            if self.leader == old {
                self.leader.clone_from(&fresh);
            }
            self.members.insert(fresh.clone(), member);
        }
        fresh
    }

    /// Everybody has to join again.
    fn rebalance(&mut self, delay_us: u64, now_us: u64) {
        if let Phase::Joining { .. } = self.phase {
            return;
        }
        for member in self.members.values_mut() {
            if let Some(syncing) = member.syncing.take() {
                drop(syncing.send(Err(Code::RebalanceInProgress)));
            }
        }
        let patience = self.members.values().map(|m| m.who.rebalance_us).max().unwrap_or(0);
        let until_us = now_us.saturating_add(patience.max(delay_us));
        self.phase = Phase::Joining { until_us, not_before_us: now_us.saturating_add(delay_us) };
    }

    /// The next generation begins if all are there, or those who are not were waited for long enough.
    fn complete_join(&mut self, now_us: u64) {
        let Phase::Joining { until_us, not_before_us } = self.phase else { return };
        let all_here = self.members.values().all(|member| member.joining.is_some());
        if now_us < not_before_us || !(all_here || now_us >= until_us) {
            return;
        }
        self.members.retain(|_, member| member.joining.is_some());
        if self.members.is_empty() {
            return self.phase = Phase::Empty;
        }
        self.generation = self.generation.wrapping_add(1).max(1);
        self.protocol = self.vote();
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        let patience = self.members.values().map(|m| m.who.rebalance_us).max().unwrap_or(0);
        self.phase = Phase::Syncing { until_us: now_us.saturating_add(patience) };
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            member_mut(&mut self.members, &id, |member| {
                member.assignment = Bytes::new();
                member.heard(now_us);
                if let Some(joining) = member.joining.take() {
                    drop(joining.send(Ok(joined)));
                }
            });
        }
    }

    fn joined(&self, id: &str) -> Joined {
        let member =
            |m: &Member| (m.who.member.clone(), m.who.instance.clone(), m.metadata(&self.protocol));
        let leads = id == self.leader;
        Joined {
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member: id.to_owned(),
            members: if leads { self.members.values().map(member).collect() } else { Vec::new() },
        }
    }

    /// Of the ways that all members know, the one that most of them prefer.
    fn vote(&self) -> String {
        let knows = |m: &Member, name: &str| m.who.protocols.iter().any(|(n, _)| n == name);
        let all_know = |name: &str| self.members.values().all(|m| knows(m, name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let preferred = member.who.protocols.iter().find(|(name, _)| all_know(name));
            if let Some((name, _)) = preferred {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
        most.map(|(name, _)| name.to_owned()).unwrap_or_default()
    }

    /// A member asks for its share; the leader brings everybody's.
    pub(super) fn sync(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        shares: Vec<(String, Bytes)>,
        to: Syncing,
        now_us: u64,
    ) {
        if let Err(code) = self.check(id, instance, generation, now_us) {
            drop(to.send(Err(code)));
            return;
        }
        match self.phase {
            Phase::Empty => drop(to.send(Err(Code::UnknownMemberId))),
            Phase::Joining { .. } => drop(to.send(Err(Code::RebalanceInProgress))),
            Phase::Stable => {
                let share = self.members.get(id).map(|m| m.assignment.clone());
                drop(to.send(Ok(share.unwrap_or_default())));
            }
            Phase::Syncing { .. } => {
                member_mut(&mut self.members, id, |member| member.syncing = Some(to));
                if id == self.leader {
                    self.share_out(shares, now_us);
                }
            }
        }
    }

    fn share_out(&mut self, shares: Vec<(String, Bytes)>, now_us: u64) {
        for (id, share) in shares {
            member_mut(&mut self.members, &id, |member| member.assignment = share);
        }
        self.phase = Phase::Stable;
        for member in self.members.values_mut() {
            if let Some(syncing) = member.syncing.take() {
                drop(syncing.send(Ok(member.assignment.clone())));
            }
            member.heard(now_us);
        }
    }

    /// Whether somebody is a member of this generation; it was heard.
    pub(super) fn check(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now_us: u64,
    ) -> Result<(), Code> {
        let named = |m: &Member| instance.is_some() && m.who.instance.as_deref() == instance;
        let Some(member) = self.members.get_mut(id) else {
            let fenced = self.members.values().any(named);
            return Err(if fenced { Code::FencedInstanceId } else { Code::UnknownMemberId });
        };
        member.heard(now_us);
        if generation == self.generation { Ok(()) } else { Err(Code::IllegalGeneration) }
    }

    /// A member says that it lives.
    pub(super) fn heartbeat(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now_us: u64,
    ) -> Result<(), Code> {
        self.check(id, instance, generation, now_us)?;
        match self.phase {
            Phase::Joining { .. } => Err(Code::RebalanceInProgress),
            Phase::Empty | Phase::Syncing { .. } | Phase::Stable => Ok(()),
        }
    }

    /// A member goes.
    pub(super) fn leave(
        &mut self,
        id: &str,
        instance: Option<&str>,
        now_us: u64,
    ) -> Result<(), Code> {
        let named = |m: &&Member| instance.is_some() && m.who.instance.as_deref() == instance;
        let by_name = || self.members.values().find(named).map(|m| m.who.member.clone());
        let id = if id.is_empty() { by_name().unwrap_or_default() } else { id.to_owned() };
        if self.promised.remove(&id).is_some() {
            return Ok(());
        }
        let Some(mut member) = self.members.remove(&id) else { return Err(Code::UnknownMemberId) };
        member.reject(Code::UnknownMemberId);
        self.after_departure(now_us);
        Ok(())
    }

    fn after_departure(&mut self, now_us: u64) {
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            return;
        }
        self.rebalance(0, now_us);
        self.complete_join(now_us);
    }

    /// Time goes on: silent members are out, nobody is waited for too long.
    pub(super) fn sweep(&mut self, now_us: u64) {
        self.promised.retain(|_, until| *until > now_us);
        let before = self.members.len();
        self.members.retain(|_, member| {
            let stays = member.waits() || member.gone_at > now_us;
            if !stays {
                member.reject(Code::UnknownMemberId);
            }
            stays
        });
        if self.members.len() < before {
            self.after_departure(now_us);
        }
        match self.phase {
            Phase::Joining { .. } => self.complete_join(now_us),
            // The leader did not share out in time: those who wait begin again, without it.
            Phase::Syncing { until_us } if now_us >= until_us => {
                let leader = std::mem::take(&mut self.leader);
                if let Some(mut gone) = self.members.remove(&leader) {
                    gone.reject(Code::UnknownMemberId);
                }
                self.after_departure(now_us);
            }
            Phase::Empty | Phase::Syncing { .. } | Phase::Stable => {}
        }
    }
}

fn member_mut(members: &mut BTreeMap<String, Member>, id: &str, change: impl FnOnce(&mut Member)) {
    if let Some(member) = members.get_mut(id) {
        change(member);
    }
}

#[cfg(test)]
mod tests;
