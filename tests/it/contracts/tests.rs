//! The checker itself: right exchanges pass, and every kind of mistake is seen. GitHub's own examples are the right ones.

use serde_json::{Value, json};
use titan::playground::exchange::{CallLog, Exchange};

use super::document::Document;
use super::schema::Schema;
use super::{assert_honest, github, render, webhook_examples, webhooks};

/// An exchange with GitHub that says what it should, but for the bodies.
fn with_github(method: &str, path: &str, status: u16) -> Exchange {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query.to_owned())));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Exchange {
        at: titan::clock::now(),
        method: method.into(),
        path: path.into(),
        query,
        request_headers: vec![
            header("user-agent", "titan"),
            header("authorization", "Bearer ghs_1"),
            header("x-github-api-version", "2022-11-28"),
            header("content-type", "application/json"),
        ],
        request_body: Default::default(),
        status,
        response_headers: vec![header("content-type", "application/json; charset=utf-8")],
        response_body: Default::default(),
        made_up: false,
    }
}

fn sent(mut exchange: Exchange, body: &Value) -> Exchange {
    exchange.request_body = body.to_string().into();
    exchange
}

fn answered(mut exchange: Exchange, body: &Value) -> Exchange {
    exchange.response_body = body.to_string().into();
    exchange
}

fn without_header(mut exchange: Exchange, name: &str) -> Exchange {
    exchange.request_headers.retain(|(known, _)| known != name);
    exchange
}

fn with_token(exchange: Exchange, token: &str) -> Exchange {
    let mut exchange = without_header(exchange, "authorization");
    exchange.request_headers.push(("authorization".into(), format!("Bearer {token}")));
    exchange
}

/// The value with one place, a JSON pointer, changed or added.
fn changed(value: &Value, place: &str, to: Value) -> Value {
    let mut value = value.clone();
    let (parent, name) = place.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap()[name] = to;
    value
}

/// Asserts that each exchange has a violation at its place whose problem holds its words.
fn assert_each_is_seen(cases: Vec<(Exchange, &str, &str)>, check: impl Fn(&Exchange) -> Vec<super::Violation>) {
    for (exchange, place, words) in cases {
        let violations = check(&exchange);
        let seen = violations.iter().any(|found| found.place == place && found.problem.contains(words));
        assert!(seen, "{exchange:?} should be wrong at '{place}' ({words}), but: {violations:#?}");
    }
}

const CHECK_RUNS: &str = "/repos/acme/shop/check-runs";
const COMMENTS: &str = "/repos/acme/shop/issues/7/comments";

#[test]
fn what_github_documents_is_honest() {
    let Some(github) = github() else { return };
    let example = |method: &str, template: &str, part: &[&str]| github.example(method, template, part).unwrap();
    let check_runs = "/repos/{owner}/{repo}/check-runs";
    let create = sent(with_github("POST", CHECK_RUNS, 201), &example("POST", check_runs, &["requestBody"]));
    let create = answered(create, &example("POST", check_runs, &["responses", "201"]));
    let comments = example("GET", "/repos/{owner}/{repo}/issues/{issue_number}/comments", &["responses", "200"]);
    let list = answered(with_github("GET", &format!("{COMMENTS}?per_page=100&page=2"), 200), &comments);
    let compare = example("GET", "/repos/{owner}/{repo}/compare/{basehead}", &["responses", "200"]);
    let mut diff = answered(with_github("GET", "/repos/acme/shop/pulls/7", 200), &json!("a diff"));
    diff.request_headers.push(("accept".into(), "application/vnd.github.diff".into()));
    diff.response_headers = vec![("content-type".into(), "application/vnd.github.diff; charset=utf-8".into())];
    let mut unchanged = with_github("GET", COMMENTS, 304);
    unchanged.request_headers.push(("if-none-match".into(), "\"1\"".into()));
    let honest = [
        create.clone(),
        Exchange { path: format!("/api/v3{CHECK_RUNS}"), ..create },
        list,
        answered(with_github("GET", "/repos/acme/shop/compare/main...feature/a", 200), &compare),
        with_github("DELETE", "/repos/acme/shop/git/refs/heads/titan/7", 204),
        with_github("GET", "/acme/shop.git/info/refs?service=git-upload-pack", 200),
        with_github("GET", COMMENTS, 502),
        with_github("GET", COMMENTS, 0),
        unchanged,
        diff,
    ];
    for exchange in honest {
        assert_eq!(github.check(&exchange), [], "{exchange:?}");
    }
}

#[test]
fn what_github_does_not_document_is_seen_in_requests() {
    let Some(github) = github() else { return };
    let body = github.example("POST", "/repos/{owner}/{repo}/check-runs", &["requestBody"]).unwrap();
    let create = |place: &str, to: Value| sent(with_github("POST", CHECK_RUNS, 500), &changed(&body, place, to));
    let get = |path: &str| with_github("GET", path, 404);
    let note = json!({"path": "a", "start_line": 1, "end_line": 1, "annotation_level": "notice", "message": "m"});
    let mut form = create("/name", json!("paths"));
    form.request_headers.push(("content-type".into(), "text/plain".into()));
    form.request_headers.retain(|(name, value)| name != "content-type" || value == "text/plain");
    let cases = vec![
        (create("/sha", json!("1")), "request body /sha", "is not declared"),
        (create("/output/headline", json!("x")), "request body /output/headline", "is not declared"),
        (create("/output/title", json!(7)), "request body /output/title", "not of type \"string\""),
        (create("/output", json!({"title": "x"})), "request body /output", "\"summary\" is a required property"),
        (create("/status", json!("done")), "request body /status", "is not one of"),
        (create("/started_at", json!("yesterday")), "request body /started_at", "date-time"),
        (create("/output/annotations", json!(vec![note; 51])), "request body /output/annotations", "more than 50"),
        (sent(get(CHECK_RUNS), &body), "path", "GET is not documented for /repos/{owner}/{repo}/check-runs, only POST"),
        (sent(get(COMMENTS), &body), "request body", "takes none"),
        (with_github("POST", CHECK_RUNS, 422), "request body", "is required and missing"),
        (form, "request body", "'text/plain' is not documented, only application/json"),
        (get("/repos/acme/shop/check-run/1"), "path", "this path is not documented"),
        (get("/repos/acme//check-runs/1"), "path", "this path is not documented"),
        (get("/repos/acme/shop/issues/seven/comments"), "path parameter issue_number", "not of type \"integer\""),
        (get(&format!("{COMMENTS}?limit=5")), "query parameter limit", "is not documented"),
        (get(&format!("{COMMENTS}?per_page=many")), "query parameter per_page", "not of type \"integer\""),
        (get(&format!("{COMMENTS}?page=1&page=2")), "query parameter page", "not of type \"integer\""),
        (get("/repos/acme/shop/pulls?state=merged"), "query parameter state", "is not one of"),
        (without_header(get(COMMENTS), "user-agent"), "request header user-agent", "is missing"),
        (without_header(get(COMMENTS), "authorization"), "request header authorization", "is missing"),
        (without_header(get(COMMENTS), "x-github-api-version"), "request header x-github-api-version", "2022-11-28"),
        (get("/app/hook/deliveries"), "request header authorization", "the App's own JWT"),
        (with_token(get(COMMENTS), "eyJ.a.b"), "request header authorization", "an installation or a user"),
        (get("/user"), "request header authorization", "does not take an installation's token"),
    ];
    assert_each_is_seen(cases, |exchange| github.check(exchange));
}

#[test]
fn what_github_does_not_document_is_seen_in_answers() {
    let Some(github) = github() else { return };
    let template = "/repos/{owner}/{repo}/issues/{issue_number}/comments";
    let body = github.example("GET", template, &["responses", "200"]).unwrap();
    let answer = |place: &str, to: Value| answered(with_github("GET", COMMENTS, 200), &changed(&body, place, to));
    let mut shorter = body.clone();
    shorter[0].as_object_mut().unwrap().remove("html_url");
    let mut page = answered(with_github("GET", COMMENTS, 200), &body);
    page.response_headers = vec![("content-type".into(), "text/html".into())];
    let not_json = Exchange { response_body: "oops".into(), ..with_github("GET", COMMENTS, 200) };
    let deleted = with_github("DELETE", "/repos/acme/shop/issues/comments/1", 204);
    let cases = vec![
        (answer("/0/mood", json!("good")), "response body /0/mood", "is not declared"),
        (answer("/0/user/nickname", json!("x")), "response body /0/user/nickname", "is not declared"),
        (answer("/0/id", json!("1")), "response body /0/id", "not of type \"integer\""),
        (answer("/0/created_at", json!("today")), "response body /0/created_at", "date-time"),
        (answered(with_github("GET", COMMENTS, 200), &shorter), "response body /0", "\"html_url\" is a required"),
        (with_github("GET", COMMENTS, 200), "response body", "is documented and missing"),
        (with_github("GET", COMMENTS, 207), "response status", "207 is not documented, only"),
        (with_github("GET", COMMENTS, 304), "response status", "304 is not documented, only"),
        (answered(deleted, &json!({})), "response body", "a 204 of this operation has none"),
        (page, "response body", "'text/html' is not documented"),
        (not_json, "response body", "is not JSON"),
    ];
    assert_each_is_seen(cases, |exchange| github.check(exchange));
}

#[test]
fn what_render_documents_is_honest_and_what_it_does_not_is_seen() {
    let Some(render) = render() else { return };
    let deploys = "/v1/services/srv-a/deploys";
    let on = |method: &str, path: &str, status: u16| with_token(with_github(method, path, status), "rnd_1");
    let deploy = json!({"id": "dep-1", "status": "live", "trigger": "api", "commit": {"id": "c0ffee"}});
    let create = |body: Value| answered(sent(on("POST", deploys, 201), &body), &deploy);
    let since = "createdAfter=2026-01-01T00%3A00%3A00Z&status=live&status=created&limit=1";
    let listed = json!([{"deploy": deploy.clone(), "cursor": "c"}]);
    let hook = |query: &str, body: Value| answered(on("POST", &format!("/deploy/srv-a?{query}"), 200), &body);
    let honest = [
        create(json!({"commitId": "c0ffee"})),
        sent(on("POST", deploys, 202), &json!({})),
        answered(on("GET", &format!("{deploys}?{since}"), 200), &listed),
        hook("key=k&ref=c0ffee", json!({"deploy": {"id": "dep-1"}})),
    ];
    for exchange in honest {
        assert_eq!(render.check(&exchange), [], "{exchange:?}");
    }
    let answer = |place: &str, to: Value| answered(on("GET", deploys, 200), &changed(&listed, place, to));
    let cases = vec![
        (create(json!({"commit": "c0ffee"})), "request body /commit", "is not declared"),
        (create(json!({"clearCache": true})), "request body /clearCache", "is not one of"),
        (on("GET", &format!("{deploys}?limit=0"), 400), "query parameter limit", "less than the minimum"),
        (on("GET", &format!("{deploys}?status=lively"), 400), "query parameter status", "is not one of"),
        (on("GET", &format!("{deploys}?createdAfter=now"), 400), "query parameter createdAfter", "date-time"),
        (on("GET", "/v1/deploys", 404), "path", "is not documented"),
        (without_header(on("GET", deploys, 401), "authorization"), "request header authorization", "Bearer"),
        (answer("/0/deploy/status", json!("done")), "response body /0/deploy/status", "is not one of"),
        (answer("/0/deploy/branch", json!("main")), "response body /0/deploy/branch", "is not declared"),
        (hook("key=k&branch=a", json!({"deploy": {"id": "dep-1"}})), "query parameter branch", "is not documented"),
        (hook("key=k", json!({"id": "dep-1"})), "response body", "must be"),
        (on("DELETE", "/deploy/srv-a?key=k", 200), "method", "DELETE is not documented"),
    ];
    assert_each_is_seen(cases, |exchange| render.check(exchange));
}

#[test]
fn webhooks_are_held_against_their_event_and_action() {
    let (Some(webhooks), Some(examples)) = (webhooks(), webhook_examples()) else { return };
    let of_event = |event: &str| -> Vec<Value> {
        let examples = examples.as_array().unwrap().iter().find(|known| known["name"] == event).unwrap();
        examples["examples"].as_array().unwrap().clone()
    };
    let honest = of_event("issue_comment").into_iter().find(|payload| {
        payload["action"] == "created" && webhooks.check("issue_comment", Some("created"), payload).is_empty()
    });
    let payload = honest.expect("one of GitHub's own examples of a created comment is honest");
    let cases = [
        ("issue_comment", "created", changed(&payload, "/comment/mood", json!(1)), "/comment/mood", "not declared"),
        ("issue_comment", "created", changed(&payload, "/comment/id", json!("1")), "/comment/id", "\"integer\""),
        ("issue_comment", "created", changed(&payload, "/sender", json!(null)), "/sender", "not of type \"object\""),
        ("issue_comment", "deleted", payload.clone(), "/action", "is not one of"),
        ("issue_comment", "moved", payload.clone(), "", "no such event and action"),
    ];
    for (event, action, payload, place, words) in cases {
        let violations = webhooks.check(event, Some(action), &payload);
        let place = format!("payload {place}");
        let seen = violations.iter().any(|found| found.place == place.trim_end() && found.problem.contains(words));
        assert!(seen, "{event} {action} should be wrong at '{place}' ({words}), but: {violations:#?}");
    }
    let push = of_event("push").remove(0);
    let stale = webhooks.check("push", None, &push);
    assert!(stale.iter().all(|found| found.problem.contains("required property")), "only what is newer: {stale:#?}");
}

#[test]
fn a_dishonest_test_fails_with_the_place() {
    if github().is_none() {
        return;
    }
    let (github_log, render_log) = (CallLog::default(), CallLog::default());
    github_log.push(with_github("GET", COMMENTS, 502));
    assert_honest(&github_log, &render_log, &[]);
    github_log.push(with_github("GET", &format!("{COMMENTS}?limit=5"), 502));
    let dishonest = || assert_honest(&github_log, &render_log, &[("pushed".into(), json!({}))]);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(dishonest)).expect_err("it must fail");
    let text = panic.downcast_ref::<String>().unwrap();
    for words in
        ["2 things", "?limit=5", "of GET /repos/{owner}/{repo}/issues", "query parameter limit", "webhook pushed"]
    {
        assert!(text.contains(words), "'{words}' is missing in: {text}");
    }
}

#[test]
fn schemas_of_openapi_3_0_become_json_schema() {
    let document = |schema: Value| {
        let list = json!({"type": "array", "items": {"$ref": "#/components/schemas/thing~1a%20b"}});
        let text = json!({"openapi": "3.0.3", "thing": {"a": schema}, "components": {"schemas": {
            "thing/a b": {"type": "object", "properties": {"more": list, "id": {"type": "integer"}}},
            "flag": {"properties": {"on": {"type": "boolean"}}, "required": ["on"]},
        }}});
        Schema::compile(Document::parse(text.to_string().as_bytes()).json_schema("/thing/a"), "a thing")
    };
    let thing =
        json!({"$ref": "#/components/schemas/thing~1a%20b", "description": "siblings do not count", "enum": []});
    let flag = json!({"$ref": "#/components/schemas/flag"});
    let other = json!({"type": "object", "properties": {"kind": {"enum": ["x"]}}, "required": ["kind"]});
    // schema, value, where it is wrong
    let cases = [
        (json!({"type": "string", "nullable": true}), json!(null), vec![]),
        (json!({"type": "string", "nullable": true, "enum": ["a"]}), json!(null), vec![]),
        (json!({"type": "string", "enum": ["a"]}), json!(null), vec!["", ""]),
        (json!({"nullable": true, "allOf": [thing]}), json!(null), vec![]),
        (json!({"allOf": [thing]}), json!(null), vec![""]),
        (thing.clone(), json!({"id": 1, "more": [{"id": 2}, {"di": 3}]}), vec!["/more/1/di"]),
        (json!({"allOf": [thing, flag]}), json!({"id": 1, "on": true}), vec![]),
        (json!({"allOf": [thing, flag]}), json!({"id": 1, "on": true, "off": false}), vec!["/off"]),
        // a branch that fits declares its properties, a branch that does not fit does not
        (json!({"oneOf": [thing, flag]}), json!({"id": 1, "on": true}), vec![]),
        (json!({"oneOf": [other, flag]}), json!({"kind": "x", "on": true}), vec![]),
        (json!({"oneOf": [other, flag]}), json!({"kind": "y", "on": true}), vec!["/kind"]),
        (json!({"properties": {"a": {}}, "oneOf": [{"required": ["a"]}]}), json!({"a": {"b": 1}}), vec![]),
        (json!({"type": "object", "additionalProperties": true}), json!({"any": 1}), vec![]),
        (json!({"additionalProperties": true, "properties": {"a": {}}}), json!({"b": 1}), vec!["/b"]),
        (json!({"additionalProperties": false}), json!({"b/c": 1}), vec!["/b~1c"]),
        (json!({"additionalProperties": flag}), json!({"b": {"on": true, "c": 1}}), vec!["/b/c"]),
        (json!({"type": "object"}), json!({"any": 1}), vec![]),
    ];
    for (schema, value, places) in cases {
        let found = document(schema.clone()).findings(&value);
        assert_eq!(
            found.iter().map(|found| found.place.as_str()).collect::<Vec<_>>(),
            places,
            "{schema} {value} {found:?}"
        );
    }
}
