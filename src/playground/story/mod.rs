//! The whole story without a person: what people would do on the playground's pages, and what is then seen at the
//! simulated GitHub, at the simulated Render and on the services themselves.
//!
//! Nothing here asks Titan or its database anything. A step counts only when its effect was seen outside; each waits for
//! a limited time, and the first that is not seen ends the story with an error.

mod stage;

use std::time::{Duration, Instant};

use self::stage::{Ending, Stage};
pub use self::stage::{StoryError, Tell};
use super::Playground;
use super::sample::{CANARY, PRODUCTION, TALES};

/// How long to wait for things.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a build.
    pub build: Duration,
    /// For a deploy with its verification and its bake.
    pub watch: Duration,
    /// For everything that needs neither.
    pub soon: Duration,
}

impl Patience {
    /// For npm, and Titan, on a slow machine.
    pub const STANDARD: Self =
        Self { build: Duration::from_secs(180), watch: Duration::from_secs(90), soon: Duration::from_secs(30) };
}

/// What was played.
#[derive(Debug, Clone, Copy)]
pub struct Played {
    /// How many things were seen that had to be seen.
    pub observations: usize,
    /// How long it took.
    pub took: Duration,
}

/// Plays everything once. Titan must be running and its webhook target set.
///
/// # Errors
/// The first step whose effect was not seen in time, with what was seen instead.
pub async fn play(playground: &Playground, patience: Patience, tell: &mut Tell<'_>) -> Result<Played, StoryError> {
    let began = Instant::now();
    let mut stage = Stage::new(playground, patience, tell);
    beginning(&mut stage).await?;
    good(&mut stage).await?;
    protected(&mut stage).await?;
    broken(&mut stage).await?;
    bad_canary(&mut stage).await?;
    bad_production(&mut stage).await?;
    stage.accounts()?;
    Ok(Played { observations: stage.observations(), took: began.elapsed() })
}

/// Both services run the main branch, and Titan is armed.
async fn beginning(stage: &mut Stage<'_>) -> Result<(), StoryError> {
    stage.chapter("Before anything happens");
    let main = stage.tip("main")?;
    stage.answers_as(CANARY, &main).await?;
    stage.answers_as(PRODUCTION, &main).await?;
    stage.says("alice", 1, "/titan arm").await?;
    stage.reacted("rocket").await
}

/// A good change, from the pull request to production.
async fn good(stage: &mut Stage<'_>) -> Result<(), StoryError> {
    let number = tale(stage, 1);
    proposed(stage, number, "carol").await?;
    let head = stage.head(number)?;
    canaried(stage, number, "carol", &head).await?;
    stage.says("bob", number, "/titan promote").await?;
    let merged = stage.merged(number).await?;
    stage.answers_as(PRODUCTION, &merged).await?;
    stage.check(&head, "titan/production", Ending::Success).await?;
    stage.deployment("production", &merged, "success").await
}

/// A change of a protected path is refused, and nothing is deployed.
async fn protected(stage: &mut Stage<'_>) -> Result<(), StoryError> {
    let number = tale(stage, 2);
    let head = stage.head(number)?;
    stage.says("carol", number, "/titan propose").await?;
    stage.check(&head, "titan/paths", Ending::Failure).await?;
    stage.annotated(&head, "titan/paths", "infra/main.tf").await?;
    stage.says("carol", number, "/titan canary").await?;
    stage.reacted("confused").await?;
    stage.comment_tells(number, "infra/main.tf").await?;
    stage.never_deployed(&head)
}

/// A build that does not work is red, with the reason in the check.
async fn broken(stage: &mut Stage<'_>) -> Result<(), StoryError> {
    let number = tale(stage, 3);
    let head = stage.head(number)?;
    stage.says("bob", number, "/titan propose").await?;
    stage.check(&head, "titan/paths", Ending::Success).await?;
    stage.check(&head, "titan/build", Ending::Failure).await?;
    stage.check_tells(&head, "titan/build", "SyntaxError").await?;
    stage.says("bob", number, "/titan canary").await?;
    stage.reacted("confused").await?;
    stage.never_deployed(&head)
}

/// A canary that turns bad is put back on what it ran before.
async fn bad_canary(stage: &mut Stage<'_>) -> Result<(), StoryError> {
    let number = tale(stage, 4);
    let good = stage.live(CANARY)?;
    stage.updates_branch("carol", number).await?;
    proposed(stage, number, "carol").await?;
    let head = stage.head(number)?;
    stage.says("carol", number, &format!("/titan canary{}", stage.which(number, &head))).await?;
    stage.answers_as(CANARY, &head).await?;
    stage.turns_ill(CANARY).await?;
    stage.check(&head, "titan/canary", Ending::Failure).await?;
    stage.answers_as(CANARY, &good).await?;
    stage.deployment("canary", &head, "failure").await
}

/// A production that turns bad after going live is rolled back, and a pull request that reverts the change is opened.
async fn bad_production(stage: &mut Stage<'_>) -> Result<(), StoryError> {
    let number = tale(stage, 5);
    let good = stage.live(PRODUCTION)?;
    stage.updates_branch("bob", number).await?;
    proposed(stage, number, "bob").await?;
    let head = stage.head(number)?;
    canaried(stage, number, "bob", &head).await?;
    stage.says("bob", number, &format!("/titan promote{}", stage.which(number, &head))).await?;
    let merged = stage.merged(number).await?;
    stage.answers_as(PRODUCTION, &merged).await?;
    stage.turns_ill(PRODUCTION).await?;
    stage.rolled_back(PRODUCTION, &good).await?;
    stage.answers_as(PRODUCTION, &good).await?;
    stage.check_titled(&head, "titan/production", "Rolled back").await?;
    let revert = stage.reverted(number).await?;
    stage.undoes(revert, &merged)?;
    proposed(stage, revert, "bob").await
}

/// `/titan propose` on a change that is allowed and builds.
async fn proposed(stage: &mut Stage<'_>, number: u64, person: &str) -> Result<(), StoryError> {
    let head = stage.head(number)?;
    stage.says(person, number, &format!("/titan propose{}", stage.which(number, &head))).await?;
    stage.reacted("rocket").await?;
    stage.check(&head, "titan/paths", Ending::Success).await?;
    stage.check(&head, "titan/build", Ending::Success).await
}

/// `/titan canary` that ends well.
async fn canaried(stage: &mut Stage<'_>, number: u64, person: &str, head: &str) -> Result<(), StoryError> {
    stage.says(person, number, &format!("/titan canary{}", stage.which(number, head))).await?;
    stage.reacted("rocket").await?;
    stage.answers_as(CANARY, head).await?;
    stage.check(head, "titan/canary", Ending::Success).await?;
    stage.deployment("canary", head, "success").await
}

fn tale(stage: &mut Stage<'_>, number: u64) -> u64 {
    let title = TALES.iter().find(|tale| tale.number == number).map_or("", |tale| tale.title);
    stage.chapter(&format!("#{number} {title}"));
    number
}
