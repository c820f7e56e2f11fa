//! Whose a service is: Titan's key for Render reaches all of them, so a policy's word alone is not enough.

use crate::support::world::{CANARY, PRODUCTION, World, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];
const LIST: &str = "TARGET_REPOSITORIES";

/// Another account's repository deployed to these services first.
async fn belongs_to_somebody_else(world: &World, targets: &[&str]) {
    let pool = world.store.pool();
    sqlx::raw_sql(
        "INSERT INTO installation (id, account) VALUES (77, 'other');
         INSERT INTO repository (installation_id, owner, name) VALUES (77, 'other', 'secret-shop')",
    )
    .execute(pool)
    .await
    .unwrap();
    for target in targets {
        let repository = "INSERT INTO target_binding (target, repository_id)
                          SELECT $1, id FROM repository WHERE name = 'secret-shop'";
        sqlx::query(repository).bind(target).execute(pool).await.unwrap();
    }
}

async fn bound(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT target || ' ' || owner || '/' || name FROM target_binding b JOIN repository r ON r.id = b.repository_id
         ORDER BY 1",
    )
    .fetch_all(world.store.pool())
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_belongs_to_the_first_repository_that_deploys_to_it() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    assert_eq!(bound(&world).await, Vec::<String>::new(), "a proposal deploys nothing");
    belongs_to_somebody_else(&world, &[PRODUCTION]).await;
    world.say(pr, "carol", "/titan canary").await;
    world.refused(pr, "bob", "/titan promote", "target_not_given").await;
    let comment = world.status_comment(pr);
    assert!(comment.contains(PRODUCTION) && comment.contains(LIST), "what and what to do: {comment}");
    assert!(!comment.contains("secret-shop"), "the other account's repository is not named: {comment}");
    assert_eq!(world.deployed(PRODUCTION), Vec::<String>::new());
    assert!(!world.is_merged(pr), "nothing was merged either");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_leads_to_the_same_service_as_its_id() {
    let world = world().armed().policy_line("{render: srv-web-canary,", "{hook: WEB_CANARY,").start().await;
    let pr = world.proposed(GOOD).await;
    belongs_to_somebody_else(&world, &[CANARY]).await;
    world.refused(pr, "carol", "/titan canary", "target_not_given").await;
    assert_eq!(world.deployed(CANARY), Vec::<String>::new());
    let gone = "UPDATE installation SET status = 'deleted' WHERE id = 77";
    sqlx::query(gone).execute(world.store.pool()).await.unwrap();
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.live(CANARY).await, world.head(pr), "whoever uninstalled Titan keeps nothing");
    let ours = ["WEB_CANARY acme/shop", "srv-web-canary acme/shop"];
    assert_eq!(bound(&world).await, ours, "what was deployed to, and nothing else");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_operators_list_only_the_list_counts() {
    let world = world().armed().setting(LIST, "srv-web-canary=acme/*, srv-web-production=acme/blog").start().await;
    let pr = world.proposed(GOOD).await;
    belongs_to_somebody_else(&world, &[CANARY]).await;
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.live(CANARY).await, world.head(pr), "the list has moved it here");
    world.refused(pr, "bob", "/titan promote", "target_not_given").await;
    assert_eq!(world.deployed(PRODUCTION), Vec::<String>::new());
    world.end().await;
}
