//! Runs in every state, made through the store's own methods and the real decisions, without a worker.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use titan::clock;
use titan::domain::command::Command;
use titan::domain::consequence::Locks;
use titan::domain::gates::GateResult;
use titan::domain::ids::{CommitSha, Environment, InstallationId, PrNumber, ProjectName, RepoName, RunId};
use titan::domain::plan::{Decision, Plan, decide};
use titan::domain::policy::{Build, DeployVia, MergeMethod, PathPolicy, Policy, Project, RequiredChecks, Role, Target};
use titan::domain::run::{Conclusion, RunKind, RunStatus, StepName, StepStatus};
use titan::domain::snapshot::{
    ActorFact, ChangeFact, ChecksFact, FilesFact, HeadBinding, LiveFact, PolicyFact, ProjectFact, ReviewsFact, RunFact,
    Snapshot,
};
use titan::domain::verdict::{BakeSample, SampleIdentity};
use titan::store::changes::Change;
use titan::store::commands::{NewCommand, RefusedRun, StateChange};
use titan::store::jobs::{JobKind, NewJob};
use titan::store::runs::{Ending, Run};
use titan::store::steps::Step;
use titan::store::tenants::Repository;
use titan::store::{Lease, Store};

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A pull request of a repository with one project, `web`.
pub struct Scene {
    pub store: Store,
    pub repository: Repository,
    pub change: Change,
    pub project_id: i64,
    pub head: CommitSha,
}

/// A run that is under way, with the lease of its job.
pub struct Active {
    pub run: Run,
    pub lease: Lease,
}

/// A commit id that begins with these digits.
pub fn sha(prefix: &str) -> CommitSha {
    format!("{prefix:0<40}").parse().expect("hexadecimal digits")
}

impl Scene {
    pub async fn new(store: &Store, repo: &str, number: i64) -> Self {
        let name: RepoName = repo.parse().expect("owner/name");
        let repository = store.ensure_repository(InstallationId(77), &name).await.expect("a repository");
        let change = store.ensure_change(repository.id, PrNumber(number)).await.expect("a change");
        let web: ProjectName = "web".parse().expect("a name");
        let project_id = store.ensure_project(repository.id, &web, &project()).await.expect("a project");
        let head = sha(&format!("3f2c1ab{number}"));
        Self { store: store.clone(), repository, change, project_id, head }
    }

    /// A run whose first step has not begun.
    pub async fn start(&self, kind: RunKind, actor: &str) -> Active {
        let mut facts = self.snapshot(kind, actor, Role::Admin);
        let web = facts.projects[0].name.clone();
        let known = self.store.project_fact(self.project_id, &web).await.expect("the store answers");
        facts.projects[0].runs_begun = known.runs_begun;
        let Decision::Start(plan) = decide(&Command::bare(kind.command()), &facts) else { panic!("every gate passes") };
        let (lease, command) = self.command(&format!("/titan {kind}"), actor).await;
        let id = RunId(uuid::Uuid::now_v7());
        let project = Some(self.project_id);
        self.store.start_run(lease, self.change.id, command, project, id, &plan).await.expect("a run");
        self.take_up(id).await
    }

    /// A run that was refused because the person may not do it.
    pub async fn refuse(&self, kind: RunKind, actor: &str) -> RunId {
        let Decision::Refuse(refusal) = decide(&Command::bare(kind.command()), &self.snapshot(kind, actor, Role::Read))
        else {
            panic!("the permission is missing")
        };
        let (lease, command) = self.command(&format!("/titan {kind}"), actor).await;
        let id = RunId(uuid::Uuid::now_v7());
        let reason = refusal.gates.iter().find_map(|gate: &GateResult| gate.reason);
        let run = Some(RefusedRun { id, head: &self.head, project_id: Some(self.project_id), policy: None });
        let answer = "`permission-denied`";
        self.store
            .refuse_command(lease, self.change.id, command, run, &refusal, reason, answer)
            .await
            .expect("a refusal");
        id
    }

    /// A command that changes Titan's own state.
    pub async fn control(&self, actor: &str, change: &StateChange) {
        let (lease, command) = self.command("/titan control", actor).await;
        self.store
            .conclude_command(lease, self.change.id, command, "done", "done", change)
            .await
            .expect("the lease holds");
    }

    /// Claims the job of a run's next step.
    pub async fn take_up(&self, id: RunId) -> Active {
        let lease = self.claim(JobKind::Step, &format!("run:{id}")).await;
        Active { run: self.find(id).await, lease }
    }

    pub async fn find(&self, id: RunId) -> Run {
        self.store.find_run(id).await.expect("the store answers").expect("the run is there")
    }

    pub async fn begin(&self, active: &Active, name: StepName) -> Step {
        let status = self.find(active.run.id).await.status;
        let step = self.step(active, name).await;
        self.store
            .begin_step(active.lease, active.run.id, status, &step, self.change.id)
            .await
            .expect("the lease holds");
        step
    }

    pub async fn end(&self, active: &Active, name: StepName, status: StepStatus, detail: &str) {
        let step = self.step(active, name).await;
        self.store
            .end_step(active.lease, active.run.id, &step, status, detail, None, self.change.id)
            .await
            .expect("the lease holds");
    }

    /// Begins a step and ends it well.
    pub async fn pass(&self, active: &Active, name: StepName, detail: &str) {
        self.begin(active, name).await;
        self.end(active, name, StepStatus::Succeeded, detail).await;
    }

    /// Commits what a step remembers and shows.
    pub async fn remember(&self, active: &Active, name: StepName, progress: &impl serde::Serialize, detail: &str) {
        let position = self.step(active, name).await.position;
        self.store
            .save_step(active.lease, active.run.id, position, progress, Some(detail), self.change.id)
            .await
            .expect("the lease holds");
    }

    pub async fn log(&self, active: &Active, text: &str) {
        self.store.append_log(active.lease, active.run.id, text).await.expect("the lease holds");
    }

    /// Healthy samples with these latencies.
    pub async fn sample(&self, active: &Active, latencies_ms: impl IntoIterator<Item = u32>) {
        for latency in latencies_ms {
            let sample = BakeSample {
                healthy: true,
                latency_ms: Some(latency),
                identity: SampleIdentity::Expected,
                error: None,
            };
            self.store.add_sample(active.lease, active.run.id, &sample).await.expect("the lease holds");
        }
    }

    /// Notes that the run brought a commit.
    pub async fn release(&self, active: &Active, environment: Environment, commit: &CommitSha, status: &'static str) {
        self.store
            .put_release(active.lease, self.project_id, environment, commit, None, Some(active.run.id), status)
            .await
            .expect("the lease holds");
    }

    pub async fn conclude(&self, active: Active, conclusion: Conclusion, summary: &str) -> RunId {
        let ending = Ending {
            step: None,
            conclusion,
            summary,
            locks: if conclusion == Conclusion::Success { Locks::Keep } else { Locks::Release },
            lasts: None,
            follow_up: None,
        };
        self.store.conclude_run(active.lease, &active.run, &ending).await.expect("the lease holds");
        active.run.id
    }

    /// A run that ended with a rollback following it.
    pub async fn conclude_with_rollback(&self, active: Active, summary: &str) -> RunId {
        let web = active.run.project.clone().expect("a project");
        let plan: Plan = titan::domain::plan::automatic_rollback(web, active.run.head.clone(), None);
        let id = RunId(uuid::Uuid::now_v7());
        let ending = Ending {
            step: None,
            conclusion: Conclusion::Failure,
            summary,
            locks: Locks::Hold,
            lasts: None,
            follow_up: Some((id, &plan)),
        };
        self.store.conclude_run(active.lease, &active.run, &ending).await.expect("the lease holds");
        id
    }

    async fn step(&self, active: &Active, name: StepName) -> Step {
        let steps = self.store.list_steps(active.run.id).await.expect("the store answers");
        steps.into_iter().rev().find(|step| step.name == name).expect("a step of this run")
    }

    async fn command(&self, text: &str, actor: &str) -> (Lease, i64) {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let key = format!("intake:{number}");
        let job = NewJob { kind: JobKind::Intake, key: key.clone(), payload: "{}".to_owned(), run_at: None };
        self.store.enqueue(&job).await.expect("the store answers");
        let lease = self.claim(JobKind::Intake, &key).await;
        let key = format!("comment:{number}");
        let command = NewCommand {
            key: &key,
            source: "comment",
            actor,
            text,
            comment_id: Some(i64::from(number)),
            actor_id: None,
        };
        let (id, _) = self.store.receive_command(self.change.id, &command).await.expect("the store answers");
        (lease, id)
    }

    /// Claims this job; whatever comes before it is finished.
    async fn claim(&self, kind: JobKind, key: &str) -> Lease {
        loop {
            let job = self.store.claim_job(Duration::from_secs(600)).await.expect("the store answers");
            let job = job.expect("the job is queued");
            if job.kind == kind && job.key == key {
                return job.lease;
            }
            self.store.finish_job(job.lease).await.expect("the lease holds");
        }
    }

    fn snapshot(&self, kind: RunKind, actor: &str, role: Role) -> Snapshot {
        let web: ProjectName = "web".parse().expect("a name");
        let done = |kind| RunFact {
            id: RunId(uuid::Uuid::now_v7()),
            kind,
            project: Some(web.clone()),
            head: self.head.clone(),
            base_ref: Some("main".to_owned()),
            policy_hash: Some(policy().hash),
            status: RunStatus::Completed(Conclusion::Success),
            completed_at: Some(clock::now()),
        };
        let before = RunKind::ALL.into_iter().filter(|k| *k < kind).map(done).collect();
        Snapshot {
            read_at: clock::now(),
            given_at: clock::now(),
            reached_at: clock::now(),
            actor: ActorFact::with_role(actor, Some(role)),
            change: ChangeFact {
                number: self.change.number,
                author: "someone-else".to_owned(),
                open: true,
                merged: false,
                draft: false,
                head: self.head.clone(),
                base_ref: "main".to_owned(),
                default_branch: Some("main".to_owned()),
                from_fork: false,
                fork_gone: false,
                trusted: None,
                locked: false,
                archived: false,
                moved_to: None,
            },
            binding: HeadBinding::Current,
            files: FilesFact::Complete(Vec::new()),
            policy: PolicyFact::Valid { policy: Box::new(policy()), commit: sha("9a8b7c6") },
            armed: true,
            halt: None,
            behind_by: Some(0),
            reviews: ReviewsFact::default(),
            checks: ChecksFact::Read { required: Vec::new(), reported: Vec::new() },
            runs: before,
            targets: Vec::new(),
            projects: vec![ProjectFact {
                name: web.clone(),
                locks: Vec::new(),
                queue: Vec::new(),
                runs_begun: 0,
                active: None,
                production: Some(LiveFact { commit: self.head.clone(), number: Some(self.change.number) }),
                rollback_target: Some(sha("0ddba11")),
            }],
        }
    }
}

fn policy() -> Policy {
    Policy {
        hash: "c0ffee".repeat(10) + "cafe",
        paths: PathPolicy::default(),
        build: Build { run: None, timeout: Duration::from_secs(900), network: Default::default() },
        projects: BTreeMap::from([("web".parse().expect("a name"), project())]),
        permissions: BTreeMap::new(),
        required_checks: RequiredChecks::Base,
        lock_expiry: None,
        approvals: 0,
        merge: MergeMethod::Squash,
        windows: None,
    }
}

fn project() -> Project {
    let target = |host: &str| Target {
        deploy: DeployVia::Hook("WEB".to_owned()),
        url: format!("https://{host}.example.com").parse().expect("a url"),
        health: "/health".to_owned(),
        identity: None,
    };
    Project {
        paths: vec!["/".to_owned()],
        canary: Some(target("web-canary")),
        production: Some(target("web")),
        bake: Duration::from_secs(300),
    }
}
