//! `titan check-policy` as people and their CI run it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const POLICY: &str = "\
version: 1
paths:
  protected: [/.github/, /infra/, '*.tf', '!/infra/README.md', '!/docs/example.tf']
  allowed: [/src/, /docs/]
projects:
  web:
    canary: {render: srv-abc, url: 'https://web-canary.example.com'}
    production: {render: srv-def, url: 'https://web.example.com'}
";

fn policy(folder: &Path, text: &str) -> std::path::PathBuf {
    let file = folder.join("titan.yml");
    std::fs::write(&file, text).expect("the policy is written");
    file
}

fn titan(file: &Path, list: Option<&[u8]>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_titan"));
    command.arg("check-policy").arg(file);
    if list.is_some() {
        command.args(["--paths", "-"]);
    }
    let mut child = command
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("titan starts");
    let list = list.unwrap_or_default().to_vec();
    let mut stdin = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || {
        // A program that ends early does not read its input; the assertions tell why.
        let _ = stdin.write_all(&list);
    });
    let output = child.wait_with_output().expect("titan ends");
    writer.join().expect("the writer ends");
    output
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

#[test]
fn a_good_policy_is_summed_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = titan(&policy(folder.path(), POLICY), None);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).starts_with("ok: "), "{}", out(&output));
    assert!(out(&output).contains("web: canary https://web-canary.example.com/"), "{}", out(&output));
    assert_eq!(err(&output), "");
}

#[test]
fn mistakes_are_shown_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken = POLICY.replace("allowed", "alowed").replace("render: srv-def", "rendre: srv-def\u{1b}");
    let output = titan(&policy(folder.path(), &broken.replace('\u{1b}', "")), None);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out(&output), "");
    for part in
        ["\"alowed\"", "did you mean allowed?", "write allowed", "titan.yml:4:3", "[/src/, /docs/]", "3 mistakes"]
    {
        assert!(err(&output).contains(part), "{part:?} is missing in\n{}", err(&output));
    }

    let output = titan(&policy(folder.path(), &broken), None);
    assert_eq!(output.status.code(), Some(1));
    assert!(!err(&output).contains('\u{1b}'), "nothing in the file steers the terminal");
}

#[test]
fn what_cannot_be_read_is_told_apart_from_mistakes() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = titan(&folder.path().join("absent.yml"), None);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("cannot read"), "{}", err(&output));

    let file = policy(folder.path(), POLICY);
    let list = folder.path().join("absent.txt");
    let output = Command::new(env!("CARGO_BIN_EXE_titan"))
        .args(["check-policy".as_ref(), file.as_os_str(), "--paths".as_ref(), list.as_os_str()])
        .output()
        .expect("titan runs");
    assert_eq!(output.status.code(), Some(2));

    std::fs::write(&file, b"version: 1\nmerge: \xff\n").expect("the policy is written");
    let output = titan(&file, Some(b"src/a\n"));
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("not UTF-8") && err(&output).contains(":2:8"), "{}", err(&output));
    assert_eq!(out(&output), "", "no path is answered under a policy that cannot be read");
}

#[test]
fn every_path_gets_its_line_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let list =
        b"src/a.rs\r\n\ninfra/main\n./infra/main\ninfra/README.md\n.github/titan.yml\ndocs/x.tf\ndocs/example.tf\n\
        Makefile\nsrc/ with  spaces \n\"src/quoted\"\nsrc/\xff\n../src/a\nsrc/last";
    let output = titan(&policy(folder.path(), POLICY), Some(list));
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let lines: Vec<Value> =
        out(&output).lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let row = |path: &str, protected: bool, allowed: bool, rule: Option<&str>| json!({"path": path, "protected": protected, "allowed": allowed, "rule": rule});
    let wanted = [
        row("src/a.rs", false, true, Some("/src/")),
        row("infra/main", true, false, Some("/infra/")),
        row("./infra/main", true, false, Some("/infra/")),
        row("infra/README.md", true, false, Some("/infra/")),
        row(".github/titan.yml", true, false, Some("/.github/")),
        row("docs/x.tf", true, true, Some("*.tf")),
        row("docs/example.tf", false, true, Some("!/docs/example.tf")),
        row("Makefile", false, false, None),
        row("src/ with  spaces ", false, true, Some("/src/")),
        row("\"src/quoted\"", false, false, None),
        row("src/\u{fffd}", false, true, Some("/src/")),
        row("../src/a", true, false, None),
        row("src/last", false, true, Some("/src/")),
    ];
    assert_eq!(lines, wanted);
    assert!(out(&output).starts_with(r#"{"path":"src/a.rs","protected":false,"allowed":true,"rule":"/src/"}"#));
}

#[test]
fn thousands_of_paths_take_no_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let patterns: String =
        (0..100).map(|n| format!("    - '/area{n}/**/generated-*.?s'\n    - '*.secret{n}'\n")).collect();
    let file = policy(folder.path(), &format!("version: 1\npaths:\n  protected:\n{patterns}"));
    let list: String = (0..5_000).map(|n| format!("area{}/some/deep/folder/generated-{n}.rs\n", n % 200)).collect();
    let begun = Instant::now();
    let output = titan(&file, Some(list.as_bytes()));
    let took = begun.elapsed();
    assert_eq!(out(&output).lines().count(), 5_000);
    assert_eq!(out(&output).matches("\"protected\":true").count(), 2_500);
    assert!(took < Duration::from_secs(20), "took {took:?}, without optimisation");
}

#[test]
fn a_look_alike_is_told_beside_git_s_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = titan(&policy(folder.path(), POLICY), Some("src/Main.TF\n.GitHub/workflows/x\n".as_bytes()));
    let lines: Vec<Value> =
        out(&output).lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let row = |path: &str, allowed: bool, rule: Option<&str>, alike: &str| json!({"path": path, "protected": false, "allowed": allowed, "rule": rule, "look_alike": alike});
    let wanted =
        [row("src/Main.TF", true, Some("/src/"), "*.tf"), row(".GitHub/workflows/x", false, None, "/.github/")];
    assert_eq!(lines, wanted);
}
