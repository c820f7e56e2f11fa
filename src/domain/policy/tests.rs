//! Policy files, good and bad.

use proptest::prelude::*;

use super::*;

/// The documented example, with the API on canary and production.
const EXAMPLE: &str = r#"version: 1
paths:
  protected: [/.github/, /infra/, "*.tf"]    # gitignore syntax; /.github/titan.yml is always protected
  allowed: [/src/, /docs/]                   # optional: when present, anything outside is refused
build:
  run: [npm ci, npm run build]               # each line one command; found from the lock file when absent
  timeout: 15m
projects:
  web:
    paths: [/]                               # the project is concerned when a change touches these
    canary:
      render: srv-abc                        # a Render service, through the API
      url: https://web-canary.example.com
      health: /health                        # 2xx is healthy; default /
      identity: {path: /version, json: commit}   # or {header: x-commit}; where the service says which commit it is
    production: {render: srv-def, url: https://web.example.com, health: /health, identity: {path: /version, json: commit}}
    bake: 5m
permissions: {propose: write, canary: write, promote: maintain, rollback: write}
approvals: 1
merge: squash                                # merge, squash or rebase
"#;

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// The one project of a policy.
fn project(text: &str) -> Project {
    let policy = Policy::parse(text).expect("a valid policy");
    policy.projects.into_values().next().expect("a project")
}

#[test]
fn the_documented_example_is_understood() {
    let policy = Policy::parse(EXAMPLE).expect("the example is valid");
    assert_eq!(policy.hash, hex::encode(Sha256::digest(EXAMPLE)));
    assert_eq!(policy.hash.len(), 64);
    assert_eq!(policy.paths.protected, strings(&["/.github/", "/infra/", "*.tf"]));
    assert_eq!(policy.paths.allowed, Some(strings(&["/src/", "/docs/"])));
    assert_eq!(policy.build.run, Some(strings(&["npm ci", "npm run build"])));
    assert_eq!(policy.build.timeout, Duration::from_secs(900));
    assert_eq!((policy.approvals, policy.merge), (1, MergeMethod::Squash));
    assert_eq!(policy.grant(CommandName::Promote).role, Role::Maintain);
    assert_eq!(policy.grant(CommandName::Arm).role, Role::Admin);

    assert_eq!(policy.build.network, BuildNetwork::Full);
    for (written, read) in
        [("none", "none"), ("full", "full"), ("[A.example., '*.b.example']", "a.example, *.b.example")]
    {
        let policy = Policy::parse(&format!("version: 1\nbuild: {{network: {written}}}")).expect(written);
        assert_eq!(policy.build.network.to_string(), read);
    }

    let web = &policy.projects[&"web".parse::<ProjectName>().expect("a name")];
    assert_eq!((web.paths.as_slice(), web.bake), (&strings(&["/"])[..], Duration::from_secs(300)));
    let canary = web.target(Environment::Canary).expect("a canary");
    assert_eq!(canary.deploy, DeployVia::Render("srv-abc".parse().expect("an id")));
    assert_eq!(canary.url.as_str(), "https://web-canary.example.com/");
    assert_eq!(canary.health, "/health");
    assert_eq!(canary.identity, Some(Identity::Json { path: "/version".to_owned(), json: "commit".to_owned() }));
    assert!(web.target(Environment::Production).is_some());

    let with_hook = EXAMPLE.replace("render: srv-abc", "hook: WEB_CANARY");
    assert_eq!(project(&with_hook).canary.expect("a canary").deploy, DeployVia::Hook("WEB_CANARY".to_owned()));
}

#[test]
fn both_ways_to_deploy_at_once_are_refused() {
    let both = EXAMPLE.replace("render: srv-abc ", "render: srv-abc\n      hook: WEB_CANARY ");
    let found = Policy::parse(&both).expect_err("one of them only");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].line, found[0].column), (13, 7));
    assert!(found[0].message.contains("both render and hook"), "{}", found[0].message);
}

#[test]
fn what_is_left_out_has_a_default() {
    let policy = Policy::parse("version: 1").expect("the smallest policy");
    assert_eq!(policy.paths, PathPolicy::default());
    assert_eq!((policy.build.run, policy.build.timeout), (None, Duration::from_secs(900)));
    assert!(policy.projects.is_empty());
    assert_eq!((policy.approvals, policy.merge), (0, MergeMethod::Squash));
    assert_eq!(policy.permissions.len(), 4);
    assert!(policy.permissions.iter().all(|(command, grant)| *grant == default_grant(*command)));

    let web = project(
        "version: 1\nprojects:\n  web:\n    canary: {hook: web-canary, url: 'http://localhost:8081/app'}\n"
            .replace("web-canary", "web_canary")
            .as_str(),
    );
    assert_eq!((web.paths, web.bake, web.production), (strings(&["/"]), Duration::from_secs(300), None));
    let canary = web.canary.expect("a canary");
    assert_eq!(
        (canary.deploy, canary.health.as_str(), canary.identity),
        (DeployVia::Hook("WEB_CANARY".to_owned()), "/", None)
    );
}

#[test]
fn these_are_understood_too() {
    for text in [
        "\u{feff}version: 1\r\npaths:\r\n  protected: ['*.tf']\r\n",
        "# comment\n---\nversion: 1\n",
        "version: 1\nprojects: {}\n",
        "version: 1\npaths: {protected: [], allowed: [/]}\n",
        "{version: 1, approvals: 0, merge: rebase}",
        "version: 1\nbuild: {run: [\"sh -c 'npm ci && npm test'\", 'echo \"a;\" b'], timeout: 1h30m}",
        "version: 1\nprojects:\n  a: {production: &p {render: srv-a, url: 'https://a.example', identity: {header: X-Commit}}}\n  b: {canary: {render: srv-b, url: 'https://b.example'}, production: *p}\n",
    ] {
        assert!(Policy::parse(text).is_ok(), "{text:?} gave {:?}", Policy::parse(text));
    }
}

/// A project whose canary is this.
fn canary(text: &str) -> String {
    format!("version: 1\nprojects:\n  web:\n    canary:\n      {}\n", text.replace('\n', "\n      "))
}

#[test]
fn every_mistake_has_its_place_and_its_way_out() {
    let good = "render: srv-a\nurl: https://a.example\n";
    // File, line and column, words of the message, suggestion.
    type Row = (String, (usize, usize), &'static str, Option<&'static str>);
    let rows: Vec<Row> = vec![
        // The file as a whole.
        (String::new(), (1, 1), "the file is empty", Some("version: 1")),
        ("\n# only a comment\n---\n".to_owned(), (1, 1), "the file is empty", Some("version: 1")),
        ("\u{feff}\n".to_owned(), (1, 1), "the file is empty", Some("version: 1")),
        ("a".repeat(300_000), (1, 1), "at most 262144", None),
        ("hello".to_owned(), (1, 1), "a policy must be a mapping", None),
        ("- version: 1".to_owned(), (1, 1), "but a list stands here", None),
        ("merge: squash".to_owned(), (1, 1), "no version", Some("version: 1")),
        ("version: 2".to_owned(), (1, 10), "version 1 only", Some("1")),
        ("version: '1'".to_owned(), (1, 10), "without quotes", Some("1")),
        ("version: 1.0".to_owned(), (1, 10), "must be the number 1", Some("1")),
        // YAML.
        ("version: 1\npaths:\n\tprotected: []".to_owned(), (3, 2), "tabs", None),
        ("version: 1\npaths: {protected: [/a".to_owned(), (2, 20), "unclosed bracket", None),
        ("version: 1\npaths: {protected: [/a/, *.tf]}".to_owned(), (2, 26), "needs quotes", Some("\"*.tf\"")),
        ("version: 1\npaths: {protected: [!/a/b, /c]}".to_owned(), (2, 26), "needs quotes", Some("\"!/a/b\"")),
        ("version: 1\nmerge: @x".to_owned(), (2, 8), "needs quotes", None),
        ("version: 1\n---\nversion: 1".to_owned(), (2, 1), "more than one YAML document", None),
        ("version: 1\n: x".to_owned(), (2, 1), "name is missing", None),
        ("version: 1\n? [a]\n: x".to_owned(), (2, 3), "a key must be text", None),
        ("a: &a [*a]".to_owned(), (1, 8), "nested too deeply", None),
        ("version: 1\nmerge: squash\nmerge: rebase".to_owned(), (3, 1), "twice, first on line 2", None),
        // Keys.
        ("version: 1\npathes: {}".to_owned(), (2, 1), "unknown key \"pathes\"", Some("paths")),
        ("version: 1\nMerge: squash".to_owned(), (2, 1), "did you mean merge", Some("merge")),
        ("version: 1\nprotected: [/a]".to_owned(), (2, 1), "belongs under paths", None),
        ("version: 1\nwhatever: 1".to_owned(), (2, 1), "known are version, paths", None),
        ("version: 1\n<<: {}".to_owned(), (2, 1), "unknown key \"<<\"", None),
        ("version: 1\npaths: {protcted: [/a]}".to_owned(), (2, 9), "in paths; did you mean protected", Some("protected")),
        // Values.
        ("version: 1\nmerge: sqash".to_owned(), (2, 8), "one of merge, squash, rebase", Some("squash")),
        ("version: 1\nmerge: true".to_owned(), (2, 8), "the truth value true", None),
        ("version: 1\napprovals: -1".to_owned(), (2, 12), "from 0 to 10, not -1", None),
        ("version: 1\napprovals: two".to_owned(), (2, 12), "not the text \"two\"", None),
        ("version: 1\napprovals:".to_owned(), (2, 10), "approvals is empty", None),
        ("version: 1\npaths: {protected: /a/}".to_owned(), (2, 20), "must be a list", Some("[/a/]")),
        ("version: 1\npaths: {protected: [1]}".to_owned(), (2, 21), "put quotes around it", None),
        ("version: 1\npaths:\n  protected:\n    - #notes\n".to_owned(), (4, 13), "after # is a comment", None),
        ("version: 1\npaths: {protected: ['#notes']}".to_owned(), (2, 21), "comment", None),
        ("version: 1\npaths: {protected: ['a[b']}".to_owned(), (2, 21), "without its ]", None),
        ("version: 1\npaths: {protected: [/]}".to_owned(), (2, 21), "write /**", None),
        ("version: 1\npaths: {protected: [\"a\\nb\"]}".to_owned(), (2, 21), "one line", None),
        ("version: 1\npaths: {allowed: []}".to_owned(), (2, 18), "nothing could ever be changed", None),
        ("version: 1\nbuild: {run: []}".to_owned(), (2, 14), "there would be no build", None),
        ("version: 1\nbuild: {run: npm ci}".to_owned(), (2, 14), "must be a list", Some("[npm ci]")),
        ("version: 1\nbuild: {run: [npm ci && npm test]}".to_owned(), (2, 15), "no shell", None),
        ("version: 1\nbuild: {run: ['echo \"a']}".to_owned(), (2, 15), "not closed", None),
        ("version: 1\nbuild: {network: ful}".to_owned(), (2, 18), "one of none, full", Some("full")),
        ("version: 1\nbuild: {network: true}".to_owned(), (2, 18), "none, full, or a list of hosts", None),
        ("version: 1\nbuild: {network: }".to_owned(), (2, 16), "none, full, or a list of hosts", None),
        ("version: 1\nbuild: {network: {hosts: []}}".to_owned(), (2, 18), "none, full, or a list of hosts", None),
        ("version: 1\nbuild: {network: []}".to_owned(), (2, 18), "an empty list", Some("none")),
        ("version: 1\nbuild: {network: [a.example, 'https://b.example/x']}".to_owned(), (2, 30), "leave scheme", Some("b.example")),
        ("version: 1\nbuild: {network: ['*']}".to_owned(), (2, 19), "network: full", None),
        ("version: 1\nbuild: {network: [10.0.0.1]}".to_owned(), (2, 19), "is an address", None),
        ("version: 1\nbuild: {netwrok: none}".to_owned(), (2, 9), "did you mean network", Some("network")),
        ("version: 1\nbuild: {timeout: 15}".to_owned(), (2, 18), "no unit", Some("15s")),
        ("version: 1\nbuild: {timeout: soon}".to_owned(), (2, 18), "not a duration", None),
        ("version: 1\nbuild: {timeout: 3h}".to_owned(), (2, 18), "from 1s to 2h", None),
        ("version: 1\nbuild: {timeout: 0s}".to_owned(), (2, 18), "from 1s to 2h", None),
        ("version: 1\nprojects: {web: {bake: 2days}}".to_owned(), (2, 24), "from 1s to 1day", None),
        ("version: 1\npermissions: {promote: read}".to_owned(), (2, 24), "anybody in the world", Some("write")),
        ("version: 1\npermissions: {promote: maintainer}".to_owned(), (2, 24), "one of triage", Some("maintain")),
        ("version: 1\npermissions: {halt: admin}".to_owned(), (2, 15), "the role for halt is fixed", None),
        ("version: 1\npermissions: {promte: admin}".to_owned(), (2, 15), "unknown key", Some("promote")),
        // Projects and their services.
        ("version: 1\nprojects: [web]".to_owned(), (2, 11), "projects must be a mapping", None),
        ("version: 1\nprojects: {Web App: {}}".to_owned(), (2, 12), "is not valid", Some("web-app")),
        ("version: 1\nprojects: {3f2c1ab: {}}".to_owned(), (2, 12), "named like a commit", None),
        ("version: 1\nprojects: {web: {paths: []}}".to_owned(), (2, 25), "no change would concern", None),
        ("version: 1\nprojects: {web: {canry: {}}}".to_owned(), (2, 18), "did you mean canary", Some("canary")),
        (canary("url: https://a.example"), (5, 7), "neither render nor hook", None),
        (canary("render: srv-a"), (5, 7), "has no url", None),
        (canary("render: web\nurl: https://a.example"), (5, 15), "the id of a Render service", None),
        (canary("hook: web-canary\nurl: https://a.example"), (5, 13), "letters, digits and _", Some("WEB_CANARY")),
        (canary("hook: RENDER_DEPLOY_HOOK_A-B\nurl: https://a.example"), (5, 13), "letters", Some("A_B")),
        (canary("hook: https://h.example/srv-a?key=s3cr3t\nurl: https://a.example"), (5, 13), "not its address", None),
        (canary("render: srv-a\nurl: a.example"), (6, 12), "an address such as", None),
        (canary("render: srv-a\nurl: ftp://a.example"), (6, 12), "http:// or https://", None),
        (canary("render: srv-a\nurl: https://user:s3cr3t@a.example"), (6, 12), "no place for secrets", None),
        (canary("render: srv-a\nurl: https://a.example?x=s3cr3t"), (6, 12), "before any ?", None),
        (canary(&format!("{good}health: health")), (7, 15), "must begin with /", Some("/health")),
        (canary(&format!("{good}health: //evil.example/")), (7, 15), "without //", None),
        (canary(&format!("{good}health: '/\\evil.example'")), (7, 15), "without //", None),
        (canary(&format!("{good}identity: commit")), (7, 17), "must be a mapping", None),
        (canary(&format!("{good}identity: {{path: /v}}")), (7, 17), "either path and json, or header", Some("{path: /version, json: commit}")),
        (canary(&format!("{good}identity: {{path: /v, json: a..b}}")), (7, 34), "keys with dots", None),
        (canary(&format!("{good}identity: {{header: 'x y'}}")), (7, 26), "not the name of a header", None),
        (
            "version: 1\nprojects:\n  a: {canary: {hook: x, url: 'https://a.example'}, production: {hook: X, url: 'https://b.example'}}".to_owned(),
            (3, 3),
            "straight to production",
            None,
        ),
    ];
    let mut wrong = Vec::new();
    for (text, place, message, suggestion) in rows {
        let start: String = text.chars().take(120).collect();
        let found = Policy::parse(&text).expect_err(&start);
        assert!(found.iter().all(|mistake| !mistake.message.contains("s3cr3t")), "a secret is repeated: {found:?}");
        let told = &found[0];
        let as_wanted = found.len() == 1
            && told.message.contains(message)
            && (told.line, told.column) == place
            && told.suggestion.as_deref() == suggestion;
        if !as_wanted {
            wrong.push(format!("{start:?} should tell {message:?} at {place:?} with {suggestion:?}, but: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_mistakes_are_told_in_the_order_of_the_file() {
    let text = "\
version: 3
paths: {protected: ['a[', '#'], alowed: [/]}
build: {timeout: never}
projects:
  web: {canary: {url: x}, bake: 1}
merge: fast
approvals: 100
";
    let found = Policy::parse(text).expect_err("many mistakes");
    let lines: Vec<usize> = found.iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [1, 2, 2, 2, 3, 5, 5, 5, 6, 7], "{found:#?}");
    let many: String = (0..500).map(|n| format!("key{n}: 1\n")).collect();
    assert_eq!(Policy::parse(&many).expect_err("many mistakes").len(), 100);
}

#[test]
fn files_made_to_exhaust_memory_are_refused() {
    let level =
        |n: u8| format!("{}: &{} [{}]\n", n as char, n as char, vec![format!("*{}", (n - 1) as char); 9].join(","));
    let bomb = format!("a: &a [x]\n{}", (b'b'..b'k').map(level).collect::<String>());
    for text in [bomb, "- ".repeat(100_000), "[".repeat(100_000), "{a: ".repeat(60_000), "a: &x x\n".repeat(30_000)] {
        let begun = std::time::Instant::now();
        assert!(Policy::parse(&text).is_err());
        assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
    }
}

proptest! {
    /// The example with a few pieces cut out and others put in: never a panic, and every place is in the file.
    #[test]
    fn no_text_is_too_odd(
        edits in proptest::collection::vec((0usize..1_400, 0usize..12, "[\\PC\n\t]{0,6}|[\\[\\]{}:,#&*!|>'\"%@-]{1,3}"), 0..6)
    ) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (at, cut, put) in edits {
            let at = at.min(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, put.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(found) = Policy::parse(&text) {
            prop_assert!(!found.is_empty());
            prop_assert!(found.is_sorted_by_key(|mistake| (mistake.line, mistake.column)));
            for mistake in found {
                prop_assert!(mistake.line >= 1 && mistake.column >= 1);
                prop_assert!(mistake.line <= text.split('\n').count() + 1, "{:?}", mistake);
                prop_assert!(!mistake.message.contains('\n'), "{:?}", mistake);
            }
        }
    }
}

#[test]
fn the_first_policy_is_valid_with_and_without_what_it_leaves_out() {
    let bare = Policy::parse(FIRST_POLICY).expect("a valid policy");
    assert_eq!((bare.paths.protected.as_slice(), bare.projects.len()), (&["/.github/".to_owned()][..], 0));
    let whole: String =
        FIRST_POLICY.lines().map(|line| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n").collect();
    let whole = Policy::parse(&whole).expect("a valid policy");
    assert!(whole.projects.values().all(|project| project.canary.is_some() && project.production.is_some()));
    assert!(whole.build.run.is_some());
}

#[test]
fn mistakes_in_windows_are_told_in_their_place() {
    let told = |windows: &str| -> Vec<(usize, String, Option<String>)> {
        let text = format!("version: 1\nwindows:\n{windows}");
        let found = Policy::parse(&text).expect_err(windows);
        found.into_iter().map(|one| (one.line, one.message, one.suggestion)).collect()
    };
    let found = told("  zone: Europe/Berln\n");
    assert_eq!((found[0].0, found[0].2.as_deref()), (3, Some("Europe/Berlin")));
    assert_eq!(told("  zone: berlin\n  open: ['08:00-09:00']\n")[0].2.as_deref(), Some("Europe/Berlin"));
    assert!(told("  open: ['08:00-09:00']\n")[0].1.contains("no zone"));
    assert!(told("  zone: UTC\n")[0].1.contains("neither open nor freeze"));
    assert!(told("  zone: UTC\n  open: []\n")[0].1.contains("never be open"));
    let found = told("  zone: UTC\n  open:\n    - Mon 8-17\n    - Tue 08:00-09:00\n  freeze: [2026-13-01]\n");
    assert_eq!(found.iter().map(|one| one.0).collect::<Vec<_>>(), [5, 7]);
    assert!(
        found[0].1.contains("\"Mon 8-17\" in windows.open has \"8\" where a time such as 08:00 belongs"),
        "{found:?}"
    );
}
