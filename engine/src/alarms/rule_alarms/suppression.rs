//! SUPPRESS WHEN: whether people are told of a key, as its newest rows say.
//!
//! Promise (A2): a raise that is suppressed is written down once, as raised with the annunciation
//! `suppressed`; where suppression begins or ends for an alarm that is active, that is a transition of
//! its own. Elsewhere: what of it leaves is delivery's.

use super::super::keys::{Happening, Judge, KeyState, Recorder};
use super::super::lifecycle::{AlarmInput, Annunciation, ConditionState, step};
use super::super::members::KeyEvent;
use super::super::transition::KeyValue;
use serde::{Deserialize, Serialize};

/// What SUPPRESS WHEN says of one row; NULL is no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Suppression {
    /// People are told.
    #[default]
    No,
    /// They are not.
    Yes,
}

impl KeyState {
    /// The newest row of a member (`""` for a window's key) says so.
    pub(super) fn note_suppression(&mut self, member: &str, suppression: Suppression) {
        match suppression {
            Suppression::No => drop(self.suppressing.remove(member)),
            Suppression::Yes if self.suppressing.contains(member) => {}
            Suppression::Yes => drop(self.suppressing.insert(member.to_owned())),
        }
    }

    /// Whether all that is in condition is suppressed; where nothing is, whether `member` is.
    fn is_suppressed(&self, member: &str) -> bool {
        if self.suppressing.is_empty() {
            return false;
        }
        match &self.judge {
            Judge::Window(_) => self.suppressing.contains(""),
            Judge::Members(members) => {
                let mut active = members.active().peekable();
                match active.peek() {
                    None => self.suppressing.contains(member),
                    Some(_) => active.all(|topic| self.suppressing.contains(topic)),
                }
            }
        }
    }

    /// Whether suppression begins or ends with the newest row of `member`.
    pub(super) fn turns_suppression(&self, member: &str) -> bool {
        match (self.is_suppressed(member), self.state.annunciation) {
            (true, Annunciation::InService) => self.state.condition == ConditionState::Active,
            (false, Annunciation::Suppressed) => true,
            (true | false, _) => false,
        }
    }
}

impl Recorder<'_> {
    /// What the newest row of `member`, or its timer, means: what happened to the key, and whether
    /// people are told. What clears while it is suppressed is not told afterwards.
    pub(super) fn judged(
        &mut self,
        key: &[KeyValue],
        state: &mut KeyState,
        member: &str,
        event: Option<KeyEvent>,
        happening: Happening<'_>,
    ) {
        let suppressed = state.is_suppressed(member);
        let input = if suppressed { AlarmInput::Suppress } else { AlarmInput::Unsuppress };
        match (event, state.state.condition) {
            (Some(KeyEvent::Raised(_)), ConditionState::Normal) => {
                state.state = step(state.state, input).0;
            }
            (Some(KeyEvent::Cleared), _) => {}
            (_, ConditionState::Normal) if suppressed => {}
            (_, ConditionState::Active | ConditionState::Normal) => {
                self.input(key, state, input, &happening);
            }
        }
        match event {
            Some(KeyEvent::Cleared) if !suppressed => {
                self.event(key, state, KeyEvent::Cleared, happening.clone());
                self.input(key, state, AlarmInput::Unsuppress, &happening);
            }
            Some(event) => self.event(key, state, event, happening),
            None => {}
        }
    }
}
