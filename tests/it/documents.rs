//! What is written for people, held against the program: tables, examples, the App's manifest, the deployment, links.
//!
//! Each table of the README is compared whole, row by row and in order, so that a failing test shows the table as it
//! should be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use titan::config::{Config, DatabaseConfig, SETTINGS};
use titan::domain::command::{CommandName, Parsed, parse};
use titan::domain::paths::PathRules;
use titan::domain::policy::{Policy, default_role};
use titan::domain::reason::Reason;
use titan::domain::report::CheckName;
use titan::github::Access;
use titan::github::webhook::{Trigger, trigger};
use titan::worker::intake::LABEL;

use crate::contracts;
use crate::support::web::WebApp;

fn path_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path_of(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The text below a heading, up to the next heading of the same or a higher level.
fn section(text: &str, heading: &str) -> String {
    let level = |line: &str| line.bytes().take_while(|b| *b == b'#').count();
    let mut inside = false;
    let mut found = Vec::new();
    for (line, code) in outside_code(text) {
        if !code && line == heading {
            inside = true;
        } else if inside && !code && (1..=level(heading)).contains(&level(line)) {
            break;
        } else if inside {
            found.push(line);
        }
    }
    assert!(inside, "there is no heading {heading:?}");
    found.join("\n")
}

/// Every line, and whether it belongs to a code block.
fn outside_code(text: &str) -> Vec<(&str, bool)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        lines.push((line, fenced || fence));
        fenced ^= fence;
    }
    lines
}

/// The rows of a section's first table without its head, as written.
fn rows(section: &str) -> Vec<String> {
    let table = section.lines().skip_while(|line| !line.starts_with("|--")).skip(1);
    table.take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

/// The first words of a table's rows: the code span in the first column.
fn names(rows: &[String]) -> Vec<String> {
    rows.iter().map(|row| row.split('`').nth(1).unwrap_or_else(|| panic!("no name in {row}")).to_owned()).collect()
}

/// The first code block of a language in a section.
fn code_block(section: &str, language: &str) -> String {
    let opened = section.split(&format!("```{language}\n")).nth(1);
    opened.and_then(|rest| rest.split("```").next()).expect("a code block").to_owned()
}

fn same_table(written: &[String], right: &[String]) {
    assert!(written == right, "the table in the README should be\n\n{}\n", right.join("\n"));
}

#[test]
fn the_table_of_commands_is_the_programs() {
    let right: Vec<String> = CommandName::ALL
        .iter()
        .map(|name| format!("| `/titan {name}` | {} | `{}` |", name.summary(), default_role(*name)))
        .collect();
    same_table(&rows(&section(&read("README.md"), "## Commands")), &right);
}

#[test]
fn every_command_that_the_documents_show_is_one() {
    for file in markdown_files() {
        let text = read(&file);
        for (at, _) in text.match_indices("`/titan ") {
            let line = text[at + 1..].split('`').next().unwrap_or_default();
            let near_miss = line == "/titan canry";
            let understood = matches!(parse(line), Parsed::Command(_));
            assert!(understood != near_miss, "{file} shows `{line}`");
        }
    }
}

#[test]
fn the_table_of_settings_is_the_programs() {
    let right: Vec<String> =
        SETTINGS.iter().map(|s| format!("| `{}` | {} | {} |", s.name, s.meaning, s.default)).collect();
    same_table(&rows(&section(&read("README.md"), "## Settings")), &right);
}

#[test]
fn the_example_settings_are_enough_to_start() {
    let install = section(&read("README.md"), "## Install it on a repository");
    let block = install.split("```sh").find(|block| block.contains("DATABASE_URL=")).expect("the example settings");
    let vars: BTreeMap<String, String> = block
        .split("```")
        .next()
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.trim().split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for name in vars.keys() {
        assert!(SETTINGS.iter().any(|setting| setting.name == name), "{name} is not a setting");
    }
    let config = Config::read(&vars).expect("the example in the README is complete");
    assert!(config.render.api_key.is_some());
    assert!(DatabaseConfig::read(&vars).url.is_some());
}

#[test]
fn the_table_of_reason_codes_is_the_programs() {
    let right: Vec<String> =
        Reason::ALL.iter().map(|reason| format!("| `{}` | {} |", reason.code(), reason.meaning())).collect();
    same_table(&rows(&section(&read("README.md"), "## Reason codes")), &right);
}

#[test]
fn the_example_policy_is_one_and_names_its_defaults() {
    let text = code_block(&section(&read("README.md"), "## The policy file"), "yaml");
    let policy = Policy::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}"));
    assert_eq!(policy.projects.len(), 1);
    let bare = Policy::parse("version: 1\n").expect("the smallest policy");
    assert_eq!(policy.permissions, bare.permissions, "the example says that these are the defaults");
    assert_eq!(bare.approvals, 0, "the example says that this is the default");
    assert_eq!(policy.merge, bare.merge, "the example says that this is the default");
    assert_eq!(policy.build.timeout, bare.build.timeout, "the example says that this is the default");
    let project = "version: 1\nprojects:\n  web:\n    canary: {hook: WEB_CANARY, url: \"https://web.example.com\"}\n";
    let bare = Policy::parse(project).expect("a small policy");
    let bake = |policy: &Policy| policy.projects.values().map(|project| project.bake).next();
    assert_eq!(bake(&policy), bake(&bare), "the example says that this is the default");
}

#[test]
fn the_example_answer_about_a_path_is_the_programs() {
    let text = section(&read("README.md"), "## The policy file");
    let policy = Policy::parse(&code_block(&text, "yaml")).expect("the example");
    let rules = PathRules::new(&policy.paths).expect("the example's patterns");
    let written = text.lines().find_map(|line| line.strip_prefix("# {")).map(|rest| format!("{{{rest}"));
    let written: Value = serde_json::from_str(&written.expect("an answer")).expect("JSON");
    assert_eq!(written, json!(rules.ask(written["path"].as_str().expect("a path"))));
}

#[test]
fn checks_and_label_are_named_as_in_the_program() {
    let text = section(&read("README.md"), "## Checks and deployments");
    assert_eq!(names(&rows(&text)), CheckName::ALL.map(|name| name.as_str().to_owned()));
    assert!(read("README.md").contains(&format!("The label **`{LABEL}`**")));
}

/// The endpoints of the README: method and path.
fn documented_endpoints() -> BTreeSet<(String, String)> {
    let written = names(&rows(&section(&read("README.md"), "## Endpoints")));
    let split = |line: String| line.split_once(' ').map(|(m, p)| (m.to_owned(), p.to_owned())).expect("method path");
    written.into_iter().map(split).collect()
}

/// The routes that stand in the sources of `http`: method and path.
fn routes() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut folders = vec![path_of("src/http")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("text");
            for part in text.split(".route(").skip(1) {
                let mut quoted = part.splitn(3, '"');
                let (Some(before), Some(route), Some(rest)) = (quoted.next(), quoted.next(), quoted.next()) else {
                    continue;
                };
                // Files that pages need have their addresses elsewhere and are not for people.
                if !before.trim().is_empty() {
                    continue;
                }
                let method = rest.trim_start_matches([',', ' ', '\n']).split('(').next().unwrap_or_default();
                let method = method.rsplit("::").next().unwrap_or_default();
                found.insert((method.to_uppercase(), route.to_owned()));
            }
        }
    }
    found
}

#[test]
fn every_route_is_documented_and_every_documented_endpoint_is_a_route() {
    assert_eq!(documented_endpoints(), routes());
}

#[tokio::test]
async fn every_documented_page_answers() {
    let app = WebApp::start().await;
    for (method, path) in documented_endpoints() {
        if method != "GET" {
            continue;
        }
        let path = path.replace("{id}", "0").replace("{owner}", "acme").replace("{repo}", "shop");
        let text = app.text(&path).await;
        assert!(!text.contains("there is nothing at"), "GET {path}: {text}");
    }
}

/// The permissions of all kinds of tokens together; write wins over read.
fn needed_permissions() -> BTreeMap<&'static str, &'static str> {
    let mut needed = BTreeMap::new();
    for access in Access::ALL {
        for (permission, level) in access.permissions() {
            let known = needed.entry(*permission).or_insert(*level);
            *known = if *level == "write" { level } else { *known };
        }
    }
    needed
}

fn manifest() -> Value {
    serde_json::from_str(&read("app-manifest/manifest.json")).expect("the manifest is JSON")
}

#[test]
fn the_manifest_asks_for_what_the_tokens_are_narrowed_to() {
    assert_eq!(manifest()["default_permissions"], json!(needed_permissions()));
    let right: Vec<(String, String)> =
        needed_permissions().into_iter().map(|(name, level)| (name.to_owned(), level.to_owned())).collect();
    let text = section(&read("app-manifest/README.md"), "## Permissions");
    let cells = |row: &String| row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>();
    let written: Vec<(String, String)> =
        rows(&text).iter().map(cells).map(|cells| (cells[1].clone(), cells[2].clone())).collect();
    assert_eq!(written, right);
}

#[test]
fn the_tokens_are_described_as_they_are() {
    let text = section(&read("app-manifest/README.md"), "## Permissions");
    let tokens = text.split("The kinds of tokens").nth(1).expect("the second table");
    let right: Vec<String> = Access::ALL
        .iter()
        .map(|access| {
            let permissions = access.permissions();
            let level = permissions[0].1;
            assert!(permissions.iter().all(|(_, other)| *other == level), "one level a token, else write a new table");
            let words: Vec<String> = permissions.iter().map(|(name, _)| format!("`{name}`")).collect();
            format!("| `{access:?}` | {}: {level} |", words.join(", "))
        })
        .collect();
    assert_eq!(rows(tokens), right);
}

/// Whether Titan knows what to do with an event; it then misses only the fields.
fn is_handled(event: &str) -> bool {
    let reason = |event: &str| match trigger(event, &json!({})) {
        Trigger::Ignored { reason } => reason,
        other => panic!("an empty payload asks for {other:?}"),
    };
    reason(event) != reason("an-event-that-github-does-not-have")
}

#[test]
fn the_manifest_subscribes_to_what_is_handled() {
    let text = section(&read("app-manifest/README.md"), "## Events");
    let (asked, sent) = text.split_once("GitHub sends these").expect("two tables");
    let manifest: BTreeSet<String> =
        serde_json::from_value(manifest()["default_events"].clone()).expect("a list of names");
    assert_eq!(names(&rows(asked)).into_iter().collect::<BTreeSet<_>>(), manifest);
    let mut known = manifest;
    known.extend(names(&rows(sent)));
    for event in &known {
        assert!(is_handled(event), "{event} is not handled");
    }
    // GitHub's own list of events, when it is there.
    for group in contracts::webhook_examples().iter().flat_map(|all| all.as_array().expect("a list")) {
        let event = group["name"].as_str().expect("a name");
        assert_eq!(is_handled(event), known.contains(event), "{event}");
    }
}

#[test]
fn the_manifest_points_to_the_webhook_route() {
    let hook = manifest()["hook_attributes"]["url"].as_str().expect("an address").to_owned();
    let path = hook.strip_prefix("https://titan.example.com").expect("the address that app-manifest/form replaces");
    assert!(routes().contains(&("POST".to_owned(), path.to_owned())));
    assert_eq!(manifest()["public"], false);
}

#[test]
fn fly_checks_a_route_and_leaves_time_to_stop() {
    let text = read("fly.toml");
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
        line.unwrap_or_else(|| panic!("fly.toml has no {key}")).trim().trim_matches('"').to_owned()
    };
    assert!(documented_endpoints().contains(&("GET".to_owned(), value("path"))));
    assert_eq!(value("kill_signal"), "SIGTERM");
    assert!(value("kill_timeout").parse::<u32>().expect("seconds") > 30, "Titan may take 30 s to stop");
    assert_eq!(value("release_command"), "migrate");
    assert_eq!(value("auto_stop_machines"), "off");
    assert_eq!(value("internal_port"), value("PORT"));
    assert_eq!(value("BIND_ADDR"), "0.0.0.0");
    let env = text.split("[env]").nth(1).and_then(|rest| rest.split('[').next()).expect("a section of settings");
    for name in env.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim()) {
        assert!(SETTINGS.iter().any(|setting| setting.name == name), "{name} is not a setting");
    }
}

#[test]
fn the_image_sets_only_known_settings_and_stops_with_the_signal_that_titan_knows() {
    let text = read("Dockerfile");
    let env: String = text.split("ENV ").nth(1).and_then(|rest| rest.split("\nEXPOSE").next()).expect("ENV").to_owned();
    for word in env.split_whitespace().filter(|word| *word != "\\") {
        let name = word.split('=').next().unwrap_or_default();
        assert!(SETTINGS.iter().any(|setting| setting.name == name), "{name} is not a setting");
    }
    assert!(text.contains("STOPSIGNAL SIGTERM") && text.contains("\nUSER titan\n"));
}

/// The first folders or files of what the sources include when they are compiled, seen from the repository's root.
fn included_from() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![path_of("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("text");
                let includes = text.split("include_str!(\"").skip(1).chain(text.split("include_bytes!(\"").skip(1));
                for name in includes.filter_map(|rest| rest.split('"').next()) {
                    let full =
                        folder.join(name).canonicalize().unwrap_or_else(|_| panic!("{name} of {}", path.display()));
                    let root = path_of("").canonicalize().expect("the repository");
                    let first = full.strip_prefix(root).expect("inside the repository").components().next();
                    found.insert(first.expect("a name").as_os_str().to_str().expect("UTF-8").to_owned());
                }
            }
        }
    }
    found
}

#[test]
fn what_the_build_reads_reaches_the_image() {
    let ignore = read(".dockerignore");
    let mut needed = included_from();
    needed.extend(["Cargo.toml", "Cargo.lock", "build.rs", "src", "migrations", "templates"].map(str::to_owned));
    for name in needed {
        assert!(ignore.lines().any(|line| line == format!("!{name}")), ".dockerignore keeps {name} away");
        assert!(path_of(&name).exists(), "{name}");
    }
}

#[test]
fn nothing_banned_is_asked_for() {
    let banned: Vec<String> = read("deny.toml")
        .lines()
        .filter_map(|line| {
            line.trim().strip_prefix("{ crate = \"").and_then(|rest| rest.split('"').next()).map(str::to_owned)
        })
        .collect();
    assert!(banned.len() >= 3, "{banned:?}");
    let manifest = read("Cargo.toml");
    for name in banned {
        let direct = manifest.lines().any(|line| line.split(['=', '.']).next().is_some_and(|word| word.trim() == name));
        assert!(!direct, "{name} is banned in deny.toml");
    }
}

/// Every Markdown file for people, from the repository's root.
fn markdown_files() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["", "docs", "app-manifest"] {
        for entry in fs::read_dir(path_of(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|ending| ending == "md") {
                let name = path.strip_prefix(path_of("")).expect("inside").to_str().expect("UTF-8");
                found.push(name.to_owned());
            }
        }
    }
    assert!(found.len() >= 5, "{found:?}");
    found.sort();
    found
}

/// GitHub's name for a heading in links.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept: String = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect();
    kept.replace(' ', "-")
}

#[test]
fn every_link_inside_the_repository_leads_somewhere() {
    let mut dead = Vec::new();
    for file in markdown_files() {
        let text = read(&file);
        let prose: Vec<&str> =
            outside_code(&text).into_iter().filter(|(_, code)| !code).map(|(line, _)| line).collect();
        for target in prose.join("\n").split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (name, place) = target.split_once('#').unwrap_or((target, ""));
            let folder = Path::new(&file).parent().expect("a folder");
            let linked = if name.is_empty() { PathBuf::from(&file) } else { folder.join(name) };
            let full = path_of(linked.to_str().expect("UTF-8"));
            if !full.exists() {
                dead.push(format!("{file}: {target}"));
            } else if !place.is_empty() {
                let there = fs::read_to_string(&full).expect("text");
                let headings = outside_code(&there).into_iter().filter(|(line, code)| !code && line.starts_with('#'));
                if !headings.into_iter().any(|(line, _)| anchor(line) == place) {
                    dead.push(format!("{file}: {target} has no such heading"));
                }
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}
