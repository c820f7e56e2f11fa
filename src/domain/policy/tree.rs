//! The policy file as a tree in which every key and value knows its line and column.
//!
//! It knows YAML and not what a policy is. Reading a tree first, and judging it afterwards, lets all mistakes of a
//! file be told at once instead of the first one only.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{DuplicateKeyPolicy, Error, MergeKeyPolicy, Spanned};

use super::Diagnostic;

/// A larger file is not read. A policy of a hundred projects has about 40 KB.
pub(super) const MAX_BYTES: usize = 256 * 1024;

/// A place in the file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// Where something that concerns the whole file is told.
    pub const START: Self = Self { line: 1, column: 1 };

    /// A mistake at this place.
    pub fn diagnostic(self, message: String, suggestion: Option<String>) -> Diagnostic {
        Diagnostic { line: self.line, column: self.column, message, suggestion }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub at: Place,
    pub value: Value,
}

/// A key of a mapping and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub at: Place,
    pub name: String,
}

/// What YAML can say, as far as a policy needs it.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Nothing,
    Truth(bool),
    Number(i64),
    /// A fraction, or a number too large for anything here.
    OtherNumber,
    Text(String),
    List(Vec<Node>),
    /// In the order of the file, with keys that stand there twice.
    Map(Vec<(Key, Node)>),
}

impl Value {
    /// What it is called in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Truth(true) => "the truth value true",
            Self::Truth(false) => "the truth value false",
            Self::Number(_) | Self::OtherNumber => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads the file's text.
///
/// # Errors
/// The first place where it is not YAML, or is YAML of a kind that a policy does not need.
pub(super) fn parse(text: &str) -> Result<Node, Diagnostic> {
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; at most {MAX_BYTES} are read", text.len());
        return Err(Place::START.diagnostic(message, None));
    }
    // The byte order mark that some editors write in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---") {
        let message = "the file is empty; a policy begins with version: 1".to_owned();
        return Err(Place::START.diagnostic(message, Some("version: 1".to_owned())));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_nodes: 60_000,
            max_depth: 32,
            max_aliases: 500,
            max_anchors: 500,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 20_000, max_replay_stack_depth: 8 },
        // Told by the reader, with all the other mistakes.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        emit_comments: false,
    };
    serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options)
        .map(|root| node(root, Place::START))
        .map_err(|error| explain(&error, text))
}

/// A mistake in the YAML itself, in words.
fn explain(error: &Error, text: &str) -> Diagnostic {
    let at = error.location().map_or(Place::START, |l| place(l.line(), l.column(), Place::START));
    let error = match error.without_snippet() {
        Error::AliasError { error, .. } => error,
        error => error,
    };
    let (message, suggestion) = match error {
        Error::UnknownAnchor { .. } => {
            ("in YAML, * begins a reference; text that begins with it needs quotes".to_owned(), quoted(text, at, '*'))
        }
        Error::UnsupportedTag { .. } => {
            ("in YAML, ! begins a tag; text that begins with it needs quotes".to_owned(), quoted(text, at, '!'))
        }
        Error::MultipleDocuments { .. } | Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            ("the file holds more than one YAML document; remove the line with ---".to_owned(), None)
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::RecursiveReferencesRequireWeakTypes { .. } => {
            ("the file is nested too deeply or has too many values for a policy".to_owned(), None)
        }
        Error::NullIntoString { .. } => ("the key is empty: its name is missing before the colon".to_owned(), None),
        Error::Unexpected { .. } => ("a key must be text".to_owned(), None),
        other => {
            let words = other.to_string();
            // The place is told separately; what is left is the parser's own sentence.
            let words = words.lines().next().and_then(|line| line.split(" at line ").next()).unwrap_or_default();
            let quotes = words.contains("`@'") || words.contains("``'") || words.contains("`%'");
            let help = if quotes { "; text that begins with this character needs quotes" } else { "" };
            (format!("not valid YAML: {words}{help}"), None)
        }
    };
    at.diagnostic(message, suggestion)
}

/// The word of the file that begins with `mark` at or before a place, with quotes around it.
fn quoted(text: &str, at: Place, mark: char) -> Option<String> {
    let line = text.lines().nth(at.line - 1)?;
    let upto: Vec<char> = line.chars().take(at.column + 1).collect();
    let start = upto.iter().rposition(|c| *c == mark)?;
    let word: String = line.chars().skip(start).take_while(|c| !c.is_whitespace() && !",]}\"".contains(*c)).collect();
    Some(format!("\"{word}\""))
}

fn place(line: u64, column: u64, or: Place) -> Place {
    match (usize::try_from(line), usize::try_from(column)) {
        (Ok(line), Ok(column)) if line > 0 && column > 0 => Place { line, column },
        _ => or,
    }
}

/// What the deserializer gives, before the places are taken over.
enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn node(raw: Spanned<Raw>, parent: Place) -> Node {
    let at = place(raw.referenced.line(), raw.referenced.column(), parent);
    let value = match raw.value {
        Raw::Scalar(value) => value,
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, at)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let key_at = place(key.referenced.line(), key.referenced.column(), at);
                    (Key { at: key_at, name: key.value }, node(value, key_at))
                })
                .collect(),
        ),
    };
    Node { at, value }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Nothing))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Nothing))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Truth(truth)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Number(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(i64::try_from(number).map_or(Value::OtherNumber, Value::Number)))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::OtherNumber))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::OtherNumber))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::OtherNumber))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}
