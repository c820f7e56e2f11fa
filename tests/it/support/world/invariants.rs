//! What must hold of every story at its end, whatever happened in it. Each check gives a line for everything that does not.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;

use chrono::{DateTime, Utc};
use titan::audit;
use titan::domain::command::{Parsed, parse};
use titan::playground::github::model::Comment;

use super::{CANARY, PRODUCTION, REPO, World};

/// One conclusion of a command row: how it ended and whether it started a run.
type CommandRow = (Option<i64>, Option<String>, String);

impl World {
    /// Fails when two runs changed a project at the same time.
    pub async fn assert_one_run_at_a_time(&self) {
        let broken = self.runs_at_the_same_time().await;
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }

    /// Everything that must hold and does not. `heads` are the heads that each pull request has had.
    pub async fn broken_invariants(&self, heads: &HashMap<u64, Vec<String>>) -> Vec<String> {
        let mut broken = self.runs_at_the_same_time().await;
        broken.extend(self.wrong_commands().await);
        broken.extend(self.wrong_deploys().await);
        broken.extend(self.untried_on_production().await);
        broken.extend(self.written_twice(heads));
        broken.extend(self.not_up_to_date(heads).await);
        broken.extend(self.locks_left_behind().await);
        broken.extend(self.heads_not_pinned(heads).await);
        broken.extend(self.wrong_releases().await);
        broken.extend(self.rewritten_history().await);
        broken
    }

    /// What is left over although every pull request is closed, so that nobody can want it any more. A lock that waits
    /// for somebody to look at what a run has left is no such thing.
    pub async fn left_when_all_is_closed(&self) -> Vec<String> {
        self.strings(
            "SELECT 'a lock of ' || l.environment || ' for ' || l.held_for || ' by #' || c.number
             FROM environment_lock l JOIN change c ON c.id = l.change_id WHERE l.held_for <> 'look'
             UNION ALL SELECT 'a lock of ' || l.environment || ' for a look at #' || c.number || ', where all is well'
             FROM environment_lock l JOIN change c ON c.id = l.change_id WHERE l.held_for = 'look' AND NOT EXISTS
                 (SELECT 1 FROM run WHERE run.change_id = c.id AND run.project_id = l.project_id
                  AND run.conclusion IN ('failure', 'inconclusive', 'cancelled'))
             UNION ALL SELECT 'in line: ' || kind || ' of ' || head FROM queue_entry
             UNION ALL SELECT 'command ' || id || ' is ' || COALESCE(conclusion, 'open') FROM command
             WHERE conclusion IS NULL OR conclusion = 'queued'",
        )
        .await
    }

    /// How many promotes have succeeded.
    pub async fn count_promotes(&self) -> usize {
        self.strings("SELECT id::text FROM run WHERE kind = 'promote' AND conclusion = 'success'").await.len()
    }

    /// Commands of people that Titan has not concluded yet, and deliveries that are missing.
    pub async fn unanswered(&self) -> Vec<String> {
        let rows = self.command_rows().await;
        let concluded = |id: u64| rows.iter().any(|row| row.0 == i64::try_from(id).ok() && row.1.is_some());
        let comments = self.commands_of_people().into_iter().filter(|comment| !concluded(comment.id));
        let mut open: Vec<String> =
            comments.map(|comment| format!("comment {}: {}", comment.id, comment.body)).collect();
        let missing = self.store.count_recovery().await.expect("the store answers").missing;
        if missing > 0 {
            open.push(format!("{missing} deliveries are missing"));
        }
        open
    }

    /// How commands and runs ended, in one line.
    pub async fn summary(&self) -> String {
        let commands = self
            .strings(
                "SELECT count(*) || ' ' || concat_ws(' ', COALESCE(conclusion, 'open'), reason)
                 FROM command GROUP BY conclusion, reason ORDER BY conclusion, reason",
            )
            .await;
        let runs = self
            .strings(
                "SELECT count(*) || ' ' || kind || ' ' || COALESCE(conclusion, status) FROM run
                 GROUP BY kind, COALESCE(conclusion, status) ORDER BY kind, COALESCE(conclusion, status)",
            )
            .await;
        let inbox = self.store.count_deliveries().await.expect("the store answers");
        let recovered = self.store.count_recovery().await.expect("the store answers");
        format!(
            "{} promotes succeeded, {} deploys on production; {} commands in comments; commands: {}; runs: {}; {} \
             deliveries, {} duplicates, asked again {} times, {} commands found by reading",
            self.count_promotes().await,
            self.deployed(PRODUCTION).len(),
            self.commands_of_people().len(),
            commands.join(", "),
            runs.join(", "),
            inbox.received,
            inbox.duplicates,
            recovered.asked,
            recovered.commands
        )
    }

    async fn strings(&self, query: &'static str) -> Vec<String> {
        sqlx::query_scalar(query).fetch_all(self.store.pool()).await.expect("the store answers")
    }

    async fn runs_at_the_same_time(&self) -> Vec<String> {
        self.strings(
            "SELECT 'at the same time: ' || a.kind || ' ' || a.id || ' and ' || b.kind || ' ' || b.id
             FROM run a JOIN run b
             ON a.project_id = b.project_id AND a.id < b.id AND a.kind <> 'propose' AND b.kind <> 'propose'
                AND a.conclusion IS DISTINCT FROM 'refused' AND b.conclusion IS DISTINCT FROM 'refused'
                AND tstzrange(a.created_at, a.completed_at) && tstzrange(b.created_at, b.completed_at)",
        )
        .await
    }

    async fn command_rows(&self) -> Vec<CommandRow> {
        sqlx::query_as("SELECT comment_id, conclusion, text FROM command")
            .fetch_all(self.store.pool())
            .await
            .expect("the store answers")
    }

    /// Comments by people, on every pull request.
    fn comments_of_people(&self) -> Vec<Comment> {
        let bot = self.github.app().bot_login();
        let comments = self.github.repository(REPO).expect("a repository").comments;
        comments.into_iter().filter(|comment| comment.author != bot).collect()
    }

    fn commands_of_people(&self) -> Vec<Comment> {
        let mut comments = self.comments_of_people();
        comments.retain(|comment| !matches!(parse(&comment.body), Parsed::Ignored));
        comments
    }

    /// Every command has one conclusion and shows it; everything else is left alone.
    async fn wrong_commands(&self) -> Vec<String> {
        let rows = self.command_rows().await;
        let mut broken = Vec::new();
        for comment in self.comments_of_people() {
            let concluded: Vec<_> = rows.iter().filter(|row| row.0 == i64::try_from(comment.id).ok()).collect();
            let wanted: &[&str] = match (parse(&comment.body), concluded.as_slice()) {
                (Parsed::Ignored, []) => &[],
                (Parsed::Ignored, _) => &["nothing, it is no command"],
                (_, [(_, Some(word), _)]) => match word.as_str() {
                    // It waits for its turn.
                    "queued" => &["eyes"],
                    "refused" | "misunderstood" | "withdrawn" => &["eyes", "confused"],
                    _ => &["eyes", "rocket"],
                },
                (_, rows) => {
                    broken.push(format!("comment {} ({}) has the conclusions {rows:?}", comment.id, comment.body));
                    continue;
                }
            };
            let mut seen = self.reactions(comment.id);
            seen.sort_unstable_by_key(|reaction| *reaction != "eyes");
            if seen != wanted {
                let (id, body) = (comment.id, &comment.body);
                broken.push(format!("comment {id} ({body}) shows {seen:?}, not {wanted:?}"));
            }
        }
        broken.extend(
            self.strings(
                "SELECT 'command ' || c.id || ' started ' || count(run.id) || ' runs' FROM command c
                 LEFT JOIN run ON run.command_id = c.id WHERE c.conclusion = 'started'
                 GROUP BY c.id HAVING count(run.id) <> 1",
            )
            .await,
        );
        broken
    }

    /// Every deploy at Render is the one of exactly one intent.
    async fn wrong_deploys(&self) -> Vec<String> {
        let claimed = self.strings("SELECT progress->>'deploy' FROM step WHERE progress->>'deploy' IS NOT NULL").await;
        let mut broken = Vec::new();
        for service in [CANARY, PRODUCTION] {
            // The oldest was there before the story.
            for deploy in self.render.deploys(service).iter().rev().skip(1) {
                let count = claimed.iter().filter(|id| **id == deploy.id).count();
                if count != 1 {
                    let (id, commit, trigger) = (&deploy.id, &deploy.commit.id, deploy.trigger.as_str());
                    broken.push(format!("{service}: {id} of {commit} ({trigger}) is what {count} steps know of"));
                }
            }
        }
        broken
    }

    /// What went to production has the tree of a head whose canary had passed by then, or was there before.
    async fn untried_on_production(&self) -> Vec<String> {
        let passed: Vec<(String, DateTime<Utc>)> =
            sqlx::query_as("SELECT head, completed_at FROM run WHERE kind = 'canary' AND conclusion = 'success'")
                .fetch_all(self.store.pool())
                .await
                .expect("the store answers");
        let folder = self.github.repository_dir(REPO).expect("a repository");
        let passed: Vec<(String, DateTime<Utc>)> = passed.iter().map(|(head, at)| (tree(&folder, head), *at)).collect();
        let mut earlier = Vec::new();
        let mut broken = Vec::new();
        for (nth, deploy) in self.render.deploys(PRODUCTION).iter().rev().enumerate() {
            let (commit, at) = (&deploy.commit.id, deploy.created_at);
            let shipped = tree(&folder, commit);
            let tried = passed.iter().any(|(judged, by)| *judged == shipped && *by <= at);
            if nth > 0 && !earlier.contains(commit) && !tried {
                broken.push(format!("{commit} went to production ({}) and no canary of it passed", deploy.id));
            }
            earlier.push(commit.clone());
        }
        broken
    }

    /// The audit log is whole.
    async fn rewritten_history(&self) -> Vec<String> {
        let mut told = Vec::new();
        let good = audit::verify(&self.store, &audit::Selection::default(), None, &mut told).await;
        match good {
            Ok(true) => Vec::new(),
            Ok(false) => vec![String::from_utf8_lossy(&told).into_owned()],
            Err(error) => vec![format!("the audit log cannot be read: {error}")],
        }
    }

    /// One comment for each pull request, one check run and one deployment for each run, one revert for each rollback.
    fn written_twice(&self, heads: &HashMap<u64, Vec<String>>) -> Vec<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut count = |what: String| *seen.entry(what).or_default() += 1;
        for pull in self.github.pulls(REPO) {
            for _ in self.github.bot_comments(REPO, pull.number) {
                count(format!("comments on #{}", pull.number));
            }
            let head = pull.pull.map(|pull| pull.head_ref).unwrap_or_default();
            count(format!("pull requests of the branch {head}"));
        }
        let mut commits: Vec<&String> = heads.values().flatten().collect();
        commits.sort_unstable();
        commits.dedup();
        for check in commits.into_iter().flat_map(|commit| self.github.check_runs(REPO, commit)) {
            count(format!("check runs {} of {}", check.name, check.external_id));
        }
        for deployment in self.github.deployments(REPO) {
            count(format!("deployments of {}", deployment.payload));
        }
        seen.into_iter().filter(|(_, times)| *times > 1).map(|(what, times)| format!("{times} {what}")).collect()
    }

    /// What GitHub shows is what Titan knows.
    async fn not_up_to_date(&self, heads: &HashMap<u64, Vec<String>>) -> Vec<String> {
        let mut broken = self
            .strings(
                "SELECT 'nobody knows what GitHub shows of ' || key FROM feedback WHERE sent_hash IS NULL
                 UNION ALL SELECT 'run ' || id || ' is ' || status FROM run WHERE status <> 'completed'
                 UNION ALL SELECT 'job ' || key || ' is ' || status FROM job",
            )
            .await;
        for commit in heads.values().flatten() {
            for check in self.github.check_runs(REPO, commit).iter().filter(|check| check.status == "in_progress") {
                broken.push(format!("the check run {} of {} never ends", check.name, check.external_id));
            }
        }
        let open = |state: Option<&str>| matches!(state, None | Some("in_progress" | "queued" | "pending"));
        for deployment in self.github.deployments(REPO).iter().filter(|deployment| open(deployment.state())) {
            broken.push(format!("the deployment of {} never ends", deployment.payload));
        }
        broken
    }

    /// A lock belongs to an open pull request, or to one whose last run left something for a person to look at.
    async fn locks_left_behind(&self) -> Vec<String> {
        let locks: Vec<(String, i64, Option<String>)> = sqlx::query_as(
            "SELECT l.environment, c.number,
                    (SELECT run.conclusion FROM run WHERE run.change_id = c.id AND run.project_id = l.project_id
                        AND run.kind <> 'propose' AND run.conclusion <> 'refused' ORDER BY run.id DESC LIMIT 1)
             FROM environment_lock l JOIN change c ON c.id = l.change_id WHERE l.reason = ''",
        )
        .fetch_all(self.store.pool())
        .await
        .expect("the store answers");
        let mut broken = Vec::new();
        for (environment, number, last) in locks {
            let number = u64::try_from(number).expect("a number");
            let is_open = self.github.issue(REPO, number).is_some_and(|issue| issue.open);
            let last = last.unwrap_or_else(|| "no run".to_owned());
            let kept =
                matches!((is_open, last.as_str()), (_, "failure" | "inconclusive" | "cancelled") | (true, "success"));
            if !kept {
                broken.push(format!("{environment} is held by #{number} (open: {is_open}, its last run: {last})"));
            }
        }
        broken
    }

    /// A run's head is one that its pull request has had.
    async fn heads_not_pinned(&self, heads: &HashMap<u64, Vec<String>>) -> Vec<String> {
        let runs: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT change.number, run.head, run.kind FROM run JOIN change ON change.id = run.change_id",
        )
        .fetch_all(self.store.pool())
        .await
        .expect("the store answers");
        let had = |number: i64, head: &String| {
            let number = u64::try_from(number).expect("a number");
            // Pull requests by Titan are not in the list.
            heads.get(&number).is_none_or(|heads| heads.contains(head))
        };
        let wrong = runs.iter().filter(|(number, head, _)| !had(*number, head));
        wrong.map(|(number, head, kind)| format!("a {kind} of #{number} is for {head}, which it never had")).collect()
    }

    /// What Titan takes for live is what is live.
    async fn wrong_releases(&self) -> Vec<String> {
        let current: Vec<(String, String)> = sqlx::query_as("SELECT environment, commit FROM release WHERE current")
            .fetch_all(self.store.pool())
            .await
            .expect("the store answers");
        let mut broken = Vec::new();
        for (environment, commit) in current {
            let service = if environment == "canary" { CANARY } else { PRODUCTION };
            let live = self.render.live_commit(service);
            if live.as_ref() != Some(&commit) {
                broken.push(format!("{environment}: Titan says {commit}, Render says {live:?}"));
            }
        }
        broken
    }
}

fn tree(repository: &Path, commit: &str) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(repository)
        .args(["rev-parse", &format!("{commit}^{{tree}}")])
        .output()
        .expect("git");
    assert!(output.status.success(), "{commit} is a commit");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
