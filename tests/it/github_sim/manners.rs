//! GitHub's manners: who is let in, how much is given at once, and what is refused.

use serde_json::{Value, json};
use titan::playground::exchange::{Fault, FaultKind};
use titan::playground::github::model::Role;
use titan::playground::github::{Change, FileMode};

use super::Stage;
use super::stage::{ON_PURPOSE, SHOP};

#[tokio::test]
async fn an_app_token_must_be_signed_fresh_and_short() {
    let stage = Stage::new().await;
    let now = chrono::Utc::now().timestamp();
    let cases = [
        (json!({}), 200),
        (json!({ "iss": stage.github.app().id }), 200),
        (json!({ "iss": stage.github.app().id.to_string() }), 200),
        (json!({ "iss": "somebody" }), 401),
        (json!({ "exp": now - 5 }), 401),
        (json!({ "exp": now + 3600 }), 401),
        (json!({ "iat": now + 600, "exp": now + 700 }), 401),
    ];
    for (claims, expected) in cases {
        let (status, body) = stage.send_as(&stage.app_token(claims.clone()), "GET", "/app", None).await;
        assert_eq!(status, expected, "{claims}: {body}");
    }
    let mut forged = stage.app_token(json!({}));
    forged.replace_range(forged.len() - 8.., "AAAAAAAA");
    assert_eq!(stage.wrong(&forged, "GET", "/app", None).await.0, 401);
    assert_eq!(stage.wrong(stage.token(), "GET", "/app", None).await.0, 401, "an installation token is no App token");
    assert_eq!(stage.wrong(&stage.app_token(json!({})), "GET", &format!("/repos/{SHOP}"), None).await.0, 403);
    let installed = format!("/repos/{SHOP}/installation");
    let (_, found) = stage.send_as(&stage.app_token(json!({})), "GET", &installed, None).await;
    assert_eq!(found["id"], stage.installation);
    stage.end().await;
}

#[tokio::test]
async fn a_token_is_narrowed_to_what_was_asked_for_and_granted() {
    let stage = Stage::new().await;
    let (number, _) = stage.pull();
    stage.github.create_repository("acme/other", true).unwrap();
    let (status, body) = stage.mint(json!({ "repositories": ["shop"], "permissions": { "issues": "read" } })).await;
    assert_eq!(status, 201);
    assert_eq!(body["permissions"], json!({ "issues": "read", "metadata": "read" }));
    assert_eq!(body["repositories"][0]["full_name"], SHOP);
    let token = body["token"].as_str().unwrap();
    assert!(token.starts_with("ghs_424242_") && token.len() > 100, "the format of 2026");
    let comments = format!("issues/{number}/comments");
    assert_eq!(stage.send_as(token, "GET", &comments, None).await.0, 200);
    let (status, body) = stage.send_as(token, "POST", &comments, Some(json!({ "body": "x" }))).await;
    assert_eq!((status, &body["message"]), (403, &json!("Resource not accessible by integration")));
    assert_eq!(stage.send_as(token, "GET", "/repos/acme/other", None).await.0, 404);
    let pulls = stage.narrowed(json!({ "pull_requests": "write" })).await;
    assert_eq!(stage.send_as(&pulls, "POST", &comments, Some(json!({ "body": "x" }))).await.0, 201);
    let issue = stage.github.open_issue(SHOP, "alice", "Plain", "").unwrap();
    let plain = format!("issues/{issue}/comments");
    assert_eq!(stage.send_as(&pulls, "POST", &plain, Some(json!({ "body": "x" }))).await.0, 403);

    for body in [
        json!({ "permissions": { "workflows": "write" } }),
        json!({ "repositories": ["other"] }),
        json!({ "repository_ids": [1] }),
    ] {
        assert_eq!(stage.mint(body.clone()).await.0, 422, "{body}");
    }
    stage.github.expire_tokens();
    let (status, body) = stage.send_as(token, "GET", &comments, None).await;
    assert_eq!((status, &body["message"]), (401, &json!("Bad credentials")));
    assert_eq!(stage.send_as("ghs_1_unknown", "GET", &comments, None).await.0, 401);
    let anonymous =
        stage.http.get(format!("{}/repos/{SHOP}", stage.github.url())).header(ON_PURPOSE, "1").send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
    let fresh = stage.narrowed(json!({ "issues": "read" })).await;
    stage.github.remove_from_installation(stage.installation, &[SHOP]).unwrap();
    assert_eq!(stage.send_as(&fresh, "GET", &comments, None).await.0, 404, "the repository was taken away");
    stage.github.suspend(stage.installation, true).unwrap();
    assert_eq!(stage.mint(json!({})).await.0, 403);
    assert_eq!(stage.send_as(&fresh, "GET", &comments, None).await.0, 401);
    stage.end().await;
}

#[tokio::test]
async fn changed_files_come_in_pages_with_both_names_of_a_rename_and_stop_at_the_cap() {
    let stage = Stage::new().await;
    let mut change =
        Change::new("Many").delete("README.md").file("src/moved.js", "one\ntwo\nthree\n").delete("src/app.js");
    for n in 0..40 {
        change = change.file(&format!("many/{n:02}.txt"), "x\n");
    }
    change = change.mode("link", FileMode::Symlink, "src").file("logo.bin", [0_u8, 159, 146, 150]);
    stage.github.commit(SHOP, "many", "alice", &change).unwrap();
    let number = stage.github.open_pull(SHOP, "alice", "Many", "", "many", "main").unwrap();
    let path = format!("pulls/{number}/files");
    let first = stage.request(stage.token(), "GET", &path, None).send().await.unwrap();
    let link = first.headers()["link"].to_str().unwrap().to_owned();
    assert!(link.contains("page=2>; rel=\"next\"") && link.contains("rel=\"last\""), "{link}");
    let mut files: Vec<Value> = first.json().await.unwrap();
    assert_eq!(files.len(), 30, "a page is 30 unless asked otherwise");
    let (_, rest) = stage.get(&format!("{path}?page=2")).await;
    files.extend(rest.as_array().unwrap().clone());
    assert_eq!(stage.get(&format!("pulls/{number}")).await.1["changed_files"], files.len());
    let find = |name: &str| files.iter().find(|file| file["filename"] == name).unwrap();
    assert_eq!(
        (&find("src/moved.js")["status"], &find("src/moved.js")["previous_filename"]),
        (&json!("renamed"), &json!("src/app.js"))
    );
    assert_eq!((&find("README.md")["status"], &find("README.md")["deletions"]), (&json!("removed"), &json!(1)));
    assert_eq!(
        (&find("many/07.txt")["status"], &find("many/07.txt")["patch"]),
        (&json!("added"), &json!("@@ -0,0 +1 @@\n+x"))
    );
    assert!(find("logo.bin").get("patch").is_none());
    assert_eq!(stage.get(&format!("{path}?per_page=100")).await.1.as_array().unwrap().len(), 44);

    stage.github.set_files_cap(10);
    assert_eq!(stage.get(&format!("{path}?per_page=100")).await.1.as_array().unwrap().len(), 10, "cut off in silence");
    assert_eq!(stage.get(&format!("pulls/{number}")).await.1["changed_files"], 44, "but counted in full");
    assert_eq!(stage.get(&format!("pulls/{number}/commits")).await.1[0]["author"]["login"], "alice");
    stage.end().await;
}

#[tokio::test]
async fn permissions_of_people_are_told_in_both_of_github_s_ways() {
    let stage = Stage::new().await;
    for (login, role, permission, push) in [
        ("tina", Role::Triage, "read", false),
        ("alice", Role::Write, "write", true),
        ("mona", Role::Maintain, "write", true),
        ("ada", Role::Admin, "admin", true),
        ("mallory", Role::None, "none", false),
    ] {
        stage.github.set_role(SHOP, login, role).unwrap();
        let (status, body) = stage.get(&format!("collaborators/{login}/permission")).await;
        assert_eq!((status, &body["permission"], &body["role_name"]), (200, &json!(permission), &json!(role.name())));
        assert_eq!(body["user"]["permissions"]["push"], push);
    }
    assert_eq!(stage.get("collaborators/nobody/permission").await.0, 404);
    stage.end().await;
}

#[tokio::test]
async fn limits_of_check_runs_and_comments_are_kept() {
    let stage = Stage::new().await;
    let (number, head) = stage.pull();
    let with = |more: Value| {
        let mut body = json!({ "name": "x", "head_sha": head });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let note = json!({ "path": "a", "start_line": 1, "end_line": 1, "annotation_level": "notice", "message": "m" });
    let output = |summary: String, notes: usize| json!({ "output": { "title": "t", "summary": summary, "annotations": vec![note.clone(); notes] } });
    let action = |label: &str| json!({ "label": label, "description": "d", "identifier": "i" });
    let cases = [
        (output("s".repeat(65_535), 50), 201),
        (output("ß".repeat(40_000), 0), 422),
        (output("s".into(), 51), 422),
        (json!({ "actions": [action("a"), action("b"), action("c")] }), 201),
        (json!({ "actions": vec![action("a"); 4] }), 422),
        (json!({ "actions": [action("a label that is too long")] }), 422),
        (json!({ "status": "completed" }), 422),
    ];
    for (more, expected) in cases {
        let (status, body) = stage.post("check-runs", with(more)).await;
        assert_eq!(status, expected, "{body}");
    }
    let unknown = json!({ "name": "x", "head_sha": "0123456789012345678901234567890123456789" });
    assert_eq!(stage.post("check-runs", unknown).await.0, 422);
    let comments = format!("issues/{number}/comments");
    assert_eq!(stage.post(&comments, json!({ "body": "x".repeat(65_537) })).await.0, 422);
    assert_eq!(stage.post(&comments, json!({})).await.0, 422);
    let broken = stage.request(stage.token(), "POST", &comments, None).body("{").send().await.unwrap();
    assert_eq!(broken.status(), 400);
    assert!(stage.github.comments(SHOP, number).is_empty());
    let checks =
        titan::playground::github::NewCheck { name: "ci".into(), head_sha: head.clone(), ..Default::default() };
    let foreign = stage.github.report_check(SHOP, "github-actions", &checks).unwrap();
    assert_eq!(stage.send("PATCH", &format!("check-runs/{foreign}"), Some(json!({ "status": "queued" }))).await.0, 403);
    // The oversized requests were wrong on purpose: they are not held against the documentation.
    stage.github.calls().clear();
    stage.end().await;
}

#[tokio::test]
async fn an_answer_that_is_known_is_not_sent_again_and_the_hour_s_calls_are_counted() {
    let stage = Stage::new().await;
    let first = stage.request(stage.token(), "GET", "/rate_limit", None).send().await.unwrap();
    let left: u64 = first.headers()["x-ratelimit-remaining"].to_str().unwrap().parse().unwrap();
    let one = stage.request(stage.token(), "GET", "labels", None).send().await.unwrap();
    let etag = one.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(one.headers()["x-ratelimit-remaining"].to_str().unwrap(), (left - 1).to_string());
    assert!(one.headers().contains_key("x-github-request-id"));
    let again =
        stage.request(stage.token(), "GET", "labels", None).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!((again.status().as_u16(), again.text().await.unwrap().len()), (304, 0));
    let now = stage.request(stage.token(), "GET", "/rate_limit", None).send().await.unwrap();
    let now = now.headers()["x-ratelimit-remaining"].to_str().unwrap().to_owned();
    assert_eq!(now, (left - 1).to_string(), "an answer that is known costs nothing");
    stage.github.create_label(SHOP, "titan-ops", "5319e7").unwrap();
    let changed =
        stage.request(stage.token(), "GET", "labels", None).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(changed.status(), 200);
    stage.github.set_calls_left(stage.installation, 0);
    let refused = stage.request(stage.token(), "GET", "labels", None).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["x-ratelimit-remaining"].to_str().unwrap()), (403, "0"));
    stage.github.set_calls_left(stage.installation, 10);
    stage.github.faults().inject(Fault::once("GET", "/repos/*/*/labels", FaultKind::After(502)));
    assert_eq!(stage.get("labels").await.0, 502);
    stage.end().await;
}

#[tokio::test]
async fn an_unknown_request_is_remembered_and_a_request_without_a_name_refused() {
    let stage = Stage::new().await;
    assert_eq!(stage.get("actions/runs").await.0, 404);
    assert_eq!(stage.github.unknown_requests(), [format!("GET /repos/{SHOP}/actions/runs")]);
    let nameless = reqwest::Client::new().get(format!("{}/app", stage.github.url())).send().await.unwrap();
    assert_eq!(nameless.status(), 403);
    assert_eq!(stage.github.clone().calls().count(), 3, "minting, and these two");
}

#[tokio::test]
async fn labels_issues_and_lists_answer_as_documented() {
    let stage = Stage::new().await;
    let (number, head) = stage.pull();
    assert_eq!(
        stage.post("labels", json!({ "name": "titan-ops", "color": "5319e7", "description": "Titan" })).await.0,
        201
    );
    assert_eq!(stage.post("labels", json!({ "name": "Titan-Ops" })).await.0, 422);
    assert_eq!(stage.get("labels/titan-ops").await.0, 200);
    let (_, set) = stage.post(&format!("issues/{number}/labels"), json!({ "labels": ["titan-ops", "new one"] })).await;
    assert_eq!(set.as_array().unwrap().len(), 2, "a label that is not there is made");
    assert_eq!(
        stage.send("DELETE", &format!("issues/{number}/labels/new%20one"), None).await.1.as_array().unwrap().len(),
        1
    );
    assert_eq!(stage.send("DELETE", &format!("issues/{number}/labels/new%20one"), None).await.0, 404);
    let (status, issue) =
        stage.post("issues", json!({ "title": "Rollback stuck", "body": "help", "labels": ["titan-ops"] })).await;
    assert_eq!((status, &issue["labels"][0]["name"]), (201, &json!("titan-ops")));
    for path in [
        "issues/1",
        "issues",
        "issues/comments",
        "pulls",
        "pulls?state=all&base=main",
        "pulls/1/reviews",
        "branches",
        "branches/main",
        "commits",
        "commits/topic",
        "commits/topic/status",
        "commits/topic/statuses",
        "commits/topic/pulls",
        "compare/main...topic",
        "compare/topic...main",
        "git/matching-refs/heads/",
        "deployments",
        "/installation/repositories",
        "/users/titan-app%5Bbot%5D",
        "/versions",
        "",
    ] {
        let path = if path.is_empty() { format!("/repos/{SHOP}") } else { path.to_owned() };
        assert_eq!(stage.get(&path).await.0, 200, "{path}");
    }
    let (_, comparison) = stage.get("compare/main...topic").await;
    assert_eq!(
        (&comparison["status"], &comparison["ahead_by"], &comparison["files"][0]["filename"]),
        (&json!("ahead"), &json!(1), &json!("src/app.js"))
    );
    assert_eq!(comparison["merge_base_commit"]["sha"], stage.base);
    for (path, expected) in [
        ("compare/main...nothing", 404),
        ("commits/nothing", 422),
        ("branches/nothing", 404),
        ("git/ref/heads/nothing", 404),
        ("pulls/99", 404),
        ("issues/99/comments", 404),
    ] {
        assert_eq!(stage.get(path).await.0, expected, "{path}");
    }
    stage.github.hide_mergeability(SHOP, number, 1);
    assert_eq!(stage.get(&format!("pulls/{number}")).await.1["mergeable"], Value::Null);
    assert_eq!(stage.get(&format!("pulls/{number}")).await.1["mergeable"], true);
    let renamed = json!({ "title": "Another title", "state": "closed" });
    let (_, pull) = stage.send("PATCH", &format!("pulls/{number}"), Some(renamed)).await;
    assert_eq!(
        (&pull["title"], &pull["state"], &pull["head"]["sha"]),
        (&json!("Another title"), &json!("closed"), &json!(head))
    );
    for path in ["/app/installations", "/app/hook/config"] {
        assert_eq!(stage.send_as(&stage.app_token(json!({})), "GET", path, None).await.0, 200);
    }
    stage.end().await;
}

#[tokio::test]
async fn the_server_ends_with_its_last_handle() {
    let stage = Stage::new().await;
    let (url, other) = (stage.github.url(), stage.github.clone());
    drop(stage);
    let ask = || reqwest::Client::builder().user_agent("x").build().unwrap().get(format!("{url}/versions")).send();
    assert_eq!(ask().await.unwrap().status(), 200, "a clone keeps it alive");
    drop(other);
    let gone = async {
        while ask().await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone).await.expect("nobody answers any more");
}
