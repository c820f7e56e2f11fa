//! Who may, who agreed, and what others say of a commit: teams, renamed accounts, forks, approvals, required checks.

use titan::playground::github::model::{Protection, Role};
use titan::playground::github::{CheckChange, NewCheck, NewStatus, Tamper};

use crate::support::world::{CANARY, REPO, World, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];

fn check(world: &World, pr: u64, app: &str, name: &str, conclusion: Option<&str>) {
    let rest = CheckChange {
        status: conclusion.is_none().then(|| "in_progress".to_owned()),
        conclusion: conclusion.map(str::to_owned),
        ..CheckChange::default()
    };
    let new = NewCheck { name: name.to_owned(), head_sha: world.head(pr), rest };
    world.github.report_check(REPO, app, &new).expect("a check");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn required_checks_are_read_to_the_last_page() {
    let world = world().armed().policy_line("approvals: 0", "required_checks: [deep]\napprovals: 0").start().await;
    let rules = Protection { required_checks: vec!["ci".into()], approvals: 0, up_to_date: false };
    world.github.protect(REPO, "main", Some(rules)).expect("a branch");
    let pr = world.proposed(GOOD).await;
    world.refused(pr, "carol", "/titan canary", "checks_missing").await;
    check(&world, pr, "some-ci", "deep", Some("failure"));
    for n in 0..105 {
        check(&world, pr, "some-ci", &format!("job {n}"), Some("success"));
    }
    world.refused(pr, "carol", "/titan canary", "checks_failed").await;
    check(&world, pr, "some-ci", "deep", Some("skipped"));
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(
        world.live(CANARY).await,
        world.head(pr),
        "the newest run of a name counts: {}",
        world.status_comment(pr)
    );

    world.refused(pr, "bob", "/titan promote", "checks_missing").await;
    let status = |state: &str| NewStatus {
        sha: world.head(pr),
        state: state.to_owned(),
        context: "ci".to_owned(),
        ..NewStatus::default()
    };
    world.github.report_status(REPO, "carol", status("pending")).expect("a status");
    world.refused(pr, "bob", "/titan promote", "checks_running").await;
    world.github.report_status(REPO, "carol", status("success")).expect("a status");
    world.say(pr, "bob", "/titan promote").await;
    assert!(world.is_merged(pr), "{}", world.status_comment(pr));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_can_be_for_a_team_and_only_for_who_is_really_in_it() {
    let line = "permissions: {propose: {role: write, teams: [acme/web], users: [bob]}}\napprovals: 0";
    let mut world = world().armed().policy_line("approvals: 0", line).start().await;
    let pr = world.pull_request(GOOD);
    world.refused(pr, "carol", "/titan propose", "not_named").await;
    world.github.join_team("acme", "web", "carol", false);
    world.refused(pr, "carol", "/titan propose", "not_named").await;
    world.github.join_team("acme", "web", "carol", true);
    world.github.join_team("acme", "web", "dave", true);
    world.refused(pr, "dave", "/titan propose", "permission_denied").await;
    world.say(pr, "carol", "/titan propose").await;
    world.push(pr, &[("src/more.html", "more\n")]);
    world.settle().await;
    world.label(pr, "alice", "titan-ops");
    world.settle().await;
    assert!(world.status_comment(pr).contains("`not_named`"), "not even an admin: {}", world.status_comment(pr));
    world.say(pr, "bob", "/titan propose").await;
    let runs = world.runs(pr).await;
    assert_eq!(runs.iter().filter(|run| *run == "propose success").count(), 2, "{runs:?}");

    let installation = world.github.installations()[0].clone();
    let mut less = installation.permissions.clone();
    less.remove("members");
    world.github.grant(installation.id, less).expect("an installation");
    world.stop_titan().await;
    world.start_titan().await;
    world.refused(pr, "carol", "/titan propose", "team_unknown").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_custom_role_counts_as_its_base_and_a_login_is_not_a_person() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    world.github.set_custom_role(REPO, "erin", "Admin", Role::Triage).expect("a role");
    world.refused(pr, "erin", "/titan canary", "permission_denied").await;
    world.github.set_custom_role(REPO, "erin", "deployer", Role::Write).expect("a role");
    world.github.hooks().tamper(Some("issue_comment"), Tamper::Hold);
    let late = world.comment(pr, "erin", "/titan canary");
    world.github.replace_user("erin");
    world.github.hooks().release();
    world.settle().await;
    assert_eq!(world.reactions(late), ["eyes", "confused"]);
    let told = world.status_comment(pr);
    assert!(told.contains("`permission_unknown`") && told.contains("somebody else"), "{told}");
    world.assert_nothing_deployed();
    world.say(pr, "erin", "/titan canary").await;
    assert_eq!(world.live(CANARY).await, world.head(pr), "whoever has the login and the role now may");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_is_built_and_tried_only_at_a_commit_that_a_maintainer_trusts() {
    let world = world().armed().start().await;
    let pr = world.pull_request_from_fork("mallory", GOOD);
    world.refused(pr, "alice", "/titan propose", "fork_not_trusted").await;
    world.label(pr, "alice", "titan-ops");
    world.settle().await;
    assert_eq!(world.checks(pr).len(), 0, "no build for a label either: {:#?}", world.checks(pr));
    world.refused(pr, "mallory", "/titan trust", "permission_denied").await;
    world.refused(pr, "carol", "/titan trust", "permission_denied").await;
    world.refused(pr, "bob", "/titan trust", "commit_needed").await;
    let ready = format!("/titan trust @{}", world.head(pr));
    assert!(world.status_comment(pr).contains(&ready), "{}", world.status_comment(pr));
    world.refused(pr, "bob", &format!("/titan trust @{}", world.main()), "head_moved").await;
    world.say(pr, "bob", &ready).await;
    assert!(world.status_comment(pr).contains("is trusted"), "{}", world.status_comment(pr));
    world.say(pr, "carol", "/titan propose").await;
    assert_eq!(world.conclusion(pr, "titan/build"), "success", "{}", world.status_comment(pr));
    world.say(pr, "carol", "/titan status").await;
    assert!(world.status_comment(pr).contains("`bob` trusts"), "{}", world.status_comment(pr));

    let trusted = world.head(pr);
    world.push_to_fork(pr, "mallory", &[("src/index.html", "<h1>evil</h1>\n")]);
    world.settle().await;
    world.refused(pr, "carol", "/titan propose", "fork_not_trusted").await;
    world.github.push("mallory/shop", "theirs", &trusted, "mallory").expect("a push");
    world.settle().await;
    assert_eq!(world.head(pr), trusted);
    world.refused(pr, "carol", "/titan canary", "fork_not_trusted").await;
    world.assert_nothing_deployed();
    let own = world.pull_request(GOOD);
    world.refused(own, "bob", &format!("/titan trust @{}", world.head(own)), "not_a_fork").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals_are_for_the_content_that_was_proposed() {
    let world = world().armed().policy_line("approvals: 0", "approvals: 1").start().await;
    let pr = world.pull_request(GOOD);
    world.approve(pr, "alice");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    world.say(pr, "carol", "/titan propose").await;
    world.say(pr, "carol", "/titan canary").await;
    world.refused(pr, "bob", "/titan promote", "approvals_missing").await;
    assert!(world.status_comment(pr).contains("before this content was proposed"), "{}", world.status_comment(pr));
    world.approve(pr, "dave");
    world.refused(pr, "bob", "/titan promote", "approvals_missing").await;
    world.approve(pr, "alice");
    world.github.review(REPO, pr, "bob", "CHANGES_REQUESTED", "No").expect("a review");
    world.refused(pr, "bob", "/titan promote", "changes_requested").await;
    world.approve(pr, "bob");

    // Bob changes the code that he approved.
    world.push_as(pr, "bob", &[("src/index.html", "<h1>Shop 2b</h1>\n")]);
    world.settle().await;
    world.say(pr, "carol", "/titan propose").await;
    world.say(pr, "carol", &format!("/titan canary @{}", world.head(pr))).await;
    world.approve(pr, "bob");
    world.refused(pr, "bob", &format!("/titan promote @{}", world.head(pr)), "approvals_missing").await;
    let told = world.status_comment(pr);
    assert!(told.contains("`bob` had a hand in the code") && told.contains("`alice` approved other content"), "{told}");
    world.approve(pr, "alice");

    // The same content under another message keeps what was agreed.
    world.reword(pr, "carol");
    world.settle().await;
    world.say(pr, "carol", "/titan propose").await;
    world.say(pr, "carol", &format!("/titan canary @{}", world.head(pr))).await;
    world.say(pr, "bob", &format!("/titan promote @{}", world.head(pr))).await;
    assert!(world.is_merged(pr), "{}", world.status_comment(pr));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_conversation_and_an_archived_repository_close_a_gate() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    world.github.set_locked(REPO, pr, true).expect("a pull request");
    world.refused(pr, "carol", "/titan canary", "change_locked").await;
    world.github.set_locked(REPO, pr, false).expect("a pull request");
    world.github.set_archived(REPO, true).expect("a repository");
    world.refused(pr, "carol", "/titan canary", "repository_archived").await;
    world.github.set_archived(REPO, false).expect("a repository");
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.live(CANARY).await, world.head(pr));
    world.end().await;
}
