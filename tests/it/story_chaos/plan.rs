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
    /// How often Titan looks for what it missed.
    pub looks_every: Duration,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Carol opens the next pull request; what it changes.
    Open(Kind),
    /// Somebody gives the command that seems to be next for a pull request.
    Next(usize, &'static str),
    /// Somebody waits until Titan has answered, looks, names the commit, and gives the command that is next.
    Calm(usize, &'static str),
    /// Somebody writes something else there.
    Say(usize, &'static str, &'static str),
    /// Somebody presses a button of the newest check that has one.
    Press(usize, &'static str),
    /// Somebody sets the label again.
    Label(usize, &'static str),
    /// Carol pushes one more commit.
    Push(usize),
    /// Carol pushes, GitHub tells it so many milliseconds later, and meanwhile somebody gives a command for the new head,
    /// by its name or not.
    PushAndSay(usize, &'static str, u64, bool),
    /// Bob merges the reverts that Titan has opened.
    MergeReverts,
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
        if opened >= lasts {
            break;
        }
        let odd = [Kind::Broken, Kind::BadCanary, Kind::BadProduction, Kind::Protected];
        // Some people know what they do, so that every story comes as far as production.
        let calm = pull % 3 == 0;
        let good = dice.happens(600) || calm;
        add(opened, Act::Open(if good { Kind::Good } else { dice.pick(&odd) }));
        let mut at = opened + 300;
        while at < lasts {
            if calm {
                add(at, Act::Calm(pull, "bob"));
                at += dice.between(400, 1200);
                continue;
            }
            let act = match dice.between(0, 99) {
                0..62 => Act::Next(pull, dice.pick(&["bob", "bob", "bob", "alice", "carol"])),
                62..78 => Act::Say(pull, dice.pick(&PEOPLE), dice.pick(&SAYINGS)),
                78..84 => Act::Press(pull, dice.pick(&PEOPLE)),
                84..87 => Act::Label(pull, dice.pick(&["alice", "bob", "carol"])),
                87..91 => Act::Push(pull),
                91..96 => Act::PushAndSay(pull, "bob", dice.between(500, 8000), dice.happens(500)),
                96..98 => {
                    add(at + dice.between(0, 1500), Act::Reopen(pull));
                    Act::Close(pull)
                }
                _ => Act::Close(pull),
            };
            add(at, act);
            at += dice.between(300, 2500 + 150 * scale.pulls as u64);
        }
    }
    let mut dice = Dice::of(seed, "reverts", 0);
    let mut at = 0;
    while at < lasts {
        at += dice.between(2000, 6000);
        add(at, Act::MergeReverts);
    }
}

/// Troubles come in waves of so long, ...
const WAVE: u64 = 16_000;
/// ... and then machines are left alone for so long, so that what was begun can come to its end. Calls and webhooks go
/// wrong all the time.
const LULL: u64 = 9_000;

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
            at = after_the_lull(at + dice.between(1500, 7000));
        }
    }
    let mut dice = Dice::of(seed, "everything else", 0);
    let mut at = dice.between(3000, 9000);
    while at < lasts {
        match dice.between(0, 19) {
            0..9 => add(at, Act::RevokeTokens),
            9..19 => {
                add(at, Act::PostgresAway);
                at += dice.between(100, 2500);
                add(at, Act::PostgresBack);
            }
            _ => {
                add(at, Act::Say(0, "alice", "/titan halt it smells of smoke"));
                at += dice.between(500, 3000);
                add(at, Act::Say(0, "alice", "/titan resume"));
            }
        }
        at = after_the_lull(at + dice.between(4000, 15000));
    }
}

/// This time, or the end of the lull that it is in.
fn after_the_lull(at: u64) -> u64 {
    if at % (WAVE + LULL) < WAVE { at } else { at - at % (WAVE + LULL) + WAVE + LULL }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("a short time")
}
