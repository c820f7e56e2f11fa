//! What a change touches, when somebody would rather not have it seen: links, modes, submodules, names that look
//! different, and lists that end too early. And the receipt of what was judged.

use serde_json::Value;
use sha2::{Digest, Sha256};
use titan::domain::run::RunKind;
use titan::playground::github::{Change, FileMode};

use crate::support::world::{REPO, World, world};

/// A pull request with this change, proposed. Gives its number.
async fn proposed(world: &World, change: &Change) -> u64 {
    let branch = format!("change-{}", world.github.pulls(REPO).len() + 1);
    world.github.commit(REPO, &branch, "carol", change).expect("a commit");
    let pr = world.github.open_pull(REPO, "carol", "A change", "", &branch, "main").expect("a pull request");
    world.say(pr, "carol", "/titan propose").await;
    pr
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_submodules_and_look_alikes_are_seen() {
    let world = world().armed().file("infra/shop.conf", "a\n").start().await;
    let link = |path: &str, target: &str| Change::new("Link").mode(path, FileMode::Symlink, target);
    for (change, told) in [
        (link("src/conf", "../infra/shop.conf"), "what is there is protected by the rule"),
        (link("src/host", "/etc/hostname"), "a path of the machine"),
        (link("src/up", "../../outside"), "outside the repository"),
        (link("src/all", ".."), "the top of the repository"),
        (Change::new("Case").file("Infra/Main.TF", "x"), "upper and lower case"),
        (Change::new("Case").file(".GITHUB/Workflows/ci.yml", "x"), "upper and lower case"),
        (Change::new("Form").file(".git\u{200c}hub/titan.yml", "x"), "forms of Unicode"),
        (Change::new("New").file(".github/workflows/new.yml", "x"), "protected by"),
        (link("infra", "src").delete("infra/shop.conf").delete("infra/main.tf"), "in the place of a folder"),
    ] {
        let pr = proposed(&world, &change).await;
        let check = world.check(pr, "titan/paths");
        assert_eq!(check.conclusion.as_deref(), Some("failure"), "{told}: {check:#?}");
        let summary = check.output.summary.unwrap_or_default();
        assert!(summary.contains(told), "{told:?} is missing in\n{summary}");
        assert_eq!(world.conclusion(pr, "titan/build"), "cancelled");
    }
    let fine = Change::new("Fine").mode("src/same", FileMode::Symlink, "index.html").mode(
        "src/run.sh",
        FileMode::Executable,
        "#!/bin/sh\n",
    );
    let pr = proposed(&world, &fine).await;
    assert_eq!(world.conclusion(pr, "titan/paths"), "success", "{:#?}", world.check(pr, "titan/paths"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_was_cut_off_is_read_from_git_and_what_it_hid_is_found() {
    let world = world().armed().start().await;
    world.github.set_files_cap(2);
    let good = world.proposed(&[("a", "1"), ("b", "2"), ("c", "3"), ("src/d", "4")]).await;
    assert!(world.check(good, "titan/paths").output.title.unwrap_or_default().contains("4 files"));
    world.say(good, "carol", "/titan canary").await;
    assert_eq!(world.runs(good).await, ["propose success", "canary success"], "{}", world.status_comment(good));

    let bad = world.pull_request(&[("a", "1"), ("b", "2"), ("infra/main.tf", "3")]);
    world.say(bad, "carol", "/titan propose").await;
    assert_eq!(world.conclusion(bad, "titan/paths"), "failure");
    assert_eq!(world.check(bad, "titan/paths").output.annotations[0].path, "infra/main.tf");
    world.refused(bad, "carol", "/titan canary", "protected_path").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_receipt_holds_everything_that_was_judged() {
    let world = world().file("docs/plan.txt", "a\nb\nc\nd\n").start().await;
    let change = Change::new("Three things")
        .file("src/index.html", "<h1>2</h1>\n")
        .file("infra/line\nbreak", "x")
        .delete("docs/plan.txt")
        .file("docs/new plan.txt", "a\nb\nc\nd\n");
    let pr = proposed(&world, &change).await;
    let run = world.run(pr, RunKind::Propose).await;
    let receipt = world.get(&format!("/api/runs/{}/receipt", run.id)).await;
    let sha256 = hex::encode(Sha256::digest(&receipt));
    let check = world.check(pr, "titan/paths");
    let summary = check.output.summary.unwrap_or_default();
    assert!(summary.contains(&sha256) && summary.contains(&format!("/api/runs/{}/receipt", run.id)), "{summary}");
    assert!(summary.contains("\"infra/line\\nbreak\""), "{summary}");
    assert!(world.get(&format!("/runs/{}", run.id)).await.contains(&sha256));
    let shown: Value = serde_json::from_str(&world.get(&format!("/api/runs/{}", run.id)).await).expect("JSON");
    assert_eq!(shown["receipt"]["sha256"], sha256.as_str());

    let receipt: Value = serde_json::from_str(&receipt).expect("JSON");
    assert_eq!(receipt["head"], world.head(pr).as_str());
    assert_eq!(receipt["merge_base"], world.main().as_str());
    assert_eq!(receipt["policy"], run.policy_hash.expect("a policy").as_str());
    assert_eq!(receipt["github"]["agrees_with_git"], true);
    assert_eq!((&receipt["github"]["counted"], &receipt["github"]["listed"]), (&3.into(), &3.into()));
    let files = receipt["files"].as_array().expect("a list");
    let file = |path: &str| files.iter().find(|file| file["path"] == path).expect(path);
    let renamed = file("docs/new plan.txt");
    assert_eq!((&renamed["previous_path"], &renamed["status"]), (&"docs/plan.txt".into(), &"renamed".into()));
    assert_eq!(renamed["old"]["object"], renamed["new"]["object"]);
    let broken = file("infra/line\nbreak");
    assert_eq!((&broken["new"]["mode"], &broken["rule"]), (&"100644".into(), &"/infra/".into()));
    assert_eq!(broken["offences"].as_array().map(Vec::len), Some(1));
    assert_eq!(file("src/index.html")["offences"].as_array().map(Vec::len), Some(0));
    world.end().await;
}
