//! Reads every fact of one decision, once: GitHub's side and the store's. Decides nothing.

use super::{JobError, Services, files};
use crate::clock;
use crate::domain::binding::{Given, bind};
use crate::domain::command::{Command, CommandName};
use crate::domain::ids::{CommitSha, Environment, RepoName};
use crate::domain::policy::{DeployVia, POLICY_PATH, Policy, Role};
use crate::domain::snapshot::{ActorFact, Approval, ChangeFact, PolicyFact, ProjectFact, RunFact, Snapshot};
use crate::domain::targets::{TargetFact, TargetNames, standing};
use crate::github::reads::{PullRequest, Review, ReviewState};
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

/// Reads everything that a decision about `command` may look at.
///
/// # Errors
/// [`JobError::Later`] when GitHub or the database cannot be asked; the whole decision is tried again then.
pub async fn read(
    services: &Services,
    repository: &Repository,
    change: &Change,
    actor: &str,
    command: &Command,
    given: &Given,
) -> Result<Facts, JobError> {
    let client = client(services, repository);
    let (pull, list) = files::list(&client, change.number).await?;
    services.store.put_change_state(change.id, &pull.head, pull.open).await?;
    let (files, (policy, policy_text), role, approvals, behind_by, ledger) = tokio::try_join!(
        files::fact(services, &client, &pull, list),
        policy(&client, &pull.base_ref),
        role(&client, actor),
        approvals(&client, command.name, &pull),
        behind_by(&client, &pull),
        async { Ok(services.store.list_heads(change.id).await?) },
    )?;
    let (may_deploy, halt) = services.store.may_deploy(repository.id).await?;
    let projects = projects(services, repository.id, &policy).await?;
    let snapshot = Snapshot {
        read_at: clock::now(),
        given_at: given.at,
        actor: ActorFact { login: actor.to_owned(), role },
        binding: bind(command, given, &ledger, &pull.head),
        change: change_fact(&repository.name, pull),
        files,
        armed: may_deploy,
        halt,
        behind_by,
        approvals,
        runs: runs(services, change.id).await?,
        targets: targets(services, repository, &policy).await?,
        policy,
        projects,
    };
    Ok(Facts { snapshot, policy_text })
}

/// GitHub as seen through a repository's installation.
pub fn client(services: &Services, repository: &Repository) -> RepoClient {
    services.github.repo(&RepoRef { installation: repository.installation, name: repository.name.clone() })
}

/// GitHub as seen through a run's installation.
pub fn client_of(services: &Services, run: &Run) -> RepoClient {
    services.github.repo(&RepoRef { installation: run.installation, name: run.repo.clone() })
}

fn change_fact(repo: &RepoName, pull: PullRequest) -> ChangeFact {
    // A head repository that was deleted cannot be told from a fork, and is treated as one.
    let from_fork = !pull.head_repo.as_ref().is_some_and(|head| head.same(repo));
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
    }
}

async fn policy(client: &RepoClient, base_ref: &str) -> Result<(PolicyFact, Option<String>), JobError> {
    let commit = client.get_branch_head(base_ref).await?;
    let Some(bytes) = client.get_file(POLICY_PATH, &commit).await? else {
        return Ok((PolicyFact::Missing, None));
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let fact = match Policy::parse(&text) {
        Ok(policy) => PolicyFact::Valid { policy: Box::new(policy), commit },
        Err(diagnostics) => PolicyFact::Invalid(diagnostics),
    };
    Ok((fact, Some(text)))
}

/// The live role; `None` when GitHub will not tell, which no gate takes for a yes.
async fn role(client: &RepoClient, login: &str) -> Result<Option<Role>, JobError> {
    match client.get_role(login).await {
        Ok(role) => Ok(Some(role)),
        Err(GitHubError::Unauthorized(_) | GitHubError::Invalid(_) | GitHubError::Unexpected(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The newest review of each person counts, and only of people who may push.
async fn approvals(client: &RepoClient, command: CommandName, pull: &PullRequest) -> Result<Vec<Approval>, JobError> {
    if !matches!(command, CommandName::Promote | CommandName::Status) {
        return Ok(Vec::new());
    }
    let mut approvals = Vec::new();
    for review in newest_opinions(client.list_reviews(pull.number).await?) {
        if review.state == ReviewState::Approved && role(client, &review.login).await? >= Some(Role::Write) {
            approvals.push(Approval { login: review.login, commit: review.commit });
        }
    }
    Ok(approvals)
}

/// The last opinion of each person; a mere comment does not take an opinion back. `reviews` are in GitHub's order,
/// oldest first.
fn newest_opinions(reviews: Vec<Review>) -> Vec<Review> {
    let mut newest: Vec<Review> = Vec::new();
    let opinion =
        |r: &Review| matches!(r.state, ReviewState::Approved | ReviewState::ChangesRequested | ReviewState::Dismissed);
    for review in reviews.into_iter().filter(|r| !r.is_bot).filter(opinion) {
        newest.retain(|earlier| !earlier.login.eq_ignore_ascii_case(&review.login));
        newest.push(review);
    }
    newest
}

async fn behind_by(client: &RepoClient, pull: &PullRequest) -> Result<Option<u64>, JobError> {
    if !pull.open {
        return Ok(None);
    }
    match client.compare(&pull.base_ref, pull.head.as_str()).await {
        Ok(comparison) => Ok(Some(comparison.behind_by)),
        Err(error @ (GitHubError::RateLimited { .. } | GitHubError::Transient(_))) => Err(error.into()),
        Err(_) => Ok(None),
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
    };
    Ok(runs.into_iter().map(fact).collect())
}

async fn projects(services: &Services, repository_id: i64, policy: &PolicyFact) -> Result<Vec<ProjectFact>, JobError> {
    let mut facts = Vec::new();
    if let Some(policy) = policy.policy() {
        for (name, project) in &policy.projects {
            let id = services.store.ensure_project(repository_id, name, project).await?;
            facts.push(services.store.project_fact(id, name).await?);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn review(login: &str, state: ReviewState) -> Review {
        Review { login: login.to_owned(), is_bot: login == "robot", state, commit: None, submitted_at: None }
    }

    #[test]
    fn the_last_opinion_of_each_person_counts_and_a_comment_is_none() {
        let opinions = newest_opinions(vec![
            review("ann", ReviewState::Approved),
            review("bob", ReviewState::Approved),
            review("Ann", ReviewState::ChangesRequested),
            review("bob", ReviewState::Commented),
            review("robot", ReviewState::Approved),
        ]);
        let seen: Vec<_> = opinions.iter().map(|r| (r.login.as_str(), r.state)).collect();
        assert_eq!(seen, [("bob", ReviewState::Approved), ("Ann", ReviewState::ChangesRequested)]);
    }
}
