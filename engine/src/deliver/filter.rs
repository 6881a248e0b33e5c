//! Which transitions a subscription gets: ON, FILTER, WHERE, and what nobody is told.
//!
//! Promise: a transition leaves at most once a subscription, however many of its members match.
//! Elsewhere: WHERE is `condition`'s.

use super::condition::{Condition, ConditionError};
use crate::alarms::{Annunciation, ConditionState, Transition, TransitionKind};
use crate::sql::Historical;
use weir_ingest::model::TopicPattern;

/// ON and FILTER: a prefix of whole levels, and a pattern over what follows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// `ON`, without a `/` at the end.
    pub on: Option<String>,
    /// `FILTER`.
    pub filter: Option<TopicPattern>,
}

impl Place {
    /// Whether a topic path lies there.
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = self.below(path) else { return false };
        match &self.filter {
            None => true,
            Some(filter) if self.on.is_some() && !filter.as_str().starts_with('/') => {
                rest.strip_prefix('/').is_some_and(|rest| filter.matches(rest))
            }
            Some(filter) => filter.matches(rest),
        }
    }

    /// What follows ON: empty, or starting with `/`.
    fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        let Some(on) = &self.on else { return Some(path) };
        let rest = path.strip_prefix(on.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// Whether a transition's subject, or one of its members, lies there.
    pub fn matches_any(&self, transition: &Transition) -> bool {
        self.matches(&transition.subject)
            || transition.members.iter().any(|member| self.matches(member))
    }
}

/// All of a subscription's questions to a transition.
#[derive(Debug)]
pub struct Filter {
    place: Place,
    historical: Historical,
    condition: Option<Condition>,
}

impl Filter {
    /// Puts them together.
    pub fn new(place: Place, historical: Historical, condition: Option<Condition>) -> Self {
        Self { place, historical, condition }
    }

    /// Whether the subscription gets it.
    /// # Errors
    /// WHERE cannot be evaluated over this event; it does not get it.
    pub fn wants(&mut self, transition: &Transition) -> Result<bool, ConditionError> {
        let told = is_told(transition)
            && (self.historical == Historical::Deliver || !transition.historical)
            && self.place.matches_any(transition);
        match &mut self.condition {
            Some(condition) if told => condition.holds(transition),
            _ => Ok(told),
        }
    }
}

/// Whether people are told at all: not of a shelved, suppressed or out-of-service alarm's changes,
/// but always that it became so by a person's hand, that it is over, and that it was closed. That a
/// predicate suppresses an alarm, or does so no longer, is told while the alarm is active: then they
/// know of it, or have to.
fn is_told(transition: &Transition) -> bool {
    let in_service = transition.state.annunciation == Annunciation::InService;
    let active = transition.state.condition == ConditionState::Active;
    match transition.kind {
        TransitionKind::Raised
        | TransitionKind::Cleared
        | TransitionKind::MemberAdded
        | TransitionKind::Acknowledged => in_service,
        TransitionKind::Superseded
        | TransitionKind::RuleDropped
        | TransitionKind::Shelved
        | TransitionKind::Unshelved
        | TransitionKind::OutOfService
        | TransitionKind::Returned
        | TransitionKind::Row => true,
        TransitionKind::Suppressed | TransitionKind::Unsuppressed => active,
        TransitionKind::Ineffective => false,
    }
}

#[cfg(test)]
mod tests;
