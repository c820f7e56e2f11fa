//! Plays a story, killing Titan where it was asked for, and tells how the world stands afterwards.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::picture;
use super::points::{Call, Commits, Gate, Kills};
use super::tales::Tale;
use crate::support::world::World;

/// How long one command may take, with all its crashes.
const PATIENCE: Duration = Duration::from_secs(240);

/// What one playing of a story showed.
#[derive(Debug)]
pub struct Played {
    /// Every write at GitHub and Render in the order of their arrival.
    pub calls: Vec<Call>,
    /// Every commit, each kind once, in the order of their first happening.
    pub commits: Vec<String>,
    /// Where Titan was killed.
    pub hit: Vec<String>,
    /// Where it was to be killed, and the story did not come to it.
    pub unhit: Vec<String>,
    /// How the world stands at the end.
    pub picture: Vec<String>,
}

/// Plays it.
pub async fn play(tale: Tale, kills: &Kills) -> Played {
    let mut world = tale.setup().start().await;
    let pr = tale.prepare(&world).await;
    let mut commits = Commits::watch(&world).await;
    let mut gate = Gate::put_before(&world, kills);
    let mut seen = Seen::new(kills);
    if let Kills::Refused(refused) = kills {
        Commits::refuse_first(&world, refused).await;
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
    if seen.refusing {
        unhit.extend(Commits::never_refused(&world).await);
    }
    world.end().await;
    Played { calls: gate.calls(), commits: seen.order, hit, unhit, picture }
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
                seen.note(commit);
            }
        }
    }
}

/// The commits that were seen.
struct Seen {
    wanted: BTreeSet<String>,
    order: Vec<String>,
    hit: Vec<String>,
    /// Whether commits are refused instead of Titan being killed.
    refusing: bool,
}

impl Seen {
    fn new(kills: &Kills) -> Self {
        let wanted = match kills {
            Kills::Commits(commits) => commits.iter().cloned().collect(),
            _ => BTreeSet::new(),
        };
        Self { wanted, order: Vec::new(), hit: Vec::new(), refusing: matches!(kills, Kills::Refused(_)) }
    }

    /// Whether Titan is to be killed now.
    fn note(&mut self, commit: String) -> bool {
        if !self.order.contains(&commit) {
            self.order.push(commit.clone());
        }
        let wanted = self.wanted.remove(&commit);
        if wanted {
            self.hit.push(format!("after the commit {commit}"));
        }
        wanted
    }
}
