//! The sections of the policy file that are about people and about what others say of a commit: `permissions` and
//! `required_checks`.
//!
//! It knows their keys and their defaults; who is in a team, and what was reported, is read elsewhere.

use std::collections::BTreeMap;

use super::tree::{Node, Place, Value};
use super::values::{Reader, nearest, quote};
use super::{CheckSource, Grant, NamedCheck, RequiredChecks, Role, TeamName, default_grant};
use crate::domain::command::CommandName;
use crate::domain::report::CheckName;

/// The commands whose permission a policy may set.
const RUN_COMMANDS: [CommandName; 4] =
    [CommandName::Propose, CommandName::Canary, CommandName::Promote, CommandName::Rollback];
/// Each name is one more question to GitHub.
const MOST_TEAMS: usize = 10;
const ROLES: [Role; 4] = [Role::Triage, Role::Write, Role::Maintain, Role::Admin];

impl Reader {
    /// Who may give which run command.
    pub(super) fn permissions(&mut self, node: Option<&Node>) -> BTreeMap<CommandName, Grant> {
        let mut permissions: BTreeMap<CommandName, Grant> =
            RUN_COMMANDS.into_iter().map(|command| (command, default_grant(command))).collect();
        let Some(section) = node.and_then(|node| self.mapping(node, "permissions")) else { return permissions };
        for (key, node) in section.iter() {
            let Some(command) = RUN_COMMANDS.into_iter().find(|command| command.as_str() == key.name) else {
                self.unknown_permission(key.at, &key.name);
                continue;
            };
            if let Some(grant) = self.grant(node, &section.path(&key.name), command) {
                permissions.insert(command, grant);
            }
        }
        permissions
    }

    fn grant(&mut self, node: &Node, name: &str, command: CommandName) -> Option<Grant> {
        let Value::Map(_) = &node.value else {
            let role = self.role(node, name)?;
            return Some(Grant { role, ..default_grant(command) });
        };
        let section = self.section(node, name, &["role", "teams", "users"])?;
        let mut grant = default_grant(command);
        if let Some(node) = section.get("role") {
            grant.role = self.role(node, &section.path("role"))?;
        }
        for (key, empty) in [("teams", "nobody is in no team"), ("users", "nobody would be left")] {
            let Some(node) = section.get(key) else { continue };
            let full = section.path(key);
            if matches!(&node.value, Value::List(items) if items.is_empty()) {
                self.tell(node.at, format!("{full} is an empty list: {empty}; leave the key out"), None);
            }
            let texts = self.texts(node, &full).unwrap_or_default();
            if key == "teams" {
                grant.teams = texts.into_iter().filter_map(|(at, text)| self.team(at, text, &full)).collect();
                if grant.teams.len() > MOST_TEAMS {
                    let message = format!("{full} names {} teams; at most {MOST_TEAMS} are asked", grant.teams.len());
                    self.tell(node.at, message, None);
                }
            } else {
                grant.users = texts.into_iter().filter_map(|(at, text)| self.login(at, text, &full)).collect();
            }
        }
        Some(grant)
    }

    fn role(&mut self, node: &Node, name: &str) -> Option<Role> {
        match &node.value {
            Value::Text(text) if matches!(text.as_str(), "read" | "none") => {
                let message = format!("{name} cannot be {text}: anybody in the world may read a public repository");
                self.tell(node.at, message, Some("write"));
                None
            }
            _ => self.word(node, name, &ROLES.map(|role| (role.as_str(), role))),
        }
    }

    fn team(&mut self, at: Place, text: &str, name: &str) -> Option<TeamName> {
        let bare = text.strip_prefix('@').unwrap_or(text);
        match (bare.parse::<TeamName>(), bare.len() == text.len()) {
            (Ok(team), true) => return Some(team),
            (Ok(team), false) => {
                self.tell(at, format!("a team in {name} is written without @"), Some(&team.to_string()));
            }
            (Err(()), _) => {
                let lower = bare.to_lowercase().replace(' ', "-");
                let instead = lower.parse::<TeamName>().is_ok().then_some(lower);
                let message = format!(
                    "{} in {name} is no team: write organisation/team with the team's name as in its address at GitHub",
                    quote(text)
                );
                self.tell(at, message, instead.as_deref());
            }
        }
        None
    }

    fn login(&mut self, at: Place, text: &str, name: &str) -> Option<String> {
        let bare = text.strip_prefix('@').unwrap_or(text);
        if bare.ends_with("[bot]") {
            self.tell(at, format!("{} in {name} is a program; only people give commands", quote(text)), None);
            return None;
        }
        // Accounts that an enterprise manages have an underscore in front of its short code.
        let fits = !bare.is_empty()
            && bare.len() <= 50
            && bare.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        match (fits, bare.len() == text.len()) {
            (true, true) => return Some(bare.to_owned()),
            (true, false) => self.tell(at, format!("a login in {name} is written without @"), Some(bare)),
            (false, _) => self.tell(at, format!("{} in {name} is not the login of a person", quote(text)), None),
        }
        None
    }

    fn unknown_permission(&mut self, at: Place, key: &str) {
        let names = RUN_COMMANDS.map(CommandName::as_str);
        if CommandName::ALL.into_iter().any(|command| command.as_str() == key) {
            let message = format!("the role for {key} is fixed; permissions can be set for {}", names.join(", "));
            self.tell(at, message, None);
        } else {
            let near = nearest(key, &names);
            self.tell(at, format!("unknown key {} in permissions; known are {}", quote(key), names.join(", ")), near);
        }
    }

    /// Which checks of others must be green.
    pub(super) fn required_checks(&mut self, node: Option<&Node>) -> RequiredChecks {
        let Some(node) = node else { return RequiredChecks::Base };
        if let Value::Text(_) = &node.value {
            return match self.word(node, "required_checks", &[("all", ())]) {
                Some(()) => RequiredChecks::All,
                None => RequiredChecks::Base,
            };
        }
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            let message = "required_checks is an empty list: GitHub's own rules count in any case; leave the key out";
            self.tell(node.at, message, None);
        }
        let mut names: Vec<NamedCheck> = Vec::new();
        let entries = self.entries(node, "required_checks").unwrap_or_default();
        for entry in entries {
            let Some((at, name, from)) = self.named_check(entry) else { continue };
            if CheckName::ALL.into_iter().any(|check| check.as_str() == name) {
                self.tell(at, format!("{} is Titan's own check, which has gates of its own", quote(name)), None);
                continue;
            }
            let check = NamedCheck { name: name.to_owned(), from };
            if !names.contains(&check) {
                names.push(check);
            }
        }
        RequiredChecks::Named(names)
    }

    /// One entry of `required_checks`: a name, or a name and the App whose word counts.
    fn named_check<'n>(&mut self, node: &'n Node) -> Option<(Place, &'n str, CheckSource)> {
        const ENTRY: &str = "an entry of required_checks";
        if !matches!(node.value, Value::Map(_)) {
            return self.text(node, ENTRY).map(|name| (node.at, name, CheckSource::CheckRun));
        }
        let section = self.section(node, ENTRY, &["name", "app"])?;
        let Some(name) = section.get("name") else {
            self.tell(node.at, format!("{ENTRY} has no name"), None);
            return None;
        };
        let name = (name.at, self.text(name, "name")?);
        let from = match section.get("app") {
            None => CheckSource::CheckRun,
            Some(app) => match &app.value {
                Value::Number(id) if *id > 0 => CheckSource::App(*id),
                Value::Text(word) if word == "any" => CheckSource::Any,
                _ => {
                    let wanted = "the App's number, or any, which lets a commit status count as well";
                    self.tell(app.at, format!("app in {ENTRY} must be {wanted}"), Some("any"));
                    return None;
                }
            },
        };
        Some((name.0, name.1, from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::Policy;

    fn promote(text: &str) -> Grant {
        Policy::parse(&format!("version: 1\npermissions: {{promote: {text}}}"))
            .unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}"))
            .grant(CommandName::Promote)
    }

    #[test]
    fn a_permission_is_a_role_or_a_role_and_who_of_those() {
        let plain = |role| Grant { role, teams: Vec::new(), users: Vec::new() };
        assert_eq!(promote("admin"), plain(Role::Admin));
        assert_eq!(promote("{role: write}"), plain(Role::Write));
        let team = |name: &str| name.parse::<TeamName>().expect("a team");
        assert_eq!(
            promote("{teams: [acme/sre, acme/web_ops], users: [alice, bob_corp]}"),
            Grant {
                role: Role::Maintain,
                teams: vec![team("acme/sre"), team("acme/web_ops")],
                users: vec!["alice".to_owned(), "bob_corp".to_owned()],
            }
        );
    }

    #[test]
    fn required_checks_are_names_or_all() {
        let read = |text: &str| Policy::parse(&format!("version: 1\n{text}")).expect("valid").required_checks;
        assert_eq!(read(""), RequiredChecks::Base);
        assert_eq!(read("required_checks: all"), RequiredChecks::All);
        let check = |name: &str, from| NamedCheck { name: name.to_owned(), from };
        let named = [check("ci / test", CheckSource::CheckRun), check("lint", CheckSource::CheckRun)];
        assert_eq!(read("required_checks: ['ci / test', lint, lint]"), RequiredChecks::Named(named.into()));
        let named = [check("ci", CheckSource::App(15368)), check("old", CheckSource::Any)];
        let text = "required_checks: [{name: ci, app: 15368}, {name: old, app: any}]";
        assert_eq!(read(text), RequiredChecks::Named(named.into()));
    }

    #[test]
    fn a_mistake_is_told_where_it_stands() {
        let cases = [
            ("permissions: {promote: {role: read}}", (2, 31), "anybody in the world", Some("write")),
            ("permissions: {promote: {teams: ['@acme/sre']}}", (2, 33), "without @", Some("acme/sre")),
            ("permissions: {promote: {teams: [sre]}}", (2, 33), "is no team", None),
            ("permissions: {promote: {teams: [Acme/Site Ops]}}", (2, 33), "is no team", Some("acme/site-ops")),
            ("permissions: {promote: {teams: [acme/../x]}}", (2, 33), "is no team", None),
            ("permissions: {promote: {teams: []}}", (2, 32), "empty list", None),
            ("permissions: {promote: {users: ['@alice']}}", (2, 33), "without @", Some("alice")),
            ("permissions: {promote: {users: ['robot[bot]']}}", (2, 33), "is a program", None),
            ("permissions: {promote: {users: [a/b]}}", (2, 33), "not the login", None),
            ("permissions: {promote: {team: [acme/sre]}}", (2, 25), "unknown key", Some("teams")),
            ("required_checks: []", (2, 18), "empty list", None),
            ("required_checks: ci", (2, 18), "one of all", None),
            ("required_checks: [titan/build]", (2, 19), "gates of its own", None),
            ("required_checks: [{name: ci, app: some}]", (2, 35), "the App's number, or any", Some("any")),
            ("required_checks: [{app: 1}]", (2, 19), "has no name", None),
            ("required_checks: {ci: true}", (2, 18), "a list", None),
        ];
        for (text, place, message, suggestion) in cases {
            let found = Policy::parse(&format!("version: 1\n{text}")).expect_err(text);
            let first = &found[0];
            assert_eq!((first.line, first.column), place, "{text}: {first:?}");
            assert!(first.message.contains(message), "{text}: {first:?}");
            assert_eq!(first.suggestion.as_deref(), suggestion, "{text}: {first:?}");
        }
    }
}
