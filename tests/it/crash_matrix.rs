//! The crash matrix: Titan, a real process, is killed at every point of every command's story, and started again. The
//! world must end as it does when nobody disturbs it.
//!
//! The points are not written down anywhere: they are what the undisturbed story shows, so that a new step or effect is
//! in the matrix at once. What no story reaches fails `the_stories_reach_every_step_and_every_write`.
//!
//! The tests kill at one call and one commit of each kind, many of them in one playing. `complete` kills at every single
//! one, which takes long: `script/crash-matrix`.

mod complete;
mod picture;
mod play;
mod points;
mod source;
mod tales;

use std::collections::BTreeSet;

use titan::domain::run::StepName;
use titan::playground::exchange::path_matches;
use tokio::sync::OnceCell;

use play::{Played, play};
use points::{Harm, Moment, Point};
use tales::Tale;

/// The undisturbed stories, each played once for all tests.
static UNDISTURBED: [OnceCell<Played>; Tale::ALL.len()] = [const { OnceCell::const_new() }; Tale::ALL.len()];

async fn undisturbed(tale: Tale) -> &'static Played {
    let place = Tale::ALL.iter().position(|known| *known == tale).expect("it is one of all");
    UNDISTURBED[place].get_or_init(|| async { play(tale, &Harm::default()).await }).await
}

/// The same world, or how it differs.
fn compare(tale: Tale, played: &Played, expected: &Played) -> Result<(), String> {
    if played.picture == expected.picture {
        return Ok(());
    }
    let mut new = played.picture.clone();
    let mut lines = Vec::new();
    for line in &expected.picture {
        match new.iter().position(|other| other == line) {
            Some(at) => drop(new.remove(at)),
            None => lines.push(format!("- {line}")),
        }
    }
    lines.extend(new.iter().map(|line| format!("+ {line}")));
    if lines.is_empty() {
        lines = played.picture.iter().map(|line| format!("  {line}")).collect();
        lines.insert(0, "the same lines in another order:".to_owned());
    }
    let hit: Vec<String> = played.hit.iter().chain(&played.passed).map(|point| format!("  {point}")).collect();
    Err(format!("{tale:?}, killed\n{}\nended otherwise:\n{}", hit.join("\n"), lines.join("\n")))
}

/// Plays a story and kills Titan at the first call of every kind: when it has arrived and nothing is done, and, when it is
/// made again, after it is done and before it is answered.
async fn killed_at_calls(tale: Tale) {
    let expected = undisturbed(tale).await;
    let kinds: BTreeSet<&String> = expected.calls.iter().map(|(_, (route, _))| route).collect();
    assert!(!kinds.is_empty(), "{tale:?} changes something outside");
    let both = |route: &String| [Moment::Before, Moment::After].map(|moment| Point::Call((route.clone(), 0), moment));
    let played = play(tale, &Harm::kills(kinds.into_iter().flat_map(both))).await;
    assert_eq!(played.unhit, BTreeSet::new(), "{tale:?} did not come to these");
    compare(tale, &played, expected).unwrap_or_else(|told| panic!("{told}"));
}

/// Plays a story and kills Titan after the first commit of every kind in which a step notes something or ends, or a command
/// is concluded. What a report commits lies between two calls and is reached by [`killed_at_calls`].
async fn killed_after_commits(tale: Tale) {
    let expected = undisturbed(tale).await;
    let noted = |commit: &str| commit.starts_with("step update ") && commit.contains('[');
    let wanted = |commit: &&String| noted(commit) || commit.starts_with("command update ");
    let commits = expected.commits.iter().map(|(_, commit)| commit).filter(wanted).cloned().collect();
    let played = play(tale, &Harm::kills(with_lost_ids(tale, commits).into_iter().map(Point::Commit))).await;
    let unhit = played.unhit.iter().filter_map(|point| match point {
        Point::Commit(commit) => Some(commit.clone()),
        Point::Call(..) => None,
    });
    let seen = played.hit.iter().chain(&played.passed).map(ToString::to_string).collect();
    assert_eq!(never_seen(tale, unhit.collect(), &seen), BTreeSet::new(), "{tale:?} did not come to these");
    compare(tale, &played, expected).unwrap_or_else(|told| panic!("{told}"));
}

/// Plays a story in which each commit of a step fails the first time, so that the step is taken up again with its intent
/// and without its outcome.
async fn each_step_run_twice(tale: Tale) {
    let expected = undisturbed(tale).await;
    let steps = expected.commits.iter().map(|(_, commit)| commit).filter(|commit| commit.starts_with("step update "));
    let refused = with_lost_ids(tale, steps.cloned().collect());
    let played = play(tale, &Harm { refused: refused.clone(), ..Harm::default() }).await;
    let seen = refused.difference(&played.unrefused).cloned().collect();
    assert_eq!(never_seen(tale, played.unrefused.clone(), &seen), BTreeSet::new(), "{tale:?} did not come to these");
    compare(tale, &played, expected).unwrap_or_else(|told| panic!("{told}"));
}

/// A hook tells the deploy's id once; when that is lost, nobody can be asked for it, and the step goes on without it.
fn with_lost_ids(tale: Tale, commits: BTreeSet<String>) -> BTreeSet<String> {
    match tale {
        Tale::Hooks => commits.into_iter().flat_map(|commit| [commit.replace("deploy,", ""), commit]).collect(),
        _ => commits,
    }
}

/// The commits that a story did not come to; of those that differ only in a lost id, one is enough.
fn never_seen(tale: Tale, mut unseen: BTreeSet<String>, seen: &BTreeSet<String>) -> BTreeSet<String> {
    let kind = |commit: &str| {
        let name = commit.split(" [").next().unwrap_or_default();
        name.trim_start_matches("after the commit ").to_owned()
    };
    let seen: BTreeSet<String> = seen.iter().map(|commit| kind(commit)).collect();
    unseen.retain(|commit| tale != Tale::Hooks || !seen.contains(&kind(commit)));
    unseen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stories_reach_every_step_and_every_write() {
    let all = futures::future::join_all(Tale::ALL.map(undisturbed)).await;
    let commits: Vec<&String> = all.iter().flat_map(|played| &played.commits).map(|(_, commit)| commit).collect();
    for step in StepName::ALL {
        for state in ["running", "succeeded"] {
            let begin = format!("step update {step} {state}");
            assert!(commits.iter().any(|commit| commit.starts_with(&begin)), "no story commits {begin:?}");
        }
    }
    let calls: Vec<&String> = all.iter().flat_map(|played| &played.calls).map(|(_, (route, _))| route).collect();
    let reached = |method: &str, pattern: &str| {
        calls
            .iter()
            .any(|call| call.split_once(' ').is_some_and(|(m, path)| m == method && path_matches(pattern, path)))
    };
    let writes = source::writes();
    for (method, pattern) in &writes {
        let exempt = source::EXEMPT.iter().any(|(route, _)| *route == format!("{method} {pattern}"));
        assert!(reached(method, pattern) != exempt, "{method} {pattern}: reached by a story, or exempt for a reason");
    }
    assert!(reached("POST", "/deploy/*"), "a deploy hook is called");
    assert!(writes.len() >= 16, "the sources are read: {writes:#?}");
}

/// Three tests for each story.
macro_rules! matrix {
    ($($name:ident: $tale:ident;)*) => {$(
        mod $name {
            use super::{Tale, each_step_run_twice, killed_after_commits, killed_at_calls};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn killed_before_and_after_each_effect_it_ends_the_same() {
                killed_at_calls(Tale::$tale).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn killed_after_each_commit_it_ends_the_same() {
                killed_after_commits(Tale::$tale).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn with_each_step_run_twice_it_ends_the_same() {
                each_step_run_twice(Tale::$tale).await;
            }
        }
    )*};
}

matrix! {
    proposing: Propose;
    trying: Canary;
    a_bad_canary: BadCanary;
    promoting: Promote;
    rolling_back: Rollback;
    a_bad_production: BadProduction;
    with_hooks_only: Hooks;
    controls_and_answers: Controls;
}
