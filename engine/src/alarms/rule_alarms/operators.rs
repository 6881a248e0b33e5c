//! What operators ask of a rule's alarms.
//!
//! Promise: a command acts at its place in the input order, or is recorded as ineffective; nothing else.

use super::super::command::{Command, Target};
use super::super::keys::{Happening, Judge, KeyState, may_shelve};
use super::super::lifecycle::{AlarmInput, Annunciation, Seen, Why};
use super::super::members::Service;
use super::super::subject::is_at_or_below;
use super::super::transition::{Key, Transition};
use super::{RuleAlarms, RuleSettings, recorder, service_of};
use weir_ingest::model::{AppendTime, EventTime};

impl RuleAlarms {
    /// An operator's command of `at`; one that is about another rule changes nothing.
    pub fn command(
        &mut self,
        command: &Command,
        at: EventTime,
        appended: AppendTime,
    ) -> Vec<Transition> {
        let mut out = Vec::new();
        self.expire_shelvings(appended, &mut out);
        let mut happening = Happening::new(at, appended);
        happening.operator = Some(command.by());
        match command {
            Command::Acknowledge { target, comment, .. } => {
                happening.comment.clone_from(comment);
                self.operate(target, command, happening, &mut out);
            }
            Command::Shelve { target, reason, .. } => {
                happening.comment = Some(reason.clone());
                self.operate(target, command, happening, &mut out);
            }
            Command::Unshelve { target, .. } => {
                self.operate(target, command, happening, &mut out);
            }
            Command::TakeOutOfService { topic, reason, .. } => {
                happening.comment = Some(reason.clone());
                self.take_out_of_service(topic, &happening, &mut out);
            }
            Command::ReturnToService { topic, .. } => {
                self.return_to_service(topic, &happening, &mut out);
            }
            // What they mean for a rule's series is said by `pause`: only the rule knows its streams.
            Command::PartitionOut { .. } | Command::PartitionIn { .. } => {}
            Command::ClockSuspect { .. } | Command::ClockAgrees => {}
        }
        out
    }

    /// Nothing is known any more of the members that `matches`: FOR waits for their next verdict.
    pub fn pause(&mut self, matches: impl Fn(&str) -> bool) {
        for state in self.keys.values_mut() {
            if let Judge::Members(members) = &mut state.judge {
                members.pause(&matches);
            }
        }
    }

    /// A command about one occurrence.
    fn operate(
        &mut self,
        target: &Target,
        command: &Command,
        mut happening: Happening<'_>,
        out: &mut Vec<Transition>,
    ) {
        if target.rule_uid != self.settings.identity.uid {
            return;
        }
        let Ok(key) = self.key(&target.key.values()) else { return };
        let Some(state) = self.keys.get_mut(&key) else { return };
        let input = command_input(command, &self.settings, state, happening.appended);
        let mut recorder = recorder(&self.settings, &mut self.next_ordinal, out);
        match input {
            Ok(input) => {
                recorder.input(&key, state, input, &happening);
                if let Annunciation::Shelved { until } = state.state.annunciation {
                    self.shelvings.insert((until, key));
                }
            }
            Err(why) => {
                happening.reason = Some(command.verb().to_owned());
                recorder.ineffective(&key, state, why, &happening);
            }
        }
    }

    fn take_out_of_service(
        &mut self,
        place: &str,
        happening: &Happening<'_>,
        out: &mut Vec<Transition>,
    ) {
        self.out_of_service.insert(place.to_owned());
        for (key, state) in &mut self.keys {
            let cleared = match &mut state.judge {
                Judge::Window(_) => None,
                Judge::Members(members) => {
                    members.take_out_of_service(|topic| is_at_or_below(topic, place))
                }
            };
            state.held.retain(|topic, _| !is_at_or_below(topic, place));
            let mut recorder = recorder(&self.settings, &mut self.next_ordinal, out);
            if let Some(event) = cleared {
                let mut happening = happening.clone();
                happening.reason = Some("out_of_service".to_owned());
                recorder.event(key, state, event, happening);
            }
            let key_values = Key::new(&self.settings.identity.key_columns, key);
            if is_at_or_below(&self.settings.subjects.of(&key_values), place) {
                recorder.input(key, state, AlarmInput::TakeOutOfService, happening);
            }
        }
    }

    fn return_to_service(
        &mut self,
        place: &str,
        happening: &Happening<'_>,
        out: &mut Vec<Transition>,
    ) {
        self.out_of_service.remove(place);
        let others = &self.out_of_service;
        let returned =
            |topic: &str| is_at_or_below(topic, place) && service_of(others, topic) == Service::In;
        for (key, state) in &mut self.keys {
            if let Judge::Members(members) = &mut state.judge {
                members.return_to_service(returned);
            }
            let key_values = Key::new(&self.settings.identity.key_columns, key);
            if returned(&self.settings.subjects.of(&key_values)) {
                recorder(&self.settings, &mut self.next_ordinal, out).input(
                    key,
                    state,
                    AlarmInput::ReturnToService,
                    happening,
                );
            }
        }
    }
}

/// What a command asks of the lifecycle, or why it does not apply.
fn command_input(
    command: &Command,
    settings: &RuleSettings,
    state: &KeyState,
    now: AppendTime,
) -> Result<AlarmInput, Why> {
    let target = command.target().ok_or(Why::OtherOccurrence)?;
    if state.alarm_id.as_deref() != Some(target.alarm_id.as_str()) {
        return Err(Why::OtherOccurrence);
    }
    match command {
        Command::Acknowledge { .. } => {
            let outdated = target.seen_ordinal.is_some_and(|seen| seen < state.newest_ordinal);
            Ok(AlarmInput::Acknowledge {
                seen: if outdated { Seen::Outdated } else { Seen::Newest },
            })
        }
        Command::Shelve { for_us, reason, authority, .. } => {
            may_shelve(settings.identity.severity, *authority)?;
            if reason.trim().is_empty() {
                return Err(Why::NoReason);
            }
            if *for_us <= 0 {
                return Err(Why::AlreadyOver);
            }
            let for_us = (*for_us).min(settings.shelve_max_us);
            Ok(AlarmInput::Shelve { until: AppendTime(now.0.saturating_add(for_us)) })
        }
        Command::Unshelve { .. } => Ok(AlarmInput::Unshelve),
        Command::TakeOutOfService { .. } => Ok(AlarmInput::TakeOutOfService),
        Command::ReturnToService { .. } => Ok(AlarmInput::ReturnToService),
        Command::PartitionOut { .. }
        | Command::PartitionIn { .. }
        | Command::ClockSuspect { .. }
        | Command::ClockAgrees => Err(Why::OtherOccurrence),
    }
}
