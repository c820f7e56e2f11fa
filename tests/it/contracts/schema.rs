//! One JSON Schema, compiled: what is wrong with a value, said so that a person finds the place.
//!
//! Knows nothing of HTTP.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, ValidationError, Validator};
use serde_json::Value;

use super::undeclared::undeclared;

/// Something wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// JSON pointer into the value; empty for the whole.
    pub place: String,
    /// What is wrong, in words.
    pub problem: String,
}

/// A compiled schema.
pub struct Schema {
    root: Value,
    validator: Validator,
}

impl Schema {
    /// Compiles a self-contained JSON Schema as made by [`super::document::Document::json_schema`].
    ///
    /// # Panics
    /// When it cannot be compiled: the installed contract is broken, not the code under test.
    pub fn compile(root: Value, name: &str) -> Self {
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
        let options = options.with_format("email", is_email);
        let validator = options.build(&root).unwrap_or_else(|error| panic!("the schema of {name} is broken: {error}"));
        Self { root, validator }
    }

    /// Whether the value is valid, leaving undeclared properties aside.
    pub fn accepts(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }

    /// Everything wrong with the value, including properties that the schema does not declare.
    pub fn findings(&self, value: &Value) -> Vec<Finding> {
        let mut findings = Vec::new();
        for error in self.validator.iter_errors(value) {
            explain(&error, &mut findings);
        }
        findings.extend(
            undeclared(&self.root, value)
                .into_iter()
                .map(|place| Finding { place, problem: "is not declared in the contract".into() }),
        );
        findings.sort();
        findings.dedup();
        if findings.is_empty() && !self.accepts(value) {
            let problem = format!("{} fits none of the documented alternatives", shortened(value));
            findings.push(Finding { place: String::new(), problem });
        }
        findings
    }
}

/// Looser than the standard, because GitHub's own addresses of bots break it: `1+titan[bot]@users.noreply.github.com`.
fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains('@'))
}

/// Says what is wrong; of alternatives, the one that came closest.
fn explain(error: &ValidationError<'_>, findings: &mut Vec<Finding>) {
    match error.kind() {
        ValidationErrorKind::AnyOf { context } => {
            let place = error.instance_path().as_str();
            let closest = context.iter().min_by_key(|errors| distance(place, errors));
            match closest {
                Some(errors) if !errors.is_empty() => errors.iter().for_each(|error| explain(error, findings)),
                _ => findings.push(finding(error)),
            }
        }
        // told by name by `undeclared`
        ValidationErrorKind::AdditionalProperties { .. } | ValidationErrorKind::FalseSchema => {}
        _ => findings.push(finding(error)),
    }
}

/// How far a value is from a branch: a branch for another type or another discriminating value is the farthest.
fn distance(place: &str, errors: &[ValidationError<'_>]) -> (bool, usize) {
    let other_type =
        |error: &ValidationError<'_>| error.instance_path().as_str() == place && error.kind().keyword() == "type";
    (errors.iter().any(other_type), errors.len())
}

fn finding(error: &ValidationError<'_>) -> Finding {
    let problem = error.masked_with(shortened(error.instance())).to_string();
    Finding { place: error.instance_path().as_str().to_owned(), problem: cut(problem, 400) }
}

fn shortened(value: &Value) -> String {
    cut(value.to_string(), 80)
}

fn cut(text: String, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
