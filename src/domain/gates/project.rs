//! Gates about the policy: that it can be read, and which project a command is for.

use super::{Gate, GateResult, fail, pass};
use crate::domain::command::CommandName;
use crate::domain::ids::ProjectName;
use crate::domain::lock::needed;
use crate::domain::markdown::{escape, inline_code};
use crate::domain::policy::{POLICY_PATH, Policy, Project};
use crate::domain::reason::Reason;
use crate::domain::run::RunKind;
use crate::domain::snapshot::{FilesFact, PolicyFact, Snapshot};

/// The project that a command is for: the named one, else the only one, else the only one that the change concerns.
/// `Ok(None)` only for a policy without projects, where `propose` still checks paths and builds.
pub fn choose_project(
    command: CommandName,
    named: Option<&ProjectName>,
    policy: &Policy,
    snapshot: &Snapshot,
) -> Result<Option<ProjectName>, Box<GateResult>> {
    let names: Vec<&ProjectName> = policy.projects.keys().collect();
    if let Some(name) = named {
        if policy.projects.contains_key(name) {
            return Ok(Some(name.clone()));
        }
        let known = names.iter().map(|n| inline_code(n.as_str())).collect::<Vec<_>>().join(", ");
        let way_out = match names.is_empty() {
            true => format!("add it under `projects` in `{POLICY_PATH}` on the base branch"),
            false => format!("use one of {known}"),
        };
        let observed = format!("no project {} in the policy", inline_code(name.as_str()));
        return Err(Box::new(fail(Gate::ProjectKnown, Reason::ProjectUnknown, observed, way_out)));
    }
    match names.as_slice() {
        [] if command == CommandName::Propose => Ok(None),
        [] => Err(Box::new(fail(
            Gate::ProjectKnown,
            Reason::ProjectUnknown,
            "the policy has no projects",
            format!("add one under `projects` in `{POLICY_PATH}` on the base branch"),
        ))),
        [only] => Ok(Some((*only).clone())),
        _ => {
            let concerned = concerned_projects(policy, snapshot);
            match concerned.as_slice() {
                [only] => Ok(Some((*only).clone())),
                several => {
                    let among = if several.is_empty() { names } else { several.to_vec() };
                    let commands: Vec<String> = among.iter().map(|n| format!("`/titan {command} {n}`")).collect();
                    Err(Box::new(fail(
                        Gate::ProjectKnown,
                        Reason::ProjectAmbiguous,
                        format!("this change could be meant for {} projects", among.len()),
                        format!("say which: {}", commands.join(" or ")),
                    )))
                }
            }
        }
    }
}

fn concerned_projects<'p>(policy: &'p Policy, snapshot: &Snapshot) -> Vec<&'p ProjectName> {
    let FilesFact::Complete(files) = &snapshot.files else { return Vec::new() };
    let concerned = |(name, project): (&'p ProjectName, &Project)| {
        crate::domain::paths::concerns(&project.paths, files).then_some(name)
    };
    policy.projects.iter().filter_map(concerned).collect()
}

pub(super) fn policy_valid(snapshot: &Snapshot) -> GateResult {
    let gate = Gate::PolicyValid;
    match &snapshot.policy {
        PolicyFact::Valid { policy, commit } => {
            let hash = &policy.hash[..policy.hash.len().min(12)];
            pass(gate, format!("`{POLICY_PATH}` at `{}`, hash `{hash}`", commit.short()))
        }
        PolicyFact::Missing => fail(
            gate,
            Reason::PolicyMissing,
            format!("no `{POLICY_PATH}` on branch {}", inline_code(&snapshot.change.base_ref)),
            format!("commit a `{POLICY_PATH}` there; a first one is `version: 1` and nothing else"),
        ),
        PolicyFact::Invalid(diagnostics) => {
            let first = diagnostics.first();
            let observed = first.map_or_else(
                || "the file has mistakes".to_owned(),
                |d| {
                    let instead = d.suggestion.as_deref().map(|text| format!("; write {}", inline_code(text)));
                    let message = escape(&d.message);
                    format!("line {}, column {}: {message}{}", d.line, d.column, instead.unwrap_or_default())
                },
            );
            let more = match diagnostics.len() {
                0 | 1 => String::new(),
                n => format!(" (and {} more)", n - 1),
            };
            fail(
                gate,
                Reason::PolicyInvalid,
                observed + &more,
                format!(
                    "mend the file on branch {}; `titan check-policy {POLICY_PATH}` shows every mistake in its line",
                    inline_code(&snapshot.change.base_ref)
                ),
            )
        }
    }
}

pub(super) fn project_known(
    kind: RunKind,
    chosen: &Result<Option<ProjectName>, Box<GateResult>>,
    policy: &Policy,
) -> GateResult {
    let gate = Gate::ProjectKnown;
    let name = match chosen {
        Err(refused) => return (**refused).clone(),
        Ok(None) => return pass(gate, "the policy has no projects; paths and build only"),
        Ok(Some(name)) => name,
    };
    let project = policy.projects.get(name);
    match needed(kind).iter().find(|e| project.and_then(|p| p.target(**e)).is_none()) {
        None => pass(gate, format!("project `{name}`")),
        Some(missing) => fail(
            gate,
            Reason::NoTarget,
            format!("project `{name}` has no `{missing}` service"),
            format!("add `{missing}:` to the project in `{POLICY_PATH}` on the base branch"),
        ),
    }
}
