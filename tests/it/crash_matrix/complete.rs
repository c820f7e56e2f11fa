//! Every point of every story: Titan is killed at each of them once. `script/crash-matrix` plays it.
//!
//! A playing holds several kills, far from each other: every so many points, beginning with another one in each playing, so
//! that together they come to every point. What a playing did not come to, because a kill changed what followed, is played
//! again with fewer kills and at last alone. A playing that ends otherwise is taken apart the same way until each of its
//! points was played alone, so a difference names the point that makes it.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::play::play;
use super::points::{Harm, Point};
use super::tales::Tale;
use super::{compare, undisturbed};

/// Between two kills of one playing there are so many points, at first.
const FAR: usize = 12;

/// What `script/crash-matrix` was asked for.
struct Wish {
    /// Playings at a time.
    jobs: usize,
    /// One kill a playing from the beginning.
    alone: bool,
    tales: Vec<Tale>,
}

impl Wish {
    fn read() -> Self {
        let setting = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let tales: Vec<Tale> = match setting("CRASH_MATRIX_TALE") {
            Some(name) => {
                Tale::ALL.into_iter().filter(|tale| format!("{tale:?}").eq_ignore_ascii_case(&name)).collect()
            }
            None => Tale::ALL.to_vec(),
        };
        assert!(!tales.is_empty(), "there is no such story; there are {:?}", Tale::ALL);
        let jobs = setting("CRASH_MATRIX_JOBS").map_or(6, |jobs| jobs.parse().expect("a number of playings"));
        Self { jobs, alone: setting("CRASH_MATRIX_ALONE").is_some(), tales }
    }
}

/// How far one story is.
#[derive(Default)]
struct Tally {
    points: usize,
    played: BTreeSet<Point>,
    playings: usize,
    not_come_to: Vec<Point>,
    differences: Vec<String>,
}

#[test]
#[ignore = "takes long; script/crash-matrix plays it"]
fn every_point() {
    let wish = Wish::read();
    let began = Instant::now();
    let mut all = Vec::new();
    for tale in &wish.tales {
        let tally = play_tale(*tale, &wish);
        println!("{}", told(*tale, &tally, began));
        all.push((*tale, tally));
    }
    println!("\n== all together");
    for (tale, tally) in &all {
        println!("{}", told(*tale, tally, began));
    }
    let points: usize = all.iter().map(|(_, tally)| tally.points).sum();
    let not_come_to: usize = all.iter().map(|(_, tally)| tally.not_come_to.len()).sum();
    let differences: Vec<&String> = all.iter().flat_map(|(_, tally)| &tally.differences).collect();
    for difference in &differences {
        println!("\n{difference}");
    }
    assert!(differences.is_empty(), "{} of {points} points change how a story ends", differences.len());
    // How many reports are put together into one depends on how fast things follow each other.
    assert!(not_come_to * 10 < points, "{not_come_to} of {points} points were not come to");
}

fn told(tale: Tale, tally: &Tally, began: Instant) -> String {
    let (points, played, playings) = (tally.points, tally.played.len(), tally.playings);
    let (missed, other) = (tally.not_come_to.len(), tally.differences.len());
    let seconds = began.elapsed().as_secs();
    format!(
        "{tale:?}: {played} of {points} points in {playings} playings, {missed} not come to, {other} ended otherwise ({seconds} s)"
    )
}

/// One story, round by round, until every point was played or not come to alone.
fn play_tale(tale: Tale, wish: &Wish) -> Tally {
    let expected = runtime().block_on(undisturbed(tale));
    let all = expected.points();
    let tally = Mutex::new(Tally { points: all.len(), ..Tally::default() });
    println!("{tale:?}: {} points", all.len());
    let mut open = all.clone();
    let mut far = if wish.alone { all.len() } else { FAR.min(all.len()) };
    // Points that ended otherwise together with others, and have to be played alone.
    while !open.is_empty() {
        let alone = far >= open.len();
        let plan = Mutex::new(playings(&open, far));
        let next_round: Mutex<BTreeSet<Point>> = Mutex::default();
        // A thread and a runtime for each, because what people do in a story waits for git.
        std::thread::scope(|scope| {
            for _ in 0..wish.jobs {
                scope.spawn(|| {
                    loop {
                        // A statement of its own, so that the plan is not locked while a story is played.
                        let next = lock(&plan).pop();
                        let Some(points) = next else { return };
                        let again = play_once(tale, points, &tally);
                        lock(&next_round).extend(again);
                    }
                });
            }
        });
        let again = next_round.into_inner().unwrap_or_else(PoisonError::into_inner);
        if alone {
            lock(&tally).not_come_to.extend(again);
            break;
        }
        open.retain(|point| again.contains(point));
        // At the third try alone.
        far = if far == FAR { (open.len() / 2).max(2 * FAR) } else { open.len() };
    }
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Every `far`-th of the points, once from each beginning. The last is played first.
fn playings(points: &[Point], far: usize) -> Vec<Vec<Point>> {
    let from = |first: usize| points.iter().skip(first).step_by(far).cloned().collect::<Vec<_>>();
    (0..far).map(from).filter(|points| !points.is_empty()).rev().collect()
}

/// One playing; one that fails does not end the others. Gives the points that have to be played again.
fn play_once(tale: Tale, points: Vec<Point>, tally: &Mutex<Tally>) -> BTreeSet<Point> {
    let asked: BTreeSet<Point> = points.iter().cloned().collect();
    let harm = Harm::kills(points);
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime().block_on(async {
            let played = play(tale, &harm).await;
            let compared = compare(tale, &played, undisturbed(tale).await);
            (played.hit, compared)
        })
    }));
    let (hit, compared) = result.unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned());
        (asked.iter().cloned().collect(), Err(format!("{tale:?} came to no end: {why}")))
    });
    let hit: BTreeSet<Point> = hit.into_iter().collect();
    let mut tally = lock(tally);
    tally.playings += 1;
    let again = match compared {
        Ok(()) => {
            let again = asked.difference(&hit).cloned().collect();
            tally.played.extend(hit);
            again
        }
        Err(told) if asked.len() > 1 => {
            println!("{told}\n(each of these is played again)");
            asked
        }
        Err(told) => {
            println!("{told}");
            tally.played.extend(hit);
            tally.differences.push(told);
            BTreeSet::new()
        }
    };
    println!("{tale:?}: {} of {} points", tally.played.len(), tally.points);
    again
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
