//! Titan's own adapter at the simulated GitHub: what it asks is known there, and what comes back is understood.

use secrecy::ExposeSecret as _;
use titan::domain::ids::{CommitSha, InstallationId, PrNumber};
use titan::domain::policy::{MergeMethod, Role};
use titan::github::feedback::{
    CheckAction, CheckConclusion, CheckRunWrite, CheckState, DeploymentState, DeploymentStatusWrite, DeploymentWrite,
    Reaction,
};
use titan::github::git_data::MergeOutcome;
use titan::github::{Access, GitHub, GitHubError, GitHubSettings, RepoClient, RepoRef};

use super::Stage;
use super::stage::SHOP;

fn connect(stage: &Stage) -> RepoClient {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let settings = GitHubSettings {
        api_url: stage.github.url().parse().unwrap(),
        git_url: stage.github.url().parse().unwrap(),
        app_id: stage.github.app().id.to_string(),
        private_key_pem: stage.key.private_pem.clone(),
    };
    let installation = InstallationId(i64::try_from(stage.installation).unwrap());
    GitHub::new(&settings).unwrap().repo(&RepoRef { installation, name: SHOP.parse().unwrap() })
}

fn id(sha: &str) -> CommitSha {
    sha.parse().unwrap()
}

#[tokio::test]
async fn titan_reads_comments_checks_deploys_merges_and_reverts() {
    let stage = Stage::new().await;
    let (number, head) = stage.pull();
    let comment = stage.github.comment(SHOP, number, "alice", "/titan canary").unwrap();
    let (repo, pull, head) = (connect(&stage), PrNumber(i64::try_from(number).unwrap()), id(&head));

    let read = repo.get_pull_request(pull).await.unwrap();
    assert_eq!((read.head.clone(), read.base_ref.as_str(), read.author.as_str()), (head.clone(), "main", "alice"));
    assert_eq!(read.changed_files, Some(1));
    let files = repo.list_files(pull).await.unwrap();
    assert!(files.complete && files.files.len() == 1);
    assert_eq!(repo.get_standing("alice").await.unwrap().role, Role::Write);
    assert_eq!(repo.get_file("README.md", &read.base).await.unwrap().unwrap(), b"# Shop\n");
    assert_eq!(repo.get_file("no.md", &read.base).await.unwrap(), None);
    let comments = repo.list_comments_since(titan::clock::now() - chrono::TimeDelta::minutes(5)).await.unwrap();
    assert_eq!(comments.iter().map(|one| one.number).collect::<Vec<_>>(), [pull]);

    repo.react(i64::try_from(comment).unwrap(), Reaction::Eyes).await.unwrap();
    let status = repo.create_comment(pull, "<!-- titan:1 --> working").await.unwrap();
    assert_eq!(repo.find_comment(pull, "<!-- titan:1 -->").await.unwrap(), Some(status));
    repo.update_comment(status, "<!-- titan:1 --> done").await.unwrap();
    repo.add_label(pull, "titan-ops").await.unwrap();

    let mut check = CheckRunWrite {
        name: "titan/canary".into(),
        head: head.clone(),
        external_id: "run-7 titan/canary".into(),
        details_url: "https://titan.example.com/runs/7".into(),
        state: CheckState::InProgress,
        started_at: None,
        completed_at: None,
        title: "Deploying".into(),
        summary: "On its way".into(),
        text: None,
        annotations: Vec::new(),
        actions: Vec::new(),
    };
    let run = repo.create_check_run(&check).await.unwrap();
    assert_eq!(repo.find_check_run(&head, &check.name, &check.external_id).await.unwrap(), Some(run));
    check.state = CheckState::Completed(CheckConclusion::Success);
    check.actions =
        vec![CheckAction { label: "Promote".into(), description: "Ship it".into(), identifier: "promote".into() }];
    repo.update_check_run(run, &check).await.unwrap();
    let shown = stage.github.check_run(SHOP, head.as_str(), "titan/canary").unwrap();
    assert_eq!((shown.conclusion.as_deref(), shown.actions.len()), (Some("success"), 1));
    assert_eq!(repo.list_check_runs(&head).await.unwrap().len(), 1);
    assert!(repo.list_statuses(&head).await.unwrap().is_empty());

    let deployment = DeploymentWrite {
        commit: head.clone(),
        environment: "canary".into(),
        description: "by /titan canary".into(),
        run: "7".into(),
        production: false,
    };
    let deployed = repo.create_deployment(&deployment).await.unwrap();
    assert_eq!(repo.find_deployment(&head, "canary", "7").await.unwrap(), Some(deployed));
    let live = DeploymentStatusWrite {
        state: DeploymentState::Success,
        description: "live".into(),
        log_url: None,
        environment_url: None,
        auto_inactive: true,
    };
    repo.create_deployment_status(deployed, &live).await.unwrap();

    let moved = repo.merge(pull, &read.base, MergeMethod::Squash, None).await.unwrap();
    assert_eq!(moved, MergeOutcome::HeadMoved);
    let MergeOutcome::Merged(merged) = repo.merge(pull, &head, MergeMethod::Squash, None).await.unwrap() else {
        panic!("it can be merged")
    };
    let undone = repo.create_revert_commit(&merged, "main", "Revert it").await.unwrap();
    repo.create_branch("titan/revert-1", &undone).await.unwrap();
    assert!(matches!(repo.create_branch("titan/revert-1", &undone).await, Err(GitHubError::Conflict(_))));
    assert_eq!(repo.find_branch("titan/revert-1").await.unwrap(), Some(undone.clone()));
    let revert = repo.create_pull_request("titan/revert-1", "main", "Revert", "It went bad.").await.unwrap();
    assert_eq!(repo.find_pull_request_by_head("titan/revert-1").await.unwrap(), Some(revert));
    let back = stage.github.file(SHOP, undone.as_str(), "src/app.js").unwrap();
    assert_eq!(back, b"one\ntwo\nthree\n", "the revert restores the file");

    let minted = stage.github.tokens();
    let full = stage.github.app().permissions;
    assert!(minted.iter().skip(1).all(|token| token.narrowed && token.permissions.len() < full.len()));
    let text = repo.token(Access::Checkout).await.unwrap();
    let known =
        stage.github.tokens().into_iter().find(|one| one.token.expose_secret() == text.expose_secret()).unwrap();
    assert_eq!(known.permissions["contents"], "read");
    stage.end().await;
}
