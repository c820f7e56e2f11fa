//! The stories of the crash matrix: what each begins with, and the commands in the course of which Titan is killed.

use titan::domain::run::RunKind;
use titan::playground::render::behaviour::Health;

use crate::support::world::{CANARY, PRODUCTION, Setup, World, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];

/// A story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tale {
    /// A good change is proposed.
    Propose,
    /// It is tried.
    Canary,
    /// It turns bad on the canary and is put back.
    BadCanary,
    /// It is shipped.
    Promote,
    /// A person wants the version before it back.
    Rollback,
    /// It turns bad on production, is rolled back, and the revert is offered.
    BadProduction,
    /// It is tried and taken back where Titan has deploy hooks and nothing else.
    Hooks,
    /// Commands that change what Titan may do, answers, refusals, a label and a button.
    Controls,
}

/// What a person does.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// Comments: who, what.
    Say(&'static str, &'static str),
    /// Sets a label.
    Label(&'static str, &'static str),
    /// Presses a button of a check run: which check, which button, who.
    Press(&'static str, &'static str, &'static str),
}

impl Tale {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Propose,
        Self::Canary,
        Self::BadCanary,
        Self::Promote,
        Self::Rollback,
        Self::BadProduction,
        Self::Hooks,
        Self::Controls,
    ];

    /// The world that it happens in.
    pub fn setup(self) -> Setup {
        // A version that turns bad needs five failed looks in its bake, however slow the machine is.
        let bake = if matches!(self, Self::BadCanary | Self::BadProduction) { "3s" } else { "1s" };
        let setup = world().bake(bake).replicas(1).long_leases();
        match self {
            Self::Propose | Self::Controls => setup,
            Self::Hooks => setup
                .armed()
                .without_render_key()
                .policy_line("{render: srv-web-canary,", "{hook: WEB_CANARY,")
                .policy_line("{render: srv-web-production,", "{hook: WEB_PRODUCTION,"),
            _ => setup.armed(),
        }
    }

    /// What has happened before. Gives the pull request that it is about.
    pub async fn prepare(self, world: &World) -> u64 {
        match self {
            Self::Propose => world.pull_request(GOOD),
            Self::Canary | Self::BadCanary | Self::Controls => world.proposed(GOOD).await,
            Self::Promote | Self::BadProduction | Self::Hooks => world.tried(GOOD).await,
            Self::Rollback => {
                let pr = world.shipped(GOOD).await;
                // The base has moved on, so that the revert needs a tree of its own.
                world.push_to_main(&[("src/else.html", "<h1>Else</h1>\n")]);
                world.settle().await;
                pr
            }
        }
    }

    /// What people do, each when everything that follows from the one before has happened.
    pub fn acts(self) -> &'static [Act] {
        match self {
            Self::Propose => &[Act::Say("carol", "/titan propose")],
            Self::Canary | Self::BadCanary => &[Act::Say("carol", "/titan canary")],
            Self::Promote | Self::BadProduction => &[Act::Say("bob", "/titan promote")],
            Self::Rollback => &[Act::Say("bob", "/titan rollback customers complain")],
            Self::Hooks => &[Act::Say("bob", "/titan promote"), Act::Say("bob", "/titan rollback")],
            Self::Controls => &[
                Act::Say("carol", "/titan canary"),
                Act::Say("bob", "/titan arm"),
                Act::Say("alice", "/titan arm"),
                Act::Say("carol", "/titan lock the campaign"),
                Act::Say("carol", "/titan unlock"),
                Act::Say("alice", "/titan halt the database is down"),
                Act::Say("alice", "/titan resume"),
                Act::Say("carol", "/titan status"),
                Act::Say("carol", "/titan help"),
                Act::Say("carol", "/titan cannary"),
                Act::Label("carol", "titan-ops"),
                Act::Press("titan/build", "canary", "carol"),
                Act::Say("alice", "/titan disarm"),
            ],
        }
    }

    /// The service that turns bad in the course of it: healthy until its bake begins, and again when it is put back.
    pub async fn keep_weather(self, world: &World, pr: u64) {
        let (service, kind, undo) = match self {
            Self::BadCanary => (CANARY, RunKind::Canary, RunKind::Canary),
            Self::BadProduction => (PRODUCTION, RunKind::Promote, RunKind::Rollback),
            _ => return,
        };
        let baking = world.step_runs(pr, kind, "bake").await;
        let back = !baking && world.step_has_begun(pr, undo, "restore").await;
        if baking {
            world.render.force_health(service, Some(Health::Failing));
        } else if back {
            world.render.force_health(service, None);
        }
    }
}

impl Act {
    /// Does it.
    pub fn perform(self, world: &World, pr: u64) {
        match self {
            Self::Say(login, text) => {
                world.comment(pr, login, text);
            }
            Self::Label(login, name) => world.label(pr, login, name),
            Self::Press(check, button, login) => world.press(pr, check, button, login),
        }
    }
}
