//! The logs weir keeps about itself; one partition each.

/// One of them. Every batch starts with a column `time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InternalLog {
    /// Transitions of alarms.
    Alarms,
    /// Rows emitted by rules without RAISE WHEN.
    Rows,
    /// Late readings by rule.
    Late,
    /// Refused readings and undeliverable events.
    DeadLetters,
    /// Delivery attempts.
    Deliveries,
    /// Readings a rule could not evaluate.
    RuleErrors,
    /// What operators did.
    Commands,
    /// Changes of reference tables.
    Tables,
    /// Who changed what.
    Audit,
}

impl InternalLog {
    /// All of them, in the order of the enumeration.
    pub const ALL: [Self; 9] = [
        Self::Alarms,
        Self::Rows,
        Self::Late,
        Self::DeadLetters,
        Self::Deliveries,
        Self::RuleErrors,
        Self::Commands,
        Self::Tables,
        Self::Audit,
    ];

    /// Its directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alarms => "alarms",
            Self::Rows => "rows",
            Self::Late => "late",
            Self::DeadLetters => "dead_letters",
            Self::Deliveries => "deliveries",
            Self::RuleErrors => "rule_errors",
            Self::Commands => "commands",
            Self::Tables => "tables",
            Self::Audit => "audit",
        }
    }

    /// Whether its old rows may go: what operators did and the tables are read from the start.
    pub fn may_expire(self) -> bool {
        !matches!(self, Self::Commands | Self::Tables)
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}
