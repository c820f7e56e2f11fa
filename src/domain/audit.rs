//! The audit log's chain: what an entry's hash is made of, and what a walk along the entries finds wrong. It reads no
//! database and knows nothing of what the entries mean.
//!
//! A chain shows that an entry was changed, removed or inserted. Whoever can write the whole database can also make a
//! new chain from some entry on; that shows only against a position and hash that were kept elsewhere, an [`Anchor`].

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// The hash before the first entry.
pub const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its row.
    pub id: i64,
    /// Its place in the chain, from 1; `None` when it was put in beside the chain.
    pub position: Option<i64>,
    /// The hash of the entry before it, as it is stored.
    pub previous: Option<String>,
    /// Its own hash, as it is stored.
    pub hash: Option<String>,
    /// What it tells, JSON text.
    pub body: String,
}

/// A place in a chain that was kept outside of the database: `position:hash`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The entry's position.
    pub position: i64,
    /// Its hash, hexadecimal.
    pub hash: String,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.position, self.hash)
    }
}

impl FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mistake = || format!("{text:?} is not POSITION:HASH as `titan audit verify` prints it");
        let (position, hash) = text.split_once(':').ok_or_else(mistake)?;
        let position = position.parse().map_err(|_| mistake())?;
        let is_hash = hash.len() == BEGINNING.len() && hash.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then(|| Self { position, hash: hash.to_ascii_lowercase() }).ok_or_else(mistake)
    }
}

/// Something wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    /// An entry does not have the hash that its content gives: it was changed, or put in with a made-up hash.
    Changed {
        /// The entry's position.
        position: i64,
    },
    /// Entries that were there are gone.
    Removed {
        /// The first missing position.
        from: i64,
        /// The last missing position.
        to: i64,
    },
    /// An entry stands beside the chain: it was put in without its hash, or a transaction wrote it past the triggers.
    Inserted {
        /// Its row.
        id: i64,
    },
    /// An entry's link is not the hash of the one before it.
    Unlinked {
        /// The entry's position.
        position: i64,
    },
    /// The chain's end is not what it was told to be when the last entry was written.
    EndMoved {
        /// The last entry that is there.
        seen: i64,
        /// How many entries were written.
        told: i64,
    },
    /// The entry at a position that was kept elsewhere is another one now: the chain was made anew.
    NotAsAnchored {
        /// The position.
        position: i64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { position } => write!(f, "entry {position} was changed after it was written"),
            Self::Removed { from, to } if from == to => write!(f, "entry {from} was removed"),
            Self::Removed { from, to } => write!(f, "entries {from} to {to} were removed"),
            Self::Inserted { id } => write!(f, "row {id} was inserted beside the chain"),
            Self::Unlinked { position } => write!(f, "entry {position} does not follow from the one before it"),
            Self::EndMoved { seen, told } => {
                write!(f, "the chain ends with entry {seen}, but {told} entries were written")
            }
            Self::NotAsAnchored { position } => {
                write!(f, "entry {position} is not the one that was noted elsewhere: the chain was written anew")
            }
        }
    }
}

/// The hash of an entry, hexadecimal.
pub fn hash(previous: &str, installation: i64, position: i64, body: &str) -> String {
    hex::encode(Sha256::digest(format!("{previous}\n{installation}\n{position}\n{body}")))
}

/// A walk along one chain, entry by entry in the order of their positions, so that a long chain need not be in memory.
#[derive(Debug)]
pub struct Walk {
    installation: i64,
    anchor: Option<Anchor>,
    last: i64,
    head: String,
    findings: Vec<Finding>,
}

impl Walk {
    /// Begins before the first entry. `anchor` is a place that was kept elsewhere.
    pub fn new(installation: i64, anchor: Option<Anchor>) -> Self {
        Self { installation, anchor, last: 0, head: BEGINNING.to_owned(), findings: Vec::new() }
    }

    /// Looks at the next entry.
    pub fn step(&mut self, entry: &Entry) {
        let (Some(position), Some(previous), Some(stored)) = (entry.position, &entry.previous, &entry.hash) else {
            self.findings.push(Finding::Inserted { id: entry.id });
            return;
        };
        let gap = position > self.last + 1;
        if gap {
            self.findings.push(Finding::Removed { from: self.last + 1, to: position - 1 });
        } else if position <= self.last {
            self.findings.push(Finding::Inserted { id: entry.id });
            return;
        }
        if *stored != hash(previous, self.installation, position, &entry.body) {
            self.findings.push(Finding::Changed { position });
        } else if !gap && *previous != self.head {
            self.findings.push(Finding::Unlinked { position });
        }
        if self.anchor.as_ref().is_some_and(|anchor| anchor.position == position && anchor.hash != *stored) {
            self.findings.push(Finding::NotAsAnchored { position });
        }
        self.last = position;
        self.head.clone_from(stored);
    }

    /// Ends the walk: `told` is how many entries the chain says it has, and the hash of its end. Gives the end that was
    /// seen, to be kept elsewhere, and everything that is wrong.
    pub fn end(mut self, told: Option<(i64, &str)>) -> (Anchor, Vec<Finding>) {
        let (entries, head) = told.unwrap_or((0, BEGINNING));
        if entries > self.last {
            self.findings.push(Finding::Removed { from: self.last + 1, to: entries });
        } else if entries < self.last || head != self.head {
            self.findings.push(Finding::EndMoved { seen: self.last, told: entries });
        }
        if let Some(anchor) = self.anchor.as_ref().filter(|anchor| anchor.position > self.last.max(entries)) {
            self.findings.push(Finding::Removed { from: self.last.max(entries) + 1, to: anchor.position });
        }
        (Anchor { position: self.last, hash: self.head }, self.findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALLATION: i64 = 7;

    fn chain(bodies: &[&str]) -> Vec<Entry> {
        let mut previous = BEGINNING.to_owned();
        let mut entries = Vec::new();
        for (at, body) in bodies.iter().enumerate() {
            let position = at as i64 + 1;
            let hash = hash(&previous, INSTALLATION, position, body);
            let body = (*body).to_owned();
            let id = position * 10;
            let entry =
                Entry { id, position: Some(position), previous: Some(previous), hash: Some(hash.clone()), body };
            entries.push(entry);
            previous = hash;
        }
        entries
    }

    /// What a walk finds when the chain says that it ends as `original` does.
    fn findings(original: &[Entry], entries: &[Entry], anchor: Option<Anchor>) -> Vec<Finding> {
        let end = original.last().expect("an entry");
        let mut walk = Walk::new(INSTALLATION, anchor);
        entries.iter().for_each(|entry| walk.step(entry));
        walk.end(Some((end.position.expect("a position"), end.hash.as_deref().expect("a hash")))).1
    }

    #[test]
    fn an_untouched_chain_has_no_findings_and_tells_its_end() {
        let entries = chain(&["a", "b", "c"]);
        assert_eq!(findings(&entries, &entries, None), []);
        let anchor = Anchor { position: 2, hash: entries[1].hash.clone().expect("a hash") };
        assert_eq!(findings(&entries, &entries, Some(anchor.clone())), []);
        assert_eq!(anchor.to_string().parse(), Ok(anchor));
    }

    #[test]
    fn what_was_done_to_a_chain_is_named() {
        let good = chain(&["a", "b", "c", "d"]);
        let with = |change: fn(&mut Vec<Entry>)| {
            let mut entries = good.clone();
            change(&mut entries);
            findings(&good, &entries, None)
        };
        assert_eq!(with(|e| e[1].body.push('!')), [Finding::Changed { position: 2 }]);
        assert_eq!(with(|e| e[2].hash = Some(BEGINNING.to_owned()))[0], Finding::Changed { position: 3 });
        assert_eq!(with(|e| drop(e.remove(1))), [Finding::Removed { from: 2, to: 2 }]);
        assert_eq!(with(|e| drop(e.drain(..2))), [Finding::Removed { from: 1, to: 2 }]);
        assert_eq!(with(|e| e.truncate(2)), [Finding::Removed { from: 3, to: 4 }]);
        assert_eq!(with(Vec::clear), [Finding::Removed { from: 1, to: 4 }]);
        let beside = Entry { id: 99, position: None, previous: None, hash: None, body: "x".to_owned() };
        assert_eq!(findings(&good, &[&good[..], &[beside]].concat(), None), [Finding::Inserted { id: 99 }]);
        let swapped = with(|e| {
            let (first, second) = (e[1].body.clone(), e[2].body.clone());
            e[1].body = second;
            e[2].body = first;
        });
        assert_eq!(swapped, [Finding::Changed { position: 2 }, Finding::Changed { position: 3 }]);
    }

    #[test]
    fn an_entry_that_was_written_again_with_its_hash_breaks_the_link_after_it() {
        let good = chain(&["a", "b", "c"]);
        let mut entries = good.clone();
        entries[1].body = "forged".to_owned();
        let previous = entries[1].previous.clone().expect("a hash");
        entries[1].hash = Some(hash(&previous, INSTALLATION, 2, "forged"));
        assert_eq!(findings(&good, &entries, None), [Finding::Unlinked { position: 3 }]);
    }

    #[test]
    fn a_chain_that_was_made_anew_shows_only_against_an_anchor() {
        let (good, forged) = (chain(&["a", "b", "c"]), chain(&["a", "forged", "c"]));
        assert_eq!(findings(&forged, &forged, None), []);
        let anchor = |position: usize| Anchor {
            position: position as i64,
            hash: good[position - 1].hash.clone().expect("a hash"),
        };
        assert_eq!(findings(&forged, &forged, Some(anchor(1))), []);
        assert_eq!(findings(&forged, &forged, Some(anchor(3))), [Finding::NotAsAnchored { position: 3 }]);
        let short = chain(&["a"]);
        assert_eq!(findings(&short, &short, Some(anchor(3))), [Finding::Removed { from: 2, to: 3 }]);
    }

    #[test]
    fn an_anchor_that_cannot_be_read_says_how_it_should_look() {
        for text in ["", "5", "x:00", "5:zz", "5:00"] {
            assert!(text.parse::<Anchor>().expect_err(text).contains("POSITION:HASH"), "{text}");
        }
    }
}
