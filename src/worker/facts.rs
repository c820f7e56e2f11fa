//! Reads every fact of one decision, once: GitHub's side and the store's. Decides nothing.

mod checks;
mod people;

pub use people::Asker;

use super::{JobError, Services, files};
use crate::clock;
use crate::domain::binding::{Given, bind};
use crate::domain::command::{Command, CommandName};
use crate::domain::ids::{CommitSha, Environment, RepoName};
use crate::domain::policy::{DeployVia, POLICY_PATH, Policy};
use crate::domain::snapshot::{
    ChangeFact, ChecksFact, FilesFact, PolicyFact, ProjectFact, ReviewsFact, RunFact, Snapshot, TrustFact,
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
    let (pull, list) = files::list(&client, change.number).await?;
    if question.decides {
        services.store.put_change_state(change.id, &pull.head, pull.open).await?;
    }
    let (files, (policy, policy_text), behind_by, ledger, runs, own) = tokio::try_join!(
        files(services, question, &client, &pull, list),
        policy(&client, &pull.base_ref),
        behind_by(question, &client, &pull),
        async { Ok(services.store.list_heads(change.id).await?) },
        runs(services, change.id),
        async { Ok(services.github.app().await?.id) },
    )?;
    // Whom and what else to ask about is the policy's word.
    let (actor, reviews, checks) = tokio::try_join!(
        people::actor(question, &client, policy.policy()),
        reviews(services, &client, question, &pull, policy.policy(), &runs),
        async {
            match policy.policy() {
                Some(policy) => checks::checks(question, &client, own, policy, &pull).await,
                None => Ok(ChecksFact::NotAsked),
            }
        },
    )?;
    let (may_deploy, halt) = services.store.may_deploy(repository.id).await?;
    let trusted = services.store.find_trust(change.id, &pull.head).await?;
    let projects = projects(services, question, &policy).await?;
    let snapshot = Snapshot {
        read_at: clock::now(),
        given_at: given.at,
        reached_at: given.reached_at,
        actor,
        binding: bind(command, given, &ledger, &pull.head),
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

/// A question over the API does not make anybody read whole trees: then a list that was cut off says so.
async fn files(
    services: &Services,
    question: &Question<'_>,
    client: &RepoClient,
    pull: &PullRequest,
    list: FileList,
) -> Result<FilesFact, JobError> {
    match question.decides {
        true => files::fact(services, client, pull, list).await,
        false => Ok(files::listed(pull, list)),
    }
}

async fn reviews(
    services: &Services,
    client: &RepoClient,
    question: &Question<'_>,
    pull: &PullRequest,
    policy: Option<&Policy>,
    runs: &[RunFact],
) -> Result<ReviewsFact, JobError> {
    let asked = matches!(question.command.name, CommandName::Promote | CommandName::Status);
    let Some(policy) = policy.filter(|_| asked) else { return Ok(ReviewsFact::default()) };
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

async fn policy(client: &RepoClient, base_ref: &str) -> Result<(PolicyFact, Option<String>), JobError> {
    let commit = client.get_branch_head(base_ref).await?;
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

async fn behind_by(question: &Question<'_>, client: &RepoClient, pull: &PullRequest) -> Result<Option<u64>, JobError> {
    if !pull.open {
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
        policy_hash: run.policy_hash,
        status: run.status,
        completed_at: run.completed_at,
    };
    Ok(runs.into_iter().map(fact).collect())
}

async fn projects(
    services: &Services,
    question: &Question<'_>,
    policy: &PolicyFact,
) -> Result<Vec<ProjectFact>, JobError> {
    let (store, repository) = (&services.store, question.repository);
    let mut facts = Vec::new();
    for (name, project) in policy.policy().map(|policy| &policy.projects).into_iter().flatten() {
        let id = match question.decides {
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

/// Whether the pull request's head still is what a run is pinned to; the fact to read again before every effect.
///
/// # Errors
/// [`JobError::Later`] when GitHub cannot be asked.
pub async fn head_now(client: &RepoClient, run: &Run) -> Result<(CommitSha, bool), JobError> {
    let pull = client.get_pull_request(run.number).await?;
    Ok((pull.head, pull.open))
}
