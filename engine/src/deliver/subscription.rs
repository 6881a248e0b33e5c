//! A subscription as the catalog keeps it, and as the worker uses it.
//!
//! Promise: what was created is what runs after a restart: the statement's text is kept and read
//! again by the same parser. The secret is kept beside it and shown once, at CREATE.

use super::condition::{Condition, ConditionError};
use super::egress::EgressError;
use super::filter::{Filter, Place};
use super::handshake::Grant;
use super::ladder::Ladder;
use super::queue::Progress;
use super::signature::NoRandomness;
use crate::sql::{Handshake, Statement, SubscriptionStatement, Target, parse_statements};
use serde::{Deserialize, Serialize};
use weir_ingest::log::CatalogError;

/// The catalog's space of definitions, by name.
pub(super) const SUBSCRIPTIONS: &str = "subscriptions";
/// The catalog's space of cursors, by name.
pub(super) const CURSORS: &str = "cursors";

/// Why a subscription cannot be created, dropped or read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubscriptionError {
    /// The name is taken.
    #[error(
        "the subscription '{0}' exists already; DROP SUBSCRIPTION it, or CREATE OR REPLACE SUBSCRIPTION"
    )]
    Exists(String),
    /// There is none.
    #[error("there is no subscription '{0}'; see SHOW SUBSCRIPTIONS")]
    Unknown(String),
    /// Deliveries may not go there.
    #[error(transparent)]
    Target(#[from] EgressError),
    /// WHERE.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// No secret.
    #[error(transparent)]
    Secret(#[from] NoRandomness),
    /// The catalog did not take it.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// What the catalog holds does not read as a subscription.
    #[error("the subscription '{name}' cannot be read from the catalog: {detail}")]
    Damaged {
        /// Which.
        name: String,
        /// How.
        detail: String,
    },
    /// The HTTP client cannot be set up.
    #[error("deliveries cannot be sent: {0}")]
    Client(String),
    /// The server is stopping.
    #[error("deliveries are stopped")]
    Stopped,
}

/// What the catalog keeps of one subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// The statement as written.
    pub(super) text: String,
    /// Key of the signature.
    pub(super) secret: String,
    /// Columns that WHERE names.
    pub(super) columns: Vec<String>,
    /// What the endpoint granted; absent while pending.
    pub(super) grant: Option<Grant>,
}

/// Where a subscription stands, in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// In internal/alarms.
    pub(super) alarms: Progress,
    /// In internal/rows.
    pub(super) rows: Progress,
}

/// A subscription with everything at hand.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub(super) statement: SubscriptionStatement,
    pub(super) stored: Stored,
}

impl Subscription {
    /// Reads what the catalog holds.
    pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Self, SubscriptionError> {
        let damaged = |detail: String| SubscriptionError::Damaged { name: name.to_owned(), detail };
        let stored: Stored =
            serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        let statements =
            parse_statements(&stored.text).map_err(|error| damaged(error.to_string()))?;
        match statements.into_iter().next() {
            Some(Statement::CreateSubscription(statement)) => Ok(Self { statement, stored }),
            _ => Err(damaged("its text is no CREATE SUBSCRIPTION".to_owned())),
        }
    }

    /// The bytes the catalog keeps.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.stored).expect("texts and numbers are JSON")
    }

    /// Where events go.
    pub(super) fn url(&self) -> &str {
        let Target::Webhook(url) = &self.statement.target;
        url
    }

    /// Whether events may be sent already.
    pub(super) fn is_granted(&self) -> bool {
        self.stored.grant.is_some() || self.statement.options.handshake == Handshake::Skip
    }

    /// Its delays, jittered by its name.
    pub(super) fn ladder(&self) -> Ladder {
        let options = &self.statement.options;
        let hash = blake3::hash(self.statement.name.as_bytes());
        let seed = u64::from_le_bytes(
            *hash.as_bytes().first_chunk().expect("a hash is longer than eight bytes"),
        );
        Ladder::new(options.retry.clone(), options.expire, options.attempts, seed)
    }

    /// What it asks of transitions.
    pub(super) fn filter(&self) -> Filter {
        let place = Place { on: self.statement.on.clone(), filter: self.statement.filter.clone() };
        let condition = self.statement.condition.as_ref();
        let condition = condition
            .map(|expr| Condition::restored(&expr.to_string(), self.stored.columns.clone()));
        Filter::new(place, self.statement.options.historical, condition)
    }
}
