//! What a test of a rule counts beside its transitions; a running rule counts nothing of it.

use super::super::keys::Judge;
use super::super::transition::Key;
use super::super::verdict::Verdict;
use super::{KeyValues, RuleAlarms};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often nothing was known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unknowns {
    /// Windows or readings whose verdict was unknown.
    pub verdicts: u64,
    /// Silences longer than ON NO DATA allows.
    pub silences: u64,
}

/// By key; nothing unless it was asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Option<BTreeMap<KeyValues, Unknowns>>);

impl Tally {
    pub(super) fn verdict(&mut self, key: &KeyValues, verdict: Verdict) {
        if let (Some(counts), Verdict::Unknown) = (&mut self.0, verdict) {
            counts.entry(Arc::clone(key)).or_default().verdicts += 1;
        }
    }

    pub(super) fn silence(&mut self, key: &KeyValues) {
        if let Some(counts) = &mut self.0 {
            counts.entry(Arc::clone(key)).or_default().silences += 1;
        }
    }
}

/// Whether a member (`""` for a window's key) has been silent for too long.
pub(super) fn is_silent(judge: &mut Judge, member: &str) -> bool {
    match judge {
        Judge::Window(watch) => watch.is_stale(),
        Judge::Members(members) => members.watch_mut(member).is_some_and(|w| w.is_stale()),
    }
}

impl RuleAlarms {
    /// Counts from now on what is asked for by [`Self::unknowns`].
    pub fn count_unknowns(&mut self) {
        self.tally.0.get_or_insert_default();
    }

    /// How often nothing was known, by key.
    pub fn unknowns(&self) -> impl Iterator<Item = (Key, Unknowns)> {
        let columns = &self.settings.identity.key_columns;
        let counted = self.tally.0.iter().flatten();
        counted.map(|(key, unknowns)| (Key::new(columns, key), *unknowns))
    }
}
