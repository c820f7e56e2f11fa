//! Which rule hits which file: a change's files against the policy's protected and allowed paths.
//!
//! Pure. Patterns have gitignore's meaning, judged by `git check-ignore` in the tests: upper and lower case differ, a
//! file below a matched folder is matched, and a later `!pattern` takes an earlier match back unless a folder above
//! the file is matched. Two things are said here that git has no word for: the policy file itself is always protected,
//! as if its rule were the last protected one; and `/` alone, which matches nothing in git, means every file in the
//! allowed paths and in the paths of a project (as a protected path it is refused, because it would protect nothing).

use serde::{Deserialize, Serialize};

use self::pattern::Pattern;
use super::policy::{Diagnostic, PathPolicy};

mod pattern;

/// The rule that no policy can take away: the policy file.
pub const ALWAYS_PROTECTED: &str = "/.github/titan.yml";

/// One file of a change, as GitHub lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    /// Path after the change.
    pub path: String,
    /// Path before the change, for a rename or copy.
    pub previous_path: Option<String>,
    /// What happened to it.
    pub status: FileStatus,
}

/// GitHub's word for what happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileStatus {
    /// New.
    Added,
    /// Gone.
    Removed,
    /// Other content or mode.
    Modified,
    /// Moved, perhaps changed.
    Renamed,
    /// Copied, perhaps changed.
    Copied,
    /// Mode changed.
    Changed,
    /// Listed without a change.
    Unchanged,
    /// A word that this version does not know; treated as a protected change.
    #[serde(other)]
    Unknown,
}

/// The compiled rules of one policy.
#[derive(Debug)]
pub struct PathRules {
    protected: RuleList,
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
}

/// One file that a change may not touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offence {
    /// The side of the file that was hit.
    pub path: String,
    /// The path to annotate: the file's path after the change.
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
        Ok(Self { protected, allowed })
    }

    /// Asks about one path (no leading slash, `/` between folders; a `/` at the end makes it a folder).
    ///
    /// What cannot be the path of a file in a repository (empty, with `.` or `..` or nothing between two slashes) is
    /// protected and not allowed.
    pub fn ask(&self, path: &str) -> PathAnswer {
        let answer = |protected: bool, allowed: bool, rule: Option<&str>| PathAnswer {
            path: path.to_owned(),
            protected,
            allowed,
            rule: rule.map(str::to_owned),
        };
        if !is_repository_path(path) {
            return answer(true, false, None);
        }
        let hit = self.protected.decide(path);
        let let_in = self.allowed.as_ref().map(|allowed| allowed.decide(path));
        let allowed = let_in.is_none_or(|hit| hit.is_some_and(|hit| hit.matched));
        let protected = hit.is_some_and(|hit| hit.matched);
        answer(protected, allowed, hit.or(let_in.flatten()).map(|hit| hit.rule))
    }

    /// Every offence of a change, in the order of its files, both sides of a rename or copy; empty when it is clean.
    ///
    /// A file whose status is unknown is an offence even when no rule hits it.
    pub fn judge(&self, files: &[ChangedFile]) -> Vec<Offence> {
        let mut offences = Vec::new();
        for file in files {
            let before = offences.len();
            for (path, is_old) in sides(file) {
                if let Some((reason, rule)) = self.offence(path) {
                    let reason = if is_old { format!("its name before the change; {reason}") } else { reason };
                    offences.push(Offence { path: path.to_owned(), annotate: file.path.clone(), reason, rule });
                }
            }
            if file.status == FileStatus::Unknown && offences.len() == before {
                offences.push(Offence {
                    path: file.path.clone(),
                    annotate: file.path.clone(),
                    reason: "GitHub reports a kind of change that this version does not know".to_owned(),
                    rule: None,
                });
            }
        }
        offences
    }

    /// Why a path may not be touched, with the rule.
    fn offence(&self, path: &str) -> Option<(String, Option<String>)> {
        let answer = self.ask(path);
        match (answer.protected, answer.allowed, answer.rule) {
            (true, _, Some(rule)) if rule == ALWAYS_PROTECTED => {
                Some((format!("protected by {rule}, which holds for every policy"), Some(rule)))
            }
            (true, _, Some(rule)) => Some((format!("protected by the rule {rule}"), Some(rule))),
            (true, _, None) => Some(("not a path that a file in a repository can have".to_owned(), None)),
            (false, false, rule) => match rule.filter(|_| self.kept_out_by_rule(path)) {
                Some(rule) => Some((format!("kept out of the allowed paths by {rule}"), Some(rule))),
                None => Some(("outside the allowed paths".to_owned(), None)),
            },
            (false, true, _) => None,
        }
    }

    /// Whether a `!pattern` of the allowed paths hits the path, and no protected one does.
    fn kept_out_by_rule(&self, path: &str) -> bool {
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
    files.iter().flat_map(sides).any(|(path, _)| rules.decide(path).is_some_and(|hit| hit.matched))
}

/// What is wrong with one pattern, as the policy's reader wants to know it.
///
/// # Errors
/// The second half of a sentence that begins with the pattern.
pub(super) fn check_pattern(text: &str, lone_slash: LoneSlash) -> Result<(), &'static str> {
    lone_slash.read(text).map(|_| ())
}

/// Both names of a file, the new one first; true marks the old one.
fn sides(file: &ChangedFile) -> impl Iterator<Item = (&str, bool)> {
    let old = file.previous_path.as_deref().filter(|old| *old != file.path);
    std::iter::once((file.path.as_str(), false)).chain(old.map(|old| (old, true)))
}

fn is_repository_path(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
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
struct RuleList(Vec<(String, Pattern)>);

/// The rule that decided about a path, and how.
#[derive(Debug, Clone, Copy)]
struct Hit<'a> {
    rule: &'a str,
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
            Ok(pattern) => self.0.push((text.to_owned(), pattern)),
            Err(why) => {
                let message = format!("the path pattern {text:?} {why}");
                found.push(Diagnostic { line: 1, column: 1, message, suggestion: None });
            }
        }
    }

    /// The folders above are asked from the top: what is in a matched folder cannot be taken out again.
    fn decide(&self, path: &str) -> Option<Hit<'_>> {
        for (slash, _) in path.match_indices('/') {
            if let Some(hit) = self.last_hit(&path.as_bytes()[..slash], true).filter(|hit| hit.matched) {
                return Some(hit);
            }
        }
        if path.ends_with('/') { None } else { self.last_hit(path.as_bytes(), false) }
    }

    fn last_hit(&self, path: &[u8], is_folder: bool) -> Option<Hit<'_>> {
        let (rule, pattern) = self.0.iter().rev().find(|(_, pattern)| pattern.hits(path, is_folder))?;
        Some(Hit { rule, matched: !pattern.negated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn rules(protected: &[&str], allowed: Option<&[&str]>) -> PathRules {
        PathRules::new(&PathPolicy { protected: strings(protected), allowed: allowed.map(strings) })
            .expect("the patterns are valid")
    }

    fn file(path: &str, status: FileStatus, previous: Option<&str>) -> ChangedFile {
        ChangedFile { path: path.to_owned(), previous_path: previous.map(str::to_owned), status }
    }

    #[test]
    fn a_pattern_hits_what_it_hits_in_git() {
        for (pattern, hit, missed) in [
            ("/.github/", ".github/workflows/ci.yml", ".github"),
            ("/infra/", "infra/a/b", "src/infra/a"),
            ("infra/", "src/infra/a", "src/infra"),
            ("*.tf", "deep/down/main.tf", "main.tf.txt"),
            ("*.tf", "odd.tf/readme", "main.TF"),
            ("/*.tf", "main.tf", "deep/main.tf"),
            ("docs/*.md", "docs/a.md", "docs/deep/a.md"),
            ("docs/**/*.md", "docs/a.md", "src/docs/a.md"),
            ("**/secrets", "a/b/secrets/c", "secretss"),
            ("config/**", "config/a/b", "config"),
            ("a?c", "abc", "a/c"),
            ("a??c", "a\u{e4}c", "a\u{e4}\u{e4}c"),
            ("{a,b}.txt", "{a,b}.txt", "a.txt"),
            ("file[0-9]", "file7", "filex"),
            ("file[!0-9]", "filex", "file7"),
            ("[[:upper:]]*", "Readme", "readme"),
            ("\\#notes", "#notes", "notes"),
            ("\\!important", "!important", "important"),
            ("end  ", "end", "end  "),
            ("end\\ ", "end ", "end"),
            ("with space", "with space", "with"),
            ("\u{65e5}\u{672c}/", "\u{65e5}\u{672c}/x", "\u{65e5}"),
            ("\"quoted\"", "\"quoted\"", "quoted"),
            ("end.", "end.", "end"),
        ] {
            let rules = rules(&[pattern], None);
            let answer = rules.ask(hit);
            assert!(answer.protected, "{pattern:?} must hit {hit:?}");
            assert_eq!(answer.rule.as_deref(), Some(pattern));
            let answer = rules.ask(missed);
            assert!(!answer.protected && answer.rule.is_none(), "{pattern:?} must not hit {missed:?}");
        }
    }

    #[test]
    fn the_last_pattern_decides_but_not_below_a_matched_folder() {
        let rules = rules(&["*.md", "!/README.md", "/docs/", "!/docs/open.md", "/README.md.bak"], None);
        assert!(rules.ask("a.md").protected);
        assert!(!rules.ask("README.md").protected);
        assert_eq!(rules.ask("README.md").rule.as_deref(), Some("!/README.md"));
        assert!(rules.ask("docs/open.md").protected, "git does not look below a matched folder");
        assert_eq!(rules.ask("docs/open.md").rule.as_deref(), Some("/docs/"));
    }

    #[test]
    fn the_policy_file_is_always_protected() {
        let path = ".github/titan.yml";
        for protected in [&[][..], &["!*"], &["!/.github/titan.yml"], &["/.github/*", "!/.github/"]] {
            let answer = rules(protected, None).ask(path);
            assert!(answer.protected, "{protected:?}");
            assert_eq!(answer.rule.as_deref(), Some(ALWAYS_PROTECTED));
        }
        assert_eq!(rules(&["/.github/"], None).ask(path).rule.as_deref(), Some("/.github/"));
        assert!(!rules(&[], None).ask(".github/other.yml").protected);
        assert!(!rules(&[], None).ask("sub/.github/titan.yml").protected);
    }

    #[test]
    fn allowed_paths_keep_everything_else_out() {
        let rules = rules(&["/src/secret/"], Some(&["/src/", "*.md", "!/src.md"]));
        for (path, protected, allowed, rule) in [
            ("src/a.rs", false, true, Some("/src/")),
            ("docs/a.md", false, true, Some("*.md")),
            ("src.md", false, false, Some("!/src.md")),
            ("Makefile", false, false, None),
            ("src/secret/a", true, true, Some("/src/secret/")),
        ] {
            let wanted = PathAnswer { path: path.to_owned(), protected, allowed, rule: rule.map(str::to_owned) };
            assert_eq!(rules.ask(path), wanted);
        }
        let reasons: Vec<String> = ["src.md", "Makefile", "src/secret/a"]
            .iter()
            .flat_map(|path| rules.judge(&[file(path, FileStatus::Modified, None)]))
            .map(|offence| offence.reason)
            .collect();
        assert_eq!(
            reasons,
            [
                "kept out of the allowed paths by !/src.md",
                "outside the allowed paths",
                "protected by the rule /src/secret/"
            ]
        );
    }

    #[test]
    fn a_lone_slash_is_everything_or_a_mistake() {
        let everything = rules(&[], Some(&["/"]));
        assert!(everything.ask("a/b/c").allowed && everything.ask("a").allowed);
        assert_eq!(everything.ask("a/b/c").rule.as_deref(), Some("/"));
        assert!(!rules(&[], Some(&[])).ask("a").allowed, "an empty list lets nothing in");
        let refused = PathRules::new(&PathPolicy { protected: strings(&["/"]), allowed: None });
        assert!(refused.expect_err("it would protect nothing")[0].message.contains("/**"));
    }

    #[test]
    fn patterns_that_can_never_hit_are_refused() {
        for pattern in [
            "",
            "  ",
            "#",
            "# comment",
            "!",
            "!/",
            "a[b",
            "[",
            "[]",
            "[!]",
            "[[:alpha:]",
            "[[:nope:]]",
            "a\\",
            "[a\\",
            "a\nb",
        ] {
            let policy = PathPolicy { protected: strings(&["ok", pattern]), allowed: Some(strings(&[pattern])) };
            let found = PathRules::new(&policy).expect_err(pattern);
            assert_eq!(found.len(), 2, "{pattern:?}: one in each list");
        }
    }

    #[test]
    fn no_path_outside_the_repository_gets_through() {
        let rules = rules(&[], Some(&["/"]));
        for path in ["", "/", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/.", ".."] {
            let answer = rules.ask(path);
            assert!(answer.protected && !answer.allowed, "{path:?}");
            assert_eq!(rules.judge(&[file(path, FileStatus::Added, None)]).len(), 1);
        }
    }

    #[test]
    fn both_sides_of_a_rename_are_judged() {
        let rules = rules(&["/infra/"], None);
        for status in [FileStatus::Renamed, FileStatus::Copied] {
            let out = rules.judge(&[file("src/a", status, Some("infra/a"))]);
            assert_eq!(out.len(), 1);
            assert_eq!((out[0].path.as_str(), out[0].annotate.as_str()), ("infra/a", "src/a"));
            assert_eq!(out[0].reason, "its name before the change; protected by the rule /infra/");
            let into = rules.judge(&[file("infra/a", status, Some("src/a"))]);
            assert_eq!((into.len(), into[0].path.as_str()), (1, "infra/a"));
            assert_eq!(rules.judge(&[file("infra/a", status, Some("infra/b"))]).len(), 2);
        }
        assert!(rules.judge(&[file("src/a", FileStatus::Removed, None)]).is_empty());
        assert_eq!(rules.judge(&[file("infra/a", FileStatus::Removed, None)]).len(), 1);
    }

    #[test]
    fn an_unknown_status_is_an_offence() {
        let rules = rules(&["/infra/"], None);
        let unknown =
            rules.judge(&[file("src/a", FileStatus::Unknown, None), file("infra/a", FileStatus::Unknown, None)]);
        assert_eq!(unknown.len(), 2);
        assert_eq!(unknown[0].rule, None);
        assert_eq!(unknown[1].rule.as_deref(), Some("/infra/"));
    }

    #[test]
    fn a_project_is_concerned_by_its_own_files() {
        let change = [file("web/a", FileStatus::Renamed, Some("api/a")), file("docs/x", FileStatus::Added, None)];
        assert!(concerns(&strings(&["/"]), &change));
        assert!(concerns(&strings(&["/web/"]), &change));
        assert!(concerns(&strings(&["/api/"]), &change), "the old name counts");
        assert!(!concerns(&strings(&["/mobile/"]), &change));
        assert!(!concerns(&strings(&["/docs/", "!/docs/"]), &change));
        assert!(!concerns(&strings(&["/"]), &[]));
        assert!(concerns(&strings(&["[broken"]), &[]), "closed when in doubt");
    }

    #[test]
    fn no_pattern_takes_long() {
        let rules = rules(&["*a*a*a*a*a*a*a*a*a*a*b", "**/a*/**/a*/**/a*/**/b"], None);
        let begun = std::time::Instant::now();
        assert!(!rules.ask(&"a/".repeat(500).trim_end_matches('/').replace("a/a", "aaaa/a")).protected);
        assert!(!rules.ask(&"a".repeat(4_000)).protected);
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "took {:?}", begun.elapsed());
    }
}
