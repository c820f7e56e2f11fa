//! What a branch's rules require before a merge: classic protection and rulesets.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::domain::snapshot::RequiredCheck;
use crate::github::call::{Call, encode};
use crate::github::wire::or_default;
use crate::github::{Access, GitHubError, RepoClient};

#[derive(Deserialize)]
struct BranchWire {
    #[serde(default, deserialize_with = "or_default")]
    protection: ProtectionWire,
}

#[derive(Deserialize, Default)]
struct ProtectionWire {
    #[serde(default, deserialize_with = "or_default")]
    required_status_checks: StatusChecksWire,
}

#[derive(Deserialize, Default)]
struct StatusChecksWire {
    #[serde(default, deserialize_with = "or_default")]
    enforcement_level: String,
    #[serde(default, deserialize_with = "or_default")]
    contexts: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    checks: Vec<CheckWire>,
}

#[derive(Deserialize)]
struct CheckWire {
    context: String,
    #[serde(default, alias = "integration_id")]
    app_id: Option<i64>,
}

#[derive(Deserialize)]
struct RuleWire {
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    parameters: ParametersWire,
}

#[derive(Deserialize, Default)]
struct ParametersWire {
    #[serde(default, deserialize_with = "or_default")]
    required_status_checks: Vec<CheckWire>,
}

impl From<CheckWire> for RequiredCheck {
    fn from(wire: CheckWire) -> Self {
        // Classic protection writes -1 for "any App".
        Self { name: wire.context, app: wire.app_id.filter(|id| *id > 0) }
    }
}

impl StatusChecksWire {
    /// A context that stands in both lists is the one check that the newer list describes.
    fn required(self) -> BTreeSet<RequiredCheck> {
        if self.enforcement_level == "off" {
            return BTreeSet::new();
        }
        let mut required: BTreeSet<RequiredCheck> = self.checks.into_iter().map(RequiredCheck::from).collect();
        for name in self.contexts {
            if !required.iter().any(|known| known.name == name) {
                required.insert(RequiredCheck { name, app: None });
            }
        }
        required
    }
}

impl RepoClient {
    /// The checks that must be green before something is merged into a branch.
    ///
    /// # Errors
    /// `NotFound` when there is no such branch.
    pub async fn list_required_checks(&self, branch: &str) -> Result<Vec<RequiredCheck>, GitHubError> {
        let branch = encode(branch);
        let found: BranchWire = self.read(Access::Read, &format!("/branches/{branch}")).await?;
        let mut required = found.protection.required_status_checks.required();
        let call = Call::get(self.path(&format!("/rules/branches/{branch}")));
        let rules = self.list_all(Access::Read, call, |page: Vec<RuleWire>| page).await;
        let rules = match rules {
            Ok(rules) => rules,
            // An older host has no rulesets, and neither has a plan that would have to be upgraded for them.
            Err(GitHubError::NotFound(_)) => Vec::new(),
            Err(GitHubError::Unauthorized(why)) if why.contains("Upgrade to ") => Vec::new(),
            Err(error) => return Err(error),
        };
        let checks = rules.into_iter().filter(|rule| rule.kind == "required_status_checks");
        required.extend(checks.flat_map(|rule| rule.parameters.required_status_checks).map(RequiredCheck::from));
        Ok(required.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protection_names_its_checks_in_two_lists() {
        let read = |json: serde_json::Value| {
            let wire = serde_json::from_value::<StatusChecksWire>(json).expect("an answer");
            wire.required().into_iter().map(|check| (check.name, check.app)).collect::<Vec<_>>()
        };
        let named = |name: &str, app| (name.to_owned(), app);
        let both = serde_json::json!({
            "enforcement_level": "non_admins", "contexts": ["ci", "lint"],
            "checks": [{"context": "ci", "app_id": 15368}, {"context": "old", "app_id": -1}],
        });
        assert_eq!(read(both), [named("ci", Some(15368)), named("lint", None), named("old", None)]);
        assert_eq!(read(serde_json::json!({"enforcement_level": "off", "contexts": ["ci"]})), []);
        assert_eq!(read(serde_json::json!({})), []);
    }
}
