//! Production: what happens when it turns bad, when a person wants the old version back, when the merge does not happen.

use std::time::Duration;

use titan::domain::run::RunKind;
use titan::playground::exchange::{Fault, FaultKind};
use titan::playground::github::model::Protection;
use titan::playground::render::model::Phase;

use crate::support::world::{CANARY, PRODUCTION, REPO, World, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];
/// Good on the canary; on production healthy when it goes live, and not for long.
const TURNS_BAD: &[(&str, &str)] =
    &[("service.json", r#"{"services": {"web-production": {"health": {"failing_after_ms": 700}}}}"#)];
const MERGE: &str = "/repos/*/*/pulls/*/merge";

/// The revert pull request takes exactly the change out of the base branch again.
fn assert_reverts(world: &World, revert: u64, file: &str, before: &str) {
    let pull = world.github.issue(REPO, revert).expect("a revert pull request");
    assert!(pull.open && pull.title.starts_with("Revert"), "{pull:#?}");
    assert_eq!(pull.labels, ["titan-ops"]);
    assert_eq!(pull.author, world.github.app().bot_login());
    assert_eq!(world.github.file(REPO, &world.head(revert), file), Some(before.as_bytes().to_vec()));
    let files = world.github.changes(REPO, revert).expect("a pull request").expect("a comparison");
    assert_eq!(files.files.len(), 1, "nothing else is changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_production_that_turns_bad_is_rolled_back_once_and_a_revert_is_offered() {
    let world = world().armed().start().await;
    let pr = world.tried(TURNS_BAD).await;
    let good = world.before(PRODUCTION);
    world.say(pr, "bob", "/titan promote").await;
    assert_eq!(world.runs(pr).await[2..], ["promote failure", "rollback success"]);
    assert_eq!(world.deployed(PRODUCTION), [world.main(), good.clone()]);
    assert_eq!(world.live(PRODUCTION).await, good);
    assert_eq!(world.render.log().matching("POST", "/v1/services/*/rollback").len(), 1);
    assert!(world.status_comment(pr).to_lowercase().contains("rolled back"), "{}", world.status_comment(pr));
    assert_eq!(world.conclusion(pr, "titan/production"), "failure", "production does not run this head");

    let pulls = world.github.pulls(REPO);
    assert_eq!(pulls.len(), 2, "one revert pull request");
    let revert = pulls[1].number;
    assert_reverts(&world, revert, "service.json", "{}\n");
    world.assert_silent(revert);
    assert_eq!(world.runs(revert).await, Vec::<String>::new(), "Titan's own label starts nothing");
    assert_eq!(world.locks().await, Vec::<String>::new());
    world.refused(pr, "bob", "/titan rollback", "not_live_here").await;

    world.say(revert, "carol", "/titan propose").await;
    world.say(revert, "carol", "/titan canary").await;
    world.say(revert, "bob", "/titan promote").await;
    assert_eq!(world.live(PRODUCTION).await, world.main(), "the revert can be shipped");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_brings_the_version_before_back() {
    let world = world().armed().start().await;
    let pr = world.shipped(GOOD).await;
    let (good, bad) = (world.before(PRODUCTION), world.main());
    let asked = world.say(pr, "carol", "/titan rollback customers complain").await;
    assert_eq!(world.reactions(asked), ["eyes", "rocket"], "{}", world.status_comment(pr));
    assert_eq!(world.runs(pr).await[3..], ["rollback success"]);
    assert_eq!(world.deployed(PRODUCTION), [bad, good.clone()]);
    assert_eq!(world.live(PRODUCTION).await, good);
    let pulls = world.github.pulls(REPO);
    assert_eq!(pulls.len(), 2);
    assert_reverts(&world, pulls[1].number, "src/index.html", "<h1>Shop</h1>\n");
    world.refused(pr, "carol", "/titan rollback", "not_live_here").await;
    world.refused(pulls[1].number, "carol", "/titan rollback", "not_live_here").await;
    assert_eq!(world.github.pulls(REPO).len(), 2, "no second revert");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_asked_for_twice_does_not_go_back_twice() {
    let world = world().armed().start().await;
    let first = world.shipped(GOOD).await;
    let good = world.main();
    let second = world.shipped(&[("src/index.html", "<h1>Shop 3</h1>\n")]).await;
    world.say(second, "carol", "/titan rollback").await;
    assert_eq!(world.live(PRODUCTION).await, good);
    world.refused(second, "carol", "/titan rollback", "not_live_here").await;
    assert_eq!(world.live(PRODUCTION).await, good, "not one version further back");
    assert_eq!(world.github.pulls(REPO).len(), 3, "one revert pull request");
    world.say(first, "carol", "/titan rollback").await;
    assert_eq!(world.live(PRODUCTION).await, world.before(PRODUCTION), "the first change is live, so it can go");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_merging_can_be_reverted() {
    for method in ["merge", "rebase"] {
        let world =
            world().armed().policy_line("approvals: 0", &format!("approvals: 0\nmerge: {method}")).start().await;
        let pr = world.pull_request(GOOD);
        let head = world.push(pr, &[("src/index.html", "<h1>Shop 2, in two commits</h1>\n")]);
        world.say(pr, "carol", "/titan propose").await;
        world.say(pr, "carol", &format!("/titan canary @{head}")).await;
        world.say(pr, "bob", &format!("/titan promote @{head}")).await;
        world.say(pr, "bob", "/titan rollback").await;
        assert_eq!(world.live(PRODUCTION).await, world.before(PRODUCTION), "{method}: {}", world.status_comment(pr));
        assert_reverts(&world, world.github.pulls(REPO)[1].number, "src/index.html", "<h1>Shop</h1>\n");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_that_fails_before_going_live_is_not_rolled_back() {
    let world = world().armed().start().await;
    let pr = world.tried(GOOD).await;
    world.render.fail_next_deploy(PRODUCTION, Phase::Build);
    world.say(pr, "bob", "/titan promote").await;
    assert_eq!(world.runs(pr).await[2..], ["promote failure"], "no rollback");
    assert_eq!(world.deployed(PRODUCTION), [world.main()]);
    assert_eq!(world.live(PRODUCTION).await, world.before(PRODUCTION), "the old version still serves");
    assert_eq!(world.github.pulls(REPO).len(), 1, "no revert pull request");
    assert_eq!(world.conclusion(pr, "titan/production"), "failure");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_moves_at_the_very_moment_of_the_merge_is_not_merged() {
    let world = world().armed().start().await;
    let pr = world.tried(GOOD).await;
    world.github.faults().inject(Fault::once("PUT", MERGE, FaultKind::Delay(Duration::from_millis(1500))));
    world.comment(pr, "bob", "/titan promote");
    world.until("the merge is on its way", async |world| world.github.faults().unconsumed().is_empty()).await;
    world.push(pr, &[("src/index.html", "<h1>Shop 2, and more</h1>\n")]);
    world.settle().await;
    assert_eq!(world.runs(pr).await[2..], ["promote cancelled"]);
    assert!(!world.is_merged(pr));
    assert_eq!(world.deployed(PRODUCTION), Vec::<String>::new());
    assert_eq!(world.deployments("production").len(), 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_merge_is_believed_only_as_far_as_the_pull_request_shows_it() {
    let refused =
        |status, message: &str| FaultKind::Before(status, format!(r#"{{"message": "{message}"}}"#), Vec::new());
    for (fault, ended) in [
        // Other hosts that speak GitHub's API say 422 to all of it.
        (refused(422, "Required status checks have not succeeded."), "promote failure"),
        (refused(405, "Base branch was modified. Review and try the merge again."), "promote success"),
        (FaultKind::After(422), "promote success"),
    ] {
        let world = world().armed().start().await;
        let pr = world.tried(GOOD).await;
        world.github.faults().inject(Fault::once("PUT", MERGE, fault.clone()));
        world.say(pr, "bob", "/titan promote").await;
        assert_eq!(world.runs(pr).await[2..], [ended], "{fault:?} {}", world.status_comment(pr));
        assert_eq!(world.is_merged(pr), ended == "promote success");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_that_github_refuses_ships_nothing() {
    let world = world().armed().start().await;
    let pr = world.tried(GOOD).await;
    // Reviews that the branch's rules ask for are GitHub's own to judge.
    let rules = Protection { approvals: 1, ..Protection::default() };
    world.github.protect(REPO, "main", Some(rules)).expect("protected");
    world.say(pr, "bob", "/titan promote").await;
    assert_eq!(world.runs(pr).await[2..], ["promote failure"]);
    assert!(world.status_comment(pr).contains("GitHub refused the merge"), "{}", world.status_comment(pr));
    assert!(!world.is_merged(pr));
    assert_eq!(world.deployed(PRODUCTION), Vec::<String>::new());
    let held = [format!("canary #{pr}")];
    assert_eq!(world.locks().await, held, "the change stays in front; production is free for a rollback of another");

    world.github.protect(REPO, "main", None).expect("not protected");
    world.say(pr, "bob", "/titan promote").await;
    assert_eq!(world.live(PRODUCTION).await, world.main(), "it may be tried again");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_turns_render_auto_deploy_off_so_that_it_sticks() {
    let world = world().armed().auto_deploy().start().await;
    let pr = world.shipped(GOOD).await;
    assert!(world.render.auto_deploys(PRODUCTION));
    world.say(pr, "bob", "/titan rollback").await;
    assert!(!world.render.auto_deploys(PRODUCTION));
    world.push_to_main(&[("src/else.html", "<h1>Else</h1>\n")]);
    let repository = world.github.repository_dir(REPO).expect("a repository");
    world.render.pushed(&repository, "main").await.expect("a push");
    assert!(world.render.settled(PRODUCTION, Duration::from_secs(10)).await);
    assert_eq!(world.live(PRODUCTION).await, world.before(PRODUCTION));
    assert_eq!(world.deployed(CANARY).len(), 1);
    let run = world.run(pr, RunKind::Rollback).await;
    assert!(run.summary.contains("takes the change out"), "{}", run.summary);
    world.end().await;
}
