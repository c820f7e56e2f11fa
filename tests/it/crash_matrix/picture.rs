//! How the world stands after a story, as lines that are equal for equal worlds: times, ids, ports and durations are
//! replaced, commits are named by what they are.

use titan::playground::github::model::Deployment;
use titan::playground::render::model::Deploy;

use crate::support::world::{REPO, World};

/// Everything that a person can see at GitHub and Render, and what Titan's store says about runs, releases and locks.
pub async fn of(world: &World) -> Vec<String> {
    let names = Names::of(world);
    let mut lines = at_github(world, &names);
    for (service, _) in world.render.services() {
        let deploys = world.render.deploys(&service);
        let line = |deploy: &Deploy| {
            let (commit, status) = (names.put_into(&deploy.commit.id), deploy.status);
            format!("{service} deploys {commit}: {status:?} by {}", deploy.trigger.as_str())
        };
        lines.extend(deploys.iter().rev().map(line));
        lines.push(format!("{service} deploys by itself: {}", world.render.auto_deploys(&service)));
    }
    lines.extend(stored(world).await.iter().map(|line| names.put_into(&without_interruptions(line))));
    lines
}

/// A build that was interrupted begins anew and its log says so; what counts is what it printed at last.
fn without_interruptions(line: &str) -> String {
    const AGAIN: &str = "--- the build was interrupted and starts again ---\n";
    match (line.find('$'), line.rfind(AGAIN)) {
        (Some(begin), Some(last)) if line.starts_with("artifact ") => {
            format!("{}{}", &line[..begin], &line[last + AGAIN.len()..])
        }
        _ => line.to_owned(),
    }
}

fn at_github(world: &World, names: &Names) -> Vec<String> {
    let repository = world.github.repository(REPO).expect("a repository");
    let mut lines = Vec::new();
    for pull in world.github.pulls(REPO) {
        let (number, open, labels) = (pull.number, pull.open, &pull.labels);
        let title = names.put_into(&pull.title);
        let merged = pull.pull.as_ref().and_then(|pull| pull.merged.as_ref()).map(|merged| merged.by.clone());
        lines.push(format!("#{number} {title:?} open {open}, merged by {merged:?}, labels {labels:?}"));
    }
    for comment in &repository.comments {
        let reactions: Vec<String> =
            comment.reactions.iter().map(|r| format!("{} by {}", r.content, r.author)).collect();
        lines.push(format!("#{} {} says, reactions {reactions:?}:", comment.issue, comment.author));
        lines.extend(comment.body.lines().map(|line| format!("  {}", names.put_into(line))));
    }
    let mut checks: Vec<String> = Vec::new();
    for (sha, name) in &names.known {
        for check in world.github.check_runs(REPO, sha) {
            let title = names.put_into(check.output.title.as_deref().unwrap_or_default());
            checks.push(format!("check {} on {name}: {} {:?} {title:?}", check.name, check.status, check.conclusion));
        }
    }
    checks.sort();
    lines.extend(checks);
    lines.extend(world.github.deployments(REPO).iter().map(|deployment| told(deployment, names)));
    let branches = world.github.refs(REPO, "refs/heads/");
    lines.extend(branches.iter().map(|branch| format!("branch {}", names.put_into(&branch.name))));
    lines
}

/// Only how it ended and that nothing was said twice: which of the states in between were worth a status depends on how
/// fast they followed each other.
fn told(deployment: &Deployment, names: &Names) -> String {
    let states: Vec<&str> = deployment.statuses.iter().map(|status| status.state.as_str()).collect();
    let twice = states.windows(2).any(|two| two[0] == two[1]);
    let (commit, environment) = (names.put_into(&deployment.sha), &deployment.environment);
    let last = deployment.state().unwrap_or("no status");
    format!("deployment of {commit} to {environment}: {last}{}", if twice { ", said twice" } else { "" })
}

async fn stored(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT line FROM (
            SELECT 1 AS part, row_number() OVER (ORDER BY r.created_at, r.id) AS at,
                   concat_ws(' ', 'run', kind, status, conclusion, actor, head, '-', summary) AS line FROM run r
            UNION ALL
            SELECT 2, row_number() OVER (ORDER BY r.created_at, r.id, s.position),
                   concat_ws(' ', 'step', r.kind, s.name, s.status, '-', s.detail)
              FROM step s JOIN run r ON r.id = s.run_id
            UNION ALL
            SELECT 3, l.id, concat_ws(' ', 'release', environment, commit, status, 'current', current) FROM release l
            UNION ALL
            SELECT 4, 0, concat_ws(' ', 'lock', environment, taken_by, reason) FROM environment_lock
            UNION ALL
            SELECT 5, c.id, concat_ws(' ', 'command', source, actor, text, conclusion) FROM command c
            UNION ALL
            SELECT 6, row_number() OVER (ORDER BY r.created_at, r.id),
                   concat_ws(' ', 'artifact', r.kind, a.kind,
                             (SELECT string_agg(content, '' ORDER BY seq) FROM artifact_chunk WHERE artifact_id = a.id))
              FROM artifact a JOIN run r ON r.id = a.run_id
            UNION ALL
            SELECT 7, 0, concat_ws(' ', 'repository armed', armed_at IS NOT NULL) FROM repository
            UNION ALL
            SELECT 8, row_number() OVER (ORDER BY r.created_at, r.id, e.kind, e.id),
                   concat_ws(' ', 'event', r.kind, e.kind) FROM run_event e JOIN run r ON r.id = e.run_id
             WHERE e.kind IN ('created', 'completed')
         ) all_lines ORDER BY part, at, line",
    )
    .fetch_all(world.store.pool())
    .await
    .expect("the store answers")
}

/// Commits and what they are.
struct Names {
    known: Vec<(String, String)>,
}

impl Names {
    fn of(world: &World) -> Self {
        let mut known: Vec<(String, String)> = Vec::new();
        let mut note = |sha: String, name: String| {
            if !known.iter().any(|(other, _)| *other == sha) {
                known.push((sha, name));
            }
        };
        for (service, _) in world.render.services() {
            note(world.before(&service), "<the first>".to_owned());
        }
        for pull in world.github.pulls(REPO) {
            note(world.head(pull.number), format!("<head of #{}>", pull.number));
            if let Some(merge) = pull.pull.as_ref().and_then(|pull| pull.merge_commit()) {
                note(merge.to_owned(), format!("<merge of #{}>", pull.number));
            }
        }
        note(world.main(), "<main>".to_owned());
        Self { known }
    }

    /// A text with every word replaced that differs between two playings of the same story.
    fn put_into(&self, text: &str) -> String {
        let mut out = String::new();
        let mut word = String::new();
        for c in text.chars().chain(['\n']) {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':') {
                word.push(c);
                continue;
            }
            let number = word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b':'));
            // `#7` is a pull request; all other numbers tell how often or how long.
            let commit = word.len() >= 7 && self.known.iter().any(|(sha, _)| sha.starts_with(&word));
            let told = number && !commit && word.bytes().any(|b| b.is_ascii_digit()) && !out.ends_with('#');
            out.push_str(&if told { "<n>".to_owned() } else { self.word(&word) });
            word.clear();
            out.push(c);
        }
        out.pop();
        out
    }

    fn word(&self, word: &str) -> String {
        let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
        if word.len() >= 7 && hex(word) {
            let named = self.known.iter().find(|(sha, _)| sha.starts_with(word));
            return named.map_or("<commit>".to_owned(), |(_, name)| name.clone());
        }
        if word.len() == 36 && word.split('-').all(hex) || word.starts_with("dep-") {
            return "<id>".to_owned();
        }
        if let Some(rest) = word.strip_prefix("revert-") {
            return format!("revert-{}", rest.split('-').next().unwrap_or_default());
        }
        if word.starts_with("127.0.0.1:") {
            return "<address>".to_owned();
        }
        let time = word.len() > 10 && word.starts_with("20") && word.contains('T') && word.contains(':');
        if time { "<time>".to_owned() } else { word.to_owned() }
    }
}
