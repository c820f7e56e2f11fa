//! What somebody with little power tries in order to get more: each story is one attack and what stops it.

use titan::playground::github::Change;
use titan::playground::github::model::Role;

use crate::support::world::{REPO, World, world};

/// A branch off main that has the wanted edits already: no protection, and a file that nobody may touch.
fn base_of_ones_own(world: &World) -> String {
    let weak = "version: 1\nbuild: {run: [\"node build.js\"]}\n";
    let change = Change::new("Mine").file(".github/titan.yml", weak).file("infra/main.tf", "mine\n");
    world.github.commit(REPO, "evil", "carol", &change).expect("a commit")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_of_ones_own_gives_no_check_and_no_right() {
    let world = world().armed().start().await;
    let evil = base_of_ones_own(&world);
    let harmless = Change::new("Harmless").file("src/a.html", "a\n");
    world.github.commit_on(REPO, "head", &evil, "carol", &harmless).expect("a commit");
    let pr = world.github.open_pull(REPO, "carol", "Harmless", "", "head", "evil").expect("a pull request");
    world.refused(pr, "carol", "/titan propose", "base_not_default").await;
    world.refused(pr, "carol", "/titan canary", "base_not_default").await;
    assert!(world.checks(pr).is_empty(), "no check hangs on the commit: {:#?}", world.checks(pr));
    world.github.retarget(REPO, pr, "carol", "main").expect("a pull request");
    world.say(pr, "carol", "/titan propose").await;
    assert_eq!(world.conclusion(pr, "titan/paths"), "failure", "now everything is judged");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_judged_for_one_base_is_taken_back_for_another() {
    let world = world().armed().start().await;
    base_of_ones_own(&world);
    let pr = world.tried(&[("src/a.html", "a\n")]).await;
    world.github.retarget(REPO, pr, "carol", "evil").expect("a pull request");
    world.settle().await;
    for name in ["titan/paths", "titan/build", "titan/canary"] {
        assert_eq!(world.conclusion(pr, name), "action_required", "{name}");
    }
    world.refused(pr, "bob", "/titan promote", "base_not_default").await;
    world.github.retarget(REPO, pr, "carol", "main").expect("a pull request");
    world.settle().await;
    assert_eq!(world.conclusion(pr, "titan/build"), "success", "it is what was judged again");
    world.say(pr, "bob", "/titan promote").await;
    assert!(world.is_merged(pr), "{}", world.status_comment(pr));
    world.end().await;
}

/// Another repository of the same account, of which carol is the admin, with a pull request.
fn scratch(world: &World) -> u64 {
    let github = &world.github;
    github.create_repository(SCRATCH, false).expect("a repository");
    github.set_role(SCRATCH, "carol", Role::Admin).expect("a role");
    github.commit(SCRATCH, "main", "carol", &Change::new("First").file("a", "1\n")).expect("a commit");
    github.install(&[REPO, SCRATCH]).expect("an installation");
    github.commit(SCRATCH, "b", "carol", &Change::new("Second").file("a", "2\n")).expect("a commit");
    github.open_pull(SCRATCH, "carol", "Mine", "", "b", "main").expect("a pull request")
}

const SCRATCH: &str = "acme/scratch";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_of_ones_own_neither_halts_the_account_nor_lifts_its_halt() {
    let world = world().armed().start().await;
    let mine = scratch(&world);
    let say = async |text: &str| {
        world.github.comment(SCRATCH, mine, "carol", text).expect("a comment");
        world.settle().await;
        world.github.bot_comments(SCRATCH, mine)[0].body.clone()
    };
    assert!(say("/titan halt everything").await.contains("**Halt**"));
    let pr = world.tried(&[("src/a.html", "a\n")]).await;
    world.say(pr, "carol", "/titan halt the database is down").await;
    assert!(say("/titan resume").await.contains("The halt is lifted"), "her own");
    let told = say("/titan resume").await;
    assert!(told.contains("`halted`") && told.contains(REPO), "the answer names where: {told}");
    world.refused(pr, "bob", "/titan promote", "halted").await;
    world.say(pr, "alice", "/titan resume").await;
    world.say(pr, "bob", "/titan promote").await;
    assert!(world.is_merged(pr), "{}", world.status_comment(pr));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_whoever_may_not_give_the_command_nothing_is_read() {
    let world = world().armed().start().await;
    world.github.set_files_cap(2);
    let pr = world.pull_request(&[("a", "1"), ("b", "2"), ("src/c", "3")]);
    for command in ["/titan propose", "/titan canary", "/titan promote", "/titan lock"] {
        world.refused(pr, "dave", command, "permission_denied").await;
        let told = world.status_comment(pr);
        assert!(told.contains("1 gate is closed") && !told.contains("`files_cut_off`"), "{told}");
    }
    // Nor for what must not wait for it.
    world.say(pr, "carol", "/titan halt fire").await;
    let calls = world.github.calls();
    for path in ["/repos/*/*/pulls/*/files", "/repos/*/*/compare/*", "/repos/*/*/commits/*/check-runs"] {
        assert_eq!(calls.matching("GET", path).len(), 0, "{path}");
    }
    world.say(pr, "carol", "/titan status").await;
    assert!(!calls.matching("GET", "/repos/*/*/pulls/*/files").is_empty(), "carol may know");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_reviews_of_outsiders_do_not_push_an_objection_out() {
    let world = world().armed().policy_line("approvals: 0", "approvals: 1").start().await;
    let pr = world.tried(&[("src/a.html", "a\n")]).await;
    let review = |login: &str, state: &str| world.github.review(REPO, pr, login, state, "My word").expect("a review");
    review("bob", "CHANGES_REQUESTED");
    for n in 0..35 {
        review(&format!("outsider{n}"), "APPROVED");
    }
    review("alice", "APPROVED");
    world.refused(pr, "alice", "/titan promote", "changes_requested").await;
    world.end().await;
}
