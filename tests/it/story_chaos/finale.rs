//! How every chaos story ends: a long one comes as far as production in the middle of it all; people tidy up, nothing may
//! be left over then, and one more change goes the whole way.

use std::time::{Duration, Instant};

use titan::domain::run::RunKind;

use super::people::{Pulls, is_open};
use super::plan::Kind;
use super::{Record, say};
use crate::support::world::{PRODUCTION, REPO, World};

/// Whoever knows what is needed must come as far as production within this, while calls and webhooks go wrong.
const WITHIN: Duration = Duration::from_secs(120);

/// One person goes on until something was shipped, if nothing was until now. Machines work again; calls and webhooks go
/// wrong as before.
pub async fn reach_production(world: &World, pulls: &mut Pulls, record: &mut Record) {
    let deadline = Instant::now() + WITHIN;
    let mut number = None;
    while world.count_promotes().await == 0 {
        assert!(Instant::now() < deadline, "seed {}: nothing comes as far as production in {WITHIN:?}", record.seed);
        let mine = match number {
            Some(mine) if is_open(world, mine) || is_promoted_now(world, mine).await => mine,
            _ => pulls.open(world, Kind::Good),
        };
        number = Some(mine);
        if let Some(command) = pulls.calm(world, mine) {
            let (id, told) = say(world, mine, "bob", &command);
            pulls.has_said(mine, id, &command);
            record.note(&told);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn is_promoted_now(world: &World, number: u64) -> bool {
    let run = world.find_run(number, RunKind::Promote).await;
    run.is_some_and(|run| run.status.conclusion().is_none())
}

/// Closes everything, frees what waits for a look, and ships. It must succeed, because nothing breaks any more.
pub async fn ship(world: &World, pulls: &mut Pulls, record: &mut Record) {
    for pull in world.github.pulls(REPO).into_iter().filter(|pull| pull.open) {
        record.note(&format!("#{}: alice closes it", pull.number));
        world.github.close(REPO, pull.number, "alice").expect("she may");
    }
    world.settle().await;
    let left = world.left_when_all_is_closed().await;
    assert!(left.is_empty(), "seed {}: everything is closed, and yet:\n{}", record.seed, left.join("\n"));

    // What went wrong on the way may be on the base branch.
    let number = world.pull_request(&[
        ("src/after-the-storm.html", "<h1>Calm</h1>\n"),
        ("service.json", "{ }\n"),
        ("build.js", "console.log('built the shop again');\n"),
    ]);
    pulls.note(world, number);
    let head = world.head(number);
    for (who, text) in [
        ("alice", "/titan resume".to_owned()),
        ("alice", "/titan unlock web --force the storm is over".to_owned()),
        ("bob", "/titan propose".to_owned()),
        ("bob", format!("/titan canary @{}", &head[..10])),
        ("bob", format!("/titan promote @{}", &head[..10])),
    ] {
        let id = world.say(number, who, &text).await;
        record.note(&format!("#{number}: {who}: {text} (comment {id})"));
    }
    let whole = ["propose success", "canary success", "promote success"];
    assert_eq!(world.runs(number).await, whole, "seed {}:\n{}", record.seed, world.status_comment(number));
    assert_eq!(world.live(PRODUCTION).await, world.main(), "seed {}: it is live", record.seed);
    assert_eq!(world.locks().await, Vec::<String>::new(), "seed {}: no lock is left", record.seed);
}
