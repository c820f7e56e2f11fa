//! Locks and the line in front of them: who waits is told where, starts by itself, and is asked everything again; what a
//! change held goes when the change goes, and the canary runs what it ran before.

use std::time::Duration;

use titan::domain::run::RunKind;

use crate::support::world::{CANARY, PRODUCTION, REPO, World, world};

const FIRST: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];
const SECOND: &[(&str, &str)] = &[("src/other.html", "<h1>Other</h1>\n")];
const THIRD: &[(&str, &str)] = &[("src/third.html", "<h1>Third</h1>\n")];

async fn line(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT q.kind || ' #' || c.number FROM queue_entry q JOIN change c ON c.id = q.change_id ORDER BY q.id",
    )
    .fetch_all(world.store.pool())
    .await
    .expect("the store answers")
}

/// A world in which one pull request's canary bakes for so long, and another one is proposed.
async fn one_bakes(bake: &str) -> (World, u64, u64) {
    let world = world().armed().bake(bake).start().await;
    let pr = world.proposed(FIRST).await;
    let other = world.proposed(SECOND).await;
    world.comment(pr, "carol", "/titan canary");
    world.until("it bakes", async |world| world.step_runs(pr, RunKind::Canary, "bake").await).await;
    (world, pr, other)
}

/// The same, where the other one waits for its turn.
async fn one_bakes_and_one_waits(bake: &str) -> (World, u64, u64) {
    let (world, pr, other) = one_bakes(bake).await;
    world.comment(other, "carol", "/titan canary");
    world.until("the other waits", async |world| !line(world).await.is_empty()).await;
    (world, pr, other)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_sees_its_place_and_starts_by_itself_in_the_order_of_coming() {
    let world = world().armed().start().await;
    let first = world.tried(FIRST).await;
    let second = world.proposed(SECOND).await;
    let third = world.proposed(THIRD).await;
    let waits = world.say(second, "carol", "/titan canary").await;
    world.say(third, "carol", "/titan canary").await;
    assert_eq!(line(&world).await, [format!("canary #{second}"), format!("canary #{third}")]);
    assert_eq!(world.reactions(waits), ["eyes"], "neither done nor refused");
    let told = world.status_comment(third);
    assert!(told.contains(&format!("2nd in line behind #{second}; #{first} holds canary")), "{told}");
    let check = world.check(third, "titan/canary");
    assert_eq!(check.status, "queued");
    assert!(check.output.title.as_deref().unwrap_or_default().contains("2nd in line"), "{:?}", check.output);
    let page = world.get(&format!("/{REPO}")).await;
    assert!(page.contains("2nd: canary of"), "{page}");
    assert!(world.get("/api/projects").await.contains("\"line\":[{"));
    world.say(third, "carol", "/titan canary").await;
    assert_eq!(line(&world).await.len(), 2, "asking again changes no place");

    world.say(first, "carol", "/titan unlock").await;
    assert_eq!(world.runs(second).await, ["propose success", "canary success"], "{}", world.status_comment(second));
    assert_eq!(world.reactions(waits), ["eyes", "rocket"]);
    assert_eq!(world.live(CANARY).await, world.head(second));
    assert_eq!(line(&world).await, [format!("canary #{third}")]);
    let told = world.status_comment(third);
    assert!(told.contains(&format!("1st in line; #{second} holds canary")), "{told}");
    let titles: Vec<String> = world.checks(second).into_iter().map(|check| check.name).collect();
    assert_eq!(titles.iter().filter(|name| *name == "titan/canary").count(), 1, "the run took the check over");

    world.say(second, "bob", "/titan promote").await;
    world.until("the third has its turn", async |world| world.live(CANARY).await == world.head(third)).await;
    world.settle().await;
    assert_eq!(world.runs(third).await, ["propose success", "canary success"]);
    assert_eq!(world.locks().await, [format!("canary #{third}")]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_the_line_by_cancel_by_a_push_and_by_closing() {
    let world = world().armed().start().await;
    let first = world.tried(FIRST).await;
    let second = world.proposed(SECOND).await;
    world.say(second, "carol", "/titan canary").await;
    world.say(second, "carol", "/titan cancel").await;
    assert_eq!(line(&world).await, Vec::<String>::new());
    assert!(world.status_comment(second).contains("out of the line"), "{}", world.status_comment(second));
    assert_eq!(world.conclusion(second, "titan/canary"), "cancelled");

    let waits = world.say(second, "carol", "/titan canary").await;
    let head = world.push(second, &[("src/other.html", "<h1>Other, again</h1>\n")]);
    world.settle().await;
    assert_eq!(line(&world).await, Vec::<String>::new());
    let told = world.status_comment(second);
    assert!(told.contains(&format!("/titan canary @{}", &head[..7])), "{told}");
    assert_eq!(world.reactions(waits), ["eyes", "confused"]);

    world.say(second, "carol", "/titan propose").await;
    world.say(second, "carol", &format!("/titan canary @{head}")).await;
    assert_eq!(line(&world).await, [format!("canary #{second}")]);
    world.github.close(REPO, second, "carol").expect("closed");
    world.settle().await;
    assert_eq!(line(&world).await, Vec::<String>::new());
    world.say(first, "carol", "/titan unlock").await;
    assert_eq!(world.live(CANARY).await, world.head(first), "nobody came after it");
    assert_eq!(world.deployed(CANARY), [world.head(first)]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_turn_has_come_is_asked_everything_again() {
    let world = world().armed().start().await;
    let first = world.tried(FIRST).await;
    let second = world.proposed(SECOND).await;
    let third = world.proposed(THIRD).await;
    let waits = world.say(second, "carol", "/titan canary").await;
    world.say(third, "alice", "/titan canary").await;
    world.github.set_role(REPO, "carol", titan::playground::github::model::Role::Read).expect("a role");
    world.say(first, "alice", "/titan unlock").await;
    assert_eq!(world.reactions(waits), ["eyes", "confused"]);
    assert!(world.status_comment(second).contains("`permission_denied`"), "{}", world.status_comment(second));
    assert_eq!(world.conclusion(second, "titan/canary"), "cancelled");
    assert_eq!(world.live(CANARY).await, world.head(third), "the next one is served");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_puts_the_canary_back_and_reopening_brings_nothing_back() {
    let world = world().armed().start().await;
    let before = world.before(CANARY);
    let pr = world.tried(FIRST).await;
    assert_eq!(world.live(CANARY).await, world.head(pr));
    world.github.close(REPO, pr, "carol").expect("closed");
    world.settle().await;
    assert_eq!(world.live(CANARY).await, before, "{}", world.status_comment(pr));
    assert_eq!(world.runs(pr).await[2..], ["restore success"]);
    assert_eq!(world.locks().await, Vec::<String>::new());
    assert_eq!(world.conclusion(pr, "titan/canary"), "cancelled");
    assert!(world.status_comment(pr).contains("was put back"), "{}", world.status_comment(pr));
    world.github.reopen(REPO, pr, "carol").expect("open");
    world.settle().await;
    assert_eq!(world.locks().await, Vec::<String>::new());
    world.refused(pr, "bob", "/titan promote", "canary_missing").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_stops_a_canary_that_bakes_and_puts_it_back() {
    let (world, pr, other) = one_bakes_and_one_waits("20s").await;
    let before = world.before(CANARY);
    world.github.close(REPO, pr, "carol").expect("closed");
    world.until("the other has its turn", async |world| world.find_run(other, RunKind::Canary).await.is_some()).await;
    assert_eq!(world.runs(pr).await[1..], ["canary failure"], "stopped, and put back by itself");
    assert_eq!(world.live(CANARY).await, before);
    world.say(other, "carol", "/titan cancel").await;
    assert_eq!(world.live(CANARY).await, before);
    assert_eq!(world.locks().await, Vec::<String>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_is_kept_for_too_long_is_put_back_and_free_for_the_next() {
    let world = world().armed().policy_line("approvals: 0", "approvals: 0\nlock_expiry: 4s").start().await;
    let before = world.before(CANARY);
    let pr = world.tried(FIRST).await;
    assert!(world.status_comment(pr).contains("holds `canary` of `web` until"), "{}", world.status_comment(pr));
    world.until("people are told", async |world| world.status_comment(pr).contains("Soon over")).await;
    world.until("it is put back", async |world| world.locks().await.is_empty()).await;
    world.settle().await;
    assert_eq!(world.live(CANARY).await, before);
    assert_eq!(world.runs(pr).await[2..], ["restore success"]);
    world.refused(pr, "bob", "/titan promote", "canary_missing").await;
    assert_eq!(world.live(PRODUCTION).await, world.before(PRODUCTION));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_by_hand_ends_at_the_time_that_was_named() {
    let world = world().armed().start().await;
    let pr = world.proposed(FIRST).await;
    let other = world.proposed(SECOND).await;
    world.say(pr, "carol", "/titan lock 3s moving the database").await;
    assert_eq!(world.locks().await, [format!("canary #{pr}"), format!("production #{pr}")]);
    assert!(world.status_comment(pr).contains("for 3s"), "{}", world.status_comment(pr));
    world.say(other, "carol", "/titan canary").await;
    world.until("it is the other's turn", async |world| world.find_run(other, RunKind::Canary).await.is_some()).await;
    world.settle().await;
    assert_eq!(world.live(CANARY).await, world.head(other));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_lock_was_taken_away_does_nothing_more() {
    let world = world().armed().start().await;
    let pr = world.proposed(FIRST).await;
    world.render.set_pace(Duration::from_millis(800));
    world.comment(pr, "carol", "/titan canary");
    world.until("it is on its way", async |world| !world.deployed(CANARY).is_empty()).await;
    let other = world.pull_request(SECOND);
    world.say(other, "bob", "/titan unlock web --force it hangs").await;
    assert_eq!(world.locks().await, Vec::<String>::new());
    assert_eq!(world.deployed(CANARY), [world.head(pr)], "not even putting back: {}", world.status_comment(pr));
    assert!(!world.runs(pr).await[1].ends_with("success"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_could_not_be_put_back_stays_held_although_the_pull_request_is_closed() {
    let (world, pr, other) = one_bakes("20s").await;
    world.say(other, "alice", "/titan halt the database is down").await;
    world.github.close(REPO, pr, "carol").expect("closed");
    world.settle().await;
    assert_eq!(world.locks().await, [format!("canary #{pr}")], "until a person has looked");
    world.say(other, "alice", "/titan resume").await;
    world.say(other, "carol", "/titan canary").await;
    assert!(world.status_comment(other).contains("1st in line"), "{}", world.status_comment(other));
    world.say(pr, "carol", "/titan unlock").await;
    assert_eq!(world.live(CANARY).await, world.head(other), "{}", world.status_comment(other));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_the_app_was_taken_out_of_holds_nothing_and_comes_back_disarmed() {
    let (world, pr, _) = one_bakes_and_one_waits("1h").await;
    let installation = world.github.installations().first().expect("an installation").id;
    world.github.uninstall(installation).expect("uninstalled");
    world.until("everything has ended", async |world| world.locks().await.is_empty()).await;
    assert_eq!(line(&world).await, Vec::<String>::new());
    assert_eq!(world.runs(pr).await[1..], ["canary cancelled"]);
    world.github.install(&[REPO]).expect("installed again");
    world.refused(pr, "carol", "/titan canary", "not_armed").await;
    world.end().await;
}
