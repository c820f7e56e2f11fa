//! How often things outside are looked at, when Titan stops waiting, and how long a worker's silence is believed.

use std::time::Duration;

use chrono::TimeDelta;

use crate::domain::budget::Manners;

/// Intervals and deadlines of a run.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two looks at a deploy, at first; grows to `poll_max`.
    pub poll_min: Duration,
    /// Between two looks at a deploy, at last.
    pub poll_max: Duration,
    /// Between two questions for a service's identity.
    pub verify_every: Duration,
    /// So many answers in a row must name the expected commit.
    pub verify_matches: u32,
    /// A deploy that went live must be answering as itself by then. Render lets old and new overlap for 60 s and more.
    pub verify_deadline: Duration,
    /// A deploy must be live by then. Render's own limits for build, pre-deploy and start add up to 165 minutes; most
    /// deploys take a few.
    pub deploy_deadline: Duration,
    /// When the answer to a call was lost, what it was to make counts as not made only when it is not to be found twice,
    /// this far apart: the call may still be on its way, and lists may lag behind.
    pub doubt: Duration,
    /// What Render refuses right after a merge is asked for again for so long: it may not know the commit yet, and
    /// nobody can promote a second time.
    pub refusal_patience: Duration,
    /// When the answer to a deploy hook was lost and only the service can be asked, it has so long to show the commit before
    /// the hook is called again.
    pub hook_doubt: Duration,
    /// How often it is looked for locks that are over time and lines that nobody woke.
    pub locks_every: Duration,
    /// What is old is removed so often.
    pub sweep_every: Duration,
    /// How often it is looked for what GitHub did not deliver.
    pub recovery: RecoveryPace,
    /// How long a claim on a job lasts.
    pub lease: LeasePace,
    /// How calls to GitHub are spread.
    pub calls: Manners,
}

/// How long a claim on a job lasts, and how often the queue is looked at.
#[derive(Debug, Clone, Copy)]
pub struct LeasePace {
    /// A claim lasts so long without a heartbeat. A worker that dies is replaced after it.
    pub lease: Duration,
    /// A heartbeat comes so often, and so often it is looked for jobs of workers that died.
    pub heartbeat: Duration,
    /// The queue is looked at so often even when nothing announces a job.
    pub poll: Duration,
}

impl LeasePace {
    /// For real use: a machine may be slow for some seconds without losing its work.
    pub const STANDARD: Self =
        Self { lease: Duration::from_secs(10), heartbeat: Duration::from_secs(3), poll: Duration::from_secs(2) };

    /// For tests that kill and pause replicas again and again.
    pub const SHORT: Self = Self {
        lease: Duration::from_millis(1500),
        heartbeat: Duration::from_millis(400),
        poll: Duration::from_millis(500),
    };
}

/// How often it is looked for what was missed.
#[derive(Debug, Clone, Copy)]
pub struct RecoveryPace {
    /// After the start, before the first look.
    pub first: Duration,
    /// Between two readings of the App's log of deliveries.
    pub log_every: Duration,
    /// Between two looks for comments, pushes and closings. Short enough for a command to be found before it is too late
    /// for it.
    pub comments_every: Duration,
    /// Between two looks at the labels of a repository. A label asks for a proposal, which is never too late.
    pub labels_every: Duration,
    /// A comment younger than this may still be delivered.
    pub comments_grace: Duration,
    /// Between two offers of what GitHub would not take.
    pub reports_every: Duration,
    /// Between the first and the second time of asking for a delivery; four times as long before each later one.
    pub ask_again: Duration,
    /// A replica that dies while it reads the log holds its turn so long.
    pub turn: Duration,
    /// A replica that dies while it looks for anything else holds its turn so long. Two that look at once do no harm.
    pub look_turn: Duration,
}

impl RecoveryPace {
    /// For the real GitHub.
    pub const STANDARD: Self = Self {
        first: Duration::from_secs(3),
        // Soon enough for a command that nothing else finds to be carried out before it is too late for it.
        log_every: Duration::from_secs(60),
        comments_every: Duration::from_secs(30),
        labels_every: Duration::from_secs(120),
        comments_grace: Duration::from_secs(30),
        reports_every: Duration::from_secs(600),
        ask_again: Duration::from_secs(60),
        turn: Duration::from_secs(30),
        look_turn: Duration::from_secs(20),
    };
}

impl Pace {
    /// For real services.
    pub const STANDARD: Self = Self {
        poll_min: Duration::from_secs(1),
        poll_max: Duration::from_secs(10),
        verify_every: Duration::from_secs(1),
        verify_matches: 3,
        verify_deadline: Duration::from_secs(180),
        deploy_deadline: Duration::from_secs(45 * 60),
        doubt: Duration::from_secs(5),
        refusal_patience: Duration::from_secs(120),
        hook_doubt: Duration::from_secs(15 * 60),
        locks_every: Duration::from_secs(5),
        sweep_every: Duration::from_secs(3600),
        recovery: RecoveryPace::STANDARD,
        lease: LeasePace::STANDARD,
        // A little more than the second that GitHub asks for, because networks do not keep distances.
        calls: Manners { spacing: TimeDelta::milliseconds(1050), ..Manners::GITHUB },
    };

    /// For the services of the playground and of the tests, which start at once.
    pub const QUICK: Self = Self {
        poll_min: Duration::from_millis(100),
        poll_max: Duration::from_millis(400),
        verify_every: Duration::from_millis(100),
        verify_matches: 3,
        verify_deadline: Duration::from_secs(10),
        deploy_deadline: Duration::from_secs(30),
        doubt: Duration::from_millis(300),
        refusal_patience: Duration::from_secs(2),
        hook_doubt: Duration::from_secs(3),
        locks_every: Duration::from_millis(200),
        sweep_every: Duration::from_secs(3600),
        recovery: RecoveryPace::STANDARD,
        lease: LeasePace::STANDARD,
        calls: Manners { spacing: TimeDelta::milliseconds(20), backoff: TimeDelta::milliseconds(800) },
    };

    /// How long to wait before the next look at something that began `elapsed` ago: a fifth of it, within the bounds.
    pub fn poll_after(&self, elapsed: Duration) -> Duration {
        (elapsed / 5).clamp(self.poll_min, self.poll_max)
    }
}
