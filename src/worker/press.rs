//! A pressed button of a check run: which command it stands for, and whether it is still good.
//!
//! It uses the button up and decides nothing else; the command goes the way of a comment's, with the presser's permission.

use chrono::{DateTime, Utc};

use super::{JobError, Services};
use crate::domain::binding::Given;
use crate::domain::command::{Command, CommandName};
use crate::domain::ids::{CommitSha, PrNumber, RunId};
use crate::domain::report::time;
use crate::github::webhook::RepoFact;
use crate::store::buttons::Button;
use crate::store::runs::Run;

/// What GitHub tells of a press.
pub(super) struct Pressed<'a> {
    /// Where.
    pub repo: &'a RepoFact,
    /// What the check run carries.
    pub external_id: &'a str,
    /// The commit of the check run.
    pub head: &'a CommitSha,
    /// The nonce.
    pub identifier: &'a str,
    /// Who pressed.
    pub login: &'a str,
    /// The delivery it came with.
    pub delivery: &'a str,
    /// When that reached Titan.
    pub reached_at: DateTime<Utc>,
}

/// What a press means.
pub(super) struct Press {
    /// The pull request.
    pub number: PrNumber,
    /// When it was pressed and for which head.
    pub given: Given,
    /// The command that the button stands for, with its commit named when it is only offered.
    pub command: Command,
    /// Why nothing is to be started; `None`: the press counts.
    pub spent: Option<String>,
}

/// Reads a press and uses the button up. `None`: not a check of this repository's runs.
///
/// # Errors
/// When the database says no.
pub(super) async fn read(services: &Services, pressed: &Pressed<'_>) -> Result<Option<Press>, JobError> {
    let Some(run) = run_of(services, pressed).await? else { return Ok(None) };
    // The event does not say when the button was pressed; one that came late was first sent about then.
    let at = services.store.find_first_attempt(pressed.delivery).await?.unwrap_or(pressed.reached_at);
    let given = Given { at, reached_at: pressed.reached_at, head: Some(pressed.head.clone()) };
    let button = services.store.find_button(pressed.identifier).await?;
    let ours = button.filter(|button| button.run == run.id);
    let Some(button) = ours else {
        // An earlier release named its buttons after their commands.
        let name = CommandName::ALL.into_iter().find(|name| name.as_str() == pressed.identifier);
        let command = ready(&run, name.unwrap_or(CommandName::Status), pressed.head);
        let spent = Some("Titan does not know this button any more".to_owned());
        return Ok(Some(Press { number: run.number, given, command, spent }));
    };
    let spent = match why_not(&button, pressed) {
        Some(why) => Some(why),
        None if services.store.use_button(pressed.identifier, pressed.login, pressed.delivery, at).await? => None,
        None => {
            // Asked again, because somebody may have pressed between the two.
            let now = services.store.find_button(pressed.identifier).await?.unwrap_or(button.clone());
            Some(why_spent(&now))
        }
    };
    let command = match spent {
        Some(_) => ready(&run, button.command, &button.head),
        None => Command { project: run.project.clone(), ..Command::bare(button.command) },
    };
    Ok(Some(Press { number: run.number, given, command, spent }))
}

/// The run that posted the check, when it belongs to this repository.
async fn run_of(services: &Services, pressed: &Pressed<'_>) -> Result<Option<Run>, JobError> {
    let id = pressed.external_id.split(':').next().and_then(|id| id.parse::<RunId>().ok());
    let Some(id) = id else { return Ok(None) };
    Ok(services.store.find_run(id).await?.filter(|run| run.repo.same(&pressed.repo.name)))
}

/// The command as a person would write it, for this commit.
fn ready(run: &Run, name: CommandName, head: &CommitSha) -> Command {
    let commit = (name != CommandName::Status).then(|| head.short().parse().ok()).flatten();
    Command { project: run.project.clone(), commit, ..Command::bare(name) }
}

fn why_not(button: &Button, pressed: &Pressed<'_>) -> Option<String> {
    (button.head != *pressed.head).then(|| {
        format!("the button is for `{}`, but it was pressed on `{}`", button.head.short(), pressed.head.short())
    })
}

fn why_spent(button: &Button) -> String {
    match &button.used {
        Some((at, by)) => {
            let by = crate::domain::markdown::inline_code(by);
            format!("{by} pressed this button at {}, and a button is good for one press", time(*at))
        }
        None => format!("this button was good until {}", time(button.expires_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_is_for_its_own_commit_only() {
        let sha = |digit: char| digit.to_string().repeat(40).parse::<CommitSha>().expect("a commit id");
        let button = Button {
            run: RunId(uuid::Uuid::nil()),
            check_name: "titan/build".to_owned(),
            command: CommandName::Canary,
            head: sha('a'),
            expires_at: crate::clock::now(),
            used: None,
        };
        let repo = RepoFact {
            id: 1,
            name: "acme/shop".parse().expect("a name"),
            installation: None,
            private: false,
            default_branch: None,
        };
        let on = |head: &CommitSha| {
            let (external_id, identifier, login, delivery) = ("", "", "carol", "1");
            let reached_at = crate::clock::now();
            why_not(&button, &Pressed { repo: &repo, external_id, head, identifier, login, delivery, reached_at })
        };
        assert_eq!(on(&sha('a')), None);
        assert!(on(&sha('b')).is_some_and(|why| why.contains("`aaaaaaa`") && why.contains("`bbbbbbb`")));
    }
}
