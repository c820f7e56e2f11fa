//! Builds that behave and builds that do not, under the real supervisor and, where the machine can, isolated.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use titan::sandbox::{BuildOutcome, Isolation, SUPERVISOR_COMMAND, SandboxError, run};
use tokio::sync::mpsc;

use crate::support::place::{Place, build, can_isolate};

#[tokio::test]
async fn commands_run_in_order_in_the_workspace_until_one_fails() {
    let place = Place::new();
    let commands: [&[&str]; 4] = [
        &["sh", "-c", "echo out; echo err >&2; echo 'two words' > made"],
        &["cat", "made"],
        &["false"],
        &["touch", "x"],
    ];
    let (outcome, log) = build(place.request(&commands)).await;
    let failed = BuildOutcome::CommandFailed { command: "false".to_owned(), exit: Some(1), signal: None };
    assert_eq!(outcome.expect("it runs"), failed);
    let expected =
        "$ sh -c 'echo out; echo err >&2; echo '\\''two words'\\'' > made'\nout\nerr\n$ cat made\ntwo words\n$ false\n";
    assert_eq!(log, expected);
    assert!(!place.workspace().join("x").exists(), "nothing runs after a failure");

    let (outcome, _) = build(place.request(&[&["true"], &["true"]])).await;
    assert!(matches!(outcome, Ok(BuildOutcome::Succeeded { .. })));
}

#[tokio::test]
async fn ends_are_told_as_they_were() {
    let place = Place::new();
    for (script, exit, signal) in [("exit 42", Some(42), None), ("kill -9 $$", None, Some(9))] {
        let (outcome, _) = build(place.script(script)).await;
        let Ok(BuildOutcome::CommandFailed { exit: seen, signal: killed, .. }) = outcome else { panic!("{outcome:?}") };
        assert_eq!((seen, killed), (exit, signal), "{script}");
    }
    let (outcome, log) = build(place.request(&[&["no-such-program", "--x"]])).await;
    assert!(matches!(outcome, Ok(BuildOutcome::CommandFailed { exit: Some(127), .. })), "{outcome:?}");
    assert!(log.contains("titan: cannot run no-such-program: No such file or directory"), "{log}");
}

#[tokio::test]
async fn nothing_of_titan_s_environment_is_there() {
    assert!(std::env::vars_os().any(|(name, _)| name == "CARGO_MANIFEST_DIR"), "there is something to be hidden");
    let place = Place::new();
    let (_, log) = build(place.script("env; echo at $(pwd); cat; tty; ls /proc/self/fd")).await;
    let allowed = [
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "TERM",
        "CI",
        "TITAN_SANDBOX",
        "npm_config_cache",
        "npm_config_audit",
        "npm_config_fund",
        "npm_config_progress",
        "npm_config_update_notifier",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    ];
    let names: Vec<&str> = log.lines().skip(1).filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert!(names.len() > 8 && names.iter().all(|name| allowed.contains(name)), "{names:?}");
    if can_isolate() {
        assert!(log.contains("HOME=/home/build\n") && log.contains("at /build\n"), "{log}");
        let own = place.folder.path().to_str().expect("text");
        assert!(!log.contains(own), "no path of the host is in the log: {log}");
    } else {
        let home = place.folder.path().join("home");
        assert!(log.contains(&format!("HOME={}\n", home.display())) && home.join("tmp").is_dir());
        assert!(log.contains(&format!("at {}\n", place.workspace().display())), "{log}");
    }
    assert!(log.contains("not a tty\n"), "{log}");
    // 0, 1, 2, and 3 for the listing itself
    assert!(log.ends_with("not a tty\n0\n1\n2\n3\n"), "no other file of Titan's is open: {log}");
}

#[tokio::test]
async fn daemons_do_not_outlive_their_command() {
    end_daemons(Place::new().rules.isolation).await;
}

#[tokio::test]
async fn daemons_do_not_outlive_their_command_without_isolation_either() {
    end_daemons(Isolation::Off).await;
}

async fn end_daemons(isolation: Isolation) {
    let mut place = Place::new();
    place.rules.isolation = isolation;
    let script = "
        setsid sh -c 'while :; do sleep 1; done' WORD >/dev/null 2>&1 &
        (setsid sh -c 'setsid sh -c \"while :; do sleep 1; done\" WORD & exit' WORD) &
        nohup sh -c 'trap \"\" TERM INT HUP; while :; do sleep 1; done' WORD &
        env -i setsid sh -c 'while :; do sleep 1; done' WORD &
        sleep 0.3; echo started";
    let started = Instant::now();
    let (outcome, log) = build(place.script(script)).await;
    assert!(matches!(outcome, Ok(BuildOutcome::Succeeded { .. })), "{outcome:?} {log}");
    assert!(log.contains("started"));
    assert_eq!(place.running(), 0, "all is gone when the command is said to have ended");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_build_that_takes_too_long_is_ended_with_all_it_started() {
    let place = Place::new();
    let script = "trap '' TERM INT; setsid sh -c 'while :; do sleep 1; done' WORD & while :; do sleep 1; done";
    let mut request = place.script(script);
    request.timeout = Duration::from_millis(700);
    let started = Instant::now();
    let (outcome, _) = build(request).await;
    let Ok(BuildOutcome::TimedOut { after, command }) = outcome else { panic!("{outcome:?}") };
    assert!(after == Duration::from_millis(700) && command.contains(&place.word));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(place.running(), 0);
}

#[tokio::test]
async fn the_time_limit_holds_while_output_never_stops() {
    let place = Place::new();
    let mut request = place.script("while :; do echo WORD; done");
    (request.timeout, request.rules.output_bytes) = (Duration::from_millis(500), u64::MAX);
    let started = Instant::now();
    let (outcome, _) = build(request).await;
    assert!(matches!(outcome, Ok(BuildOutcome::TimedOut { .. })), "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(place.running(), 0);
}

#[tokio::test]
async fn endless_output_is_cut_and_ends_the_build() {
    let place = Place::new();
    let mut request = place.script("setsid sh -c 'yes WORD' & yes WORD");
    request.rules.output_bytes = 100_000;
    let (outcome, log) = build(request).await;
    assert!(matches!(outcome, Ok(BuildOutcome::OutputLimit { limit_bytes: 100_000, .. })), "{outcome:?}");
    assert!((100_000..101_000).contains(&log.len()), "{}", log.len());
    assert_eq!(place.running(), 0);
}

#[tokio::test]
async fn a_crowd_that_keeps_growing_is_ended() {
    let place = Place::new();
    let script = "
        for i in 1 2 3 4 5 6 7 8; do
            setsid sh -c 'while :; do (sleep 0.01; setsid sh -c \"sleep 20\" WORD) & sleep 0.05; done' WORD &
        done; sleep 0.5; exit 3";
    let (outcome, log) = build(place.script(script)).await;
    assert!(matches!(outcome, Ok(BuildOutcome::CommandFailed { exit: Some(3), .. })), "{outcome:?} {log}");
    assert_eq!(place.running(), 0);
}

#[tokio::test]
async fn without_isolation_a_build_that_kills_its_supervisor_is_not_taken_for_a_good_one() {
    let mut place = Place::new();
    place.rules.isolation = Isolation::Off;
    let script = "setsid sh -c 'while :; do sleep 1; done' WORD & sleep 0.2; kill -9 $PPID; sleep 20";
    let started = Instant::now();
    let (outcome, _) = build(place.script(script)).await;
    assert!(matches!(outcome, Err(SandboxError::Lost(_))), "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "it does not wait for the time limit");
    assert!(place.all_gone().await, "and what it left is ended");
}

#[tokio::test]
async fn bytes_that_are_no_text_reach_the_log_as_text() {
    let place = Place::new();
    let (_, log) = build(place.script(r"printf 'a\377\000b \303'; sleep 0.1; printf '\251 end'")).await;
    assert!(log.ends_with("a\u{fffd}\u{fffd}b é end"), "{log:?}");
}

#[tokio::test]
async fn nobody_listening_does_not_stop_a_build() {
    let place = Place::new();
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let outcome = run(place.script("for i in 1 2 3 4 5 6 7 8 9; do echo $i; done; touch done"), sender).await;
    assert!(matches!(outcome, Ok(BuildOutcome::Succeeded { .. })), "{outcome:?}");
    assert!(place.workspace().join("done").exists());
}

#[tokio::test]
async fn a_build_given_up_is_ended() {
    let place = Place::new();
    let task = tokio::spawn(build(place.script("setsid sh -c 'while :; do sleep 1; done' WORD & sleep 60")));
    let limit = Instant::now() + Duration::from_secs(10);
    while place.running() < 2 {
        assert!(Instant::now() < limit, "it starts");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    task.abort();
    assert!(place.all_gone().await);
}

#[test]
fn without_isolation_a_supervisor_whose_owner_dies_ends_everything() {
    let place = Place::new();
    let script = format!("setsid sh -c 'while :; do sleep 1; done' {} & sleep 60", place.word);
    let mut supervisor = std::process::Command::new(env!("CARGO_BIN_EXE_titan"))
        .args([SUPERVISOR_COMMAND, "--", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    supervisor.stdin.as_mut().expect("a lifeline").write_all(b"null\n").expect("its orders");
    let limit = Instant::now() + Duration::from_secs(10);
    while place.running() < 3 {
        assert!(Instant::now() < limit, "it runs");
        std::thread::sleep(Duration::from_millis(10));
    }
    // what the kernel does with the pipe when the owner is killed
    drop(supervisor.stdin.take());
    supervisor.wait().expect("it ends");
    assert_eq!(place.running(), 0);
}

#[tokio::test]
async fn npm_builds_a_repository_from_its_lock_file() {
    let place = Place::new();
    let files = [
        ("package.json", r#"{"name":"x","version":"1.0.0","scripts":{"build":"node build.js"}}"#),
        (
            "package-lock.json",
            r#"{"name":"x","version":"1.0.0","lockfileVersion":3,"packages":{"":{"name":"x","version":"1.0.0"}}}"#,
        ),
        ("build.js", "require('fs').writeFileSync('built', 'yes'); console.log('built it');"),
    ];
    for (name, text) in files {
        std::fs::write(place.workspace().join(name), text).expect("a file");
    }
    let policy =
        titan::domain::policy::Build { run: None, timeout: Duration::from_secs(60), network: Default::default() };
    let mut request = place.request(&[]);
    request.network = titan::domain::policy::BuildNetwork::Full;
    request.commands = titan::sandbox::find_commands(&place.workspace(), &policy).expect("npm");
    request.timeout = policy.timeout;
    let (outcome, log) = build(request).await;
    assert!(matches!(outcome, Ok(BuildOutcome::Succeeded { .. })), "{outcome:?} {log}");
    assert!(log.contains("$ npm ci\n") && log.contains("built it\n"), "{log}");
    assert!(place.workspace().join("built").exists());
}
