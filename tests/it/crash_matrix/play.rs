//! Plays a story, killing Titan where it was asked for, and tells how the world stands afterwards.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::picture;
use super::points::{Call, Commits, Gate, Harm, Moment, Point};
use super::tales::Tale;
use crate::support::world::World;

/// How long one command may take, with all its crashes.
const PATIENCE: Duration = Duration::from_secs(240);

/// What one playing of a story showed.
#[derive(Debug)]
pub struct Played {
    /// Every write at GitHub and Render in the order of their arrival.
    pub calls: Vec<(Instant, Call)>,
    /// Every commit, each kind once, in the order of their first happening.
    pub commits: Vec<(Instant, String)>,
    /// Where Titan was killed.
    pub hit: Vec<Point>,
    /// Commits after which it was to be killed, and which were there when it was killed for something else.
    pub passed: BTreeSet<Point>,
    /// Where it was to be killed, and the story did not come to it.
    pub unhit: BTreeSet<Point>,
    /// The commits that were to be refused, and that the story did not come to.
    pub unrefused: BTreeSet<String>,
    /// How the world stands at the end.
    pub picture: Vec<String>,
}

impl Played {
    /// Every point of the story, in the order of time.
    pub fn points(&self) -> Vec<Point> {
        let both = |call: &Call| [Moment::Before, Moment::After].map(|moment| Point::Call(call.clone(), moment));
        let calls = self.calls.iter().flat_map(|(at, call)| both(call).map(|point| (*at, point)));
        let commits = self.commits.iter().map(|(at, commit)| (*at, Point::Commit(commit.clone())));
        let mut points: Vec<(Instant, Point)> = calls.chain(commits).collect();
        points.sort_by_key(|(at, _)| *at);
        points.into_iter().map(|(_, point)| point).collect()
    }
}

/// Plays it.
pub async fn play(tale: Tale, harm: &Harm) -> Played {
    let mut world = tale.setup().start().await;
    let pr = tale.prepare(&world).await;
    let mut commits = Commits::watch(&world).await;
    let mut gate = Gate::put_before(&world, harm);
    let mut seen = Seen::new(harm);
    if seen.refusing {
        Commits::refuse_first(&world, &harm.refused).await;
    }
    for act in tale.acts() {
        act.perform(&world, pr);
        follow(tale, &mut world, pr, &mut gate, &mut commits, &mut seen).await;
    }
    world.github.faults().set_weather(None);
    world.render.faults().set_weather(None);
    let picture = picture::of(&world).await;
    let mut hit = gate.hit();
    hit.extend(seen.hit);
    let mut unhit = gate.unhit();
    unhit.extend(seen.wanted);
    let unrefused = if seen.refusing { Commits::never_refused(&world).await } else { BTreeSet::new() };
    world.end().await;
    Played { calls: gate.calls(), commits: seen.order, hit, passed: seen.passed, unhit, unrefused, picture }
}

/// Waits until everything that follows has happened, and kills Titan at each point that was asked for.
async fn follow(tale: Tale, world: &mut World, pr: u64, gate: &mut Gate, commits: &mut Commits, seen: &mut Seen) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if Instant::now() > deadline {
            panic!("{tale:?} killed {:#?} {:#?} does not end: {:#?}", gate.hit(), seen.hit, world.open_work().await);
        }
        let kill = tokio::select! {
            biased;
            () = gate.held() => true,
            commit = commits.next() => seen.note(commit),
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                tale.keep_weather(world, pr).await;
                if seen.refusing {
                    Commits::hurry(world).await;
                }
                if world.is_calm().await {
                    return;
                }
                false
            }
        };
        if kill {
            world.crash().await;
            gate.forget_held();
            // These were committed before the kill as well.
            for commit in commits.rest() {
                if seen.note(commit) {
                    seen.passed.extend(seen.hit.pop());
                }
            }
        }
    }
}

/// The commits that were seen.
struct Seen {
    wanted: BTreeSet<Point>,
    order: Vec<(Instant, String)>,
    hit: Vec<Point>,
    passed: BTreeSet<Point>,
    /// Whether commits are refused.
    refusing: bool,
}

impl Seen {
    fn new(harm: &Harm) -> Self {
        let wanted = harm.kills.iter().filter(|point| matches!(point, Point::Commit(_))).cloned().collect();
        let refusing = !harm.refused.is_empty();
        Self { wanted, order: Vec::new(), hit: Vec::new(), passed: BTreeSet::new(), refusing }
    }

    /// Whether Titan is to be killed now.
    fn note(&mut self, commit: String) -> bool {
        if !self.order.iter().any(|(_, known)| *known == commit) {
            self.order.push((Instant::now(), commit.clone()));
        }
        let point = Point::Commit(commit);
        let wanted = self.wanted.remove(&point);
        if wanted {
            self.hit.push(point);
        }
        wanted
    }
}
