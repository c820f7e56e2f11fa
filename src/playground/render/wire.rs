//! Render's objects and errors as JSON, as the specification writes them. Reads the model and never changes it.

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, Utc};
use http::StatusCode;
use serde_json::{Value, json};

use super::model::{Deploy, Service};

/// An answer that is not a success: status and what to tell the client.
#[derive(Debug)]
pub struct ApiError(pub StatusCode, pub String);

impl ApiError {
    /// 400
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }

    /// 404
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self(StatusCode::NOT_FOUND, format!("not found: {what}"))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let id = format!("err-{}", uuid::Uuid::new_v4().simple());
        (self.0, axum::Json(json!({"id": id, "message": self.1}))).into_response()
    }
}

/// A time as Render writes it.
fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The deploy object.
pub fn deploy(deploy: &Deploy) -> Value {
    let mut object = json!({
        "id": deploy.id,
        "commit": {
            "id": deploy.commit.id,
            "message": deploy.commit.message,
            "createdAt": time(deploy.commit.created_at),
        },
        "status": deploy.status.as_str(),
        "trigger": deploy.trigger.as_str(),
        "createdAt": time(deploy.created_at),
        "updatedAt": time(deploy.updated_at),
    });
    // Times that have not come are left out: the specification does not allow null.
    if let Some(at) = deploy.started_at {
        object["startedAt"] = time(at).into();
    }
    if let Some(at) = deploy.finished_at {
        object["finishedAt"] = time(at).into();
    }
    object
}

/// The service object of a web service.
pub fn service(service: &Service) -> Value {
    let (suspended, suspenders) =
        if service.suspended { ("suspended", vec!["user"]) } else { ("not_suspended", vec![]) };
    let mut native = json!({"buildCommand": "npm run build", "startCommand": "npm start"});
    if let Some(command) = &service.pre_deploy_command {
        native["preDeployCommand"] = command.as_str().into();
    }
    json!({
        "id": service.id,
        "autoDeploy": if service.auto_deploy { "yes" } else { "no" },
        "branch": service.source.branch,
        "createdAt": time(service.created_at),
        "dashboardUrl": service.url,
        "name": service.name,
        "notifyOnFail": "default",
        "ownerId": "tea-playground",
        "rootDir": "",
        "slug": service.name,
        "suspended": suspended,
        "suspenders": suspenders,
        "type": "web_service",
        "updatedAt": time(service.updated_at),
        "serviceDetails": {
            "buildPlan": "starter",
            "env": "node",
            "envSpecificDetails": native,
            "healthCheckPath": service.health_check_path.as_deref().unwrap_or_default(),
            "numInstances": 1,
            "openPorts": [],
            "plan": "starter",
            "region": "frankfurt",
            "runtime": "node",
            "url": service.url,
        },
    })
}

/// The cursor that stands for the place after the object with this id.
pub fn cursor(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(id)
}

/// The id that a cursor stands for.
pub fn read_cursor(cursor: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}
