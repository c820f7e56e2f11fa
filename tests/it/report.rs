//! What Titan keeps at GitHub for a change, against the simulated GitHub and a real database: everything once, edited in
//! place, found again after its id was lost, made anew after a person deleted it.

use std::time::Duration;

use chrono::Utc;
use serde_json::json;
use titan::domain::ids::{CommitSha, Environment, InstallationId};
use titan::domain::paths::Offence;
use titan::domain::progress::{BuildProgress, DeployProgress, DiffProgress, MergeProgress};
use titan::domain::run::{Conclusion, RunKind, StepName, StepStatus};
use titan::github::{GitHub, GitHubSettings};
use titan::playground::exchange::{CallLog, Fault, FaultKind};
use titan::playground::github::keys::AppKey;
use titan::playground::github::{Change as Files, GitHub as SimulatedGitHub, Options};
use titan::redact::Redactor;
use titan::store::commands::{NewCommand, StateChange};
use titan::store::jobs::{JobKind, NewJob};
use titan::store::{Lease, Store};
use titan::worker::JobError;
use titan::worker::report::{Reporter, report};

use crate::contracts::assert_honest;
use crate::support::database::TestDb;
use crate::support::scene::{Active, Scene};

const REPO: &str = "acme/shop";
/// How far apart two looks must be that do not find something.
const DOUBT: Duration = Duration::from_millis(50);
const SECRET: &str = "hunter2-hunter2";

/// A database, a GitHub with one repository, and what reports to it.
struct World {
    sim: SimulatedGitHub,
    store: Store,
    reporter: Reporter,
    installation: InstallationId,
    _database: TestDb,
    _folder: tempfile::TempDir,
}

/// One pull request of it.
struct Pull {
    scene: Scene,
    number: u64,
}

impl Pull {
    fn id(&self) -> i64 {
        self.scene.change.id
    }

    fn head(&self) -> &str {
        self.scene.head.as_str()
    }
}

impl World {
    async fn new() -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let (database, folder) = (TestDb::new().await, tempfile::tempdir().expect("a folder"));
        let key = AppKey::generate().expect("a key");
        let sim = SimulatedGitHub::start(Options::new(folder.path(), &key.public_pem, "secret")).await.expect("GitHub");
        sim.create_repository(REPO, false).expect("a repository");
        sim.commit(REPO, "main", "alice", &Files::new("first").file("README.md", "hello")).expect("a commit");
        let installation = InstallationId(i64::try_from(sim.install(&[REPO]).expect("installed")).expect("an id"));
        let api_url: url::Url = sim.url().parse().expect("an address");
        let settings = GitHubSettings {
            api_url: api_url.clone(),
            git_url: api_url.clone(),
            app_id: sim.app().id.to_string(),
            private_key_pem: key.private_pem.clone(),
        };
        let store = Store::connect_lazy(database.options());
        let reporter = Reporter {
            doubt: DOUBT,
            store: store.clone(),
            github: GitHub::new(&settings).expect("a client"),
            public_url: "https://titan.example".parse().expect("an address"),
            github_url: api_url,
            redactor: Redactor::new([SECRET]).expect("a secret"),
        };
        Self { sim, store, reporter, installation, _database: database, _folder: folder }
    }

    /// A pull request whose head the store knows.
    async fn pull(&self, branch: &str) -> Pull {
        let change = Files::new("change").file("src/main.js", branch);
        let head = self.sim.commit(REPO, branch, "alice", &change).expect("a commit");
        let number = self.sim.open_pull(REPO, "alice", "Change", "", branch, "main").expect("a pull request");
        let mut scene = Scene::new(&self.store, REPO, i64::try_from(number).expect("small")).await;
        scene.head = head.parse().expect("a commit");
        self.store.ensure_repository(self.installation, &scene.repository.name).await.expect("moves there");
        self.store.put_change_state(scene.change.id, &scene.head, "main", true).await.expect("the store answers");
        Pull { scene, number }
    }

    /// Carries the change's report out.
    async fn report(&self, pull: &Pull) -> Result<(), JobError> {
        let job = NewJob::report(pull.id());
        self.store.enqueue(&job).await.expect("the store answers");
        let lease = self.claim(&job.key).await;
        let result = report(&self.reporter, lease, pull.id(), 1).await;
        self.store.finish_job(lease).await.expect("the lease holds");
        result
    }

    /// Claims this job; reports of other changes that come before it are finished.
    async fn claim(&self, key: &str) -> Lease {
        loop {
            let job = self.store.claim_job(Duration::from_secs(600)).await.expect("the store answers");
            let job = job.expect("the job is queued");
            if job.key == key {
                return job.lease;
            }
            assert_eq!(job.kind, JobKind::Report, "{}", job.key);
            self.store.finish_job(job.lease).await.expect("the lease holds");
        }
    }

    async fn is_queued(&self, key: &str) -> bool {
        let query = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM job WHERE key = $1 AND status = 'queued')");
        query.bind(key).fetch_one(self.store.pool()).await.expect("the store answers")
    }

    /// Titan dies after GitHub has done it and before it has noted the id.
    async fn lose(&self, pull: &Pull, key: &str) {
        let lost = sqlx::query(
            "UPDATE feedback SET external_id = NULL, sent_hash = NULL WHERE change_id = $1 AND key LIKE $2",
        )
        .bind(pull.id())
        .bind(key)
        .execute(self.store.pool())
        .await
        .expect("the store answers");
        assert_eq!(lost.rows_affected(), 1, "{key} was there");
    }

    /// Writes to GitHub so far.
    fn writes(&self) -> usize {
        let calls = self.sim.calls().all();
        calls.iter().filter(|call| call.method != "GET" && !call.path.ends_with("/access_tokens")).count()
    }

    fn comment_body(&self, pull: &Pull) -> String {
        let comments = self.sim.bot_comments(REPO, pull.number);
        assert_eq!(comments.len(), 1, "one status comment");
        comments[0].body.clone()
    }

    /// What was said is held against GitHub's published API; a fault that did not happen is a mistake of the test.
    fn end(&self) {
        assert_honest(self.sim.calls(), &CallLog::default(), &[]);
        assert_eq!(self.sim.unknown_requests(), Vec::<String>::new());
        assert_eq!(self.sim.faults().unconsumed(), Vec::new());
    }
}

/// A proposal whose paths are good and whose build has not begun.
async fn proposed(pull: &Pull) -> Active {
    let active = pull.scene.start(RunKind::Propose, "alice").await;
    pull.scene.begin(&active, StepName::Diff).await;
    let diff = DiffProgress { files: 1, ..DiffProgress::default() };
    pull.scene.remember(&active, StepName::Diff, &diff, "1 file").await;
    pull.scene.end(&active, StepName::Diff, StepStatus::Succeeded, "1 file, none protected").await;
    active
}

/// A promote that went live as this commit, and what is stored of it.
async fn promoted(pull: &Pull, commit: &CommitSha) {
    let scene = &pull.scene;
    let active = scene.start(RunKind::Promote, "alice").await;
    scene.begin(&active, StepName::Merge).await;
    let merge = MergeProgress { merge_commit: Some(commit.clone()), ..MergeProgress::default() };
    scene.remember(&active, StepName::Merge, &merge, "merged").await;
    scene.end(&active, StepName::Merge, StepStatus::Succeeded, "merged").await;
    scene.begin(&active, StepName::Deploy).await;
    scene.remember(&active, StepName::Deploy, &deploying(commit), "deploying").await;
    scene.end(&active, StepName::Deploy, StepStatus::Succeeded, "live").await;
    scene.pass(&active, StepName::Verify, "answers").await;
    scene.release(&active, Environment::Production, commit, "unproven").await;
    scene.pass(&active, StepName::Bake, "good").await;
    scene.conclude(active, Conclusion::Success, "good").await;
    let unlock = sqlx::query("DELETE FROM environment_lock").execute(scene.store.pool()).await;
    unlock.expect("the store answers");
}

fn deploying(commit: &CommitSha) -> DeployProgress {
    DeployProgress { intent_at: Some(Utc::now()), commit: Some(commit.clone()), ..DeployProgress::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_comment_is_made_once_and_edited_in_place() {
    let world = World::new().await;
    let pull = world.pull("topic").await;
    world.report(&pull).await.expect("nothing to say yet");
    assert!(world.sim.bot_comments(REPO, pull.number).is_empty(), "no comment before there is something to say");

    let active = proposed(&pull).await;
    world.report(&pull).await.expect("GitHub takes it");
    assert!(world.comment_body(&pull).starts_with(&format!("<!-- titan:change:{} -->", pull.id())));
    assert!(
        world.comment_body(&pull).contains("| ⚪ | build | waits for the paths |"),
        "{}",
        world.comment_body(&pull)
    );

    pull.scene.pass(&active, StepName::Build, "`npm run build` in 3 s").await;
    pull.scene.conclude(active, Conclusion::Success, "`npm run build` in 3 s").await;
    world.report(&pull).await.expect("GitHub takes it");
    assert!(world.comment_body(&pull).contains("| ✅ | build | `npm run build` in 3 s |"));
    assert_eq!(world.sim.bot_comments(REPO, pull.number)[0].edits.len(), 1);

    let before = world.writes();
    world.report(&pull).await.expect("nothing to do");
    assert_eq!(world.writes(), before, "what GitHub has is not sent again");
    world.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_found_again_after_its_id_was_lost() {
    let world = World::new().await;
    let pull = world.pull("topic").await;
    let active = proposed(&pull).await;
    pull.scene.conclude(active, Conclusion::Cancelled, "stopped").await;
    let active = pull.scene.start(RunKind::Canary, "alice").await;
    pull.scene.begin(&active, StepName::Deploy).await;
    pull.scene.remember(&active, StepName::Deploy, &deploying(&pull.scene.head), "deploying").await;
    world.report(&pull).await.expect("GitHub takes it");
    for key in ["comment", "check:%:titan/canary", "deployment:%"] {
        world.lose(&pull, key).await;
    }
    world.report(&pull).await.expect("GitHub takes it");
    world.comment_body(&pull);
    let checks = world.sim.check_runs(REPO, pull.head());
    assert_eq!(checks.iter().filter(|check| check.name == "titan/canary").count(), 1, "{checks:#?}");
    assert_eq!(world.sim.deployments(REPO).len(), 1);
    world.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_leaves_nothing_twice() {
    let world = World::new().await;
    let pull = world.pull("topic").await;
    let _active = proposed(&pull).await;
    for path in ["/repos/*/*/check-runs", "/repos/*/*/issues/*/comments"] {
        world.sim.faults().inject(Fault::once("POST", path, FaultKind::DropAfter));
    }
    let error = world.report(&pull).await.expect_err("GitHub's answers were lost");
    assert!(matches!(error, JobError::Later { at: None, .. }), "{error:?}");
    world.report(&pull).await.expect("GitHub takes it");
    world.comment_body(&pull);
    assert_eq!(world.sim.check_runs(REPO, pull.head()).len(), 2, "one of each name");
    world.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_a_person_deleted_is_made_anew() {
    let world = World::new().await;
    let pull = world.pull("topic").await;
    let active = proposed(&pull).await;
    world.report(&pull).await.expect("GitHub takes it");
    let first = world.sim.bot_comments(REPO, pull.number)[0].id;
    world.sim.delete_comment(REPO, first, "alice").expect("deleted");

    pull.scene.begin(&active, StepName::Build).await;
    let error = world.report(&pull).await.expect_err("it may only be late in the list");
    assert!(matches!(error, JobError::Later { .. }), "{error:?}");
    assert!(world.sim.bot_comments(REPO, pull.number).is_empty());
    tokio::time::sleep(DOUBT).await;
    world.report(&pull).await.expect("GitHub takes it");
    assert!(world.comment_body(&pull).contains("| 🔵 | build |"));
    assert_ne!(world.sim.bot_comments(REPO, pull.number)[0].id, first);
    world.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_stay_with_the_head_that_the_run_is_pinned_to() {
    let world = World::new().await;
    let pull = world.pull("topic").await;
    let active = pull.scene.start(RunKind::Propose, "alice").await;
    pull.scene.begin(&active, StepName::Diff).await;
    world.report(&pull).await.expect("GitHub takes it");
    let check = |name| world.sim.check_run(REPO, pull.head(), name).expect("the check is there");
    assert_eq!((check("titan/paths").status, check("titan/build").status), ("in_progress".into(), "queued".into()));

    let newer = world.sim.commit(REPO, "topic", "alice", &Files::new("more").file("b", "b")).expect("a commit");
    world
        .store
        .put_change_state(pull.id(), &newer.parse().expect("a commit"), "main", true)
        .await
        .expect("the store answers");
    let offence = Offence {
        path: "infra/a.tf".to_owned(),
        annotate: "infra/a.tf".to_owned(),
        reason: "protected by *.tf".to_owned(),
        rule: Some("*.tf".to_owned()),
    };
    let diff = DiffProgress { files: 120, offences: vec![offence; 60], ..DiffProgress::default() };
    pull.scene.remember(&active, StepName::Diff, &diff, "60 of 120 files").await;
    pull.scene.end(&active, StepName::Diff, StepStatus::Failed, "60 of 120 files may not be touched").await;
    pull.scene.conclude(active, Conclusion::Failure, "60 of 120 files may not be touched").await;
    world.report(&pull).await.expect("GitHub takes it");

    let paths = check("titan/paths");
    assert_eq!(paths.conclusion.as_deref(), Some("failure"));
    assert_eq!(paths.output.annotations.len(), 60);
    assert_eq!(paths.output.title.as_deref(), Some("60 of 120 files may not be touched"));
    assert_eq!(check("titan/build").conclusion.as_deref(), Some("cancelled"));
    assert!(world.sim.check_runs(REPO, &newer).is_empty(), "nothing is said about a head that was not checked");
    assert!(world.comment_body(&pull).contains("before the last push"));
    world.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_build_has_a_button_and_no_secret() {
    let world = World::new().await;
    let pull = world.pull("topic").await;
    let arm = StateChange::Arm { repository_id: pull.scene.repository.id, on: true };
    command(&world, &pull, "/titan arm", "done", &arm).await;
    let active = proposed(&pull).await;
    pull.scene.begin(&active, StepName::Build).await;
    let build = BuildProgress {
        commands: vec!["npm run build".to_owned()],
        log_tail: format!("token {SECRET}\n"),
        log_bytes: 22,
        ..BuildProgress::default()
    };
    pull.scene.remember(&active, StepName::Build, &build, "building").await;
    pull.scene.end(&active, StepName::Build, StepStatus::Succeeded, "built").await;
    pull.scene.conclude(active, Conclusion::Success, "built").await;
    world.report(&pull).await.expect("GitHub takes it");
    let check = world.sim.check_run(REPO, pull.head(), "titan/build").expect("the check is there");
    let buttons: Vec<_> = check.actions.iter().map(|action| (&*action.label, action.identifier.len())).collect();
    assert_eq!(buttons, [("Deploy canary", 20)], "the button is known by a nonce of its own");
    let summary = check.output.summary.expect("a summary");
    assert!(summary.contains("token [redacted]") && !summary.contains(SECRET), "{summary}");
    world.end();
}

/// A comment at GitHub and its command in the store, concluded like this.
async fn command(world: &World, pull: &Pull, text: &str, conclusion: &'static str, change: &StateChange) -> u64 {
    let comment = world.sim.comment(REPO, pull.number, "alice", text).expect("a comment");
    let key = format!("comment:{comment}");
    let job = NewJob { kind: JobKind::Intake, key: key.clone(), payload: "{}".to_owned(), run_at: None };
    world.store.enqueue(&job).await.expect("the store answers");
    let lease = world.claim(&key).await;
    let comment_id = Some(i64::try_from(comment).expect("an id"));
    let new = NewCommand { key: &key, source: "comment", actor: "alice", actor_id: None, text, comment_id };
    let (id, _) = world.store.receive_command(pull.id(), &new).await.expect("the store answers");
    let concluded = world.store.conclude_command(lease, pull.id(), id, conclusion, "An answer.", change).await;
    concluded.expect("the lease holds");
    comment
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_get_their_reaction_even_when_one_was_deleted() {
    let world = World::new().await;
    let pull = world.pull("topic").await;
    let done = command(&world, &pull, "/titan halt", "done", &StateChange::None).await;
    let unclear = command(&world, &pull, "/titan canry", "misunderstood", &StateChange::None).await;
    let gone = command(&world, &pull, "/titan help", "answered", &StateChange::None).await;
    world.sim.delete_comment(REPO, gone, "alice").expect("deleted");
    world.report(&pull).await.expect("GitHub takes it");
    let reactions = |id: u64| -> Vec<String> {
        let comments = world.sim.comments(REPO, pull.number);
        let comment = comments.into_iter().find(|comment| comment.id == id).expect("the comment is there");
        comment.reactions.into_iter().map(|reaction| reaction.content).collect()
    };
    assert_eq!(
        (reactions(done).join(" "), reactions(unclear).join(" ")),
        ("eyes rocket".into(), "eyes confused".into())
    );
    assert!(world.comment_body(&pull).contains("An answer."));
    let before = world.writes();
    world.report(&pull).await.expect("nothing to do");
    assert_eq!(world.writes(), before);
    // Reports are merged while GitHub limits the calls, so one may have to answer for many commands.
    let mut many = Vec::new();
    for _ in 0..40 {
        many.push(command(&world, &pull, "/titan help", "answered", &StateChange::None).await);
    }
    world.report(&pull).await.expect("GitHub takes it");
    for comment in many {
        assert_eq!(reactions(comment), ["eyes", "rocket"], "each of them, however many there are");
    }
    world.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_are_made_in_the_order_of_their_runs_although_the_first_call_failed() {
    let world = World::new().await;
    let pull = world.pull("topic").await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let active = pull.scene.start(RunKind::Canary, "alice").await;
        pull.scene.begin(&active, StepName::Deploy).await;
        pull.scene.remember(&active, StepName::Deploy, &deploying(&pull.scene.head), "deploying").await;
        pull.scene.end(&active, StepName::Deploy, StepStatus::Succeeded, "live").await;
        pull.scene.pass(&active, StepName::Verify, "answers").await;
        pull.scene.pass(&active, StepName::Bake, "good").await;
        runs.push(json!(active.run.id));
        pull.scene.conclude(active, Conclusion::Success, "good").await;
    }
    let away = FaultKind::Before(502, "<html>bad gateway</html>".to_owned(), Vec::new());
    world.sim.faults().inject(Fault::once("POST", "/repos/*/*/deployments", away));
    world.report(&pull).await.expect_err("the first of them cannot be made");
    assert!(world.sim.deployments(REPO).is_empty(), "and the second is not made before it");
    world.report(&pull).await.expect_err("it may only be late in the list");
    tokio::time::sleep(DOUBT).await;
    world.report(&pull).await.expect("GitHub takes both");
    let mut made = world.sim.deployments(REPO);
    made.sort_by_key(|deployment| deployment.id);
    let made: Vec<_> = made.iter().map(|deployment| deployment.payload["run"].clone()).collect();
    assert_eq!(made, runs);
    world.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_told_from_its_intent_to_its_end() {
    let world = World::new().await;
    let pull = world.pull("topic").await;
    let active = pull.scene.start(RunKind::Canary, "alice").await;
    pull.scene.begin(&active, StepName::Deploy).await;
    world.report(&pull).await.expect("GitHub takes it");
    assert!(world.sim.deployments(REPO).is_empty(), "nothing outside was touched yet");

    pull.scene.remember(&active, StepName::Deploy, &deploying(&pull.scene.head), "deploying").await;
    world.report(&pull).await.expect("GitHub takes it");
    pull.scene.end(&active, StepName::Deploy, StepStatus::Succeeded, "live").await;
    pull.scene.pass(&active, StepName::Verify, "answers").await;
    pull.scene.pass(&active, StepName::Bake, "good").await;
    pull.scene.conclude(active, Conclusion::Success, "good").await;
    world.report(&pull).await.expect("GitHub takes it");
    let deployments = world.sim.deployments(REPO);
    let [deployment] = deployments.as_slice() else { panic!("one deployment: {deployments:#?}") };
    assert_eq!((&*deployment.environment, &*deployment.sha, deployment.production), ("canary", pull.head(), false));
    let states: Vec<&str> = deployment.statuses.iter().map(|status| status.state.as_str()).collect();
    assert_eq!(states, ["in_progress", "success"]);
    assert_eq!(deployment.statuses[1].environment_url, "https://web-canary.example.com/");
    world.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_production_no_longer_runs_becomes_inactive() {
    let world = World::new().await;
    let (first, second) = (world.pull("one").await, world.pull("two").await);
    promoted(&first, &first.scene.head).await;
    world.report(&first).await.expect("GitHub takes it");
    promoted(&second, &second.scene.head).await;
    world.report(&second).await.expect("GitHub takes it");
    assert!(world.is_queued(&NewJob::report(first.id()).key).await, "the earlier change is told");
    world.report(&first).await.expect("GitHub takes it");
    let states: Vec<_> = world.sim.deployments(REPO).iter().map(|d| d.state().unwrap_or_default().to_owned()).collect();
    assert_eq!(states, ["inactive", "success"]);
    world.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_thing_that_github_does_not_take_holds_nothing_back() {
    let world = World::new().await;
    let pull = world.pull("topic").await;
    let active = pull.scene.start(RunKind::Canary, "alice").await;
    pull.scene.begin(&active, StepName::Deploy).await;
    pull.scene.remember(&active, StepName::Deploy, &deploying(&pull.scene.head), "deploying").await;
    let refused = json!({"message": "Resource not accessible by integration"}).to_string();
    let forbidden = FaultKind::Before(403, refused, Vec::new());
    world.sim.faults().inject(Fault::once("POST", "/repos/*/*/deployments", forbidden));
    let error = world.report(&pull).await.expect_err("it will be tried again");
    assert!(matches!(&error, JobError::Refused(why) if why.contains("Resource not accessible")), "{error:?}");
    assert!(world.sim.deployments(REPO).is_empty());
    world.comment_body(&pull);
    let pending = world.store.list_pending_updates(10).await.expect("the store answers");
    let refused: Vec<_> = pending.iter().map(|update| (update.number.0, update.refused.is_some())).collect();
    assert_eq!(refused, [(i64::try_from(pull.number).expect("small"), true)], "only what was refused waits");
    world.report(&pull).await.expect("GitHub takes it now");
    assert_eq!(world.sim.deployments(REPO).len(), 1);
    assert!(world.store.list_pending_updates(10).await.expect("the store answers").is_empty());
    world.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_says_when_to_come_back() {
    let world = World::new().await;
    let pull = world.pull("topic").await;
    let _active = proposed(&pull).await;
    let message = json!({"message": "You have exceeded a secondary rate limit"}).to_string();
    let limit = FaultKind::Before(403, message, vec![("retry-after".to_owned(), "30".to_owned())]);
    world.sim.faults().inject(Fault::once("POST", "/repos/*/*/check-runs", limit));
    let error = world.report(&pull).await.expect_err("GitHub limits the calls");
    let JobError::Later { at: Some(at), .. } = error else { panic!("{error:?}") };
    assert!((20..=40).contains(&(at - Utc::now()).num_seconds()), "{at}");
    assert_eq!(world.sim.calls().matching("POST", "/repos/*/*/check-runs").len(), 1, "nothing more was asked");
    assert!(world.sim.bot_comments(REPO, pull.number).is_empty());
    world.report(&pull).await.expect("GitHub takes it");
    world.comment_body(&pull);
    world.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_lease_writes_nothing() {
    let world = World::new().await;
    let pull = world.pull("topic").await;
    let _active = proposed(&pull).await;
    let stale = Lease { job_id: 1, fence: -1 };
    let error = report(&world.reporter, stale, pull.id(), 1).await.expect_err("another worker has the job");
    assert!(matches!(error, JobError::LeaseLost), "{error:?}");
    assert_eq!(world.writes(), 0);
    world.end();
}
