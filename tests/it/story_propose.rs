//! Proposals: by comment and by label, what stops them, what they leave.

use titan::domain::run::RunKind;
use titan::playground::github::Tamper;

use crate::support::world::{DELETED, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_label_proposes() {
    let world = world().start().await;
    let pr = world.pull_request(GOOD);
    world.github.hooks().tamper(Some("pull_request"), Tamper::Twin);
    world.label(pr, "carol", "titan-ops");
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success"]);
    assert_eq!(world.conclusion(pr, "titan/build"), "success");
    assert!(world.status_comment(pr).contains("carol"));
    world.assert_nothing_deployed();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_label_and_a_label_by_a_bot_do_nothing() {
    let world = world().start().await;
    let pr = world.pull_request(GOOD);
    world.github.create_bot("renovate[bot]");
    world.label(pr, "carol", "bug");
    world.label(pr, "renovate[bot]", "titan-ops");
    world.settle().await;
    world.assert_silent(pr);
    assert_eq!(world.runs(pr).await, Vec::<String>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protected_files_are_refused_one_annotation_each_and_nothing_is_built() {
    let world = world().armed().start().await;
    let files = [("infra/main.tf", "changed\n"), ("infra/new.tf", "new\n"), ("src/index.html", "<h1>2</h1>\n")];
    let pr = world.pull_request(&files);
    world.say(pr, "carol", "/titan propose").await;
    let check = world.check(pr, "titan/paths");
    assert_eq!(check.conclusion.as_deref(), Some("failure"));
    let mut annotated: Vec<_> = check.output.annotations.iter().map(|one| one.path.as_str()).collect();
    annotated.sort_unstable();
    assert_eq!(annotated, ["infra/main.tf", "infra/new.tf"]);
    assert_eq!(world.conclusion(pr, "titan/build"), "cancelled");
    assert_eq!(world.get(&format!("/api/runs/{}/log", world.run(pr, RunKind::Propose).await.id)).await, "");
    assert_eq!(world.runs(pr).await, ["propose failure"]);
    world.refused(pr, "carol", "/titan canary", "protected_path").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_is_judged_on_both_sides() {
    let setup = world().file("infra/notes.txt", "one\ntwo\nthree\nfour\n").file("docs/plan.txt", "a\nb\nc\nd\n");
    let world = setup.start().await;
    let out_of = [("infra/notes.txt", DELETED), ("docs/notes.txt", "one\ntwo\nthree\nfour\n")];
    let into = [("docs/plan.txt", DELETED), ("infra/plan.txt", "a\nb\nc\nd\n")];
    for (files, path) in [(out_of, "infra/notes.txt"), (into, "infra/plan.txt")] {
        let pr = world.pull_request(&files);
        world.say(pr, "carol", "/titan propose").await;
        let check = world.check(pr, "titan/paths");
        assert_eq!(check.conclusion.as_deref(), Some("failure"), "{files:?}");
        assert!(check.output.summary.as_deref().unwrap_or_default().contains(path), "{check:#?}");
        assert_eq!(check.output.annotations.len(), 1, "{check:#?}");
        assert_eq!(world.conclusion(pr, "titan/build"), "cancelled");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_itself_is_always_protected_and_the_base_branch_decides() {
    let world = world().armed().start().await;
    let lenient = "version: 1\nbuild:\n  run: [\"node evil.js\"]\nprojects: {}\n";
    let pr = world.pull_request(&[(".github/titan.yml", lenient), ("infra/main.tf", "changed\n")]);
    world.say(pr, "carol", "/titan propose").await;
    assert_eq!(world.conclusion(pr, "titan/paths"), "failure");
    let annotations = world.check(pr, "titan/paths").output.annotations;
    assert_eq!(annotations.len(), 2, "{annotations:#?}");
    assert_eq!(world.conclusion(pr, "titan/build"), "cancelled");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_build_turns_red_keeps_its_log_and_holds_the_canary_back() {
    let world = world().armed().start().await;
    let broken = "console.log('step one');\nconsole.error('no such shelf');\nprocess.exit(3);\n";
    let pr = world.pull_request(&[("build.js", broken)]);
    world.say(pr, "carol", "/titan propose").await;
    assert_eq!(world.conclusion(pr, "titan/paths"), "success");
    assert_eq!(world.conclusion(pr, "titan/build"), "failure");
    let summary = world.check(pr, "titan/build").output.summary.unwrap_or_default();
    assert!(summary.contains("exit code 3") && summary.contains("no such shelf"), "{summary}");
    let run = world.run(pr, RunKind::Propose).await;
    let log = world.get(&format!("/api/runs/{}/log", run.id)).await;
    assert!(log.contains("step one") && log.contains("no such shelf"), "{log}");
    world.refused(pr, "carol", "/titan canary", "build_failed").await;

    world.push(pr, &[("build.js", "console.log('mended');\n")]);
    world.say(pr, "carol", "/titan propose").await;
    assert_eq!(world.conclusion(pr, "titan/build"), "success");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_can_be_followed_while_the_build_runs() {
    let slow = "console.log('first words');\nsetTimeout(() => console.log('last words'), 3000);\n";
    let world = world().file("build.js", slow).start().await;
    let pr = world.pull_request(GOOD);
    world.comment(pr, "carol", "/titan propose");
    let seen = async |world: &crate::support::world::World| match world.find_run(pr, RunKind::Propose).await {
        Some(run) => world.get(&format!("/api/runs/{}/log", run.id)).await.contains("first words"),
        None => false,
    };
    world.until("the first words are in the log", seen).await;
    let run = world.run(pr, RunKind::Propose).await;
    assert!(run.status.conclusion().is_none(), "the build still runs");
    world.settle().await;
    let log = world.get(&format!("/api/runs/{}/log", run.id)).await;
    assert!(log.contains("last words"), "{log}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_builds_are_found_from_the_lock_file() {
    let package = r#"{"name": "shop", "version": "1.0.0", "scripts": {"build": "node build.js"}}"#;
    let lock = r#"{"name": "shop", "version": "1.0.0", "lockfileVersion": 3, "requires": true,
        "packages": {"": {"name": "shop", "version": "1.0.0"}}}"#;
    let setup = world().file("package.json", package).file("package-lock.json", lock);
    let world = setup.policy_line("  run: [\"node build.js\"]\n", "").start().await;
    let pr = world.proposed(GOOD).await;
    let run = world.run(pr, RunKind::Propose).await;
    let log = world.get(&format!("/api/runs/{}/log", run.id)).await;
    assert!(log.contains("built the shop"), "{log}");
    assert!(world.status_comment(pr).contains("npm ci"), "{}", world.status_comment(pr));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_takes_too_long_is_stopped() {
    let forever = "console.log('waiting');\nsetInterval(() => {}, 1000);\n";
    let setup = world().file("build.js", forever).policy_line("timeout: 1m", "timeout: 1s");
    let world = setup.start().await;
    let pr = world.pull_request(GOOD);
    world.say(pr, "carol", "/titan propose").await;
    assert_eq!(world.conclusion(pr, "titan/build"), "failure");
    let summary = world.check(pr, "titan/build").output.summary.unwrap_or_default();
    assert!(summary.contains("limit of 1s"), "{summary}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_sees_nothing_of_titans_environment() {
    let tell = "console.log('NAMES ' + Object.keys(process.env).sort().join(' ') + ' END');\n";
    let world = world().file("build.js", tell).in_a_process().start().await;
    let pr = world.proposed(GOOD).await;
    let run = world.run(pr, RunKind::Propose).await;
    let log = world.get(&format!("/api/runs/{}/log", run.id)).await;
    let names = log.split_once("NAMES ").and_then(|(_, rest)| rest.split_once(" END")).expect("the names").0;
    let titans = ["DATABASE", "GITHUB_APP", "GITHUB_WEBHOOK", "RENDER", "OUTPUT_DIR", "PUBLIC_URL", "ALLOW_PRIVATE"];
    for name in titans {
        assert!(!names.contains(name), "{name} is in {names}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_builds_cannot_be_isolated_nothing_is_built_and_the_reason_is_told() {
    if !crate::support::place::can_isolate() {
        return;
    }
    // the operator shows builds the folder in which Titan keeps its own things
    let shown = tempfile::tempdir().expect("a folder");
    let output = shown.path().join("titan").display().to_string();
    let setup = world().setting("OUTPUT_DIR", &output).setting("BUILD_TOOLS", &shown.path().display().to_string());
    let world = setup.start().await;
    let pr = world.pull_request(GOOD);
    world.say(pr, "carol", "/titan propose").await;
    assert_eq!(world.runs(pr).await, ["propose failure"]);
    assert_eq!(world.conclusion(pr, "titan/build"), "failure");
    let comment = world.status_comment(pr);
    assert!(comment.contains("builds are refused on this machine") && comment.contains("operator"), "{comment}");
    world.end().await;
}
