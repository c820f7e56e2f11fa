//! Every no: 😕, the reason in the one comment, and nothing happens at Render or to the pull request.

use titan::playground::github::Tamper;

use crate::support::world::{CANARY, PRODUCTION, REPO, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_installation_only_observes() {
    let world = world().start().await;
    let pr = world.proposed(GOOD).await;
    world.refused(pr, "alice", "/titan canary", "not_armed").await;
    world.refused(pr, "alice", "/titan promote", "not_armed").await;
    world.refused(pr, "alice", "/titan rollback", "not_armed").await;
    assert_eq!(world.runs(pr).await[1..], ["canary refused", "promote refused", "rollback refused"]);
    assert_eq!(world.render.log().matching("POST", "/**").len(), 0, "Render hears nothing");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_read_may_not_run_anything() {
    let world = world().armed().start().await;
    let pr = world.pull_request(GOOD);
    for command in ["propose", "canary", "promote", "rollback", "arm", "disarm", "halt", "resume", "lock", "unlock"] {
        world.refused(pr, "dave", &format!("/titan {command}"), "permission_denied").await;
    }
    world.refused(pr, "stranger", "/titan propose", "permission_denied").await;
    world.refused(pr, "carol", "/titan promote", "permission_denied").await;
    assert!(world.runs(pr).await.iter().all(|run| run.ends_with("refused")));
    assert_eq!(world.locks().await, Vec::<String>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_is_not_trusted_whoever_asks() {
    let world = world().armed().start().await;
    let pr = world.pull_request_from_fork("mallory", GOOD);
    for command in ["propose", "canary", "promote"] {
        world.refused(pr, "alice", &format!("/titan {command}"), "fork_not_trusted").await;
    }
    assert_eq!(world.github.git_requests(), Vec::<String>::new(), "nothing is checked out");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_policy_or_with_a_broken_one_nothing_runs() {
    let missing = world().armed().without_policy().start().await;
    let pr = missing.pull_request(GOOD);
    missing.refused(pr, "alice", "/titan propose", "policy_missing").await;
    missing.refused(pr, "alice", "/titan canary", "policy_missing").await;
    missing.end().await;

    let broken = world().armed().policy_line("approvals: 0", "aprovals: 0").start().await;
    let pr = broken.pull_request(GOOD);
    broken.refused(pr, "alice", "/titan propose", "policy_invalid").await;
    assert!(broken.status_comment(pr).contains("approvals"), "the nearest known key is named");
    broken.refused(pr, "alice", "/titan promote", "policy_invalid").await;
    broken.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_steps_cannot_be_skipped() {
    let world = world().armed().start().await;
    let pr = world.pull_request(GOOD);
    world.refused(pr, "carol", "/titan canary", "build_missing").await;
    world.refused(pr, "bob", "/titan promote", "build_missing").await;
    world.say(pr, "carol", "/titan propose").await;
    world.refused(pr, "bob", "/titan promote", "canary_missing").await;
    world.refused(pr, "bob", "/titan rollback", "nothing_to_roll_back").await;
    world.refused(pr, "carol", "/titan canary shop", "project_unknown").await;
    assert_eq!(world.locks().await, Vec::<String>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_pull_request_cannot_be_deployed() {
    let world = world().armed().start().await;
    let pr = world.tried(GOOD).await;
    assert_eq!(world.locks().await, [format!("canary #{pr}")]);
    world.github.close(REPO, pr, "carol").expect("closed");
    world.settle().await;
    assert_eq!(world.locks().await, Vec::<String>::new(), "closing gives the canary back");
    for command in ["propose", "canary", "promote"] {
        world.refused(pr, "alice", &format!("/titan {command}"), "change_closed").await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_can_be_tried_but_not_shipped() {
    let world = world().armed().start().await;
    let pr = world.tried(GOOD).await;
    world.github.set_draft(REPO, pr, "carol", true).expect("a draft");
    world.refused(pr, "bob", "/titan promote", "change_draft").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promote_waits_for_approvals_of_people_who_may_give_them() {
    let world = world().armed().policy_line("approvals: 0", "approvals: 1").start().await;
    let pr = world.tried(GOOD).await;
    world.refused(pr, "bob", "/titan promote", "approvals_missing").await;
    world.approve(pr, "dave");
    world.refused(pr, "bob", "/titan promote", "approvals_missing").await;
    world.approve(pr, "alice");
    world.github.review(REPO, pr, "alice", "CHANGES_REQUESTED", "Wait").expect("a review");
    world.refused(pr, "bob", "/titan promote", "approvals_missing").await;
    world.approve(pr, "alice");
    world.say(pr, "bob", "/titan promote").await;
    assert_eq!(world.live(PRODUCTION).await, world.main());
    assert!(world.is_merged(pr));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_of_an_older_head_does_not_count() {
    let world = world().armed().policy_line("approvals: 0", "approvals: 1").start().await;
    let pr = world.pull_request(GOOD);
    world.approve(pr, "alice");
    let head = world.push(pr, &[("src/index.html", "<h1>Shop 2, again</h1>\n")]);
    world.say(pr, "carol", "/titan propose").await;
    world.say(pr, "carol", &format!("/titan canary @{head}")).await;
    assert_eq!(world.live(CANARY).await, head);
    world.refused(pr, "bob", &format!("/titan promote @{head}"), "approvals_missing").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_pull_request_at_a_time_holds_the_canary() {
    let world = world().armed().start().await;
    let first = world.tried(GOOD).await;
    let second = world.proposed(&[("src/other.html", "<h1>Other</h1>\n")]).await;
    world.refused(second, "bob", "/titan promote", "lock_held").await;
    world.refused(second, "carol", "/titan unlock", "not_holder").await;
    assert_eq!(world.live(CANARY).await, world.head(first));
    world.say(first, "carol", "/titan unlock").await;
    world.say(second, "carol", "/titan canary").await;
    assert_eq!(world.live(CANARY).await, world.head(second));
    let waits = world.say(first, "bob", "/titan promote").await;
    assert_eq!(world.reactions(waits), ["eyes"], "production is reached through the canary, so it waits");
    assert_eq!(world.live(PRODUCTION).await, world.before(PRODUCTION));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_run_at_a_time_changes_a_project() {
    let world = world().armed().bake("4s").start().await;
    let pr = world.proposed(GOOD).await;
    let other = world.proposed(&[("src/other.html", "<h1>Other</h1>\n")]).await;
    world.comment(pr, "carol", "/titan canary");
    world.until("the canary is live", async |world| world.live(CANARY).await == world.head(pr)).await;
    let again = world.comment(pr, "carol", "/titan canary");
    let elsewhere = world.comment(other, "carol", "/titan canary");
    world.settle().await;
    assert_eq!(world.reactions(again), ["eyes", "confused"]);
    assert!(world.status_comment(pr).contains("`run_active`"), "{}", world.status_comment(pr));
    assert_eq!(world.reactions(elsewhere), ["eyes"], "it waits for its turn");
    assert_eq!(world.runs(pr).await, ["propose success", "canary success", "canary refused"]);
    assert_eq!(world.runs(other).await, ["propose success"]);
    assert_eq!(world.deployed(CANARY), [world.head(pr)]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_branch_that_moved_on_holds_the_change_back() {
    let world = world().armed().start().await;
    let pr = world.tried(GOOD).await;
    world.push_to_main(&[("src/unrelated.html", "<h1>Else</h1>\n")]);
    world.refused(pr, "bob", "/titan promote", "behind_base").await;
    assert_eq!(world.live(PRODUCTION).await, world.before(PRODUCTION));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_moved_is_not_deployed_in_place_of_the_one_that_was_meant() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    let seen = world.head(pr);
    world.github.hooks().tamper(Some("issue_comment"), Tamper::Hold);
    let late = world.comment(pr, "carol", "/titan canary");
    let head = world.push(pr, &[("src/index.html", "<h1>Shop 2, and more</h1>\n")]);
    world.settle().await;
    world.github.hooks().release();
    world.settle().await;
    assert_eq!(world.reactions(late), ["eyes", "confused"]);
    assert!(world.status_comment(pr).contains("`head_ambiguous`"), "{}", world.status_comment(pr));
    world.refused(pr, "carol", &format!("/titan canary @{seen}"), "head_moved").await;
    world.refused(pr, "carol", &format!("/titan canary @{head}"), "build_missing").await;
    world.assert_nothing_deployed();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_changed_since_the_proposal_asks_for_a_new_one() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    let policy = world.github.file(REPO, "main", ".github/titan.yml").expect("a policy");
    let stricter = String::from_utf8(policy).expect("text").replace("[/infra/,", "[/infra/, /src/,");
    world.push_to_main(&[(".github/titan.yml", &stricter)]);
    world.refused(pr, "carol", "/titan canary", "build_missing").await;
    world.refused(pr, "carol", "/titan canary", "protected_path").await;
    world.say(pr, "carol", "/titan propose").await;
    assert_eq!(world.conclusion(pr, "titan/paths"), "failure", "the base branch decides, as it is now");
    world.end().await;
}

const TWO: &str = r#"version: 1
build:
  run: ["node build.js"]
projects:
  web:
    paths: [/src/]
    canary: {render: srv-web-canary, url: CANARY_URL, health: /health, identity: {path: /version, json: commit}}
    bake: 1s
  docs:
    paths: [/src/, /docs/]
    canary: {render: srv-web-production, url: PRODUCTION_URL, health: /health, identity: {path: /version, json: commit}}
    bake: 1s
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_two_projects_must_say_which() {
    let world = world().armed().policy(TWO).start().await;
    let pr = world.pull_request(GOOD);
    world.refused(pr, "carol", "/titan propose", "project_ambiguous").await;
    assert!(world.status_comment(pr).contains("/titan propose docs"), "{}", world.status_comment(pr));
    world.say(pr, "carol", "/titan propose web").await;
    world.refused(pr, "carol", "/titan canary", "project_ambiguous").await;
    world.refused(pr, "carol", "/titan canary docs", "build_missing").await;
    world.refused(pr, "bob", "/titan promote web", "no_target").await;
    world.say(pr, "carol", "/titan canary web").await;
    assert_eq!(world.live(CANARY).await, world.head(pr));
    let only_docs = world.proposed(&[("docs/plan.md", "A plan\n")]).await;
    world.say(only_docs, "carol", "/titan canary").await;
    assert_eq!(world.live(PRODUCTION).await, world.head(only_docs), "the only project that it concerns");
    world.end().await;
}
