//! Webhooks as they arrive: is it GitHub's, and what does it ask for.
//!
//! Pure and total: every header, every JSON has an answer, nothing fails and nothing panics. A [`Trigger`] carries only
//! what later steps need, so that it can be stored instead of the payload. It decides nothing: whether a comment is a
//! command and whether its author may give it is found out elsewhere.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;

use super::wire::is_bot;
use crate::domain::command::{CommandName, Parsed, parse};
use crate::domain::ids::{CommitSha, InstallationId, PrNumber, RepoName};

/// The repository of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoFact {
    /// GitHub's number, which a rename does not change.
    pub id: i64,
    /// Its name at the time of the event.
    pub name: RepoName,
    /// Through which installation it is reached; `None` when the event does not say.
    pub installation: Option<InstallationId>,
    /// Whether it is private; true when the event does not say.
    pub private: bool,
    /// The branch it is about; `None` when the event does not say.
    pub default_branch: Option<String>,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The login.
    pub login: String,
    /// GitHub's number, which a rename does not change.
    pub id: i64,
    /// Whether it is a program.
    pub bot: bool,
}

/// What an event asks for or tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trigger {
    /// Someone wrote a new comment in a pull request's conversation.
    Comment {
        /// Where.
        repo: RepoFact,
        /// The pull request.
        number: PrNumber,
        /// The comment's number.
        comment_id: i64,
        /// Who wrote it.
        author: Actor,
        /// Whether the event says that the issue is a pull request. GitHub always does; other hosts that speak its API
        /// do not, so that they have to be asked.
        #[serde(default)]
        marked: bool,
        /// The App through which it was written, if any.
        via_app: Option<i64>,
        /// Markdown as written.
        body: String,
        /// When.
        created_at: DateTime<Utc>,
    },
    /// Someone put a label on a pull request.
    Labeled {
        /// Where.
        repo: RepoFact,
        /// The pull request.
        number: PrNumber,
        /// The label's name.
        label: String,
        /// Who did.
        actor: Actor,
        /// The newest commit at that time.
        head: CommitSha,
        /// When the pull request was last changed, that is when the label was put on.
        at: DateTime<Utc>,
    },
    /// A pull request has a head: it was opened, pushed to or changed in a way that matters.
    Head {
        /// Where.
        repo: RepoFact,
        /// The pull request.
        number: PrNumber,
        /// The newest commit.
        head: CommitSha,
        /// The branch it goes to.
        base_ref: String,
        /// Whether it is a draft.
        draft: bool,
        /// GitHub's word for what happened, one of [`HEAD_ACTIONS`].
        action: String,
        /// The newest commit before a push; `None` for an event that is about something else.
        #[serde(default)]
        before: Option<CommitSha>,
        /// When.
        at: DateTime<Utc>,
        /// Who pushed it; `None` for an event that is about something else.
        #[serde(default)]
        by: Option<Actor>,
    },
    /// A pull request was closed.
    Closed {
        /// Where.
        repo: RepoFact,
        /// The pull request.
        number: PrNumber,
        /// Whether by merging.
        merged: bool,
        /// The commit on the base branch, when merged.
        merge_commit: Option<CommitSha>,
        /// The newest commit of the change.
        head: CommitSha,
    },
    /// Someone pressed a button of a check run.
    CheckAction {
        /// Where.
        repo: RepoFact,
        /// The check run's number.
        check_run_id: i64,
        /// The check run's name.
        name: String,
        /// What its maker knows it by; empty when it was made without.
        external_id: String,
        /// The commit it is about.
        head: CommitSha,
        /// The button.
        identifier: String,
        /// Who pressed.
        actor: Actor,
        /// The App that made the check run.
        app_id: Option<i64>,
        /// The pull request, when GitHub names exactly one. A hint for keeping an order and nothing more: GitHub names
        /// none for a fork.
        number: Option<PrNumber>,
    },
    /// The App was installed, removed, paused or given other permissions on an account.
    Installation {
        /// The installation.
        id: InstallationId,
        /// The account's login.
        account: String,
        /// GitHub's word for what happened, one of [`INSTALLATION_ACTIONS`].
        action: String,
        /// The repositories that the event names; may be empty.
        repositories: Vec<RepoFact>,
    },
    /// Repositories were added to or taken from an installation.
    Repositories {
        /// The installation.
        id: InstallationId,
        /// The account's login.
        account: String,
        /// Now within reach.
        added: Vec<RepoFact>,
        /// Out of reach now.
        removed: Vec<RepoFact>,
    },
    /// Nothing to do.
    Ignored {
        /// Why, for the log where it was received. Reading a stored one gives [`STORED_REASON`].
        #[serde(skip_deserializing, default = "stored_reason")]
        reason: &'static str,
    },
}

/// Actions of `pull_request` that become [`Trigger::Head`].
pub const HEAD_ACTIONS: [&str; 6] =
    ["opened", "synchronize", "reopened", "ready_for_review", "converted_to_draft", "edited"];
/// Actions of `installation` that become [`Trigger::Installation`].
pub const INSTALLATION_ACTIONS: [&str; 5] = ["created", "deleted", "suspend", "unsuspend", "new_permissions_accepted"];
/// Events that may become a trigger that is acted on.
const EVENTS: [&str; 5] = ["issue_comment", "pull_request", "check_run", "installation", "installation_repositories"];
/// The reason of an ignored trigger that was stored and read again.
pub const STORED_REASON: &str = "was ignored when it arrived";

/// Whether the body was signed with one of the secrets.
///
/// `signature_header` is `X-Hub-Signature-256`, `sha256=` and 64 hexadecimal digits. The time taken depends on neither
/// the secrets nor the digits; every secret is tried. An empty secret never fits.
pub fn verify(secrets: &[SecretString], body: &[u8], signature_header: Option<&str>) -> bool {
    let Some(signature) = signature_header.and_then(|h| h.strip_prefix("sha256=")).and_then(|h| hex::decode(h).ok())
    else {
        return false;
    };
    secrets.iter().fold(false, |fits, secret| {
        let secret = secret.expose_secret();
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return fits };
        mac.update(body);
        fits | (mac.verify_slice(&signature).is_ok() && !secret.is_empty())
    })
}

/// What an event asks for. `event` is `X-GitHub-Event`. Whatever is not one of the documented shapes is ignored.
pub fn trigger(event: &str, payload: &Value) -> Trigger {
    let action = payload.get("action").and_then(Value::as_str).unwrap_or_default();
    let found = match event {
        "issue_comment" => comment(action, payload),
        "pull_request" => pull_request(action, payload),
        "check_run" => check_run(action, payload),
        "installation" => installation(action, payload),
        "installation_repositories" => repositories(action, payload),
        _ => Err("an event that Titan has no use for"),
    };
    found.unwrap_or_else(|reason| Trigger::Ignored { reason })
}

/// Whether an event of this name and action may become a trigger that is acted on, as far as these two tell.
pub fn concerns(event: &str, action: &str) -> bool {
    match event {
        "issue_comment" => action == "created",
        "pull_request" => matches!(action, "labeled" | "closed") || HEAD_ACTIONS.contains(&action),
        "check_run" => action == "requested_action",
        "installation" => INSTALLATION_ACTIONS.contains(&action),
        "installation_repositories" => matches!(action, "added" | "removed"),
        _ => false,
    }
}

/// The same, for a log that need not tell the action.
pub fn may_concern(event: &str, action: Option<&str>) -> bool {
    match action {
        Some(action) => concerns(event, action),
        None => EVENTS.contains(&event),
    }
}

/// `owner/name#number` in lower case: triggers with the same key must be handled in the order in which they came.
pub fn ordering_key(trigger: &Trigger) -> Option<String> {
    let (repo, number) = match trigger {
        Trigger::Comment { repo, number, .. }
        | Trigger::Labeled { repo, number, .. }
        | Trigger::Head { repo, number, .. }
        | Trigger::Closed { repo, number, .. }
        | Trigger::CheckAction { repo, number: Some(number), .. } => (repo, number),
        _ => return None,
    };
    Some(format!("{}#{}", repo.name, number.0).to_ascii_lowercase())
}

/// The key of the job that acts on a trigger, which came as this delivery. Those of one pull request are acted on in the order
/// in which they came; only what stops deployments overtakes the others, see `job_waits_for` in the migrations.
pub fn job_key(trigger: &Trigger, delivery: &str) -> String {
    let Some(key) = ordering_key(trigger) else { return format!("delivery:{delivery}") };
    let asked = match trigger {
        Trigger::Comment { body, .. } => parse(body),
        _ => Parsed::Ignored,
    };
    let group = match asked {
        Parsed::Command(command) => match command.name {
            CommandName::Halt | CommandName::Disarm => "stop",
            CommandName::Resume | CommandName::Arm => "free",
            _ => "pr",
        },
        _ => "pr",
    };
    format!("{group}:{key}")
}

/// A trigger, or why there is none.
type Found = Result<Trigger, &'static str>;

const NO_REPOSITORY: &str = "the event names no repository that could be one";
const NO_NUMBER: &str = "the event names no pull request";
const NO_HEAD: &str = "the event names no head commit";
const NO_ACTOR: &str = "the event does not say who acted";
const NO_TIME: &str = "the event does not say when it happened";
const NO_INSTALLATION: &str = "the event names no installation";

fn comment(action: &str, payload: &Value) -> Found {
    if action != "created" {
        return Err("only newly created comments can be commands");
    }
    let marked = payload.pointer("/issue/pull_request").is_some_and(Value::is_object);
    let body = text(payload, "/comment/body").unwrap_or_default();
    if !marked && !body.to_ascii_lowercase().contains("/titan") {
        return Err("a comment on an issue, not on a pull request");
    }
    Ok(Trigger::Comment {
        repo: repo(payload)?,
        marked,
        number: number(payload, "/issue/number")?,
        comment_id: positive(payload, "/comment/id").ok_or("the event names no comment")?,
        author: actor(payload, "/comment/user")?,
        via_app: integer(payload, "/comment/performed_via_github_app/id"),
        body,
        created_at: time(payload, "/comment/created_at")?,
    })
}

fn pull_request(action: &str, payload: &Value) -> Found {
    let head = || text(payload, "/pull_request/head/sha").and_then(|sha| sha.parse::<CommitSha>().ok()).ok_or(NO_HEAD);
    let number = || number(payload, "/pull_request/number").or_else(|_| number(payload, "/number"));
    let at = || time(payload, "/pull_request/updated_at");
    match action {
        "labeled" => Ok(Trigger::Labeled {
            repo: repo(payload)?,
            number: number()?,
            label: text(payload, "/label/name").ok_or("the event names no label")?,
            actor: actor(payload, "/sender")?,
            head: head()?,
            at: at()?,
        }),
        "closed" => {
            let merged = boolean(payload, "/pull_request/merged");
            let merge_commit = text(payload, "/pull_request/merge_commit_sha").and_then(|sha| sha.parse().ok());
            Ok(Trigger::Closed {
                repo: repo(payload)?,
                number: number()?,
                merged,
                merge_commit: merge_commit.filter(|_| merged),
                head: head()?,
            })
        }
        action if HEAD_ACTIONS.contains(&action) => Ok(Trigger::Head {
            repo: repo(payload)?,
            number: number()?,
            head: head()?,
            base_ref: text(payload, "/pull_request/base/ref").ok_or("the event names no base branch")?,
            draft: boolean(payload, "/pull_request/draft"),
            action: action.to_owned(),
            before: text(payload, "/before").and_then(|sha| sha.parse().ok()).filter(|_| action == "synchronize"),
            at: at()?,
            // Only then is whoever caused the event the one who brought the commit.
            by: actor(payload, "/sender").ok().filter(|_| matches!(action, "opened" | "synchronize")),
        }),
        _ => Err("a change of a pull request that does not concern Titan"),
    }
}

fn check_run(action: &str, payload: &Value) -> Found {
    if action != "requested_action" {
        return Err("only a pressed button of a check run concerns Titan");
    }
    let pulls = payload.pointer("/check_run/pull_requests").and_then(Value::as_array);
    let only = pulls.filter(|pulls| pulls.len() == 1).and_then(|pulls| number(pulls.first()?, "/number").ok());
    Ok(Trigger::CheckAction {
        repo: repo(payload)?,
        check_run_id: positive(payload, "/check_run/id").ok_or("the event names no check run")?,
        name: text(payload, "/check_run/name").ok_or("the event names no check run")?,
        external_id: text(payload, "/check_run/external_id").unwrap_or_default(),
        head: text(payload, "/check_run/head_sha").and_then(|sha| sha.parse().ok()).ok_or(NO_HEAD)?,
        identifier: text(payload, "/requested_action/identifier").ok_or("the event names no button")?,
        actor: actor(payload, "/sender")?,
        app_id: integer(payload, "/check_run/app/id"),
        number: only,
    })
}

fn installation(action: &str, payload: &Value) -> Found {
    if !INSTALLATION_ACTIONS.contains(&action) {
        return Err("a change of an installation that does not concern Titan");
    }
    let (id, account) = account(payload)?;
    let action = action.to_owned();
    Ok(Trigger::Installation { id, account, action, repositories: listed(payload, "/repositories", id) })
}

fn repositories(action: &str, payload: &Value) -> Found {
    if !matches!(action, "added" | "removed") {
        return Err("a change of an installation's repositories that does not concern Titan");
    }
    let (id, account) = account(payload)?;
    let added = listed(payload, "/repositories_added", id);
    let removed = listed(payload, "/repositories_removed", id);
    Ok(Trigger::Repositories { id, account, added, removed })
}

fn account(payload: &Value) -> Result<(InstallationId, String), &'static str> {
    let id = positive(payload, "/installation/id").ok_or(NO_INSTALLATION)?;
    // An enterprise has a slug instead of a login.
    let name = text(payload, "/installation/account/login").or_else(|| text(payload, "/installation/account/slug"));
    Ok((InstallationId(id), name.ok_or(NO_INSTALLATION)?))
}

/// The repositories of a list; an entry that is not one is left out.
fn listed(payload: &Value, pointer: &str, installation: InstallationId) -> Vec<RepoFact> {
    let entries = payload.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    entries.iter().filter_map(|entry| repo_fact(entry, Some(installation))).collect()
}

fn repo(payload: &Value) -> Result<RepoFact, &'static str> {
    let installation = positive(payload, "/installation/id").map(InstallationId);
    payload.get("repository").and_then(|entry| repo_fact(entry, installation)).ok_or(NO_REPOSITORY)
}

fn repo_fact(entry: &Value, installation: Option<InstallationId>) -> Option<RepoFact> {
    Some(RepoFact {
        id: positive(entry, "/id")?,
        name: text(entry, "/full_name")?.parse().ok()?,
        installation,
        private: entry.get("private").and_then(Value::as_bool).unwrap_or(true),
        default_branch: text(entry, "/default_branch"),
    })
}

fn actor(payload: &Value, pointer: &str) -> Result<Actor, &'static str> {
    let user = payload.pointer(pointer).ok_or(NO_ACTOR)?;
    let login = text(user, "/login").ok_or(NO_ACTOR)?;
    let kind = text(user, "/type").unwrap_or_default();
    let id = positive(user, "/id").ok_or(NO_ACTOR)?;
    Ok(Actor { bot: is_bot(&login, &kind), login, id })
}

fn number(payload: &Value, pointer: &str) -> Result<PrNumber, &'static str> {
    positive(payload, pointer).map(PrNumber).ok_or(NO_NUMBER)
}

fn time(payload: &Value, pointer: &str) -> Result<DateTime<Utc>, &'static str> {
    let text = text(payload, pointer).ok_or(NO_TIME)?;
    DateTime::parse_from_rfc3339(&text).map(|at| at.with_timezone(&Utc)).map_err(|_| NO_TIME)
}

/// Text without NUL, which Postgres cannot store; an empty text counts as missing.
fn text(payload: &Value, pointer: &str) -> Option<String> {
    let text = payload.pointer(pointer)?.as_str()?;
    (!text.is_empty()).then(|| text.replace('\0', "\u{fffd}"))
}

fn integer(payload: &Value, pointer: &str) -> Option<i64> {
    payload.pointer(pointer)?.as_i64()
}

fn positive(payload: &Value, pointer: &str) -> Option<i64> {
    integer(payload, pointer).filter(|n| *n > 0)
}

/// Missing, null and anything odd count as false.
fn boolean(payload: &Value, pointer: &str) -> bool {
    payload.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

fn stored_reason() -> &'static str {
    STORED_REASON
}

#[cfg(test)]
mod tests;
