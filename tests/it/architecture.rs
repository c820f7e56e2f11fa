//! The house's rules, held against the sources: who may use whom, and what is done in one place only.
//!
//! It reads the program's own text and knows no behaviour. A rule that must change is changed here and in
//! `docs/architecture.md` together.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may use, besides itself.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &[]),
    ("redact", &["domain"]),
    ("config", &["domain", "redact"]),
    ("check_policy", &["domain"]),
    ("audit", &["domain", "store"]),
    ("outbound", &[]),
    ("postgres", &[]),
    ("claim", &["clock"]),
    ("github", &["domain", "claim", "clock", "redact"]),
    ("render", &["domain", "claim", "clock", "redact", "outbound"]),
    ("probe", &["domain", "clock", "outbound"]),
    ("checkout", &["domain", "redact"]),
    ("sandbox", &["domain", "outbound"]),
    ("scratch", &["sandbox"]),
    ("store", &["domain", "clock"]),
    // Of GitHub only what a webhook is; calls to GitHub are forbidden by a rule of their own below.
    ("http", &["domain", "clock", "store", "github"]),
    (
        "worker",
        &["domain", "claim", "clock", "redact", "store", "github", "render", "probe", "checkout", "sandbox", "scratch"],
    ),
    (
        "app",
        &["config", "redact", "store", "github", "render", "probe", "postgres", "sandbox", "scratch", "http", "worker"],
    ),
    // For trying Titan and for its tests: it may hold everything, and only `main` holds it.
    ("playground", &["*"]),
    ("main", &["app", "audit", "check_policy", "config", "domain", "playground", "sandbox", "store", "worker"]),
    ("lib", &["*"]),
];

/// What `domain` may not touch: it decides, so it neither waits nor looks nor acts.
const NOT_IN_DOMAIN: &[&str] = &[
    "tokio",
    "axum",
    "sqlx",
    "reqwest",
    "octocrab",
    "hyper",
    "tower",
    "tracing",
    "metrics",
    "async fn",
    "std::fs",
    "std::env",
    "std::process",
    "SystemTime",
    "Instant",
    "Utc::now",
];

/// Something that is done in one place only: what, how it looks, and the beginnings of the paths where it may stand.
const ONE_PLACE: &[(&str, &[&str], &[&str])] = &[
    ("SQL", &["sqlx::query", "sqlx::raw_sql", "QueryBuilder"], &["store/"]),
    ("asking for the time", &["Utc::now", "Local::now"], &["clock.rs"]),
    ("reading the environment", &["env::var"], &["config.rs"]),
    (
        "starting processes",
        &["Command::new", "::fork("],
        &["checkout.rs", "checkout/", "sandbox", "postgres.rs", "postgres/", "playground/"],
    ),
    ("speaking to GitHub as a client", &["octocrab::"], &["github/"]),
    // One door: every surface becomes a command in the intake, and only what comes out of `decide` starts a run.
    ("deciding about a command", &["plan::decide", " decide(command", "plan::{Answer"], &["worker/intake", "domain/"]),
    ("starting a run", &[".start_run("], &["worker/intake"]),
    ("making a plan", &["Plan { kind"], &["domain/plan"]),
    ("rolling back without a command", &["automatic_rollback("], &["domain/plan", "worker/steps"]),
];

/// One file of the program.
struct Source {
    /// From `src/` on, with `/` between folders.
    path: String,
    /// The text without whole-line comments, which may name anything.
    code: String,
    /// The text as it is.
    text: String,
}

impl Source {
    /// The room that it belongs to: the first part of its path.
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Whether the whole file is a test.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The code above the tests that stand at the end of a file: tests may measure time and start things.
    fn code_without_tests(&self) -> &str {
        self.code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
    }

    /// The rooms that it names, in paths that begin at the crate's root.
    fn rooms_used(&self) -> BTreeSet<&str> {
        let from_root = |prefix: &'static str| {
            self.code.match_indices(prefix).filter_map(move |(at, _)| {
                let before = self.code[..at].chars().next_back();
                let starts_here = !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | ':'));
                starts_here.then(|| first_word(&self.code[at + prefix.len()..]))
            })
        };
        let mut used: BTreeSet<&str> = from_root("crate::").chain(from_root("titan::")).collect();
        used.extend(self.code.lines().filter_map(|line| self.room_above(line)));
        used
    }

    /// The room that a `use super::…` of the file itself reaches when it climbs to the crate's root.
    fn room_above<'l>(&self, line: &'l str) -> Option<&'l str> {
        let mut rest = line.strip_prefix("use ")?;
        let mut climbed = 0;
        while let Some(above) = rest.strip_prefix("super::") {
            (rest, climbed) = (above, climbed + 1);
        }
        let depth = self.path.split('/').filter(|part| *part != "mod.rs").count();
        (climbed >= depth).then(|| first_word(rest))
    }
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Every source file of the program, in the order of paths.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("text");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let path = path.strip_prefix(&root).expect("below src").to_str().expect("UTF-8").to_owned();
        Source { path, code, text }
    };
    let sources: Vec<Source> = files.into_iter().map(source).collect();
    assert!(sources.len() > 40, "the sources were found");
    sources
}

fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "{} rules are broken:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn dependencies_point_one_way() {
    let mut broken = Vec::new();
    for source in sources() {
        let room = source.room();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room) else {
            broken.push(format!("src/{}: the room {room:?} has no place in MAY_USE yet", source.path));
            continue;
        };
        for used in source.rooms_used() {
            let known = MAY_USE.iter().any(|(name, _)| *name == used);
            if used.is_empty() {
                broken.push(format!("src/{}: `crate::{{…}}` hides rooms; one `use` for each room", source.path));
            } else if known && used != room && !allowed.contains(&used) && !allowed.contains(&"*") {
                broken.push(format!("src/{}: {room} may not use {used}", source.path));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn domain_neither_waits_nor_looks_nor_acts() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.room() == "domain" && !source.is_test()) {
        for forbidden in NOT_IN_DOMAIN {
            let code = source.code_without_tests();
            let whole = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let ends = |at: usize| !code[at + forbidden.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
            if code.match_indices(forbidden).any(|(at, _)| whole(at) && ends(at)) {
                broken.push(format!("src/{}: {forbidden}", source.path));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn http_makes_no_call_to_github() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.room() == "http") {
        for (at, _) in source.code.match_indices("crate::github::") {
            let used = first_word(&source.code[at + "crate::github::".len()..]);
            if used != "webhook" {
                broken.push(format!("src/{}: crate::github::{used}", source.path));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn what_is_done_in_one_place_is_done_nowhere_else() {
    let mut broken = Vec::new();
    for source in sources() {
        for (what, signs, places) in ONE_PLACE {
            if places.iter().any(|place| source.path.starts_with(place)) {
                continue;
            }
            broken.extend(
                signs
                    .iter()
                    .filter(|sign| source.code.contains(**sign))
                    .map(|sign| format!("src/{}: {what} ({sign}) belongs to {}", source.path, places.join(", "))),
            );
        }
    }
    assert_none(&broken);
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent =
        |source: &Source| !source.text.starts_with("//! ") || source.text.lines().next().unwrap_or("").len() < 12;
    let broken: Vec<String> =
        sources().iter().filter(|source| silent(source)).map(|source| format!("src/{}", source.path)).collect();
    assert_none(&broken);
}

#[test]
fn migrations_are_named_and_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder).expect("migrations") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("UTF-8").to_owned();
        let text = fs::read_to_string(&path).expect("text");
        assert!(text.starts_with("-- "), "{name} begins with why it is there");
        let (number, words) = name.strip_suffix(".sql").and_then(|n| n.split_once('_')).expect("number_words.sql");
        assert!(number.bytes().all(|b| b.is_ascii_digit()), "{name} begins with a number");
        assert!(words.contains('_'), "{name} names a verb and a noun");
        names.push(name);
    }
    assert!(!names.is_empty());
}

#[test]
fn rooms_are_found_however_they_are_named() {
    let source = |path: &str, code: &str| Source { path: path.to_owned(), code: code.to_owned(), text: String::new() };
    let used = |source: &Source| source.rooms_used().into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(used(&source("store/jobs.rs", "use crate::http::X;\nlet y = crate::clock::now();")), ["clock", "http"]);
    assert_eq!(used(&source("store/jobs.rs", "use super::super::worker::X;\nuse super::Store;")), ["worker"]);
    assert_eq!(used(&source("render.rs", "use super::github::X;")), ["github"]);
    assert_eq!(used(&source("store/mod.rs", "use crate::{http, worker};")), [""]);
    assert!(used(&source("store/mod.rs", "macro!($crate::http::X, subcrate::http)")).is_empty());
}
