//! Why can this not be promoted? The same table in the comment and over the API, and asking changes nothing.

use serde_json::Value;
use titan::playground::exchange::Exchange;

use crate::support::world::{REPO, World, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];

async fn ask(world: &World, query: &str) -> (u16, Value) {
    world.get_api(&format!("/api/explain?{query}")).await
}

/// What was seen and what to do, of every row of an answer.
fn texts(answer: &Value) -> Vec<String> {
    let rows = answer["gates"].as_array().unwrap_or_else(|| panic!("gates: {answer}"));
    let text = |row: &Value, key: &str| row[key].as_str().expect("text").to_owned();
    rows.iter().flat_map(|row| [text(row, "observed"), text(row, "way_out")]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_comment_and_the_api_say_the_same() {
    let world = world().armed().policy_line("approvals: 0", "approvals: 1").start().await;
    let pr = world.proposed(GOOD).await;
    world.say(pr, "carol", "/titan status").await;
    let told = world.status_comment(pr);
    let written = world.github.calls().all().len();
    for command in ["propose", "canary", "promote", "rollback"] {
        let (status, answer) = ask(&world, &format!("pull={REPO}%23{pr}&command={command}&actor=carol")).await;
        assert_eq!(status, 200, "{answer}");
        for text in texts(&answer) {
            assert!(told.contains(&text), "{command}: the comment does not say {text:?}:\n{told}");
        }
        let open = answer["gates"].as_array().expect("gates").iter().all(|row| row["passed"] == true);
        assert_eq!(answer["open"], open);
        assert_eq!(answer["head"], world.head(pr));
    }
    let calls = world.github.calls().all();
    let is_read = |call: &Exchange| call.method == "GET" || call.path.ends_with("/access_tokens");
    let writes: Vec<_> = calls[written..].iter().filter(|call| !is_read(call)).collect();
    assert!(writes.is_empty(), "{writes:?}");
    let policies = calls[written..].iter().filter(|call| call.path.ends_with("/contents/.github/titan.yml")).count();
    assert_eq!(policies, 1, "four questions, one reading");
    assert_eq!(world.runs(pr).await, ["propose success"], "nothing is started or refused");
    assert_eq!(world.status_comment(pr), told);

    let (_, nobody) = ask(&world, &format!("pull={pr}&repository={REPO}&command=promote")).await;
    let gates: Vec<_> = nobody["gates"].as_array().expect("gates").iter().map(|row| row["gate"].clone()).collect();
    assert!(!gates.contains(&Value::from("permission")) && gates.contains(&Value::from("approvals")), "{gates:?}");
    let (_, named) = ask(&world, &format!("pull={pr}&repository={REPO}&command=promote&project=web")).await;
    assert_eq!(texts(&named), texts(&nobody), "there is one project");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_learns_nothing_new_and_cannot_use_up_the_calls() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    let before = world.github.calls().all().len();
    for (query, expected) in [
        ("command=promote".to_owned(), 400),
        (format!("pull={REPO}%23{pr}"), 400),
        (format!("pull={REPO}%23{pr}&command=halt"), 400),
        (format!("pull={REPO}%23x&command=promote"), 400),
        (format!("pull={REPO}%23{pr}&repository={REPO}&command=promote"), 400),
        (format!("pull={REPO}%2399&command=promote"), 404),
        ("pull=acme/secret%231&command=promote".to_owned(), 404),
        (format!("pull={REPO}%23{pr}&command=promote&actor=alice"), 404),
    ] {
        let (status, answer) = ask(&world, &query).await;
        assert_eq!(status, expected, "{query}: {answer}");
        assert!(answer["type"].as_str().is_some_and(|kind| kind.starts_with("urn:titan:problem:")), "{answer}");
    }
    assert_eq!(world.github.calls().all().len(), before, "GitHub is asked nothing for them");
    sqlx::query(
        "INSERT INTO explanation_read (installation_id) SELECT i.id FROM installation i, generate_series(1, 60)",
    )
    .execute(world.store.pool())
    .await
    .expect("the store answers");
    let (status, answer) = ask(&world, &format!("pull={REPO}%23{pr}&command=promote")).await;
    assert_eq!((status, answer["type"].as_str()), (429, Some("urn:titan:problem:too-many-questions")));
    assert_eq!(world.github.calls().all().len(), before);
    world.end().await;
}
