//! How bad an alarm is; declared with the rule (`SEVERITY high`).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Four steps, least first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody should know.
    Low,
    /// Somebody should look; what a rule is when it says nothing.
    #[default]
    Medium,
    /// Somebody should act soon.
    High,
    /// Somebody must act now.
    Critical,
}

/// A word that is no severity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a severity: write low, medium, high or critical")]
pub struct UnknownSeverity(pub String);

impl Severity {
    /// The word, in lower case, as SQL, events and tables write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = UnknownSeverity;

    /// Reads the word in any case.
    fn from_str(word: &str) -> Result<Self, UnknownSeverity> {
        [Self::Low, Self::Medium, Self::High, Self::Critical]
            .into_iter()
            .find(|severity| word.eq_ignore_ascii_case(severity.as_str()))
            .ok_or_else(|| UnknownSeverity(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_severity_is_read_in_any_case_and_written_in_lower_case() {
        for (word, text) in [("low", "low"), ("MEDIUM", "medium"), ("High", "high")] {
            assert_eq!(word.parse::<Severity>().unwrap().to_string(), text);
        }
        assert!("urgent".parse::<Severity>().unwrap_err().to_string().contains("low, medium"));
        assert!(Severity::High < Severity::Critical);
    }
}
