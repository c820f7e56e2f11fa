//! Gates about the code: which files it touches, and whether it was built.

use super::{Gate, GateResult, fail, pass};
use crate::domain::ids::{CommitSha, ProjectName};
use crate::domain::markdown::{escape, inline_code};
use crate::domain::paths::PathRules;
use crate::domain::policy::{POLICY_PATH, Policy};
use crate::domain::reason::Reason;
use crate::domain::run::{Conclusion, RunKind, RunStatus};
use crate::domain::snapshot::{FilesFact, RunFact, Snapshot};

pub(super) fn protected_paths(policy: &Policy, snapshot: &Snapshot) -> GateResult {
    let gate = Gate::ProtectedPaths;
    let files = match &snapshot.files {
        FilesFact::Complete(files) => files,
        FilesFact::CutOff { listed, expected } => {
            let of = expected.map_or_else(String::new, |n| format!(" of {n}"));
            return fail(
                gate,
                Reason::FilesCutOff,
                format!("GitHub listed only {listed}{of} changed files"),
                "split the change so that every file can be judged",
            );
        }
    };
    let Ok(rules) = PathRules::new(&policy.paths) else {
        return fail(
            gate,
            Reason::PolicyInvalid,
            "a path pattern of the policy cannot be used",
            format!("mend `{POLICY_PATH}`"),
        );
    };
    match rules.judge(files).as_slice() {
        [] => pass(gate, format!("{} changed files, none protected", files.len())),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            fail(
                gate,
                Reason::ProtectedPath,
                format!("{}{more}: {}", inline_code(&first.path), escape(&first.reason)),
                "take these files out of the change; check `titan/paths` lists them",
            )
        }
    }
}

pub(super) fn newest<'s>(
    runs: &'s [RunFact],
    kind: RunKind,
    project: Option<&ProjectName>,
    head: &CommitSha,
) -> Option<&'s RunFact> {
    runs.iter().find(|run| {
        run.kind == kind
            && run.head == *head
            && run.project.as_ref() == project
            && !matches!(run.status, RunStatus::Completed(Conclusion::Refused | Conclusion::Cancelled))
    })
}

/// The base that a run was decided for, in words.
pub(super) fn base_of(run: &RunFact) -> String {
    run.base_ref.as_deref().map_or_else(|| "a base that was not noted down".to_owned(), inline_code)
}

pub(super) fn build_passed(policy: &Policy, project: Option<&ProjectName>, snapshot: &Snapshot) -> GateResult {
    let gate = Gate::BuildPassed;
    let head = &snapshot.change.head;
    let short = head.short();
    match newest(&snapshot.runs, RunKind::Propose, project, head) {
        None => fail(gate, Reason::BuildMissing, format!("`{short}` has no build"), "`/titan propose` first"),
        Some(run) if run.is_under_way() => {
            fail(gate, Reason::BuildRunning, format!("`{short}` is being built"), "wait for check `titan/build`")
        }
        Some(run) if run.succeeded() && !run.is_for_base(&snapshot.change) => fail(
            gate,
            Reason::BuildMissing,
            format!("`{short}` was proposed for {}", base_of(run)),
            "`/titan propose` again, because the pull request goes to another branch now",
        ),
        Some(run) if run.succeeded() && run.policy_hash.as_deref() != Some(policy.hash.as_str()) => fail(
            gate,
            Reason::BuildMissing,
            format!("`{short}` was built under an older policy"),
            "`/titan propose` again, because the policy has changed since",
        ),
        Some(run) if run.succeeded() => pass(gate, format!("`{short}` was built")),
        Some(_) => fail(
            gate,
            Reason::BuildFailed,
            format!("the proposal of `{short}` failed"),
            "look at checks `titan/paths` and `titan/build`, push a fix and `/titan propose`",
        ),
    }
}
