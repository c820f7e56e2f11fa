//! One published API: is an exchange something that its documentation knows?
//!
//! Checks what both sides said: Titan's request and the simulator's answer. Never judges whether the answer was the
//! right one; that is the business of the tests of the simulator.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::Value;
use titan::playground::exchange::Exchange;

use super::document::Document;
use super::manners::Manners;
use super::operation::{self, Operation, Parameter, PathValues};
use super::schema::{Finding, Schema};

/// Something in an exchange that the documentation does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The request and its answer, in short.
    pub exchange: String,
    /// The documented operation, such as `POST /repos/{owner}/{repo}/check-runs`; or that there is none.
    pub operation: String,
    /// Where: `query parameter per_page`, `request body /output/title`.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    of {}\n    {}: {}", self.exchange, self.operation, self.place, self.problem)
    }
}

/// A published API.
pub struct Spec {
    document: Document,
    operations: Vec<Operation>,
    manners: Manners,
    schemas: Mutex<HashMap<String, Arc<Schema>>>,
}

impl Spec {
    /// Reads an OpenAPI file.
    ///
    /// # Panics
    /// When the file cannot be read or is not OpenAPI.
    pub fn load(file: &Path, manners: Manners) -> Self {
        let text = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let document = Document::parse(&text);
        let operations = Operation::read_all(&document);
        Self { document, operations, manners, schemas: Mutex::default() }
    }

    /// What the document gives as the first example of a content, `["responses", "200"]` or `["requestBody"]`; `None` when
    /// there is none.
    pub fn example(&self, method: &str, template: &str, part: &[&str]) -> Option<Value> {
        let mut operations = self.operations.iter();
        let operation = operations.find(|known| known.method == method && known.template == template)?;
        let (content, _) =
            self.document.below(&operation.pointer, &[part, &["content", "application/json"]].concat())?;
        let first = self.document.names(&format!("{content}/examples")).into_iter().next()?;
        self.document.below(&content, &["examples", &first, "value"]).map(|(_, value)| value.clone())
    }

    /// Everything about the exchange that the documentation does not know; empty when it is honest.
    pub fn check(&self, exchange: &Exchange) -> Vec<Violation> {
        if let Some(violations) = self.manners.check_outside_the_document(exchange) {
            return violations;
        }
        let path = self.manners.without_base(&exchange.path);
        let violation = |operation: &str, finding: Finding| Violation {
            exchange: format!("{exchange:?}"),
            operation: operation.to_owned(),
            place: finding.place,
            problem: finding.problem,
        };
        match operation::find(&self.operations, &exchange.method, path) {
            Err(problem) => vec![violation("no documented operation", at("path", problem))],
            Ok((operation, values)) => {
                let name = format!("{} {}", operation.method, operation.template);
                let mut findings = self.parameters(operation, &values, exchange.query.as_deref());
                findings.extend(self.request_body(operation, exchange));
                findings.extend(self.manners.check_request(operation, self.facts(operation), exchange));
                findings.extend(self.response(operation, exchange));
                findings.into_iter().map(|finding| violation(&name, finding)).collect()
            }
        }
    }

    fn facts(&self, operation: &Operation) -> &Value {
        self.document.find(&operation.pointer).map_or(&Value::Null, |(_, facts)| facts)
    }

    fn parameters(&self, operation: &Operation, in_path: &PathValues, query: Option<&str>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, value) in in_path {
            let parameter = operation.parameter("path", name);
            findings.extend(parameter.and_then(|parameter| self.parameter(parameter, std::slice::from_ref(value))));
        }
        let mut given: Vec<(String, Vec<String>)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match given.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value.into_owned()),
                None => given.push((name.into_owned(), vec![value.into_owned()])),
            }
        }
        for (name, values) in &given {
            match operation.parameter("query", name) {
                Some(parameter) => findings.extend(self.parameter(parameter, values)),
                None => findings.push(at(format!("query parameter {name}"), "is not documented for this operation")),
            }
        }
        let missing = |parameter: &&Parameter| {
            parameter.kind == "query" && parameter.required && given.iter().all(|(name, _)| *name != parameter.name)
        };
        for parameter in operation.parameters.iter().filter(missing) {
            findings.push(at(format!("query parameter {}", parameter.name), "is required and missing"));
        }
        findings
    }

    /// Text on the wire has no type: it is right when one way to read it is.
    fn parameter(&self, parameter: &Parameter, values: &[String]) -> Option<Finding> {
        let schema = self.schema(&parameter.schema);
        let parts: Vec<String> = match parameter.is_comma_list {
            true => values.iter().flat_map(|value| value.split(',')).map(str::to_owned).collect(),
            false => values.to_vec(),
        };
        let texts: Vec<Value> = parts.iter().map(|part| Value::from(part.as_str())).collect();
        let numbers: Vec<Value> = parts.iter().map(|part| typed(part)).collect();
        let mut readings = vec![Value::Array(texts), Value::Array(numbers)];
        if let [value] = values {
            readings.extend([Value::from(value.as_str()), typed(value)]);
        }
        if readings.iter().any(|reading| schema.accepts(reading)) {
            return None;
        }
        // the reading that gets furthest names the mistake best; of equals the plainest, which is the last
        let findings = readings.iter().filter_map(|reading| schema.findings(reading).into_iter().next());
        let problem = findings.max_by_key(|finding| finding.place.len()).map(|finding| finding.problem);
        Some(at(format!("{} parameter {}", parameter.kind, parameter.name), problem.unwrap_or_default()))
    }

    fn request_body(&self, operation: &Operation, exchange: &Exchange) -> Vec<Finding> {
        let Some((pointer, body)) = self.document.below(&operation.pointer, &["requestBody"]) else {
            let unexpected = !exchange.request_body.is_empty();
            return unexpected.then(|| at("request body", "this operation takes none")).into_iter().collect();
        };
        if exchange.request_body.is_empty() {
            let required = body["required"] == true;
            return required.then(|| at("request body", "is required and missing")).into_iter().collect();
        }
        let kind = media_type(exchange.request_header("content-type"));
        self.content(&pointer, &kind, &exchange.request_body, "request body")
    }

    fn response(&self, operation: &Operation, exchange: &Exchange) -> Vec<Finding> {
        if exchange.status == 0 {
            return Vec::new();
        }
        let status = exchange.status.to_string();
        let Some((pointer, response)) = self.document.below(&operation.pointer, &["responses", &status]) else {
            if self.manners.knows_status(exchange) {
                return Vec::new();
            }
            let known = self.document.names(&format!("{}/responses", operation.pointer)).join(", ");
            return vec![at("response status", format!("{status} is not documented, only {known}"))];
        };
        if !(200..300).contains(&exchange.status) {
            return Vec::new();
        }
        let documented = response["content"].as_object().is_some_and(|content| !content.is_empty());
        match (documented, exchange.response_body.is_empty()) {
            (false, true) => Vec::new(),
            (false, false) => vec![at("response body", format!("a {status} of this operation has none"))],
            (true, true) => vec![at("response body", "is documented and missing")],
            (true, false) => {
                let kind = media_type(exchange.response_header("content-type"));
                if self.manners.is_asked_for_medium(exchange, &kind) {
                    return Vec::new();
                }
                self.content(&pointer, &kind, &exchange.response_body, "response body")
            }
        }
    }

    /// Checks a body against the schema of its media type.
    fn content(&self, pointer: &str, kind: &str, body: &Bytes, what: &str) -> Vec<Finding> {
        let known = self.document.names(&format!("{pointer}/content"));
        let Some(key) = known.iter().find(|known| media_type(Some(known)) == kind) else {
            let known = known.join(", ");
            return vec![at(what, format!("the content type '{kind}' is not documented, only {known}"))];
        };
        let Some((schema, _)) = self.document.below(pointer, &["content", key, "schema"]) else { return Vec::new() };
        if !kind.ends_with("json") {
            return Vec::new();
        }
        match serde_json::from_slice::<Value>(body) {
            Err(error) => vec![at(what, format!("is not JSON: {error}"))],
            Ok(value) => {
                let findings = self.schema(&schema).findings(&value).into_iter();
                findings.map(|found| at(format!("{what} {}", found.place).trim_end(), found.problem)).collect()
            }
        }
    }

    /// Compiled once and kept: the same few operations are checked hundreds of times.
    fn schema(&self, pointer: &str) -> Arc<Schema> {
        let mut schemas = self.schemas.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = schemas.entry(pointer.to_owned());
        known.or_insert_with(|| Arc::new(Schema::compile(self.document.json_schema(pointer), pointer))).clone()
    }
}

fn at(place: impl Into<String>, problem: impl Into<String>) -> Finding {
    Finding { place: place.into(), problem: problem.into() }
}

/// A content type without its parameters; GitHub's own types carry `+json`, which its document leaves out.
fn media_type(header: Option<&str>) -> String {
    let essence = header.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence.starts_with("application/vnd.github") { essence.trim_end_matches("+json").to_owned() } else { essence }
}

/// A text of the wire as the number or boolean that it looks like.
fn typed(text: &str) -> Value {
    let scalar = serde_json::from_str::<Value>(text).ok().filter(|value| value.is_number() || value.is_boolean());
    scalar.unwrap_or_else(|| text.into())
}
