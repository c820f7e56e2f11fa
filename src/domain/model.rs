//! A model of the protocol of runs and locks, explored completely: two replicas, two pull requests, one project with a
//! canary and a production, crashes at any point, workers that are frozen and wake after they were overtaken,
//! deliveries that come twice, pushes, closing, locks that end and locks that are taken away.
//!
//! What is decided is decided by the functions that Titan runs: [`lock`], [`after`], [`next_status`]. What the model adds
//! is the store (one transaction is one move) and the world. Left out: time (what may happen at some time may happen at
//! any time), and what a step sees outside (every answer may come).
//!
//! One assumption is made, because no protocol can do without it: a call that is sent arrives before the claim on the
//! job ends, which `claim` looks after with a tenth of the lease to spare.

mod explore;
mod moves;

use super::ids::{CommitSha, Environment, PrNumber, ProjectName, RunId};
use super::lock::{self, HeldFor};
use super::run::{RunKind, RunStatus, StepName};
use super::snapshot::{ActiveRun, LockFact, ProjectFact, WaitingFact};

/// The pull requests, 0 and 1, and the replicas.
const PULLS: usize = 2;
const REPLICAS: usize = 2;
/// The environments, in the order of a state's locks.
const ENVIRONMENTS: [Environment; 2] = [Environment::Canary, Environment::Production];

/// Which rules hold. The real ones are all on; a model that cannot fail proves nothing.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// A commit of a worker that was overtaken is refused.
    fence: bool,
    /// A start that finds a lock or a run in the way is refused.
    lock: bool,
    /// A worker that was overtaken sends nothing outside.
    claim: bool,
    /// An intent is refused when a lock was taken away.
    lock_fence: bool,
    /// A start is refused when a run has begun since the facts were read.
    fresh: bool,
}

const REAL: Rules = Rules { fence: true, lock: true, claim: true, lock_fence: true, fresh: true };

/// What people do in one exploration; all of it together would be too much for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum People {
    /// Both pull requests want everything, undisturbed.
    Busy,
    /// The first wants everything and is pushed to; the second wants the canary.
    Pushing,
    /// The first wants everything and is closed, or loses its lock to somebody; the second wants the canary.
    Taking,
}

/// How a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asked {
    /// It can still be given.
    Not,
    /// It was delivered and waits for a worker, for this head.
    Given(u8),
    /// It waits in line, for this head.
    Waits(u8),
    /// It has its conclusion.
    Concluded,
}

/// The two commands that the model gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Word {
    Canary,
    Promote,
}

impl Word {
    const ALL: [Self; 2] = [Self::Canary, Self::Promote];

    fn kind(self) -> RunKind {
        match self {
            Self::Canary => RunKind::Canary,
            Self::Promote => RunKind::Promote,
        }
    }
}

/// A pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pull {
    head: u8,
    open: bool,
    merged: bool,
    /// The head whose canary passed and was not put back since.
    passed: Option<u8>,
    asked: [Asked; 2],
    /// At most one run of a pull request is under way; those that ended are forgotten.
    run: Option<Run>,
}

/// A run that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Run {
    kind: RunKind,
    head: u8,
    status: RunStatus,
    /// The step it is at; a step that was appended for putting back comes after the last.
    step: u8,
    /// The fences that it was given, as 1; 0 when the lock is not its any more.
    fences: [i64; 2],
    cancelled: bool,
    intent: bool,
    /// What this intent has done outside.
    effects: u8,
}

impl Run {
    fn steps(&self) -> &'static [StepName] {
        self.kind.steps()
    }

    fn current(&self) -> StepName {
        self.steps().get(usize::from(self.step)).copied().unwrap_or(StepName::Restore)
    }
}

/// A lock; its fence is 1, because only equality counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Lock {
    owner: u8,
    held_for: HeldFor,
}

/// What a decision was, when the facts were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Verdict {
    Start,
    Wait,
    Refuse,
}

/// What a worker is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Task {
    Idle,
    /// It has read the facts about a command, and will commit this.
    /// `stale` as soon as a run has begun since.
    Decides {
        pull: u8,
        word: Word,
        verdict: Verdict,
        from_line: bool,
        stale: bool,
    },
    /// It has committed the intent of a step and will act.
    Acts {
        pull: u8,
        step: u8,
    },
    /// It knows how a step ended and will commit it.
    Records {
        pull: u8,
        step: u8,
        end: super::consequence::StepEnd,
    },
}

/// A replica's worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Worker {
    task: Task,
    frozen: bool,
    /// Its number on the job: 1, and 0 after another has taken the job over.
    fence: i64,
}

const IDLE: Worker = Worker { task: Task::Idle, frozen: false, fence: 1 };

/// What went wrong, when something did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wrong {
    TwoHolders,
    TwoEffects,
    TwoCompletions,
    Unpromoted,
    ActedWithoutLock,
    IllegalMove,
}

/// Everything at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    pulls: [Pull; PULLS],
    locks: [Option<Lock>; 2],
    /// Who waits, in the order of coming.
    line: [Option<(u8, Word)>; PULLS],
    workers: [Worker; REPLICAS],
    /// What runs there: 0 for what was there before, else a pull request and its head.
    live: [u8; 2],
    wrong: Option<Wrong>,
}

impl State {
    fn first() -> Self {
        let pull = Pull { head: 0, open: true, merged: false, passed: None, asked: [Asked::Not; 2], run: None };
        Self {
            pulls: [pull; PULLS],
            locks: [None; 2],
            line: [None; PULLS],
            workers: [IDLE; REPLICAS],
            live: [0; 2],
            wrong: None,
        }
    }

    /// What Titan's own functions are asked with.
    fn fact(&self) -> ProjectFact {
        let head: CommitSha = "a".repeat(40).parse().expect("a commit");
        let number = |pull: u8| PrNumber(i64::from(pull));
        let lock = |(at, lock): (usize, Lock)| LockFact {
            environment: ENVIRONMENTS[at],
            owner: number(lock.owner),
            by: String::new(),
            reason: String::new(),
            since: chrono::DateTime::UNIX_EPOCH,
            held_for: lock.held_for,
            expires_at: None,
            ends_soon: false,
        };
        let waiting = |(at, (pull, word)): (usize, &(u8, Word))| WaitingFact {
            id: at as i64,
            number: number(*pull),
            kind: word.kind(),
            head: head.clone(),
            by: String::new(),
            run: RunId(uuid::Uuid::nil()),
            since: chrono::DateTime::UNIX_EPOCH,
        };
        let active = |pull: u8| {
            let run = self.pulls[usize::from(pull)].run?;
            Some(ActiveRun { id: RunId(uuid::Uuid::nil()), kind: run.kind, number: number(pull) })
        };
        ProjectFact {
            name: "web".parse::<ProjectName>().expect("a name"),
            locks: self.locks.iter().enumerate().filter_map(|(at, held)| Some(lock((at, (*held)?)))).collect(),
            queue: self.line.iter().flatten().enumerate().map(waiting).collect(),
            runs_begun: 0,
            active: (0..PULLS as u8).find_map(active),
            production: None,
            rollback_target: None,
        }
    }

    /// Takes out of the line; the others move up.
    fn out_of_line(&mut self, who: impl Fn((u8, Word)) -> bool) {
        let [first, second] = self.line.map(|waiting| waiting.filter(|waiting| !who(*waiting)));
        self.line = if first.is_none() { [second, None] } else { [first, second] };
    }

    /// Whose turn it is.
    fn turn(&self) -> Option<(u8, Word)> {
        self.line[0]?;
        let fact = self.fact();
        let turn = lock::next_in_line(&fact)?;
        self.line.iter().flatten().copied().find(|(pull, _)| i64::from(*pull) == turn.number.0)
    }

    /// Whether others keep a command waiting.
    fn kept_waiting(&self, pull: u8, word: Word) -> bool {
        if self.pulls.iter().any(|pull| pull.run.is_some()) {
            return true;
        }
        let (fact, number) = (self.fact(), PrNumber(i64::from(pull)));
        lock::held_by_another(word.kind(), number, &fact).is_some()
            || lock::kept_back_by(word.kind(), number, &fact).is_some()
    }

    /// Whether every command that was given has its conclusion and nothing is under way.
    fn is_quiet(&self) -> bool {
        let concluded = |pull: &Pull| pull.asked.iter().all(|a| matches!(a, Asked::Not | Asked::Concluded));
        self.line[0].is_none() && self.pulls.iter().all(|pull| pull.run.is_none() && concluded(pull))
    }
}

/// A pull request's head as it stands on a service.
fn version(pull: u8, head: u8) -> u8 {
    1 + pull * 2 + head
}

fn at(environment: Environment) -> usize {
    usize::from(environment == Environment::Production)
}
