//! Single values of the policy file: text, lists, durations, words, addresses.
//!
//! Each reader gives the value or tells what is wrong with it and gives `None`, so that reading goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use super::Diagnostic;
use super::tree::{Key, Node, Place, Value};

/// No value of a policy needs to be longer, in bytes.
const MAX_TEXT: usize = 1_000;
/// No list of a policy needs more entries.
const MAX_LIST: usize = 1_000;

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub found: Vec<Diagnostic>,
}

/// A mapping with known keys, each at most once.
#[derive(Debug)]
pub(super) struct Section<'n> {
    /// Its full name in the file, e.g. `projects.web.canary`; empty for the file itself.
    pub name: String,
    /// Where it begins.
    pub at: Place,
    entries: BTreeMap<&'n str, (&'n Key, &'n Node)>,
}

impl<'n> Section<'n> {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.get(key).map(|(_, node)| *node)
    }

    /// Where a key stands; where the section begins when it is not there.
    pub fn key_at(&self, key: &str) -> Place {
        self.entries.get(key).map_or(self.at, |(key, _)| key.at)
    }

    /// A key's full name.
    pub fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// All keys with their values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'n Key, &'n Node)> + '_ {
        self.entries.values().copied()
    }
}

impl Reader {
    /// Notes a mistake.
    pub fn tell(&mut self, at: Place, message: impl Into<String>, suggestion: Option<&str>) {
        self.found.push(at.diagnostic(message.into(), suggestion.map(str::to_owned)));
    }

    /// A mapping in which only these keys may stand. Other keys are told, and the rest is read.
    pub fn section<'n>(&mut self, node: &'n Node, name: &str, known: &[&str]) -> Option<Section<'n>> {
        let section = self.mapping(node, name)?;
        for (key, _) in section.iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
            let place = if name.is_empty() { "the policy".to_owned() } else { name.to_owned() };
            match (nearest(&key.name, known), home(&key.name)) {
                (Some(near), _) => {
                    self.tell(
                        key.at,
                        format!("unknown key {} in {place}; did you mean {near}?", quote(&key.name)),
                        Some(near),
                    );
                }
                (None, Some(home)) => {
                    self.tell(
                        key.at,
                        format!("the key {} belongs under {home}, not in {place}", quote(&key.name)),
                        None,
                    );
                }
                (None, None) => {
                    let known = known.join(", ");
                    self.tell(key.at, format!("unknown key {} in {place}; known are {known}", quote(&key.name)), None);
                }
            }
        }
        Some(section)
    }

    /// A mapping with any keys, each at most once.
    pub fn mapping<'n>(&mut self, node: &'n Node, name: &str) -> Option<Section<'n>> {
        let Value::Map(entries) = &node.value else {
            let name = if name.is_empty() { "a policy" } else { name };
            self.wrong_kind(node, name, "a mapping (key: value)");
            return None;
        };
        let mut section = Section { name: name.to_owned(), at: node.at, entries: BTreeMap::new() };
        for (key, value) in entries {
            if let Some((first, _)) = section.entries.get(key.name.as_str()) {
                let message =
                    format!("the key {} stands here twice, first on line {}", quote(&key.name), first.at.line);
                self.tell(key.at, message, None);
            } else {
                section.entries.insert(&key.name, (key, value));
            }
        }
        Some(section)
    }

    /// Tells that something else was expected.
    pub fn wrong_kind(&mut self, node: &Node, name: &str, wanted: &str) {
        match node.value {
            Value::Nothing => {
                self.tell(node.at, format!("{name} is empty; write {wanted}, or leave the key out"), None)
            }
            ref other => self.tell(node.at, format!("{name} must be {wanted}, but {} stands here", other.kind()), None),
        }
    }

    /// Text with at least one character that is no space, in one line.
    pub fn text<'n>(&mut self, node: &'n Node, name: &str) -> Option<&'n str> {
        let Value::Text(text) = &node.value else {
            let wanted = match node.value {
                Value::Truth(_) | Value::Number(_) | Value::OtherNumber => "text (put quotes around it)",
                _ => "text",
            };
            self.wrong_kind(node, name, wanted);
            return None;
        };
        if text.trim().is_empty() {
            self.tell(node.at, format!("{name} is empty"), None);
        } else if text.len() > MAX_TEXT {
            self.tell(node.at, format!("{name} is longer than {MAX_TEXT} bytes"), None);
        } else if text.contains(|c: char| c.is_control() && c != '\t') {
            self.tell(node.at, format!("{name} must be one line without control characters"), None);
        } else {
            return Some(text);
        }
        None
    }

    /// The entries of a list.
    pub fn entries<'n>(&mut self, node: &'n Node, name: &str) -> Option<&'n [Node]> {
        let items = match &node.value {
            Value::List(items) => items,
            Value::Text(text) => {
                let instead = format!(
                    "[{}]",
                    if text.contains([',', '[', ']', '{', '}', '#', ':']) { quote(text) } else { text.clone() }
                );
                self.tell(node.at, format!("{name} must be a list, but text stands here"), Some(&instead));
                return None;
            }
            _ => {
                self.wrong_kind(node, name, "a list of texts");
                return None;
            }
        };
        if items.len() > MAX_LIST {
            self.tell(node.at, format!("{name} has {} entries; at most {MAX_LIST} are read", items.len()), None);
            return None;
        }
        Some(items)
    }

    /// A list of texts, with the place of each. Entries with mistakes are told and left out.
    pub fn texts<'n>(&mut self, node: &'n Node, name: &str) -> Option<Vec<(Place, &'n str)>> {
        let items = self.entries(node, name)?;
        let entry = format!("an entry of {name}");
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            if matches!(item.value, Value::Nothing) {
                self.tell(item.at, format!("{entry} is empty; without quotes, text after # is a comment"), None);
            } else if let Some(text) = self.text(item, &entry) {
                texts.push((item.at, text));
            }
        }
        Some(texts)
    }

    /// A whole number from 0 to `max`.
    pub fn count(&mut self, node: &Node, name: &str, max: u32) -> Option<u32> {
        let number = match node.value {
            Value::Number(number) => u32::try_from(number).ok().filter(|number| *number <= max),
            _ => None,
        };
        if number.is_none() {
            self.wrong_value(node, name, &format!("a whole number from 0 to {max}"));
        }
        number
    }

    /// One of a few words.
    pub fn word<T: Copy>(&mut self, node: &Node, name: &str, words: &[(&'static str, T)]) -> Option<T> {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        if let Value::Text(text) = &node.value {
            if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
                return Some(*value);
            }
            let message = format!("{name} is {}, but it must be one of {}", quote(text), known.join(", "));
            self.tell(node.at, message, nearest(text, &known));
        } else {
            self.wrong_kind(node, name, &format!("one of {}", known.join(", ")));
        }
        None
    }

    /// A duration such as `90s`, `15m` or `1h30m`, between two bounds.
    pub fn duration(&mut self, node: &Node, name: &str, min: Duration, max: Duration) -> Option<Duration> {
        let wanted = "a duration such as 90s, 15m or 1h30m";
        let text = match &node.value {
            Value::Text(text) => text,
            Value::Number(number) if *number > 0 => {
                let instead = format!("{number}s");
                self.tell(node.at, format!("{name} has no unit; write {wanted}"), Some(&instead));
                return None;
            }
            _ => {
                self.wrong_kind(node, name, wanted);
                return None;
            }
        };
        match humantime::parse_duration(text) {
            Ok(duration) if (min..=max).contains(&duration) => return Some(duration),
            Ok(_) => {
                let (min, max) = (humantime::format_duration(min), humantime::format_duration(max));
                self.tell(node.at, format!("{name} is {}, but it must be from {min} to {max}", quote(text)), None);
            }
            Err(_) => self.tell(node.at, format!("{name} is {}, which is not {wanted}", quote(text)), None),
        }
        None
    }

    /// The address of a service. It is never repeated in a message, because it could hold a password.
    pub fn address(&mut self, node: &Node, name: &str) -> Option<Url> {
        let text = self.text(node, name)?;
        let wanted = "an address such as https://web.example.com";
        let why = match Url::parse(text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                format!("must begin with http:// or https://, as {wanted}")
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                "holds a user name or password; a policy is no place for secrets".to_owned()
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                "must end before any ? or #; paths to ask for have keys of their own".to_owned()
            }
            Ok(url) if url.host_str().is_none_or(str::is_empty) => format!("has no host; write {wanted}"),
            Ok(url) => return Some(url),
            Err(error) => format!("is not {wanted}: {error}"),
        };
        self.tell(node.at, format!("{name} {why}"), None);
        None
    }

    /// A path of a service, which begins with a slash.
    pub fn url_path(&mut self, node: &Node, name: &str) -> Option<String> {
        let text = self.text(node, name)?;
        let instead = format!("/{}", text.trim_start_matches('/'));
        if !text.starts_with('/') {
            self.tell(node.at, format!("{name} must begin with /"), Some(&instead));
        } else if text.starts_with("//") || text.contains(|c: char| c.is_whitespace() || matches!(c, '#' | '\\')) {
            self.tell(
                node.at,
                format!("{name} must be a path such as /health, without // in front, #, \\ or spaces"),
                None,
            );
        } else {
            return Some(text.to_owned());
        }
        None
    }

    /// Tells that the value is of the right kind perhaps, but not one that can stand here.
    pub fn wrong_value(&mut self, node: &Node, name: &str, wanted: &str) {
        match &node.value {
            Value::Text(text) => {
                self.tell(node.at, format!("{name} must be {wanted}, not the text {}", quote(text)), None)
            }
            Value::Number(number) => self.tell(node.at, format!("{name} must be {wanted}, not {number}"), None),
            _ => self.wrong_kind(node, name, wanted),
        }
    }
}

/// Text of the file as it is repeated in a message: short, in quotes, in one line.
pub(super) fn quote(text: &str) -> String {
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(41).collect();
    if short.chars().count() > 40 {
        short.pop();
        short.push('\u{2026}');
    }
    format!("\"{short}\"")
}

/// The known word that was probably meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word: String = word.chars().take(40).flat_map(char::to_lowercase).collect();
    let far = if word.chars().count() > 4 { 2 } else { 1 };
    known
        .iter()
        .map(|name| (strsim::osa_distance(&word, name), *name))
        .filter(|(distance, name)| *distance <= far && *distance < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The section that a key belongs to, for keys that stand in the wrong one.
fn home(key: &str) -> Option<&'static str> {
    Some(match key {
        "protected" | "allowed" => "paths",
        "run" | "timeout" => "build",
        "canary" | "production" | "bake" => "a project, under projects",
        "render" | "hook" | "url" | "health" | "identity" => "canary or production of a project",
        "json" | "header" => "identity",
        "propose" | "promote" | "rollback" => "permissions",
        "zone" | "open" | "freeze" => "windows",
        "projects" | "permissions" | "windows" | "approvals" | "lock_expiry" | "merge" | "build" | "version" => {
            "the top of the policy"
        }
        _ => return None,
    })
}
