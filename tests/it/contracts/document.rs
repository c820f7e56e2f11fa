//! Reading an OpenAPI document: where a reference leads, and its schemas turned into plain JSON Schema.
//!
//! Never interprets an exchange; it only hands out parts of the document.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent::decoded;
use serde_json::{Map, Value, json};

/// A parsed document. Places in it are JSON pointers without the leading `#`, such as `/components/schemas/deploy`.
pub struct Document {
    root: Value,
    /// OpenAPI 3.0 has `nullable` and ignores what stands beside a `$ref`; 3.1 is plain JSON Schema.
    is_3_0: bool,
}

/// Keywords whose value is one schema.
const ONE_SCHEMA: [&str; 4] = ["items", "additionalProperties", "not", "propertyNames"];
/// Keywords whose value is a list of schemas.
const SCHEMA_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords whose value is a map of schemas.
const SCHEMA_MAPS: [&str; 2] = ["properties", "patternProperties"];
/// Keywords that are taken over as they are.
const PLAIN: [&str; 17] = [
    "type",
    "enum",
    "const",
    "required",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
];

impl Document {
    /// Parses JSON text.
    ///
    /// # Panics
    /// When it is not an OpenAPI 3.0 or 3.1 document: then the installed contract is broken, not the code under test.
    pub fn parse(text: &[u8]) -> Self {
        let root: Value = serde_json::from_slice(text).expect("the OpenAPI file is JSON");
        let version = root["openapi"].as_str().expect("the OpenAPI file says its version").to_owned();
        assert!(version.starts_with("3.0.") || version.starts_with("3.1."), "OpenAPI {version} is not understood");
        Self { root, is_3_0: version.starts_with("3.0.") }
    }

    /// What stands at a place, references on the way and at the end followed; with the place where it really stands.
    pub fn find(&self, pointer: &str) -> Option<(String, &Value)> {
        let (mut at, mut value) = self.follow(String::new(), &self.root)?;
        for token in pointer.split('/').skip(1) {
            let name = token.replace("~1", "/").replace("~0", "~");
            let child = match value {
                Value::Object(map) => map.get(&name)?,
                Value::Array(list) => list.get(name.parse::<usize>().ok()?)?,
                _ => return None,
            };
            (at, value) = self.follow(format!("{at}/{token}"), child)?;
        }
        Some((at, value))
    }

    /// Like [`Document::find`], for a place below another.
    pub fn below(&self, pointer: &str, names: &[&str]) -> Option<(String, &Value)> {
        self.find(&names.iter().fold(pointer.to_owned(), |at, name| format!("{at}/{}", escaped(name))))
    }

    /// The names of an object's entries at a place; empty when there is none.
    pub fn names(&self, pointer: &str) -> Vec<String> {
        let found = self.find(pointer).and_then(|(_, value)| value.as_object());
        found.map(|map| map.keys().cloned().collect()).unwrap_or_default()
    }

    fn follow<'a>(&'a self, at: String, value: &'a Value) -> Option<(String, &'a Value)> {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.find(&decoded(reference.strip_prefix('#')?)),
            None => Some((at, value)),
        }
    }

    /// The schema at a place as one self-contained JSON Schema, with everything it refers to under `$defs`.
    ///
    /// Differences to the original, on purpose: `oneOf` becomes `anyOf`, because GitHub's branches overlap and an answer
    /// that fits two of them is not dishonest; annotations (descriptions, examples, defaults) are left out.
    pub fn json_schema(&self, pointer: &str) -> Value {
        let mut definitions = Map::new();
        let mut keys = Keys::default();
        let first = keys.of(pointer);
        while let Some((pointer, key)) = keys.waiting.pop() {
            let (_, schema) = self.find(&pointer).unwrap_or_else(|| panic!("nothing stands at {pointer}"));
            definitions.insert(key, self.converted(schema, &mut keys));
        }
        json!({ "$ref": format!("#/$defs/{first}"), "$defs": definitions })
    }

    fn converted(&self, schema: &Value, keys: &mut Keys) -> Value {
        let Value::Object(schema) = schema else { return schema.clone() };
        let mut result = Map::new();
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let key = keys.of(&decoded(reference.trim_start_matches('#')));
            result.insert("$ref".into(), json!(format!("#/$defs/{key}")));
            if self.is_3_0 {
                return Value::Object(result);
            }
        }
        for (keyword, value) in schema {
            let name = keyword.as_str();
            if name == "format" && schema.get("default").is_some_and(|default| default == "") {
                // GitHub really sends `environment_url: ""`: the default is valid whatever its format.
                continue;
            }
            if PLAIN.contains(&name) {
                result.insert(keyword.clone(), value.clone());
            } else if ONE_SCHEMA.contains(&name) {
                result.insert(keyword.clone(), self.converted(value, keys));
            } else if let (true, Value::Array(list)) = (SCHEMA_LISTS.contains(&name), value) {
                let converted = list.iter().map(|branch| self.converted(branch, keys)).collect();
                let one = name == "oneOf" || is_user_and_enterprise(list);
                let (name, value) = (if one { "anyOf" } else { name }, Value::Array(converted));
                add_list(&mut result, name, value);
            } else if let (true, Value::Object(map)) = (SCHEMA_MAPS.contains(&name), value) {
                let map = map.iter().map(|(name, schema)| (name.clone(), self.converted(schema, keys))).collect();
                result.insert(keyword.clone(), Value::Object(map));
            }
        }
        if self.is_3_0 && schema.get("nullable") == Some(&Value::Bool(true)) { or_null(result) } else { result.into() }
    }
}

/// A slip in GitHub's document: the account in the list of installations is said to be a user and an enterprise at once;
/// elsewhere the same account is one of the two.
fn is_user_and_enterprise(branches: &[Value]) -> bool {
    branches
        .iter()
        .map(|branch| branch.get("title").and_then(Value::as_str))
        .eq([Some("Simple User"), Some("Enterprise")])
}

/// A schema may have both `anyOf` and `oneOf`; as they become the same keyword, the second goes into an `allOf`.
fn add_list(schema: &mut Map<String, Value>, keyword: &str, list: Value) {
    if keyword == "anyOf" && schema.contains_key(keyword) {
        let both = schema.entry("allOf").or_insert_with(|| json!([]));
        if let Value::Array(all) = both {
            all.push(json!({ "anyOf": list }));
        }
    } else if let (Some(Value::Array(known)), Value::Array(list)) = (schema.get_mut(keyword), &list) {
        known.extend(list.iter().cloned());
    } else {
        schema.insert(keyword.into(), list);
    }
}

/// `nullable: true` said in JSON Schema. The short form keeps error messages readable.
fn or_null(mut schema: Map<String, Value>) -> Value {
    let composed = SCHEMA_LISTS.iter().any(|keyword| schema.contains_key(*keyword)) || schema.contains_key("$ref");
    match (composed, schema.get("type")) {
        (false, Some(Value::String(kind))) => {
            let kinds = json!([kind, "null"]);
            schema.insert("type".into(), kinds);
            if let Some(Value::Array(values)) = schema.get_mut("enum")
                && !values.contains(&Value::Null)
            {
                values.push(Value::Null);
            }
            schema.into()
        }
        _ => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

/// Short names for the places of one schema, and the places still to be read.
#[derive(Default)]
struct Keys {
    known: BTreeMap<String, String>,
    waiting: Vec<(String, String)>,
}

impl Keys {
    fn of(&mut self, pointer: &str) -> String {
        if let Some(key) = self.known.get(pointer) {
            return key.clone();
        }
        let key = format!("s{}", self.known.len());
        self.known.insert(pointer.to_owned(), key.clone());
        self.waiting.push((pointer.to_owned(), key.clone()));
        key
    }
}

/// A name as one token of a JSON pointer.
pub fn escaped(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) { name.replace('~', "~0").replace('/', "~1").into() } else { name.into() }
}

/// Percent-encoding.
pub mod percent {
    /// The text with `%XX` replaced; bytes that are not UTF-8 become replacement characters.
    pub fn decoded(text: &str) -> String {
        // the form rules would turn a plus into a space, which paths and pointers do not
        let pairs = format!("k={}", text.replace('+', "%2B").replace('&', "%26"));
        url::form_urlencoded::parse(pairs.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
    }
}
