//! The policy's JSON Schema against the strict reader: what the reader takes the schema takes, and what a schema can see
//! to be wrong both refuse.

use serde_json::Value;
use titan::domain::policy::schema::policy_schema;
use titan::domain::policy::{FIRST_POLICY, Policy};

const WHOLE: &str = "version: 1
paths: {protected: [/.github/, '*.tf'], allowed: [/src/]}
build: {run: [npm ci], timeout: 15m, network: [packages.example.org]}
projects:
  web:
    paths: [/]
    canary: {hook: WEB_CANARY, url: 'https://c.example.com', identity: {header: x-commit}}
    production: {render: srv-def, url: 'http://p.example.com', health: /health, identity: {path: /version, json: a.b}}
    bake: 5m
permissions: {propose: triage, canary: write, promote: {role: admin, teams: [acme/sre], users: [alice]}, rollback: maintain}
required_checks: [test, {name: ci, app: 15368}, {name: old, app: any}]
approvals: 2
merge: rebase
windows: {zone: Europe/Berlin, open: [Mon-Thu 08:00-17:00], freeze: [2026-12-20..2027-01-02]}
";

/// Edits of the whole policy, each of which a schema can see to be wrong.
const WRONG: &[(&str, &str)] = &[
    ("version: 1\n", ""),
    ("version: 1", "version: 2"),
    ("version: 1", "version: '1'"),
    ("paths: {", "path: {"),
    ("protected:", "protcted:"),
    ("protected: [/.github/, '*.tf']", "protected: /.github/"),
    ("protected: [/.github/, '*.tf']", "protected: [1]"),
    ("allowed: [/src/]", "allowed: []"),
    ("run: [npm ci]", "run: []"),
    ("run: [npm ci]", "run: npm ci"),
    ("timeout: 15m", "timeout: 15"),
    ("network: [packages.example.org]", "network: some"),
    ("network: [packages.example.org]", "network: []"),
    ("paths: [/]", "paths: []"),
    ("hook: WEB_CANARY, ", ""),
    ("hook: WEB_CANARY", "hook: WEB_CANARY, render: srv-x"),
    ("url: 'https://c.example.com', ", ""),
    ("'https://c.example.com'", "'ftp://c.example.com'"),
    ("health: /health", "health: health"),
    ("{header: x-commit}", "{header: x-commit, path: /}"),
    ("{path: /version, json: a.b}", "{path: /version}"),
    ("bake: 5m", "bake: [5m]"),
    ("propose: triage", "propose: read"),
    ("propose: triage", "propse: triage"),
    ("teams: [acme/sre]", "team: [acme/sre]"),
    ("users: [alice]", "users: []"),
    ("required_checks: [test, {name: ci, app: 15368}, {name: old, app: any}]", "required_checks: []"),
    ("required_checks: [test, {name: ci, app: 15368}, {name: old, app: any}]", "required_checks: some"),
    ("app: any", "app: some"),
    ("app: any", "app: 0"),
    ("{name: ci, app: 15368}", "{app: 15368}"),
    ("{name: ci, app: 15368}", "{name: ci, apps: 15368}"),
    ("approvals: 2", "approvals: 11"),
    ("approvals: 2", "approvals: -1"),
    ("approvals: 2", "approvals: many"),
    ("merge: rebase", "merge: sqash"),
    ("merge: rebase", "merge:"),
    ("zone: Europe/Berlin, ", ""),
    ("open: [Mon-Thu 08:00-17:00]", "open: []"),
    ("freeze:", "frozen:"),
];

/// Edits that only the reader can see to be wrong.
const ONLY_READ: &[(&str, &str)] = &[
    ("'*.tf'", "'[a'"),
    ("npm ci", "npm ci && x"),
    ("timeout: 15m", "timeout: 3h"),
    ("Europe/Berlin", "Europe/Berln"),
    ("Mon-Thu 08:00-17:00", "Mon-Thu 8-17"),
    ("srv-def", "def"),
];

fn json(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error} in\n{yaml}"))
}

#[test]
fn the_schema_and_the_reader_agree() {
    let schema = policy_schema();
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let readme = std::fs::read_to_string("README.md").expect("the README");
    let example = readme
        .split("```yaml\n")
        .find_map(|part| part.starts_with("version:").then(|| part.split("```").next()).flatten());
    let example = example.expect("the README shows a policy");
    for good in
        [WHOLE, FIRST_POLICY, example, "version: 1\n", "version: 1\nrequired_checks: all\nbuild: {network: none}\n"]
    {
        assert!(Policy::parse(good).is_ok(), "{:?}\n{good}", Policy::parse(good));
        let told: Vec<String> = validator.iter_errors(&json(good)).map(|error| error.to_string()).collect();
        assert!(told.is_empty(), "{told:?}\n{good}");
    }
    for (from, to) in WRONG {
        let wrong = WHOLE.replacen(from, to, 1);
        assert_ne!(wrong, WHOLE, "{from} is not in the policy");
        assert!(Policy::parse(&wrong).is_err(), "the reader takes {to:?}");
        assert!(!validator.is_valid(&json(&wrong)), "the schema takes {to:?} for {from:?}");
    }
    for (from, to) in ONLY_READ {
        let wrong = WHOLE.replacen(from, to, 1);
        assert!(Policy::parse(&wrong).is_err(), "the reader takes {to:?}");
        assert!(validator.is_valid(&json(&wrong)), "the schema sees {to:?}: move it to the other list");
    }
}

#[test]
fn every_key_is_described() {
    let schema = policy_schema();
    assert_eq!(schema["additionalProperties"], false);
    let mut parts = vec![&schema];
    let mut keys = 0;
    while let Some(part) = parts.pop() {
        match part {
            Value::Object(map) => {
                for (name, key) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    assert!(key["description"].is_string(), "{name} is not described");
                    keys += 1;
                }
                parts.extend(map.values());
            }
            Value::Array(items) => parts.extend(items),
            _ => {}
        }
    }
    assert!(keys > 25, "{keys}");
}
