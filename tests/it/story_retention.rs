//! What is old goes, and what is needed stays: rows beyond their time, and folders of a Titan that was killed.

use titan::domain::run::RunKind;

use crate::support::world::{World, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];
const ENDLESS: &[(&str, &str)] = &[("build.js", "console.log('waiting');\nsetInterval(() => {}, 1000);\n")];

async fn count(world: &World, pr: u64, tables: [&'static str; 4]) -> [i64; 4] {
    let mut counts = [0; 4];
    for (count, table) in counts.iter_mut().zip(tables) {
        *count = sqlx::query_scalar(table).bind(pr as i64).fetch_one(world.store.pool()).await.expect("a count");
    }
    counts
}

async fn holds(world: &World, guid: &str) -> bool {
    !world.store.list_held(&[guid.to_owned()]).await.expect("the store answers").is_empty()
}

/// What a pull request's runs left that grows: pieces of logs, events, probes, buttons.
const LEFT: [&str; 4] = [
    "SELECT count(*) FROM artifact_chunk k JOIN artifact a ON a.id = k.artifact_id JOIN run r ON r.id = a.run_id
     JOIN change c ON c.id = r.change_id WHERE c.number = $1",
    "SELECT count(*) FROM run_event e JOIN run r ON r.id = e.run_id JOIN change c ON c.id = r.change_id WHERE c.number = $1",
    "SELECT count(*) FROM sample s JOIN run r ON r.id = s.run_id JOIN change c ON c.id = r.change_id WHERE c.number = $1",
    "SELECT count(*) FROM button b JOIN run r ON r.id = b.run_id JOIN change c ON c.id = r.change_id WHERE c.number = $1",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_old_is_removed_but_nothing_that_a_run_under_way_needs() {
    let world = world().armed().watchful().setting("KEEP_DELIVERIES_DAYS", "10").start().await;
    let pr = world.tried(GOOD).await;
    let run = world.run(pr, RunKind::Propose).await.id;
    let endless = world.pull_request(ENDLESS);
    world.comment(endless, "carol", "/titan propose");
    world.until("it builds", async |world| count(world, endless, LEFT).await[0] > 0).await;
    let guids: Vec<String> = world.github.deliveries().iter().map(|delivery| delivery.guid.clone()).collect();
    let (old, young) = (&guids[0], guids.last().expect("a delivery"));
    let asked_before = world.get("/api/metrics").await;
    assert!(count(&world, pr, LEFT).await.iter().all(|count| *count > 0));

    sqlx::raw_sql(
        "UPDATE sample SET at = at - interval '91 days'; UPDATE run_event SET at = at - interval '91 days';
         UPDATE artifact SET created_at = created_at - interval '91 days';
         UPDATE button SET expires_at = expires_at - interval '95 days';",
    )
    .execute(world.store.pool())
    .await
    .expect("the store answers");
    let aged = "UPDATE delivery SET received_at = now() - $2 * interval '1 day', duplicates = 3 WHERE id = $1";
    for (guid, days) in [(old, 11), (young, 9)] {
        sqlx::query(aged).bind(guid).bind(days).execute(world.store.pool()).await.expect("the store answers");
    }
    world.until("it is swept", async |world| count(world, pr, LEFT).await == [0; 4]).await;
    world.until("deliveries too", async |world| !holds(world, old).await).await;
    assert!(holds(&world, young).await, "nine days are less than ten");
    let kept = count(&world, endless, LEFT).await;
    assert!(kept[0] > 0 && kept[1] > 0, "the run goes on: {kept:?}");
    let duplicates =
        |text: &str| text.lines().find(|line| line.starts_with("titan_deliveries_duplicate_total ")).map(str::to_owned);
    assert_eq!(duplicates(&asked_before).as_deref(), Some("titan_deliveries_duplicate_total 0"));
    let counted = duplicates(&world.get("/api/metrics").await);
    assert_eq!(counted.as_deref(), Some("titan_deliveries_duplicate_total 6"), "a counter never falls");

    let page = world.get(&format!("/runs/{run}")).await;
    assert!(page.contains("checked and built") || page.contains("success"), "the run itself stays: {page}");
    assert_eq!(world.get(&format!("/api/runs/{run}/log")).await, "");
    world.say(endless, "carol", "/titan cancel").await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"]);
    assert_eq!(world.runs(endless).await, ["propose cancelled"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_folders_of_a_killed_titan_are_removed_and_those_of_a_living_one_are_not() {
    let mut world = world().armed().file("build.js", ENDLESS[0].1).replicas(2).start().await;
    let work = world.output_dir().join("work");
    let folders = || {
        let names = std::fs::read_dir(&work).expect("a folder").map(|entry| entry.expect("an entry").path());
        let mut folders: Vec<_> = names.filter(|path| path.is_dir()).collect();
        folders.sort();
        folders
    };
    let builds = |folder: &std::path::PathBuf| {
        let inside = std::fs::read_dir(folder.join("builds")).into_iter().flatten().flatten();
        inside.filter(|entry| !entry.file_name().to_string_lossy().starts_with("check-")).count()
    };
    assert_eq!(folders().len(), 2, "one for each living Titan");
    let pr = world.pull_request(GOOD);
    world.comment(pr, "carol", "/titan propose");
    world.until("it builds", async |world| world.step_runs(pr, RunKind::Propose, "build").await).await;
    world.until("in a folder", async |_| folders().iter().map(builds).sum::<usize>() == 1).await;
    let building = folders().into_iter().find(|folder| builds(folder) == 1).expect("a folder");
    let number = usize::from(!world.replica_holds(0, &building));
    world.kill_replica(number).await;
    assert!(building.exists(), "a killed process removes nothing");
    let living: Vec<_> = folders().into_iter().filter(|folder| *folder != building).collect();
    world.start_replica(number).await;
    world.until("it is removed", async |_| !building.exists()).await;
    assert!(living.iter().all(|folder| folder.exists()), "the other Titan lives");
    world.until("it builds again", async |_| folders().iter().map(builds).sum::<usize>() == 1).await;
    world.say(pr, "carol", "/titan cancel").await;
    assert_eq!(world.runs(pr).await, ["propose cancelled"]);
    assert_eq!(folders().len(), 2);
    world.end().await;
}
