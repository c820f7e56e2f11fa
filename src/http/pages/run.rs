//! `/runs/{id}`: one run with everything about it: what came of it, what to do now, its steps, gates, bake and log.
//!
//! The words come from [`crate::domain::report`], as in the status comment and the checks.

use axum::extract::{Path, State};
use axum::response::Response;

use super::words::{Badge, GateView, Moment, bytes, took};
use super::{Frame, PageError, page};
use crate::domain::gates::GateResult;
use crate::domain::ids::RunId;
use crate::domain::report::{self, ChangeFacts, RunFacts, StageRow, StepFacts};
use crate::domain::run::{RunKind, StepName, StepStatus};
use crate::domain::verdict::Figures;
use crate::http::WebState;
use crate::http::ansi::Painter;
use crate::http::links::Links;
use crate::http::live::Place;
use crate::http::markdown::{self, Html};
use crate::http::problem::Problem;
use crate::store::StoreError;
use crate::store::listings::SampleListing;
use crate::store::runs::Run;

/// The most of a log that stands on the page; the rest is one link away.
const LOG_BYTES: i64 = 400_000;
/// The most files that the page lists.
const LISTED_FILES: usize = 100;
/// Samples in the picture of a bake.
const PICTURED: i64 = 120;
/// Seconds after which a page without script looks again.
const REFRESH: u32 = 5;

#[derive(askama::Template)]
#[template(path = "pages/run.html")]
struct RunPage {
    frame: Frame,
    badge: Badge,
    kind: &'static str,
    project: String,
    repo: String,
    repo_url: String,
    number: String,
    pull_url: String,
    change_url: String,
    commit: String,
    commit_url: String,
    actor: String,
    begun: Moment,
    took: String,
    under_way: bool,
    cancel_by: Option<String>,
    policy: Option<PolicyView>,
    headline: String,
    summary: Html,
    todo: Html,
    cause: Option<String>,
    follow_up: Option<FollowUpView>,
    notes: Vec<Html>,
    stages: Vec<StageView>,
    next: Vec<NextView>,
    steps: Vec<StepView>,
    files: Vec<FileView>,
    more_files: usize,
    receipt: Option<(String, String)>,
    bake: Option<BakeView>,
    gates: Vec<GateView>,
    failed_gates: usize,
    log: Option<LogView>,
    checks: Vec<(String, String)>,
    artifacts: Vec<String>,
    events_url: String,
}

struct PolicyView {
    hash: String,
    commit: String,
    url: String,
}

struct FollowUpView {
    url: String,
    badge: Badge,
}

struct StageView {
    badge: Badge,
    stage: &'static str,
    result: Html,
    url: Option<String>,
    here: bool,
}

struct NextView {
    line: String,
    does: Html,
}

struct StepView {
    badge: Badge,
    name: &'static str,
    about: &'static str,
    detail: Html,
    took: String,
}

struct FileView {
    path: String,
    reason: String,
}

struct BakeView {
    verdict: Option<(Badge, String)>,
    samples: usize,
    expected: usize,
    failed: usize,
    p50: String,
    p95: String,
    bound: String,
    until: Option<Moment>,
    picture: Picture,
}

/// Latencies as bars, newest last.
struct Picture {
    width: usize,
    bars: Vec<Bar>,
    worst_ms: i32,
}

struct Bar {
    x: usize,
    y: u32,
    height: u32,
    healthy: bool,
}

struct LogView {
    html: Html,
    size: String,
    omitted: Option<String>,
    raw_url: String,
}

/// The handler.
pub async fn show(State(state): State<WebState>, Path(id): Path<String>) -> Result<Response, PageError> {
    let missing = || Problem::not_found("Titan knows no run with this id.");
    let id: RunId = id.parse().map_err(|_| missing())?;
    // Read before everything else: what happens while the page is made is told to it afterwards.
    let seen_event = state.store.last_event_id(id).await?;
    let run = state.store.find_run(id).await?.ok_or_else(missing)?;
    let links = report::Links::new(state.public_url.as_str(), state.github_url.as_str());
    let change = state.store.find_change_facts(run.change_id, links).await?.ok_or_else(missing)?;
    // A run that is older than everything that is shown of its change is shown by itself.
    let facts = match change.runs.iter().find(|facts| facts.id == id) {
        Some(facts) => facts.clone(),
        None => state.store.find_run_facts(id).await?.ok_or_else(missing)?,
    };
    Ok(page(&assemble(&state, &run, &facts, &change, seen_event).await?))
}

async fn assemble(
    state: &WebState,
    run: &Run,
    facts: &RunFacts,
    change: &ChangeFacts,
    seen_event: i64,
) -> Result<RunPage, StoreError> {
    let links = Links::of(state);
    let view = report::change_view(change);
    let badge = Badge::of_run(facts.status);
    let under_way = facts.is_under_way();
    let headline = headline(facts, change);
    let (log, seen_log) = log(state, facts).await?;
    let project = run.project.as_ref().map(ToString::to_string).unwrap_or_default();
    let title = format!("{}: {} {} · {} {}", badge.word, run.kind, project, run.repo, run.number);
    let section = view.sections.iter().find(|section| section.project.as_deref().unwrap_or_default() == project);
    let artifacts = state.store.list_artifacts(run.id).await?;
    let checks = state.store.list_check_runs(run.id).await?;
    let follow_up = state.store.find_follow_up(run.id).await?;
    let place = Place { event: seen_event, log: seen_log };
    let files: Vec<FileView> = facts.seen.diff.offences.iter().map(file_view).collect();
    Ok(RunPage {
        frame: Frame::new(title, under_way.then_some(REFRESH)),
        kind: run.kind.as_str(),
        repo: run.repo.to_string(),
        repo_url: links.repository(&run.repo),
        number: run.number.to_string(),
        pull_url: links.pull_request(&run.repo, run.number),
        change_url: links.change(&run.repo, run.number),
        commit: run.head.short().to_owned(),
        commit_url: links.commit(&run.repo, &run.head),
        actor: run.actor.clone(),
        begun: Moment::new(run.created_at),
        took: if facts.is_refused() { String::new() } else { took(run.created_at, run.completed_at) },
        cancel_by: run.cancel_by.clone().filter(|_| under_way),
        policy: policy_view(&links, run),
        summary: summary(facts, &headline),
        todo: todo(facts, change),
        headline,
        cause: run.cause.map(|cause| links.run(cause)),
        follow_up: follow_up.map(|next| FollowUpView { url: links.run(next.id), badge: Badge::of_run(next.status) }),
        notes: view.notes.iter().map(|note| markdown::line(note)).collect(),
        stages: section.map(|s| s.rows.iter().map(|row| stage_view(&links, row, run)).collect()).unwrap_or_default(),
        next: view.next.iter().map(|n| NextView { line: n.line.clone(), does: markdown::line(&n.does) }).collect(),
        steps: facts.steps.iter().map(step_view).collect(),
        receipt: facts.seen.diff.receipt.clone().map(|sha256| (format!("/api/runs/{}/receipt", run.id), sha256)),
        more_files: files.len().saturating_sub(LISTED_FILES),
        files: files.into_iter().take(LISTED_FILES).collect(),
        bake: bake(state, facts).await?,
        failed_gates: facts.gates.iter().filter(|gate| !gate.passed()).count(),
        gates: facts.gates.iter().map(GateView::from).collect(),
        checks: checks.into_iter().map(|(name, id)| (name, links.check_run(&run.repo, id))).collect(),
        artifacts: artifacts.iter().map(|a| format!("{} ({})", a.kind, bytes(a.bytes))).collect(),
        events_url: format!("/api/runs/{}/events?log=html&after={place}", run.id),
        badge,
        project,
        under_way,
        log,
    })
}

fn policy_view(links: &Links, run: &Run) -> Option<PolicyView> {
    let (hash, commit) = run.policy_hash.as_ref().zip(run.policy_commit.as_ref())?;
    Some(PolicyView {
        hash: hash.chars().take(12).collect(),
        commit: commit.short().to_owned(),
        url: links.policy(&run.repo, commit),
    })
}

/// One line on how it stands: the checks' own titles.
fn headline(run: &RunFacts, change: &ChangeFacts) -> String {
    if run.is_refused() {
        let failed: Vec<&GateResult> = run.gates.iter().filter(|gate| !gate.passed()).collect();
        return match failed.as_slice() {
            [] => "Refused".to_owned(),
            [one] => format!("Refused: {}", one.reason.map_or("a gate failed", |reason| reason.meaning())),
            several => format!("Refused: {} gates failed", several.len()),
        };
    }
    let titles: Vec<String> = report::checks(run, change).into_iter().map(|check| check.title).collect();
    titles.join(" · ")
}

/// What came of it, unless the headline or a step says the same.
fn summary(run: &RunFacts, headline: &str) -> Html {
    if run.is_refused() {
        return super::index::why_refused(&run.gates);
    }
    let told = headline.contains(&markdown::plain(&run.summary)) || run.steps.iter().any(|s| s.detail == run.summary);
    match told && run.kind == RunKind::Propose {
        true => Html::default(),
        false => markdown::line(&run.summary),
    }
}

/// What a person has to do now.
fn todo(run: &RunFacts, change: &ChangeFacts) -> Html {
    if run.is_refused() {
        let ways: Vec<&str> = run.gates.iter().filter(|g| !g.passed()).map(|g| g.way_out.as_str()).collect();
        return markdown::line(&ways.join("; "));
    }
    markdown::line(&report::todo(run, change))
}

fn stage_view(links: &Links, row: &StageRow, run: &Run) -> StageView {
    StageView {
        badge: Badge::of_mark(row.mark),
        stage: row.stage,
        result: markdown::cell(&row.result),
        url: row.run.map(|id| links.run(id)),
        here: row.run == Some(run.id),
    }
}

fn step_view(step: &StepFacts) -> StepView {
    let about = match step.name {
        StepName::Diff => "the changed files against the path rules",
        StepName::Build => "the commit checked out and built",
        StepName::Merge => "the pull request merged, if its head is still the same",
        StepName::Deploy => "the commit put on the service",
        StepName::Verify => "the service asked which commit it is",
        StepName::Bake => "the new version watched",
        StepName::Restore => "the last good version put back",
        StepName::Revert => "a pull request that takes the change out again",
    };
    let begun = step.started_at.filter(|_| step.completed_at.is_some() || step.status == StepStatus::Running);
    StepView {
        badge: Badge::of_step(step.status),
        name: step.name.as_str(),
        about,
        detail: markdown::line(&step.detail),
        took: begun.map(|from| took(from, step.completed_at)).unwrap_or_default(),
    }
}

fn file_view(offence: &crate::domain::paths::Offence) -> FileView {
    FileView { path: offence.path.clone(), reason: offence.reason.clone() }
}

/// The bake's numbers and picture; `None` when nothing was sampled.
async fn bake(state: &WebState, run: &RunFacts) -> Result<Option<BakeView>, StoreError> {
    let Some(figures) = run.seen.bake_figures() else { return Ok(None) };
    let samples = state.store.list_last_samples(run.id, PICTURED).await?;
    let bake = &run.seen.bake;
    let verdict = bake.judgement.as_ref().map(|judgement| {
        let badge = Badge::of_verdict(judgement.verdict);
        (badge, judgement.why.clone())
    });
    let ms = |ms: Option<u32>| ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms} ms"));
    let Figures { samples: count, failed, p50_ms, p95_ms, error_bound_percent } = figures;
    Ok(Some(BakeView {
        until: bake.until.filter(|_| verdict.is_none()).map(Moment::new),
        verdict,
        samples: *count,
        expected: bake.expected.max(*count),
        failed: *failed,
        p50: ms(*p50_ms),
        p95: ms(*p95_ms),
        bound: error_bound_percent.map_or_else(|| "–".to_owned(), |bound| format!("below {bound:.1} %")),
        picture: picture(&samples),
    }))
}

/// Bars of 3 units every 5, at most 40 high; a failed probe is as high as the highest.
fn picture(samples: &[SampleListing]) -> Picture {
    let worst_ms = samples.iter().filter_map(|s| s.latency_ms).max().unwrap_or(0).max(1);
    let bar = |(n, sample): (usize, &SampleListing)| {
        let share = f64::from(sample.latency_ms.unwrap_or(0).max(0)) / f64::from(worst_ms);
        let height = if sample.healthy { (share * 40.0).round().clamp(2.0, 40.0) as u32 } else { 40 };
        Bar { x: n * 5, y: 40 - height, height, healthy: sample.healthy }
    };
    Picture { width: (samples.len() * 5).max(200), bars: samples.iter().enumerate().map(bar).collect(), worst_ms }
}

/// The end of the build log as HTML, and its place; `None` for a run that printed nothing and will not.
async fn log(state: &WebState, run: &RunFacts) -> Result<(Option<LogView>, i64), StoreError> {
    if run.kind != RunKind::Propose || run.is_refused() {
        return Ok((None, 0));
    }
    let tail = state.store.read_log_tail(run.id, LOG_BYTES).await?;
    let mut painter = Painter::default();
    let html: String = tail.chunks.iter().map(|chunk| painter.paint(&chunk.content)).collect();
    let shown: usize = tail.chunks.iter().map(|chunk| chunk.content.len()).sum();
    let Some(place) = tail.chunks.last().map(|chunk| chunk.seq).or(run.is_under_way().then_some(0)) else {
        return Ok((None, 0));
    };
    let view = LogView {
        html: Html::trusted(html),
        size: bytes(tail.omitted_bytes + shown as i64),
        omitted: (tail.omitted_bytes > 0).then(|| bytes(tail.omitted_bytes)),
        raw_url: format!("/api/runs/{}/log", run.id),
    };
    Ok((Some(view), place))
}
