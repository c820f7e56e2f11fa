//! Which head a command means: the one that the person saw.
//!
//! A comment's payload carries no head commit and git's dates can be forged, so the ledger of heads decides, which is
//! written from GitHub's own events.

use chrono::{DateTime, TimeDelta, Utc};

use super::command::{Command, CommandName};
use super::ids::CommitSha;
use super::ledger::{Entry, Source};
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

/// What is known of a change's heads.
#[derive(Debug, Clone, Copy)]
pub struct Heads<'a> {
    /// The ledger, in its order.
    pub ledger: &'a [Entry],
    /// The head now.
    pub now: &'a CommitSha,
    /// Since when nothing about the pull request changed, as GitHub says.
    pub quiet_since: Option<DateTime<Utc>>,
}

/// Binds a command to a head.
pub fn bind(command: &Command, given: &Given, heads: Heads<'_>) -> HeadBinding {
    let Heads { ledger, now: head, quiet_since } = heads;
    if let Some(prefix) = &command.commit {
        // Seven digits are no secret: whoever pushes can look for a commit that begins with the same ones.
        let known = ledger.iter().flat_map(|entry| [Some(&entry.head), entry.before.as_ref()]).flatten();
        let other = known.into_iter().find(|known| *known != head && prefix.matches(known));
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
    let Some((first, last)) = ledger.first().zip(ledger.last()) else {
        // Nobody told of a head, but nothing has happened since well before the command.
        let quiet = quiet_since.is_some_and(|since| since < given.at - TOO_CLOSE);
        return if quiet { HeadBinding::Current } else { HeadBinding::Ambiguous { before: None } };
    };
    let moves = moves(ledger);
    if let Some((before, _)) = moves.iter().find(|(_, at)| (*at - given.at).abs() <= TOO_CLOSE) {
        return HeadBinding::Ambiguous { before: Some((*before).clone()) };
    }
    if let Some((before, _)) = moves.iter().find(|(_, at)| *at > given.at) {
        return HeadBinding::Other { meant: before.short().to_owned() };
    }
    // The ledger begins after the command, and not with the pull request: nobody knows what was there before.
    if first.at > given.at && first.source != Source::Opened {
        return HeadBinding::Ambiguous { before: None };
    }
    // The push's own event has not arrived, so nobody knows when it happened.
    if last.head != *head {
        return HeadBinding::Ambiguous { before: Some(last.head.clone()) };
    }
    HeadBinding::Current
}

/// When the head moved, and from what. A push of which the ledger has no earlier entry names the head before.
fn moves(ledger: &[Entry]) -> Vec<(&CommitSha, DateTime<Utc>)> {
    let first = ledger.first().and_then(|first| Some((first.before.as_ref()?, first.at)));
    let later = ledger.windows(2).map(|pair| match &pair[1].before {
        // Another push was missed in between; this one's own word is nearer.
        Some(before) if *before != pair[1].head => (before, &pair[1]),
        _ => (&pair[0].head, &pair[1]),
    });
    let later = later.filter(|(before, entry)| **before != entry.head).map(|(before, entry)| (before, entry.at));
    first.into_iter().chain(later).collect()
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

    fn entry(digit: char, seconds: i64, source: Source) -> Entry {
        Entry { head: sha(digit), at: at(seconds), before: None, source }
    }

    fn bound(command: &Command, given: &Given, ledger: &[Entry], head: &CommitSha) -> HeadBinding {
        bind(command, given, Heads { ledger, now: head, quiet_since: None })
    }

    fn canary(commit: Option<&str>) -> Command {
        let commit = commit.map(|c| c.parse().expect("a prefix"));
        Command { commit, ..Command::bare(CommandName::Canary) }
    }

    fn given(seconds: i64) -> Given {
        Given::now(at(seconds), None)
    }

    fn other(meant: char) -> HeadBinding {
        HeadBinding::Other { meant: meant.to_string().repeat(7) }
    }

    fn ambiguous(before: char) -> HeadBinding {
        HeadBinding::Ambiguous { before: Some(sha(before)) }
    }

    /// Opened with a, b pushed 100 s later.
    fn two_heads() -> [Entry; 2] {
        [entry('a', 0, Source::Opened), entry('b', 100, Source::Event)]
    }

    #[test]
    fn a_command_means_the_head_that_was_there_when_it_was_given() {
        for (seconds, head, expected) in [
            (200, 'b', HeadBinding::Current),
            (50, 'b', other('a')),
            (102, 'b', ambiguous('a')),
            (98, 'b', ambiguous('a')),
            (200, 'c', ambiguous('b')),
        ] {
            let found = bound(&canary(None), &given(seconds), &two_heads(), &sha(head));
            assert_eq!(found, expected, "given at {seconds}, the head is {head}");
        }
    }

    #[test]
    fn what_the_ledger_does_not_know_is_not_guessed() {
        let event = |before| Entry { before: Some(sha(before)), ..entry('b', 60, Source::Event) };
        let unknown = HeadBinding::Ambiguous { before: None };
        for (ledger, seconds, expected) in [
            (vec![entry('b', 60, Source::Opened)], 1, HeadBinding::Current),
            (vec![entry('b', 60, Source::Event)], 1, unknown.clone()),
            (vec![entry('b', 60, Source::Look)], 1, unknown.clone()),
            (vec![entry('b', 60, Source::Look)], 70, HeadBinding::Current),
            (vec![event('a')], 1, other('a')),
            (vec![event('a')], 61, ambiguous('a')),
            (vec![event('a')], 70, HeadBinding::Current),
            (vec![entry('c', 0, Source::Opened), event('a')], 1, other('a')),
            (vec![], 70, unknown),
        ] {
            assert_eq!(bound(&canary(None), &given(seconds), &ledger, &sha('b')), expected, "{ledger:?} at {seconds}");
        }
    }

    #[test]
    fn a_pull_request_that_nobody_told_of_has_its_head_since_it_was_last_changed() {
        let bound = |since| {
            let (ledger, now, quiet_since): (&[Entry], _, _) = (&[], &sha('a'), Some(at(since)));
            bind(&canary(None), &given(100), Heads { ledger, now, quiet_since })
        };
        assert_eq!(bound(90), HeadBinding::Current);
        for since in [97, 100, 110] {
            assert_eq!(bound(since), HeadBinding::Ambiguous { before: None }, "changed at {since}");
        }
    }

    #[test]
    fn a_named_commit_decides_whatever_the_ledger_says() {
        let bound = |commit: &str| bound(&canary(Some(commit)), &given(102), &two_heads(), &sha('b'));
        assert_eq!(bound("bbbbbbb"), HeadBinding::Current);
        assert_eq!(bound("aaaaaaa"), other('a'));
    }

    #[test]
    fn a_commit_that_two_heads_begin_with_is_not_guessed() {
        let twin: CommitSha = format!("bbbbbbb{}", "c".repeat(33)).parse().expect("a commit id");
        let ledger = [entry('b', 0, Source::Opened), Entry { head: twin.clone(), ..entry('b', 100, Source::Event) }];
        let bound = |commit: &str| bound(&canary(Some(commit)), &given(102), &ledger, &twin);
        assert_eq!(bound("bbbbbbb"), HeadBinding::Collides { other: sha('b') });
        assert_eq!(bound("bbbbbbbc"), HeadBinding::Current);
        assert_eq!(bound("bbbbbbbb"), HeadBinding::Other { meant: "bbbbbbbb".to_owned() });
    }

    #[test]
    fn a_button_is_bound_to_its_own_commit() {
        let given = Given { head: Some(sha('a')), ..given(500) };
        assert_eq!(bound(&canary(None), &given, &[], &sha('b')), other('a'));
    }
}
