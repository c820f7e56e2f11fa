//! The policy file's JSON Schema, for editors: keys, kinds of values, words and bounds, with the descriptions below.
//!
//! These types are never filled in. The reader in `read` tells mistakes better than a schema can and knows more of them;
//! a test proves that the schema refuses nothing that the reader takes, and refuses what a schema can see.

use std::collections::BTreeMap;

use schemars::JsonSchema;

/// Titan's policy, `.github/titan.yml` on the base branch. It decides what a pull request may touch, how it is built,
/// where it is deployed and who may do what.
#[derive(JsonSchema)]
#[schemars(rename = "Titan policy", deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape of these types is used")]
pub struct PolicySchema {
    /// The version of this file's form.
    #[schemars(extend("const" = 1))]
    version: u32,
    /// Which files a change may touch.
    paths: Option<PathsSchema>,
    /// How a change is built.
    build: Option<BuildSchema>,
    /// What can be deployed, by name.
    #[schemars(extend("propertyNames" = {"pattern": r"^[a-z0-9]"}))]
    projects: Option<BTreeMap<String, ProjectSchema>>,
    /// The role that each command needs.
    permissions: Option<PermissionsSchema>,
    /// Checks of others that must be green: names, or all; default those of GitHub's own rules.
    required_checks: Option<ChecksSchema>,
    /// Approving reviews that promote needs; default 0.
    #[schemars(range(max = 10))]
    approvals: Option<u32>,
    /// How long a change may keep a project's environments without a run, e.g. 4h, or never; default 24h, at most 30 days.
    lock_expiry: Option<String>,
    /// How promote merges; default squash.
    merge: Option<MergeSchema>,
    /// When promotes are let in; default always.
    windows: Option<WindowsSchema>,
}

/// gitignore patterns.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape of these types is used")]
struct PathsSchema {
    /// A change that touches one is refused. The policy file and the workflow files are always protected.
    #[schemars(length(max = 1000))]
    protected: Option<Vec<String>>,
    /// When given, everything else is refused.
    #[schemars(length(min = 1, max = 1000))]
    allowed: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape of these types is used")]
struct BuildSchema {
    /// One command each, without a shell; when left out, found from the lock file.
    #[schemars(length(min = 1, max = 1000))]
    run: Option<Vec<String>>,
    /// For all commands together, e.g. 15m; default 15m, at most 2h.
    timeout: Option<String>,
    /// What the commands may reach: none, full (every public address; the default), or a list of hosts.
    network: Option<NetworkSchema>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only the shape of these types is used")]
enum NetworkSchema {
    /// Nothing, or every public address.
    Word(NetworkWordSchema),
    /// These hosts, e.g. packages.example.org or *.example.com.
    Hosts(#[schemars(length(min = 1, max = 1000))] Vec<String>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "only the shape of these types is used")]
enum NetworkWordSchema {
    None,
    Full,
}

/// One deployable thing.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape of these types is used")]
struct ProjectSchema {
    /// gitignore patterns of the files that concern it; default everything.
    #[schemars(length(min = 1, max = 1000))]
    paths: Option<Vec<String>>,
    /// Where a change is tried.
    canary: Option<TargetSchema>,
    /// What the users see.
    production: Option<TargetSchema>,
    /// How long a new version is watched, e.g. 5m; default 5m, at most 24h.
    bake: Option<String>,
}

/// A service: exactly one of `render` and `hook`, and its address.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [{"required": ["render"]}, {"required": ["hook"]}]))]
#[expect(dead_code, reason = "only the shape of these types is used")]
struct TargetSchema {
    /// The id of a Render service, e.g. srv-abc123.
    render: Option<String>,
    /// The name of a deploy hook: RENDER_DEPLOY_HOOK_<NAME>, never its address.
    hook: Option<String>,
    /// Where the service answers.
    #[schemars(extend("pattern" = r"^\s*[Hh][Tt][Tt][Pp][Ss]?:"))]
    url: String,
    /// The path that answers 2xx when healthy; default /.
    #[schemars(extend("pattern" = r"^/"))]
    health: Option<String>,
    /// Where it tells its full commit.
    identity: Option<IdentitySchema>,
}

#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape of these types is used")]
enum IdentitySchema {
    /// A JSON document.
    Json {
        /// The document's path.
        #[schemars(extend("pattern" = r"^/"))]
        path: String,
        /// Keys with dots between them, e.g. build.commit.
        json: String,
    },
    /// A header of the health path's answer.
    Header {
        /// The header's name.
        header: String,
    },
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape of these types is used")]
struct PermissionsSchema {
    /// Default write.
    propose: Option<GrantSchema>,
    /// Default write.
    canary: Option<GrantSchema>,
    /// Default maintain.
    promote: Option<GrantSchema>,
    /// Default write.
    rollback: Option<GrantSchema>,
}

#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape of these types is used")]
enum GrantSchema {
    /// A role.
    Role(RoleSchema),
    /// A role and who of those who have it.
    People {
        /// The role that is needed in any case.
        role: Option<RoleSchema>,
        /// Teams of the repository's organisation, e.g. acme/sre.
        #[schemars(length(min = 1))]
        teams: Option<Vec<String>>,
        /// Logins.
        #[schemars(length(min = 1))]
        users: Option<Vec<String>>,
    },
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only the shape of these types is used")]
enum ChecksSchema {
    /// Everything that was reported.
    All(AllSchema),
    /// These, by name.
    Named(#[schemars(length(min = 1, max = 1000))] Vec<NamedCheckSchema>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only the shape of these types is used")]
enum NamedCheckSchema {
    /// A check run of this name; a commit status does not count.
    Name(String),
    /// The same with whose word counts.
    From(CheckFromSchema),
}

/// A check's name and whose word counts.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape of these types is used")]
struct CheckFromSchema {
    /// The name of the check.
    name: String,
    /// The App's number, whose check runs alone count then; or any, which lets a commit status count as well.
    app: Option<CheckAppSchema>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only the shape of these types is used")]
enum CheckAppSchema {
    /// Only this App.
    Id(#[schemars(range(min = 1))] i64),
    /// Whoever reports it.
    Any(AnySchema),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "only the shape of these types is used")]
enum AnySchema {
    Any,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "only the shape of these types is used")]
enum AllSchema {
    All,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "only the shape of these types is used")]
enum RoleSchema {
    Triage,
    Write,
    Maintain,
    Admin,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "only the shape of these types is used")]
enum MergeSchema {
    Merge,
    Squash,
    Rebase,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape of these types is used")]
struct WindowsSchema {
    /// Whose clock counts, e.g. Europe/Berlin.
    zone: String,
    /// Days and hours, e.g. Mon-Thu 08:00-17:00; default always.
    #[schemars(length(min = 1, max = 1000))]
    open: Option<Vec<String>>,
    /// Days or times when nothing is open, e.g. 2026-12-20..2027-01-02.
    #[schemars(length(max = 1000))]
    freeze: Option<Vec<String>>,
}

/// The schema as JSON.
pub fn policy_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(PolicySchema).to_value();
    without_null(&mut schema);
    schema
}

/// A key can be left out, but it cannot be there without a value: that is a mistake that nobody means.
fn without_null(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            if let Some(serde_json::Value::Array(kinds)) = map.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [one] = kinds.as_slice() {
                    let one = one.clone();
                    map.insert("type".to_owned(), one);
                }
            }
            if let Some(serde_json::Value::Array(choices)) = map.get_mut("anyOf") {
                choices.retain(|choice| choice["type"] != "null");
            }
            map.values_mut().for_each(without_null);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}
