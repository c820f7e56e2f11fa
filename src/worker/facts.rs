//! Reads every fact of one decision, once: GitHub's side and the store's. Decides nothing.

mod checks;
mod people;

pub use people::Asker;

use super::{JobError, Services, files, look};
use crate::clock;
use crate::domain::binding::{Given, Heads, bind};
use crate::domain::command::{Command, CommandName};
use crate::domain::gates::permission_for;
use crate::domain::ids::{Environment, RepoName};
use crate::domain::policy::{DeployVia, POLICY_PATH, Policy, Role, default_grant};
use crate::domain::snapshot::{
    ActorFact, ChangeFact, ChecksFact, FilesFact, PolicyFact, ProjectFact, ReviewsFact, RunFact, Snapshot, TrustFact,
};
use crate::domain::targets::{TargetFact, TargetNames, standing};
use crate::github::reads::{FileList, PullRequest};
use crate::github::{GitHubError, RepoClient, RepoRef};
use crate::store::changes::Change;
use crate::store::runs::{Run, RunFilter};
use crate::store::tenants::Repository;

/// The facts, and the policy's own text for keeping.
pub struct Facts {
    /// What is judged.
    pub snapshot: Snapshot,
    /// The policy file as it was read; `None` when there is none.
    pub policy_text: Option<String>,
}

/// What the facts are read for.
pub struct Question<'a> {
    /// Where.
    pub repository: &'a Repository,
    /// GitHub's number of the repository, as the event told it.
    pub repo_id: Option<i64>,
    /// The pull request.
    pub change: &'a Change,
    /// Who asks.
    pub asker: Asker<'a>,
    /// What is asked for.
    pub command: &'a Command,
    /// When and with which head.
    pub given: &'a Given,
    /// Whether a decision follows; else nothing is noted down, not even what was seen.
    pub decides: bool,
    /// Whether it is worth asking again when GitHub does not tell something; else it counts as unknown, and closes its
    /// gate.
    pub patient: bool,
}

impl Question<'_> {
    /// So many times GitHub is asked before what it does not tell counts as unknown: a token may have been revoked just
    /// then.
    pub const PATIENCE: i32 = 3;

    /// What a fact is that GitHub did not tell.
    ///
    /// # Errors
    /// When it may tell it the next time.
    fn unknown<T>(&self, error: GitHubError, unknown: impl FnOnce(GitHubError) -> T) -> Result<T, JobError> {
        match error {
            GitHubError::RateLimited { .. } | GitHubError::Transient(_) => Err(error.into()),
            _ if self.patient => Err(error.into()),
            error => Ok(unknown(error)),
        }
    }
}

/// Reads everything that a decision may look at.
///
/// # Errors
/// [`JobError::Later`] when GitHub or the database cannot be asked; the whole decision is tried again then.
pub async fn read(services: &Services, question: &Question<'_>) -> Result<Facts, JobError> {
    let Question { repository, change, command, given, .. } = *question;
    let client = client(services, repository);
    let asked = clock::now();
    let mut pull = client.get_pull_request(change.number).await?;
    // GitHub says it with each pull request; other hosts may leave it out.
    let default_branch = match pull.default_branch.take() {
        Some(branch) => Some(branch),
        None => client.find_default_branch().await?,
    };
    pull.default_branch.clone_from(&default_branch);
    let (policy, policy_text) = policy(&client, &pull).await?;
    // First who asks: anybody may comment, and only for those who may give the command much is read.
    let actor = Box::pin(people::actor(question, &client, policy.policy())).await?;
    let depth = depth(command, &actor, policy.policy());
    let list = match depth {
        Depth::Little => None,
        Depth::Listed | Depth::Whole => {
            let list;
            (pull, list) = Box::pin(files::list(&client, change.number)).await?;
            pull.default_branch = default_branch;
            Some(list)
        }
    };
    // What was not told before the command may not decide about it, only about the next one.
    let ledger = services.store.list_heads(change.id).await?;
    if question.decides {
        look::saw(services, repository, question.repo_id, change, &pull, asked).await?;
    }
    let runs = runs(services, change.id).await?;
    let (files, behind_by, reviews, checks) = tokio::try_join!(
        // On the heap: side by side they would need more of the stack than a worker's thread has to spare.
        Box::pin(files(services, question.decides && depth == Depth::Whole, &client, &pull, list)),
        Box::pin(behind_by(question, &client, &pull, depth)),
        Box::pin(async {
            match policy.policy().filter(|_| depth != Depth::Little) {
                Some(policy) => reviews(services, &client, question, &pull, policy, &runs).await,
                None => Ok(ReviewsFact::default()),
            }
        }),
        Box::pin(async {
            let Some(policy) = policy.policy().filter(|_| depth != Depth::Little) else {
                return Ok(ChecksFact::NotAsked);
            };
            let own = services.github.app().await?.id;
            checks::checks(question, &client, own, policy, &pull).await
        }),
    )?;
    let (may_deploy, halt) = services.store.may_deploy(repository.id).await?;
    let trusted = services.store.find_trust(change.id, &pull.head).await?;
    // Only what the repository itself says is written down.
    let noted = question.decides && pull.default_branch.as_ref() == Some(&pull.base_ref);
    let projects = projects(services, repository, noted, &policy).await?;
    let heads = Heads { ledger: &ledger, now: &pull.head, quiet_since: pull.updated_at };
    let binding = bind(command, given, heads);
    let snapshot = Snapshot {
        read_at: clock::now(),
        given_at: given.at,
        reached_at: given.reached_at,
        actor,
        binding,
        change: change_fact(question, pull, trusted),
        files,
        armed: may_deploy,
        halt,
        behind_by,
        reviews,
        checks,
        runs,
        targets: targets(services, repository, &policy).await?,
        policy,
        projects,
    };
    Ok(Facts { snapshot, policy_text })
}

/// How much is read for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// The pull request, the policy, who asks, and what Titan has itself: for whoever may not give the command, and for
    /// commands that are about Titan itself. A halt must not wait for anything else.
    Little,
    /// What GitHub lists as well.
    Listed,
    /// Whole trees too, where GitHub's list is cut off.
    Whole,
}

fn depth(command: &Command, actor: &ActorFact, policy: Option<&Policy>) -> Depth {
    use CommandName::{Arm, Cancel, Disarm, Halt, Help, Resume, Status, Trust};
    let grant = policy.map_or_else(|| default_grant(command.name), |policy| policy.grant(command.name));
    match command.name {
        Arm | Disarm | Halt | Resume | Cancel | Trust | Help => Depth::Little,
        // Anybody may ask, also over the API.
        Status if actor.role < Some(Role::Triage) => Depth::Listed,
        _ if !permission_for(actor, &grant).passed() => Depth::Little,
        _ => Depth::Whole,
    }
}

/// A question over the API does not make anybody read whole trees: then a list that was cut off says so.
async fn files(
    services: &Services,
    whole: bool,
    client: &RepoClient,
    pull: &PullRequest,
    list: Option<FileList>,
) -> Result<FilesFact, JobError> {
    match list {
        // Not asked for; whatever should need it after all finds it closed.
        None => Ok(FilesFact::CutOff { listed: 0, expected: pull.changed_files }),
        Some(list) if whole => files::fact(services, client, pull, list).await,
        Some(list) => Ok(files::listed(pull, list)),
    }
}

async fn reviews(
    services: &Services,
    client: &RepoClient,
    question: &Question<'_>,
    pull: &PullRequest,
    policy: &Policy,
    runs: &[RunFact],
) -> Result<ReviewsFact, JobError> {
    if !matches!(question.command.name, CommandName::Promote | CommandName::Status) {
        return Ok(ReviewsFact::default());
    }
    let pushers = services.store.list_pushers(question.change.id).await?;
    people::reviews(question, client, policy, pull, pushers, runs).await
}

/// GitHub as seen through a repository's installation.
pub fn client(services: &Services, repository: &Repository) -> RepoClient {
    services.github.repo(&RepoRef { installation: repository.installation, name: repository.name.clone() })
}

/// GitHub as seen through a run's installation.
pub fn client_of(services: &Services, run: &Run) -> RepoClient {
    services.github.repo(&RepoRef { installation: run.installation, name: run.repo.clone() })
}

fn change_fact(question: &Question<'_>, pull: PullRequest, trusted: Option<TrustFact>) -> ChangeFact {
    let repo = &question.repository.name;
    // A head repository that was deleted cannot be told from a fork, and is treated as one.
    let from_fork = !pull.head_repo.as_ref().is_some_and(|head| head.same(repo));
    let moved = |(id, name): &(i64, RepoName)| !name.same(repo) || question.repo_id.is_some_and(|asked| asked != *id);
    ChangeFact {
        number: pull.number,
        author: pull.author,
        open: pull.open,
        merged: pull.merged,
        draft: pull.draft,
        head: pull.head,
        base_ref: pull.base_ref,
        default_branch: pull.default_branch,
        from_fork,
        fork_gone: pull.head_repo.is_none(),
        trusted: trusted.filter(|_| from_fork),
        locked: pull.locked,
        archived: pull.archived,
        moved_to: pull.base_repo.filter(moved).map(|(_, name)| name),
    }
}

/// The policy of the default branch. It is the base branch of every change that may go further; for any other, the branch
/// may be one that its author has made, and its policy must not even say who may do what.
async fn policy(client: &RepoClient, pull: &PullRequest) -> Result<(PolicyFact, Option<String>), JobError> {
    let Some(default_branch) = &pull.default_branch else { return Ok((PolicyFact::Missing, None)) };
    let commit = client.get_branch_head(default_branch).await?;
    let Some(bytes) = client.get_file(POLICY_PATH, &commit).await? else {
        return Ok((PolicyFact::Missing, None));
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let fact = match Policy::parse_bytes(&bytes) {
        Ok(policy) => PolicyFact::Valid { policy: Box::new(policy), commit },
        Err(diagnostics) => PolicyFact::Invalid(diagnostics),
    };
    Ok((fact, Some(text)))
}

async fn behind_by(
    question: &Question<'_>,
    client: &RepoClient,
    pull: &PullRequest,
    depth: Depth,
) -> Result<Option<u64>, JobError> {
    if !pull.open || depth == Depth::Little {
        return Ok(None);
    }
    match client.compare(&pull.base_ref, pull.head.as_str()).await {
        Ok(comparison) => Ok(Some(comparison.behind_by)),
        Err(error) => question.unknown(error, |_| None),
    }
}

async fn runs(services: &Services, change_id: i64) -> Result<Vec<RunFact>, JobError> {
    let filter = RunFilter { change_id: Some(change_id), without_refused: true, ..RunFilter::default() };
    let runs = services.store.list_runs(&filter, 100).await?;
    let fact = |run: Run| RunFact {
        id: run.id,
        kind: run.kind,
        project: run.project,
        head: run.head,
        base_ref: run.base_ref,
        policy_hash: run.policy_hash,
        status: run.status,
        completed_at: run.completed_at,
    };
    Ok(runs.into_iter().map(fact).collect())
}

async fn projects(
    services: &Services,
    repository: &Repository,
    noted: bool,
    policy: &PolicyFact,
) -> Result<Vec<ProjectFact>, JobError> {
    let store = &services.store;
    let mut facts = Vec::new();
    for (name, project) in policy.policy().map(|policy| &policy.projects).into_iter().flatten() {
        let id = match noted {
            true => Some(store.ensure_project(repository.id, name, project).await?),
            false => store.find_project_id(repository.id, name).await?,
        };
        facts.push(match id {
            Some(id) => store.project_fact(id, name).await?,
            // Nobody has asked for it yet, so nothing can hold it.
            None => ProjectFact::new(name.clone()),
        });
    }
    Ok(facts)
}

/// Whose the services are that the policy names.
async fn targets(
    services: &Services,
    repository: &Repository,
    policy: &PolicyFact,
) -> Result<Vec<TargetFact>, JobError> {
    let mut facts = Vec::new();
    for (name, project) in policy.policy().into_iter().flat_map(|policy| &policy.projects) {
        for environment in [Environment::Canary, Environment::Production] {
            let Some(target) = project.target(environment) else { continue };
            let names = target_names(services, &target.deploy);
            let elsewhere = services.store.is_bound_elsewhere(repository.id, &names).await?;
            let standing = standing(services.grants.as_deref(), &names, &repository.name, elsewhere);
            facts.push(TargetFact { project: name.clone(), environment, names, standing });
        }
    }
    Ok(facts)
}

fn target_names(services: &Services, deploy: &DeployVia) -> TargetNames {
    match deploy {
        DeployVia::Render(service) => TargetNames { shown: service.to_string(), service: None },
        DeployVia::Hook(name) => {
            let service = services.render.service_behind_hook(name).map(|service| service.to_string());
            TargetNames { shown: name.clone(), service }
        }
    }
}
