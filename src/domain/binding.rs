//! Which head a command means: the one that the person saw.
//!
//! A comment's payload carries no head commit and git's dates can be forged, so the ledger of heads decides, which is
//! written from GitHub's own events.

use chrono::{DateTime, TimeDelta, Utc};

use super::command::{Command, CommandName};
use super::ids::CommitSha;
use super::snapshot::HeadBinding;

/// A push this close to a command leaves open which head the person saw.
const TOO_CLOSE: TimeDelta = TimeDelta::seconds(3);

/// When and how a command was given.
#[derive(Debug, Clone)]
pub struct Given {
    /// When.
    pub at: DateTime<Utc>,
    /// When Titan learned of it.
    pub reached_at: DateTime<Utc>,
    /// The head that came with it (label and button events carry one).
    pub head: Option<CommitSha>,
}

impl Given {
    /// Given at this moment, to Titan itself.
    pub fn now(now: DateTime<Utc>, head: Option<CommitSha>) -> Self {
        Self { at: now, reached_at: now, head }
    }
}

/// Binds a command to a head. `ledger` holds the heads that the change had since when, oldest first; `head` is the head
/// now.
pub fn bind(command: &Command, given: &Given, ledger: &[(CommitSha, DateTime<Utc>)], head: &CommitSha) -> HeadBinding {
    if let Some(prefix) = &command.commit {
        // Seven digits are no secret: whoever pushes can look for a commit that begins with the same ones.
        let other = ledger.iter().map(|(known, _)| known).find(|known| *known != head && prefix.matches(known));
        return match (prefix.matches(head), other) {
            (true, Some(other)) => HeadBinding::Collides { other: other.clone() },
            (true, None) => HeadBinding::Current,
            (false, _) => HeadBinding::Other { meant: prefix.to_string() },
        };
    }
    if let Some(came_with) = &given.head {
        return match came_with == head {
            true => HeadBinding::Current,
            false => HeadBinding::Other { meant: came_with.short().to_owned() },
        };
    }
    // A proposal changes nothing outside: building the newest head is what anybody would mean.
    if command.name == CommandName::Propose {
        return HeadBinding::Current;
    }
    let moves: Vec<(&CommitSha, &CommitSha, DateTime<Utc>)> = ledger
        .windows(2)
        .filter(|pair| pair[0].0 != pair[1].0)
        .map(|pair| (&pair[0].0, &pair[1].0, pair[1].1))
        .collect();
    if let Some((before, _, _)) = moves.iter().find(|(_, _, at)| (*at - given.at).abs() <= TOO_CLOSE) {
        return HeadBinding::Ambiguous { before: Some((*before).clone()) };
    }
    if let Some((before, _, _)) = moves.iter().find(|(_, _, at)| *at > given.at) {
        return HeadBinding::Other { meant: before.short().to_owned() };
    }
    match ledger.last() {
        // The push's own event has not arrived, so nobody knows when it happened.
        Some((last, _)) if last != head => HeadBinding::Ambiguous { before: Some(last.clone()) },
        _ => HeadBinding::Current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(digit: char) -> CommitSha {
        digit.to_string().repeat(40).parse().expect("a commit id")
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time")
    }

    fn canary(commit: Option<&str>) -> Command {
        let commit = commit.map(|c| c.parse().expect("a prefix"));
        Command { commit, ..Command::bare(CommandName::Canary) }
    }

    #[test]
    fn a_command_means_the_head_that_was_there_when_it_was_given() {
        let ledger = [(sha('a'), at(0)), (sha('b'), at(100))];
        let given = |seconds| Given::now(at(seconds), None);
        let other = |meant: &str| HeadBinding::Other { meant: meant.to_owned() };
        assert_eq!(bind(&canary(None), &given(200), &ledger, &sha('b')), HeadBinding::Current);
        assert_eq!(bind(&canary(None), &given(50), &ledger, &sha('b')), other("aaaaaaa"));
        assert_eq!(
            bind(&canary(None), &given(102), &ledger, &sha('b')),
            HeadBinding::Ambiguous { before: Some(sha('a')) }
        );
        assert_eq!(
            bind(&canary(None), &given(98), &ledger, &sha('b')),
            HeadBinding::Ambiguous { before: Some(sha('a')) }
        );
        assert_eq!(
            bind(&canary(None), &given(200), &ledger, &sha('c')),
            HeadBinding::Ambiguous { before: Some(sha('b')) }
        );
    }

    #[test]
    fn opening_is_no_push_and_an_empty_ledger_hides_nothing() {
        let given = Given::now(at(1), None);
        assert_eq!(bind(&canary(None), &given, &[(sha('a'), at(0))], &sha('a')), HeadBinding::Current);
        assert_eq!(bind(&canary(None), &given, &[], &sha('a')), HeadBinding::Current);
    }

    #[test]
    fn a_named_commit_decides_whatever_the_ledger_says() {
        let given = Given::now(at(102), None);
        let ledger = [(sha('a'), at(0)), (sha('b'), at(100))];
        assert_eq!(bind(&canary(Some("bbbbbbb")), &given, &ledger, &sha('b')), HeadBinding::Current);
        let meant = "aaaaaaa".to_owned();
        assert_eq!(bind(&canary(Some("aaaaaaa")), &given, &ledger, &sha('b')), HeadBinding::Other { meant });
    }

    #[test]
    fn a_commit_that_two_heads_begin_with_is_not_guessed() {
        let given = Given::now(at(102), None);
        let twin: CommitSha = format!("bbbbbbb{}", "c".repeat(33)).parse().expect("a commit id");
        let ledger = [(sha('b'), at(0)), (twin.clone(), at(100))];
        let bound = |commit: &str| bind(&canary(Some(commit)), &given, &ledger, &twin);
        assert_eq!(bound("bbbbbbb"), HeadBinding::Collides { other: sha('b') });
        assert_eq!(bound("bbbbbbbc"), HeadBinding::Current);
        assert_eq!(bound("bbbbbbbb"), HeadBinding::Other { meant: "bbbbbbbb".to_owned() });
    }

    #[test]
    fn a_button_is_bound_to_its_own_commit() {
        let given = Given::now(at(500), Some(sha('a')));
        let meant = "aaaaaaa".to_owned();
        assert_eq!(bind(&canary(None), &given, &[], &sha('b')), HeadBinding::Other { meant });
    }
}
