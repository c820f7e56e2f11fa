//! Which rule hits which file: a change's files against the policy's protected and allowed paths.
//!
//! Pure. Patterns have gitignore's meaning, judged by `git check-ignore` in the tests: upper and lower case differ, a
//! file below a matched folder is matched, and a later `!pattern` takes an earlier match back unless a folder above
//! the file is matched. Three things are said here that git has no word for: the policy file itself is always
//! protected, as if its rule were the last protected one; so is every file of `/.github/workflows/` that no rule of the
//! policy protects already; and `/` alone, which matches nothing in git, means every file in the allowed paths and in
//! the paths of a project (as a protected path it is refused, because it would protect nothing).
//!
//! [`PathRules::ask`] answers for one name, exactly as git would. [`PathRules::judge`] refuses more than that: see
//! `judge`, `fold` and `links`.

use serde::{Deserialize, Serialize};

use self::pattern::Pattern;
use super::policy::{Diagnostic, PathPolicy};

mod change;
mod collide;
mod fold;
mod judge;
mod links;
mod name;
mod pattern;
mod receipt;

pub use change::{ChangedFile, FileKind, FileMode, FileStatus, TreeEntry, unite};
pub use collide::Collisions;
pub use links::Links;
pub use name::RepoPath;
pub use receipt::{Judged, Judgement, Listed, judge_and_write};

/// The rule that no policy can take away: the policy file.
pub const ALWAYS_PROTECTED: &str = "/.github/titan.yml";
/// The other one: what GitHub runs by itself, with the repository's secrets.
pub const WORKFLOWS: &str = "/.github/workflows/";

/// The compiled rules of one policy.
#[derive(Debug)]
pub struct PathRules {
    protected: RuleList,
    workflows: RuleList,
    allowed: Option<RuleList>,
}

/// The answer for one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathAnswer {
    /// The path that was asked about.
    pub path: String,
    /// Whether a protected pattern hits it.
    pub protected: bool,
    /// Whether it is inside the allowed paths; true when the policy has none.
    pub allowed: bool,
    /// The pattern that decided, as written in the policy; `None` when no pattern hit. For a protected path it is the
    /// protected pattern. Otherwise it is the `!pattern` that took the protection back, else the allowed pattern that
    /// let the path in or, with `!`, kept it out.
    pub rule: Option<String>,
    /// The protected pattern that hits the path where upper and lower case or forms of Unicode are not told apart. Set
    /// only for a path that is not protected as it is written; a change that touches such a path is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_alike: Option<String>,
}

/// One file that a change may not touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offence {
    /// The side of the file that was hit, as it is shown: what cannot be seen is written out.
    pub path: String,
    /// The path to annotate: the file's path after the change. Empty when GitHub could not take it for a path.
    pub annotate: String,
    /// Why, one sentence of plain text that names the rule and does not repeat `path`. A rule is text from the policy:
    /// escape it where it is shown.
    pub reason: String,
    /// The pattern, when one hit.
    pub rule: Option<String>,
}

impl PathRules {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// A pattern that cannot be compiled, by its text; the place in the file is not known here.
    pub fn new(policy: &PathPolicy) -> Result<Self, Vec<Diagnostic>> {
        let mut found = Vec::new();
        let protected = RuleList::new(&policy.protected, LoneSlash::IsRefused, &mut found);
        let allowed = policy.allowed.as_ref().map(|list| RuleList::new(list, LoneSlash::IsEverything, &mut found));
        if !found.is_empty() {
            return Err(found);
        }
        let mut protected = protected;
        protected.push(ALWAYS_PROTECTED, LoneSlash::IsRefused, &mut found);
        let mut workflows = RuleList(Vec::new());
        workflows.push(WORKFLOWS, LoneSlash::IsRefused, &mut found);
        Ok(Self { protected, workflows, allowed })
    }

    /// Asks about one path (no leading slash, `/` between folders; a `/` at the end makes it a folder).
    ///
    /// What cannot be the path of a file in a repository (empty, with `.` or `..` or nothing between two slashes) is
    /// protected and not allowed.
    pub fn ask(&self, path: impl AsRef<[u8]>) -> PathAnswer {
        let path = path.as_ref();
        let mut answer = self.ask_bytes(path);
        answer.look_alike = if answer.protected { None } else { self.look_alike(path) };
        answer
    }

    /// The same without the look-alikes: what git would say.
    fn ask_bytes(&self, path: &[u8]) -> PathAnswer {
        let answer = |protected: bool, allowed: bool, rule: Option<&str>| PathAnswer {
            path: String::from_utf8_lossy(path).into_owned(),
            protected,
            allowed,
            rule: rule.map(str::to_owned),
            look_alike: None,
        };
        if !is_repository_path(path) {
            return answer(true, false, None);
        }
        let hit = self.protected.decide(path);
        let hit = hit.filter(|hit| hit.matched).or_else(|| self.workflows.decide(path)).or(hit);
        let let_in = self.allowed.as_ref().map(|allowed| allowed.decide(path));
        let allowed = let_in.is_none_or(|hit| hit.is_some_and(|hit| hit.matched));
        let protected = hit.is_some_and(|hit| hit.matched);
        answer(protected, allowed, hit.or(let_in.flatten()).map(|hit| hit.rule))
    }

    /// The protected rule that hits a look-alike of a path, which must not be protected itself. A `!pattern` takes back
    /// only what it hits exactly, so that no look-alike of an open file opens a protected one.
    fn look_alike(&self, path: &[u8]) -> Option<String> {
        let folded = fold::fold(path);
        let opened = self.protected.decide(path).map(|hit| hit.number);
        let from = opened.map_or(0, |number| number + 1);
        let rule = self.protected.first_folded(&folded, from).or_else(|| self.workflows.first_folded(&folded, 0));
        rule.map(str::to_owned)
    }

    /// A protected rule for something below this folder, as far as the rule's text says where that is.
    fn below(&self, folder: &[u8]) -> Option<String> {
        let folder = [folder, b"/"].concat();
        let rules = self.protected.0.iter().chain(&self.workflows.0);
        let mut below = rules.filter(|rule| !rule.exact.negated && rule.exact.is_below(&folder));
        below.next().map(|rule| rule.text.clone())
    }

    /// Whether a `!pattern` of the allowed paths hits the path, and no protected one does.
    fn kept_out_by_rule(&self, path: &[u8]) -> bool {
        self.protected.decide(path).is_none() && self.allowed.as_ref().is_some_and(|list| list.decide(path).is_some())
    }
}

/// Whether a change's files concern a project whose policy has these `paths` patterns; a lone `/` means everything.
/// Both sides of a rename count. Patterns that do not compile (the policy refuses them) concern everything.
pub fn concerns(patterns: &[String], files: &[ChangedFile]) -> bool {
    let mut found = Vec::new();
    let rules = RuleList::new(patterns, LoneSlash::IsEverything, &mut found);
    if !found.is_empty() {
        return true;
    }
    files
        .iter()
        .flat_map(ChangedFile::sides)
        .any(|(path, _)| rules.decide(path.as_bytes()).is_some_and(|hit| hit.matched))
}

/// What is wrong with one pattern, as the policy's reader wants to know it.
///
/// # Errors
/// The second half of a sentence that begins with the pattern.
pub(super) fn check_pattern(text: &str, lone_slash: LoneSlash) -> Result<(), &'static str> {
    lone_slash.read(text).map(|_| ())
}

fn is_repository_path(path: &[u8]) -> bool {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    path.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

/// What `/` alone means in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoneSlash {
    /// Every file, as git's `/*`.
    IsEverything,
    /// A mistake: in git it matches nothing.
    IsRefused,
}

impl LoneSlash {
    fn read(self, text: &str) -> Result<Pattern, &'static str> {
        match (self, text.trim_end_matches(' ')) {
            (Self::IsEverything, "/") => Pattern::parse("/*"),
            _ => Pattern::parse(text),
        }
    }
}

/// Patterns in the order of the policy; the last one that hits decides.
#[derive(Debug)]
struct RuleList(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    /// As written in the policy.
    text: String,
    exact: Pattern,
    /// For the common form of look-alikes; `None` for a rule that takes back.
    folded: Option<Pattern>,
}

/// The rule that decided about a path, and how.
#[derive(Debug, Clone, Copy)]
struct Hit<'a> {
    rule: &'a str,
    /// Its place in the list.
    number: usize,
    matched: bool,
}

impl RuleList {
    fn new(texts: &[String], lone_slash: LoneSlash, found: &mut Vec<Diagnostic>) -> Self {
        let mut list = Self(Vec::with_capacity(texts.len()));
        for text in texts {
            list.push(text, lone_slash, found);
        }
        list
    }

    fn push(&mut self, text: &str, lone_slash: LoneSlash, found: &mut Vec<Diagnostic>) {
        match lone_slash.read(text) {
            Ok(exact) => {
                let folded = if exact.negated { None } else { Pattern::parse_folded(text) };
                self.0.push(Rule { text: text.to_owned(), exact, folded });
            }
            Err(why) => {
                let message = format!("the path pattern {text:?} {why}");
                found.push(Diagnostic { line: 1, column: 1, message, suggestion: None });
            }
        }
    }

    /// The folders above are asked from the top: what is in a matched folder cannot be taken out again.
    fn decide(&self, path: &[u8]) -> Option<Hit<'_>> {
        for slash in slashes(path) {
            if let Some(hit) = self.last_hit(&path[..slash], true).filter(|hit| hit.matched) {
                return Some(hit);
            }
        }
        // git asks the rules about a path with a slash at its end as it is.
        self.last_hit(path, false)
    }

    fn last_hit(&self, path: &[u8], is_folder: bool) -> Option<Hit<'_>> {
        let (number, rule) = self.0.iter().enumerate().rev().find(|(_, rule)| rule.exact.hits(path, is_folder))?;
        Some(Hit { rule: &rule.text, number, matched: !rule.exact.negated })
    }

    /// The first rule from this place on that hits a folded path or a folder above it.
    fn first_folded(&self, path: &[u8], from: usize) -> Option<&str> {
        let rule = self.0.iter().skip(from).find(|rule| {
            rule.folded.as_ref().is_some_and(|pattern| {
                slashes(path).any(|slash| pattern.hits(&path[..slash], true)) || pattern.hits(path, false)
            })
        })?;
        Some(&rule.text)
    }
}

fn slashes(path: &[u8]) -> impl Iterator<Item = usize> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at)
}

#[cfg(test)]
mod tests;
