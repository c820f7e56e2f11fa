//! Chaos: several people on several pull requests, several Titans, and nothing that can be relied on. Whatever happened,
//! at the end nothing was lost and nothing was done twice.
//!
//! The seed is printed when a story begins and when it fails, with everything that happened. `script/chaos --seed N` plays
//! it again: the same events at the same times, the same faults for the same calls. What the processes make of that still
//! depends on the machine, so a seed may have to be played a few times.

mod dice;
mod people;
mod plan;
mod weather;

use std::time::{Duration, Instant};

use crate::support::world::{REPO, World, world};
use people::{Pulls, is_open};
use plan::{Act, Event, Scale, plan};

/// The seed of the short story: both replicas are killed, one is frozen, and Postgres goes away in between.
const SEED: u64 = 7;
/// After the last fault everything must have settled within this.
const SETTLE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_is_done_twice_whatever_breaks() {
    let (opens_every, lasts) = (Duration::from_millis(900), Duration::from_secs(10));
    play(SEED, &Scale { pulls: 6, opens_every, replicas: 2, lasts }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; script/chaos runs it"]
async fn nothing_is_lost_and_nothing_is_done_twice_for_a_long_time() {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let now = || titan::clock::now().timestamp_millis().unsigned_abs() % 1_000_000;
    let seconds = setting("CHAOS_SECONDS").unwrap_or(120);
    let (opens_every, lasts) = (Duration::from_secs(4), Duration::from_secs(seconds));
    let scale = Scale { pulls: 30, opens_every, replicas: 3, lasts };
    play(setting("CHAOS_SEED").unwrap_or_else(now), &scale).await;
}

/// What is told when a story fails.
struct Record {
    seed: u64,
    began: Instant,
    happened: Vec<String>,
}

impl Record {
    fn note(&mut self, text: &str) {
        self.happened.push(format!("{:>7} ms  {text}", self.began.elapsed().as_millis()));
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.seed;
            eprintln!("\nseed {seed} failed; script/chaos --seed {seed} plays it again. What happened:");
            eprintln!("{}", self.happened.join("\n"));
        }
    }
}

async fn play(seed: u64, scale: &Scale) {
    eprintln!("chaos: seed {seed}, {scale:?}");
    let setup = world().armed().watchful().own_postgres().replicas(scale.replicas);
    let mut world = setup.start().await;
    let mut record = Record { seed, began: Instant::now(), happened: Vec::new() };
    let mut pulls = Pulls::default();
    weather::begin(&world, seed);
    for (nth, event) in plan(seed, scale).iter().enumerate() {
        tokio::time::sleep_until((record.began + event.at).into()).await;
        act(&mut world, &mut pulls, &mut record, nth, event).await;
    }
    record.note("the faults end");
    weather::end(&world);
    for number in 0..scale.replicas {
        world.recover_replica(number).await;
    }
    calm(&world, &mut record).await;
    let broken = world.broken_invariants(&pulls.heads).await;
    let summary = world.summary().await;
    record.note(&summary);
    assert!(broken.is_empty(), "seed {seed}: {} invariants are broken:\n{}", broken.len(), broken.join("\n"));
    eprintln!("chaos: seed {seed}: {summary}");
    world.end().await;
}

/// Waits until everything has concluded, what was lost included.
async fn calm(world: &World, record: &mut Record) {
    let deadline = Instant::now() + SETTLE;
    loop {
        world.settle().await;
        let open = world.unanswered().await;
        if open.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            record.note("not everything concluded");
            panic!("after {SETTLE:?} still not answered:\n{}", open.join("\n"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn act(world: &mut World, pulls: &mut Pulls, record: &mut Record, nth: usize, event: &Event) {
    let told = match event.act {
        Act::Open(kind) => {
            pulls.open(world, kind);
            format!("carol opens a pull request, {kind:?}")
        }
        Act::Next(pull, who) => match pulls.number(pull).map(|number| (number, pulls.next(world, number))) {
            Some((number, Some(command))) => say(world, number, who, command),
            _ => return,
        },
        Act::Say(pull, who, text) => match pulls.number(pull) {
            Some(number) => say(world, number, who, text),
            None => return,
        },
        Act::Push(pull) => match pulls.number(pull) {
            Some(number) => {
                pulls.push(world, number, nth);
                format!("#{number}: carol pushes")
            }
            None => return,
        },
        Act::Close(pull) | Act::Reopen(pull) => match pulls.number(pull) {
            Some(number) => open_or_close(world, number, matches!(event.act, Act::Reopen(_))),
            None => return,
        },
        Act::RevokeTokens => {
            world.github.expire_tokens();
            "tokens are revoked".to_owned()
        }
        machine => {
            break_or_mend(world, machine).await;
            format!("{machine:?}")
        }
    };
    record.note(&told);
}

fn say(world: &World, number: u64, who: &str, text: &str) -> String {
    let id = world.comment(number, who, text);
    format!("#{number}: {who}: {text} (comment {id})")
}

fn open_or_close(world: &World, number: u64, open: bool) -> String {
    if is_open(world, number) == open || world.is_merged(number) {
        return format!("#{number}: stays as it is");
    }
    let done =
        if open { world.github.reopen(REPO, number, "carol") } else { world.github.close(REPO, number, "carol") };
    done.expect("it is carol's");
    format!("#{number}: carol {} it", if open { "reopens" } else { "closes" })
}

async fn break_or_mend(world: &mut World, act: Act) {
    match act {
        Act::Kill(number) => world.kill_replica(number).await,
        Act::Stop(number) => world.stop_replica(number).await,
        Act::Start(number) => world.start_replica(number).await,
        Act::Pause(number) => world.pause_replica(number),
        Act::Resume(number) => world.resume_replica(number),
        Act::PostgresAway => world.stop_postgres().await,
        Act::PostgresBack => world.start_postgres().await,
        people => unreachable!("{people:?} is done by people"),
    }
}
