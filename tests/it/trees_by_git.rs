//! What differs between two commits, judged by git: random trees with every kind of file and every kind of name.
//!
//! All commits are made by one `git fast-import`; each pair is fetched over HTTP as Titan does it and compared with
//! what `git diff --raw` says in the repository itself.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use secrecy::SecretString;
use titan::checkout::{TreeDiff, diff_trees};
use titan::domain::ids::CommitSha;
use titan::domain::paths::{ChangedFile, FileStatus, PathRules, RepoPath, unite};
use titan::domain::policy::PathPolicy;
use tokio::time::Instant;

use crate::checkout::{TOKEN, git, serve};

const PAIRS: usize = 24;

/// A tree: names and for each a mode with a content, which is a commit for a submodule.
type Tree = BTreeMap<Vec<u8>, (&'static str, Vec<u8>)>;

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    #[rustfmt::skip]
    let parts: Vec<&'static [u8]> = vec![
        b"a", b"b", b"A", b"infra", b"Infra", b"new\nline", b"quo\"te", b"tab\there", b"\xff\xfe", b"caf\xc3\xa9",
        b"cafe\xcc\x81", b"bell\x07", b" lead", b"trail ", b"back\\slash", b"\xe2\x80\xaegpj", b"-dash", b":colon", b"~1",
    ];
    let parts = proptest::sample::select(parts);
    proptest::collection::vec(parts, 1..4).prop_map(|parts| parts.join(&b'/'))
}

fn any_entry() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let text = proptest::sample::select(vec!["one", "two", "three", ""]).prop_map(|text| text.as_bytes().to_vec());
    let target = proptest::sample::select(vec!["a", "../infra", "/etc/passwd", "../../x", "b/\u{e9}", "infra/a"]);
    prop_oneof![
        4 => text.clone().prop_map(|text| ("100644", text)),
        1 => text.prop_map(|text| ("100755", text)),
        2 => target.prop_map(|target| ("120000", target.as_bytes().to_vec())),
        1 => proptest::sample::select(vec!["1", "2"]).prop_map(|digit| ("160000", digit.repeat(40).into_bytes())),
    ]
}

/// A tree and what a change made of it: some entries gone, some other, some new, some under another name.
fn any_pair() -> impl Strategy<Value = (Tree, Tree)> {
    let tree = proptest::collection::btree_map(any_name(), any_entry(), 1..12);
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any_name(), any_entry()), 0..8);
    (tree, edits).prop_map(|(before, edits)| {
        let mut after = before.clone();
        for (index, what, name, entry) in edits {
            let known: Vec<Vec<u8>> = after.keys().cloned().collect();
            let old = (!known.is_empty()).then(|| known[index.index(known.len())].clone());
            match (what, old) {
                (0, Some(old)) => drop(after.remove(&old)),
                (1, Some(old)) => drop(after.insert(old, entry)),
                (2, Some(old)) => {
                    let moved = after.remove(&old).expect("it is known");
                    after.insert(name, moved);
                }
                _ => drop(after.insert(name, entry)),
            }
        }
        (before, after)
    })
}

/// A name as `git fast-import` reads it.
fn quoted(name: &[u8]) -> String {
    let escaped: String = name.iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("\"{escaped}\"")
}

fn write_commit(input: &mut Vec<u8>, branch: &str, mark: usize, from: Option<usize>, tree: &Tree) {
    input.extend(
        format!("commit refs/heads/{branch}\nmark :{mark}\ncommitter T <t@example.com> 1700000000 +0000\ndata 1\nx\n")
            .bytes(),
    );
    if let Some(from) = from {
        input.extend(format!("from :{from}\n").bytes());
    }
    input.extend(b"deleteall\n");
    for (name, (mode, content)) in tree {
        match *mode {
            "160000" => {
                let commit = String::from_utf8_lossy(content);
                input.extend(format!("M 160000 {commit} {}\n", quoted(name)).bytes());
            }
            mode => {
                input.extend(format!("M {mode} inline {}\ndata {}\n", quoted(name), content.len()).bytes());
                input.extend(content);
                input.push(b'\n');
            }
        }
    }
    input.push(b'\n');
}

/// The repository with every pair as the branches `base-N` and `head-N`.
fn write_repository(folder: &Path, pairs: &[(Tree, Tree)]) -> Vec<[CommitSha; 2]> {
    std::fs::create_dir(folder).expect("a folder");
    git(folder, &["init", "-q", "--bare", "."]);
    let mut input = Vec::new();
    for (number, (before, after)) in pairs.iter().enumerate() {
        let mark = 2 * number + 1;
        write_commit(&mut input, &format!("base-{number}"), mark, None, before);
        write_commit(&mut input, &format!("head-{number}"), mark + 1, Some(mark), after);
    }
    let mut import = Command::new("git");
    let mut child =
        import.current_dir(folder).args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().expect("git starts");
    child.stdin.take().expect("a pipe").write_all(&input).expect("git reads");
    assert!(child.wait().expect("git ends").success());
    let commit = |name: String| git(folder, &["rev-parse", &name]).parse().expect("a commit");
    (0..pairs.len()).map(|number| [commit(format!("base-{number}")), commit(format!("head-{number}"))]).collect()
}

/// `git diff --raw` of the repository itself: the words about a file, its old name for a rename, its name.
fn raw(folder: &Path, [base, head]: &[CommitSha; 2], renames: &str) -> Vec<(String, Option<Vec<u8>>, Vec<u8>)> {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["diff", "--raw", "-z", "--no-abbrev", renames, base.as_str(), head.as_str(), "--"])
        .output()
        .expect("git runs");
    assert!(output.status.success());
    let mut fields = output.stdout.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    let mut found = Vec::new();
    while let Some(about) = fields.next() {
        let about = String::from_utf8(about.to_vec()).expect("words").trim_start_matches(':').to_owned();
        let mut name = || fields.next().expect("a name").to_vec();
        let old = about.contains(" R").then(&mut name);
        found.push((about, old, name()));
    }
    found
}

/// A file as `git diff --raw` would say it.
fn said(file: &ChangedFile) -> (String, Option<Vec<u8>>, Vec<u8>) {
    let none = || ("000000".to_owned(), "0".repeat(40));
    let side = |side: &Option<titan::domain::paths::TreeEntry>| {
        side.as_ref().map_or_else(none, |side| (side.mode.to_string(), side.object.clone()))
    };
    let ((old_mode, old), (new_mode, new)) = (side(&file.old), side(&file.new));
    let type_of = |mode: &str| mode[..3].to_owned();
    let status = match (old_mode.as_str(), new_mode.as_str()) {
        ("000000", _) => "A",
        (_, "000000") => "D",
        (old, new) if type_of(old) != type_of(new) => "T",
        _ => "M",
    };
    (format!("{old_mode} {new_mode} {old} {new} {status}"), None, file.path.as_bytes().to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn titan_and_git_see_the_same_files_with_the_same_modes() {
    let mut runner = TestRunner::deterministic();
    let strategy = any_pair();
    let pairs: Vec<(Tree, Tree)> =
        (0..PAIRS).map(|_| strategy.new_tree(&mut runner).expect("a pair").current()).collect();
    let place = tempfile::tempdir().expect("a folder");
    let repository = place.path().join("shop.git");
    let commits = write_repository(&repository, &pairs);
    let (url, _) = serve(place.path()).await;
    let token = SecretString::from(TOKEN);
    let rules = PathRules::new(&PathPolicy { protected: vec!["infra/".to_owned()], allowed: None }).expect("rules");

    let (mut files, mut links, mut renames) = (0, 0, 0);
    for pair in &commits {
        let deadline = Instant::now() + Duration::from_secs(30);
        let into = place.path().join("trees");
        let TreeDiff { files: found, links: tables, .. } =
            diff_trees(&url, Some(&token), [&pair[0], &pair[1]], "main", &into, deadline).await.expect("the trees");
        let mut ours: Vec<_> = found.iter().map(said).collect();
        ours.sort();
        let mut theirs = raw(&repository, pair, "--no-renames");
        theirs.sort();
        assert_eq!(ours, theirs);
        files += found.len();
        for file in &found {
            for side in file.old.iter().chain(&file.new).filter(|side| side.mode.to_string() == "120000") {
                let target = side.target.as_ref().expect("every target of a link is read").as_text().expect("text");
                assert_eq!(git(&repository, &["cat-file", "blob", &side.object]), target);
                links += 1;
            }
        }
        for (table, commit) in tables.iter().zip(pair) {
            let all = git(&repository, &["ls-tree", "-r", commit.as_str()]);
            assert_eq!(table.len(), all.lines().filter(|line| line.starts_with("120000")).count());
        }

        // GitHub's list finds renames; together with it nothing is lost and nothing is there twice.
        let listed: Vec<ChangedFile> = raw(&repository, pair, "-M")
            .into_iter()
            .map(|(_, old, name)| {
                let lossy = |name: &[u8]| RepoPath::from(String::from_utf8_lossy(name).into_owned());
                let status = if old.is_some() { FileStatus::Renamed } else { FileStatus::Modified };
                renames += usize::from(old.is_some());
                ChangedFile::listed(lossy(&name), status, old.as_deref().map(lossy))
            })
            .collect();
        let (united, agree) = unite(found.clone(), &listed);
        assert!(agree, "{listed:?}\n{found:?}");
        assert_eq!(united.len(), listed.len());
        // Whatever is below a folder `infra` is told, on whichever side it is.
        let offences = rules.judge_with(&united, &tables);
        for (_, _, name) in
            theirs.iter().filter(|(_, _, name)| name.split(|b| *b == b'/').rev().skip(1).any(|p| p == b"infra"))
        {
            let shown = RepoPath::new(name.clone()).shown();
            assert!(offences.iter().any(|offence| offence.path == shown), "{shown} is not told: {offences:?}");
        }
    }
    assert!(
        files > 50 && links > 10 && renames > 3,
        "{files} files, {links} links, {renames} renames: too few to prove much"
    );
}

#[tokio::test]
async fn a_base_that_is_no_tip_and_a_target_that_is_too_long_are_coped_with() {
    let place = tempfile::tempdir().expect("a folder");
    let repository = place.path().join("shop.git");
    let long: Tree =
        [(b"link".to_vec(), ("120000", vec![b'x'; 5_000])), (b"a".to_vec(), ("100644", vec![b'y'; 9_000]))].into();
    let commits = write_repository(&repository, &[(Tree::new(), long)]);
    // An old host gives only tips of branches: the base is then found in the history of the branch.
    git(&repository, &["update-ref", "refs/heads/main", "refs/heads/head-0"]);
    git(&repository, &["update-ref", "-d", "refs/heads/base-0"]);
    git(&repository, &["config", "uploadpack.allowFilter", "true"]);
    let (url, _) = serve(place.path()).await;
    let [base, head] = &commits[0];
    let deadline = Instant::now() + Duration::from_secs(30);
    let into = place.path().join("trees");
    let token = SecretString::from(TOKEN);
    let diff = diff_trees(&url, Some(&token), [base, head], "main", &into, deadline).await.expect("the trees");
    let link = diff.files.iter().find(|file| file.path.as_bytes() == b"link").expect("the link");
    assert_eq!(link.new.as_ref().expect("it is there").target, None, "no system could follow it");
    let rules = PathRules::new(&PathPolicy::default()).expect("rules");
    assert_eq!(rules.judge_with(&diff.files, &diff.links).len(), 1);
}
