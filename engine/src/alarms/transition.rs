//! What an alarm's change is when it is written down, and the id that makes it the same one again.
//!
//! Promise: an id is made of what happened, never of where or when it was computed, so a replay gives
//! the same ids. Elsewhere: the columns are `transition_rows`'.

use super::lifecycle::State;
use super::severity::Severity;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use weir_ingest::model::{AppendTime, EventTime, Offset, PartitionId};

/// The value of one key column as text; `None` is NULL, which no text is equal to.
pub type KeyValue = Option<String>;

/// What an alarm is about: the key columns and their values, in the rule's order. As text (also
/// serialised): one JSON object, NULL as null.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(pub Vec<(String, KeyValue)>);

impl Key {
    /// Pairs the key columns with their values.
    pub fn new(columns: &[String], values: &[KeyValue]) -> Self {
        Self(columns.iter().cloned().zip(values.iter().cloned()).collect())
    }

    /// The value of one column; `None` also where it is NULL.
    pub fn get(&self, column: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == column).and_then(|(_, value)| value.as_deref())
    }

    /// The values, in order.
    pub fn values(&self) -> Vec<KeyValue> {
        self.0.iter().map(|(_, value)| value.clone()).collect()
    }

    /// As one JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("text keys and values are JSON")
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts and nulls")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Key, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Key(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What a transition says happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum TransitionKind { $($(#[$doc])* $name,)* }

        impl TransitionKind {
            /// The word that tables and events write.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }

        impl FromStr for TransitionKind {
            type Err = UnknownKind;
            fn from_str(word: &str) -> Result<Self, UnknownKind> {
                match word { $($word => Ok(Self::$name),)* _ => Err(UnknownKind(word.to_owned())) }
            }
        }
    };
}

words! {
    /// An occurrence opened; its id is the occurrence's `alarm_id`.
    Raised = "raised",
    /// The condition ended.
    Cleared = "cleared",
    /// A further member joined.
    MemberAdded = "member_added",
    /// Closed unacknowledged, for a new occurrence opened.
    Superseded = "superseded",
    /// Closed with its rule.
    RuleDropped = "rule_dropped",
    /// A person knows.
    Acknowledged = "acknowledged",
    /// Not told for a while.
    Shelved = "shelved",
    /// Told again.
    Unshelved = "unshelved",
    /// Not told by design.
    Suppressed = "suppressed",
    /// Told again.
    Unsuppressed = "unsuppressed",
    /// Out of service.
    OutOfService = "out_of_service",
    /// Back in service.
    Returned = "returned",
    /// An operator's command that no longer applied.
    Ineffective = "ineffective",
    /// A result row of a rule without RAISE WHEN.
    Row = "row",
}

/// A word that is no kind of transition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no kind of transition")]
pub struct UnknownKind(pub String);

impl fmt::Display for TransitionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A window, from its start up to but without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// First instant.
    pub start: EventTime,
    /// First instant after it.
    pub end: EventTime,
}

/// What a transition was seen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place<'a> {
    /// A window closed.
    Window(Window),
    /// A reading, or a timer, of this topic path.
    Topic(&'a str),
    /// Neither: an operator, a timer of a key, the rule itself.
    Nowhere,
}

/// How one partition took part in a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionReceipt {
    /// Its stream.
    pub stream: String,
    /// Its number.
    pub partition: PartitionId,
    /// First offset that took part.
    pub first_offset: Offset,
    /// Last offset that took part.
    pub last_offset: Offset,
    /// The partition's watermark before the first offset, where it had one.
    pub watermark_before: Option<EventTime>,
}

/// What a verdict rests on, so that it can be checked later.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Receipt {
    /// The rule's watermark at that place.
    pub watermark: Option<EventTime>,
    /// Series that took part.
    pub sensors_used: u64,
    /// Series that were expected to, where that is known.
    pub sensors_expected: Option<u64>,
    /// Readings that came too late to take part.
    pub late: u64,
    /// Rows may be missing: a partition was out, or its log has a gap.
    #[serde(default)]
    pub incomplete: bool,
    /// Where the readings lie.
    pub partitions: Vec<PartitionReceipt>,
}

/// One change of one alarm, or one row of a rule without RAISE WHEN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// 32 hex digits; see [`transition_id`].
    pub id: String,
    /// The occurrence: id of its `raised`. `None` for rows and where nothing was ever raised.
    pub alarm_id: Option<String>,
    /// Name of the rule.
    pub rule: String,
    /// Identity of the rule.
    pub rule_uid: u64,
    /// Version of the rule.
    pub rule_version: u32,
    /// Position among the rule's outputs, from 0, dense.
    pub ordinal: u64,
    /// What it is about.
    pub key: Key,
    /// Topic prefix that subscriptions match.
    pub subject: String,
    /// What happened.
    pub kind: TransitionKind,
    /// The rule's severity.
    pub severity: Severity,
    /// The alarm's state after it.
    pub state: State,
    /// When it happened, by the readings.
    pub event_time: EventTime,
    /// Append time of the frame, tick or command that caused it.
    pub append_time: AppendTime,
    /// The window it was seen at.
    pub window: Option<Window>,
    /// The reading's topic path it was seen at.
    pub topic: Option<String>,
    /// Topic paths in condition (raised, member_added), or of the whole occurrence (otherwise).
    pub members: Vec<String>,
    /// The rule's output columns as one JSON object.
    pub values: String,
    /// It rests on a reading that arrived after newer ones.
    pub late: bool,
    /// It happened long before it was seen, so nobody should be woken.
    pub historical: bool,
    /// Why, where it is not the condition: `no_data`, `expired`, an operator's words.
    pub reason: Option<String>,
    /// Who.
    pub operator: Option<String>,
    /// What they said.
    pub comment: Option<String>,
    /// What it rests on.
    pub receipt: Option<Receipt>,
}

/// Event time further than this behind append time makes a transition historical (15 minutes).
pub const HISTORICAL_AFTER_US: i64 = 15 * 60 * 1_000_000;

/// Whether something of `at` that was appended at `appended` is old news.
pub fn is_historical(at: EventTime, appended: AppendTime) -> bool {
    appended.0.saturating_sub(at.0) > HISTORICAL_AFTER_US
}

/// The parts of a transition that make its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity<'a> {
    /// Identity of the rule.
    pub rule_uid: u64,
    /// Version of the rule.
    pub rule_version: u32,
    /// The key.
    pub key: &'a Key,
    /// What happened.
    pub kind: TransitionKind,
    /// When.
    pub event_time: EventTime,
    /// Where it was seen.
    pub place: Place<'a>,
    /// How many transitions this key had at that event time before.
    pub count: u32,
}

/// BLAKE3 of the identity, cut to 128 bits, as 32 hex digits. Every part is written with its length
/// or at a fixed width, so that no two identities share an encoding.
pub fn transition_id(identity: &Identity<'_>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&identity.rule_uid.to_le_bytes());
    hasher.update(&identity.rule_version.to_le_bytes());
    hasher.update(&(identity.key.0.len() as u64).to_le_bytes());
    for (name, value) in &identity.key.0 {
        text(&mut hasher, name);
        match value {
            Some(value) => text(&mut hasher, value),
            None => null(&mut hasher),
        }
    }
    text(&mut hasher, identity.kind.as_str());
    hasher.update(&identity.event_time.0.to_le_bytes());
    match &identity.place {
        Place::Nowhere => {
            hasher.update(&[0]);
        }
        Place::Window(window) => {
            hasher.update(&[1]);
            hasher.update(&window.start.0.to_le_bytes());
            hasher.update(&window.end.0.to_le_bytes());
        }
        Place::Topic(topic) => {
            hasher.update(&[2]);
            text(&mut hasher, topic);
        }
    }
    hasher.update(&identity.count.to_le_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

fn text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

/// A length that no text has.
fn null(hasher: &mut blake3::Hasher) {
    hasher.update(&u64::MAX.to_le_bytes());
}

#[cfg(test)]
mod tests;
