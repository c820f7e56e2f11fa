//! Properties that a schema does not declare.
//!
//! GitHub's schemas are open: a misspelt or invented property is valid JSON Schema. Here it is not. Only looks for such
//! properties; whether the rest is valid is the validator's business.

use serde_json::{Map, Value};

/// The places (JSON pointers) of all properties of `value` that nothing in the schema declares. An object whose schema
/// says nothing about its properties is free-form and has none; `additionalProperties: true` beside declared properties
/// declares nothing, because OpenAPI means the same when it is absent.
pub fn undeclared(root: &Value, value: &Value) -> Vec<String> {
    let mut places = Vec::new();
    Walk { root }.value(&[root], value, "", &mut places);
    places
}

struct Walk<'a> {
    root: &'a Value,
}

/// What the schemas that apply to one object say about its properties.
#[derive(Default)]
struct Declared<'a> {
    schemas: Vec<&'a Map<String, Value>>,
}

impl<'a> Walk<'a> {
    fn value(&self, schemas: &[&'a Value], value: &Value, place: &str, places: &mut Vec<String>) {
        let mut declared = Declared::default();
        for schema in schemas {
            self.collect(schema, value, &mut declared);
        }
        match value {
            Value::Object(map) => self.object(&declared, map, place, places),
            Value::Array(items) => {
                let schemas: Vec<_> = declared.schemas.iter().filter_map(|schema| schema.get("items")).collect();
                for (index, item) in items.iter().enumerate() {
                    self.value(&schemas, item, &format!("{place}/{index}"), places);
                }
            }
            _ => {}
        }
    }

    fn object(&self, declared: &Declared<'a>, map: &Map<String, Value>, place: &str, places: &mut Vec<String>) {
        if declared.is_free_form() {
            return;
        }
        for (name, value) in map {
            let place = format!("{place}/{}", super::document::escaped(name));
            let schemas = declared.property(name);
            if schemas.is_empty() {
                places.push(place);
            } else {
                self.value(&schemas, value, &place, places);
            }
        }
    }

    /// Gathers the schema and everything it is made of that can apply to this value.
    fn collect(&self, schema: &'a Value, value: &Value, declared: &mut Declared<'a>) {
        let Some(map) = schema.as_object() else { return };
        declared.schemas.push(map);
        if let Some(target) = self.target(map) {
            self.collect(target, value, declared);
        }
        for part in list(map, "allOf") {
            self.collect(part, value, declared);
        }
        let branches = list(map, "anyOf");
        let plausible: Vec<_> = branches.iter().filter(|branch| self.is_plausible(branch, value)).collect();
        // when no branch fits, the validator reports it; every branch counts here, so that one mistake is told once
        let applying = if plausible.is_empty() { branches.iter().collect() } else { plausible };
        for branch in applying {
            self.collect(branch, value, declared);
        }
    }

    /// Whether a branch can be meant: the type fits, no required property is missing, no plain property has another value
    /// than the branch asks for. Cheaper than validating it.
    fn is_plausible(&self, schema: &Value, value: &Value) -> bool {
        let Some(map) = schema.as_object() else { return true };
        let fits = |schema: &Value| self.is_plausible(schema, value);
        let branches = list(map, "anyOf");
        has_type(map, value)
            && has_allowed_value(map, value)
            && self.target(map).is_none_or(fits)
            && list(map, "allOf").iter().all(fits)
            && (branches.is_empty() || branches.iter().any(fits))
            && value.as_object().is_none_or(|object| self.has_plausible_properties(map, object))
    }

    fn has_plausible_properties(&self, schema: &Map<String, Value>, object: &Map<String, Value>) -> bool {
        let required = list(schema, "required").iter().filter_map(Value::as_str);
        let declared = schema.get("properties").and_then(Value::as_object);
        required.into_iter().all(|name| object.contains_key(name))
            && declared.is_none_or(|properties| {
                properties.iter().all(|(name, schema)| {
                    let (Some(value), Some(schema)) = (object.get(name), schema.as_object()) else { return true };
                    has_type(schema, value) && has_allowed_value(schema, value)
                })
            })
    }

    fn target(&self, schema: &Map<String, Value>) -> Option<&'a Value> {
        self.root.pointer(schema.get("$ref")?.as_str()?.trim_start_matches('#'))
    }
}

impl<'a> Declared<'a> {
    fn is_free_form(&self) -> bool {
        self.schemas.iter().all(|schema| {
            let of_map = ["properties", "patternProperties"].iter().all(|keyword| match schema.get(*keyword) {
                Some(Value::Object(map)) => map.is_empty(),
                _ => true,
            });
            of_map && !schema.get("additionalProperties").is_some_and(|more| more.is_object() || more == false)
        })
    }

    /// The schemas that declare a property. Pattern properties are taken as declaring every name: the validator checks
    /// those that match.
    fn property(&self, name: &str) -> Vec<&'a Value> {
        let mut found = Vec::new();
        for schema in &self.schemas {
            let named = schema.get("properties").and_then(|properties| properties.get(name));
            let other = schema.get("additionalProperties").filter(|more| more.is_object());
            found.extend(named.or(other));
            if named.is_none()
                && let Some(Value::Object(patterns)) = schema.get("patternProperties")
            {
                found.extend(patterns.values());
            }
        }
        found
    }
}

fn list<'a>(schema: &'a Map<String, Value>, keyword: &str) -> &'a [Value] {
    schema.get(keyword).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn has_type(schema: &Map<String, Value>, value: &Value) -> bool {
    let is = |kind: &str| match kind {
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        _ => true,
    };
    match schema.get("type") {
        Some(Value::String(kind)) => is(kind),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}

fn has_allowed_value(schema: &Map<String, Value>, value: &Value) -> bool {
    let allowed = list(schema, "enum");
    (allowed.is_empty() || allowed.contains(value)) && schema.get("const").is_none_or(|only| only == value)
}
