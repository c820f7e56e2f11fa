//! The GitHub adapter against answers that GitHub gives on a bad day: expired tokens, broken connections, long lists,
//! redirects, missing fields, refusals.

pub mod stage;

use axum::response::IntoResponse as _;
use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use stage::{Stage, TOKEN, reply};
use titan::domain::ids::{CommitSha, InstallationId, PrNumber};
use titan::domain::policy::{MergeMethod, Role};
use titan::github::feedback::{
    Annotation, AnnotationLevel, CheckConclusion, CheckRunWrite, CheckState, DeploymentState, DeploymentStatusWrite,
    DeploymentWrite, Reaction,
};
use titan::github::git_data::MergeOutcome;
use titan::github::{Access, GitHub, GitHubError, GitHubSettings};
use titan::playground::exchange::{Exchange, Fault, FaultKind};

const HEAD: &str = "3f2c1ab000000000000000000000000000000000";
const OTHER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const SEVEN: PrNumber = PrNumber(7);

fn sha(text: &str) -> CommitSha {
    text.parse().unwrap()
}

fn pull(number: i64) -> Value {
    json!({
        "number": number, "state": "open", "title": "t", "user": {"login": "alice", "type": "User"},
        "head": {"sha": HEAD, "ref": "topic", "repo": {"full_name": "acme/shop"}}, "base": {"sha": OTHER, "ref": "main"},
    })
}

#[tokio::test]
async fn a_token_is_narrowed_to_the_repository_and_the_access_and_used_again() {
    let stage = Stage::new().await;
    stage.says("GET", "/repos/acme/shop/pulls/7", 200, pull(7));
    let repo = stage.repo();
    let reads = (0..8).map(|_| repo.get_pull_request(SEVEN));
    for read in futures::future::join_all(reads).await {
        assert_eq!(read.unwrap().head.as_str(), HEAD);
    }
    for access in [Access::Checkout, Access::Members, Access::Feedback, Access::Merge, Access::Read, Access::Merge] {
        repo.token(access).await.unwrap();
    }
    let read = json!({"checks": "read", "contents": "read", "issues": "read", "metadata": "read",
                      "pull_requests": "read", "statuses": "read"});
    let feedback = json!({"checks": "write", "deployments": "write", "issues": "write", "pull_requests": "write"});
    let merge = json!({"contents": "write", "pull_requests": "write"});
    let expected = [read, json!({"contents": "read"}), json!({"members": "read"}), feedback, merge];
    let expected: Vec<Value> =
        expected.into_iter().map(|p| json!({"repositories": ["shop"], "permissions": p})).collect();
    assert_eq!(stage.minted(), expected, "one token for each access, however many ask at once");
}

#[tokio::test]
async fn a_token_that_soon_expires_is_replaced() {
    let stage = Stage::new().await;
    stage.token_life(TimeDelta::minutes(4));
    let repo = stage.repo();
    repo.token(Access::Read).await.unwrap();
    stage.token_life(TimeDelta::minutes(6));
    repo.token(Access::Read).await.unwrap();
    repo.token(Access::Read).await.unwrap();
    assert_eq!(stage.minted().len(), 2);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_for_writes_too() {
    let stage = Stage::new().await;
    stage.says("POST", "/repos/acme/shop/issues/7/comments", 201, json!({"id": 30}));
    let refuse = || {
        let gone = FaultKind::Before(401, r#"{"message":"Bad credentials"}"#.into(), Vec::new());
        stage.recorder.faults.inject(Fault::once("POST", "/repos/acme/shop/issues/*/comments", gone));
    };
    refuse();
    assert_eq!(stage.repo().create_comment(SEVEN, "hello").await.unwrap(), 30);
    assert_eq!((stage.asked().len(), stage.minted().len()), (2, 2));
    refuse();
    refuse();
    let error = stage.repo().create_comment(SEVEN, "hello").await.unwrap_err();
    assert!(matches!(error, GitHubError::Unauthorized(_)), "{error}");
    assert_eq!(stage.asked().len(), 4, "a third token is not tried");
}

#[tokio::test]
async fn every_request_says_who_asks_and_in_which_version() {
    let stage = Stage::below("/api/v3").await;
    stage.says("GET", "/repos/acme/shop/pulls/7", 200, pull(7));
    stage.says("GET", "/repos/acme/shop/installation", 200, json!({"id": 5}));
    stage.says("POST", "/repos/acme/shop/issues/comments/30/reactions", 200, json!({"id": 1}));
    assert_eq!(stage.github.app().await.unwrap().bot_login(), "titan-test[bot]");
    stage.github.app().await.unwrap();
    let installation = stage.github.installation_of(&"acme/shop".parse().unwrap()).await.unwrap();
    assert_eq!(installation, InstallationId(5));
    stage.repo().get_pull_request(SEVEN).await.unwrap();
    stage.repo().react(30, Reaction::Eyes).await.unwrap();
    let seen = stage.recorder.log.all();
    assert_eq!(seen.len(), 6, "who the App is was asked once: {seen:?}");
    for exchange in seen {
        let all = |name: &str| -> Vec<String> {
            exchange.request_headers.iter().filter(|(known, _)| known == name).map(|(_, v)| v.clone()).collect()
        };
        assert!(exchange.path.starts_with("/api/v3/"), "{exchange:?}");
        assert_eq!(all("user-agent"), ["titan"]);
        assert_eq!(all("x-github-api-version"), ["2022-11-28"]);
        assert_eq!(all("accept"), ["application/vnd.github+json"]);
        assert_eq!(all("authorization").len(), 1);
        assert_eq!(all("content-type").is_empty(), exchange.method == "GET");
    }
    assert_eq!(stage.repo().git_url().as_str(), "https://ghe.example.com/git/acme/shop.git");
}

#[tokio::test]
async fn reads_are_repeated_and_writes_are_not() {
    let stage = Stage::new().await;
    stage.says("GET", "/repos/acme/shop/pulls/7", 200, pull(7));
    stage.says("POST", "/repos/acme/shop/issues/7/comments", 201, json!({"id": 30}));
    let fail = |method: &str, kind: FaultKind| stage.recorder.faults.inject(Fault::once(method, "/repos/**", kind));
    fail("GET", FaultKind::DropBefore);
    fail("GET", FaultKind::Before(502, "<html>".into(), Vec::new()));
    stage.repo().get_pull_request(SEVEN).await.unwrap();
    for _ in 0..3 {
        fail("GET", FaultKind::After(503));
    }
    let error = stage.repo().get_pull_request(SEVEN).await.unwrap_err();
    assert!(matches!(error, GitHubError::Transient(_)), "{error}");
    stage.recorder.log.clear();
    for kind in [FaultKind::After(502), FaultKind::DropAfter] {
        fail("POST", kind);
        let error = stage.repo().create_comment(SEVEN, "hello").await.unwrap_err();
        assert!(matches!(error, GitHubError::Transient(_)), "{error}");
        assert!(error.to_string().contains("POST /repos/acme/shop/issues/7/comments"), "{error}");
    }
    assert_eq!(stage.asked().len(), 2, "each write went out once");
}

#[tokio::test]
async fn errors_name_the_request_and_never_a_token() {
    let stage = Stage::new().await;
    for (status, body) in [
        (404, json!({"message": "Not Found"})),
        (403, json!({"message": format!("Resource not accessible by {TOKEN}_1_0123456789abcdef")})),
        (422, json!({"message": "Validation Failed", "errors": [{"field": "sha", "code": "invalid"}]})),
        (200, json!("not a pull request")),
        (200, json!({"number": 7})),
    ] {
        stage.says("GET", "/repos/acme/shop/pulls/7", status, body);
        let error = stage.repo().get_pull_request(SEVEN).await.unwrap_err().to_string();
        assert!(error.contains("GET /repos/acme/shop/pulls/7") && !error.contains(TOKEN), "{error}");
    }
    stage.on("GET", "/repos/acme/shop/pulls/7", |_| {
        let mut limited = reply(403, &json!({"message": "API rate limit exceeded"}));
        limited.headers_mut().insert("retry-after", "120".parse().unwrap());
        limited
    });
    stage.recorder.log.clear();
    match stage.repo().get_pull_request(SEVEN).await.unwrap_err() {
        GitHubError::RateLimited { retry_at } => {
            let seconds = (retry_at - chrono::Utc::now()).num_seconds();
            assert!((115..=120).contains(&seconds), "{seconds}");
        }
        other => panic!("{other}"),
    }
    assert_eq!(stage.asked().len(), 1, "a limit is not asked again");
}

#[tokio::test]
async fn a_permission_that_the_installation_lacks_is_said_in_words() {
    let stage = Stage::new().await;
    let refusal = json!({"message": "The permissions requested are not granted to this installation."});
    stage.says("POST", "/app/installations/5/access_tokens", 422, refusal);
    let error = stage.repo().token(Access::Merge).await.unwrap_err();
    assert!(matches!(error, GitHubError::Unauthorized(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("Merge access to acme/shop") && text.contains("not granted"), "{text}");
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_at_once() {
    let refused = GitHub::new(&GitHubSettings {
        api_url: "https://api.github.com".parse().unwrap(),
        git_url: "https://github.com".parse().unwrap(),
        app_id: "1".to_owned(),
        private_key_pem: "-----BEGIN NOTHING-----".to_owned().into(),
    });
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("RSA key in PEM form") && !text.contains("NOTHING"), "{text}");
}

#[tokio::test]
async fn a_redirect_is_followed_with_the_same_method_on_the_same_host_only() {
    let stage = Stage::new().await;
    let moved = |to: String| {
        move |_: &stage::Seen| {
            let mut moved = reply(307, &json!({"message": "Moved"}));
            moved.headers_mut().insert("location", to.parse().unwrap());
            moved
        }
    };
    let to = stage.url.join("/repositories/10/issues/7/comments").unwrap();
    stage.on("POST", "/repos/acme/shop/issues/7/comments", moved(to.to_string()));
    stage.says("POST", "/repositories/10/issues/7/comments", 201, json!({"id": 30}));
    assert_eq!(stage.repo().create_comment(SEVEN, "hello").await.unwrap(), 30);
    assert_eq!(stage.asked()[1].request_json(), json!({"body": "hello"}));

    let elsewhere = Stage::new().await;
    let to = elsewhere.url.join("/steal").unwrap();
    stage.on("POST", "/repos/acme/shop/issues/7/comments", moved(to.to_string()));
    let error = stage.repo().create_comment(SEVEN, "hello").await.unwrap_err();
    assert!(matches!(error, GitHubError::Unexpected(_)), "{error}");
    assert_eq!(elsewhere.recorder.log.count(), 0);

    let here = stage.url.join("/repos/acme/shop/issues/7/comments").unwrap();
    stage.on("POST", "/repos/acme/shop/issues/7/comments", moved(here.to_string()));
    let error = stage.repo().create_comment(SEVEN, "hello").await.unwrap_err();
    assert!(matches!(error, GitHubError::Unexpected(_)), "{error}");
}

/// Pages of files, with or without a `Link` header, with at most so many on a page.
fn files(count: usize, link: bool, most: usize) -> impl Fn(&stage::Seen) -> axum::response::Response {
    move |seen| {
        assert_eq!(seen.query("per_page"), Some("100"));
        let (from, to) = ((seen.page() - 1) * most, (seen.page() * most).min(count));
        let page: Vec<Value> = (from..to.max(from))
            .map(|n| json!({"filename": format!("f{n}"), "previous_filename": "old", "status": "renamed"}))
            .collect();
        let mut answer = reply(200, &json!(page));
        if link {
            let next = if to < count { r#"<http://x/?page=2>; rel="next", "# } else { "" };
            answer.headers_mut().insert("link", format!(r#"{next}<http://x/?page=1>; rel="first""#).parse().unwrap());
        }
        answer
    }
}

#[tokio::test]
async fn every_page_of_files_is_read_and_the_limit_is_told() {
    let stage = Stage::new().await;
    for (count, link, most, pages, complete) in [
        (0, true, 100, 1, true),
        (1, false, 100, 1, true),
        (100, true, 100, 1, true),
        (100, false, 100, 2, true),
        (250, true, 100, 3, true),
        (250, false, 100, 3, true),
        (2999, true, 100, 30, true),
        (3000, true, 100, 30, false),
        (5000, false, 100, 30, false),
        // Other hosts give fewer than were asked for, and do not tell that there are more.
        (30, false, 30, 2, true),
        (77, false, 30, 3, true),
        (150, false, 50, 4, true),
        (64, false, 100, 1, true),
    ] {
        stage.on("GET", "/repos/acme/shop/pulls/7/files", files(count, link, most));
        stage.recorder.log.clear();
        let list = stage.repo().list_files(SEVEN).await.unwrap();
        assert_eq!((list.files.len(), list.complete), (count.min(3000), complete), "{count} {link}");
        assert_eq!(stage.asked().len(), pages, "{count} {link} {most}");
    }
    // One that gives everything whatever page is asked for.
    stage.on("GET", "/repos/acme/shop/pulls/7/files", |_| {
        reply(200, &json!(vec![json!({"filename": "a", "status": "added"}); 40]))
    });
    stage.recorder.log.clear();
    let list = stage.repo().list_files(SEVEN).await.unwrap();
    assert_eq!((list.files.len(), list.complete, stage.asked().len()), (40, true, 2));
}

#[tokio::test]
async fn a_list_that_never_ends_is_an_error_and_not_a_part() {
    let stage = Stage::new().await;
    for (same, pages) in [(false, 100), (true, 2)] {
        stage.recorder.log.clear();
        stage.on("GET", "/repos/acme/shop/pulls/7/reviews", move |seen| {
            let id = if same { 1 } else { seen.page() };
            reply(200, &json!(vec![json!({"id": id, "state": "APPROVED"}); 100]))
        });
        let error = stage.repo().list_reviews(SEVEN).await.unwrap_err();
        assert!(matches!(error, GitHubError::Unexpected(_)), "{error}");
        assert_eq!(stage.asked().len(), pages);
    }
}

#[tokio::test]
async fn a_file_is_read_small_or_large() {
    let stage = Stage::new().await;
    let path = "/repos/acme/shop/contents/.github/titan.yml";
    let read = || async { stage.repo().get_file(".github/titan.yml", &sha(HEAD)).await };
    assert_eq!(read().await.unwrap(), None);
    stage.says("GET", path, 200, json!({"type": "file", "encoding": "base64", "content": "dmVyc2lv\nbjogMQo=\n"}));
    assert_eq!(read().await.unwrap().as_deref(), Some("version: 1\n".as_bytes()));
    stage.on("GET", path, |seen| match seen.accept.as_str() {
        "application/vnd.github.raw+json" => vec![7u8; 2 << 20].into_response(),
        _ => reply(200, &json!({"type": "file", "encoding": "none", "content": "", "size": 2 << 20})),
    });
    assert_eq!(read().await.unwrap().map(|bytes| bytes.len()), Some(2 << 20));
    stage.says("GET", path, 200, json!([{"type": "file", "name": "x"}]));
    let error = read().await.unwrap_err();
    assert!(matches!(&error, GitHubError::Invalid(why) if why.contains("is a directory")), "{error}");
    assert!(stage.asked().iter().all(|e| e.query.as_deref() == Some(&format!("ref={HEAD}"))));
    let asked = stage.asked().len();
    assert!(stage.repo().get_file("../secrets", &sha(HEAD)).await.is_err());
    assert_eq!(stage.asked().len(), asked, "a path that leaves the repository is not asked for");
}

#[tokio::test]
async fn someone_unknown_has_no_role() {
    let stage = Stage::new().await;
    assert_eq!(stage.repo().get_standing("mallory").await.unwrap().role, Role::None);
    assert_eq!(stage.repo().get_standing("").await.unwrap().role, Role::None);
    let dependabot = "/repos/acme/shop/collaborators/dependabot%5Bbot%5D/permission";
    stage.says("GET", dependabot, 200, json!({"permission": "write", "role_name": "write"}));
    assert_eq!(stage.repo().get_standing("dependabot[bot]").await.unwrap().role, Role::Write);
    stage.says("GET", "/repos/acme/shop/collaborators/*/permission", 403, json!({"message": "no"}));
    assert!(stage.repo().get_standing("alice").await.is_err(), "not allowed to ask is not the same as no role");
}

fn check(annotations: u32) -> CheckRunWrite {
    CheckRunWrite {
        name: "titan/paths".to_owned(),
        head: sha(HEAD),
        external_id: "run-1".to_owned(),
        details_url: "https://titan.example.com/runs/1".to_owned(),
        state: CheckState::Completed(CheckConclusion::Failure),
        started_at: DateTime::from_timestamp(1_800_000_000, 0),
        completed_at: DateTime::from_timestamp(1_800_000_060, 0),
        title: "title".to_owned(),
        summary: "summary".to_owned(),
        text: None,
        annotations: (1..=annotations)
            .map(|line| Annotation {
                path: "infra/main.tf".to_owned(),
                start_line: line,
                end_line: line,
                level: AnnotationLevel::Failure,
                message: "protected".to_owned(),
                title: None,
            })
            .collect(),
        actions: Vec::new(),
    }
}

/// First and last line of the annotations of each write.
fn batches(seen: &[Exchange]) -> Vec<(String, Option<(i64, i64)>)> {
    seen.iter()
        .filter(|e| e.method != "GET")
        .map(|e| {
            let body = e.request_json();
            let notes = body.pointer("/output/annotations").and_then(Value::as_array).cloned().unwrap_or_default();
            let line = |note: Option<&Value>| note.and_then(|note| note["start_line"].as_i64());
            (e.method.clone(), line(notes.first()).zip(line(notes.last())))
        })
        .collect()
}

#[tokio::test]
async fn annotations_go_out_fifty_at_a_time_and_none_twice() {
    let stage = Stage::new().await;
    stage.says("POST", "/repos/acme/shop/check-runs", 201, json!({"id": 40}));
    stage.says("PATCH", "/repos/acme/shop/check-runs/40", 200, json!({"id": 40}));
    assert_eq!(stage.repo().create_check_run(&check(120)).await.unwrap(), 40);
    let patch = |from, to| ("PATCH".to_owned(), Some((from, to)));
    assert_eq!(batches(&stage.asked()), [("POST".to_owned(), Some((1, 50))), patch(51, 100), patch(101, 120)]);

    for (has, expected) in [
        (0, vec![patch(1, 50), patch(51, 100), patch(101, 120)]),
        (50, vec![patch(51, 100), patch(101, 120)]),
        (120, vec![("PATCH".to_owned(), None)]),
        (500, vec![("PATCH".to_owned(), None)]),
    ] {
        let known = json!({"id": 40, "output": {"annotations_count": has}});
        stage.says("GET", "/repos/acme/shop/check-runs/40", 200, known);
        stage.recorder.log.clear();
        stage.repo().update_check_run(40, &check(120)).await.unwrap();
        assert_eq!(batches(&stage.asked()), expected, "{has}");
    }
    stage.recorder.log.clear();
    stage.repo().update_check_run(40, &check(0)).await.unwrap();
    assert_eq!(stage.asked().len(), 1, "without annotations nothing has to be counted");
}

#[tokio::test]
async fn what_was_written_before_a_crash_is_found() {
    let stage = Stage::new().await;
    let bot = json!({"login": "titan-test[bot]", "type": "Bot"});
    stage.says(
        "GET",
        "/repos/acme/shop/issues/7/comments",
        200,
        json!([
            {"id": 1, "body": "<!-- titan:7 --> mine!", "user": {"login": "mallory", "type": "User"}},
            {"id": 2, "body": "something else", "user": bot},
            {"id": 3, "body": "<!-- titan:7 -->\nstatus", "user": bot},
        ]),
    );
    assert_eq!(stage.repo().find_comment(SEVEN, "<!-- titan:7 -->").await.unwrap(), Some(3));
    assert_eq!(stage.repo().find_comment(SEVEN, "<!-- titan:8 -->").await.unwrap(), None);

    let run = |id: i64, app: i64, external: &str| json!({"id": id, "name": "titan/build", "external_id": external, "app": {"id": app}});
    let runs = [run(1, 42, "run-1"), run(2, 42, "run-2"), run(3, 99, "run-2"), run(4, 42, "run-2")];
    stage.says("GET", &format!("/repos/acme/shop/commits/{HEAD}/check-runs"), 200, json!({"check_runs": runs}));
    let find = |external: &'static str| {
        let repo = stage.repo();
        async move { repo.find_check_run(&sha(HEAD), "titan/build", external).await.unwrap() }
    };
    assert_eq!((find("run-1").await, find("run-2").await, find("run-3").await), (Some(1), Some(4), None));

    stage.says(
        "GET",
        "/repos/acme/shop/deployments",
        200,
        json!([
            {"id": 1, "sha": HEAD, "environment": "canary", "payload": "{\"run\":\"run-1\"}"},
            {"id": 2, "sha": HEAD, "environment": "canary", "payload": {"run": "run-2"}},
            {"id": 3, "sha": OTHER, "environment": "canary", "payload": {"run": "run-3"}},
        ]),
    );
    let find = |run: &'static str| {
        let repo = stage.repo();
        async move { repo.find_deployment(&sha(HEAD), "canary", run).await.unwrap() }
    };
    assert_eq!((find("run-1").await, find("run-2").await, find("run-3").await), (Some(1), Some(2), None));

    let mut closed = pull(9);
    closed["state"] = json!("closed");
    stage.says("GET", "/repos/acme/shop/pulls", 200, json!([pull(8), closed]));
    let find = |branch: &'static str| {
        let repo = stage.repo();
        async move { repo.find_pull_request_by_head(branch).await.unwrap() }
    };
    assert_eq!((find("topic").await, find("other").await), (Some(PrNumber(8)), None));
    let asked = stage.asked().pop().unwrap().query.unwrap();
    assert!(asked.starts_with("head=acme%3Aother&state=all&"), "{asked}");

    stage.says("GET", "/repos/acme/shop/git/ref/heads/titan/x", 200, json!({"object": {"sha": HEAD}}));
    assert_eq!(stage.repo().find_branch("titan/x").await.unwrap(), Some(sha(HEAD)));
    assert_eq!(stage.repo().find_branch("titan/y").await.unwrap(), None);
    assert!(stage.repo().get_branch_head("titan/y").await.is_err());
}

#[tokio::test]
async fn a_merge_has_its_outcomes() {
    let stage = Stage::new().await;
    let merge = || async { stage.repo().merge(SEVEN, &sha(HEAD), MergeMethod::Squash, Some("t".to_owned())).await };
    let path = "/repos/acme/shop/pulls/7/merge";
    stage.says("PUT", path, 200, json!({"sha": OTHER, "merged": true, "message": "Pull Request merged"}));
    assert_eq!(merge().await.unwrap(), MergeOutcome::Merged(sha(OTHER)));
    let sent = stage.asked().pop().unwrap().request_json();
    assert_eq!(sent, json!({"sha": HEAD, "merge_method": "squash", "commit_title": "t"}));
    stage.says("PUT", path, 409, json!({"message": "Head branch was modified"}));
    assert_eq!(merge().await.unwrap(), MergeOutcome::HeadMoved);
    stage.says("PUT", path, 405, json!({"message": "Required status check is failing"}));
    let refused = MergeOutcome::NotMergeable("Required status check is failing".to_owned());
    assert_eq!(merge().await.unwrap(), refused);
    stage.says("PUT", path, 403, json!({"message": "no"}));
    assert!(matches!(merge().await.unwrap_err(), GitHubError::Unauthorized(_)));
    stage.recorder.log.clear();
    stage.says("PUT", path, 500, json!({}));
    assert!(matches!(merge().await.unwrap_err(), GitHubError::Transient(_)));
    assert_eq!(stage.asked().len(), 1, "a merge is not sent twice");
}

#[tokio::test]
async fn what_exists_already_is_a_conflict() {
    let stage = Stage::new().await;
    stage.says("POST", "/repos/acme/shop/git/refs", 422, json!({"message": "Reference already exists"}));
    let error = stage.repo().create_branch("titan/x", &sha(HEAD)).await.unwrap_err();
    assert!(matches!(error, GitHubError::Conflict(_)), "{error}");
    let body = json!({"message": "Validation Failed", "errors": [{"message": "A pull request already exists for x"}]});
    stage.says("POST", "/repos/acme/shop/pulls", 422, body);
    let error = stage.repo().create_pull_request("titan/x", "main", "t", "b").await.unwrap_err();
    assert!(matches!(error, GitHubError::Conflict(_)), "{error}");
    stage.says("POST", "/repos/acme/shop/deployments", 202, json!({"message": "Auto-merged main into topic"}));
    let deployment = DeploymentWrite {
        commit: sha(HEAD),
        environment: "canary".to_owned(),
        description: "d".to_owned(),
        run: "run-1".to_owned(),
        production: false,
    };
    let error = stage.repo().create_deployment(&deployment).await.unwrap_err();
    assert!(matches!(error, GitHubError::Conflict(_)), "{error}");
    let sent = stage.asked().pop().unwrap().request_json();
    assert_eq!((&sent["auto_merge"], &sent["required_contexts"]), (&json!(false), &json!([])));
}

#[tokio::test]
async fn a_deployment_status_keeps_its_limit() {
    let stage = Stage::new().await;
    stage.says("POST", "/repos/acme/shop/deployments/1/statuses", 201, json!({"id": 2}));
    let status = DeploymentStatusWrite {
        state: DeploymentState::InProgress,
        description: "ü".repeat(200),
        log_url: None,
        environment_url: None,
        auto_inactive: true,
    };
    stage.repo().create_deployment_status(1, &status).await.unwrap();
    let sent = stage.asked().pop().unwrap().request_json();
    assert_eq!(sent["description"].as_str().map(|d| d.chars().count()), Some(140));
    assert_eq!((&sent["state"], sent.get("log_url")), (&json!("in_progress"), None));
}

/// Ids that tell commits (`c`), trees (`d`, for directory) and blobs (`b`) apart.
fn id(kind: char, n: u8) -> String {
    format!("{}{n:02}", kind.to_string().repeat(38))
}

/// A branch on which `now` follows the merge of `after` onto `before`; each a list of (path, content).
fn history(stage: &Stage, before: &[(&str, u8)], after: &[(&str, u8)], now: &[(&str, u8)]) {
    let tree_number = |n: u8| if n == 3 && now == after { 2 } else { n };
    for (n, files) in [(1u8, before), (2, after), (3, now)] {
        let parents = if n == 1 { json!([]) } else { json!([{"sha": id('c', n - 1)}]) };
        let tree = id('d', tree_number(n));
        let commit = json!({"sha": id('c', n), "tree": {"sha": tree}, "parents": parents});
        stage.says("GET", &format!("/repos/acme/shop/git/commits/{}", id('c', n)), 200, commit);
        let mut entries = vec![json!({"path": "dir", "mode": "040000", "type": "tree", "sha": HEAD})];
        entries.extend(
            files.iter().map(
                |(path, content)| json!({"path": path, "mode": "100644", "type": "blob", "sha": id('b', *content)}),
            ),
        );
        let tree = format!("/repos/acme/shop/git/trees/{tree}");
        stage.says("GET", &tree, 200, json!({"sha": HEAD, "tree": entries, "truncated": false}));
    }
    stage.says("GET", "/repos/acme/shop/git/ref/heads/main", 200, json!({"object": {"sha": id('c', 3)}}));
    stage.says("POST", "/repos/acme/shop/git/trees", 201, json!({"sha": OTHER}));
    stage.says("POST", "/repos/acme/shop/git/commits", 201, json!({"sha": HEAD}));
    stage.recorder.log.clear();
}

#[tokio::test]
async fn a_merge_is_undone_on_top_of_what_came_after() {
    let stage = Stage::new().await;
    let merge = sha(&id('c', 2));
    let revert = || async { stage.repo().create_revert_commit(&merge, "main", "Revert").await };
    let bodies =
        || -> Vec<Value> { stage.asked().iter().filter(|e| e.method == "POST").map(Exchange::request_json).collect() };

    history(&stage, &[("a", 1), ("dir/x", 1)], &[("a", 2), ("dir/n", 1)], &[("a", 2), ("dir/n", 1)]);
    assert_eq!(revert().await.unwrap(), sha(HEAD));
    let commit = |tree: &str| json!({"message": "Revert", "tree": tree, "parents": [id('c', 3)]});
    assert_eq!(bodies(), [commit(&id('d', 1))], "nothing came after: the old tree as it was");

    history(&stage, &[("a", 1), ("dir/x", 1)], &[("a", 2), ("dir/n", 1)], &[("a", 2), ("dir/n", 1), ("later", 1)]);
    revert().await.unwrap();
    let entry = |path: &str, content: Value| json!({"path": path, "mode": "100644", "type": "blob", "sha": content});
    let entries = [entry("a", json!(id('b', 1))), entry("dir/n", Value::Null), entry("dir/x", json!(id('b', 1)))];
    assert_eq!(bodies(), [json!({"base_tree": id('d', 3), "tree": entries}), commit(OTHER)]);

    history(&stage, &[("a", 1)], &[("a", 2)], &[("a", 3)]);
    let error = revert().await.unwrap_err();
    assert!(matches!(&error, GitHubError::Conflict(why) if why.contains("undone: a;")), "{error}");
    assert_eq!(bodies(), Vec::<Value>::new(), "nothing is made when it cannot be undone");

    let whole = json!({"sha": HEAD, "tree": [], "truncated": true});
    stage.says("GET", &format!("/repos/acme/shop/git/trees/{}", id('d', 1)), 200, whole);
    let error = revert().await.unwrap_err();
    assert!(matches!(&error, GitHubError::Invalid(why) if why.contains("more files")), "{error}");

    let first = sha(&id('c', 1));
    let error = stage.repo().create_revert_commit(&first, "main", "Revert").await.unwrap_err();
    assert!(matches!(&error, GitHubError::Invalid(why) if why.contains("no parent")), "{error}");
}

#[tokio::test]
async fn reads_forgive_what_is_missing() {
    let stage = Stage::new().await;
    let repo = stage.repo();
    stage.says("GET", "/repos/acme/shop/pulls/7/reviews", 200, json!([{"id": 1, "user": null, "state": "APPROVED"}]));
    let reviews = repo.list_reviews(SEVEN).await.unwrap();
    assert_eq!((reviews[0].login.as_str(), reviews[0].commit.is_none()), ("ghost", true));
    stage.says("GET", &format!("/repos/acme/shop/commits/{HEAD}/check-runs"), 200, json!({"check_runs": [{"id": 1}]}));
    assert_eq!(repo.list_check_runs(&sha(HEAD)).await.unwrap()[0].app_id, None);
    let statuses = json!({"state": "pending", "statuses": [{"context": "ci", "state": "success"}]});
    stage.says("GET", &format!("/repos/acme/shop/commits/{HEAD}/status"), 200, statuses);
    assert_eq!(repo.list_statuses(&sha(HEAD)).await.unwrap()[0].context, "ci");
    let comments = json!([{"id": 1, "created_at": "2026-01-02T03:04:05Z"},
        {"id": 2, "created_at": "2026-01-02T03:04:05Z", "issue_url": "https://x.example/repos/acme/shop/issues/7"}]);
    stage.says("GET", "/repos/acme/shop/issues/comments", 200, comments);
    let since = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let comments = repo.list_comments_since(since).await.unwrap();
    assert_eq!((comments[0].login.as_str(), comments[0].number.0, comments[1].number), ("ghost", 0, SEVEN));
    let asked = stage.asked().pop().unwrap().query.unwrap();
    assert!(asked.starts_with("since=2027-01-15T08%3A00%3A00Z&"), "{asked}");
    assert_eq!(repo.find_default_branch().await.unwrap(), None, "a host that does not know the question");
    stage.says("GET", "/repos/acme/shop", 200, json!({"default_branch": "trunk"}));
    assert_eq!(repo.find_default_branch().await.unwrap().as_deref(), Some("trunk"));
    let compared = json!({"ahead_by": 2, "behind_by": 1, "merge_base_commit": {"sha": OTHER}, "commits": []});
    stage.says("GET", &format!("/repos/acme/shop/compare/main...{HEAD}"), 200, compared);
    let comparison = repo.compare("main", HEAD).await.unwrap();
    assert_eq!((comparison.ahead_by, comparison.behind_by, comparison.merge_base), (2, 1, sha(OTHER)));
}

#[tokio::test]
async fn the_log_of_deliveries_is_read_page_by_page_and_may_be_absent() {
    let stage = Stage::new().await;
    assert_eq!(stage.github.list_deliveries(None).await.unwrap(), None, "404: this GitHub has none");
    stage.says("GET", "/app/hook/deliveries", 403, json!({"message": "Not now"}));
    assert!(matches!(stage.github.list_deliveries(None).await, Err(GitHubError::Unauthorized(_))), "not absent");
    let attempt =
        |id: i64| json!({"id": id, "guid": format!("g{id}"), "delivered_at": "2026-01-02T03:04:05Z", "event": "push"});
    stage.on("GET", "/app/hook/deliveries", move |seen| {
        assert_eq!(seen.query("per_page"), Some("100"));
        match seen.query("cursor") {
            None => {
                let next = "<https://ghe.example.com/app/hook/deliveries?per_page=100&cursor=v1_9>; rel=\"next\"";
                ([("link", next)], reply(200, &json!([attempt(20_000_000_000_009)]))).into_response()
            }
            Some(cursor) => {
                assert_eq!(cursor, "v1_9");
                reply(200, &json!([attempt(8)]))
            }
        }
    });
    let first = stage.github.list_deliveries(None).await.unwrap().expect("a log");
    assert_eq!((first.attempts[0].id, first.attempts[0].action.as_deref()), (20_000_000_000_009, None));
    let last = stage.github.list_deliveries(first.next.as_deref()).await.unwrap().expect("a log");
    assert_eq!((last.attempts[0].guid.as_str(), last.next), ("g8", None));
    stage.says("GET", "/app/hook/deliveries", 500, json!({}));
    assert!(matches!(stage.github.list_deliveries(None).await, Err(GitHubError::Transient(_))), "away is not absent");

    stage.says("POST", "/app/hook/deliveries/8/attempts", 202, json!({}));
    stage.github.redeliver(8).await.unwrap();
    assert!(matches!(stage.github.redeliver(9).await, Err(GitHubError::NotFound(_))));
}
