//! Everything that is said to GitHub. Wire types stay inside; callers get plain facts.
//!
//! Every call names the repository and the [`Access`] it needs; the token that is sent is narrowed to both. Calls are
//! thin and hold no decisions. Nothing here retries a write: the caller looks for what it did before it repeats.
//! API version `2022-11-28`.

pub mod auth;
pub mod feedback;
pub mod git_data;
pub mod reads;
pub mod webhook;

use crate::domain::ids::{InstallationId, RepoName};

/// What went wrong, named by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum GitHubError {
    /// 404 or 410: not there, or not visible to this installation.
    #[error("not found: {0}")]
    NotFound(String),
    /// 409, 405 on merge: the world is not as the request assumed.
    #[error("conflict: {0}")]
    Conflict(String),
    /// 422 or 400: GitHub does not accept the request; repeating it does not help.
    #[error("refused by GitHub: {0}")]
    Invalid(String),
    /// 401 or 403 that is not a rate limit: credentials or permissions are missing.
    #[error("not allowed: {0}")]
    Unauthorized(String),
    /// 403 or 429 with a rate limit; do not call again before this time.
    #[error("rate limited until {retry_at}")]
    RateLimited {
        /// From `retry-after`, else `x-ratelimit-reset`, else a minute from now.
        retry_at: chrono::DateTime<chrono::Utc>,
    },
    /// 5xx, timeout or broken connection: the call may or may not have taken effect.
    #[error("GitHub did not answer properly: {0}")]
    Transient(String),
    /// A 2xx whose body could not be understood.
    #[error("unexpected answer from GitHub: {0}")]
    Unexpected(String),
}

/// The permissions a token is narrowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Facts for a decision: contents, pull requests, checks, statuses, metadata; all read.
    Read,
    /// `contents: read`, for git.
    Checkout,
    /// Comments, reactions, check runs, deployments: issues, pull_requests, checks, deployments; write.
    Feedback,
    /// `contents: write`, `pull_requests: write`: merging, branches and pull requests of Titan's own.
    Merge,
}

/// A repository together with the installation through which it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepoRef {
    /// Whose token is used.
    pub installation: InstallationId,
    /// `owner/name`.
    pub name: RepoName,
}
