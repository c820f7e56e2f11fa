//! Deployments and their statuses. What GitHub makes of a new status is for `acts` to say.

use serde_json::{Value, json};

use super::{View, node_id, time};
use crate::playground::github::model::{Deployment, DeploymentStatus, Repository};

impl View<'_> {
    /// GitHub's `deployment`.
    pub fn deployment(&self, repository: &Repository, deployment: &Deployment) -> Value {
        let url = format!("{}/deployments/{}", self.repository_url(repository), deployment.id);
        json!({
            "url": url,
            "id": deployment.id,
            "node_id": node_id("DE", deployment.id),
            "task": deployment.task,
            "original_environment": deployment.environment,
            "environment": deployment.environment,
            "description": deployment.description,
            "created_at": time(deployment.created_at),
            "updated_at": time(deployment.updated_at),
            "statuses_url": format!("{url}/statuses"),
            "repository_url": self.repository_url(repository),
            "creator": self.user(&deployment.creator),
            "sha": deployment.sha,
            "ref": deployment.reference,
            "payload": deployment.payload,
            "transient_environment": deployment.transient,
            "production_environment": deployment.production,
            "performed_via_github_app": self.creator_app(&deployment.creator),
        })
    }

    /// GitHub's `deployment-status`.
    pub fn deployment_status(
        &self,
        repository: &Repository,
        deployment: &Deployment,
        status: &DeploymentStatus,
    ) -> Value {
        let url = format!("{}/deployments/{}", self.repository_url(repository), deployment.id);
        json!({
            "url": format!("{url}/statuses/{}", status.id),
            "id": status.id,
            "node_id": node_id("DES", status.id),
            "state": status.state,
            "creator": self.user(&status.creator),
            "description": status.description,
            "environment": status.environment,
            "target_url": status.log_url,
            "log_url": status.log_url,
            "environment_url": status.environment_url,
            "created_at": time(status.created_at),
            "updated_at": time(status.created_at),
            "deployment_url": url,
            "repository_url": self.repository_url(repository),
            "performed_via_github_app": self.creator_app(&status.creator),
        })
    }

    fn creator_app(&self, login: &str) -> Value {
        let app = &self.state.app;
        if login == app.bot_login() { self.app(app) } else { Value::Null }
    }
}
