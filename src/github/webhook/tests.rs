//! What each event becomes, and that nothing an outsider can send does more than be ignored.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const HEAD: &str = "3f2c1ab000000000000000000000000000000000";
const MERGE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const SHOP: &str = r#""repo":{"id":10,"name":"Acme/Shop","installation":5,"private":false,"default_branch":"main"}"#;

/// An event with everything that GitHub sends around it.
fn event(action: &str, rest: Value) -> Value {
    let mut payload = json!({
        "action": action,
        "installation": {"id": 5},
        "repository": {"id": 10, "full_name": "Acme/Shop", "private": false, "default_branch": "main"},
        "sender": {"login": "alice", "id": 20, "type": "User"},
    });
    for (key, value) in rest.as_object().into_iter().flatten() {
        payload[key] = value.clone();
    }
    payload
}

fn comment_event() -> Value {
    event(
        "created",
        json!({
            "issue": {"number": 7, "pull_request": {"url": "x"}},
            "comment": {
                "id": 30, "body": "/titan canary", "created_at": "2026-01-02T03:04:05Z",
                "user": {"login": "alice", "id": 20, "type": "User"}, "performed_via_github_app": null,
            },
        }),
    )
}

fn pull_event(action: &str) -> Value {
    event(
        action,
        json!({
            "number": 7,
            "label": {"name": "titan-ops"},
            "pull_request": {
                "number": 7, "draft": true, "merged": true, "merge_commit_sha": MERGE,
                "updated_at": "2026-01-02T03:04:05Z", "head": {"sha": HEAD}, "base": {"ref": "main"},
            },
        }),
    )
}

fn button_event() -> Value {
    event(
        "requested_action",
        json!({
            "check_run": {
                "id": 40, "name": "titan/canary", "external_id": "run-1", "head_sha": HEAD,
                "app": {"id": 42}, "pull_requests": [{"number": 7}],
            },
            "requested_action": {"identifier": "promote"},
        }),
    )
}

fn installation_event(action: &str) -> Value {
    let shop = json!({"id": 10, "full_name": "Acme/Shop", "private": false, "default_branch": "main"});
    json!({
        "action": action,
        "installation": {"id": 5, "account": {"login": "Acme"}},
        "repositories": [shop, {"id": 11}], "repositories_added": [shop], "repositories_removed": [null, shop],
    })
}

/// The same event with another action.
fn acted(action: &str, mut payload: Value) -> Value {
    payload["action"] = json!(action);
    payload
}

fn stored(name: &str, payload: &Value) -> String {
    serde_json::to_string(&trigger(name, payload)).expect("a trigger can be stored")
}

#[test]
fn an_event_concerns_titan_exactly_when_it_becomes_a_trigger() {
    let actions = [
        "created",
        "edited",
        "deleted",
        "labeled",
        "unlabeled",
        "closed",
        "opened",
        "synchronize",
        "reopened",
        "ready_for_review",
        "converted_to_draft",
        "assigned",
        "requested_action",
        "completed",
        "suspend",
        "unsuspend",
        "new_permissions_accepted",
        "added",
        "removed",
        "",
    ];
    for action in actions {
        for (name, payload) in [
            ("issue_comment", acted(action, comment_event())),
            ("pull_request", pull_event(action)),
            ("check_run", acted(action, button_event())),
            ("installation", installation_event(action)),
            ("installation_repositories", installation_event(action)),
            ("push", event(action, json!({}))),
        ] {
            let ignored = matches!(trigger(name, &payload), Trigger::Ignored { .. });
            assert_eq!(concerns(name, action), !ignored, "{name} {action}");
        }
    }
}

#[test]
fn each_event_becomes_its_trigger() {
    let at = r#""2026-01-02T03:04:05Z""#;
    let alice = r#"{"login":"alice","id":20,"bot":false}"#;
    for (name, payload, expected) in [
        (
            "issue_comment",
            comment_event(),
            format!(
                r#"{{"kind":"comment",{SHOP},"number":7,"comment_id":30,"author":{alice},"marked":true,"via_app":null,"body":"/titan canary","created_at":{at}}}"#
            ),
        ),
        (
            "pull_request",
            pull_event("labeled"),
            format!(
                r#"{{"kind":"labeled",{SHOP},"number":7,"label":"titan-ops","actor":{alice},"head":"{HEAD}","at":{at}}}"#
            ),
        ),
        (
            "pull_request",
            pull_event("synchronize"),
            format!(
                r#"{{"kind":"head",{SHOP},"number":7,"head":"{HEAD}","base_ref":"main","draft":true,"action":"synchronize","before":null,"at":{at},"by":{alice}}}"#
            ),
        ),
        (
            "pull_request",
            pull_event("closed"),
            format!(r#"{{"kind":"closed",{SHOP},"number":7,"merged":true,"merge_commit":"{MERGE}","head":"{HEAD}"}}"#),
        ),
        (
            "check_run",
            button_event(),
            format!(
                r#"{{"kind":"check_action",{SHOP},"check_run_id":40,"name":"titan/canary","external_id":"run-1","head":"{HEAD}","identifier":"promote","actor":{alice},"app_id":42,"number":7}}"#
            ),
        ),
        (
            "installation",
            installation_event("suspend"),
            format!(
                r#"{{"kind":"installation","id":5,"account":"Acme","action":"suspend","repositories":[{}]}}"#,
                &SHOP[7..]
            ),
        ),
        (
            "installation_repositories",
            installation_event("added"),
            format!(r#"{{"kind":"repositories","id":5,"account":"Acme","added":[{0}],"removed":[{0}]}}"#, &SHOP[7..]),
        ),
    ] {
        assert_eq!(stored(name, &payload), expected);
    }
}

#[test]
fn every_documented_action_is_taken_and_no_other() {
    for action in HEAD_ACTIONS {
        assert!(matches!(trigger("pull_request", &pull_event(action)), Trigger::Head { .. }), "{action}");
    }
    for action in INSTALLATION_ACTIONS {
        let found = trigger("installation", &installation_event(action));
        assert!(matches!(found, Trigger::Installation { .. }), "{action}");
    }
    for (name, payload) in [
        ("pull_request", pull_event("unlabeled")),
        ("pull_request", pull_event("assigned")),
        ("issue_comment", acted("edited", comment_event())),
        ("issue_comment", acted("deleted", comment_event())),
        ("check_run", acted("created", button_event())),
        ("check_run", acted("rerequested", button_event())),
        ("installation", installation_event("renamed")),
        ("installation_repositories", installation_event("moved")),
        ("push", comment_event()),
        ("Issue_Comment", comment_event()),
        ("", comment_event()),
    ] {
        assert!(matches!(trigger(name, &payload), Trigger::Ignored { .. }), "{name} {}", payload["action"]);
    }
}

#[test]
fn a_command_on_an_unmarked_issue_is_kept_so_that_the_host_can_be_asked() {
    let mut payload = comment_event();
    payload["issue"]["pull_request"] = Value::Null;
    assert!(matches!(trigger("issue_comment", &payload), Trigger::Comment { marked: false, .. }));
    assert!(matches!(trigger("issue_comment", &comment_event()), Trigger::Comment { marked: true, .. }));
}

#[test]
fn a_payload_without_its_essence_is_ignored_with_the_reason() {
    let reason = |name: &str, payload: &Value, pointer: &str, value: Value| {
        let mut payload = payload.clone();
        *payload.pointer_mut(pointer).expect("a place in the payload") = value;
        match trigger(name, &payload) {
            Trigger::Ignored { reason } => reason,
            other => panic!("{pointer} was not needed: {other:?}"),
        }
    };
    let comment = comment_event();
    let without = |pointer: &str, value: Value| reason("issue_comment", &comment, pointer, value);
    let mut chat = comment.clone();
    chat["comment"]["body"] = json!("what a titanic effort");
    let chat = reason("issue_comment", &chat, "/issue/pull_request", Value::Null);
    assert_eq!(chat, "a comment on an issue, not on a pull request");
    assert_eq!(without("/issue/number", json!(0)), NO_NUMBER);
    assert_eq!(without("/issue/number", json!("7")), NO_NUMBER);
    assert_eq!(without("/comment/user", Value::Null), NO_ACTOR);
    assert_eq!(without("/comment/created_at", json!("yesterday")), NO_TIME);
    assert_eq!(without("/repository", Value::Null), NO_REPOSITORY);
    assert_eq!(without("/repository/full_name", json!("acme/../x")), NO_REPOSITORY);
    let pull = pull_event("opened");
    assert_eq!(reason("pull_request", &pull, "/pull_request/head/sha", json!("--upload-pack=x")), NO_HEAD);
    let installation = installation_event("created");
    assert_eq!(reason("installation", &installation, "/installation/account", Value::Null), NO_INSTALLATION);
}

#[test]
fn a_missing_installation_is_looked_up_later() {
    let mut payload = comment_event();
    payload.as_object_mut().expect("an object").remove("installation");
    match trigger("issue_comment", &payload) {
        Trigger::Comment { repo, .. } => assert_eq!(repo.installation, None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn programs_are_known_by_type_or_login() {
    for (login, kind, bot) in [
        ("alice", json!("User"), false),
        ("dependabot[bot]", json!("Bot"), true),
        ("dependabot[bot]", Value::Null, true),
        ("renovate", json!("Bot"), true),
        ("robot", json!("User"), false),
        ("acme", json!("Organization"), false),
    ] {
        let mut payload = comment_event();
        payload["comment"]["user"] = json!({"login": login, "id": 1, "type": kind});
        match trigger("issue_comment", &payload) {
            Trigger::Comment { author, .. } => assert_eq!(author.bot, bot, "{login}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_unmerged_pull_request_has_no_merge_commit() {
    let mut payload = pull_event("closed");
    payload["pull_request"]["merged"] = json!(false);
    match trigger("pull_request", &payload) {
        Trigger::Closed { merged, merge_commit, .. } => assert_eq!((merged, merge_commit), (false, None)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn order_is_kept_for_each_pull_request() {
    let key = |name: &str, payload: &Value| ordering_key(&trigger(name, payload));
    let expected = Some("acme/shop#7".to_owned());
    assert_eq!(key("issue_comment", &comment_event()), expected);
    for action in ["labeled", "opened", "closed"] {
        assert_eq!(key("pull_request", &pull_event(action)), expected);
    }
    assert_eq!(key("check_run", &button_event()), expected);
    let mut ambiguous = button_event();
    ambiguous["check_run"]["pull_requests"] = json!([{"number": 7}, {"number": 8}]);
    assert_eq!(key("check_run", &ambiguous), None);
    assert_eq!(key("installation", &installation_event("created")), None);
    assert_eq!(key("push", &Value::Null), None);
}

#[test]
fn the_signature_of_githubs_documentation_fits() {
    // The worked example of "Validating webhook deliveries".
    let secret = SecretString::from("It's a Secret to Everybody".to_owned());
    let header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert!(verify(std::slice::from_ref(&secret), b"Hello, World!", Some(header)));
    assert!(!verify(std::slice::from_ref(&secret), b"Hello, World?", Some(header)));
    assert!(!verify(&[], b"Hello, World!", Some(header)));
    let other = SecretString::from("another".to_owned());
    assert!(verify(&[other.clone(), secret.clone()], b"Hello, World!", Some(header)));
    assert!(verify(&[secret.clone(), other], b"Hello, World!", Some(header)));
    for bad in [None, Some(""), Some("sha256="), Some(&header[7..]), Some("sha1=00"), Some(&header[..70]), Some("é")] {
        assert!(!verify(std::slice::from_ref(&secret), b"Hello, World!", bad), "{bad:?}");
    }
}

#[test]
fn an_empty_secret_opens_nothing() {
    let mac = Hmac::<Sha256>::new_from_slice(b"").expect("any key").chain_update(b"x").finalize();
    let header = format!("sha256={}", hex::encode(mac.into_bytes()));
    assert!(!verify(&[SecretString::from(String::new())], b"x", Some(&header)));
}

/// The events that become something, whole.
fn whole_events() -> Vec<(&'static str, Value)> {
    let mut all = vec![("issue_comment", comment_event()), ("check_run", button_event())];
    all.extend(["labeled", "closed"].into_iter().chain(HEAD_ACTIONS).map(|a| ("pull_request", pull_event(a))));
    all.extend(INSTALLATION_ACTIONS.map(|a| ("installation", installation_event(a))));
    all.extend(["added", "removed"].map(|a| ("installation_repositories", installation_event(a))));
    all
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop_oneof!["", "a/b", "\0", "9999-99-99T99:99:99Z", "[bot]", "\u{202e}"].prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map("[a-z_]{1,12}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every place in a document.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| places(value, &format!("{here}/{key}"), found)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, value)| places(value, &format!("{here}/{at}"), found));
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_json_is_too_odd(name in ".{0,12}", json in any_json()) {
        trigger(&name, &json);
        for (name, _) in whole_events() {
            trigger(name, &json);
        }
    }

    #[test]
    fn a_mutated_event_is_a_storable_trigger_or_ignored(
        which in any::<proptest::sample::Index>(),
        mutations in proptest::collection::vec((any::<proptest::sample::Index>(), any_json()), 0..4),
    ) {
        let events = whole_events();
        let (name, mut payload) = events[which.index(events.len())].clone();
        for (place, value) in mutations {
            let mut all = Vec::new();
            places(&payload, "", &mut all);
            if let Some(slot) = payload.pointer_mut(&all[place.index(all.len())]) {
                *slot = value;
            }
        }
        let found = trigger(name, &payload);
        ordering_key(&found);
        let text = serde_json::to_string(&found).expect("a trigger can be stored");
        prop_assert!(!text.contains("\\u0000"), "Postgres cannot store NUL");
        let read: Trigger = serde_json::from_str(&text).expect("a stored trigger can be read");
        if !matches!(found, Trigger::Ignored { .. }) {
            prop_assert_eq!(read, found);
        }
    }

    #[test]
    fn only_the_very_body_and_secret_fit(body in any::<Vec<u8>>(), secret in ".{1,20}", at in any::<usize>(), header in ".{0,80}") {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key").chain_update(&body).finalize();
        let signature = format!("sha256={}", hex::encode(mac.into_bytes()));
        let secrets = [SecretString::from(secret.clone())];
        prop_assert!(verify(&secrets, &body, Some(&signature)));
        prop_assert!(!verify(&secrets, &body, Some(&header)));
        let longer_secret = [SecretString::from(secret + "x")];
        prop_assert!(!verify(&longer_secret, &body, Some(&signature)));
        let mut longer = body.clone();
        longer.insert(at % (body.len() + 1), 1);
        prop_assert!(!verify(&secrets, &longer, Some(&signature)));
    }
}
