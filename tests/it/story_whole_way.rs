//! A change on its whole way: proposed, tried on the canary, shipped to production.

use crate::support::world::{CANARY, PRODUCTION, REPO, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_change_goes_from_a_comment_to_production() {
    let world = world().armed().start().await;
    let pr = world.pull_request(GOOD);
    let (head, old) = (world.head(pr), world.before(PRODUCTION));

    let proposed = world.say(pr, "carol", "/titan propose").await;
    assert_eq!(world.reactions(proposed), ["eyes", "rocket"]);
    assert_eq!(world.conclusion(pr, "titan/paths"), "success");
    assert_eq!(world.conclusion(pr, "titan/build"), "success");
    world.assert_nothing_deployed();

    let tried = world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.reactions(tried), ["eyes", "rocket"]);
    assert_eq!(world.conclusion(pr, "titan/canary"), "success", "{}", world.status_comment(pr));
    assert_eq!(world.deployed(CANARY), [head.as_str()], "exactly this head, once");
    assert_eq!(world.live(CANARY).await, head);
    assert_eq!((world.live(PRODUCTION).await, world.is_merged(pr)), (old, false));
    assert_eq!(world.locks().await, [format!("canary #{pr}")]);

    let promoted = world.say(pr, "bob", "/titan promote").await;
    assert_eq!(world.reactions(promoted), ["eyes", "rocket"]);
    assert_eq!(world.conclusion(pr, "titan/production"), "success", "{}", world.status_comment(pr));
    assert!(world.is_merged(pr));
    let merge = world.main();
    assert_ne!(merge, head, "squashed");
    assert_eq!(world.deployed(PRODUCTION), [merge.as_str()]);
    assert_eq!(world.live(PRODUCTION).await, merge);
    assert_eq!(world.deployed(CANARY), [head.as_str()], "the canary is not touched again");

    let told = |environment| {
        let deployments = world.deployments(environment);
        deployments.iter().map(|one| (one.sha.clone(), one.state().unwrap_or_default().to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(told("canary"), [(head, "success".to_owned())]);
    assert_eq!(told("production"), [(merge, "success".to_owned())]);
    assert_eq!(world.runs(pr).await, ["propose success", "canary success", "promote success"]);
    assert_eq!(world.locks().await, Vec::<String>::new(), "the locks are given back");
    assert_eq!(world.checks(pr).len(), 4, "each check once: {:#?}", world.checks(pr));
    assert!(world.status_comment(pr).contains("titan promote"), "{}", world.status_comment(pr));
    assert_eq!(world.github.pulls(REPO).len(), 1, "no other pull request");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_change_ships_after_the_first_and_the_first_is_told() {
    let world = world().armed().start().await;
    let first = world.shipped(GOOD).await;
    let second = world.shipped(&[("src/index.html", "<h1>Shop 3</h1>\n")]).await;
    assert_eq!(world.live(PRODUCTION).await, world.main());
    assert_eq!(world.deployed(PRODUCTION).len(), 2);
    let states: Vec<_> = world.deployments("production").iter().map(|one| one.state().map(str::to_owned)).collect();
    assert_eq!(states, [Some("inactive".to_owned()), Some("success".to_owned())]);
    assert!(world.status_comment(second).contains("production"));
    world.refused(first, "bob", "/titan rollback", "not_live_here").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_merging_ships_the_tree_that_was_on_the_canary() {
    for method in ["merge", "rebase"] {
        let world =
            world().armed().policy_line("approvals: 0", &format!("approvals: 0\nmerge: {method}")).start().await;
        let pr = world.shipped(GOOD).await;
        assert_eq!(world.live(PRODUCTION).await, world.main(), "{method}");
        assert!(world.is_merged(pr), "{method}");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deploy_hooks_are_enough_to_ship() {
    let world = world()
        .armed()
        .without_render_key()
        .policy_line("{render: srv-web-canary,", "{hook: WEB_CANARY,")
        .policy_line("{render: srv-web-production,", "{hook: WEB_PRODUCTION,")
        .start()
        .await;
    let pr = world.shipped(GOOD).await;
    assert_eq!(world.deployed(CANARY), [world.head(pr)]);
    assert_eq!(world.deployed(PRODUCTION), [world.main()]);
    assert_eq!(world.live(PRODUCTION).await, world.main());
    assert_eq!(world.render.log().matching("*", "/v1/**").len(), 0, "the API is not asked");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_is_followed_through_the_api_when_there_is_a_key() {
    let world = world().armed().policy_line("{render: srv-web-canary,", "{hook: WEB_CANARY,").start().await;
    let pr = world.tried(GOOD).await;
    assert_eq!(world.deployed(CANARY), [world.head(pr)]);
    assert_eq!(world.render.log().matching("POST", "/deploy/*").len(), 1);
    assert_eq!(world.render.log().matching("POST", "/v1/services/*/deploys").len(), 0);
    world.end().await;
}
