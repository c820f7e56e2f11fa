//! What happens in a chaos story and when, as its seed decides. Pure: what people do depends on what they see, but who
//! does something when, and what breaks when, is fixed before the story begins.

use std::time::Duration;

use super::dice::Dice;

/// How large a story is.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Pull requests that people open.
    pub pulls: usize,
    /// How often one is opened.
    pub opens_every: Duration,
    /// Titans.
    pub replicas: usize,
    /// How long people and faults go on.
    pub lasts: Duration,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Carol opens the next pull request; what it changes.
    Open(Kind),
    /// Somebody gives the command that seems to be next for a pull request.
    Next(usize, &'static str),
    /// Somebody writes something else there.
    Say(usize, &'static str, &'static str),
    /// Carol pushes one more commit.
    Push(usize),
    /// Somebody closes it.
    Close(usize),
    /// Somebody opens it again.
    Reopen(usize),
    /// Every token of the installation is revoked.
    RevokeTokens,
    /// A replica ends as in a crash.
    Kill(usize),
    /// A replica is stopped by its operator.
    Stop(usize),
    /// A replica is started.
    Start(usize),
    /// A replica is frozen.
    Pause(usize),
    /// A replica goes on.
    Resume(usize),
    /// Postgres is stopped.
    PostgresAway,
    /// Postgres is started.
    PostgresBack,
}

/// What a pull request is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It can go the whole way.
    Good,
    /// Its build fails.
    Broken,
    /// It is unhealthy on the canary.
    BadCanary,
    /// It turns bad on production.
    BadProduction,
    /// It touches a protected file.
    Protected,
}

/// An act and its time since the story's beginning.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// What.
    pub act: Act,
}

const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];
const SAYINGS: [&str; 17] = [
    "/titan status",
    "/titan help",
    "/titan status",
    "/titan help web",
    "/titan unlock",
    "please have a look",
    "/titan canary web",
    "/titan canry",
    "> /titan promote",
    "looks good to me",
    "/titan lock I look at it",
    "/titan unlock",
    "/titan cancel",
    "/titan rollback",
    "/titan canary",
    "/titan propose",
    "/titan promote",
];

/// Everything that happens, in its order.
pub fn plan(seed: u64, scale: &Scale) -> Vec<Event> {
    let mut events = Vec::new();
    people(seed, scale, &mut events);
    troubles(seed, scale, &mut events);
    events.sort_by_key(|event| event.at);
    events
}

fn people(seed: u64, scale: &Scale, events: &mut Vec<Event>) {
    let lasts = millis(scale.lasts);
    let mut add = |at: u64, act| events.push(Event { at: Duration::from_millis(at), act });
    // Each pull request throws its own dice, so that a shorter story is the beginning of a longer one.
    for pull in 0..scale.pulls {
        let mut dice = Dice::of(seed, "pull request", pull as u64);
        let opened = pull as u64 * millis(scale.opens_every);
        let odd = [Kind::Broken, Kind::BadCanary, Kind::BadProduction, Kind::Protected];
        // The first can always go the whole way, so that no story is about nothing.
        let good = dice.happens(700) || pull == 0;
        add(opened, Act::Open(if good { Kind::Good } else { dice.pick(&odd) }));
        let mut at = opened + 300;
        // The first is left in peace by people, so that something gets as far as production.
        let noise = if pull == 0 { 75 } else { 99 };
        while at < lasts {
            let act = match dice.between(0, noise) {
                0..76 => Act::Next(pull, dice.pick(&["bob", "bob", "bob", "alice", "carol"])),
                76..92 => Act::Say(pull, dice.pick(&PEOPLE), dice.pick(&SAYINGS)),
                92..96 => Act::Push(pull),
                96..98 => {
                    add(at + dice.between(0, 1500), Act::Reopen(pull));
                    Act::Close(pull)
                }
                _ => Act::Close(pull),
            };
            add(at, act);
            at += dice.between(300, if pull == 0 { 1500 } else { 2500 + 100 * scale.pulls as u64 });
        }
    }
}

fn troubles(seed: u64, scale: &Scale, events: &mut Vec<Event>) {
    let lasts = millis(scale.lasts);
    let mut add = |at: u64, act| events.push(Event { at: Duration::from_millis(at), act });
    // Replicas, each with its own fate.
    for replica in 0..scale.replicas {
        let mut dice = Dice::of(seed, "replica", replica as u64);
        let mut at = dice.between(1500, 5000);
        while at < lasts {
            let (act, back, low, high) = match dice.between(0, 9) {
                0..4 => (Act::Kill(replica), Act::Start(replica), 100, 2500),
                4..6 => (Act::Stop(replica), Act::Start(replica), 0, 1500),
                _ => (Act::Pause(replica), Act::Resume(replica), 500, 5000),
            };
            add(at, act);
            at += dice.between(low, high);
            add(at, back);
            at += dice.between(1500, 7000);
        }
    }
    let mut dice = Dice::of(seed, "everything else", 0);
    let mut at = dice.between(3000, 9000);
    while at < lasts {
        if dice.happens(500) {
            add(at, Act::RevokeTokens);
        } else {
            add(at, Act::PostgresAway);
            at += dice.between(100, 2500);
            add(at, Act::PostgresBack);
        }
        at += dice.between(4000, 15000);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("a short time")
}
