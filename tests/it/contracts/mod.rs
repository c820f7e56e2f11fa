//! Honest contracts: everything that Titan and the simulators say to each other is held against what GitHub and Render
//! publish about their APIs, so that no test passes by virtue of an invented field.
//!
//! The contracts are not part of this repository. GitHub's are npm packages that `script/test` installs below
//! `target/contracts`; Render's is a file named by `RENDER_OPENAPI`. Where one is absent the checks are skipped, with a
//! line that says so; with `CONTRACTS_REQUIRED=1`, which `script/test` sets, the absence of GitHub's is a failure.

mod document;
mod manners;
mod operation;
mod schema;
mod spec;
#[cfg(test)]
mod tests;
mod undeclared;
mod webhooks;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use titan::playground::exchange::CallLog;

pub use manners::Manners;
pub use spec::{Spec, Violation};
pub use webhooks::Webhooks;

/// GitHub's REST API; `None` when it is not installed.
pub fn github() -> Option<&'static Spec> {
    static SPEC: OnceLock<Option<Spec>> = OnceLock::new();
    let load = || Some(Spec::load(&installed("@octokit/openapi/generated/api.github.com.json")?, Manners::GitHub));
    SPEC.get_or_init(load).as_ref()
}

/// GitHub's webhook payloads; `None` when they are not installed.
pub fn webhooks() -> Option<&'static Webhooks> {
    static WEBHOOKS: OnceLock<Option<Webhooks>> = OnceLock::new();
    let load = || Some(Webhooks::load(&installed("@octokit/openapi-webhooks/generated/api.github.com.json")?));
    WEBHOOKS.get_or_init(load).as_ref()
}

/// Render's REST API; `None` when `RENDER_OPENAPI` is not set.
pub fn render() -> Option<&'static Spec> {
    static SPEC: OnceLock<Option<Spec>> = OnceLock::new();
    let load = || match std::env::var_os("RENDER_OPENAPI") {
        Some(file) => Some(Spec::load(Path::new(&file), Manners::Render)),
        None => skipped("Render's contract", "RENDER_OPENAPI does not name its file"),
    };
    SPEC.get_or_init(load).as_ref()
}

/// The example payloads that GitHub publishes, as a list of `{name, examples: […]}`; `None` when not installed.
pub fn webhook_examples() -> Option<Value> {
    let file = installed("@octokit/webhooks-examples/api.github.com/index.json")?;
    let text = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Some(serde_json::from_slice(&text).expect("the examples are JSON"))
}

/// Fails when an exchange or a webhook of a test is not what GitHub and Render document. `deliveries` are the event names
/// and payloads that the simulated GitHub sent.
///
/// # Panics
/// With every violation: operation, place in the document, what is wrong.
pub fn assert_honest(github_log: &CallLog, render_log: &CallLog, deliveries: &[(String, Value)]) {
    let mut violations = Vec::new();
    for (spec, log) in [(github(), github_log), (render(), render_log)] {
        // What a fault answers is meant to be nothing that is documented.
        for exchange in spec.iter().flat_map(|_| log.all()).filter(|exchange| !exchange.made_up) {
            violations.extend(spec.iter().flat_map(|spec| spec.check(&exchange)));
        }
    }
    for (event, payload) in deliveries {
        violations.extend(webhooks().iter().flat_map(|known| known.check(event, payload["action"].as_str(), payload)));
    }
    let mut told: Vec<String> = violations.iter().map(Violation::to_string).collect();
    told.dedup();
    assert!(told.is_empty(), "{} things that GitHub or Render do not document:\n\n{}\n", told.len(), told.join("\n\n"));
}

fn installed(file: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/contracts/node_modules").join(file);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CONTRACTS_REQUIRED").is_none(), "{file} is not installed; script/test does it");
    skipped(file, "it is not installed; script/test does it")
}

fn skipped<T>(what: &str, why: &str) -> Option<T> {
    eprintln!("SKIPPED: nothing is checked against {what}: {why}");
    None
}
