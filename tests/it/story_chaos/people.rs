//! What people do in a chaos story: they look at GitHub and give the command that seems to be next.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::plan::Kind;
use crate::support::world::{REPO, World};

/// Whoever waits for an answer longer than this makes room.
const WAITS: Duration = Duration::from_secs(8);
const MAKES_ROOM: &str = "/titan unlock web --force nobody comes past";

/// The pull requests of a story and every head that each has had.
#[derive(Default)]
pub struct Pulls {
    numbers: Vec<u64>,
    /// By number, oldest first.
    pub heads: HashMap<u64, Vec<String>>,
    /// What a calm person said last on a pull request.
    said: HashMap<u64, Said>,
}

/// A command and when it was given.
struct Said {
    comment: u64,
    text: String,
    at: Instant,
}

impl Pulls {
    /// The number of the pull request that was opened as the `index`th.
    pub fn number(&self, index: usize) -> Option<u64> {
        self.numbers.get(index).copied()
    }

    /// Opens one more. Gives its number.
    pub fn open(&mut self, world: &World, kind: Kind) -> u64 {
        let page = format!("src/page-{}.html", self.numbers.len());
        let bad = |service: &str| {
            format!("{{\"services\": {{\"{service}\": {{\"health\": {{\"failing_after_ms\": 200}}}}}}}}")
        };
        let (canary, production) = (bad("web-canary"), bad("web-production"));
        let odd = match kind {
            Kind::Good => ("src/good.html", "<p>"),
            Kind::Broken => ("build.js", "process.exit(3);\n"),
            Kind::BadCanary => ("service.json", canary.as_str()),
            Kind::BadProduction => ("service.json", production.as_str()),
            Kind::Protected => ("infra/main.tf", "resource \"other\" {}\n"),
        };
        let number = world.pull_request(&[(page.as_str(), "<h1>A page</h1>\n"), odd]);
        self.numbers.push(number);
        self.note(world, number);
        number
    }

    /// One more commit, when the pull request is open.
    pub fn push(&mut self, world: &World, number: u64, nth: usize) {
        if is_open(world, number) {
            world.push(number, &[(format!("src/more-{number}.html").as_str(), format!("<p>{nth}</p>\n").as_str())]);
            self.note(world, number);
        }
    }

    /// The command that seems to be next; `None` when there is nothing to do. May bring the branch up to date instead.
    pub fn next(&mut self, world: &World, number: u64) -> Option<&'static str> {
        if world.is_merged(number) {
            return None;
        }
        if !is_open(world, number) {
            return world.github.reopen(REPO, number, "carol").ok().and(None);
        }
        if !passed(world, number, "titan/build") {
            return Some("/titan propose");
        }
        if self.brings_up_to_date(world, number) {
            return None;
        }
        Some(if passed(world, number, "titan/canary") { "/titan promote" } else { "/titan canary" })
    }

    /// What somebody says who knows what is needed for production: nothing while Titan is at work, then the next command
    /// for exactly this commit; and who waits for too long takes away what is in the way.
    pub fn calm(&mut self, world: &World, number: u64) -> Option<String> {
        if world.is_merged(number) {
            return None;
        }
        let last = self.said.get(&number);
        let answers = last.map(|said| world.reactions(said.comment)).unwrap_or_default();
        let answered = answers.iter().any(|reaction| reaction != "eyes");
        if let Some(said) = last.filter(|_| !answered) {
            let forces = said.at.elapsed() > WAITS && !said.text.contains("unlock");
            return forces.then(|| MAKES_ROOM.to_owned());
        }
        // The check may show a pass of a version that is not on the canary any more.
        let in_vain = last.is_some_and(|said| said.text.contains("promote") && answers.iter().any(|r| r == "confused"));
        let head = world.head(number);
        if world.github.check_runs(REPO, &head).iter().any(|check| check.status != "completed") {
            let forces = last.is_some_and(|said| said.at.elapsed() > WAITS);
            return forces.then(|| MAKES_ROOM.to_owned());
        }
        if !passed(world, number, "titan/build") {
            return Some("/titan propose".to_owned());
        }
        if self.brings_up_to_date(world, number) {
            return None;
        }
        let word = if passed(world, number, "titan/canary") && !in_vain { "promote" } else { "canary" };
        Some(format!("/titan {word} @{}", &head[..10]))
    }

    /// Notes what a calm person has said.
    pub fn has_said(&mut self, number: u64, comment: u64, text: &str) {
        self.said.insert(number, Said { comment, text: text.to_owned(), at: Instant::now() });
    }

    /// Merges the base branch into it when it is behind, or tries to: a conflict is left to a later time.
    fn brings_up_to_date(&mut self, world: &World, number: u64) -> bool {
        let folder = world.github.repository_dir(REPO).expect("a repository");
        if is_ancestor(&folder, &world.main(), &world.head(number)) {
            return false;
        }
        if world.github.update_branch(REPO, number, "carol").is_ok() {
            self.note(world, number);
        }
        true
    }

    /// Notes the head that it has now.
    pub fn note(&mut self, world: &World, number: u64) {
        self.heads.entry(number).or_default().push(world.head(number));
    }
}

/// Whether it is open at GitHub.
pub fn is_open(world: &World, number: u64) -> bool {
    world.github.issue(REPO, number).is_some_and(|issue| issue.open)
}

/// Whether the newest check of this name on the head was a success.
fn passed(world: &World, number: u64, name: &str) -> bool {
    let check = world.github.check_run(REPO, &world.head(number), name);
    check.is_some_and(|check| check.conclusion.as_deref() == Some("success"))
}

fn is_ancestor(repository: &Path, earlier: &str, later: &str) -> bool {
    let git =
        Command::new("git").arg("-C").arg(repository).args(["merge-base", "--is-ancestor", earlier, later]).status();
    git.expect("git").success()
}
