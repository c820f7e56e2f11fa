//! Facts of a change in every state that people meet, as literals.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::gates::{Gate, GateResult};
use crate::domain::ids::{CommitSha, Environment, PrNumber, ProjectName, RunId};
use crate::domain::paths::Offence;
use crate::domain::progress::{
    BakeProgress, BuildProgress, DeployProgress, DiffProgress, MergeProgress, Previous, RestoreProgress, RevertProgress,
};
use crate::domain::reason::Reason;
use crate::domain::report::{ChangeFacts, CommandFacts, Links, ProjectFacts, RunFacts, Seen, StepFacts};
use crate::domain::run::{Conclusion, RunKind, RunStatus, StepName, StepStatus};
use crate::domain::snapshot::{ActiveRun, LiveFact, LockFact, ProjectFact};
use crate::domain::verdict::{Figures, Judgement, Verdict};

const POLICY: &str = "0123456789abcdef";

pub(super) fn head() -> CommitSha {
    sha('3')
}

pub(super) fn web() -> ProjectName {
    "web".parse().expect("a name")
}

/// `3f2c1ab0…` with another first digit.
fn sha(first: char) -> CommitSha {
    format!("{first}f2c1ab000000000000000000000000000000000").parse().expect("a full id")
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_262_400 + seconds, 0).expect("an instant")
}

/// Ids rise with `n`, as time-ordered ones do.
pub(super) fn id(n: u8) -> RunId {
    format!("019aa000-0000-7000-8000-0000000000{n:02}").parse().expect("an id")
}

pub(super) fn result(gate: Gate, reason: Option<Reason>, observed: &str, way_out: &str) -> GateResult {
    GateResult { gate, reason, observed: observed.to_owned(), way_out: way_out.to_owned() }
}

pub(super) fn change<const N: usize>(runs: [RunFacts; N]) -> ChangeFacts {
    let commands = runs.iter().filter(|run| run.cause.is_none()).map(|run| CommandFacts {
        actor: run.actor.clone(),
        text: format!("/titan {}", run.kind),
        conclusion: Some(if run.is_refused() { "refused" } else { "started" }.to_owned()),
        reason: run.is_refused().then(|| "canary_missing".to_owned()),
        received_at: run.created_at,
        run: Some(run.id),
    });
    ChangeFacts {
        id: 7,
        repo: "acme/shop".parse().expect("a name"),
        number: PrNumber(12),
        head: Some(head()),
        base_ref: Some("main".to_owned()),
        open: true,
        armed: true,
        halt: None,
        answer: String::new(),
        projects: vec![ProjectFacts {
            fact: ProjectFact {
                name: web(),
                locks: Vec::new(),
                queue: Vec::new(),
                runs_begun: 0,
                active: None,
                production: Some(LiveFact { commit: sha('a'), number: None }),
                rollback_target: None,
            },
            canary_url: Some("https://web-canary.example/".to_owned()),
            production_url: Some("https://web.example/".to_owned()),
            production_run: None,
        }],
        commands: commands.collect(),
        runs: runs.to_vec(),
        links: Links::new("https://titan.example/", "https://github.example/"),
    }
}

/// The canary's run is changing the project.
pub(super) fn active(mut change: ChangeFacts) -> ChangeFacts {
    change.projects[0].fact.active = Some(ActiveRun { id: id(2), kind: RunKind::Canary, number: change.number });
    change
}

/// Production runs this change.
pub(super) fn shipped(mut change: ChangeFacts) -> ChangeFacts {
    change.open = false;
    let project = &mut change.projects[0];
    project.fact.production = Some(LiveFact { commit: sha('d'), number: Some(PrNumber(12)) });
    project.fact.rollback_target = Some(sha('a'));
    project.production_run = Some(id(3));
    change
}

/// Production was put back to what it ran before.
pub(super) fn rolled_back(mut change: ChangeFacts) -> ChangeFacts {
    change.open = false;
    let project = &mut change.projects[0];
    project.fact.production = Some(LiveFact { commit: sha('a'), number: Some(PrNumber(12)) });
    project.production_run = Some(id(4));
    change
}

/// The head has moved.
pub(super) fn pushed(mut change: ChangeFacts) -> ChangeFacts {
    change.head = Some(sha('9'));
    change
}

/// Another pull request holds the canary.
pub(super) fn locked(mut change: ChangeFacts) -> ChangeFacts {
    change.projects[0].fact.locks = vec![LockFact {
        environment: Environment::Canary,
        owner: PrNumber(11),
        by: "eve".to_owned(),
        reason: String::new(),
        since: at(0),
        held_for: crate::domain::lock::HeldFor::Run,
        expires_at: None,
        ends_soon: false,
    }];
    change
}

fn step(name: StepName, status: StepStatus, detail: &str, from: i64, to: i64) -> StepFacts {
    let began = !matches!(status, StepStatus::Pending | StepStatus::Skipped);
    let ended = matches!(status, StepStatus::Succeeded | StepStatus::Failed);
    StepFacts {
        name,
        status,
        detail: detail.to_owned(),
        started_at: began.then(|| at(from)),
        completed_at: ended.then(|| at(to)),
    }
}

fn run(n: u8, kind: RunKind, status: RunStatus, summary: &str, steps: Vec<StepFacts>) -> RunFacts {
    let begun = i64::from(n) * 600;
    let ended = status.conclusion().map(|_| at(begun + 300));
    RunFacts {
        id: id(n),
        kind,
        project: Some(web()),
        head: head(),
        actor: "alice".to_owned(),
        base_ref: Some("main".to_owned()),
        policy_hash: Some(POLICY.to_owned()),
        status,
        summary: summary.to_owned(),
        gates: Vec::new(),
        cancel_by: None,
        waited: false,
        cause: None,
        created_at: at(begun),
        completed_at: ended,
        steps,
        seen: Seen::default(),
    }
}

fn build(outcome: Option<&str>) -> BuildProgress {
    BuildProgress {
        commands: vec!["npm ci".to_owned(), "npm run build".to_owned()],
        duration_ms: 41_000,
        outcome: outcome.map(str::to_owned),
        log_bytes: 5_120,
        log_tail: "> build\n> vite build\nsee `dist/`\n".to_owned(),
    }
}

pub(super) fn proposal_running() -> RunFacts {
    let steps = vec![
        step(StepName::Diff, StepStatus::Succeeded, "4 files, none protected", 601, 603),
        step(StepName::Build, StepStatus::Running, "", 603, 0),
    ];
    let mut run = run(1, RunKind::Propose, RunStatus::Running, "", steps);
    run.seen.diff = DiffProgress { files: 4, ..DiffProgress::default() };
    run.seen.build = BuildProgress { commands: build(None).commands, ..BuildProgress::default() };
    run
}

pub(super) fn proposal_good() -> RunFacts {
    let steps = vec![
        step(StepName::Diff, StepStatus::Succeeded, "4 files, none protected", 601, 603),
        step(StepName::Build, StepStatus::Succeeded, "`npm ci && npm run build` in 41 s", 603, 644),
    ];
    let status = RunStatus::Completed(Conclusion::Success);
    let mut run = run(1, RunKind::Propose, status, "`npm ci && npm run build` in 41 s", steps);
    run.seen.diff = DiffProgress { files: 4, ..DiffProgress::default() };
    run.seen.build = build(Some("all commands ended well"));
    run
}

pub(super) fn proposal_with_protected_path() -> RunFacts {
    let steps = vec![
        step(StepName::Diff, StepStatus::Failed, "2 of 4 files may not be touched", 601, 603),
        step(StepName::Build, StepStatus::Skipped, "", 0, 0),
    ];
    let status = RunStatus::Completed(Conclusion::Failure);
    let mut run = run(1, RunKind::Propose, status, "2 of 4 files may not be touched", steps);
    let offence = |path: &str, annotate: &str, rule: &str| Offence {
        path: path.to_owned(),
        annotate: annotate.to_owned(),
        reason: format!("protected by {rule}"),
        rule: Some(rule.to_owned()),
    };
    run.seen.diff = DiffProgress {
        files: 4,
        offences: vec![
            offence(".github/workflows/ci.yml", ".github/workflows/ci.yml", "/.github/"),
            offence("infra/old.tf", "docs/old.tf", "*.tf"),
        ],
        receipt: Some("5f".repeat(32)),
        policy: None,
        cut_off: None,
    };
    run
}

pub(super) fn proposal_broken() -> RunFacts {
    let steps = vec![
        step(StepName::Diff, StepStatus::Succeeded, "4 files, none protected", 601, 603),
        step(StepName::Build, StepStatus::Failed, "`npm run build` ended with exit code 2 after 41 s", 603, 644),
    ];
    let status = RunStatus::Completed(Conclusion::Failure);
    let mut run = run(1, RunKind::Propose, status, "`npm run build` ended with exit code 2 after 41 s", steps);
    run.seen.diff = DiffProgress { files: 4, ..DiffProgress::default() };
    run.seen.build = build(Some("npm run build ended with exit code 2"));
    run
}

fn on_canary() -> DeployProgress {
    DeployProgress {
        intent_at: Some(at(1201)),
        commit: Some(head()),
        previous: Some(Previous { commit: sha('c'), deploy: None }),
        went_live_at: Some(at(1230)),
        service_url: Some("https://web-canary.example/".to_owned()),
        ..DeployProgress::default()
    }
}

fn judgement(verdict: Verdict, why: &str, samples: usize, failed: usize) -> BakeProgress {
    let bound = (failed == 0).then_some(2.0);
    BakeProgress {
        started_at: Some(at(1240)),
        until: Some(at(1540)),
        expected: 150,
        judgement: Some(Judgement {
            verdict,
            why: why.to_owned(),
            figures: Figures { samples, failed, p50_ms: Some(30), p95_ms: Some(41), error_bound_percent: bound },
        }),
    }
}

fn canary_steps(bake: StepStatus, detail: &str) -> Vec<StepFacts> {
    vec![
        step(StepName::Deploy, StepStatus::Succeeded, "`3f2c1ab` is live", 1201, 1230),
        step(StepName::Verify, StepStatus::Succeeded, "the service answers as `3f2c1ab`", 1230, 1240),
        step(StepName::Bake, bake, detail, 1240, 1500),
    ]
}

pub(super) fn canary_baking() -> RunFacts {
    let mut run = run(2, RunKind::Canary, RunStatus::Running, "", canary_steps(StepStatus::Running, "58 samples"));
    run.seen.deploy = on_canary();
    run.seen.bake = BakeProgress { judgement: None, ..judgement(Verdict::Pass, "", 0, 0) };
    run.seen.figures =
        Some(Figures { samples: 58, failed: 1, p50_ms: Some(30), p95_ms: Some(41), error_bound_percent: None });
    run
}

pub(super) fn canary_passed() -> RunFacts {
    let why = "all 150 probes were healthy (error rate below 2.0 % at 95 % confidence)";
    let steps = canary_steps(StepStatus::Succeeded, why);
    let mut run = run(2, RunKind::Canary, RunStatus::Completed(Conclusion::Success), why, steps);
    run.seen.deploy = on_canary();
    run.seen.bake = judgement(Verdict::Pass, why, 150, 0);
    run
}

const BAD: &str = "5 probes in a row failed, the last with: 500";

pub(super) fn canary_undoing() -> RunFacts {
    let mut steps = canary_steps(StepStatus::Failed, BAD);
    steps.push(step(StepName::Restore, StepStatus::Running, "", 1500, 0));
    let mut run = run(2, RunKind::Canary, RunStatus::Undoing, BAD, steps);
    run.seen.deploy = on_canary();
    run.seen.bake = judgement(Verdict::Fail, BAD, 20, 5);
    run.seen.restore = RestoreProgress { from: Some(head()), to: Some(sha('c')), ..RestoreProgress::default() };
    run
}

pub(super) fn canary_failed() -> RunFacts {
    let mut run = canary_undoing();
    let back = "`cf2c1ab` is back on the canary";
    run.steps.pop();
    run.steps.push(step(StepName::Restore, StepStatus::Succeeded, back, 1500, 1530));
    run.status = RunStatus::Completed(Conclusion::Failure);
    run.completed_at = Some(at(1530));
    run.summary = format!("{BAD}; {back}");
    run
}

pub(super) fn canary_failed_under_newer_policy() -> RunFacts {
    RunFacts { policy_hash: Some("fedcba9876543210".to_owned()), ..canary_failed() }
}

pub(super) fn canary_inconclusive() -> RunFacts {
    let why = "only 3 of 150 samples could be taken; a person must decide";
    let steps = canary_steps(StepStatus::Failed, why);
    let mut run = run(2, RunKind::Canary, RunStatus::Completed(Conclusion::Inconclusive), why, steps);
    run.seen.deploy = on_canary();
    run.seen.bake = judgement(Verdict::Inconclusive, why, 3, 0);
    run
}

fn production_steps(bake: StepStatus, detail: &str) -> Vec<StepFacts> {
    let mut steps = vec![step(StepName::Merge, StepStatus::Succeeded, "merged as `df2c1ab`", 1801, 1803)];
    steps.extend(canary_steps(bake, detail).into_iter().map(|mut step| {
        step.started_at = step.started_at.map(|at| at + TimeDelta::seconds(620));
        step.completed_at = step.completed_at.map(|at| at + TimeDelta::seconds(620));
        step.detail = step.detail.replace("3f2c1ab", "df2c1ab");
        step
    }));
    steps
}

fn on_production(run: &mut RunFacts) {
    run.seen.merge =
        MergeProgress { intent_at: Some(at(1801)), merge_commit: Some(sha('d')), ..MergeProgress::default() };
    run.seen.deploy =
        DeployProgress { commit: Some(sha('d')), service_url: Some("https://web.example/".to_owned()), ..on_canary() };
}

pub(super) fn promoted_run() -> RunFacts {
    let why = "all 150 probes were healthy (error rate below 2.0 % at 95 % confidence)";
    let status = RunStatus::Completed(Conclusion::Success);
    let mut run = run(3, RunKind::Promote, status, why, production_steps(StepStatus::Succeeded, why));
    on_production(&mut run);
    run.actor = "mia".to_owned();
    run.seen.bake = judgement(Verdict::Pass, why, 150, 0);
    run
}

pub(super) fn promote_failed() -> RunFacts {
    let status = RunStatus::Completed(Conclusion::Failure);
    let mut run = run(3, RunKind::Promote, status, BAD, production_steps(StepStatus::Failed, BAD));
    on_production(&mut run);
    run.actor = "mia".to_owned();
    run.seen.bake = judgement(Verdict::Fail, BAD, 20, 5);
    run
}

/// The one that Titan started by itself.
pub(super) fn rollback_run() -> RunFacts {
    let steps = vec![
        step(StepName::Restore, StepStatus::Succeeded, "`af2c1ab` is back, by Render's rollback", 2401, 2420),
        step(StepName::Verify, StepStatus::Succeeded, "the service answers as `af2c1ab`", 2420, 2430),
        step(StepName::Revert, StepStatus::Succeeded, "#13 takes the change out again", 2430, 2440),
    ];
    let status = RunStatus::Completed(Conclusion::Success);
    let mut run = run(4, RunKind::Rollback, status, "#13 takes the change out again", steps);
    run.actor = "titan".to_owned();
    run.cause = Some(id(3));
    run.seen.restore = RestoreProgress {
        from: Some(sha('d')),
        to: Some(sha('a')),
        intent_at: Some(at(2401)),
        how: "Render rollback".to_owned(),
        ..RestoreProgress::default()
    };
    run.seen.revert = RevertProgress { branch: None, commit: None, pull_request: Some(PrNumber(13)) };
    run
}

/// A run that this gate refused, newer than the others.
pub(super) fn refused(kind: RunKind, gate: Gate) -> RunFacts {
    let reason = match gate {
        Gate::Approvals => Reason::ApprovalsMissing,
        Gate::PolicyValid => Reason::PolicyMissing,
        Gate::BuildPassed => Reason::BuildMissing,
        _ => Reason::PermissionDenied,
    };
    let mut run = run(8, kind, RunStatus::Completed(Conclusion::Refused), reason.code(), Vec::new());
    run.policy_hash = None;
    run.gates = vec![result(gate, Some(reason), "seen", "do this")];
    run
}
