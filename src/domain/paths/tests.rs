//! Tables of the path rules: patterns, kinds of files, links and names that only look different.

use super::*;

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn rules(protected: &[&str], allowed: Option<&[&str]>) -> PathRules {
    PathRules::new(&PathPolicy { protected: strings(protected), allowed: allowed.map(strings) })
        .expect("the patterns are valid")
}

fn file(path: &str, status: FileStatus, previous: Option<&str>) -> ChangedFile {
    ChangedFile::listed(path, status, previous.map(RepoPath::from))
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
        let wanted =
            PathAnswer { path: path.to_owned(), protected, allowed, rule: rule.map(str::to_owned), look_alike: None };
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
    let unknown = rules.judge(&[file("src/a", FileStatus::Unknown, None), file("infra/a", FileStatus::Unknown, None)]);
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
    assert!(!rules.ask("a/".repeat(500).trim_end_matches('/').replace("a/a", "aaaa/a")).protected);
    assert!(!rules.ask("a".repeat(4_000)).protected);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "took {:?}", begun.elapsed());
}

#[test]
fn workflow_files_are_always_protected_and_a_rule_of_the_policy_is_named_first() {
    let path = ".github/workflows/ci.yml";
    for (protected, rule) in [
        (&[][..], WORKFLOWS),
        (&["!*"], WORKFLOWS),
        (&["!/.github/workflows/ci.yml"], WORKFLOWS),
        (&["*.yml"], "*.yml"),
        (&["/.github/"], "/.github/"),
    ] {
        let answer = rules(protected, None).ask(path);
        assert_eq!((answer.protected, answer.rule.as_deref()), (true, Some(rule)), "{protected:?}");
    }
    assert!(!rules(&[], None).ask("sub/.github/workflows/ci.yml").protected);
    let found = rules(&[], None).judge(&[file(path, FileStatus::Modified, None)]);
    assert_eq!(found[0].reason, "protected by /.github/workflows/, which holds for every policy");
}

#[test]
fn look_alikes_of_a_protected_file_are_refused_and_git_s_answer_stays() {
    let list = &["/infra/", "*.tf", "!/docs/example.tf", "/Caf\u{e9}/", "/Keys[A-Z]"];
    let rules = rules(list, Some(&["/"]));
    for (path, rule) in [
        (".GitHub/Titan.yml", ALWAYS_PROTECTED),
        (".github/TITAN.YML", ALWAYS_PROTECTED),
        (".GITHUB/Workflows/ci.yml", WORKFLOWS),
        (".github\\workflows\\ci.yml", WORKFLOWS),
        ("GITHUB~1/titan.yml", ALWAYS_PROTECTED),
        (".github./titan.yml", ALWAYS_PROTECTED),
        (".git\u{200c}hub/titan.yml", ALWAYS_PROTECTED),
        ("Infra/main", "/infra/"),
        ("\u{ff49}nfra/main", "/infra/"),
        ("main.TF", "*.tf"),
        ("docs/Example.tF", "*.tf"),
        ("cafe\u{301}/menu", "/Caf\u{e9}/"),
        ("CAF\u{c9}/menu", "/Caf\u{e9}/"),
        ("keysb", "/Keys[A-Z]"),
    ] {
        let answer = rules.ask(path);
        assert!(!answer.protected && answer.allowed, "{path:?}: the answer is git's");
        assert_eq!(answer.look_alike.as_deref(), Some(rule), "{path:?}");
        assert_eq!(rules.judge(&[file(path, FileStatus::Added, None)]).len(), 1, "{path:?}");
    }
    for path in ["docs/example.tf", "infrastructure/a", "caf/menu", ".github/other.yml", "keys1"] {
        assert_eq!(rules.ask(path).look_alike, None, "{path:?}");
        assert!(rules.judge(&[file(path, FileStatus::Added, None)]).is_empty(), "{path:?}");
    }
    assert_eq!(rules.judge(&[file("GIT~1/hooks/x", FileStatus::Added, None)]).len(), 1, "git's own folder");
    let narrow = self::rules(&[], Some(&["/src/"]));
    assert!(!narrow.ask("SRC/a").allowed, "what is allowed is never widened");
    assert_eq!(narrow.judge(&[file("SRC/a", FileStatus::Added, None)])[0].reason, "outside the allowed paths");
}

fn side(mode: &str, object: &str, target: Option<&str>) -> Option<TreeEntry> {
    let mode = FileMode::parse(mode).expect("octal");
    Some(TreeEntry { mode, object: object.to_owned(), target: target.map(RepoPath::from) })
}

fn reasons(rules: &PathRules, file: &ChangedFile, links: &[Links]) -> Vec<String> {
    rules.judge_with(std::slice::from_ref(file), links).into_iter().map(|offence| offence.reason).collect()
}

#[test]
fn a_link_may_lead_only_to_what_may_be_touched() {
    let rules = rules(&["/infra/", "*.key", "/ops/prod/x"], Some(&["/src/", "/docs/"]));
    let links = || Links::new([("src/in".into(), "../infra".into()), ("src/round".into(), "round".into())]);
    for (target, wanted) in [
        ("a.rs", None),
        ("../docs/plan.md", None),
        ("../src", None),
        ("../docs", None),
        ("../infra/main.tf", Some("protected by the rule /infra/")),
        ("../infra", Some("protected by the rule /infra/")),
        ("../INFRA/main.tf", Some("protected by the rule /infra/")),
        ("in/main.tf", Some("protected by the rule /infra/")),
        ("../ops", Some("protected by the rule /ops/prod/x")),
        ("../.github", Some("protected by the rule /.github/titan.yml")),
        ("my.key", Some("protected by the rule *.key")),
        ("..", Some("the top of the repository")),
        ("../../x", Some("outside the repository")),
        ("/etc/passwd", Some("a path of the machine")),
        ("../.git/config", Some("git's own folder")),
        ("round", Some("leads in a circle")),
        ("../Makefile", Some("outside the allowed paths")),
    ] {
        let mut new = file("src/link", FileStatus::Added, None);
        new.new = side("120000", "1", Some(target));
        let told = reasons(&rules, &new, &[Links::default(), links()]);
        match wanted {
            None => assert!(told.is_empty(), "{target}: {told:?}"),
            Some(part) => assert!(told.len() == 1 && told[0].contains(part), "{target}: {told:?}"),
        }
        // A link that was there before and is only listed again says nothing new.
        new.old = new.new.clone();
        assert!(reasons(&rules, &new, &[links()]).is_empty(), "{target}");
    }
    let mut unread = file("src/link", FileStatus::Added, None);
    unread.new = side("120000", "1", None);
    assert_eq!(reasons(&rules, &unread, &[]), ["a symbolic link whose target could not be read"]);
}

#[test]
fn what_a_protected_link_leads_to_is_protected_too() {
    let rules = rules(&["/infra/"], None);
    let links =
        Links::new([("infra/shop.conf".into(), "../conf/shop.conf".into()), ("api".into(), "services/api".into())]);
    let before = [links, Links::default()];
    let told = reasons(&rules, &file("conf/shop.conf", FileStatus::Modified, None), &before);
    assert!(told.len() == 1 && told[0].contains("through the link infra/shop.conf"), "{told:?}");
    assert!(reasons(&rules, &file("services/api/a", FileStatus::Modified, None), &before).is_empty());
}

#[test]
fn kinds_of_files_are_judged_as_such() {
    let rules = rules(&["/infra/"], None);
    let with = |path: &str, old: Option<TreeEntry>, new: Option<TreeEntry>| ChangedFile {
        old,
        new,
        ..file(path, FileStatus::Modified, None)
    };
    let plain = || side("100644", "1", None);
    for (path, old, new, wanted) in [
        ("src/a", plain(), side("100755", "1", None), None),
        ("src/a", plain(), side("120000", "2", Some("b")), None),
        ("src/lib", None, side("160000", "0123456789", None), Some("a submodule at 0123456")),
        ("src/lib", side("160000", "0123456789", None), None, None),
        ("infra", None, side("120000", "2", Some("src")), Some("in the place of a folder")),
        ("Infra", None, side("120000", "2", Some("src")), Some("in the place of a folder")),
        ("src/a", plain(), side("100600", "1", None), Some("the mode 100600")),
    ] {
        let told = reasons(&rules, &with(path, old, new), &[]);
        match wanted {
            None => assert!(told.is_empty(), "{path}: {told:?}"),
            Some(part) => assert!(told.len() == 1 && told[0].contains(part), "{path}: {told:?}"),
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_judged_as_bytes() {
    let rules = rules(&["/a?b", "/x/"], Some(&["/"]));
    assert!(rules.ask(b"a\xffb").protected, "one byte is one character");
    let found = rules.judge(&[
        file("q", FileStatus::Added, None),
        ChangedFile::listed(RepoPath::new(*b"x/\xff\n"), FileStatus::Added, None),
    ]);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].path.as_str(), found[0].annotate.as_str()), ("\"x/\\xff\\n\"", ""));
}

#[test]
fn neither_list_can_hide_a_file_from_the_other() {
    let gone = |path: &str| ChangedFile { old: side("100644", "1", None), ..file(path, FileStatus::Removed, None) };
    let new = |path: &str| ChangedFile { new: side("100644", "1", None), ..file(path, FileStatus::Added, None) };
    let renamed = file("b", FileStatus::Renamed, Some("a"));
    let (files, agree) = unite(vec![gone("a"), new("b")], std::slice::from_ref(&renamed));
    assert!(agree);
    assert_eq!(files.len(), 1);
    assert_eq!((files[0].old.is_some(), files[0].new.is_some(), files[0].status), (true, true, FileStatus::Renamed));
    let (files, agree) = unite(vec![gone("a"), new("b"), new("c")], &[renamed]);
    assert_eq!((files.len(), agree), (2, false), "git knows one more");
    let (files, agree) =
        unite(vec![new("b")], &[file("z", FileStatus::Added, None), file("b", FileStatus::Added, None)]);
    assert_eq!((files.len(), agree), (2, false), "GitHub knows one more");
    let odd = ChangedFile::listed(RepoPath::new(*b"a\xff"), FileStatus::Added, None);
    let (files, agree) = unite(vec![odd.clone()], &[file("a\u{fffd}", FileStatus::Added, None)]);
    assert_eq!((files, agree), (vec![odd], true), "the bytes are git's");
}
