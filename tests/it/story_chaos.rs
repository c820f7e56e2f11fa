//! Chaos: several people on several pull requests, several Titans, and nothing that can be relied on. Whatever happened,
//! at the end nothing was lost and nothing was done twice, and whoever ships something then succeeds.
//!
//! The seed is printed when a story begins and when it fails, with everything that happened. `script/chaos --seed N` plays
//! it again: the same events at the same times, the same faults for the same calls. What the processes make of that still
//! depends on the machine, so a seed may have to be played a few times.

mod dice;
mod finale;
mod people;
mod plan;
mod weather;

use std::time::{Duration, Instant};

use titan::playground::github::Tamper;

use crate::support::world::{REPO, World, world};
use people::{Pulls, is_open};
use plan::{Act, Event, Scale, plan};

/// The seed of the short story: both replicas are killed, one is frozen, and Postgres goes away in between.
const SEED: u64 = 7;
/// After the last fault everything must have settled within this.
const SETTLE: Duration = Duration::from_secs(90);
/// A replica that is stopped and has not ended by then is killed, as platforms do.
const GRACE: Duration = Duration::from_secs(1);
/// A story as long as this must bring something to production in the middle of it all.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_is_done_twice_whatever_breaks() {
    let (opens_every, lasts) = (Duration::from_millis(900), Duration::from_secs(5));
    let looks_every = Duration::from_millis(500);
    play(setting("CHAOS_SEED").unwrap_or(SEED), &Scale { pulls: 5, opens_every, replicas: 2, lasts, looks_every })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; script/chaos runs it"]
async fn nothing_is_lost_and_nothing_is_done_twice_for_a_long_time() {
    let now = || titan::clock::now().timestamp_millis().unsigned_abs() % 1_000_000;
    let seconds = setting("CHAOS_SECONDS").unwrap_or(120);
    let (opens_every, lasts) = (Duration::from_secs(6), Duration::from_secs(seconds));
    let looks_every = Duration::from_secs(2);
    let scale = Scale { pulls: 30, opens_every, replicas: 3, lasts, looks_every };
    play(setting("CHAOS_SEED").unwrap_or_else(now), &scale).await;
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// What is told when a story fails.
struct Record {
    seed: u64,
    began: Instant,
    happened: Vec<String>,
}

impl Record {
    fn note(&mut self, text: &str) {
        let line = format!("{:>7} ms  {text}", self.began.elapsed().as_millis());
        // Among what the replicas say.
        if std::env::var_os("RUST_LOG").is_some() {
            eprintln!("{line}");
        }
        self.happened.push(line);
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
    let setup = world().armed().looking_every(scale.looks_every).own_postgres().replicas(scale.replicas);
    let mut world = setup.start().await;
    let mut record = Record { seed, began: Instant::now(), happened: Vec::new() };
    let mut pulls = Pulls::default();
    weather::begin(&world, seed, scale.lasts >= LONG);
    for (nth, event) in plan(seed, scale).iter().enumerate() {
        tokio::time::sleep_until((record.began + event.at).into()).await;
        act(&mut world, &mut pulls, &mut record, nth, event).await;
    }
    record.note("the machines are let alone");
    for number in 0..scale.replicas {
        world.recover_replica(number).await;
    }
    if scale.lasts >= LONG {
        finale::reach_production(&world, &mut pulls, &mut record).await;
    }
    record.note("the faults end");
    weather::end(&world);
    calm(&world, &mut record).await;
    tell(&world, &mut record, "after the storm").await;
    hold(&world, &pulls, &mut record, "after the storm").await;
    let shipped = world.count_promotes().await;
    finale::ship(&world, &mut pulls, &mut record).await;
    hold(&world, &pulls, &mut record, "at the end").await;
    assert_eq!(world.count_promotes().await, shipped + 1, "seed {seed}: the last one counts");
    world.end().await;
}

/// Says how it went.
async fn tell(world: &World, record: &mut Record, when: &str) {
    let summary = world.summary().await;
    eprintln!("chaos: seed {}: {when}, {} s: {summary}", record.seed, record.began.elapsed().as_secs());
    record.note(&summary);
}

/// Fails when an invariant is broken.
async fn hold(world: &World, pulls: &Pulls, record: &mut Record, when: &str) {
    let broken = world.broken_invariants(&pulls.heads).await;
    if !broken.is_empty() {
        tell(world, record, when).await;
    }
    let seed = record.seed;
    assert!(broken.is_empty(), "seed {seed}, {when}: {} invariants are broken:\n{}", broken.len(), broken.join("\n"));
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
            Some((number, Some(command))) => say(world, number, who, command).1,
            _ => return,
        },
        Act::Calm(pull, who) => match pulls.number(pull).map(|number| (number, pulls.calm(world, number))) {
            Some((number, Some(command))) => {
                let (id, told) = say(world, number, who, &command);
                pulls.has_said(number, id, &command);
                told
            }
            _ => return,
        },
        Act::Say(pull, who, text) => match pulls.number(pull) {
            Some(number) => say(world, number, who, text).1,
            None => return,
        },
        Act::Press(pull, who) => match pulls.number(pull).and_then(|number| press(world, number, who)) {
            Some(told) => told,
            None => return,
        },
        Act::Label(pull, who) => match pulls.number(pull) {
            Some(number) => {
                // Only a label that is not there can be set.
                world.github.unlabel(REPO, number, who, "titan-ops").ok();
                world.label(number, who, "titan-ops");
                format!("#{number}: {who} sets the label")
            }
            None => return,
        },
        Act::Push(pull) => match pulls.number(pull) {
            Some(number) => {
                pulls.push(world, number, nth);
                format!("#{number}: carol pushes")
            }
            None => return,
        },
        Act::PushAndSay(pull, who, late, named) => match pulls.number(pull).filter(|number| is_open(world, *number)) {
            Some(number) => {
                let late = Duration::from_millis(late);
                world.github.hooks().tamper(Some("pull_request"), Tamper::Delay(late));
                pulls.push(world, number, nth);
                let head = world.head(number);
                let text = if named { format!("/titan canary @{}", &head[..10]) } else { "/titan canary".to_owned() };
                format!(
                    "#{number}: carol pushes {head}, told after {late:?}\n{:11}{}",
                    "",
                    say(world, number, who, &text).1
                )
            }
            None => return,
        },
        Act::MergeReverts => match merge_reverts(world) {
            Some(told) => told,
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

/// Gives the comment's id and what happened.
fn say(world: &World, number: u64, who: &str, text: &str) -> (u64, String) {
    let id = world.comment(number, who, text);
    (id, format!("#{number}: {who}: {text} (comment {id})"))
}

fn press(world: &World, number: u64, who: &str) -> Option<String> {
    let checks = world.checks(number);
    let shown = checks.iter().rev().filter(|check| check.status == "completed");
    let (check, button) = shown.filter_map(|check| check.actions.first().map(|button| (check, button))).next()?;
    world.github.press_check_button(REPO, check.id, &button.identifier, who).ok()?;
    Some(format!("#{number}: {who} presses {:?} of {}", button.label, check.name))
}

fn merge_reverts(world: &World) -> Option<String> {
    let reverts = world.github.pulls(REPO).into_iter().filter(|pull| pull.open && pull.via_app);
    let merged = reverts.filter(|pull| world.github.merge(REPO, pull.number, "bob", "squash").is_ok());
    let told: Vec<String> = merged.map(|pull| format!("#{}: bob merges {:?}", pull.number, pull.title)).collect();
    (!told.is_empty()).then(|| told.join("\n           "))
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
        Act::Stop(number) => world.stop_replica_or_kill(number, GRACE).await,
        Act::Start(number) => world.start_replica(number).await,
        Act::Pause(number) => world.pause_replica(number),
        Act::Resume(number) => world.resume_replica(number),
        Act::PostgresAway => world.stop_postgres().await,
        Act::PostgresBack => world.start_postgres().await,
        people => unreachable!("{people:?} is done by people"),
    }
}
