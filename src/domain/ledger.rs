//! The ledger of a change's heads: which head it had since when, as GitHub's events told it and as Titan saw it. Pure.
//!
//! GitHub's times have seconds, so two pushes can have the same one, and events come in any order. A push names the head
//! before it: that puts the entries of one second into their order.

use std::str::FromStr;

use chrono::{DateTime, Utc};

use super::ids::CommitSha;

/// From what an entry is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The pull request was opened with this head: there was none before.
    Opened,
    /// An event told it.
    Event,
    /// GitHub was asked: it had this head then, and may have had it for a while.
    Look,
}

impl Source {
    /// The word in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Event => "event",
            Self::Look => "look",
        }
    }
}

impl FromStr for Source {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Opened, Self::Event, Self::Look].into_iter().find(|source| source.as_str() == text).ok_or(())
    }
}

/// From `at` on the change had this head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The head.
    pub head: CommitSha,
    /// Since when: GitHub's time of the event, or Titan's of the look.
    pub at: DateTime<Utc>,
    /// The head before, when the event was a push and named it.
    pub before: Option<CommitSha>,
    /// From what it is known.
    pub source: Source,
}

/// Puts entries into the order in which they happened: by second, and within one by the heads that pushes name. Entries
/// that nothing orders stay in the order in which they came.
pub fn in_order(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_key(|entry| entry.at.timestamp());
    let mut ordered: Vec<Entry> = Vec::with_capacity(entries.len());
    let mut rest = entries.into_iter().peekable();
    while let Some(first) = rest.next() {
        let second = first.at.timestamp();
        let mut tied = vec![first];
        while let Some(next) = rest.next_if(|next| next.at.timestamp() == second) {
            tied.push(next);
        }
        while !tied.is_empty() {
            let next = next_of(&tied, ordered.last());
            ordered.push(tied.remove(next));
        }
    }
    ordered
}

/// Which of these, all of one second, comes next after `last`.
fn next_of(tied: &[Entry], last: Option<&Entry>) -> usize {
    let head = last.map(|last| &last.head);
    let follows = |entry: &Entry| head.is_some() && entry.before.as_ref() == head;
    let repeats = |entry: &Entry| head.is_some() && entry.before.is_none() && Some(&entry.head) == head;
    let begins = |entry: &Entry| entry.source == Source::Opened;
    let unled = |entry: &Entry| !tied.iter().any(|other| entry.before.as_ref() == Some(&other.head));
    let earliest = |fits: &dyn Fn(&Entry) -> bool| {
        let found = tied.iter().enumerate().filter(|(_, entry)| fits(entry));
        found.min_by_key(|(place, entry)| (entry.at, *place)).map(|(place, _)| place)
    };
    earliest(&repeats)
        .or_else(|| earliest(&begins))
        .or_else(|| earliest(&follows))
        .or_else(|| earliest(&unled))
        .unwrap_or(0)
}

/// The newest head of an ordered ledger, when it is certain: `None` when GitHub has to be asked.
///
/// It is not certain when entries of the last second are in no chain, or when the last entry is a look at another head
/// than the one before: the clocks of Titan and GitHub differ, so a push told of meanwhile may have come after it.
pub fn newest(ordered: &[Entry], told: &CommitSha) -> Option<CommitSha> {
    let last = ordered.last()?;
    if last.source == Source::Look && last.head != *told {
        return None;
    }
    let second = last.at.timestamp();
    let tied = ordered.iter().rev().take_while(|entry| entry.at.timestamp() == second).count();
    let chained = ordered[ordered.len() - tied..]
        .windows(2)
        .all(|pair| pair[0].head == pair[1].head || pair[1].before.as_ref() == Some(&pair[0].head));
    chained.then(|| last.head.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(digit: char) -> CommitSha {
        digit.to_string().repeat(40).parse().expect("a commit id")
    }

    /// `second source before head`: `1 opened - a`.
    fn entry(text: &str) -> Entry {
        let words: Vec<&str> = text.split(' ').collect();
        let digit = |word: &str| word.chars().next().filter(|c| *c != '-').map(sha);
        Entry {
            at: DateTime::from_timestamp(words[0].parse().expect("a second"), 0).expect("a time"),
            source: words[1].parse().expect("a source"),
            before: digit(words[2]),
            head: digit(words[3]).expect("a head"),
        }
    }

    /// The heads in their order, and whether the newest is certain after `told`.
    fn heads(entries: &[&str], told: char) -> (String, bool) {
        let ordered = in_order(entries.iter().map(|text| entry(text)).collect());
        let heads = ordered.iter().map(|entry| &entry.head.as_str()[..1]).collect();
        (heads, newest(&ordered, &sha(told)).is_some())
    }

    #[test]
    fn what_happened_in_one_second_is_ordered_by_what_it_says_was_before() {
        for (entries, order) in [
            (&["1 opened - a", "2 event a b"][..], "ab"),
            (&["2 event a b", "1 opened - a"], "ab"),
            (&["1 event a b", "1 opened - a"], "ab"),
            (&["1 opened - a", "5 event b c", "5 event a b"], "abc"),
            (&["5 event b c", "5 event a b"], "bc"),
            (&["1 opened - a", "5 event b a", "5 event a b"], "aba"),
            (&["1 opened - a", "5 event - b", "5 event a b"], "abb"),
            (&["1 opened - a", "5 event c d", "5 event a b", "5 event b c"], "abcd"),
        ] {
            assert_eq!(heads(entries, 'a'), (order.to_owned(), true), "{entries:?}");
        }
    }

    #[test]
    fn what_nothing_orders_has_to_be_asked_for() {
        assert!(!heads(&["1 opened - a", "5 event - b", "5 event - c"], 'c').1, "two heads in one second");
        assert!(!heads(&["1 opened - a", "7 look - b", "5 event a c"], 'c').1, "told after a look");
        assert!(heads(&["1 opened - a", "7 look - b", "5 event a b"], 'b').1, "the look saw the push");
        assert!(heads(&["1 opened - a", "5 event a b", "7 event b c"], 'b').1, "a late event changes nothing");
    }
}
