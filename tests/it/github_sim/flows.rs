//! Whole stories: what Titan does at GitHub and what comes back.

use serde_json::{Value, json};
use titan::playground::github::git::is_object_id;
use titan::playground::github::model::{Happening, Protection};
use titan::playground::github::{Change, NewStatus, Tamper};

use super::Stage;
use super::stage::SHOP;

#[tokio::test]
async fn a_comment_arrives_as_a_signed_webhook_and_is_answered_and_reacted_to() {
    let stage = Stage::new().await;
    let (number, _) = stage.pull();
    let id = stage.github.comment(SHOP, number, "alice", "/titan propose").unwrap();
    let arrived = stage.received_as("issue_comment", "created").await;
    assert_eq!(arrived.len(), 1);
    let payload = &arrived[0].payload;
    assert_eq!(payload["comment"]["id"], id);
    assert_eq!(payload["comment"]["user"]["login"], "alice");
    assert_eq!(payload["installation"]["id"], stage.installation);
    assert!(payload["issue"]["pull_request"]["url"].is_string(), "the comment is on a pull request");

    let reactions = format!("issues/comments/{id}/reactions");
    let (status, first) = stage.post(&reactions, json!({ "content": "eyes" })).await;
    assert_eq!(status, 201);
    let (status, again) = stage.post(&reactions, json!({ "content": "eyes" })).await;
    assert_eq!((status, &again["id"]), (200, &first["id"]), "the same reaction is there already");
    assert_eq!(stage.get(&reactions).await.1.as_array().unwrap().len(), 1);

    let (status, reply) = stage.post(&format!("issues/{number}/comments"), json!({ "body": "on it" })).await;
    assert_eq!((status, &reply["user"]["login"]), (201, &json!("titan-app[bot]")));
    let path = format!("issues/comments/{}", reply["id"]);
    assert_eq!(stage.send("PATCH", &path, Some(json!({ "body": "done" }))).await.0, 200);
    let comments = stage.github.bot_comments(SHOP, number);
    assert_eq!(
        (comments.len(), comments[0].body.as_str(), comments[0].edits.as_slice()),
        (1, "done", &["on it".to_owned()][..])
    );
    assert_eq!(stage.received_as("issue_comment", "created").await.len(), 2, "the bot's own comments come back too");
    assert_eq!(stage.send("DELETE", &path, None).await.0, 204);
    assert_eq!(stage.get(&path).await.0, 404);
    assert_eq!(stage.received_as("issue_comment", "deleted").await.len(), 1);
    stage.end().await;
}

#[tokio::test]
async fn a_squash_merge_happens_in_git_only_for_the_head_that_was_named() {
    let stage = Stage::new().await;
    let (number, old_head) = stage.pull();
    let head = stage.github.commit(SHOP, "topic", "alice", &Change::new("More").file("docs/a.md", "a\n")).unwrap();
    let moved = stage.received_as("pull_request", "synchronize").await;
    assert_eq!((&moved[0].payload["before"], &moved[0].payload["after"]), (&json!(old_head), &json!(head)));

    let merge = format!("pulls/{number}/merge");
    let stale = json!({ "sha": old_head, "merge_method": "squash" });
    assert_eq!(stage.send("PUT", &merge, Some(stale)).await.0, 409);
    assert_eq!(stage.github.branch(SHOP, "main").unwrap(), stage.base, "nothing was merged");

    let (status, pull) = stage.get(&format!("pulls/{number}")).await;
    assert_eq!((status, &pull["mergeable"], &pull["mergeable_state"]), (200, &json!(true), &json!("clean")));
    assert_eq!((&pull["commits"], &pull["changed_files"]), (&json!(2), &json!(2)));

    let exact =
        json!({ "sha": head, "merge_method": "squash", "commit_title": "Ship it", "commit_message": "by Titan" });
    let (status, merged) = stage.send("PUT", &merge, Some(exact)).await;
    assert_eq!((status, &merged["merged"]), (200, &json!(true)));
    let sha = merged["sha"].as_str().unwrap();
    assert_eq!(stage.github.branch(SHOP, "main").unwrap(), sha);
    let (_, commit) = stage.get(&format!("git/commits/{sha}")).await;
    assert_eq!(commit["message"], "Ship it\n\nby Titan");
    assert_eq!(commit["parents"].as_array().unwrap().len(), 1);
    assert_eq!(stage.github.file(SHOP, "main", "docs/a.md").unwrap(), b"a\n");

    let (_, pull) = stage.get(&format!("pulls/{number}")).await;
    assert_eq!(
        (&pull["state"], &pull["merged"], &pull["merge_commit_sha"]),
        (&json!("closed"), &json!(true), &json!(sha))
    );
    assert_eq!(pull["merged_by"]["login"], "titan-app[bot]");
    assert_eq!(stage.send("PUT", &merge, Some(json!({}))).await.0, 405, "it is merged already");
    let closed = stage.received_as("pull_request", "closed").await;
    assert_eq!(closed[0].payload["pull_request"]["merged"], true);
    stage.end().await;
}

#[tokio::test]
async fn every_merge_method_leaves_the_history_it_promises() {
    for (method, parents, first_line) in
        [("merge", 2, "Merge pull request #1 from acme/topic"), ("rebase", 1, "Second")]
    {
        let stage = Stage::new().await;
        let (number, first) = stage.pull();
        let head = stage.github.commit(SHOP, "topic", "alice", &Change::new("Second").file("b", "b")).unwrap();
        stage.github.commit(SHOP, "main", "alice", &Change::new("Meanwhile").file("c", "c")).unwrap();
        let (status, merged) = stage
            .send("PUT", &format!("pulls/{number}/merge"), Some(json!({ "sha": head, "merge_method": method })))
            .await;
        assert_eq!(status, 200, "{method}: {merged}");
        let (_, commit) = stage.get(&format!("commits/{}", merged["sha"].as_str().unwrap())).await;
        assert_eq!(commit["parents"].as_array().unwrap().len(), parents, "{method}");
        assert!(commit["commit"]["message"].as_str().unwrap().starts_with(first_line), "{method}: {commit}");
        for (path, content) in [("src/app.js", "one\n2\nthree\n"), ("b", "b"), ("c", "c")] {
            assert_eq!(stage.github.file(SHOP, "main", path).unwrap(), content.as_bytes(), "{method} {path}");
        }
        let (_, comparison) = stage.get(&format!("compare/{first}...main")).await;
        let expected = if method == "merge" { "ahead" } else { "diverged" };
        assert_eq!(comparison["status"], expected, "a rebase makes new commits");
        stage.end().await;
    }
}

#[tokio::test]
async fn what_cannot_or_may_not_be_merged_is_refused_with_405() {
    let stage = Stage::new().await;
    let (number, head) = stage.pull();
    let merge = |sha: &str| Some(json!({ "sha": sha, "merge_method": "squash" }));
    let path = format!("pulls/{number}/merge");
    let rules = Protection { required_checks: vec!["ci".into()], approvals: 1, up_to_date: false };
    stage.github.protect(SHOP, "main", Some(rules)).unwrap();
    let (status, body) = stage.send("PUT", &path, merge(&head)).await;
    assert_eq!(status, 405);
    assert!(body["message"].as_str().unwrap().contains("approving review"), "{body}");
    stage.github.set_role(SHOP, "bob", titan::playground::github::model::Role::Write).unwrap();
    stage.github.review(SHOP, number, "bob", "APPROVED", "fine").unwrap();
    let (_, body) = stage.send("PUT", &path, merge(&head)).await;
    assert_eq!(body["message"], "Required status check \"ci\" is expected.");
    assert_eq!(stage.get(&format!("pulls/{number}")).await.1["mergeable_state"], "blocked");
    let (_, rules) = stage.get("rules/branches/main").await;
    assert_eq!(rules.as_array().unwrap().len(), 2);
    let green = NewStatus { sha: head.clone(), state: "success".into(), context: "ci".into(), ..NewStatus::default() };
    stage.github.report_status(SHOP, "bob", green).unwrap();

    stage.github.set_draft(SHOP, number, "alice", true).unwrap();
    assert_eq!(stage.send("PUT", &path, merge(&head)).await.1["message"], "Pull Request is still a draft");
    stage.github.set_draft(SHOP, number, "alice", false).unwrap();

    let clash = Change::new("Clash").file("src/app.js", "one\nzwei\nthree\n");
    stage.github.commit(SHOP, "main", "alice", &clash).unwrap();
    let (_, pull) = stage.get(&format!("pulls/{number}")).await;
    assert_eq!((&pull["mergeable"], &pull["mergeable_state"]), (&json!(false), &json!("dirty")));
    assert_eq!(stage.send("PUT", &path, merge(&head)).await.0, 405);
    // Documented for people's tokens only, although GitHub takes those of installations.
    let update = format!("pulls/{number}/update-branch");
    assert_eq!(stage.wrong(stage.token(), "PUT", &update, Some(json!({}))).await.0, 422, "they conflict");
    stage.end().await;
}

#[tokio::test]
async fn git_fetches_one_private_commit_with_a_token_and_nothing_without() {
    let stage = Stage::new().await;
    let (number, head) = stage.pull();
    let url = stage.github.clone_url(SHOP).unwrap();
    let git = |folder: &str, token: Option<&str>, arguments: &[&str]| {
        let folder = stage.folder.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = std::process::Command::new("git");
        command.current_dir(folder).args(arguments);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
        if let Some(token) = token {
            use base64::Engine as _;
            let basic = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{token}"));
            command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "http.extraHeader");
            command.env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {basic}"));
        }
        command
    };
    let run = |command: std::process::Command| async {
        let mut command = tokio::process::Command::from(command);
        let output = command.output().await.unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let token = stage.narrowed(json!({ "contents": "read" })).await;
    run(git("work", None, &["init", "-q"])).await;
    for version in ["version=1", "version=2"] {
        let setting = format!("protocol.{version}");
        let (done, _, told) =
            run(git("work", Some(&token), &["-c", &setting, "fetch", "-q", "--depth=1", url.as_str(), &head])).await;
        assert!(done, "{version}: {told}");
        assert_eq!(run(git("work", None, &["rev-parse", "FETCH_HEAD"])).await.1, head);
    }
    let pull_ref = format!("refs/pull/{number}/head");
    assert!(run(git("work", Some(&token), &["fetch", "-q", url.as_str(), &pull_ref])).await.0);

    for (what, token) in [
        ("none", None),
        ("wrong", Some("ghs_1_nonsense")),
        ("without contents", Some(stage.narrowed(json!({ "issues": "read" })).await.as_str())),
    ] {
        assert!(!run(git("work", token, &["fetch", "-q", url.as_str(), "main"])).await.0, "{what}");
    }
    let (done, _, told) = run(git("work", Some(&token), &["push", url.as_str(), "FETCH_HEAD:refs/heads/x"])).await;
    assert!(!done, "{told}");
    assert!(stage.github.branch(SHOP, "x").is_none());
    assert!(stage.github.git_requests().iter().any(|line| line == "POST /acme/shop.git/git-upload-pack"));
    stage.end().await;
}

#[tokio::test]
async fn a_fork_s_pull_request_can_be_read_and_fetched_from_the_base() {
    let stage = Stage::new().await;
    let fork = stage.github.fork(SHOP, "mallory").unwrap();
    let head = stage.github.commit(&fork, "evil", "mallory", &Change::new("Evil").file("x.sh", "rm\n")).unwrap();
    let number = stage.github.open_pull(SHOP, "mallory", "Evil", "", "mallory:evil", "main").unwrap();
    let (_, pull) = stage.get(&format!("pulls/{number}")).await;
    assert_eq!(
        (&pull["head"]["repo"]["full_name"], &pull["head"]["repo"]["fork"]),
        (&json!("mallory/shop"), &json!(true))
    );
    assert_eq!(pull["head"]["label"], "mallory:evil");
    assert_eq!(stage.get(&format!("git/matching-refs/pull/{number}/head")).await.1[0]["object"]["sha"], head);
    let (_, check) = stage.post("check-runs", json!({ "name": "titan/paths", "head_sha": head })).await;
    assert_eq!(check["pull_requests"], json!([]), "a fork's pull request is not named");
    let second = stage.github.commit(&fork, "evil", "mallory", &Change::new("Worse").file("y", "y")).unwrap();
    assert_eq!(stage.github.head(SHOP, number).unwrap(), second);
    let (_, found) = stage.get("pulls?head=mallory:evil&state=all").await;
    assert_eq!(found[0]["number"], number);
    assert_eq!(stage.get("collaborators/mallory/permission").await.1["permission"], "none");
    stage.end().await;
}

#[tokio::test]
async fn a_branch_and_a_pull_request_are_made_from_git_s_own_objects() {
    let stage = Stage::new().await;
    let (_, main) = stage.get("git/ref/heads/main").await;
    let base = main["object"]["sha"].as_str().unwrap().to_owned();
    let (_, commit) = stage.get(&format!("git/commits/{base}")).await;
    let (status, blob) = stage.post("git/blobs", json!({ "content": "aGVsbG8K", "encoding": "base64" })).await;
    assert_eq!(status, 201);
    let entries = json!([
        { "path": "docs/hello.txt", "mode": "100644", "type": "blob", "sha": blob["sha"] },
        { "path": "run.sh", "mode": "100755", "type": "blob", "content": "#!/bin/sh\n" },
        { "path": "README.md", "mode": "100644", "type": "blob", "sha": null },
    ]);
    let (status, tree) = stage.post("git/trees", json!({ "base_tree": commit["tree"]["sha"], "tree": entries })).await;
    assert_eq!(status, 201, "{tree}");
    let missing = json!([{ "path": "no/such", "mode": "100644", "type": "blob", "sha": null }]);
    assert_eq!(stage.post("git/trees", json!({ "base_tree": commit["tree"]["sha"], "tree": missing })).await.0, 422);
    let (status, made) =
        stage.post("git/commits", json!({ "message": "By hand", "tree": tree["sha"], "parents": [base] })).await;
    assert_eq!(status, 201);
    assert_eq!(made["author"]["name"], "titan-app[bot]");
    let wanted = json!({ "ref": "refs/heads/titan/run-1", "sha": made["sha"] });
    assert_eq!(stage.post("git/refs", wanted.clone()).await.0, 201);
    let (status, again) = stage.post("git/refs", wanted).await;
    assert_eq!((status, &again["message"]), (422, &json!("Reference already exists")));
    let (status, _) =
        stage.send("PATCH", "git/refs/heads/main", Some(json!({ "sha": made["sha"], "force": false }))).await;
    assert_eq!(status, 200, "a fast-forward");
    let (status, back) = stage.send("PATCH", "git/refs/heads/main", Some(json!({ "sha": base }))).await;
    assert_eq!((status, &back["message"]), (422, &json!("Update is not a fast forward")));

    let (_, listed) = stage.get("git/trees/main?recursive=1").await;
    let paths: Vec<&str> = listed["tree"].as_array().unwrap().iter().filter_map(|e| e["path"].as_str()).collect();
    assert_eq!(paths, ["docs", "docs/hello.txt", "run.sh", "src", "src/app.js"]);
    assert_eq!(listed["tree"][2]["mode"], "100755");
    let (_, file) = stage.get("contents/docs/hello.txt?ref=titan/run-1").await;
    assert_eq!((&file["encoding"], &file["content"]), (&json!("base64"), &json!("aGVsbG8K\n")));
    let raw = stage.request(stage.token(), "GET", "contents/docs/hello.txt", None);
    let accept = [(reqwest::header::ACCEPT, "application/vnd.github.raw+json".parse().unwrap())];
    let raw = raw.headers(accept.into_iter().collect()).send().await.unwrap();
    assert_eq!(raw.text().await.unwrap(), "hello\n");
    assert_eq!(stage.get("contents/src").await.1[0]["path"], "src/app.js");
    assert_eq!(stage.get("contents/no/such").await.0, 404);

    let change = Change::new("On top").file("z", "z");
    stage.github.commit(SHOP, "titan/run-2", "alice", &change).unwrap();
    let body = json!({ "title": "From Titan", "head": "titan/run-2", "base": "main", "body": "text" });
    let (status, pull) = stage.post("pulls", body.clone()).await;
    assert_eq!((status, &pull["user"]["login"]), (201, &json!("titan-app[bot]")));
    assert_eq!(stage.post("pulls", body).await.0, 422, "there is one already");
    assert_eq!(stage.send("DELETE", "git/refs/heads/titan/run-2", None).await.0, 204);
    assert_eq!(stage.get(&format!("pulls/{}", pull["number"])).await.1["state"], "closed");
    stage.end().await;
}

#[tokio::test]
async fn a_check_run_grows_shows_its_button_and_the_press_arrives() {
    let stage = Stage::new().await;
    let (number, head) = stage.pull();
    let begin = json!({ "name": "titan/build", "head_sha": head, "status": "in_progress", "external_id": "run-1" });
    let (status, run) = stage.post("check-runs", begin).await;
    assert_eq!(
        (status, &run["status"], &run["pull_requests"][0]["number"]),
        (201, &json!("in_progress"), &json!(number))
    );
    let id = run["id"].as_u64().unwrap();
    let note = |line: u64| json!({ "path": "src/app.js", "start_line": line, "end_line": line, "annotation_level": "failure", "message": "no" });
    let path = format!("check-runs/{id}");
    for part in [1, 2] {
        let output = json!({ "title": "Working", "summary": "part", "annotations": [note(part)] });
        assert_eq!(stage.send("PATCH", &path, Some(json!({ "output": output }))).await.0, 200);
    }
    assert_eq!(stage.get(&format!("{path}/annotations")).await.1.as_array().unwrap().len(), 2, "annotations add up");
    let button = json!([{ "label": "Deploy canary", "description": "Put it on the canary", "identifier": "canary" }]);
    assert!(stage.github.press_check_button(SHOP, id, "canary", "alice").is_err(), "not shown yet");
    let (_, done) = stage.send("PATCH", &path, Some(json!({ "conclusion": "success", "actions": button }))).await;
    assert_eq!((&done["status"], &done["conclusion"]), (&json!("completed"), &json!("success")));
    stage.github.press_check_button(SHOP, id, "canary", "alice").unwrap();
    let pressed = stage.received_as("check_run", "requested_action").await;
    assert_eq!(pressed[0].payload["requested_action"]["identifier"], "canary");
    assert_eq!(pressed[0].payload["sender"]["login"], "alice");

    let (_, found) =
        stage.get(&format!("commits/{head}/check-runs?check_name=titan/build&app_id={}", stage.github.app().id)).await;
    assert_eq!((&found["total_count"], &found["check_runs"][0]["external_id"]), (&json!(1), &json!("run-1")));
    assert_eq!(stage.get(&format!("commits/{head}/check-runs?app_id=1")).await.1["total_count"], 0);
    stage.end().await;
}

#[tokio::test]
async fn deployments_follow_github_s_hostile_defaults_and_retire_each_other() {
    let stage = Stage::new().await;
    let (_, head) = stage.pull();
    let pending =
        NewStatus { sha: head.clone(), state: "pending".into(), context: "ci".into(), ..NewStatus::default() };
    stage.github.report_status(SHOP, "alice", pending).unwrap();
    assert_eq!(
        stage.post("deployments", json!({ "ref": head, "environment": "canary" })).await.0,
        409,
        "ci is pending"
    );
    stage.github.commit(SHOP, "main", "alice", &Change::new("Ahead").file("n", "n")).unwrap();
    let (status, merged) = stage.post("deployments", json!({ "ref": "topic", "required_contexts": [] })).await;
    assert_eq!((status, &merged["message"]), (202, &json!("Auto-merged main into topic on deployment.")));
    assert_ne!(stage.github.branch(SHOP, "topic").unwrap(), head, "GitHub has moved the branch");

    let wanted = |sha: &str| {
        json!({
            "ref": sha, "environment": "canary", "auto_merge": false, "required_contexts": [], "payload": { "run": "r1" },
            "transient_environment": false, "production_environment": false,
        })
    };
    let mut ids = Vec::new();
    for sha in [&stage.base, &head] {
        let (status, made) = stage.post("deployments", wanted(sha)).await;
        assert_eq!((status, &made["sha"], &made["payload"]["run"]), (201, &json!(sha), &json!("r1")));
        ids.push(made["id"].as_u64().unwrap());
        let statuses = format!("deployments/{}/statuses", made["id"]);
        let live = json!({ "state": "success", "description": "live", "log_url": "https://titan.example/runs/1" });
        assert_eq!(stage.post(&statuses, live).await.0, 201);
    }
    let (_, statuses) = stage.get(&format!("deployments/{}/statuses", ids[0])).await;
    let states: Vec<&str> = statuses.as_array().unwrap().iter().filter_map(|s| s["state"].as_str()).collect();
    assert_eq!(states, ["inactive", "success"], "newest first");
    let (_, found) = stage.get(&format!("deployments?sha={head}&environment=canary")).await;
    assert_eq!((found.as_array().unwrap().len(), &found[0]["id"]), (1, &json!(ids[1])));
    assert_eq!(stage.received_as("deployment_status", "created").await.len(), 2, "inactive is not told");
    assert_eq!(
        stage
            .wrong(
                stage.token(),
                "POST",
                &format!("deployments/{}/statuses", ids[0]),
                Some(json!({ "state": "great" }))
            )
            .await
            .0,
        422
    );
    stage.end().await;
}

#[tokio::test]
async fn people_s_acts_are_told_to_the_app_and_kept_in_the_timeline() {
    let stage = Stage::new().await;
    let (number, head) = stage.pull();
    let github = &stage.github;
    github.label(SHOP, number, "alice", "titan-ops").unwrap();
    github.unlabel(SHOP, number, "alice", "titan-ops").unwrap();
    github.edit(SHOP, number, "alice", Some("A better title"), None).unwrap();
    github.set_draft(SHOP, number, "alice", true).unwrap();
    github.set_draft(SHOP, number, "alice", false).unwrap();
    let comment = github.comment(SHOP, number, "alice", "/titan canary").unwrap();
    github.edit_comment(SHOP, comment, "alice", "/titan promote").unwrap();
    github.review(SHOP, number, "bob", "COMMENTED", "hm").unwrap();
    github.close(SHOP, number, "alice").unwrap();
    github.reopen(SHOP, number, "alice").unwrap();
    let issue = github.open_issue(SHOP, "alice", "A question", "Why?").unwrap();
    github.comment(SHOP, issue, "alice", "/titan help").unwrap();
    github.push(SHOP, "topic", &stage.base, "alice").unwrap();
    let told: Vec<String> = stage
        .received()
        .await
        .iter()
        .map(|one| format!("{} {}", one.event, one.payload["action"].as_str().unwrap_or("-")))
        .collect();
    let expected = [
        "installation created",
        "push -",
        "check_suite requested",
        "pull_request opened",
        "pull_request labeled",
        "pull_request unlabeled",
        "pull_request edited",
        "pull_request converted_to_draft",
        "pull_request ready_for_review",
        "issue_comment created",
        "issue_comment edited",
        "pull_request_review submitted",
        "pull_request closed",
        "pull_request reopened",
        "issues opened",
        "issue_comment created",
        "push -",
        "check_suite requested",
        "pull_request synchronize",
    ];
    assert_eq!(told, expected);
    let happened = github.issue(SHOP, number).unwrap().timeline;
    assert!(matches!(&happened[0].what, Happening::Opened(at) if *at == head));
    assert!(happened.iter().any(|event| event.what == Happening::Labeled("titan-ops".into())));
    assert!(is_object_id(&github.head(SHOP, number).unwrap()));
    stage.end().await;
}

#[tokio::test]
async fn deliveries_can_be_lost_doubled_and_held_and_the_log_brings_them_back() {
    let stage = Stage::new().await;
    let (number, _) = stage.pull();
    let hooks = stage.github.hooks();
    let comment = |text: &str| stage.github.comment(SHOP, number, "alice", text).unwrap();
    hooks.tamper(Some("issue_comment"), Tamper::Lose);
    comment("lost");
    hooks.tamper(None, Tamper::Duplicate);
    comment("twice");
    hooks.tamper(None, Tamper::Hold);
    comment("late");
    comment("in time");
    let texts = |all: Vec<super::stage::Received>| -> Vec<String> {
        all.iter().map(|one| one.payload["comment"]["body"].as_str().unwrap().to_owned()).collect()
    };
    let arrived = stage.received_as("issue_comment", "created").await;
    assert_eq!(arrived[0].guid, arrived[1].guid, "a double carries the same id");
    assert_eq!(texts(arrived), ["twice", "twice", "in time"]);
    hooks.release();
    assert_eq!(texts(stage.received_as("issue_comment", "created").await)[3], "late");

    let app = stage.app_token(json!({}));
    let (_, failed) = stage.send_as(&app, "GET", "/app/hook/deliveries?status=failure", None).await;
    assert_eq!((failed.as_array().unwrap().len(), &failed[0]["event"]), (1, &json!("issue_comment")));
    let id = failed[0]["id"].as_u64().unwrap();
    let (_, whole) = stage.send_as(&app, "GET", &format!("/app/hook/deliveries/{id}"), None).await;
    assert_eq!(whole["request"]["payload"]["comment"]["body"], "lost");
    let (status, _) = stage.send_as(&app, "POST", &format!("/app/hook/deliveries/{id}/attempts"), None).await;
    assert_eq!(status, 202);
    let arrived = stage.received_as("issue_comment", "created").await;
    assert_eq!(json!(arrived[4].guid), failed[0]["guid"], "it comes under its old id");
    let mut guids = Vec::new();
    let mut path = "/app/hook/deliveries?per_page=3".to_owned();
    loop {
        let response = stage.request(&app, "GET", &path, None).send().await.unwrap();
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: Value = response.json().await.unwrap();
        guids.extend(page.as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()));
        let Some(link) = link else { break };
        path = link.split(['<', '>']).nth(1).unwrap().strip_prefix(&stage.github.url()).unwrap().to_owned();
    }
    assert_eq!(guids.len(), stage.github.deliveries().len());
    assert!(guids.is_sorted_by(|a, b| a > b), "newest first, none twice");
    assert_eq!(hooks.unused_tampers(), 0);
    stage.end().await;
}
