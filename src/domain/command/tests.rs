//! The comments that people (and phones, and mail programs, and other bots) write.

use proptest::prelude::*;

use super::CommandName::*;
use super::*;

/// A command, by its words.
fn run(name: CommandName, project: &str, commit: &str, reason: &str) -> Parsed {
    Parsed::Command(Command {
        name,
        project: (!project.is_empty()).then(|| project.parse().expect("a project name")),
        commit: (!commit.is_empty()).then(|| commit.parse().expect("a commit")),
        reason: reason.to_owned(),
        force: false,
    })
}

fn forced(project: &str, reason: &str) -> Parsed {
    match run(Unlock, project, "", reason) {
        Parsed::Command(command) => Parsed::Command(Command { force: true, ..command }),
        other => other,
    }
}

fn bare(name: CommandName) -> Parsed {
    Parsed::Command(Command::bare(name))
}

#[test]
fn these_are_commands() {
    let table = [
        ("/titan propose", bare(Propose)),
        ("/titan canary", bare(Canary)),
        ("/titan promote", bare(Promote)),
        ("/titan rollback", bare(Rollback)),
        ("/titan status", bare(Status)),
        ("/titan lock", bare(Lock)),
        ("/titan unlock", bare(Unlock)),
        ("/titan cancel", bare(Cancel)),
        ("/titan arm", bare(Arm)),
        ("/titan disarm", bare(Disarm)),
        ("/titan halt", bare(Halt)),
        ("/titan resume", bare(Resume)),
        ("/titan help", bare(Help)),
        ("/titan", bare(Help)),
        ("/titan help me with canary", bare(Help)),
        // Phones, mail programs and copied text.
        ("/Titan Propose", bare(Propose)),
        ("/TITAN PROMOTE", bare(Promote)),
        ("\n\n  \r\n /titan canary", bare(Canary)),
        ("   /titan canary  ", bare(Canary)),
        ("/titan canary\r\n\r\nlooks good", bare(Canary)),
        ("/titan canary\rlooks good", bare(Canary)),
        ("/titan\tcanary", bare(Canary)),
        ("/titan \t  canary \t", bare(Canary)),
        ("\u{feff}/titan canary", bare(Canary)),
        ("\u{200b}/titan\u{200b} canary\u{200d}", bare(Canary)),
        ("/titan\u{a0}canary\u{a0}", bare(Canary)),
        ("\u{a0}\u{a0}\n\u{200b}\n/titan canary", bare(Canary)),
        ("\u{202a}/titan canary\u{202c}", bare(Canary)),
        ("\u{34f}/titan canary\u{fe0f}\u{e007f}", bare(Canary)),
        ("\u{3000}/titan\u{3000}canary", bare(Canary)),
        ("/titan canary\0", bare(Canary)),
        ("/titan\u{b}canary\u{c}\u{85}", bare(Canary)),
        ("/titan canary\n--\nSent from my phone", bare(Canary)),
        ("/titan canary\n---\nsignature", bare(Canary)),
        ("/titan canary\n===", bare(Canary)),
        // Back-ticks around all of it.
        ("`/titan canary`", bare(Canary)),
        (" ` /titan canary ` ", bare(Canary)),
        ("``/titan canary``", bare(Canary)),
        ("```/titan canary```", bare(Canary)),
        ("`/titan`", bare(Help)),
        ("`/Titan Canary Web`\nplease", run(Canary, "web", "", "")),
        // What follows in other places of the comment.
        ("/titan canary\n\n> /titan promote", bare(Canary)),
        ("/titan canary\n> /titan promote\n/titan promote", bare(Canary)),
        ("/titan canary\n\n```\n/titan promote\n```", bare(Canary)),
        ("/titan canary\n~~~sh\n/titan promote", bare(Canary)),
        ("/titan canary\n\n    /titan promote", bare(Canary)),
        ("/titan canary\n<!-- /titan promote -->", bare(Canary)),
        ("/titan canary\n<!--\n/titan promote\n-->", bare(Canary)),
        ("/titan canary\n- /titan promote\n1. /titan promote", bare(Canary)),
        ("/titan canary\n\n# /titan promote", bare(Canary)),
        ("/titan canary\nnext we will /titan promote", bare(Canary)),
        ("/titan canary\nnext: `/titan promote`", bare(Canary)),
        ("/titan canary\n`/titan promote` comes later", bare(Canary)),
        ("/titan canary\n`code\n/titan promote\nmore`", bare(Canary)),
        ("/titan canary\n/titanic was a ship", bare(Canary)),
        ("/titan canary\n/other promote", bare(Canary)),
        ("/titan canary <!-- /titan promote -->", bare(Canary)),
        ("/titan canary <!-- over\n/titan promote\nlines -->", bare(Canary)),
        ("/titan canary\n<details>\n/titan promote\n</details>", bare(Canary)),
        // Project and commit.
        ("/titan canary web", run(Canary, "web", "", "")),
        ("/titan canary Web", run(Canary, "web", "", "")),
        ("/titan canary @3f2c1ab", run(Canary, "", "3f2c1ab", "")),
        ("/titan canary @3F2C1AB", run(Canary, "", "3f2c1ab", "")),
        ("/titan canary web @3f2c1ab", run(Canary, "web", "3f2c1ab", "")),
        ("/titan promote @3f2c1ab web", run(Promote, "web", "3f2c1ab", "")),
        ("/titan propose @3f2c1ab000000000000000000000000000000000", {
            run(Propose, "", "3f2c1ab000000000000000000000000000000000", "")
        }),
        ("/titan status my-app_2", run(Status, "my-app_2", "", "")),
        ("/titan arm @3f2c1ab", run(Arm, "", "3f2c1ab", "")),
        // Reasons.
        ("/titan lock web database upgrade", run(Lock, "web", "", "database upgrade")),
        ("/titan lock \"database upgrade\"", run(Lock, "", "", "database upgrade")),
        ("/titan lock \u{201c}Database upgrade\u{201d}", run(Lock, "", "", "Database upgrade")),
        ("/titan lock 'it is Friday'", run(Lock, "", "", "it is Friday")),
        ("/titan lock web \"a\" and \"b\"", run(Lock, "web", "", "a' and 'b")),
        ("/titan lock Migration is running", run(Lock, "", "", "Migration is running")),
        ("/titan lock Web", run(Lock, "web", "", "")),
        ("/titan lock web   - many \t spaces", run(Lock, "web", "", "- many spaces")),
        ("/titan unlock web done", run(Unlock, "web", "", "done")),
        ("/titan unlock web --force it hangs", forced("web", "it hangs")),
        ("/titan unlock --force web it hangs", forced("web", "it hangs")),
        ("/titan unlock \u{2014}Force", forced("", "")),
        ("/titan rollback web @3f2c1ab checkout is broken", run(Rollback, "web", "3f2c1ab", "checkout is broken")),
        (
            "/titan rollback Checkout is broken since @3f2c1ab",
            run(Rollback, "", "", "Checkout is broken since @3f2c1ab"),
        ),
        ("/titan cancel Wrong branch!", run(Cancel, "", "", "Wrong branch!")),
        ("/titan lock @alice is testing", run(Lock, "", "", "@alice is testing")),
        ("/titan lock \"--force was used\"", run(Lock, "", "", "--force was used")),
        // A halt is obeyed whatever is written behind it.
        ("/titan halt web is on fire", run(Halt, "", "", "web is on fire")),
        ("/titan halt --now", run(Halt, "", "", "--now")),
        ("/titan halt @abc", run(Halt, "", "", "@abc")),
        ("/titan halt @3f2c1ab @4f2c1ab", run(Halt, "", "3f2c1ab", "@4f2c1ab")),
    ];
    for (comment, wanted) in table {
        assert_eq!(parse(comment), wanted, "{comment:?}");
    }
}

#[test]
fn these_are_not_for_titan() {
    for comment in [
        "",
        " \n\t\r\n\u{200b}\u{feff}\u{a0}",
        "Looks good to me",
        "titan propose",
        "@titan propose",
        "@titan-ops /titan propose",
        "please /titan propose",
        "please\n/titan propose",
        "I think\n\n/titan propose",
        "/titanic",
        "/titanic propose",
        "/titans canary",
        "/titan2 canary",
        "/titan/propose",
        "/titan/README.md",
        "/titan.yml is broken",
        "/titan-ui propose",
        "//titan propose",
        "/ titan propose",
        "\\/titan propose",
        "!titan propose",
        "\u{ff0f}titan propose",
        "/tit\u{430}n propose",
        "/retest",
        "/lgtm",
        "> /titan propose",
        ">/titan propose",
        "> hello\n/titan propose",
        "> hello\n\n/titan propose",
        "    /titan propose",
        "\t/titan propose",
        "  \t/titan propose",
        "\n\n    /titan propose",
        "```\n/titan propose\n```",
        "```\n/titan propose",
        "```/titan propose\n```",
        "~~~\n/titan propose\n~~~",
        "````md\n```\n/titan propose\n```\n````",
        "<!-- /titan propose -->",
        "<!--\n/titan propose\n-->",
        "<!-- hidden -->\n/titan propose",
        "<!-- hidden --> /titan propose",
        "<!--\nhidden\n-->\n/titan propose",
        "<!-- never closed\n/titan propose",
        "<details>\n/titan propose\n</details>",
        "<pre>/titan propose</pre>",
        "<b>/titan propose</b>",
        "<br>/titan propose",
        "- /titan propose",
        "* /titan propose",
        "+ /titan propose",
        "1. /titan propose",
        "- [ ] /titan propose",
        "# /titan propose",
        "**/titan propose**",
        "*/titan propose*",
        "_/titan propose_",
        "~~/titan propose~~",
        "[/titan propose](https://example.com)",
        "| /titan propose |\n|---|",
        "\"/titan propose\"",
        "'/titan propose'",
        "(/titan propose)",
        "1/titan propose",
        "---\n/titan propose",
        "[x]: y\n/titan propose",
        ":rocket: /titan propose",
        "\u{1f680} /titan propose",
        "`/titan propose` would build it",
        "`/titan propose`, then `/titan canary`",
        "`/titan` propose",
        "`/titan propose",
        "``/titan propose`",
        "`/titan propose\nfoo`",
        "`foo\n/titan propose`",
        "/ti<!-- -->tan propose",
        "&#47;titan propose",
        "/titan&nbsp;propose",
        "/tita\nn propose",
    ] {
        assert_eq!(parse(comment), Parsed::Ignored, "{comment:?}");
    }
}

#[test]
fn these_get_a_hint() {
    let table = [
        ("/titan canry", Some("/titan canary")),
        ("/titan Prpose", Some("/titan propose")),
        ("/titan pormote", Some("/titan promote")),
        ("/titan rolback web Broken", Some("/titan rollback web \"Broken\"")),
        ("/titan roll back web", Some("/titan rollback web")),
        ("/titan un lock", Some("/titan unlock")),
        ("/titan dis-arm", Some("/titan disarm")),
        ("/titan stat", Some("/titan status")),
        ("/titan statsu", Some("/titan status")),
        ("/titan canry web @3f2c1ab", Some("/titan canary web @3f2c1ab")),
        ("/titan deploy", Some("/titan canary")),
        ("/titan deploy web", Some("/titan canary web")),
        ("/titan deploy to production", Some("/titan promote")),
        ("/titan deploy prod", Some("/titan promote")),
        ("/titan ship it", Some("/titan promote")),
        ("/titan ship it now web", Some("/titan promote web")),
        ("/titan hurry canary", Some("/titan canary")),
        ("/titan revert", Some("/titan rollback")),
        ("/titan undo", Some("/titan rollback")),
        ("/titan merge", Some("/titan promote")),
        ("/titan build", Some("/titan propose")),
        ("/titan check", Some("/titan propose")),
        ("/titan please canary", Some("/titan canary")),
        ("/titan stop", Some("/titan cancel")),
        ("/titan hello", None),
        ("/titan is great", None),
        ("/titan 42", None),
        ("/titan \u{1f680}", None),
        ("/titan @3f2c1ab", None),
        ("/titan <command>", Some("/titan help")),
        ("/titan *", None),
        // Joined to the name.
        ("/titan-propose", Some("/titan propose")),
        ("/titan:canary", Some("/titan canary")),
        ("/titan: canary", Some("/titan canary")),
        ("/titan_canary web", Some("/titan canary")),
        ("/titan, hello", Some("/titan help")),
        ("/titanpropose", Some("/titan propose")),
        ("/titan?", Some("/titan help")),
        ("/titan<!-- -->canary", Some("/titan canary")),
        // Punctuation is not part of a command, and a question is not a request.
        ("/titan propose.", Some("/titan propose")),
        ("/titan promote?", Some("/titan promote")),
        ("/titan canary!", Some("/titan canary")),
        ("/titan canary`", Some("/titan canary")),
        ("/titan `canary`", Some("/titan canary")),
        ("/titan **canary**", Some("/titan canary")),
        ("/titan canary\\", Some("/titan canary")),
        ("/titan promote/canary", None),
        ("/titan halt!", Some("/titan halt")),
        // More words than the command takes.
        ("/titan promote to production", Some("/titan promote")),
        ("/titan promote web api", Some("/titan promote")),
        ("/titan promote web @3f2c1ab now", Some("/titan promote @3f2c1ab")),
        ("/titan promote <project>", Some("/titan promote")),
        ("/titan promote web,api", Some("/titan promote")),
        ("/titan promote \u{1f680}", Some("/titan promote")),
        ("/titan promote web.", Some("/titan promote")),
        ("/titan promote && /titan canary", Some("/titan promote")),
        ("/titan promote; /titan canary", Some("/titan promote")),
        ("/titan canary `web`", Some("/titan canary")),
        ("/titan canary web@3f2c1ab", Some("/titan canary web @3f2c1ab")),
        ("/titan arm now", Some("/titan arm")),
        ("/titan disarm web", Some("/titan disarm")),
        ("/titan resume please", Some("/titan resume")),
        // Options.
        ("/titan promote --force", Some("/titan promote")),
        ("/titan promote web -f", Some("/titan promote web")),
        ("/titan promote \u{2014}force", Some("/titan promote")),
        ("/titan rollback --to @3f2c1ab", Some("/titan rollback")),
        ("/titan lock web Upgrade --until tomorrow", Some("/titan lock web")),
        ("/titan --help", Some("/titan help")),
        ("/titan -v", None),
        // Commits.
        ("/titan canary @abc", Some("/titan canary")),
        ("/titan canary @", Some("/titan canary")),
        ("/titan canary @ 3f2c1ab", Some("/titan canary")),
        ("/titan canary @main", Some("/titan canary")),
        ("/titan canary web @alice", Some("/titan canary web")),
        ("/titan rollback @abc", Some("/titan rollback")),
        ("/titan canary @3f2c1ab @4f2c1ab", None),
        ("/titan rollback @3f2c1ab @4f2c1ab broken", None),
        ("/titan canary 3f2c1ab", Some("/titan canary @3f2c1ab")),
        ("/titan canary web 3f2c1ab", Some("/titan canary")),
        ("/titan lock 3f2c1ab", Some("/titan lock @3f2c1ab")),
        ("/titan rollback 3f2c1ab", Some("/titan rollback")),
        ("/titan rollback to v1.2", Some("/titan rollback")),
        ("/titan rollback v1.2.3", Some("/titan rollback")),
        // More than one.
        ("/titan canary\n/titan promote", None),
        ("/titan canary\n/titan canary", None),
        ("/titan canary\n\nand then\n\n/titan promote", None),
        ("/titan canary\r\n/TITAN promote", None),
        ("/titan canary\n  `/titan promote`", None),
        ("/titan canary\n     /titan promote", None),
        ("/titan canary\n/titan nonsense", None),
        ("/titan nonsense\n/titan canary", None),
        ("/titan canary\n---\n/titan promote", None),
        ("/titan halt\n/titan cancel", None),
        ("`/titan canary`\n\n`/titan promote`", None),
    ];
    for (comment, suggestion) in table {
        match parse(comment) {
            Parsed::Misunderstood(hint) => {
                assert_eq!(hint.suggestion.as_deref(), suggestion, "{comment:?}: {}", hint.problem);
                assert!(!hint.problem.contains('\n') && !hint.problem.ends_with('.'), "{}", hint.problem);
                if let Some(command) = hint.suggestion {
                    assert!(matches!(parse(&command), Parsed::Command(_)), "{command} must be a command");
                }
            }
            other => panic!("{comment:?} gave {other:?}"),
        }
    }
}

#[test]
fn a_hint_repeats_nothing_harmful() {
    for word in ["@alice", "<img/src=x>", "a`b`c", "[x](http://y)", "\u{1b}[31mred", "a\u{202e}b", &"long".repeat(5000)]
    {
        for comment in
            [format!("/titan {word}"), format!("/titan promote {word}"), format!("/titan promote web {word}")]
        {
            let Parsed::Misunderstood(hint) = parse(&comment) else { continue };
            // Every span that is opened is closed, and what is in it is short and plain.
            let parts: Vec<&str> = hint.problem.split('`').collect();
            assert_eq!(parts.len() % 2, 1, "{}", hint.problem);
            for span in parts.iter().skip(1).step_by(2) {
                assert!(
                    span.chars().count() <= 40 && !span.contains(['@', '<', '>', '|', '\u{1b}', '\u{202e}']),
                    "{span}"
                );
            }
            for text in parts.iter().step_by(2) {
                assert!(!text.contains(['@', '<', '[', ']']), "{text}");
            }
        }
    }
}

#[test]
fn a_reason_is_short_and_in_one_line() {
    let Parsed::Command(command) = parse(&format!("/titan halt {}", "\u{e9}\u{1f600} ".repeat(70_000))) else {
        panic!("a halt is obeyed whatever is written behind it")
    };
    assert!(command.reason.chars().count() <= Command::REASON_CHARS);
    assert_eq!(parse("/titan halt \"\""), bare(Halt));
    assert_eq!(parse("/titan halt <!<!-- -->-- x -->"), run(Halt, "", "", "<!-- x -->".replace("<!--", "").trim()));
}

#[test]
fn an_unknown_project_goes_back_to_the_reason() {
    let known: [ProjectName; 2] = ["web", "api"].map(|name| name.parse().expect("a project name"));
    let settled = |comment| match parse(comment) {
        Parsed::Command(command) => command.settled(&known).to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(settled("/titan lock database upgrade"), "/titan lock \"database upgrade\"");
    assert_eq!(settled("/titan lock upgrade"), "/titan lock \"upgrade\"");
    assert_eq!(settled("/titan lock web upgrade"), "/titan lock web \"upgrade\"");
    assert_eq!(settled("/titan rollback broken @3f2c1ab login"), "/titan rollback @3f2c1ab \"broken login\"");
    assert_eq!(settled("/titan canary shop"), "/titan canary shop");
    assert_eq!(settled("/titan halt"), "/titan halt");
}

/// Any line that the parser takes for a command.
fn any_command_line() -> impl Strategy<Value = String> {
    let name = proptest::sample::select(CommandName::ALL.to_vec());
    let word = proptest::sample::select(vec![
        "",
        " web",
        " @3f2c1ab",
        " api-2",
        " Broken",
        " \"why\"",
        " a `b`",
        " <!-- x -->",
    ]);
    (name, word.clone(), word).prop_map(|(name, one, two)| format!("/titan {name}{one}{two}"))
}

/// Text made of the pieces that matter to the parser, and of anything.
fn any_comment() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "/titan", "/Titan ", " ", "\n", "\r\n", "\t", "`", "```", "~~~", "> ", "- ", "# ", "<!--", "-->", "<b>",
            "    ", "canary", "lock", "rollback", "halt", "help", "canry", "web", "@3f2c1ab", "@abc", "@", "--force",
            "\"", "'", "\u{201c}", "\u{200b}", "\u{a0}", "\0", "why", "Why", "---", "\\", "[", "](", "&", "<!", "--",
            "!",
        ])
        .prop_map(str::to_owned),
        any_command_line(),
        "\\PC{0,4}",
        ".{0,3}",
    ];
    prop_oneof![
        proptest::collection::vec(piece.clone(), 0..16).prop_map(|parts| parts.concat()),
        proptest::collection::vec(piece, 0..12).prop_map(|parts| format!("/titan lock {}", parts.concat())),
    ]
}

proptest! {
    #[test]
    fn a_command_written_again_is_the_same_command(comment in any_comment()) {
        match parse(&comment) {
            Parsed::Command(command) => {
                prop_assert_eq!(parse(&command.to_string()), Parsed::Command(command));
            }
            Parsed::Misunderstood(hint) => {
                if let Some(line) = hint.suggestion {
                    prop_assert!(matches!(parse(&line), Parsed::Command(_)), "{}", line);
                }
            }
            Parsed::Ignored => {}
        }
    }

    #[test]
    fn nothing_hidden_or_quoted_is_a_command(line in any_command_line(), tail in any_comment()) {
        for hidden in [
            format!("> {line}\n{tail}"),
            format!("    {line}\n{tail}"),
            format!("```\n{line}\n{tail}"),
            format!("~~~ sh\n{line}\n{tail}"),
            format!("<!-- {line}\n{tail}"),
            format!("<!--\n{line}\n{tail}"),
            format!("- {line}\n{tail}"),
            format!("text\n{line}\n{tail}"),
        ] {
            prop_assert_eq!(parse(&hidden), Parsed::Ignored, "{:?}", hidden);
        }
    }

    #[test]
    fn what_is_quoted_further_down_changes_nothing(line in any_command_line(), other in any_command_line()) {
        let wanted = parse(&line);
        for comment in [
            format!("{line}\n\n> {other}"),
            format!("{line}\n\n```\n{other}\n```"),
            format!("{line}\n\n    {other}"),
            format!("{line}\n\n<!--\n{other}\n-->"),
        ] {
            prop_assert_eq!(&parse(&comment), &wanted, "{:?}", comment);
        }
        let both = format!("{line}\n\n{other}");
        prop_assert!(matches!(parse(&both), Parsed::Misunderstood(_)), "{:?}", both);
    }
}
