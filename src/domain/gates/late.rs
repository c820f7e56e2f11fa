//! The gate of a command that arrives long after it was given.

use super::{Gate, GateResult, fail};
use crate::domain::command::{Command, CommandName};
use crate::domain::markdown::inline_code;
use crate::domain::reason::Reason;
use crate::domain::recovery::{LATE, is_late};
use crate::domain::snapshot::{HeadBinding, Snapshot};

/// The gate of a command that comes too late to be carried out; `None` when it does not. The way out is the command
/// again, ready to be given.
pub fn too_late(command: &Command, snapshot: &Snapshot) -> Option<GateResult> {
    let Snapshot { given_at, reached_at, read_at, .. } = *snapshot;
    if !is_late(command.name, given_at, reached_at, read_at) {
        return None;
    }
    let given = given_at.format("%Y-%m-%d %H:%M UTC");
    let when = match (reached_at - given_at > LATE, (read_at - given_at).num_minutes()) {
        (true, _) => format!("given {given} and arrived {} minutes later", (reached_at - given_at).num_minutes()),
        (false, minutes) => format!("given {given} and could not be decided for {minutes} minutes"),
    };
    let project = command.project.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let again = format!("/titan {}{project}", command.name);
    let head = snapshot.change.head.short();
    let pinned = matches!(command.name, CommandName::Canary | CommandName::Promote | CommandName::Trust);
    let (observed, way_out) = match &snapshot.binding {
        _ if !pinned => (when, format!("if you still want it: `{again}`")),
        HeadBinding::Current => {
            (format!("{when}, meant for `{head}`"), format!("if you still want it: `{again} @{head}`"))
        }
        HeadBinding::Other { meant } => (
            format!("{when}, meant for {}, the head is `{head}` now", inline_code(meant)),
            format!("look at the new commits; if you still want it: `{again} @{head}`"),
        ),
        HeadBinding::Collides { .. } | HeadBinding::Ambiguous { .. } => {
            (when, format!("look at the head; if you still want it: `{again} @{head}`"))
        }
    };
    Some(fail(Gate::InTime, Reason::Late, observed, way_out))
}
