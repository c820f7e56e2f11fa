//! From what people shall see to what the GitHub adapter takes. No decisions: word for word.

use crate::domain::report::{CheckButton, CheckConclusion, CheckNote, CheckState, CheckView};
use crate::domain::report::{DeploymentState, DeploymentView};
use crate::github::feedback::{
    self, Annotation, AnnotationLevel, CheckAction, CheckRunWrite, DeploymentStatusWrite, DeploymentWrite,
};

/// A check run as the adapter takes it; `nonces` has one for each button.
pub(super) fn check_run(view: &CheckView, nonces: &[String]) -> CheckRunWrite {
    CheckRunWrite {
        name: view.name.as_str().to_owned(),
        head: view.head.clone(),
        external_id: view.external_id.clone(),
        details_url: view.details_url.clone(),
        state: match view.state {
            CheckState::Queued => feedback::CheckState::Queued,
            CheckState::InProgress => feedback::CheckState::InProgress,
            CheckState::Completed(conclusion) => feedback::CheckState::Completed(match conclusion {
                CheckConclusion::Success => feedback::CheckConclusion::Success,
                CheckConclusion::Failure => feedback::CheckConclusion::Failure,
                CheckConclusion::Cancelled => feedback::CheckConclusion::Cancelled,
                CheckConclusion::ActionRequired => feedback::CheckConclusion::ActionRequired,
            }),
        },
        started_at: view.started_at,
        completed_at: view.completed_at,
        title: view.title.clone(),
        summary: view.summary.clone(),
        text: None,
        annotations: view.notes.iter().map(annotation).collect(),
        actions: view.buttons.iter().zip(nonces).map(|(button, nonce)| action(button, nonce)).collect(),
    }
}

fn annotation(note: &CheckNote) -> Annotation {
    let line = note.line.try_into().unwrap_or(1);
    Annotation {
        path: note.path.clone(),
        start_line: line,
        end_line: line,
        level: AnnotationLevel::Failure,
        message: note.message.clone(),
        title: Some(note.title.clone()),
    }
}

fn action(button: &CheckButton, nonce: &str) -> CheckAction {
    CheckAction {
        label: button.label.to_owned(),
        description: button.description.to_owned(),
        identifier: nonce.to_owned(),
    }
}

/// A deployment as the adapter takes it.
pub(super) fn deployment(view: &DeploymentView, clean: impl Fn(&str) -> String) -> DeploymentWrite {
    DeploymentWrite {
        commit: view.commit.clone(),
        environment: view.environment.clone(),
        description: clean(&view.description),
        run: view.run.to_string(),
        production: view.production,
    }
}

/// A deployment's state as the adapter takes it.
pub(super) fn deployment_status(view: &DeploymentView, clean: impl Fn(&str) -> String) -> DeploymentStatusWrite {
    DeploymentStatusWrite {
        state: match view.state {
            DeploymentState::InProgress => feedback::DeploymentState::InProgress,
            DeploymentState::Success => feedback::DeploymentState::Success,
            DeploymentState::Failure => feedback::DeploymentState::Failure,
            DeploymentState::Error => feedback::DeploymentState::Error,
            DeploymentState::Inactive => feedback::DeploymentState::Inactive,
        },
        description: clean(&view.description),
        log_url: Some(view.log_url.clone()),
        environment_url: view.environment_url.clone(),
        // GitHub does it for the canary; for production it would not, and Titan does.
        auto_inactive: !view.production,
    }
}
