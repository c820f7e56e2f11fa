//! A pull request that edits the policy: what its check says, and what the new policy would have said before.

use crate::support::world::{DELETED, REPO, world};

const POLICY: &str = ".github/titan.yml";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_annotated_at_their_lines() {
    let world = world().start().await;
    let broken = "version: 1\npaths:\n  protcted: [/infra/]\nmerge: sqash\n";
    let pr = world.pull_request(&[(POLICY, broken)]);
    world.say(pr, "carol", "/titan propose").await;
    let check = world.check(pr, "titan/policy");
    assert_eq!(check.conclusion.as_deref(), Some("failure"));
    let notes: Vec<_> =
        check.output.annotations.iter().map(|one| (one.path.as_str(), one.start_line, one.message.as_str())).collect();
    assert_eq!(notes.len(), 2, "{notes:#?}");
    assert_eq!((notes[0].0, notes[0].1, notes[1].1), (POLICY, 3, 4));
    assert!(notes[0].2.contains("did you mean protected?") && notes[1].2.contains("Write: squash"), "{notes:#?}");
    let summary = check.output.summary.unwrap_or_default();
    assert!(summary.contains("| 3:3 |") && summary.contains("`squash`"), "{summary}");
    assert_eq!(world.conclusion(pr, "titan/paths"), "failure", "the policy is protected all the same");

    let pr = world.pull_request(&[(POLICY, DELETED)]);
    world.say(pr, "carol", "/titan propose").await;
    assert_eq!(world.conclusion(pr, "titan/policy"), "failure");
    let other = world.pull_request(&[("src/index.html", "<h1>2</h1>")]);
    world.say(other, "carol", "/titan propose").await;
    assert!(world.checks(other).iter().all(|check| check.name != "titan/policy"), "nothing is said of a policy");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_commands_are_decided_again_under_the_new_policy() {
    let world = world().armed().start().await;
    let pr = world.tried(&[("src/index.html", "<h1>2</h1>\n")]).await;
    world.say(pr, "alice", "/titan promote").await;
    assert!(world.is_merged(pr));
    let bad = world.pull_request(&[("infra/main.tf", "changed\n")]);
    world.refused(bad, "carol", "/titan canary", "protected_path").await;

    let now = world.github.file(REPO, "main", POLICY).expect("the policy");
    let now = String::from_utf8(now).expect("text");
    let same = world.pull_request(&[(POLICY, &format!("{now}\n# a comment\n"))]);
    world.say(same, "alice", "/titan propose").await;
    let check = world.check(same, "titan/policy");
    assert_eq!(check.conclusion.as_deref(), Some("success"), "{check:#?}");
    let title = check.output.title.unwrap_or_default();
    assert_eq!(title, "A valid policy; no past command would have gone otherwise");

    let strict = world.pull_request(&[(POLICY, &now.replace("approvals: 0", "approvals: 2"))]);
    world.say(strict, "alice", "/titan propose").await;
    let check = world.check(strict, "titan/policy");
    assert_eq!(check.conclusion.as_deref(), Some("success"), "{check:#?}");
    let summary = check.output.summary.unwrap_or_default();
    let row = summary.lines().find(|line| line.contains("/titan promote")).expect("a row");
    assert!(row.starts_with(&format!("| [#{pr}](")), "{row}");
    assert!(row.contains("| accepted | refused: approvals_missing |"), "{row}");
    assert_eq!(summary.lines().filter(|line| line.contains("`/titan ")).count(), 1, "{summary}");
    assert_eq!(world.runs(strict).await, ["propose failure"]);
    world.end().await;
}
