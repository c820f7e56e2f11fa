//! The buttons of check runs: a press is only a request, judged like a comment of the person who pressed.

use crate::support::world::{CANARY, PRODUCTION, REPO, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_goes_all_the_way_by_buttons() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    world.press(pr, "titan/build", "canary", "carol");
    world.settle().await;
    assert_eq!(world.live(CANARY).await, world.head(pr));
    world.press(pr, "titan/canary", "promote", "bob");
    world.settle().await;
    assert_eq!(world.live(PRODUCTION).await, world.main());
    world.press(pr, "titan/production", "rollback", "bob");
    world.settle().await;
    assert_eq!(world.live(PRODUCTION).await, world.before(PRODUCTION));
    assert_eq!(world.runs(pr).await, ["propose success", "canary success", "promote success", "rollback success"]);
    world.status_comment(pr);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_button_gives_nobody_a_permission() {
    let world = world().armed().start().await;
    let pr = world.tried(GOOD).await;
    for login in ["dave", "carol"] {
        world.press(pr, "titan/canary", "promote", login);
        world.settle().await;
        let told = world.status_comment(pr);
        assert!(told.contains("`permission_denied`") && told.contains(login), "{told}");
    }
    assert_eq!(world.runs(pr).await[2..], ["promote refused", "promote refused"]);
    assert!(!world.is_merged(pr));
    assert_eq!(world.deployed(PRODUCTION), Vec::<String>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_button_of_an_older_head_does_not_deploy_the_new_one() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    let old = world.check(pr, "titan/build");
    world.push(pr, &[("src/index.html", "<h1>Shop 2, and more</h1>\n")]);
    world.settle().await;
    // The page that the person looks at may be older than the push.
    let pressed = world.github.press_check_button(REPO, old.id, "canary", "carol");
    world.settle().await;
    if pressed.is_ok() {
        assert!(world.status_comment(pr).contains("`head_moved`"), "{}", world.status_comment(pr));
    }
    world.assert_nothing_deployed();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_button_pressed_twice_at_once_starts_one_run() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    world.press(pr, "titan/build", "canary", "carol");
    world.press(pr, "titan/build", "canary", "carol");
    world.settle().await;
    assert_eq!(world.deployed(CANARY), [world.head(pr)]);
    let runs = world.runs(pr).await;
    assert_eq!(runs.iter().filter(|run| *run == "canary success").count(), 1, "{runs:?}");
    world.end().await;
}
