//! Path rules judged by git: thousands of generated patterns and paths, asked in one `git check-ignore`.
//!
//! Every case is a folder of its own with its own `.gitignore` in one throw-away repository, so that one process
//! answers all of them. The paths do not exist on disk, so git, like Titan, takes them for files.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use titan::domain::paths::PathRules;
use titan::domain::policy::PathPolicy;

/// Patterns as one list, and the paths to ask about.
#[derive(Debug, Clone)]
struct Case {
    patterns: Vec<String>,
    paths: Vec<String>,
}

/// Pieces that have a meaning in a pattern, or are letters that the paths have too.
#[rustfmt::skip]
const ODD_PIECES: [&str; 62] = [
    "A", ".tf", ".", "-", "x y", " ", "\u{e4}", "\u{65e5}", "\"", "'", "{a,b}", "{", "}", "$", "+", "(", "|", "^",
    "***", "/**", "**/", "/**/", "/*", "*/", "[ab]", "[a-c]", "[!a]", "[^a]", "[]a]", "[!]a]", "[a-]", "[-a]", "[c-a]",
    "[\\]]", "[\\-b]", "[a\\-c]", "[!-~]", "[[:alpha:]]", "[[:upper:][:digit:]]", "[[:space:]]", "[![:alnum:]]",
    "[[:x:]", "[[a]", "[a[b]", "[[:punct:]-z]", "\\*", "\\?", "\\[", "\\\\", "\\a", "\\ ", "\\!", "\\#", "!", "#",
    "]", "\\/", "\t", "[\u{e4}]", "[a-b-c]", "[*]", "[/]",
];

/// Pieces of file names.
#[rustfmt::skip]
const ODD_LETTERS: [&str; 34] = [
    "a", "b", "c", "A", "ab", "z", "1", ".tf", ".", "-", " ", "x y", "\u{e4}", "\u{65e5}", "\"", "'", "{", "}", "{a,b}",
    "$", "+", "(", "|", "^", "*", "**", "?", "[", "]", "[ab]", "\\", "!", "\t", "\n",
];

fn any_pattern() -> impl Strategy<Value = String> {
    let plain = proptest::sample::select(vec!["a", "b", "ab", "*", "**", "/", "/", "?"]);
    let piece = prop_oneof![plain, proptest::sample::select(ODD_PIECES.to_vec())];
    let head = proptest::sample::select(vec!["", "", "", "!", "!", "/", "/", "!/", "**/", "\\!", "\\#"]);
    let tail = proptest::sample::select(vec!["", "", "", "", "/", "/", "/**", "/*", " ", "  ", "\\ ", "\\  "]);
    (head, proptest::collection::vec(piece, 1..5), tail)
        .prop_map(|(head, parts, tail)| format!("{head}{}{tail}", parts.concat()))
}

fn any_path() -> impl Strategy<Value = String> {
    // Most names are short and of few letters, so that patterns and paths meet.
    let plain = proptest::sample::select(vec!["a", "b", "ab"]);
    let letter = prop_oneof![3 => plain, 1 => proptest::sample::select(ODD_LETTERS.to_vec())];
    let name = proptest::collection::vec(letter, 1..3).prop_map(|parts| parts.concat());
    // A name that git would not take for one.
    let name = name.prop_map(|name| if matches!(name.as_str(), "." | "..") { "dots".to_owned() } else { name });
    // Nothing in a repository is named with a slash at its end, but git can be asked about it.
    let end = proptest::sample::select(vec!["", "", "", "", "", "/"]);
    (proptest::collection::vec(name, 1..5), end).prop_map(|(names, end)| names.join("/") + end)
}

fn any_case() -> impl Strategy<Value = Case> {
    let few = proptest::collection::vec(any_pattern(), 1..4);
    (few, proptest::collection::vec(any_path(), 12))
        .prop_map(|(patterns, paths)| Case { patterns, paths })
        .prop_filter("only patterns that Titan takes", |case| rules(&case.patterns).is_some())
        .prop_map(|mut case| {
            // Paths made from the patterns hit more often than random ones.
            for pattern in case.patterns.clone() {
                let bare = pattern.trim_matches(['!', '/', ' ']).replace("**", "a").replace(['*', '?'], "b");
                let path: Vec<&str> = bare.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
                if !path.is_empty() {
                    case.paths.extend([
                        path.join("/"),
                        format!("{}/c", path.join("/")),
                        format!("c/{}", path.join("/")),
                    ]);
                }
            }
            case
        })
}

fn rules(patterns: &[String]) -> Option<PathRules> {
    PathRules::new(&PathPolicy { protected: patterns.to_vec(), allowed: None }).ok()
}

/// What git says of every path of every case: the number of the line that decided, from 1, if one did.
fn ask_git(folder: &Path, cases: &[Case]) -> HashMap<(usize, String), Option<usize>> {
    let git = || {
        let mut git = Command::new("git");
        git.current_dir(folder)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("HOME", folder);
        git
    };
    assert!(git().args(["init", "-q"]).status().expect("git runs").success());
    let mut input = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let root = folder.join(number.to_string());
        std::fs::create_dir(&root).expect("a folder for the case");
        std::fs::write(root.join(".gitignore"), case.patterns.join("\n") + "\n").expect("the patterns are written");
        for path in &case.paths {
            input.extend_from_slice(format!("{number}/{path}\0").as_bytes());
        }
    }
    let mut child = git()
        .args([
            "-c",
            "core.ignoreCase=false",
            "check-ignore",
            "--no-index",
            "--stdin",
            "-z",
            "--verbose",
            "--non-matching",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git starts");
    let mut stdin = child.stdin.take().expect("a pipe to git");
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("git answers");
    writer.join().expect("the writer ends").expect("git reads everything");
    // Exit code 1 says that nothing was hit, which thousands of cases rule out.
    assert!(output.status.success(), "git check-ignore failed: {}", output.status);

    let text = String::from_utf8(output.stdout).expect("the paths are text");
    let fields: Vec<&str> = text.trim_end_matches('\0').split('\0').collect();
    let answers = fields.chunks_exact(4).map(|answer| {
        let (case, path) = answer[3].split_once('/').expect("the case's folder comes first");
        ((case.parse().expect("a number"), path.to_owned()), answer[1].parse().ok())
    });
    answers.collect()
}

#[test]
fn titan_and_git_agree_on_every_path() {
    const CASES: usize = 1_000;
    let mut runner = TestRunner::deterministic();
    let strategy = any_case();
    let cases: Vec<Case> = (0..CASES).map(|_| strategy.new_tree(&mut runner).expect("a case").current()).collect();
    let folder = tempfile::tempdir().expect("a folder for the repository");
    let git = ask_git(folder.path(), &cases);

    let (mut asked, mut hits, mut wrong) = (0, 0, Vec::new());
    for (number, case) in cases.iter().enumerate() {
        let rules = rules(&case.patterns).expect("the strategy gives only such");
        for path in &case.paths {
            let line = git[&(number, path.clone())];
            let wanted = line.map(|line| case.patterns[line - 1].as_str());
            let answer = rules.ask(path);
            // A rule that takes back is still the rule that decided.
            let protected = wanted.is_some_and(|pattern| !pattern.starts_with('!'));
            if answer.rule.as_deref() != wanted || answer.protected != protected {
                wrong.push(format!("{:?} {path:?}: git says {wanted:?}, Titan {:?}", case.patterns, answer.rule));
            }
            asked += 1;
            hits += usize::from(wanted.is_some());
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {asked} differ, for example\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
    assert!(hits * 10 > asked, "only {hits} of {asked} paths were hit by anything; the test would prove little");
}
