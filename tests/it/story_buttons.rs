//! The buttons of check runs: a press is only a request, judged like a comment of the person who pressed.

use titan::playground::github::Delivery;

use crate::support::world::{CANARY, PRODUCTION, REPO, World, world};

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
    let (old, nonce) = (world.check(pr, "titan/build"), world.nonce(pr, "titan/build", "canary"));
    world.push(pr, &[("src/index.html", "<h1>Shop 2, and more</h1>\n")]);
    world.settle().await;
    // The page that the person looks at may be older than the push.
    let pressed = world.github.press_check_button(REPO, old.id, &nonce, "carol");
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

/// A press on a page that was open while the check got other buttons.
async fn press_on_an_old_page(world: &World, pr: u64, identifier: &str) {
    let check = world.check(pr, "titan/build");
    world.github.press_old_button(REPO, check.id, identifier, "carol").expect("a check run");
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_button_is_good_for_one_press_and_then_offers_the_command() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    let (head, nonce) = (world.head(pr), world.nonce(pr, "titan/build", "canary"));
    world.press(pr, "titan/build", "canary", "dave");
    world.settle().await;
    assert!(world.status_comment(pr).contains("`permission_denied`"), "{}", world.status_comment(pr));
    let fresh = world.nonce(pr, "titan/build", "canary");
    assert_ne!(fresh, nonce, "the check shows a fresh button");

    press_on_an_old_page(&world, pr, &nonce).await;
    let told = world.status_comment(pr);
    assert!(told.contains("`dave` pressed this button") && told.contains("Nothing was started"), "{told}");
    let ready = format!("/titan canary web @{}", &head[..7]);
    assert!(told.contains(&ready), "{told}");

    press_on_an_old_page(&world, pr, "canary").await;
    let told = world.status_comment(pr);
    assert!(told.contains("does not know this button") && told.contains(&ready), "{told}");

    world.assert_nothing_deployed();
    assert_eq!(world.runs(pr).await, ["propose success", "canary refused"], "only the first press was a command");

    world.say(pr, "carol", &ready).await;
    assert_eq!(world.live(CANARY).await, head, "what was offered works");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_button_is_replaced_and_a_press_that_comes_again_is_the_same_press() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    let old = world.nonce(pr, "titan/build", "canary");
    sqlx::query("UPDATE button SET expires_at = now() - interval '1 second'")
        .execute(world.store.pool())
        .await
        .expect("the store answers");
    world.press(pr, "titan/build", "canary", "carol");
    world.settle().await;
    assert!(world.status_comment(pr).contains("was good until"), "{}", world.status_comment(pr));
    world.assert_nothing_deployed();
    assert_ne!(world.nonce(pr, "titan/build", "canary"), old);

    world.press(pr, "titan/build", "canary", "carol");
    world.settle().await;
    let is_press = |d: &Delivery| d.event == "check_run" && d.action.as_deref() == Some("requested_action");
    let pressed = world.github.deliveries().into_iter().rev().find(is_press).expect("a press");
    assert!(world.github.hooks().redeliver(pressed.id));
    world.settle().await;
    assert_eq!(world.deployed(CANARY), [world.head(pr)]);
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"]);
    world.end().await;
}
