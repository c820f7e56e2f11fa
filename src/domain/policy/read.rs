//! The sections of the policy file, one function each.
//!
//! It knows the file's keys, their defaults and what may not go together. Mistakes are collected and never end the
//! reading, so that a person sees all of them at once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::network::{BuildNetwork, HostPattern};
use super::tree::{Node, Place, Value};
use super::values::{Reader, Section, quote};
use super::{Build, DeployVia, Diagnostic, Identity, MergeMethod, PathPolicy, Policy, Project, Target};
use crate::domain::command::could_be_commit;
use crate::domain::ids::{Environment, ProjectName};
use crate::domain::paths::{LoneSlash, check_pattern};

const BUILD_TIMEOUT: Duration = Duration::from_secs(15 * 60);
const LONGEST_BUILD: Duration = Duration::from_secs(2 * 60 * 60);
const BAKE: Duration = Duration::from_secs(5 * 60);
const LONGEST_BAKE: Duration = Duration::from_secs(24 * 60 * 60);
/// Peers keep a lock until somebody remembers it. A day covers a night between canary and promote.
pub(super) const LOCK_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);
const LONGEST_LOCK: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const SHORTEST: Duration = Duration::from_secs(1);
/// See [`Policy::approvals`].
const APPROVALS: u32 = 0;
const MOST_APPROVALS: u32 = 10;
/// More mistakes help nobody.
const MOST_DIAGNOSTICS: usize = 100;
/// A hook's name is the end of an environment variable's name.
const HOOK_NAME_BYTES: usize = 60;

/// Judges the whole file.
pub(super) fn policy(root: &Node, hash: String) -> Result<Policy, Vec<Diagnostic>> {
    let mut reader = Reader::default();
    let policy = reader.policy(root, hash);
    let mut found = reader.found;
    found.sort_by_key(|mistake| (mistake.line, mistake.column));
    found.truncate(MOST_DIAGNOSTICS);
    match policy {
        Some(policy) if found.is_empty() => Ok(policy),
        // Whatever gives no policy has told why; this holds the promise of at least one mistake even so.
        _ if found.is_empty() => Err(vec![Place::START.diagnostic("the policy could not be read".to_owned(), None)]),
        _ => Err(found),
    }
}

impl Reader {
    fn policy(&mut self, root: &Node, hash: String) -> Option<Policy> {
        let known = [
            "version",
            "paths",
            "build",
            "projects",
            "permissions",
            "required_checks",
            "approvals",
            "lock_expiry",
            "merge",
            "windows",
        ];
        let top = self.section(root, "", &known)?;
        self.version(&top);
        let paths = top.get("paths").map_or_else(PathPolicy::default, |node| self.paths(node));
        let build = match top.get("build") {
            Some(node) => self.build(node),
            None => Build { run: None, timeout: BUILD_TIMEOUT, network: BuildNetwork::default() },
        };
        let projects = top.get("projects").map_or_else(BTreeMap::new, |node| self.projects(node));
        let permissions = self.permissions(top.get("permissions"));
        let required_checks = self.required_checks(top.get("required_checks"));
        let approvals = match top.get("approvals") {
            Some(node) => self.count(node, "approvals", MOST_APPROVALS).unwrap_or(APPROVALS),
            None => APPROVALS,
        };
        let methods = [MergeMethod::Merge, MergeMethod::Squash, MergeMethod::Rebase].map(|m| (m.as_str(), m));
        let merge = match top.get("merge") {
            Some(node) => self.word(node, "merge", &methods).unwrap_or(MergeMethod::Squash),
            None => MergeMethod::Squash,
        };
        let windows = top.get("windows").and_then(|node| self.windows(node));
        let lock_expiry = match top.get("lock_expiry") {
            Some(Node { value: Value::Text(text), .. }) if text == "never" => None,
            Some(node) => self.duration(node, "lock_expiry", SHORTEST, LONGEST_LOCK).or(Some(LOCK_EXPIRY)),
            None => Some(LOCK_EXPIRY),
        };
        Some(Policy {
            hash,
            paths,
            build,
            projects,
            permissions,
            required_checks,
            approvals,
            lock_expiry,
            merge,
            windows,
        })
    }

    fn version(&mut self, top: &Section<'_>) {
        match top.get("version") {
            Some(Node { value: Value::Number(1), .. }) => {}
            Some(node @ Node { value: Value::Number(_), .. }) => {
                self.tell(node.at, "this version of Titan reads policies of version 1 only", Some("1"));
            }
            Some(node) => self.tell(node.at, "version must be the number 1, without quotes", Some("1")),
            None => self.tell(Place::START, "the policy has no version", Some("version: 1")),
        }
    }

    fn paths(&mut self, node: &Node) -> PathPolicy {
        let Some(section) = self.section(node, "paths", &["protected", "allowed"]) else {
            return PathPolicy::default();
        };
        let protected =
            section.get("protected").and_then(|node| self.patterns(node, "paths.protected", LoneSlash::IsRefused));
        let allowed = section.get("allowed").and_then(|node| {
            let allowed = self.patterns(node, "paths.allowed", LoneSlash::IsEverything);
            self.not_empty(node, "paths.allowed", "nothing could ever be changed");
            allowed
        });
        PathPolicy { protected: protected.unwrap_or_default(), allowed }
    }

    fn patterns(&mut self, node: &Node, name: &str, lone_slash: LoneSlash) -> Option<Vec<String>> {
        let texts = self.texts(node, name)?;
        for (at, text) in &texts {
            if let Err(why) = check_pattern(text, lone_slash) {
                self.tell(*at, format!("the pattern {} in {name} {why}", quote(text)), None);
            }
        }
        Some(texts.into_iter().map(|(_, text)| text.to_owned()).collect())
    }

    /// Tells that a list without entries does not mean what leaving it out means.
    pub(super) fn not_empty(&mut self, node: &Node, name: &str, consequence: &str) {
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            self.tell(node.at, format!("{name} is an empty list: {consequence}; leave the key out"), None);
        }
    }

    fn build(&mut self, node: &Node) -> Build {
        let mut build = Build { run: None, timeout: BUILD_TIMEOUT, network: BuildNetwork::default() };
        let Some(section) = self.section(node, "build", &["run", "timeout", "network"]) else { return build };
        if let Some(node) = section.get("run") {
            self.not_empty(node, "build.run", "there would be no build");
            let lines = self.texts(node, "build.run").unwrap_or_default();
            for (at, line) in &lines {
                self.command_line(*at, line);
            }
            build.run = Some(lines.into_iter().map(|(_, line)| line.trim().to_owned()).collect());
        }
        if let Some(node) = section.get("timeout") {
            build.timeout = self.duration(node, "build.timeout", SHORTEST, LONGEST_BUILD).unwrap_or(BUILD_TIMEOUT);
        }
        if let Some(node) = section.get("network") {
            build.network = self.network(node);
        }
        build
    }

    /// What a build may reach. A mistake never opens anything, because a policy with mistakes is no policy.
    fn network(&mut self, node: &Node) -> BuildNetwork {
        if !matches!(node.value, Value::List(_)) {
            if !matches!(node.value, Value::Text(_)) {
                self.wrong_kind(node, "build.network", "none, full, or a list of hosts");
                return BuildNetwork::None;
            }
            let open = self.word(node, "build.network", &[("none", false), ("full", true)]).unwrap_or(false);
            return if open { BuildNetwork::Full } else { BuildNetwork::None };
        }
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            self.tell(node.at, "build.network is an empty list; write none when nothing may be reached", Some("none"));
        }
        let mut hosts = Vec::new();
        for (at, text) in self.texts(node, "build.network").unwrap_or_default() {
            match HostPattern::parse(text) {
                Ok(host) => hosts.push(host),
                Err((why, instead)) => {
                    let message = format!("the entry {} of build.network {why}", quote(text));
                    self.tell(at, message, instead.as_deref());
                }
            }
        }
        BuildNetwork::Hosts(hosts)
    }

    /// Commands run without a shell: what only a shell understands would silently become an argument.
    fn command_line(&mut self, at: Place, line: &str) {
        let mut open: Option<char> = None;
        let mut bare = String::new();
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match (open, c) {
                (Some(quote), c) if c == quote => open = None,
                (Some('\''), _) => {}
                (_, '\\') => drop(chars.next()),
                (Some(_), _) => {}
                (None, '\'' | '"') => open = Some(c),
                (None, c) => bare.push(c),
            }
        }
        if open.is_some() {
            self.tell(at, format!("a quote is not closed in the command {}", quote(line)), None);
        }
        let operator = |word: &&str| {
            matches!(*word, "&&" | "||" | "|" | ";" | "&" | ">" | ">>" | "<" | "2>&1") || word.ends_with(';')
        };
        if let Some(word) = bare.split_whitespace().find(operator) {
            let message = format!(
                "build.run has no shell, so {} in {} would be passed on as a word; write each command as an entry of its own",
                quote(word),
                quote(line)
            );
            self.tell(at, message, None);
        }
    }

    fn projects(&mut self, node: &Node) -> BTreeMap<ProjectName, Project> {
        let mut projects = BTreeMap::new();
        let Some(section) = self.mapping(node, "projects") else { return projects };
        // Which service is whose: a canary must never be somebody's production.
        let mut productions: Vec<(DeployVia, String)> = Vec::new();
        let mut canaries: Vec<(DeployVia, String, Place)> = Vec::new();
        for (key, node) in section.iter() {
            let name: Option<ProjectName> = match key.name.parse() {
                Ok(_) if could_be_commit(&key.name) => {
                    let message = "a project cannot be named like a commit: nobody could tell them apart in a command";
                    self.tell(key.at, message, None);
                    None
                }
                Ok(name) => Some(name),
                Err(error) => {
                    let lower = key.name.to_lowercase().replace([' ', '.', '/'], "-");
                    let instead = lower.parse::<ProjectName>().is_ok().then_some(lower);
                    self.tell(
                        key.at,
                        format!("the project name {} is not valid: {}", quote(&key.name), error.why),
                        instead.as_deref(),
                    );
                    None
                }
            };
            let full = section.path(&key.name);
            let Some(project) = self.project(node, &full) else { continue };
            if let Some(target) = &project.canary {
                canaries.push((target.deploy.clone(), full.clone(), key.at));
            }
            if let Some(target) = &project.production {
                productions.push((target.deploy.clone(), full));
            }
            if let Some(name) = name {
                projects.insert(name, project);
            }
        }
        for (deploy, canary, at) in canaries {
            if let Some((_, production)) = productions.iter().find(|(other, _)| *other == deploy) {
                let message = format!(
                    "{canary}.canary and {production}.production deploy to the same service; a canary would go straight to production"
                );
                self.tell(at, message, None);
            }
        }
        projects
    }

    fn project(&mut self, node: &Node, name: &str) -> Option<Project> {
        let section = self.section(node, name, &["paths", "canary", "production", "bake"])?;
        let paths = match section.get("paths") {
            Some(node) => {
                let full = section.path("paths");
                self.not_empty(node, &full, "no change would concern the project");
                self.patterns(node, &full, LoneSlash::IsEverything).unwrap_or_default()
            }
            None => vec!["/".to_owned()],
        };
        let mut target = |environment: Environment| {
            let key = environment.as_str();
            section.get(key).and_then(|node| self.target(node, &section.path(key)))
        };
        let (canary, production) = (target(Environment::Canary), target(Environment::Production));
        let bake = match section.get("bake") {
            Some(node) => self.duration(node, &section.path("bake"), SHORTEST, LONGEST_BAKE).unwrap_or(BAKE),
            None => BAKE,
        };
        Some(Project { paths, canary, production, bake })
    }

    fn target(&mut self, node: &Node, name: &str) -> Option<Target> {
        let section = self.section(node, name, &["render", "hook", "url", "health", "identity"])?;
        let deploy = self.deploy(&section);
        let url = match section.get("url") {
            Some(node) => self.address(node, &section.path("url")),
            None => {
                self.tell(section.at, format!("{name} has no url, so nobody could ask whether it works"), None);
                None
            }
        };
        let health = match section.get("health") {
            Some(node) => self.url_path(node, &section.path("health")),
            None => Some("/".to_owned()),
        };
        let identity = section.get("identity").map(|node| self.identity(node, &section.path("identity")));
        Some(Target {
            deploy: deploy?,
            url: url?,
            health: health?,
            identity: match identity {
                Some(identity) => Some(identity?),
                None => None,
            },
        })
    }

    fn deploy(&mut self, section: &Section<'_>) -> Option<DeployVia> {
        match (section.get("render"), section.get("hook")) {
            (Some(node), None) => {
                let name = section.path("render");
                let text = self.text(node, &name)?;
                match text.parse() {
                    Ok(service) => Some(DeployVia::Render(service)),
                    Err(_) => {
                        self.tell(
                            node.at,
                            format!("{name} must be the id of a Render service, such as srv-abc123"),
                            None,
                        );
                        None
                    }
                }
            }
            (None, Some(node)) => self.hook(node, &section.path("hook")),
            (Some(_), Some(_)) => {
                let at = section.key_at("render").max(section.key_at("hook"));
                self.tell(at, format!("{} has both render and hook; only one of them can deploy", section.name), None);
                None
            }
            (None, None) => {
                let message = format!("{} has neither render nor hook, so nothing can be deployed there", section.name);
                self.tell(section.at, message, None);
                None
            }
        }
    }

    /// What stands here is never repeated: people paste the hook's address, and that is a secret.
    fn hook(&mut self, node: &Node, name: &str) -> Option<DeployVia> {
        let text = self.text(node, name)?.trim();
        let upper = text.to_ascii_uppercase();
        let fits = |name: &str| {
            name.len() <= HOOK_NAME_BYTES
                && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        if fits(&upper) {
            return Some(DeployVia::Hook(upper));
        }
        if text.contains("://") {
            let message = format!(
                "{name} takes the name of a deploy hook and not its address, which is a secret: give it to Titan as \
                 RENDER_DEPLOY_HOOK_<NAME>, write the name here, and make a new hook, because this one is public now"
            );
            self.tell(node.at, message, None);
            return None;
        }
        let instead = upper.strip_prefix("RENDER_DEPLOY_HOOK_").unwrap_or(&upper).replace(['-', '.', ' '], "_");
        let instead = fits(&instead).then_some(instead);
        self.tell(
            node.at,
            format!("{name} must be letters, digits and _, at most {HOOK_NAME_BYTES}"),
            instead.as_deref(),
        );
        None
    }

    fn identity(&mut self, node: &Node, name: &str) -> Option<Identity> {
        let section = self.section(node, name, &["path", "json", "header"])?;
        match (section.get("path"), section.get("json"), section.get("header")) {
            (None, None, Some(node)) => {
                let full = section.path("header");
                let header = self.text(node, &full)?.to_ascii_lowercase();
                // The characters of a field name in HTTP, RFC 9110 section 5.6.2.
                if header.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
                    return Some(Identity::Header { header });
                }
                self.tell(node.at, format!("{full} is not the name of a header"), None);
                None
            }
            (Some(path), Some(json), None) => {
                let path = self.url_path(path, &section.path("path"));
                let full = section.path("json");
                let keys = self.text(json, &full)?.trim().trim_start_matches("$.").to_owned();
                if keys.split('.').any(str::is_empty) {
                    self.tell(
                        json.at,
                        format!("{full} must be keys with dots between them, such as build.commit"),
                        None,
                    );
                    return None;
                }
                Some(Identity::Json { path: path?, json: keys })
            }
            _ => {
                let message = format!("{name} must be either path and json, or header");
                self.tell(section.at, message, Some("{path: /version, json: commit}"));
                None
            }
        }
    }
}
