//! What is a command, what is none, and what is nearly one.

use titan::playground::github::Tamper;

use crate::support::world::{REPO, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comments_that_are_no_commands_get_no_answer() {
    let world = world().armed().start().await;
    let pr = world.pull_request(GOOD);
    let talk = [
        "Looks good to me",
        "please /titan propose",
        "> /titan propose",
        "```\n/titan propose\n```",
        "    /titan propose",
        "<!-- /titan propose -->",
        "First words\n/titan propose",
        "/titanic propose",
        "/ titan propose",
    ];
    for body in talk {
        world.comment(pr, "alice", body);
    }
    world.github.create_bot("renovate[bot]");
    world.comment(pr, "renovate[bot]", "/titan propose");
    let edited = world.comment(pr, "alice", "I will propose it later");
    world.github.edit_comment(REPO, edited, "alice", "/titan propose").expect("edited");
    let deleted = world.comment(pr, "alice", "> /titan propose");
    world.github.delete_comment(REPO, deleted, "alice").expect("deleted");
    world.settle().await;
    world.assert_silent(pr);
    assert_eq!(world.runs(pr).await, Vec::<String>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_on_a_plain_issue_does_nothing() {
    let world = world().armed().start().await;
    let issue = world.github.open_issue(REPO, "alice", "A question", "How?").expect("an issue");
    let comment = world.say(issue, "alice", "/titan propose").await;
    assert_eq!(world.github.bot_comments(REPO, issue), []);
    assert_eq!(world.reactions(comment), Vec::<String>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn titan_does_not_listen_to_itself() {
    let world = world().armed().start().await;
    let pr = world.pull_request(GOOD);
    let bot = world.github.app().bot_login();
    let own = world.say(pr, &bot, "/titan propose").await;
    assert_eq!(world.reactions(own), Vec::<String>::new());
    assert_eq!(world.github.bot_comments(REPO, pr).len(), 1, "only that comment itself");
    assert_eq!(world.runs(pr).await, Vec::<String>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_and_back_ticks_are_forgiven() {
    let world = world().start().await;
    let pr = world.pull_request(GOOD);
    let shouted = world.say(pr, "carol", "\n\n`/TITAN Propose`\n\nthank you").await;
    assert_eq!(world.reactions(shouted), ["eyes", "rocket"]);
    assert_eq!(world.runs(pr).await, ["propose success"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_near_miss_gets_a_hint_and_nothing_runs() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    let near = world.say(pr, "carol", "/titan canry").await;
    assert_eq!(world.reactions(near), ["eyes", "confused"]);
    assert!(world.status_comment(pr).contains("Did you mean `/titan canary`?"), "{}", world.status_comment(pr));
    let odd = world.say(pr, "carol", "/titan canary --force @everyone <img src=x>").await;
    assert_eq!(world.reactions(odd), ["eyes", "confused"]);
    let told = world.status_comment(pr);
    assert!(told.contains("`/titan canary --force @everyone <img src=x>`"), "only as code: {told}");
    assert_eq!(told.matches("<img").count(), 1, "{told}");
    assert_eq!(world.runs(pr).await, ["propose success"]);
    world.assert_nothing_deployed();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn help_and_status_answer_in_the_one_comment() {
    let world = world().armed().start().await;
    let pr = world.pull_request(GOOD);
    let help = world.say(pr, "dave", "/titan help").await;
    assert_eq!(world.reactions(help), ["eyes", "rocket"]);
    let told = world.status_comment(pr);
    for command in ["propose", "canary", "promote", "rollback", "status", "halt", "help"] {
        assert!(told.contains(&format!("`/titan {command}`")), "{command} is missing in {told}");
    }
    world.say(pr, "carol", "/titan status").await;
    let told = world.status_comment(pr);
    for word in ["`build_missing`", "`canary_missing`", "`permission_denied`", "Every gate"] {
        assert!(told.contains(word), "{word} is missing in {told}");
    }
    assert_eq!(world.runs(pr).await, Vec::<String>::new());
    assert!(world.checks(pr).is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_delivery_twice_acts_once() {
    let world = world().start().await;
    let pr = world.pull_request(GOOD);
    world.github.hooks().tamper(Some("issue_comment"), Tamper::Duplicate);
    world.say(pr, "carol", "/titan propose").await;
    let seen = world.github.deliveries();
    let comment =
        seen.iter().find(|one| one.event == "issue_comment" && one.json()["comment"]["user"]["login"] == "carol");
    assert!(world.github.hooks().redeliver(comment.expect("a delivery").id));
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success"]);
    assert_eq!(world.checks(pr).len(), 2);
    world.status_comment(pr);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_on_one_pull_request_keep_their_order() {
    let world = world().armed().start().await;
    let pr = world.pull_request(GOOD);
    world.comment(pr, "alice", "/titan halt an incident");
    world.comment(pr, "alice", "/titan resume");
    world.comment(pr, "carol", "/titan canary");
    world.settle().await;
    let told = world.status_comment(pr);
    assert!(told.contains("`build_missing`") && !told.contains("`halted`"), "{told}");
    assert_eq!(world.runs(pr).await, ["canary refused"]);
    world.end().await;
}
