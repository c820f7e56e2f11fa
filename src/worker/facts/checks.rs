//! The facts about what others reported of the head: every page of check runs and commit statuses, without Titan's own.

use std::collections::BTreeMap;

use super::Question;
use crate::domain::command::CommandName;
use crate::domain::gates::asks_for_checks;
use crate::domain::policy::{Policy, RequiredChecks};
use crate::domain::report::CheckName;
use crate::domain::run::RunKind;
use crate::domain::snapshot::{CheckStanding, ChecksFact, ReportedCheck};
use crate::github::reads::{CheckRunFact, PullRequest, StatusFact};
use crate::github::{GitHubError, RepoClient};
use crate::worker::JobError;

/// What a decision about `command` needs to know of checks. `own` is Titan's App.
pub(super) async fn checks(
    question: &Question<'_>,
    client: &RepoClient,
    own: i64,
    policy: &Policy,
    pull: &PullRequest,
) -> Result<ChecksFact, JobError> {
    let command = question.command.name;
    let asked = match RunKind::of(command) {
        Some(kind) => asks_for_checks(kind, policy),
        None => command == CommandName::Status,
    };
    if !asked {
        return Ok(ChecksFact::NotAsked);
    }
    let read = async {
        tokio::try_join!(
            client.list_required_checks(&pull.base_ref),
            client.list_check_runs(&pull.head),
            statuses(client, policy, pull)
        )
    };
    match read.await {
        Ok((required, runs, statuses)) => Ok(ChecksFact::Read { required, reported: reported(own, runs, statuses) }),
        Err(error) => question.unknown(error, |error| ChecksFact::Unknown(error.to_string())),
    }
}

/// The commit statuses. A host that speaks GitHub's API may have none: then a check that must be there is missing, and
/// only `all` would take silence for consent.
async fn statuses(client: &RepoClient, policy: &Policy, pull: &PullRequest) -> Result<Vec<StatusFact>, GitHubError> {
    match client.list_statuses(&pull.head).await {
        Err(GitHubError::NotFound(_)) if policy.required_checks != RequiredChecks::All => Ok(Vec::new()),
        read => read,
    }
}

/// Whether Titan made the check run. Only other hosts do not name the App of a check run.
fn is_own(run: &CheckRunFact, own: i64) -> bool {
    match run.app_id {
        Some(app) => app == own,
        None => CheckName::ALL.into_iter().any(|check| check.as_str() == run.name),
    }
}

/// The newest run of each App and name, and the newest status of each context.
fn reported(own: i64, runs: Vec<CheckRunFact>, statuses: Vec<StatusFact>) -> Vec<ReportedCheck> {
    let mut newest: BTreeMap<(String, Option<i64>), CheckRunFact> = BTreeMap::new();
    for run in runs.into_iter().filter(|run| !is_own(run, own)) {
        let key = (run.name.clone(), run.app_id);
        // Numbers grow with time; the time at which a run began may be set by its maker.
        if newest.get(&key).is_none_or(|known| known.id < run.id) {
            newest.insert(key, run);
        }
    }
    let runs = newest.into_values().map(|run| ReportedCheck {
        state: standing(&run.status, run.conclusion.as_deref()),
        name: run.name,
        app: run.app_id,
    });
    let statuses = statuses.into_iter().map(|status| ReportedCheck {
        state: match status.state.as_str() {
            "success" => CheckStanding::Green(status.state),
            "pending" => CheckStanding::Running(status.state),
            _ => CheckStanding::Red(status.state),
        },
        name: status.context,
        app: None,
    });
    runs.chain(statuses).collect()
}

/// GitHub counts `success`, `skipped` and `neutral` as passed. A word that is not known is not.
fn standing(status: &str, conclusion: Option<&str>) -> CheckStanding {
    match (status, conclusion) {
        ("completed", Some(word @ ("success" | "skipped" | "neutral"))) => CheckStanding::Green(word.to_owned()),
        ("completed", Some(word)) => CheckStanding::Red(word.to_owned()),
        ("completed", None) => CheckStanding::Red("completed without a conclusion".to_owned()),
        (word, _) => CheckStanding::Running(word.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: i64, name: &str, app: i64, conclusion: Option<&str>) -> CheckRunFact {
        CheckRunFact {
            id,
            name: name.to_owned(),
            app_id: Some(app),
            status: if conclusion.is_some() { "completed" } else { "in_progress" }.to_owned(),
            conclusion: conclusion.map(str::to_owned),
            external_id: None,
            started_at: None,
        }
    }

    #[test]
    fn the_newest_run_of_each_app_and_name_counts_and_titans_own_do_not() {
        let runs = vec![
            run(3, "ci", 1, Some("success")),
            run(7, "ci", 1, None),
            run(5, "ci", 1, Some("failure")),
            run(4, "ci", 2, Some("skipped")),
            run(9, "titan/build", 42, Some("success")),
            CheckRunFact { app_id: None, ..run(10, "titan/canary", 42, None) },
        ];
        let statuses = vec![StatusFact { context: "ci".to_owned(), state: "error".to_owned() }];
        let seen = reported(42, runs, statuses);
        let check = |app, state| ReportedCheck { name: "ci".to_owned(), app, state };
        assert_eq!(
            seen,
            [
                check(Some(1), CheckStanding::Running("in_progress".to_owned())),
                check(Some(2), CheckStanding::Green("skipped".to_owned())),
                check(None, CheckStanding::Red("error".to_owned())),
            ]
        );
    }

    #[test]
    fn every_word_has_its_colour() {
        let colour = |status: &str, conclusion: Option<&str>| match standing(status, conclusion) {
            CheckStanding::Green(_) => "green",
            CheckStanding::Running(_) => "running",
            CheckStanding::Red(_) => "red",
        };
        for word in ["success", "skipped", "neutral"] {
            assert_eq!(colour("completed", Some(word)), "green", "{word}");
        }
        for word in ["failure", "cancelled", "timed_out", "action_required", "stale", "startup_failure", "Success", ""]
        {
            assert_eq!(colour("completed", Some(word)), "red", "{word}");
        }
        for word in ["queued", "in_progress", "waiting", "requested", "pending", "new-word"] {
            assert_eq!(colour(word, None), "running", "{word}");
        }
        assert_eq!(colour("completed", None), "red");
        assert_eq!(colour("in_progress", Some("success")), "running", "a conclusion counts once it has ended");
    }
}
