//! How often things outside are looked at, and when Titan stops waiting.

use std::time::Duration;

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
    };

    /// For the services of the playground and of the tests, which start at once.
    pub const QUICK: Self = Self {
        poll_min: Duration::from_millis(100),
        poll_max: Duration::from_millis(400),
        verify_every: Duration::from_millis(100),
        verify_matches: 3,
        verify_deadline: Duration::from_secs(10),
        deploy_deadline: Duration::from_secs(30),
    };

    /// How long to wait before the next look at something that began `elapsed` ago: a fifth of it, within the bounds.
    pub fn poll_after(&self, elapsed: Duration) -> Duration {
        (elapsed / 5).clamp(self.poll_min, self.poll_max)
    }
}
