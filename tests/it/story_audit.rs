//! The audit log: it tells every decision, refusal and effect with who, where from, which commit and which policy, and
//! whoever changes it afterwards is found out.

use std::process::Output;

use serde_json::Value;
use sqlx::ConnectOptions;
use tokio::process::Command;

use crate::support::world::{PRODUCTION, World, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];

/// `titan audit …` beside the running Titan.
async fn audit(world: &World, args: &[&str]) -> Output {
    let url = world.store.pool().connect_options().to_url_lossy();
    let mut command = Command::new(env!("CARGO_BIN_EXE_titan"));
    command.arg("audit").args(args).env_clear().env("DATABASE_URL", url.as_str()).output().await.expect("titan ends")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

async fn entries(world: &World) -> Vec<Value> {
    let output = audit(world, &["export"]).await;
    assert!(output.status.success(), "{}", told(&output));
    told(&output).lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// The one entry of this kind whose facts are these.
fn find<'e>(entries: &'e [Value], kind: &str, facts: &[(&str, &str)]) -> &'e Value {
    let is = |entry: &&Value| {
        entry["entry"]["kind"] == kind && facts.iter().all(|(name, value)| entry["entry"][name] == *value)
    };
    let found: Vec<_> = entries.iter().filter(is).collect();
    let told = || entries.iter().map(|entry| entry["body"].to_string()).collect::<Vec<_>>().join("\n");
    assert_eq!(found.len(), 1, "{kind} {facts:?} in\n{}", told());
    &found[0]["entry"]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_every_decision_refusal_and_effect_with_who_where_from_and_what() {
    let world = world().start().await;
    let pr = world.proposed(GOOD).await;
    world.refused(pr, "dave", "/titan canary", "permission_denied").await;
    world.refused(pr, "bob", "/titan promote web", "not_armed").await;
    world.say(pr, "alice", "/titan arm").await;
    world.say(pr, "carol", "/titan canary").await;
    world.say(pr, "bob", "/titan promote").await;
    let head = world.head(pr);
    let shipped = world.live(PRODUCTION).await;

    let entries = entries(&world).await;
    let repository = "acme/shop";
    let refused = find(&entries, "command", &[("actor", "dave"), ("text", "/titan canary")]);
    assert_eq!(refused["conclusion"], "refused");
    assert_eq!(refused["reason"], "permission_denied");
    assert_eq!(refused["surface"], "comment");
    assert_eq!(refused["commit"], head);
    assert!(refused["policy"].as_str().is_some_and(|hash| hash.len() == 64), "{refused:#}");
    assert!(refused["gates"].as_array().is_some_and(|gates| gates.len() == 1), "nothing else was asked: {refused:#}");
    let early = find(&entries, "command", &[("actor", "bob"), ("text", "/titan promote web")]);
    assert!(early["gates"].as_array().is_some_and(|gates| gates.len() > 5), "the whole table: {early:#}");
    find(&entries, "armed", &[("repository", repository), ("actor", "alice")]);
    let canary = find(&entries, "command", &[("actor", "carol"), ("text", "/titan canary")]);
    assert_eq!((&canary["conclusion"], &canary["commit"]), (&"started".into(), &head.clone().into()));
    for (actor, command) in [("carol", "canary"), ("bob", "promote")] {
        let facts = [("command", command), ("actor", actor), ("commit", head.as_str()), ("surface", "comment")];
        find(&entries, "run_accepted", &facts);
        let ended = find(&entries, "run_concluded", &facts);
        assert_eq!(ended["data"]["conclusion"], "success");
        assert_eq!(ended["policy"], refused["policy"]);
    }
    let effects = |step: &str, command: &str| {
        let is = |entry: &&Value| {
            let entry = &entry["entry"];
            entry["kind"] == "effect" && entry["step"] == step && entry["command"] == command
        };
        entries.iter().filter(is).map(|entry| entry["entry"]["data"].clone()).collect::<Vec<_>>()
    };
    let merge = effects("merge", "promote");
    assert!(merge[0]["intent_at"].is_string() && merge[0]["merge_commit"].is_null(), "the intent first: {merge:#?}");
    assert_eq!(merge.last().expect("an outcome")["merge_commit"], shipped);
    let deploy = effects("deploy", "canary");
    assert!(deploy[0]["intent_at"].is_string() && deploy[0]["deploy"].is_null(), "the intent first: {deploy:#?}");
    assert!(deploy.last().expect("an outcome")["deploy"].is_string());
    find(&entries, "locked", &[("environment", "canary"), ("taken_by", "carol"), ("project", "web")]);
    let live = [("environment", "production"), ("commit", shipped.as_str()), ("status", "good")];
    assert_eq!(find(&entries, "release", &live)["current"], true);
    assert!(entries.iter().any(|entry| entry["entry"]["kind"] == "feedback" && entry["entry"]["key"] == "comment"));

    let output = audit(&world, &["verify"]).await;
    assert!(output.status.success(), "{}", told(&output));
    assert!(told(&output).contains(&format!("intact, ends at {}:", entries.len())), "{}", told(&output));
    world.end().await;
}

/// Tables whose rows the log does not tell, and why not. Every other table has a trigger.
const NOT_TOLD: &[(&str, &str)] = &[
    ("_sqlx_migrations", "the schema, not what Titan does"),
    ("audit_chain", "the log's own end"),
    ("project", "a name from the policy; decisions name it"),
    ("change", "what GitHub says of a pull request"),
    ("delivery", "what came in; the command that came of it is told"),
    ("head_ledger", "what GitHub says of pushes"),
    ("run", "its way is told by its events"),
    ("run_lock", "fences of a run that is told"),
    ("job", "queued work; what it does is told"),
    ("artifact", "what a build printed"),
    ("artifact_chunk", "what a build printed"),
    ("sample", "what was seen; the verdict is told"),
    ("policy", "told by its hash with every decision"),
    ("decision", "the facts of a command that is told with its gates"),
    ("explanation", "an answer that changes nothing"),
    ("explanation_read", "a count"),
    ("redelivery", "what was missing; what came of it is told"),
    ("recovered_comment", "what was missing; its command is told"),
    ("recovery", "whose turn it is to look"),
    ("github_budget", "counts"),
    ("removed", "counts"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_table_is_told_or_left_out_for_a_reason() {
    let database = crate::support::database::TestDb::new().await;
    let store = titan::store::Store::connect_lazy(database.options());
    store.migrate().await.expect("a schema");
    let untold: Vec<String> = sqlx::query_scalar(
        "SELECT t.relname::text FROM pg_class t
         WHERE t.relkind IN ('r', 'p') AND t.relnamespace = 'public'::regnamespace AND NOT EXISTS
             (SELECT 1 FROM pg_trigger g JOIN pg_proc f ON f.oid = g.tgfoid
              WHERE g.tgrelid = t.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D' AND f.proname LIKE 'audit\\_%')
         ORDER BY 1",
    )
    .fetch_all(store.pool())
    .await
    .expect("the store answers");
    let mut left_out: Vec<&str> = NOT_TOLD.iter().map(|(table, _)| *table).collect();
    left_out.sort_unstable();
    assert_eq!(untold, left_out, "a table that holds a decision or an effect needs a trigger that tells of it");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_of_trust_of_buttons_and_of_the_line() {
    let world = world().armed().start().await;
    let fork = world.pull_request_from_fork("mallory", GOOD);
    let trusted = world.head(fork);
    world.say(fork, "bob", &format!("/titan trust @{trusted}")).await;
    world.push_to_fork(fork, "mallory", &[("src/index.html", "<h1>Other</h1>\n")]);
    let pr = world.proposed(GOOD).await;
    let nonce = world.nonce(pr, "titan/build", "canary");
    world.press(pr, "titan/build", "canary", "dave");
    world.settle().await;
    let other = world.pull_request(&[("src/other.html", "other\n")]);
    world.say(other, "carol", "/titan lock").await;
    world.say(pr, "carol", "/titan canary").await;
    world.say(pr, "carol", "/titan cancel").await;

    let entries = entries(&world).await;
    for kind in ["trusted", "trust_ended"] {
        find(&entries, kind, &[("actor", "bob"), ("commit", trusted.as_str())]);
    }
    let pressed = find(&entries, "button_pressed", &[("actor", "dave"), ("command", "canary")]);
    let issued = find(&entries, "button_issued", &[("button", pressed["button"].as_str().expect("a hash"))]);
    assert_eq!((&issued["commit"], &issued["check"]), (&world.head(pr).into(), &"titan/build".into()));
    assert!(entries.iter().all(|entry| !entry["body"].to_string().contains(&nonce)), "the nonce itself stays secret");
    for kind in ["line_joined", "line_left"] {
        let facts = [("actor", "carol"), ("command", "canary"), ("commit", &world.head(pr))];
        assert_eq!(find(&entries, kind, &facts)["pull_request"], pr);
    }
    find(&entries, "receipt", &[("command", "propose"), ("actor", "carol")]);
    assert!(audit(&world, &["verify"]).await.status.success());
    world.end().await;
}

/// What an intruder with the database's own rights does, and what is found.
const TAMPERINGS: &[(&str, &str)] = &[
    ("UPDATE audit SET body = replace(body, 'carol', 'alice') WHERE position = 3", "entry 3 was changed"),
    ("DELETE FROM audit WHERE position = 2", "entry 2 was removed"),
    ("DELETE FROM audit WHERE position >= (SELECT entries - 1 FROM audit_chain)", "were removed"),
    ("DELETE FROM audit", "entries 1 to "),
    (
        "INSERT INTO audit (installation_id, body, position, previous, hash)
         SELECT installation_id, body, NULL, previous, hash FROM audit WHERE position = 2",
        "was inserted beside the chain",
    ),
    (
        "INSERT INTO audit (installation_id, body, position, previous, hash)
         SELECT installation_id, 'forged', entries + 1, head, repeat('a', 64) FROM audit_chain",
        "was changed after it was written",
    ),
    ("DELETE FROM audit_chain", "the chain ends with entry"),
    (
        "UPDATE audit a SET body = b.body FROM audit b
         WHERE a.position IN (2, 3) AND b.position = 5 - a.position",
        "entry 2 was changed",
    ),
    (
        "UPDATE audit SET body = 'forged', hash = encode(sha256(convert_to(
            previous || E'\\n' || installation_id || E'\\n' || position || E'\\n' || 'forged', 'UTF8')), 'hex')
         WHERE position = 3",
        "entry 4 does not follow",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_changes_it_afterwards_is_found_out() {
    let world = world().start().await;
    let pr = world.pull_request(GOOD);
    world.say(pr, "carol", "/titan propose").await;
    let pool = world.store.pool();
    for statement in ["UPDATE audit SET body = 'x'", "DELETE FROM audit", "TRUNCATE audit"] {
        let refused = sqlx::query(statement).execute(pool).await.expect_err(statement);
        assert!(refused.to_string().contains("only added to"), "{refused}");
    }
    for (statement, finding) in TAMPERINGS {
        // The triggers keep honest programs from it; an intruder switches them off.
        sqlx::raw_sql(
            "CREATE TABLE kept_audit AS TABLE audit; CREATE TABLE kept_chain AS TABLE audit_chain;
             ALTER TABLE audit DISABLE TRIGGER USER",
        )
        .execute(pool)
        .await
        .unwrap();
        let done = sqlx::query(*statement).execute(pool).await.expect(statement).rows_affected();
        assert!(done > 0, "{statement}");
        let output = audit(&world, &["verify"]).await;
        assert_eq!(output.status.code(), Some(1), "{statement}: {}", told(&output));
        assert!(told(&output).contains("BROKEN") && told(&output).contains(finding), "{statement}: {}", told(&output));
        sqlx::raw_sql(
            "DELETE FROM audit; INSERT INTO audit OVERRIDING SYSTEM VALUE SELECT * FROM kept_audit;
             DELETE FROM audit_chain; INSERT INTO audit_chain SELECT * FROM kept_chain;
             DROP TABLE kept_audit, kept_chain; ALTER TABLE audit ENABLE TRIGGER USER",
        )
        .execute(pool)
        .await
        .unwrap();
        let output = audit(&world, &["verify"]).await;
        assert!(output.status.success(), "put back after {statement}: {}", told(&output));
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_was_written_anew_shows_against_an_end_that_was_kept() {
    let world = world().start().await;
    let pr = world.pull_request(GOOD);
    world.say(pr, "carol", "/titan propose").await;
    let kept = told(&audit(&world, &["verify"]).await);
    let kept = kept.trim().rsplit(' ').next().expect("an end").to_owned();
    let pool = world.store.pool();
    sqlx::raw_sql(
        "ALTER TABLE audit DISABLE TRIGGER USER;
         CREATE TABLE forged AS SELECT installation_id, replace(body, 'carol', 'alice') AS body FROM audit ORDER BY id;
         DELETE FROM audit; DELETE FROM audit_chain; ALTER TABLE audit ENABLE TRIGGER USER;
         INSERT INTO audit (installation_id, body) SELECT installation_id, body FROM forged; DROP TABLE forged",
    )
    .execute(pool)
    .await
    .unwrap();
    assert!(audit(&world, &["verify"]).await.status.success(), "alone it cannot be seen");
    let installation = entries(&world).await[0]["installation"].to_string();
    let output = audit(&world, &["verify", "--installation", &installation, "--expect", &kept]).await;
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("the chain was written anew"), "{}", told(&output));
    let wrong = audit(&world, &["verify", "--installation", "4711"]).await;
    assert!(told(&wrong).contains("there is no installation 4711"), "{}", told(&wrong));
    world.end().await;
}
