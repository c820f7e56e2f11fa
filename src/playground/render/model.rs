//! What the simulated Render knows, and every legal move of a deploy.
//!
//! Pure state behind one lock: no waiting, no git, no network. `engine` moves deploys along, `api` and `hook` ask for
//! them, `service` answers for the live one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};

use super::behaviour::{Behaviour, Health};
use super::source::{Commit, GitSource};
use crate::clock;

/// The time in microseconds, as finely as the API writes it, so that what was read can be compared with what is kept.
fn now() -> DateTime<Utc> {
    clock::now().trunc_subsecs(6)
}

/// A deploy's status, as the specification lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are Render's own and say it all")]
pub enum Status {
    Created,
    Queued,
    BuildInProgress,
    PreDeployInProgress,
    UpdateInProgress,
    Live,
    Deactivated,
    BuildFailed,
    PreDeployFailed,
    UpdateFailed,
    Canceled,
}

impl Status {
    /// All of them, in the order of a deploy's life.
    pub const ALL: [Self; 11] = [
        Self::Created,
        Self::Queued,
        Self::BuildInProgress,
        Self::PreDeployInProgress,
        Self::UpdateInProgress,
        Self::Live,
        Self::Deactivated,
        Self::BuildFailed,
        Self::PreDeployFailed,
        Self::UpdateFailed,
        Self::Canceled,
    ];

    /// Render's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Queued => "queued",
            Self::BuildInProgress => "build_in_progress",
            Self::PreDeployInProgress => "pre_deploy_in_progress",
            Self::UpdateInProgress => "update_in_progress",
            Self::Live => "live",
            Self::Deactivated => "deactivated",
            Self::BuildFailed => "build_failed",
            Self::PreDeployFailed => "pre_deploy_failed",
            Self::UpdateFailed => "update_failed",
            Self::Canceled => "canceled",
        }
    }

    /// The status with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether the deploy still waits or works.
    pub fn is_open(self) -> bool {
        matches!(
            self,
            Self::Created | Self::Queued | Self::BuildInProgress | Self::PreDeployInProgress | Self::UpdateInProgress
        )
    }
}

/// What caused a deploy, in Render's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// `POST /deploys`.
    Api,
    /// The deploy hook.
    DeployHook,
    /// A push to the branch while auto-deploy is on, and a service's first deploy.
    NewCommit,
    /// `POST /rollback`.
    Rollback,
    /// A suspended service came back.
    ServiceResumed,
}

impl Trigger {
    /// Render's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::DeployHook => "deploy_hook",
            Self::NewCommit => "new_commit",
            Self::Rollback => "rollback",
            Self::ServiceResumed => "service_resumed",
        }
    }
}

/// A part of a deploy that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Ends in `build_failed`.
    Build,
    /// Ends in `pre_deploy_failed`; only on a service that has a pre-deploy command.
    PreDeploy,
    /// Ends in `update_failed`.
    Update,
}

/// What a build leaves: the commit's files, kept for rollbacks.
#[derive(Debug)]
pub struct Artifact {
    /// Content by path in the repository.
    pub files: BTreeMap<String, Bytes>,
    /// How this commit behaves on its service.
    pub behaviour: Behaviour,
}

/// One deploy and all that became of it.
#[derive(Debug, Clone)]
pub struct Deploy {
    /// `dep-…`.
    pub id: String,
    /// What is deployed.
    pub commit: Commit,
    /// Where it is now.
    pub status: Status,
    /// What caused it.
    pub trigger: Trigger,
    /// When it was asked for, or, for one that had to wait, when its turn came.
    pub created_at: DateTime<Utc>,
    /// When its first phase began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it went live or ended otherwise.
    pub finished_at: Option<DateTime<Utc>>,
    /// When the status last changed.
    pub updated_at: DateTime<Utc>,
    /// Whether it has ever been live.
    pub went_live: bool,
    /// What Render's deploy log would say, oldest line first.
    pub log: Vec<String>,
    /// The build's outcome while it is kept.
    pub artifact: Option<Arc<Artifact>>,
    /// The deploy whose artifact this one uses again.
    pub rolls_back_to: Option<String>,
}

impl Deploy {
    fn new(commit: Commit, trigger: Trigger) -> Self {
        let now = now();
        let id = uuid::Uuid::now_v7().simple().to_string();
        Self {
            id: format!("dep-{id}"),
            commit,
            status: Status::Created,
            trigger,
            created_at: now,
            started_at: None,
            finished_at: None,
            updated_at: now,
            went_live: false,
            log: Vec::new(),
            artifact: None,
            rolls_back_to: None,
        }
    }

    /// Moves to `status` and writes `line` to the log.
    fn set(&mut self, status: Status, line: impl Into<String>) {
        let now = now();
        self.status = status;
        self.updated_at = now;
        self.log.push(line.into());
        if self.started_at.is_none() && status != Status::Queued && status != Status::Created {
            self.started_at = Some(now);
        }
        if !status.is_open() && self.finished_at.is_none() {
            self.finished_at = Some(now);
        }
    }
}

/// What happens to a deploy that is asked for while another one works. Render's setting for a whole workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverlapPolicy {
    /// It waits; of several that wait only the newest is carried out.
    #[default]
    Wait,
    /// The one that works is cancelled.
    Override,
}

/// The running program of one deploy.
#[derive(Debug)]
pub struct Instance {
    /// The deploy that brought it.
    pub deploy: String,
    /// Its commit.
    pub commit: String,
    /// Its files and behaviour.
    pub artifact: Arc<Artifact>,
    /// When it began to get requests.
    pub live_since: Instant,
}

/// One service and its deploys.
#[derive(Debug)]
pub struct Service {
    /// `srv-…`.
    pub id: String,
    /// `RENDER_SERVICE_NAME`.
    pub name: String,
    /// The key of its deploy hook.
    pub hook_key: String,
    /// Where its code comes from.
    pub source: GitSource,
    /// Asked of a new instance before it gets requests; `None` asks nothing.
    pub health_check_path: Option<String>,
    /// Adds the phase `pre_deploy_in_progress`; shown, never run.
    pub pre_deploy_command: Option<String>,
    /// Where it answers: `http://127.0.0.1:PORT`.
    pub url: String,
    /// Whether a push to the branch deploys.
    pub auto_deploy: bool,
    /// Whether it is switched off.
    pub suspended: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When a setting last changed.
    pub updated_at: DateTime<Utc>,
    /// Oldest first.
    pub deploys: Vec<Deploy>,
    /// Asked for but without a place in the list yet, as Render gives no id for these.
    pub waiting: Option<Deploy>,
    /// The program that gets requests.
    pub live: Option<Arc<Instance>>,
    /// The program before it, which still gets every other request until this time.
    pub leaving: Option<(Arc<Instance>, Instant)>,
    /// Health that a test or a person imposed on whatever runs.
    pub forced_health: Option<Health>,
    /// The phase at which the next deploy fails, whatever its commit says.
    pub fail_next: Option<Phase>,
    /// How many requests it got.
    pub requests: u64,
    /// How many health requests it got since the live program began.
    pub health_requests: u64,
}

/// What came of asking for a deploy.
#[derive(Debug)]
pub enum Asked {
    /// It exists, and the engine has to carry it out.
    Started(Deploy),
    /// It waits for its turn and has no id to tell.
    Waits,
}

impl Service {
    /// The deploy with this id.
    pub fn deploy(&self, id: &str) -> Option<&Deploy> {
        self.deploys.iter().find(|deploy| deploy.id == id)
    }

    fn deploy_mut(&mut self, id: &str) -> Option<&mut Deploy> {
        self.deploys.iter_mut().find(|deploy| deploy.id == id)
    }

    /// The deploy that works now, if any.
    pub fn working(&self) -> Option<&Deploy> {
        self.deploys.iter().find(|deploy| deploy.status.is_open() && deploy.status != Status::Queued)
    }

    /// What a health request would be answered now; `None` when nothing runs.
    pub fn is_healthy(&self) -> Option<bool> {
        let live = self.live.as_ref().filter(|_| !self.suspended)?;
        let health = self.forced_health.as_ref().unwrap_or(&live.artifact.behaviour.health);
        Some(health.is_good(live.live_since.elapsed(), self.health_requests + 1))
    }

    /// Asks for a deploy of `commit`.
    pub fn ask(&mut self, commit: Commit, trigger: Trigger, policy: OverlapPolicy) -> Asked {
        self.ask_for(Deploy::new(commit, trigger), policy)
    }

    /// Asks for the deploy `target` once more, with the artifact that its build left.
    pub fn ask_rollback(&mut self, target: &Deploy, policy: OverlapPolicy) -> Deploy {
        let mut deploy = Deploy::new(target.commit.clone(), Trigger::Rollback);
        deploy.artifact.clone_from(&target.artifact);
        deploy.rolls_back_to = Some(target.id.clone());
        // A rollback's answer always carries the deploy, so one that has to wait is listed as queued.
        let mut shown = deploy.clone();
        match self.ask_for(deploy, policy) {
            Asked::Started(deploy) => deploy,
            Asked::Waits => {
                shown.set(Status::Queued, "Waits for the deploy that is in progress");
                self.waiting = None;
                self.deploys.push(shown.clone());
                shown
            }
        }
    }

    fn ask_for(&mut self, deploy: Deploy, policy: OverlapPolicy) -> Asked {
        if let Some(working) = self.working().map(|deploy| deploy.id.clone()) {
            self.waiting = None;
            for queued in self.deploys.iter_mut().filter(|deploy| deploy.status == Status::Queued) {
                queued.set(Status::Canceled, "Superseded by a newer deploy");
            }
            match policy {
                OverlapPolicy::Wait => {
                    self.waiting = Some(deploy);
                    return Asked::Waits;
                }
                OverlapPolicy::Override => self.end(&working, Status::Canceled, "Overridden by a newer deploy"),
            }
        }
        self.deploys.push(deploy.clone());
        Asked::Started(deploy)
    }

    /// The next deploy whose turn has come, if none works.
    pub fn next_in_turn(&mut self) -> Option<Deploy> {
        if self.working().is_some() {
            return None;
        }
        if let Some(mut deploy) = self.waiting.take() {
            deploy.created_at = now();
            deploy.updated_at = deploy.created_at;
            self.deploys.push(deploy.clone());
            return Some(deploy);
        }
        let queued = self.deploys.iter_mut().find(|deploy| deploy.status == Status::Queued)?;
        queued.set(Status::Created, "Its turn has come");
        Some(queued.clone())
    }

    /// Moves an open deploy on. False when it is not open any more, for example because it was cancelled.
    pub fn advance(&mut self, id: &str, status: Status, line: &str) -> bool {
        match self.deploy_mut(id) {
            Some(deploy) if deploy.status.is_open() => {
                deploy.set(status, line);
                true
            }
            _ => false,
        }
    }

    /// Keeps what the build of a deploy left.
    pub fn keep(&mut self, id: &str, artifact: Arc<Artifact>) {
        if let Some(deploy) = self.deploy_mut(id) {
            deploy.artifact = Some(artifact);
        }
    }

    /// Ends an open deploy without it going live.
    pub fn end(&mut self, id: &str, status: Status, line: &str) {
        self.advance(id, status, line);
    }

    /// The open deploy goes live: it gets the requests, and the one before is deactivated and leaves within `overlap`.
    pub fn go_live(&mut self, id: &str, overlap: Duration) {
        let Some(deploy) = self.deploy_mut(id).filter(|deploy| deploy.status.is_open()) else { return };
        let Some(artifact) = deploy.artifact.clone() else { return };
        deploy.set(Status::Live, "Your service is live");
        deploy.went_live = true;
        let commit = deploy.commit.id.clone();
        for earlier in &mut self.deploys {
            if earlier.status == Status::Live && earlier.id != id {
                earlier.set(Status::Deactivated, "Replaced by a newer deploy");
            }
        }
        let now = Instant::now();
        let instance = Arc::new(Instance { deploy: id.to_owned(), commit, artifact, live_since: now });
        self.leaving = self.live.replace(instance).map(|before| (before, now + overlap));
        self.health_requests = 0;
    }

    /// Forgets what the build of a deploy left. False when there is no such deploy.
    pub fn forget_artifact(&mut self, id: &str) -> bool {
        self.deploy_mut(id).map(|deploy| deploy.artifact = None).is_some()
    }
}

/// All services by id.
pub type Services = BTreeMap<String, Service>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playground::render::behaviour::Behaviour;

    fn service() -> Service {
        let now = clock::now();
        Service {
            id: "srv-a".into(),
            name: "a".into(),
            hook_key: "k".into(),
            source: GitSource { repository: "none".into(), branch: "main".into() },
            health_check_path: None,
            pre_deploy_command: None,
            url: String::new(),
            auto_deploy: false,
            suspended: false,
            created_at: now,
            updated_at: now,
            deploys: Vec::new(),
            waiting: None,
            live: None,
            leaving: None,
            forced_health: None,
            fail_next: None,
            requests: 0,
            health_requests: 0,
        }
    }

    fn commit(id: &str) -> Commit {
        Commit { id: id.into(), message: String::new(), created_at: clock::now() }
    }

    fn started(asked: Asked) -> Deploy {
        match asked {
            Asked::Started(deploy) => deploy,
            Asked::Waits => panic!("expected it to start"),
        }
    }

    fn finish(service: &mut Service, id: &str) {
        let behaviour = Behaviour::read(None, "a").expect("no file is fine");
        service.keep(id, Arc::new(Artifact { files: BTreeMap::new(), behaviour }));
        service.go_live(id, Duration::ZERO);
    }

    fn statuses(service: &Service) -> Vec<(&str, Status)> {
        service.deploys.iter().map(|deploy| (deploy.commit.id.as_str(), deploy.status)).collect()
    }

    #[test]
    fn of_those_that_wait_only_the_newest_gets_its_turn() {
        let mut service = service();
        let first = started(service.ask(commit("1"), Trigger::Api, OverlapPolicy::Wait));
        assert!(matches!(service.ask(commit("2"), Trigger::Api, OverlapPolicy::Wait), Asked::Waits));
        assert!(matches!(service.ask(commit("3"), Trigger::Api, OverlapPolicy::Wait), Asked::Waits));
        assert!(service.next_in_turn().is_none(), "the first one still works");
        finish(&mut service, &first.id);
        let next = service.next_in_turn().expect("one waits");
        finish(&mut service, &next.id);
        assert_eq!(statuses(&service), [("1", Status::Deactivated), ("3", Status::Live)]);
    }

    #[test]
    fn override_cancels_the_one_that_works() {
        let mut service = service();
        let first = started(service.ask(commit("1"), Trigger::Api, OverlapPolicy::Override));
        let second = started(service.ask(commit("2"), Trigger::Api, OverlapPolicy::Override));
        finish(&mut service, &first.id);
        finish(&mut service, &second.id);
        assert_eq!(statuses(&service), [("1", Status::Canceled), ("2", Status::Live)]);
    }

    #[test]
    fn a_rollback_that_has_to_wait_is_listed_as_queued_and_newer_deploys_supersede_it() {
        let mut service = service();
        let first = started(service.ask(commit("1"), Trigger::Api, OverlapPolicy::Wait));
        finish(&mut service, &first.id);
        let second = started(service.ask(commit("2"), Trigger::Api, OverlapPolicy::Wait));
        let target = service.deploy(&first.id).expect("the first").clone();
        let queued = service.ask_rollback(&target, OverlapPolicy::Wait);
        assert_eq!(queued.status, Status::Queued);
        assert!(matches!(service.ask(commit("3"), Trigger::Api, OverlapPolicy::Wait), Asked::Waits));
        assert_eq!(service.deploy(&queued.id).map(|deploy| deploy.status), Some(Status::Canceled));
        service.end(&second.id, Status::Canceled, "by a person");
        assert_eq!(service.next_in_turn().map(|deploy| deploy.commit.id).as_deref(), Some("3"));
    }
}
