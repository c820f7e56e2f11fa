//! The crash matrix: Titan, a real process, is killed at every point of every command's story, and started again. The
//! world must end as it does when nobody disturbs it.
//!
//! The points are not written down anywhere: they are what the undisturbed story shows, so that a new step or effect is
//! in the matrix at once. What no story reaches fails `the_stories_reach_every_step_and_every_write`.
//!
//! The tests kill at one call and one commit of each kind, many of them in one playing. Every single one in a
//! playing of its own, which takes long: `script/crash-matrix`.

mod picture;
mod play;
mod points;
mod source;
mod tales;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard};

use titan::domain::run::StepName;
use titan::playground::exchange::path_matches;
use tokio::sync::OnceCell;

use play::{Played, play};
use points::{Kills, Moment};
use tales::Tale;

/// The undisturbed stories, each played once for all tests.
static UNDISTURBED: [OnceCell<Played>; Tale::ALL.len()] = [const { OnceCell::const_new() }; Tale::ALL.len()];

async fn undisturbed(tale: Tale) -> &'static Played {
    let place = Tale::ALL.iter().position(|known| *known == tale).expect("it is one of all");
    UNDISTURBED[place].get_or_init(|| play(tale, &Kills::Never)).await
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
    Err(format!("{tale:?} killed {:#?} ended otherwise:\n{}", played.hit, lines.join("\n")))
}

/// Plays a story and kills Titan at a call of every kind: at the first when it has arrived and nothing is done, and, when
/// it is made again, after it is done and before it is answered.
async fn killed_at_calls(tale: Tale) {
    let expected = undisturbed(tale).await;
    let kinds: BTreeSet<&String> = expected.calls.iter().map(|(route, _)| route).collect();
    assert!(!kinds.is_empty(), "{tale:?} changes something outside");
    let both = |route: &String| [((route.clone(), 0), Moment::Before), ((route.clone(), 1), Moment::After)];
    let played = play(tale, &Kills::Calls(kinds.into_iter().flat_map(both).collect())).await;
    assert_eq!(played.unhit, Vec::<String>::new(), "{tale:?} did not come to these");
    compare(tale, &played, expected).unwrap_or_else(|told| panic!("{told}"));
}

/// Plays a story and kills Titan after the first commit of every kind in which a step notes something or ends, or a command
/// is concluded. What a report commits lies between two calls and is reached by [`killed_at_calls`].
async fn killed_after_commits(tale: Tale) {
    let expected = undisturbed(tale).await;
    let noted = |commit: &str| commit.starts_with("step update ") && commit.contains('[');
    let wanted = |commit: &&String| noted(commit) || commit.starts_with("command update ");
    let commits = with_lost_ids(tale, expected.commits.iter().filter(wanted).cloned().collect());
    let played = play(tale, &Kills::Commits(commits.iter().cloned().collect())).await;
    assert_eq!(never_seen(tale, &commits, &played), Vec::<&String>::new(), "{tale:?} did not come to these");
    compare(tale, &played, expected).unwrap_or_else(|told| panic!("{told}"));
}

/// Plays a story in which each commit of a step fails the first time, so that the step is taken up again with its intent
/// and without its outcome.
async fn each_step_run_twice(tale: Tale) {
    let expected = undisturbed(tale).await;
    let steps = expected.commits.iter().filter(|commit| commit.starts_with("step update ")).cloned().collect();
    let refused = with_lost_ids(tale, steps);
    let played = play(tale, &Kills::Refused(refused.iter().cloned().collect())).await;
    assert_eq!(never_seen(tale, &refused, &played), Vec::<&String>::new(), "{tale:?} did not come to these");
    compare(tale, &played, expected).unwrap_or_else(|told| panic!("{told}"));
}

/// A hook tells the deploy's id once; when that is lost, nobody can be asked for it, and the step goes on without it.
fn with_lost_ids(tale: Tale, commits: BTreeSet<String>) -> BTreeSet<String> {
    match tale {
        Tale::Hooks => commits.into_iter().flat_map(|commit| [commit.replace("deploy,", ""), commit]).collect(),
        _ => commits,
    }
}

/// The points that a story did not come to; of those that differ only in a lost id, one is enough.
fn never_seen<'a>(tale: Tale, wanted: &BTreeSet<String>, played: &'a Played) -> Vec<&'a String> {
    let kind = |commit: &str| commit.split(" [").next().unwrap_or_default().to_owned();
    let seen: BTreeSet<String> =
        wanted.iter().filter(|commit| !played.unhit.contains(commit)).map(|commit| kind(commit)).collect();
    played.unhit.iter().filter(|commit| tale != Tale::Hooks || !seen.contains(&kind(commit))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stories_reach_every_step_and_every_write() {
    let all = futures::future::join_all(Tale::ALL.map(undisturbed)).await;
    let commits: Vec<&String> = all.iter().flat_map(|played| &played.commits).collect();
    for step in StepName::ALL {
        for state in ["running", "succeeded"] {
            let begin = format!("step update {step} {state}");
            assert!(commits.iter().any(|commit| commit.starts_with(&begin)), "no story commits {begin:?}");
        }
    }
    let calls: Vec<&String> = all.iter().flat_map(|played| &played.calls).map(|(route, _)| route).collect();
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

/// Every point in a playing of its own. `CRASH_MATRIX_JOBS` says how many are played at a time.
#[test]
#[ignore = "takes long; script/crash-matrix plays it"]
fn point_by_point() {
    let jobs: usize = std::env::var("CRASH_MATRIX_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(6);
    let mut plan = Vec::new();
    for tale in Tale::ALL {
        let expected = runtime().block_on(undisturbed(tale));
        for call in &expected.calls {
            let at = |moment| (tale, Kills::Calls(vec![(call.clone(), moment)]));
            plan.extend([Moment::Before, Moment::After].map(at));
        }
        plan.extend(expected.commits.iter().map(|commit| (tale, Kills::Commits(vec![commit.clone()]))));
    }
    let points = plan.len();
    let plan = Mutex::new(plan);
    let ended: Mutex<Vec<(usize, Result<(), String>)>> = Mutex::default();
    // A thread and a runtime for each, because what people do in a story waits for git.
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    // A statement of its own, so that the plan is not locked while a story is played.
                    let next = lock(&plan).pop();
                    let Some((tale, kills)) = next else { return };
                    let result = play_alone(tale, &kills);
                    if let Err(told) = &result.1 {
                        println!("{told}");
                    }
                    let mut ended = lock(&ended);
                    ended.push(result);
                    if ended.len().is_multiple_of(50) {
                        println!("{} of {points} points", ended.len());
                    }
                }
            });
        }
    });
    let ended = ended.into_inner().expect("no panic before");
    let not_come_to: usize = ended.iter().map(|(unhit, _)| unhit).sum();
    let failed: Vec<&String> = ended.iter().filter_map(|(_, result)| result.as_ref().err()).collect();
    println!("{points} points, {not_come_to} not come to, {} ended otherwise", failed.len());
    assert!(failed.is_empty(), "{} of {points} points change how a story ends", failed.len());
    // How many reports are put together into one depends on how fast things follow each other.
    assert!(not_come_to * 5 < points, "{not_come_to} of {points} points were not come to");
}

/// One playing; one that fails does not end the others.
fn play_alone(tale: Tale, kills: &Kills) -> (usize, Result<(), String>) {
    let played = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime().block_on(async {
            let played = play(tale, kills).await;
            (played.unhit.len(), compare(tale, &played, undisturbed(tale).await))
        })
    }));
    played.unwrap_or_else(|_| (0, Err(format!("{tale:?} with {kills:?} came to no end"))))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while it is held")
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
