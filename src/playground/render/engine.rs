//! Carries deploys out: one task a deploy, phase after phase, at the pace that was asked for.
//!
//! Decides nothing about order or overlap (that is `model`), and looks after every wait whether it was cancelled.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::behaviour::{self, Behaviour, Outcome};
use super::model::{Artifact, Asked, Deploy, OverlapPolicy, Phase, Service, Services, Status, Trigger};
use super::rates::Rates;
use super::source::{self, Commit, SourceError};

/// What the API, the hook, the services and the handle share.
pub struct Shared {
    services: Mutex<Services>,
    changed: watch::Sender<u64>,
    pace_ms: AtomicU64,
    /// How long the instance before still answers beside the new one.
    pub overlap: Duration,
    /// What happens to a deploy that is asked for while another one works.
    pub overlap_policy: OverlapPolicy,
    /// The bearer key of the API.
    pub api_key: String,
    /// The rate limits of the API.
    pub rates: Rates,
}

impl Shared {
    /// A Render with these services.
    pub fn new(
        services: Services,
        pace: Duration,
        overlap: Duration,
        policy: OverlapPolicy,
        rates: Rates,
        key: &str,
    ) -> Self {
        let shared = Self {
            services: Mutex::new(services),
            changed: watch::Sender::new(0),
            pace_ms: AtomicU64::new(0),
            overlap,
            overlap_policy: policy,
            api_key: key.to_owned(),
            rates,
        };
        shared.set_pace(pace);
        shared
    }

    /// The services, to read.
    pub fn services(&self) -> MutexGuard<'_, Services> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes one service and tells everybody who waits. `None` when there is no such service.
    pub fn change<T>(&self, service: &str, change: impl FnOnce(&mut Service) -> T) -> Option<T> {
        let outcome = self.services().get_mut(service).map(change);
        self.changed.send_modify(|version| *version += 1);
        outcome
    }

    /// Tells about every change of any service.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How long each phase of a deploy takes from now on.
    pub fn set_pace(&self, pace: Duration) {
        self.pace_ms.store(u64::try_from(pace.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    async fn pace(&self) {
        tokio::time::sleep(Duration::from_millis(self.pace_ms.load(Ordering::Relaxed))).await;
    }

    /// Asks for a deploy of `commit` and sets it going. `None` when there is no such service.
    pub fn deploy(self: &Arc<Self>, service: &str, commit: Commit, trigger: Trigger) -> Option<Asked> {
        let asked = self.change(service, |service| service.ask(commit, trigger, self.overlap_policy))?;
        if let Asked::Started(deploy) = &asked {
            self.carry_out(service, deploy.clone());
        }
        Some(asked)
    }

    /// Asks for a rollback to `target` and sets it going, or leaves it queued.
    pub fn roll_back(self: &Arc<Self>, service: &str, target: &Deploy) -> Option<Deploy> {
        let deploy = self.change(service, |service| service.ask_rollback(target, self.overlap_policy))?;
        if deploy.status != Status::Queued {
            self.carry_out(service, deploy.clone());
        }
        Some(deploy)
    }

    /// Cancels an open deploy, and the next one in turn starts. The deploy as it is now, or `None` when it is not open.
    pub fn cancel(self: &Arc<Self>, service: &str, id: &str) -> Option<Deploy> {
        let canceled = self.change(service, |service| {
            let done = service.advance(id, Status::Canceled, "Cancelled through the API");
            service.deploy(id).filter(|_| done).cloned()
        })??;
        self.start_next(service);
        Some(canceled)
    }

    fn start_next(self: &Arc<Self>, service: &str) {
        if let Some(deploy) = self.change(service, Service::next_in_turn).flatten() {
            self.carry_out(service, deploy);
        }
    }

    fn carry_out(self: &Arc<Self>, service: &str, deploy: Deploy) {
        let (shared, service) = (self.clone(), service.to_owned());
        tokio::spawn(async move {
            shared.walk(&service, &deploy).await;
            shared.start_next(&service);
        });
    }

    /// The way of one deploy. Every step returns early when the deploy is no longer open.
    async fn walk(&self, service: &str, deploy: &Deploy) {
        self.pace().await;
        let Some(plan) = self.change(service, Plan::take) else { return };
        let artifact = match &deploy.artifact {
            Some(kept) => kept.clone(),
            None => {
                let line = format!("Cloning commit {}", deploy.commit.id);
                if !self.advance(service, deploy, Status::BuildInProgress, &line) {
                    return;
                }
                let built = plan.build(&deploy.commit).await;
                self.pace().await;
                match built {
                    Ok(artifact) => artifact,
                    Err(line) => return self.end(service, deploy, Status::BuildFailed, &line),
                }
            }
        };
        self.change(service, |service| service.keep(&deploy.id, artifact.clone()));
        if let Some(command) = &plan.pre_deploy_command {
            let line = format!("Pre-deploy command: {command}");
            if !self.advance(service, deploy, Status::PreDeployInProgress, &line) {
                return;
            }
            self.pace().await;
            if plan.fails(Phase::PreDeploy, artifact.behaviour.pre_deploy) {
                return self.end(service, deploy, Status::PreDeployFailed, "The pre-deploy command failed");
            }
        }
        if !self.advance(service, deploy, Status::UpdateInProgress, "Starting the new instance") {
            return;
        }
        self.pace().await;
        if plan.fails(Phase::Update, artifact.behaviour.start) {
            return self.end(service, deploy, Status::UpdateFailed, "The new instance exited with status 1");
        }
        if let Some(path) =
            plan.health_check_path.as_ref().filter(|_| !artifact.behaviour.health.is_good(Duration::ZERO, 1))
        {
            let line = format!("The new instance did not pass its health check at {path}");
            return self.end(service, deploy, Status::UpdateFailed, &line);
        }
        self.change(service, |service| service.go_live(&deploy.id, self.overlap));
    }

    fn advance(&self, service: &str, deploy: &Deploy, status: Status, line: &str) -> bool {
        self.change(service, |service| service.advance(&deploy.id, status, line)).unwrap_or(false)
    }

    fn end(&self, service: &str, deploy: &Deploy, status: Status, line: &str) {
        self.change(service, |service| service.end(&deploy.id, status, line));
    }
}

/// What a deploy needs to know of its service, read once when its work begins.
struct Plan {
    service_name: String,
    repository: std::path::PathBuf,
    pre_deploy_command: Option<String>,
    health_check_path: Option<String>,
    fails_at: Option<Phase>,
}

impl Plan {
    /// Takes the fault that waits for the next deploy along.
    fn take(service: &mut Service) -> Self {
        Self {
            service_name: service.name.clone(),
            repository: service.source.repository.clone(),
            pre_deploy_command: service.pre_deploy_command.clone(),
            health_check_path: service.health_check_path.clone(),
            fails_at: service.fail_next.take(),
        }
    }

    fn fails(&self, phase: Phase, outcome: Outcome) -> bool {
        self.fails_at == Some(phase) || outcome == Outcome::Fail
    }

    /// Reads the commit's files and its behaviour. The error is a line for the deploy's log.
    async fn build(&self, commit: &Commit) -> Result<Arc<Artifact>, String> {
        let read = source::read_files(&self.repository, &commit.id).await;
        let files = read.map_err(|error: SourceError| error.to_string())?;
        let file = files.get(behaviour::FILE).map(|bytes| &bytes[..]);
        let behaviour = Behaviour::read(file, &self.service_name)?;
        if self.fails(Phase::Build, behaviour.build) {
            return Err("The build command exited with status 1".to_owned());
        }
        Ok(Arc::new(Artifact { files, behaviour }))
    }
}

/// Puts a commit live at once, for a service that has been running since before the story begins. Only when nothing
/// else is being deployed there.
pub async fn begin_with(shared: &Shared, service: &str, name: &str) -> Result<(), SourceError> {
    let Some(plan) = shared.change(service, Plan::take) else { return Ok(()) };
    let commit = source::find_commit(&plan.repository, name).await?;
    let built = plan.build(&commit).await;
    let artifact = built.map_err(|detail| SourceError::Git { what: "ls-tree", detail })?;
    shared.change(service, |service| {
        if let Asked::Started(deploy) = service.ask(commit, Trigger::NewCommit, OverlapPolicy::Wait) {
            service.keep(&deploy.id, artifact);
            service.go_live(&deploy.id, Duration::ZERO);
        }
    });
    Ok(())
}
