//! What a client subscribes to.
//!
//! Promise: a filter that is none is refused with a sentence; a shared one is told from its group. A filter
//! that begins with a wildcard matches no topic that begins with `$`.

use crate::model::{TopicError, TopicPattern};

/// Begins a shared filter: `$share/<group>/<filter>`.
const SHARED: &str = "$share/";

/// A filter, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    /// The group that shares what comes.
    pub(super) group: Option<String>,
    pub(super) pattern: TopicPattern,
}

/// Why a filter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FilterError {
    /// Not a filter.
    #[error("'{filter}' is no topic filter: {error}; + is one level, # at the end is the rest")]
    Pattern { filter: String, error: TopicError },
    /// Not shared as MQTT says.
    #[error("'{0}' is no shared filter; write $share/<group>/<filter>, no wildcard in the group")]
    Shared(String),
}

impl Filter {
    /// # Errors
    /// It is none.
    pub(super) fn parse(text: &str) -> Result<Self, FilterError> {
        let Some(shared) = text.strip_prefix(SHARED) else {
            return Ok(Self { group: None, pattern: pattern(text)? });
        };
        let (group, filter) = shared.split_once('/').unwrap_or_default();
        if group.is_empty() || group.contains(['+', '#']) || filter.is_empty() {
            return Err(FilterError::Shared(text.to_owned()));
        }
        Ok(Self { group: Some(group.to_owned()), pattern: pattern(filter)? })
    }

    /// Whether it may match topics that begin with `$`.
    pub(super) fn is_of_server(&self) -> bool {
        self.pattern.as_str().starts_with('$')
    }
}

fn pattern(text: &str) -> Result<TopicPattern, FilterError> {
    TopicPattern::of_filter(text)
        .map_err(|error| FilterError::Pattern { filter: text.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_told_from_its_group() {
        for (text, group, pattern) in [
            ("a/+/#", None, "a/+/#"),
            ("*", None, "*"),
            ("$share/g/a/#", Some("g"), "a/#"),
            ("$share/g//x", Some("g"), "/x"),
            ("$weir/alarms/#", None, "$weir/alarms/#"),
        ] {
            let filter = Filter::parse(text).unwrap();
            assert_eq!((filter.group.as_deref(), filter.pattern.as_str()), (group, pattern));
        }
        assert!(!Filter::parse("a/*").unwrap().pattern.matches("a/b"), "* is no wildcard in MQTT");
    }

    #[test]
    fn what_is_no_filter_is_refused_with_what_to_write() {
        for (text, says) in [
            ("", "the topic is empty"),
            ("a/#/b", "may only be the last level"),
            ("a+/b", "the wildcard '+'"),
            ("a\0b", "a NUL"),
            ("$share/g", "$share/<group>/<filter>"),
            ("$share//a", "$share/<group>/<filter>"),
            ("$share/g+/a", "$share/<group>/<filter>"),
            ("$share/g/", "$share/<group>/<filter>"),
        ] {
            let error = Filter::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
