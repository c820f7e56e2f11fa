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

/// A build with npm on a slow machine.
const BUILD: Duration = Duration::from_secs(180);
/// A deploy, its verification and its bake.
const WATCH: Duration = Duration::from_secs(90);
/// Everything that needs neither.
const SOON: Duration = Duration::from_secs(30);

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
pub async fn play(playground: &Playground, tell: &mut Tell) -> Result<Played, StoryError> {
    let began = Instant::now();
    let mut stage = Stage::new(playground, tell);
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
    stage.answers_as(CANARY, &main, SOON).await?;
    stage.answers_as(PRODUCTION, &main, SOON).await?;
    stage.says("alice", 1, "/titan arm").await?;
    stage.reacted("rocket", SOON).await
}

/// A good change, from the pull request to production.
async fn good(stage: &mut Stage<'_>) -> Result<(), StoryError> {
    let number = tale(stage, 1);
    proposed(stage, number, "carol").await?;
    let head = stage.head(number)?;
    canaried(stage, number, "carol", &head).await?;
    stage.says("bob", number, "/titan promote").await?;
    let merged = stage.merged(number, SOON).await?;
    stage.answers_as(PRODUCTION, &merged, WATCH).await?;
    stage.check(&head, "titan/production", Ending::Success, WATCH).await?;
    stage.deployment("production", &merged, "success", SOON).await
}

/// A change of a protected path is refused, and nothing is deployed.
async fn protected(stage: &mut Stage<'_>) -> Result<(), StoryError> {
    let number = tale(stage, 2);
    let head = stage.head(number)?;
    stage.says("carol", number, "/titan propose").await?;
    stage.check(&head, "titan/paths", Ending::Failure, SOON).await?;
    stage.annotated(&head, "titan/paths", "infra/main.tf", SOON).await?;
    stage.says("carol", number, "/titan canary").await?;
    stage.reacted("confused", SOON).await?;
    stage.comment_tells(number, "infra/main.tf", SOON).await?;
    stage.never_deployed(&head)
}

/// A build that does not work is red, with the reason in the check.
async fn broken(stage: &mut Stage<'_>) -> Result<(), StoryError> {
    let number = tale(stage, 3);
    let head = stage.head(number)?;
    stage.says("bob", number, "/titan propose").await?;
    stage.check(&head, "titan/paths", Ending::Success, SOON).await?;
    stage.check(&head, "titan/build", Ending::Failure, BUILD).await?;
    stage.check_tells(&head, "titan/build", "SyntaxError", SOON).await?;
    stage.says("bob", number, "/titan canary").await?;
    stage.reacted("confused", SOON).await?;
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
    stage.answers_as(CANARY, &head, WATCH).await?;
    stage.turns_ill(CANARY, WATCH).await?;
    stage.check(&head, "titan/canary", Ending::Failure, WATCH).await?;
    stage.answers_as(CANARY, &good, WATCH).await?;
    stage.deployment("canary", &head, "failure", SOON).await
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
    let merged = stage.merged(number, SOON).await?;
    stage.answers_as(PRODUCTION, &merged, WATCH).await?;
    stage.turns_ill(PRODUCTION, WATCH).await?;
    stage.rolled_back(PRODUCTION, &good, WATCH).await?;
    stage.answers_as(PRODUCTION, &good, WATCH).await?;
    stage.check_titled(&head, "titan/production", "Rolled back", WATCH).await?;
    let revert = stage.reverted(number, WATCH).await?;
    stage.undoes(revert, &merged)?;
    proposed(stage, revert, "bob").await
}

/// `/titan propose` on a change that is allowed and builds.
async fn proposed(stage: &mut Stage<'_>, number: u64, person: &str) -> Result<(), StoryError> {
    let head = stage.head(number)?;
    stage.says(person, number, &format!("/titan propose{}", stage.which(number, &head))).await?;
    stage.reacted("rocket", SOON).await?;
    stage.check(&head, "titan/paths", Ending::Success, SOON).await?;
    stage.check(&head, "titan/build", Ending::Success, BUILD).await
}

/// `/titan canary` that ends well.
async fn canaried(stage: &mut Stage<'_>, number: u64, person: &str, head: &str) -> Result<(), StoryError> {
    stage.says(person, number, &format!("/titan canary{}", stage.which(number, head))).await?;
    stage.reacted("rocket", SOON).await?;
    stage.answers_as(CANARY, head, WATCH).await?;
    stage.check(head, "titan/canary", Ending::Success, WATCH).await?;
    stage.deployment("canary", head, "success", SOON).await
}

fn tale(stage: &mut Stage<'_>, number: u64) -> u64 {
    let title = TALES.iter().find(|tale| tale.number == number).map_or("", |tale| tale.title);
    stage.chapter(&format!("#{number} {title}"));
    number
}
