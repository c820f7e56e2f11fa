//! GitHub's webhook payloads: is this something that GitHub would send?

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::document::{Document, escaped};
use super::schema::{Finding, Schema};
use super::spec::Violation;

/// The documented payloads.
pub struct Webhooks {
    document: Document,
    schemas: Mutex<HashMap<String, Arc<Schema>>>,
}

impl Webhooks {
    /// Reads GitHub's OpenAPI file of webhooks.
    ///
    /// # Panics
    /// When the file cannot be read or is not OpenAPI.
    pub fn load(file: &Path) -> Self {
        let text = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self { document: Document::parse(&text), schemas: Mutex::default() }
    }

    /// What is wrong with a payload of that event (`issue_comment`) and action (`created`; `None` for `push` and others
    /// that have none). Empty when GitHub could have sent it.
    pub fn check(&self, event: &str, action: Option<&str>, payload: &Value) -> Vec<Violation> {
        let name = match action {
            Some(action) => format!("{event}-{action}").replace('_', "-"),
            None => event.replace('_', "-"),
        };
        let findings = match self.schema(&name) {
            Some(schema) => schema.findings(payload),
            None => vec![Finding { place: String::new(), problem: "GitHub documents no such event and action".into() }],
        };
        let violation = |finding: Finding| Violation {
            exchange: format!("webhook {event} {}", action.unwrap_or_default()).trim_end().to_owned(),
            operation: format!("the documented webhook {name}"),
            place: format!("payload {}", finding.place).trim_end().to_owned(),
            problem: finding.problem,
        };
        findings.into_iter().map(violation).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<Schema>> {
        let place = format!("/webhooks/{}/post/requestBody/content/application~1json/schema", escaped(name));
        let (pointer, _) = self.document.find(&place)?;
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        let known = schemas.entry(name.to_owned());
        Some(known.or_insert_with(|| Arc::new(Schema::compile(self.document.json_schema(&pointer), name))).clone())
    }
}
