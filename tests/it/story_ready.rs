//! Whether builds can be locked in on this machine is told to whoever asks whether Titan is ready.

use serde_json::Value;

use crate::support::world::{World, world};

/// What `/api/ready` says of builds, once the look at the start is over.
async fn builds(world: &World) -> Value {
    world.until("it has looked", async |world| ready(world).await["isolation"] != "unknown").await;
    ready(world).await
}

async fn ready(world: &World) -> Value {
    let (status, answer) = world.get_api("/api/ready").await;
    assert_eq!((status, &answer["status"]), (200, &"ready".into()), "{answer}");
    answer["builds"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_tells_whether_builds_can_be_isolated_and_what_is_missing() {
    // Titan's own folder would be seen by every build, wherever this is.
    let tools = tempfile::tempdir().expect("a folder");
    let (above, own) = (tools.path().display().to_string(), tools.path().join("titan").display().to_string());
    let setup =
        world().setting("BUILD_ISOLATION", "required").setting("BUILD_TOOLS", &above).setting("OUTPUT_DIR", &own);
    let here = setup.start().await;
    let told = builds(&here).await;
    assert_eq!(told["isolation"], "missing", "{told}");
    let why = told["why"].as_str().expect("what is missing and what to do");
    assert!(why.contains(&own) || !crate::support::place::can_isolate(), "{why}");
    here.end().await;

    let off = world().setting("BUILD_ISOLATION", "off").start().await;
    assert_eq!(builds(&off).await, serde_json::json!({ "isolation": "off" }));
    off.end().await;

    if crate::support::place::can_isolate() {
        let works = world().start().await;
        let told = builds(&works).await;
        assert_eq!(told["isolation"], "works", "{told}");
        assert!(told["memory_is_limited_by"].as_str().is_some_and(|by| !by.is_empty()), "{told}");
        works.end().await;
    }
}
