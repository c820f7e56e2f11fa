//! Several Titans on one database: they share the work, and one that is killed or frozen is replaced by another.

use std::time::Duration;

use titan::domain::run::RunKind;

use crate::support::world::{CANARY, PRODUCTION, REPO, World, world};

const OTHER: &[(&str, &str)] = &[("README.md", "# Shop 2\n")];
const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_replica_finishes_the_canary_of_one_that_was_killed() {
    let mut world = world().armed().replicas(2).start().await;
    let pr = world.proposed(GOOD).await;
    world.render.set_pace(Duration::from_millis(500));
    world.comment(pr, "carol", "/titan canary");
    world.until("it deploys", async |world| world.step_runs(pr, RunKind::Canary, "deploy").await).await;
    world.kill_replica(0).await;
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"]);
    assert_eq!(world.deployed(CANARY), [world.head(pr)], "one deploy only");
    assert_eq!(world.replica_url(0), None, "it is down");
    world.start_replica(0).await;
    world.stop_replica(1).await;
    let comment = world.say(pr, "carol", "/titan status").await;
    assert_eq!(world.reactions(comment), ["eyes", "rocket"], "the one that is left answers");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_frozen_and_overtaken_does_nothing_twice() {
    let mut world = world().armed().replicas(2).start().await;
    let pr = world.tried(GOOD).await;
    world.render.set_pace(Duration::from_millis(500));
    world.comment(pr, "bob", "/titan promote");
    world.until("it deploys", async |world| world.step_runs(pr, RunKind::Promote, "deploy").await).await;
    world.pause_replica(0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.resume_replica(0);
    world.prefer_replica(1);
    world.settle().await;
    assert_eq!(world.runs(pr).await[2..], ["promote success"], "{}", world.status_comment(pr));
    assert_eq!(world.deployed(PRODUCTION), [world.main()], "one deploy only");
    assert_eq!(world.deployments("production").len(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_away_webhooks_get_503_and_everything_goes_on_when_it_is_back() {
    let mut world = world().armed().watchful().replicas(2).own_postgres().start().await;
    let pr = world.proposed(GOOD).await;
    world.render.set_pace(Duration::from_millis(700));
    world.comment(pr, "carol", "/titan canary");
    world.until("it deploys", async |world| world.step_runs(pr, RunKind::Canary, "deploy").await).await;
    world.stop_postgres().await;
    let missed = world.comment(pr, "carol", "/titan status");
    world.github.settle().await;
    let newest = world.github.deliveries().pop().expect("a delivery");
    assert_eq!((newest.event.as_str(), newest.status_code), ("issue_comment", 503), "{}", newest.response_body);
    tokio::time::sleep(Duration::from_secs(2)).await; // longer than a lease
    assert!(world.replica_url(0).is_some() && world.replica_url(1).is_some());
    world.start_postgres().await;
    world.until("it is found", async |world| world.reactions(missed) == ["eyes", "rocket"]).await;
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"], "{}", world.status_comment(pr));
    assert_eq!(world.deployed(CANARY), [world.head(pr)], "one deploy only");
    assert_eq!(world.deployments("canary").len(), 1);
    world.end().await;
}

/// Whenever the story's next row fits, the commit that writes it takes a second: long enough to freeze the replica that
/// waits for it. Then the commit has happened and nobody knows.
async fn slow_commit(world: &World, table: &str, condition: &str) {
    let statements = [
        "CREATE TABLE IF NOT EXISTS once ()".to_owned(),
        "CREATE OR REPLACE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF EXISTS (SELECT FROM once) THEN RETURN NULL; END IF;
             INSERT INTO once DEFAULT VALUES; PERFORM pg_sleep(1); RETURN NULL; END $$"
            .to_owned(),
        "TRUNCATE once".to_owned(),
        format!(
            "CREATE CONSTRAINT TRIGGER linger AFTER INSERT OR UPDATE ON {table} DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION linger()"
        ),
    ];
    for statement in statements {
        execute(world, statement).await;
    }
}

async fn execute(world: &World, statement: String) {
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(world.store.pool()).await.expect("the store answers");
}

/// Whether a commit lingers now.
async fn lingers(world: &World) -> bool {
    let waits =
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())";
    sqlx::query_scalar(waits).fetch_one(world.store.pool()).await.expect("the store answers")
}

/// Freezes replica 0 between an intent and its call, lets replica 1 take over and finish, then lets replica 0 go on.
async fn overtaken_at(table: &str, condition: &str) -> (World, u64) {
    let mut world = world().armed().replicas(2).start().await;
    let pr = world.proposed(GOOD).await;
    world.stop_replica(1).await;
    slow_commit(&world, table, condition).await;
    world.comment(pr, "carol", "/titan canary");
    world.until("the intent is being committed", async |world| lingers(world).await).await;
    world.pause_replica(0);
    world.start_replica(1).await;
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"], "{}", world.status_comment(pr));
    world.resume_replica(0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.settle().await;
    (world, pr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_frozen_before_its_deploy_and_overtaken_does_not_deploy() {
    let (world, pr) = overtaken_at("step", "NEW.name = 'deploy' AND NEW.progress ? 'intent_at'").await;
    assert_eq!(world.deployed(CANARY), [world.head(pr)], "one deploy only");
    assert_eq!(world.deployments("canary").len(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_frozen_before_it_wrote_to_github_and_overtaken_writes_nothing() {
    let (world, pr) = overtaken_at("feedback", "NEW.key LIKE 'deployment:%' AND NEW.sent_hash IS NULL").await;
    assert_eq!(world.deployments("canary").len(), 1, "one deployment only");
    assert_eq!(world.deployed(CANARY), [world.head(pr)]);
    assert_eq!(world.checks(pr).len(), 3, "each check once");
    assert!(world.status_comment(pr).contains("canary"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_frozen_in_a_transaction_holds_nobody_up() {
    let mut world = world().armed().replicas(2).start().await;
    let pr = world.proposed(GOOD).await;
    world.stop_replica(1).await;
    // Whoever writes a step waits for this transaction, in the middle of one of its own.
    let mut held = world.store.pool().begin().await.expect("the store answers");
    sqlx::query("LOCK TABLE step IN SHARE MODE").execute(&mut *held).await.expect("the store answers");
    world.comment(pr, "carol", "/titan canary");
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
                 WHERE wait_event_type = 'Lock' AND datname = current_database())";
    world
        .until("somebody waits", async |world| {
            sqlx::query_scalar(waits).fetch_one(world.store.pool()).await.expect("the store answers")
        })
        .await;
    world.pause_replica(0);
    held.rollback().await.expect("the store answers");
    world.start_replica(1).await;
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"], "{}", world.status_comment(pr));
    world.resume_replica(0);
    world.settle().await;
    assert_eq!(world.deployed(CANARY), [world.head(pr)], "one deploy only");
    world.end().await;
}

/// The value of a counter at a replica.
async fn counter(world: &World, replica: usize, sample: &str) -> u64 {
    let url = format!("{}/api/metrics", world.replica_url(replica).expect("it works"));
    let text = world.get_at(&url).await;
    let line = text.lines().find(|line| line.starts_with(sample)).unwrap_or_else(|| panic!("no {sample} in\n{text}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_the_work_and_an_announcement_wakes_each_once() {
    let world = world().armed().replicas(3).start().await;
    let pulls: Vec<u64> = (0..4).map(|_| world.pull_request(GOOD)).collect();
    for round in ["/titan help", "/titan status", "/titan propose"] {
        for pr in &pulls {
            world.comment(*pr, "carol", round);
        }
    }
    world.settle().await;
    let (mut found, mut nothing) = (Vec::new(), 0);
    for replica in 0..3 {
        found.push(counter(&world, replica, "titan_job_claims_total{found=\"job\"}").await);
        nothing += counter(&world, replica, "titan_job_claims_total{found=\"nothing\"}").await;
    }
    assert!(found.iter().all(|jobs| *jobs > 0), "each does some of the work: {found:?}");
    let jobs: u64 = found.iter().sum();
    // Every job is announced when it is queued and when it ends, and each replica may look once for each; 36 slots that
    // look each time would be ten times as many.
    assert!(nothing <= jobs * 8, "{nothing} looks for {jobs} jobs found nothing");
    for pr in pulls {
        assert_eq!(world.runs(pr).await, ["propose success"]);
    }
    world.end().await;
}

/// The commands of the story in the order in which they were decided, as `number:text`.
async fn decided(world: &World) -> Vec<String> {
    let order = "SELECT change.number || ':' || command.text FROM command JOIN change ON change.id = command.change_id
                 ORDER BY concluded_at, command.id";
    sqlx::query_scalar(order).fetch_all(world.store.pool()).await.expect("the store answers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_on_one_pull_request_keep_their_order_and_a_project_has_one_run_at_a_time() {
    let mut world = world().armed().replicas(3).start().await;
    let (one, two) = (world.proposed(GOOD).await, world.proposed(OTHER).await);
    let texts: Vec<String> = (0..6).map(|n| format!("/titan {}", ["help", "status"][n % 2])).collect();
    for (n, text) in texts.iter().enumerate() {
        world.prefer_replica(n % 3);
        for pr in [one, two] {
            world.comment(pr, "carol", text);
        }
        world.github.settle().await;
    }
    for pr in [one, two] {
        world.comment(pr, "carol", "/titan canary");
    }
    world.settle().await;
    let decided = decided(&world).await;
    for pr in [one, two] {
        let mut given = vec!["/titan propose".to_owned()];
        given.extend(texts.iter().cloned());
        given.push("/titan canary".to_owned());
        let prefix = format!("{pr}:");
        let seen: Vec<&str> = decided.iter().filter_map(|line| line.strip_prefix(&prefix)).collect();
        assert_eq!(seen, given, "#{pr}");
    }
    world.assert_one_run_at_a_time().await;
    assert!(!world.deployed(CANARY).is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_joins_or_leaves_leaves_no_work_behind() {
    let mut world = world().armed().replicas(3).start().await;
    world.stop_replica(2).await;
    let pr = world.proposed(GOOD).await;
    world.render.set_pace(Duration::from_millis(500));
    world.comment(pr, "carol", "/titan canary");
    world.until("it deploys", async |world| world.step_runs(pr, RunKind::Canary, "deploy").await).await;
    world.start_replica(2).await;
    world.stop_replica(0).await;
    world.until("it bakes", async |world| world.step_runs(pr, RunKind::Canary, "bake").await).await;
    world.stop_replica(1).await;
    let asked = world.comment(pr, "carol", "/titan status");
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"], "{}", world.status_comment(pr));
    assert_eq!(world.reactions(asked), ["eyes", "rocket"]);
    assert_eq!(world.github.bot_comments(REPO, pr).len(), 1);
    world.end().await;
}
