//! The services of the simulated Render and their deploys.

use chrono::{DateTime, Utc};

use crate::playground::render::Render;
use crate::playground::render::model::{Deploy, Status};
use crate::playground::ui::view::{DeployRow, Mark, ServiceCard, ServicePanel, When};

/// How many deploys of a service are shown.
const SHOWN: usize = 15;

/// All services in short, by id.
pub fn cards(render: &Render) -> Vec<ServiceCard> {
    render.services().into_iter().map(|(id, name)| card(render, id, name)).collect()
}

fn card(render: &Render, id: String, name: String) -> ServiceCard {
    let health = match render.is_healthy(&id) {
        Some(true) => Mark::new("good", "healthy"),
        Some(false) => Mark::new("bad", "unhealthy"),
        None => Mark::new("quiet", "not running"),
    };
    let newest = render.deploys(&id).into_iter().next();
    let deploy = newest.filter(|deploy| deploy.status != Status::Live).map(|deploy| mark(deploy.status));
    let (url, commit) = (render.service_url(&id).unwrap_or_default(), render.live_commit(&id));
    ServiceCard { id, name, url, commit, health, deploy }
}

/// All services with their deploys, by id.
pub fn panels(render: &Render, now: DateTime<Utc>) -> Vec<ServicePanel> {
    let panel = |(id, name): (String, String)| ServicePanel {
        auto_deploy: render.auto_deploys(&id),
        deploys: render.deploys(&id).into_iter().take(SHOWN).map(|deploy| row(deploy, now)).collect(),
        card: card(render, id, name),
    };
    render.services().into_iter().map(panel).collect()
}

fn row(deploy: Deploy, now: DateTime<Utc>) -> DeployRow {
    DeployRow {
        mark: mark(deploy.status),
        trigger: deploy.trigger.as_str(),
        subject: deploy.commit.message.lines().next().unwrap_or_default().to_owned(),
        commit: deploy.commit.id,
        at: When::new(deploy.created_at, now),
        id: deploy.id,
        log: deploy.log,
    }
}

fn mark(status: Status) -> Mark {
    let kind = match status {
        Status::Live => "good",
        Status::Deactivated | Status::Canceled => "quiet",
        Status::BuildFailed | Status::PreDeployFailed | Status::UpdateFailed => "bad",
        _ => "busy",
    };
    Mark::new(kind, status.as_str().replace('_', " "))
}
