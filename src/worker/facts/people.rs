//! The facts about people: who asks, who reviewed, who had a hand in the code, who trusts a fork's head.

use super::Question;
use crate::domain::command::CommandName;
use crate::domain::ids::CommitSha;
use crate::domain::policy::{Policy, Role, TeamName};
use crate::domain::run::RunKind;
use crate::domain::snapshot::{ActorFact, Approval, Person, ReviewsFact, RunFact};
use crate::github::reads::{PullRequest, Review, ReviewState};
use crate::github::{GitHubError, RepoClient};
use crate::worker::JobError;

/// Who asks, as the event or the request tells.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The login.
    pub login: &'a str,
    /// GitHub's number, which a rename does not change.
    pub id: Option<i64>,
}

/// Approvals of people beyond these are not looked at: each costs a question, and no policy asks for more than ten. One too
/// few refuses, so that nothing is lost.
const APPROVALS: usize = 30;
/// Objections of people beyond these are not looked into, and then the change is refused: in a public repository anybody
/// may write a review, and many of them must not push out the one that counts.
const OBJECTIONS: usize = 60;
/// Commits whose content is asked for, newest first.
const COMMITS: usize = 20;

/// The live role and memberships of whoever asks.
pub(super) async fn actor(
    question: &Question<'_>,
    client: &RepoClient,
    policy: Option<&Policy>,
) -> Result<ActorFact, JobError> {
    let (asker, command) = (question.asker, question.command.name);
    let mut fact = match standing(question, client, asker.login, asker.id).await? {
        Known::Role(role) => ActorFact::with_role(asker.login, Some(role)),
        Known::Renamed { now, role } => {
            let asked_as = Some(asker.login.to_owned());
            ActorFact { asked_as, ..ActorFact::with_role(&now, Some(role)) }
        }
        Known::Other => ActorFact { is_other: true, ..ActorFact::with_role(asker.login, None) },
        Known::Nothing => ActorFact::with_role(asker.login, None),
    };
    if fact.role > Some(Role::Read) {
        for team in wanted_teams(command, policy) {
            let is_in = member(client, &team, &fact.login).await?;
            fact.teams.push((team, is_in));
        }
    }
    Ok(fact)
}

/// The teams that matter: of one command, or of all when every gate is to be shown.
fn wanted_teams(command: CommandName, policy: Option<&Policy>) -> Vec<TeamName> {
    let Some(policy) = policy else { return Vec::new() };
    let all = matches!(command, CommandName::Status | CommandName::Help);
    let grants = policy.permissions.iter().filter(|(name, _)| all || **name == command);
    let mut teams: Vec<TeamName> = grants.flat_map(|(_, grant)| grant.teams.clone()).collect();
    teams.sort();
    teams.dedup();
    teams
}

/// Whether somebody is in a team; a team of another account is none of this installation's business.
async fn member(client: &RepoClient, team: &TeamName, login: &str) -> Result<Option<bool>, JobError> {
    if !team.org.eq_ignore_ascii_case(client.repo().name.owner()) {
        return Ok(None);
    }
    match client.is_in_team(team, login).await {
        Ok(is_in) => Ok(Some(is_in)),
        Err(error @ (GitHubError::RateLimited { .. } | GitHubError::Transient(_))) => Err(error.into()),
        Err(error) => {
            tracing::warn!(%team, %error, "GitHub does not tell who is in the team");
            Ok(None)
        }
    }
}

/// What GitHub says of a person.
enum Known {
    Role(Role),
    /// The same person has another login now.
    Renamed {
        now: String,
        role: Role,
    },
    /// Somebody else has the login now, and whoever asked is gone.
    Other,
    Nothing,
}

/// What a person is to the repository now. The number is the person: a role is found by a login, and counts only when
/// GitHub says whose it is.
async fn standing(
    question: &Question<'_>,
    client: &RepoClient,
    login: &str,
    id: Option<i64>,
) -> Result<Known, JobError> {
    match follow(client, login, id).await {
        Ok(known) => Ok(known),
        Err(error) => question.unknown(error, |_| Known::Nothing),
    }
}

async fn follow(client: &RepoClient, login: &str, id: Option<i64>) -> Result<Known, GitHubError> {
    let found = client.get_standing(login).await?;
    // A role may be told without saying whose it is.
    let owner = match (found.id, id) {
        (None, Some(_)) if found.role > Role::None => client.find_account(login).await?,
        (owner, _) => owner,
    };
    let Some(asked) = id.filter(|asked| owner != Some(*asked)) else { return Ok(Known::Role(found.role)) };
    let present = if asked > 0 { client.find_login(asked).await? } else { None };
    match present {
        Some(present) if present.eq_ignore_ascii_case(login) && owner.is_none() => Ok(Known::Role(found.role)),
        Some(now) if !now.eq_ignore_ascii_case(login) => match client.get_standing(&now).await? {
            found if found.id == Some(asked) => Ok(Known::Renamed { now, role: found.role }),
            _ => Ok(Known::Other),
        },
        None if owner.is_none() && found.role == Role::None => Ok(Known::Role(Role::None)),
        _ => Ok(Known::Other),
    }
}

/// What was said of the change, when the policy asks for approvals: the newest opinion of each person, of people who may
/// push, with the contents that were meant.
pub(super) async fn reviews(
    question: &Question<'_>,
    client: &RepoClient,
    policy: &Policy,
    pull: &PullRequest,
    pushers: Vec<Person>,
    runs: &[RunFact],
) -> Result<ReviewsFact, JobError> {
    if policy.approvals == 0 {
        return Ok(ReviewsFact::default());
    }
    let mut fact = ReviewsFact { hands: pushers, ..ReviewsFact::default() };
    let opinions = newest_opinions(client.list_reviews(pull.number).await?);
    let objects = |review: &Review| review.state == ReviewState::ChangesRequested;
    let of = |wanted: bool| {
        let opinions = opinions.iter().rev().filter(|review| review.state != ReviewState::Dismissed);
        opinions.filter(move |review| objects(review) == wanted).cloned()
    };
    fact.unheard = of(true).count().saturating_sub(OBJECTIONS);
    for review in of(true).take(OBJECTIONS).chain(of(false).take(APPROVALS)) {
        let id = Some(review.user_id).filter(|id| *id > 0);
        let login = match standing(question, client, &review.login, id).await? {
            Known::Role(role) if role >= Role::Write => review.login,
            Known::Renamed { now, role } if role >= Role::Write => now,
            _ => continue,
        };
        match review.state {
            ReviewState::Approved => {
                let by = Person { login, id };
                fact.approvals.push(Approval { by, commit: review.commit, at: review.submitted_at });
            }
            _ => fact.objections.push(login),
        }
    }
    let head = client.get_commit_people(&pull.head).await?;
    fact.hands.push(Person { login: pull.author.clone(), id: pull.author_id });
    fact.hands.extend(head.people);
    fact.trees.push((pull.head.clone(), head.tree));
    let proposed = runs.iter().filter(|run| run.kind == RunKind::Propose && run.succeeded()).map(|run| &run.head);
    let approved: Vec<CommitSha> = fact.approvals.iter().filter_map(|approval| approval.commit.clone()).collect();
    let mut wanted: Vec<CommitSha> = Vec::new();
    for commit in approved.iter().chain(proposed) {
        if *commit != pull.head && !wanted.contains(commit) && wanted.len() < COMMITS {
            wanted.push(commit.clone());
        }
    }
    for commit in wanted {
        match client.get_commit_tree(&commit).await {
            Ok(found) => fact.trees.push((commit, found.tree)),
            // Gone: nobody can tell any more what was approved.
            Err(GitHubError::NotFound(_) | GitHubError::Invalid(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(fact)
}

/// The last opinion of each person; a mere comment does not take an opinion back. `reviews` are in GitHub's order,
/// oldest first. A dismissed one stays in the list, so that an older one does not come back.
fn newest_opinions(reviews: Vec<Review>) -> Vec<Review> {
    let mut newest: Vec<Review> = Vec::new();
    let opinion =
        |r: &Review| matches!(r.state, ReviewState::Approved | ReviewState::ChangesRequested | ReviewState::Dismissed);
    for review in reviews.into_iter().filter(|r| !r.is_bot).filter(opinion) {
        let same = |earlier: &Review| match (earlier.user_id, review.user_id) {
            // Deleted accounts share one name and have no number.
            (0, 0) => earlier.login.eq_ignore_ascii_case(&review.login),
            (earlier, now) => earlier == now,
        };
        newest.retain(|earlier| !same(earlier));
        newest.push(review);
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(login: &str, user_id: i64, state: ReviewState) -> Review {
        Review { login: login.to_owned(), user_id, is_bot: login == "robot", state, commit: None, submitted_at: None }
    }

    #[test]
    fn the_last_opinion_of_each_person_counts_and_a_comment_is_none() {
        let opinions = newest_opinions(vec![
            review("ann", 1, ReviewState::Approved),
            review("bob", 2, ReviewState::Approved),
            review("ann-renamed", 1, ReviewState::ChangesRequested),
            review("bob", 2, ReviewState::Commented),
            review("robot", 3, ReviewState::Approved),
            review("ghost", 0, ReviewState::Approved),
            review("ghost", 0, ReviewState::Dismissed),
        ]);
        let seen: Vec<_> = opinions.iter().map(|r| (r.login.as_str(), r.state)).collect();
        assert_eq!(
            seen,
            [
                ("bob", ReviewState::Approved),
                ("ann-renamed", ReviewState::ChangesRequested),
                ("ghost", ReviewState::Dismissed)
            ]
        );
    }

    #[test]
    fn only_the_teams_of_the_command_are_asked_for() {
        let text = "version: 1\npermissions: {promote: {teams: [a/x, a/y]}, canary: {teams: [a/x]}}";
        let policy = Policy::parse(text).expect("a policy");
        let names = |command| {
            let teams = wanted_teams(command, Some(&policy));
            teams.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names(CommandName::Canary), ["a/x"]);
        assert_eq!(names(CommandName::Promote), ["a/x", "a/y"]);
        assert_eq!(names(CommandName::Status), ["a/x", "a/y"]);
        assert_eq!(names(CommandName::Halt), Vec::<String>::new());
    }
}
