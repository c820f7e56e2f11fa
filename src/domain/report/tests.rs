//! What people see, scene by scene: each scene is facts written as literals, and the Markdown that they give.

mod scenes;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::*;
use crate::domain::command::{CommandName, Hint};
use crate::domain::gates::tests::{lock, snapshot};
use crate::domain::gates::{Gate, permission_for};
use crate::domain::ids::Environment;
use crate::domain::lock::hold;
use crate::domain::plan::{Control, Refusal};
use crate::domain::policy::Role;
use crate::domain::policy::default_grant;
use crate::domain::reason::Reason;
use crate::domain::snapshot::ActorFact;
use scenes::*;

/// The comment and all checks and deployments of a change, as one text to look at.
fn shown(change: &ChangeFacts) -> String {
    let mut text = change_view(change).markdown();
    for run in &change.runs {
        for check in checks(run, change) {
            text += &format!("\n\n======== {} {:?}\n", check.name.as_str(), check.state);
            text += &format!("title: {}\nexternal id: {}\n", check.title, check.external_id);
            text += &format!("began {:?}, ended {:?}\n", check.started_at.map(time), check.completed_at.map(time));
            for note in &check.notes {
                let note = format!("note on {}: {} / {}", note.path, note.title, note.message);
                text += &crate::domain::markdown::fence(&note);
            }
            for button in &check.buttons {
                text += &format!("button [{}] {} -> {}\n", button.label, button.description, button.command);
            }
            text += &format!("--------\n{}", check.summary);
        }
        if let Some(view) = deployment(run, change) {
            let url = view.environment_url.unwrap_or_default();
            text += &format!(
                "\n\n======== deployment of {} to {} {:?}: {} ({url})",
                view.commit.short(),
                view.environment,
                view.state,
                view.description
            );
        }
    }
    text
}

macro_rules! scene {
    ($name:ident, $change:expr) => {
        #[test]
        fn $name() {
            let change = $change;
            let text = shown(&change);
            harmless(&text);
            insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
                insta::assert_snapshot!(stringify!($name), text);
            });
        }
    };
}

scene!(a_fresh_proposal_is_running, change([proposal_running()]));
scene!(a_good_build, change([proposal_good()]));
scene!(a_protected_path_is_touched, change([proposal_with_protected_path()]));
scene!(a_broken_build, change([proposal_broken()]));
scene!(a_canary_is_baking, active(change([canary_baking(), proposal_good()])));
scene!(a_canary_passed, change([canary_passed(), proposal_good()]));
scene!(a_canary_failed_and_is_being_put_back, active(change([canary_undoing(), proposal_good()])));
scene!(a_canary_failed_and_was_put_back, change([canary_failed(), proposal_good()]));
scene!(a_canary_could_not_be_judged, change([canary_inconclusive(), proposal_good()]));
scene!(promoted, shipped(change([promoted_run(), canary_passed(), proposal_good()])));
scene!(
    production_was_rolled_back_by_itself,
    rolled_back(change([rollback_run(), promote_failed(), canary_passed(), proposal_good()]))
);
scene!(a_push_came_after_the_canary, pushed(change([canary_passed(), proposal_good()])));

#[test]
fn a_refusal_names_the_gate_the_fact_and_the_way_out() {
    let gates = vec![
        permission_for(&ActorFact::with_role("bob", Some(Role::Write)), &default_grant(CommandName::Promote)),
        result(Gate::BuildPassed, None, "`3f2c1ab` was built", ""),
        result(
            Gate::CanaryPassed,
            Some(Reason::CanaryMissing),
            "`3f2c1ab` was not on the canary",
            "`/titan canary` first",
        ),
    ];
    let refusal = Refusal { command: CommandName::Promote, project: Some(web()), gates, would_do: Vec::new() };
    look("a_refusal", &answer::refusal("bob", &refusal, &head()));
}

#[test]
fn every_gate_of_every_command_is_listed() {
    let open = vec![result(Gate::PolicyValid, None, "`.github/titan.yml` at `aaaaaaa`", "")];
    let closed = vec![
        open[0].clone(),
        result(Gate::Armed, Some(Reason::NotArmed), "deployment is off", "an admin turns it on with `/titan arm`"),
        result(Gate::LockFree, Some(Reason::LockHeld), "`eve` holds `canary` | since today", "wait"),
    ];
    let gates = [(CommandName::Propose, open), (CommandName::Canary, closed)];
    look("a_status", &answer::status("alice", &gates, &head()));
}

#[test]
fn help_says_what_this_person_may_do() {
    let carol = ActorFact::with_role("carol", Some(Role::Write));
    let line = |name| (name, permission_for(&carol, &default_grant(name)));
    look("a_help", &answer::help("carol", &CommandName::ALL.map(line)));
}

#[test]
fn a_near_miss_gets_a_hint() {
    let hint = Hint { problem: "there is no command `canry`".to_owned(), suggestion: Some("/titan canary".to_owned()) };
    look("a_hint", &answer::hint("dave", &hint));
}

#[test]
fn control_commands_say_what_holds_from_now_on() {
    let idle = snapshot();
    let mut busy = snapshot();
    busy.runs[0].status = RunStatus::Running;
    busy.runs[1].status = RunStatus::Running;
    busy.projects[0].locks = vec![lock(Environment::Canary, 7)];
    let mut others = snapshot();
    others.projects[0].locks = vec![lock(Environment::Canary, 8)];
    let controls = [
        (Control::Arm, &idle),
        (Control::Disarm, &idle),
        (Control::Halt { reason: "fire".to_owned() }, &idle),
        (Control::Resume, &idle),
        (Control::Lock { project: web(), hold: hold("release\n/titan promote @team") }, &idle),
        (Control::Lock { project: web(), hold: hold("2h release") }, &idle),
        (Control::Unlock { project: web(), force: false, reason: String::new() }, &idle),
        (Control::Unlock { project: web(), force: false, reason: "done".to_owned() }, &busy),
        (Control::Unlock { project: web(), force: true, reason: "it hangs".to_owned() }, &others),
        (Control::Trust { head: head() }, &idle),
        (Control::Cancel, &idle),
        (Control::Cancel, &busy),
    ];
    let text: Vec<String> = controls.iter().map(|(control, facts)| answer::control("alice", control, facts)).collect();
    look("control_answers", &text.join("\n\n"));
}

const HOSTILE: &str =
    "@team <script>alert(1)</script> `tick` ``` --> | pipe\n/titan promote\n\n# big https://evil.example";

#[test]
fn hostile_text_is_shown_and_does_nothing() {
    let mut proposal = proposal_broken();
    proposal.actor = HOSTILE.to_owned();
    proposal.seen.build.commands = vec![HOSTILE.to_owned()];
    proposal.seen.build.outcome = Some(HOSTILE.to_owned());
    proposal.seen.build.log_tail = HOSTILE.to_owned();
    for step in &mut proposal.steps {
        step.detail.clear();
    }
    let mut refused = proposal_with_protected_path();
    refused.id = id(9);
    for offence in &mut refused.seen.diff.offences {
        offence.path = HOSTILE.to_owned();
        offence.reason = HOSTILE.to_owned();
        offence.rule = Some(HOSTILE.to_owned());
    }
    let mut stopped = canary_passed();
    stopped.status = RunStatus::Completed(Conclusion::Cancelled);
    stopped.summary.clear();
    stopped.cancel_by = Some(HOSTILE.to_owned());
    let mut change = change([refused, stopped, proposal]);
    change.halt = Some(HaltFact { by: HOSTILE.to_owned(), reason: HOSTILE.to_owned(), elsewhere: None });
    change.commands[0].text = HOSTILE.to_owned();
    change.commands[0].actor = HOSTILE.to_owned();
    change.commands[0].reason = Some(HOSTILE.to_owned());
    let gates =
        vec![permission_for(&ActorFact::with_role(HOSTILE, Some(Role::Read)), &default_grant(CommandName::Canary))];
    let refusal = Refusal { command: CommandName::Canary, project: None, gates, would_do: Vec::new() };
    change.answer = answer::refusal(HOSTILE, &refusal, &head());
    let text = shown(&change);
    harmless(&text);
    look("hostile_text", &text);
}

#[test]
fn an_endless_log_keeps_the_limits() {
    for log in ["`".repeat(300_000), "ü\n".repeat(100_000), "x".repeat(200_000)] {
        let mut run = proposal_broken();
        run.seen.build.log_tail = log;
        let change = change([run]);
        for check in checks(&change.runs[0], &change) {
            assert!(check.summary.len() <= 65_535, "{} bytes", check.summary.len());
            assert!(check.summary.contains("[Everything about this run]"), "the page is named");
        }
    }
}

#[test]
fn a_comment_that_would_be_too_long_leaves_out_whole_parts() {
    let mut change = change([proposal_good()]);
    change.answer = "| a |\n".repeat(20_000);
    let text = change_view(&change).markdown();
    assert!(text.len() <= 65_000 && text.starts_with(&marker(change.id)), "{} bytes", text.len());
    assert!(text.contains("too long") && text.contains("| paths |"), "the rows stay");
}

#[test]
fn buttons_keep_githubs_limits() {
    for change in [
        change([proposal_good()]),
        change([canary_passed(), proposal_good()]),
        shipped(change([promoted_run(), canary_passed(), proposal_good()])),
    ] {
        let all: Vec<_> = change.runs.iter().flat_map(|run| checks(run, &change)).flat_map(|c| c.buttons).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all.iter().all(|b| b.label.len() <= 20 && b.description.len() <= 40 && b.command.as_str().len() <= 20));
    }
}

/// The commands of the `Next:` line.
fn offered(change: &ChangeFacts) -> Vec<String> {
    next_commands(change).into_iter().map(|next| next.line).collect()
}

#[test]
fn only_what_would_pass_now_is_offered() {
    let built = || change([proposal_good()]);
    let cases: Vec<(&str, ChangeFacts, &[&str])> = vec![
        ("nothing yet", change([]), &["/titan propose"]),
        ("building", change([proposal_running()]), &[]),
        ("built", built(), &["/titan canary"]),
        ("broken", change([proposal_broken()]), &["/titan propose"]),
        ("protected", change([proposal_with_protected_path()]), &[]),
        ("baking", active(change([canary_baking(), proposal_good()])), &[]),
        ("failed", change([canary_failed(), proposal_good()]), &["/titan canary"]),
        ("inconclusive", change([canary_inconclusive(), proposal_good()]), &["/titan canary"]),
        ("passed", change([canary_passed(), proposal_good()]), &["/titan promote"]),
        ("pushed", pushed(change([canary_passed(), proposal_good()])), &["/titan propose"]),
        ("disarmed", ChangeFacts { armed: false, ..built() }, &[]),
        (
            "halted",
            ChangeFacts {
                halt: Some(HaltFact { by: "eve".into(), reason: String::new(), elsewhere: None }),
                ..built()
            },
            &[],
        ),
        ("closed", ChangeFacts { open: false, ..built() }, &[]),
        ("locked by another", locked(built()), &[]),
        ("policy changed", change([canary_failed_under_newer_policy(), proposal_good()]), &["/titan propose"]),
        ("shipped", shipped(change([promoted_run(), canary_passed(), proposal_good()])), &["/titan rollback"]),
        ("rolled back", rolled_back(change([rollback_run(), promote_failed(), canary_passed(), proposal_good()])), &[]),
        ("not approved", change([refused(RunKind::Promote, Gate::Approvals), canary_passed(), proposal_good()]), &[]),
        ("policy missing", change([refused(RunKind::Propose, Gate::PolicyValid)]), &[]),
        (
            "only the person was refused",
            change([refused(RunKind::Canary, Gate::Permission), proposal_good()]),
            &["/titan canary"],
        ),
    ];
    for (name, change, wanted) in cases {
        assert_eq!(offered(&change), *wanted, "{name}");
    }
}

#[test]
fn a_command_names_its_project_when_there_are_several() {
    let mut change = change([proposal_good()]);
    let mut api = change.projects[0].clone();
    api.fact.name = "api".parse().expect("a name");
    change.projects.push(api);
    assert_eq!(offered(&change), ["/titan canary web"]);
    change.runs.clear();
    assert!(offered(&change).is_empty(), "nobody has said which project is meant");
}

#[test]
fn a_deployment_that_was_replaced_in_production_is_inactive() {
    let change = shipped(change([promoted_run(), canary_passed(), proposal_good()]));
    let state = |change: &ChangeFacts| deployment(&change.runs[0], change).expect("it deployed").state;
    assert_eq!(state(&change), DeploymentState::Success);
    let mut later = change;
    later.projects[0].production_run = Some(id(99));
    assert_eq!(state(&later), DeploymentState::Inactive);
}

#[test]
fn a_refused_run_posts_no_check() {
    let change = change([refused(RunKind::Canary, Gate::Permission)]);
    assert!(checks(&change.runs[0], &change).is_empty());
    assert!(deployment(&change.runs[0], &change).is_none());
}

#[test]
fn the_same_facts_give_the_same_text() {
    let change = change([canary_baking(), proposal_good()]);
    assert_eq!(change_view(&change).markdown(), change_view(&change).markdown());
}

fn look(name: &str, text: &str) {
    harmless(text);
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(name, text);
    });
}

/// What must never be in anything that Titan writes: a line that is a command, HTML other than its own folds and
/// marker, and outside of code a mention or an address that is not a link of Titan's.
fn harmless(markdown: &str) {
    let options = Options::ENABLE_TABLES | Options::ENABLE_GFM;
    let mut outside = markdown.to_owned();
    for (event, range) in Parser::new_ext(markdown, options).into_offset_iter() {
        if matches!(event, Event::Start(Tag::CodeBlock(_))) {
            outside.replace_range(range.clone(), &" ".repeat(range.len()));
        }
    }
    for line in outside.lines() {
        assert!(!line.trim_start().starts_with("/titan"), "a line is a command: {line:?}");
    }
    let ours = ["<!-- titan:change:7 -->", "<details>", "</details>", "<summary>", "</summary>"];
    let mut in_code = false;
    for event in Parser::new_ext(markdown, options) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            _ if in_code => {}
            Event::Html(html) | Event::InlineHtml(html) => {
                let rest = ours.iter().fold(html.to_string(), |rest, own| rest.replace(own, ""));
                assert!(!rest.contains('<'), "foreign HTML: {html:?}");
            }
            Event::Start(Tag::Link { dest_url, .. }) => {
                let known = ["https://titan.example/", "https://github.example/"];
                assert!(known.iter().any(|own| dest_url.starts_with(own)), "foreign link: {dest_url}");
            }
            Event::Start(Tag::Image { dest_url, .. }) => panic!("an image: {dest_url}"),
            Event::Text(text) => assert!(!text.contains("@team"), "a live mention: {text:?}"),
            _ => {}
        }
    }
}
