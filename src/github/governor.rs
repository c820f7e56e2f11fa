//! Who is asked before each call to GitHub, and told of each answer.
//!
//! This room knows no database; the budget that all replicas share is kept by whoever hands a [`Governor`] in. Without
//! one every call goes out at once.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use super::Access;
use crate::domain::budget::{Ask, Lane, Seen};
use crate::domain::ids::InstallationId;

/// Whose calls are counted: an installation's, or `None` for the App's own.
pub type Payer = Option<InstallationId>;

/// What an answer said, for the budget and for the figures.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// For the budget.
    pub seen: Seen,
    /// Whether the call changed something, or tried to.
    pub write: bool,
    /// Whether GitHub said that nothing has changed, which it does not count.
    pub not_modified: bool,
}

/// Keeps the budgets of calls.
pub trait Governor: Send + Sync {
    /// Returns when the call may be made, or says before which time it may not. Waits a few seconds at most.
    fn admit(&self, payer: Payer, ask: Ask) -> BoxFuture<'_, Result<(), DateTime<Utc>>>;

    /// Whether an update would have to wait for long, and until when. Takes no turn.
    fn look(&self, payer: Payer, lane: Lane) -> BoxFuture<'_, Result<(), DateTime<Utc>>>;

    /// Learns from an answer. Gives until when calls of this lane have to wait now.
    fn learn(&self, payer: Payer, told: Told) -> BoxFuture<'_, Option<DateTime<Utc>>>;
}

/// The governor, if there is one.
#[derive(Clone, Default)]
pub(super) struct Governed(pub(super) Option<Arc<dyn Governor>>);

impl fmt::Debug for Governed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "governed" } else { "free" })
    }
}

impl Access {
    /// How urgent calls with such a token are.
    pub(super) fn lane(self) -> Lane {
        match self {
            Self::Read | Self::Members | Self::Checkout => Lane::Decision,
            Self::Merge => Lane::Effect,
            Self::Feedback => Lane::Update,
        }
    }
}
