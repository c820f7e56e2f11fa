//! The GitHub adapter against GitHub's own documentation: every request is one that the OpenAPI file knows, every
//! documented example answer is understood, and every published example webhook is taken.

use serde_json::{Value, json};
use titan::domain::ids::{CommitSha, PrNumber};
use titan::domain::policy::MergeMethod;
use titan::github::GitHubError;
use titan::github::feedback::{
    Annotation, AnnotationLevel, CheckAction, CheckConclusion, CheckRunWrite, CheckState, DeploymentState,
    DeploymentStatusWrite, DeploymentWrite, Reaction,
};
use titan::github::git_data::MergeOutcome;
use titan::github::webhook::{Trigger, trigger};

use crate::contracts;
use crate::github_adapter::stage::Stage;

const SEVEN: PrNumber = PrNumber(7);

/// Every operation that the adapter uses: method, template below the repository, the status of its success.
const OPERATIONS: [(&str, &str, u16); 33] = [
    ("GET", "/installation", 200),
    ("GET", "/pulls/{pull_number}", 200),
    ("GET", "/pulls/{pull_number}/files", 200),
    ("GET", "/pulls/{pull_number}/reviews", 200),
    ("GET", "/contents/{path}", 200),
    ("GET", "/git/ref/{ref}", 200),
    ("GET", "/git/commits/{commit_sha}", 200),
    ("GET", "/git/trees/{tree_sha}", 200),
    ("GET", "/compare/{basehead}", 200),
    ("GET", "/collaborators/{username}/permission", 200),
    ("GET", "/branches/{branch}", 200),
    ("GET", "/rules/branches/{branch}", 200),
    ("GET", "/commits/{ref}", 200),
    ("GET", "/commits/{ref}/check-runs", 200),
    ("GET", "/commits/{ref}/status", 200),
    ("GET", "/issues/{issue_number}/comments", 200),
    ("GET", "/issues/comments", 200),
    ("GET", "/check-runs/{check_run_id}", 200),
    ("GET", "/deployments", 200),
    ("GET", "/pulls", 200),
    ("POST", "/issues/{issue_number}/comments", 201),
    ("PATCH", "/issues/comments/{comment_id}", 200),
    ("POST", "/issues/comments/{comment_id}/reactions", 201),
    ("POST", "/issues/{issue_number}/labels", 200),
    ("POST", "/check-runs", 201),
    ("PATCH", "/check-runs/{check_run_id}", 200),
    ("POST", "/deployments", 201),
    ("POST", "/deployments/{deployment_id}/statuses", 201),
    ("PUT", "/pulls/{pull_number}/merge", 200),
    ("POST", "/git/refs", 201),
    ("POST", "/git/trees", 201),
    ("POST", "/git/commits", 201),
    ("POST", "/pulls", 201),
];

/// The paths that a template stands for.
fn pattern(rest: &str) -> String {
    let last_of_many =
        |part: &str| matches!(part, "{path}" | "{branch}") || (part == "{ref}" && rest.ends_with("{ref}"));
    let parts = rest.split('/').map(|part| match part {
        part if last_of_many(part) => "**",
        part if part.starts_with('{') => "*",
        part => part,
    });
    format!("/repos/acme/shop{}", parts.collect::<Vec<_>>().join("/"))
}

/// A stage that answers every operation with GitHub's own example of it.
async fn documented(spec: &contracts::Spec) -> Stage {
    let stage = Stage::new().await;
    let example = |method: &str, template: &str, status: u16| {
        spec.example(method, template, &["responses", &status.to_string()])
            .unwrap_or_else(|| panic!("GitHub documents no answer of {method} {template}"))
    };
    for (method, rest, status) in OPERATIONS {
        let body = example(method, &format!("/repos/{{owner}}/{{repo}}{rest}"), status);
        stage.says(method, &pattern(rest), status, body);
    }
    stage.says("GET", "/app", 200, example("GET", "/app", 200));
    let membership = example("GET", "/orgs/{org}/teams/{team_slug}/memberships/{username}", 200);
    stage.says("GET", "/orgs/acme/teams/sre/memberships/octocat", 200, membership);
    stage.says("GET", "/user/*", 200, example("GET", "/user/{account_id}", 200));
    let token = "/app/installations/{installation_id}/access_tokens";
    let mut minted = example("POST", token, 201);
    minted["token"] = "ghs_stage_documented".into();
    stage.says("POST", "/app/installations/5/access_tokens", 201, minted);
    stage
}

fn check(state: CheckState) -> CheckRunWrite {
    let annotation = Annotation {
        path: "infra/main.tf".to_owned(),
        start_line: 1,
        end_line: 1,
        level: AnnotationLevel::Warning,
        message: "protected by /infra/".to_owned(),
        title: Some("Protected path".to_owned()),
    };
    CheckRunWrite {
        name: "titan/paths".to_owned(),
        head: head(),
        external_id: "run-1".to_owned(),
        details_url: "https://titan.example.com/runs/1".to_owned(),
        state,
        started_at: Some(titan::clock::now()),
        completed_at: Some(titan::clock::now()),
        title: "4 files, 1 protected".to_owned(),
        summary: "A protected file is touched".repeat(4000),
        text: Some("details".to_owned()),
        annotations: vec![annotation; 51],
        actions: vec![CheckAction {
            label: "Deploy canary".to_owned(),
            description: "Puts this commit on the canary service, and watches it".to_owned(),
            identifier: "canary".to_owned(),
        }],
    }
}

fn head() -> CommitSha {
    "3f2c1ab000000000000000000000000000000000".parse().unwrap()
}

#[tokio::test]
async fn documented_answers_are_understood_and_every_request_is_documented() {
    let Some(spec) = contracts::github() else { return };
    let stage = documented(spec).await;
    let repo = stage.repo();

    stage.github.app().await.unwrap();
    stage.github.installation_of(&"acme/shop".parse().unwrap()).await.unwrap();
    let pull = repo.get_pull_request(SEVEN).await.unwrap();
    assert!(pull.open && pull.head_repo.is_some() && !pull.author.is_empty() && !pull.html_url.is_empty());
    assert!(!repo.list_files(SEVEN).await.unwrap().files.is_empty());
    assert!(!repo.list_reviews(SEVEN).await.unwrap().is_empty());
    let file = repo.get_file("docs/read me.md", &head()).await;
    // The first of GitHub's examples for this path is a directory.
    assert!(matches!(file, Err(GitHubError::Invalid(_))), "{file:?}");
    repo.get_branch_head("feature/a b").await.unwrap();
    repo.get_commit_tree(&head()).await.unwrap();
    repo.compare("main", head().as_str()).await.unwrap();
    assert!(repo.get_standing("octocat").await.unwrap().id.is_some());
    assert_eq!(repo.find_login(1).await.unwrap().as_deref(), Some("octocat"));
    assert!(repo.is_in_team(&"acme/sre".parse().unwrap(), "octocat").await.unwrap());
    repo.list_required_checks("main").await.unwrap();
    assert!(!repo.get_commit_people(&head()).await.unwrap().people.is_empty());
    assert!(repo.list_check_runs(&head()).await.unwrap()[0].app_id.is_some());
    assert!(!repo.list_statuses(&head()).await.unwrap().is_empty());
    assert!(!repo.list_comments_since(titan::clock::now()).await.unwrap().is_empty());

    repo.find_comment(SEVEN, "<!-- titan -->").await.unwrap();
    repo.create_comment(SEVEN, "hello").await.unwrap();
    repo.update_comment(1, "hello again").await.unwrap();
    for reaction in [Reaction::Eyes, Reaction::Rocket, Reaction::Confused] {
        repo.react(1, reaction).await.unwrap();
    }
    repo.add_label(SEVEN, "titan-ops").await.unwrap();

    repo.find_check_run(&head(), "titan/build", "run-1").await.unwrap();
    use CheckConclusion::{ActionRequired, Cancelled, Failure, Neutral, Skipped, Success, TimedOut};
    let conclusions = [ActionRequired, Cancelled, Failure, Neutral, Skipped, Success, TimedOut];
    let states = [CheckState::Queued, CheckState::InProgress];
    for state in states.into_iter().chain(conclusions.map(CheckState::Completed)) {
        let id = repo.create_check_run(&check(state)).await.unwrap();
        repo.update_check_run(id, &check(state)).await.unwrap();
    }

    repo.find_deployment(&head(), "canary", "run-1").await.unwrap();
    for production in [false, true] {
        let environment = if production { "production" } else { "canary" }.to_owned();
        let description = "run 1".to_owned();
        let run = "run-1".to_owned();
        let deployment = DeploymentWrite { commit: head(), environment, description, run, production };
        repo.create_deployment(&deployment).await.unwrap();
    }
    use DeploymentState::{Error, InProgress, Inactive, Pending, Queued};
    for state in [Error, DeploymentState::Failure, Inactive, InProgress, Queued, Pending, DeploymentState::Success] {
        let status = DeploymentStatusWrite {
            state,
            description: "live".repeat(100),
            log_url: Some("https://titan.example.com/runs/1".to_owned()),
            environment_url: Some("https://canary.example.com".to_owned()),
            auto_inactive: false,
        };
        repo.create_deployment_status(1, &status).await.unwrap();
    }

    for method in [MergeMethod::Merge, MergeMethod::Squash, MergeMethod::Rebase] {
        let outcome = repo.merge(SEVEN, &head(), method, Some("title".to_owned())).await.unwrap();
        assert!(matches!(outcome, MergeOutcome::Merged(_)), "{outcome:?}");
    }
    repo.create_branch("titan/run-1", &head()).await.unwrap();
    assert!(repo.find_branch("titan/run-1").await.unwrap().is_some());
    repo.create_pull_request("titan/run-1", "main", "Revert", "Why").await.unwrap();
    repo.find_pull_request_by_head("titan/run-1").await.unwrap();

    undo_a_merge(&stage).await;
    assert_requests_documented(spec, &stage);
}

/// Makes a revert commit, for which one example of a commit and of a tree is not enough: the branch has moved on.
async fn undo_a_merge(stage: &Stage) {
    let id = |digit: char| digit.to_string().repeat(40);
    for (commit, parent, tree, files) in [('1', '0', 'a', "x"), ('2', '1', 'b', "xy"), ('3', '2', 'c', "xyz")] {
        let body = json!({"sha": id(commit), "tree": {"sha": id(tree)}, "parents": [{"sha": id(parent)}]});
        stage.says("GET", &format!("/repos/acme/shop/git/commits/{}", id(commit)), 200, body);
        let entry = |name: char| json!({"path": name, "mode": "100644", "type": "blob", "sha": id('e')});
        let entries: Vec<Value> = files.chars().map(entry).collect();
        let body = json!({"sha": id(tree), "tree": entries, "truncated": false});
        stage.says("GET", &format!("/repos/acme/shop/git/trees/{}", id(tree)), 200, body);
    }
    stage.says("GET", "/repos/acme/shop/git/ref/heads/main", 200, json!({"object": {"sha": id('3')}}));
    stage.repo().create_revert_commit(&id('2').parse().unwrap(), "main", "Revert").await.unwrap();
}

/// The stage's answers are not judged here: some are shorter than GitHub's on purpose.
fn assert_requests_documented(spec: &contracts::Spec, stage: &Stage) {
    let seen = stage.recorder.log.all();
    let found = seen.iter().flat_map(|exchange| spec.check(exchange));
    let ours: Vec<String> = found.filter(|v| !v.place.starts_with("response")).map(|v| v.to_string()).collect();
    assert!(ours.is_empty(), "{}", ours.join("\n\n"));
    for (method, rest, _) in OPERATIONS {
        let used = !stage.recorder.log.matching(method, &pattern(rest)).is_empty();
        assert!(used, "nothing in this story asks for {method} {rest}");
    }
}

#[test]
fn every_published_example_of_a_webhook_is_taken() {
    let Some(examples) = contracts::webhook_examples() else { return };
    let (mut all, mut taken) = (0, 0);
    for event in examples.as_array().unwrap() {
        let name = event["name"].as_str().unwrap();
        for payload in event["examples"].as_array().unwrap() {
            all += 1;
            match trigger(name, payload) {
                Trigger::Ignored { reason } => assert!(
                    !reason.starts_with("the event"),
                    "a {name} of GitHub's own is taken for malformed: {reason}\n{payload}"
                ),
                _ => taken += 1,
            }
        }
    }
    assert_eq!((all, taken), (329, 28));
}
