//! Who may do what, through every surface: each standing gives each command by comment, label and button, and what
//! happens is exactly what the policy says, with nothing beside it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use sqlx::types::Json;
use titan::playground::github::Tamper;
use titan::playground::github::model::Role;

use crate::support::world::{CANARY, PRODUCTION, REPO, World, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];
const OTHER: &[(&str, &str)] = &[("src/other.html", "<h1>Other</h1>\n")];
const RUNS: [&str; 4] = ["propose", "canary", "promote", "rollback"];
const EVERYTHING: [&str; 14] = [
    "propose", "canary", "promote", "rollback", "trust", "cancel", "lock", "unlock", "arm", "disarm", "halt", "resume",
    "status", "help",
];
/// One for each role that a command needs. What is neither a role nor a program counts as a role; these show as which.
const OF_EACH_ROLE: [&str; 5] = ["propose", "trust", "halt", "arm", "help"];

/// Who there is. Dave, carol, bob and alice live in every world.
const ROLES: [(&str, &str); 7] = [
    ("nora", "none"),
    ("dave", "read"),
    ("tina", "triage"),
    ("carol", "write"),
    ("bob", "maintain"),
    ("alice", "admin"),
    ("robot[bot]", "a program with write"),
];
const OTHERS: [(&str, &str); 6] = [
    ("erin", "custom role `Admin` on triage"),
    ("frank", "custom role `deployer` on write"),
    ("oscar", "outside collaborator, write"),
    ("sam", "write, in acme/sre"),
    ("rita", "read, in acme/sre"),
    ("mallory", "author of the fork's pull request"),
];
/// Where commands are given: on a closed pull request no run can start, whoever asks, and a fork's head can be trusted.
struct Places {
    closed: u64,
    open: u64,
    fork: u64,
}

impl Places {
    /// Where a command is given, and its line.
    fn of(&self, world: &World, login: &str, command: &str) -> (u64, String) {
        let place = match command {
            "trust" => self.fork,
            _ if login == "mallory" => self.fork,
            run if RUNS.contains(&run) => self.closed,
            _ => self.open,
        };
        let commit = if command == "trust" { format!(" @{}", world.head(self.fork)) } else { String::new() };
        (place, format!("/titan {command}{commit}"))
    }
}

/// Conclusion, reason, and the gates of the run.
type Row = (Option<String>, Option<String>, Option<Json<Value>>);

/// What became of a comment's command (by its id), or of somebody's newest label or press (`label carol`).
async fn outcome(world: &World, key: &str) -> &'static str {
    let row: Option<Row> = sqlx::query_as(
        "SELECT c.conclusion, c.reason, r.gates FROM command c LEFT JOIN run r ON r.command_id = c.id
         WHERE c.comment_id::text = $1 OR c.source || ' ' || c.actor = $1 ORDER BY c.id DESC LIMIT 1",
    )
    .bind(key)
    .fetch_optional(world.store.pool())
    .await
    .expect("the store answers");
    let Some((conclusion, reason, gates)) = row else { return "-" };
    let closed = |Json(gates): &Json<Value>| {
        let rows = gates.as_array().expect("a table");
        let permission = rows.iter().find(|row| row["gate"] == "permission").expect("the first gate");
        permission["reason"].as_str().map(str::to_owned)
    };
    // Of a run the gate itself is asked: that it is closed is in everybody's way.
    let reason = match &gates {
        Some(gates) => closed(gates),
        None => reason,
    };
    match (conclusion.as_deref(), reason.as_deref()) {
        (Some("refused"), Some("permission_denied")) => "no",
        (Some("refused"), Some("not_named")) => "not named",
        (Some("refused"), Some("permission_unknown")) => "gone",
        (Some("refused"), None) if gates.is_some() => "yes",
        (Some("started" | "done" | "answered"), None) => "yes",
        other => panic!("{key}: {other:?}"),
    }
}

const WHO: usize = 46;

/// One row for each person, one column for each command.
fn table(rows: &[(String, BTreeMap<&str, &'static str>)], columns: &[&str]) -> String {
    let mut text = " ".repeat(WHO);
    let width = |column: &str| column.len().max(9) + 1;
    columns.iter().for_each(|column| write!(text, "{column:<0$}", width(column)).expect("text"));
    for (who, cells) in rows {
        write!(text, "\n{who:<WHO$}").expect("text");
        let cell = |column: &&str| *cells.get(column).unwrap_or(&"");
        columns.iter().for_each(|column| write!(text, "{:<1$}", cell(column), width(column)).expect("text"));
    }
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

async fn with_everybody() -> (World, Places) {
    let world =
        world().policy_line("[\"node build.js\"]", "[\"true\"]").spaced(chrono::TimeDelta::zero()).start().await;
    let github = &world.github;
    for (login, role) in [
        ("nora", Role::None),
        ("tina", Role::Triage),
        ("oscar", Role::Write),
        ("sam", Role::Write),
        ("rita", Role::Read),
        ("rob", Role::Maintain),
        ("susan", Role::Maintain),
    ] {
        github.set_role(REPO, login, role).expect("a role");
    }
    github.create_bot("robot[bot]");
    github.set_role(REPO, "robot[bot]", Role::Write).expect("a role");
    github.set_custom_role(REPO, "erin", "Admin", Role::Triage).expect("a role");
    github.set_custom_role(REPO, "frank", "deployer", Role::Write).expect("a role");
    for login in ["sam", "rita"] {
        github.join_team("acme", "sre", login, true);
    }
    let (closed, open) = (world.pull_request(GOOD), world.pull_request(OTHER));
    github.close(REPO, closed, "carol").expect("a pull request");
    let fork = world.pull_request_from_fork("mallory", OTHER);
    world.settle().await;
    (world, Places { closed, open, fork })
}

type Given = (String, &'static str, u64);

fn give(world: &World, places: &Places, given: &mut Vec<Given>, who: (&str, &str), commands: &[&'static str]) {
    let (login, standing) = who;
    for &command in commands {
        let (pr, line) = places.of(world, login, command);
        given.push((format!("{login}: {standing}"), command, world.comment(pr, login, &line)));
    }
}

/// What came of the commands, and that each was answered with what it deserves.
async fn outcomes(world: &World, given: Vec<Given>, columns: &[&str]) -> String {
    world.settle().await;
    let mut rows: Vec<(String, BTreeMap<&str, &'static str>)> = Vec::new();
    for (who, command, comment) in given {
        let outcome = outcome(world, &comment.to_string()).await;
        let expected: &[&str] = match outcome {
            "-" => &[],
            "yes" if !RUNS.contains(&command) => &["eyes", "rocket"],
            _ => &["eyes", "confused"],
        };
        assert_eq!(world.reactions(comment), expected, "{command} by {who}: {outcome}");
        match rows.iter_mut().find(|(known, _)| *known == who) {
            Some((_, cells)) => drop(cells.insert(command, outcome)),
            None => rows.push((who, [(command, outcome)].into())),
        }
    }
    table(&rows, columns)
}

/// Sets the label and takes it away; the next one is told with another second, so that it is another.
async fn label(world: &World, pr: u64, login: &str) {
    world.label(pr, login, "titan-ops");
    world.github.unlabel(REPO, pr, login, "titan-ops").expect("a label");
    tokio::time::sleep(std::time::Duration::from_millis(1050)).await;
}

fn policy(world: &World) -> String {
    let file = world.github.file(REPO, "main", ".github/titan.yml").expect("the policy");
    String::from_utf8(file).expect("text")
}

async fn assert_nothing_was_done(world: &World) {
    world.assert_nothing_deployed();
    let runs: Vec<String> = sqlx::query_scalar("SELECT DISTINCT conclusion FROM run")
        .fetch_all(world.store.pool())
        .await
        .expect("the store answers");
    assert_eq!(runs, ["refused"], "no run was started");
    for (method, path) in [("PUT", "/repos/*/*/pulls/*/merge"), ("POST", "/repos/*/*/deployments")] {
        assert!(world.github.calls().matching(method, path).is_empty(), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_may_exactly_what_the_policy_says() {
    let (world, places) = with_everybody().await;
    let mut given = Vec::new();
    // They give their commands; before Titan hears of them something happens to who gave them.
    (0..OF_EACH_ROLE.len() * 2).for_each(|_| world.github.hooks().tamper(Some("issue_comment"), Tamper::Hold));
    give(&world, &places, &mut given, ("rob", "maintain, is robert now"), &OF_EACH_ROLE);
    give(&world, &places, &mut given, ("susan", "maintain, is suspended now"), &OF_EACH_ROLE);
    world.github.rename_user("rob", "robert");
    world.github.remove_user("susan");
    give(&world, &places, &mut given, ("rob", "somebody else, who took the login"), &OF_EACH_ROLE);
    for who in ROLES {
        give(&world, &places, &mut given, who, &EVERYTHING);
    }
    for who in OTHERS {
        give(&world, &places, &mut given, who, &OF_EACH_ROLE);
    }
    world.github.hooks().release();
    insta::assert_snapshot!(outcomes(&world, given, &EVERYTHING).await, @r"
                                                  propose   canary    promote   rollback  trust     cancel    lock      unlock    arm       disarm    halt      resume    status    help
    rob: maintain, is robert now                  yes                                     yes                                     no                  yes                           yes
    susan: maintain, is suspended now             no                                      no                                      no                  no                            yes
    rob: somebody else, who took the login        no                                      no                                      no                  no                            yes
    nora: none                                    no        no        no        no        no        no        no        no        no        no        no        no        yes       yes
    dave: read                                    no        no        no        no        no        no        no        no        no        no        no        no        yes       yes
    tina: triage                                  no        no        no        no        no        no        no        no        no        no        no        no        yes       yes
    carol: write                                  yes       yes       no        yes       no        yes       yes       yes       no        no        yes       no        yes       yes
    bob: maintain                                 yes       yes       yes       yes       yes       yes       yes       yes       no        no        yes       no        yes       yes
    alice: admin                                  yes       yes       yes       yes       yes       yes       yes       yes       yes       yes       yes       yes       yes       yes
    robot[bot]: a program with write              -         -         -         -         -         -         -         -         -         -         -         -         -         -
    erin: custom role `Admin` on triage           no                                      no                                      no                  no                            yes
    frank: custom role `deployer` on write        yes                                     no                                      no                  yes                           yes
    oscar: outside collaborator, write            yes                                     no                                      no                  yes                           yes
    sam: write, in acme/sre                       yes                                     no                                      no                  yes                           yes
    rita: read, in acme/sre                       no                                      no                                      no                  no                            yes
    mallory: author of the fork's pull request    no                                      no                                      no                  no                            yes
    ");
    assert_nothing_was_done(&world).await;
    assert_eq!(world.locks().await, Vec::<String>::new(), "who locked may unlock");

    let own = "permissions: {propose: triage, canary: {role: write, teams: [acme/sre]}, \
               promote: {role: write, users: [carol]}, rollback: admin}\napprovals: 0";
    world.push_to_main(&[(".github/titan.yml", &policy(&world).replace("approvals: 0", own))]);
    let people = [ROLES[1], ROLES[2], ROLES[3], ROLES[4], ROLES[5], OTHERS[3], OTHERS[4]];
    let mut given = Vec::new();
    for who in people {
        give(&world, &places, &mut given, who, &RUNS);
    }
    insta::assert_snapshot!(outcomes(&world, given, &RUNS).await, @r"
                                                  propose   canary    promote   rollback
    dave: read                                    no        no        no        no
    tina: triage                                  yes       no        no        no
    carol: write                                  yes       not named yes       no
    bob: maintain                                 yes       not named not named no
    alice: admin                                  yes       not named not named yes
    sam: write, in acme/sre                       yes       yes       not named no
    rita: read, in acme/sre                       no        no        no        no
    ");

    // The label means `propose`.
    let labelled = [ROLES[1], ROLES[2], ROLES[6]];
    for (login, _) in labelled {
        label(&world, places.closed, login).await;
    }
    world.settle().await;
    let mut seen = Vec::new();
    for (login, _) in labelled {
        seen.push((login, outcome(&world, &format!("label {login}")).await));
    }
    let expected = [("dave", "no"), ("tina", "yes"), ("robot[bot]", "-")];
    assert_eq!(seen, expected);
    assert_nothing_was_done(&world).await;
    world.end().await;
}

/// Those whom the policy does not let press the button, and then somebody whom it does.
async fn by_button(world: &World, pr: u64, check: &str, button: &str, may: &str) {
    let runs = world.runs(pr).await.len();
    let before = (world.deployed(CANARY), world.deployed(PRODUCTION), world.main());
    let denied = [("dave", "no"), ("carol", "not named"), ("alice", "not named"), ("robot[bot]", "-")];
    for (login, expected) in denied {
        world.press(pr, check, button, login);
        world.settle().await;
        assert_eq!(outcome(world, &format!("button {login}")).await, expected, "{button} by {login}");
        assert_eq!((world.deployed(CANARY), world.deployed(PRODUCTION), world.main()), before, "{button} by {login}");
    }
    assert_eq!(world.runs(pr).await[runs..], vec![format!("{button} refused"); 3]);
    world.press(pr, check, button, may);
    world.settle().await;
    assert_eq!(world.runs(pr).await.last(), Some(&format!("{button} success")), "{}", world.status_comment(pr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_and_the_buttons_are_for_whom_the_policy_names_and_carry_the_change_all_the_way() {
    let (world, places) = with_everybody().await;
    let own = "permissions: {propose: {role: triage, users: [erin]}, canary: {role: write, teams: [acme/sre]}, \
               promote: {role: write, users: [oscar]}, rollback: {role: write, users: [frank]}}\napprovals: 0";
    world.push_to_main(&[(".github/titan.yml", &policy(&world).replace("approvals: 0", own))]);
    let pr = world.pull_request(GOOD);
    world.say(places.open, "alice", "/titan arm").await;
    label(&world, pr, "alice").await;
    label(&world, pr, "erin").await;
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose refused", "propose success"]);
    by_button(&world, pr, "titan/build", "canary", "sam").await;
    by_button(&world, pr, "titan/canary", "promote", "oscar").await;
    by_button(&world, pr, "titan/production", "rollback", "frank").await;
    assert_eq!(world.live(PRODUCTION).await, world.before(PRODUCTION));
    world.end().await;
}
