//! What people do in a chaos story: they look at GitHub and give the command that seems to be next.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use super::plan::Kind;
use crate::support::world::{REPO, World};

/// The pull requests of a story and every head that each has had.
#[derive(Default)]
pub struct Pulls {
    numbers: Vec<u64>,
    /// By number, oldest first.
    pub heads: HashMap<u64, Vec<String>>,
}

impl Pulls {
    /// The number of the pull request that was opened as the `index`th.
    pub fn number(&self, index: usize) -> Option<u64> {
        self.numbers.get(index).copied()
    }

    /// Opens one more.
    pub fn open(&mut self, world: &World, kind: Kind) {
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
        let head = world.head(number);
        let passed = |name: &str| {
            let checks = world.github.check_runs(REPO, &head);
            checks
                .iter()
                .rev()
                .find(|check| check.name == name)
                .is_some_and(|c| c.conclusion.as_deref() == Some("success"))
        };
        if !passed("titan/build") {
            return Some("/titan propose");
        }
        if !is_ancestor(&world.github.repository_dir(REPO).expect("a repository"), &world.main(), &head) {
            // A conflict is left to a later time.
            if world.github.update_branch(REPO, number, "carol").is_ok() {
                self.note(world, number);
            }
            return None;
        }
        Some(if passed("titan/canary") { "/titan promote" } else { "/titan canary" })
    }

    fn note(&mut self, world: &World, number: u64) {
        self.heads.entry(number).or_default().push(world.head(number));
    }
}

/// Whether it is open at GitHub.
pub fn is_open(world: &World, number: u64) -> bool {
    world.github.issue(REPO, number).is_some_and(|issue| issue.open)
}

fn is_ancestor(repository: &Path, earlier: &str, later: &str) -> bool {
    let git =
        Command::new("git").arg("-C").arg(repository).args(["merge-base", "--is-ancestor", earlier, later]).status();
    git.expect("git").success()
}
