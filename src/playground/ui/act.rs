//! What a person does on the pages: each form is one act at the simulated GitHub or Render, then back to the page.
//!
//! GitHub's own rules hold: who may only read can comment and approve, but neither label nor push. What is refused is
//! told on the page.

use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::{COOKIE, Ui, known_person, person};
use crate::playground::github::model::Role;
use crate::playground::github::{GitHub, SimError};
use crate::playground::render::behaviour::Health;
use crate::playground::render::model::Phase;
use crate::playground::sample::{self, LABEL, REPOSITORY};

#[derive(Deserialize)]
pub(super) struct Choice {
    person: String,
    back: String,
}

/// Remembers who one is.
pub(super) async fn choose_person(Form(choice): Form<Choice>) -> Response {
    let back = if choice.back.starts_with('/') && !choice.back.starts_with("//") { choice.back } else { "/".into() };
    match known_person(&choice.person) {
        Some((login, _)) => ([(header::SET_COOKIE, cookie(login))], Redirect::to(&back)).into_response(),
        None => Redirect::to(&back).into_response(),
    }
}

fn cookie(login: &str) -> String {
    format!("{COOKIE}={login}; Path=/; SameSite=Lax; HttpOnly")
}

#[derive(Deserialize)]
pub(super) struct NewComment {
    person: String,
    #[serde(default)]
    body: String,
    /// A command whose button was pressed instead of writing.
    quick: Option<String>,
}

/// Writes a comment.
pub(super) async fn comment(
    State(ui): State<Ui>,
    Path(number): Path<u64>,
    headers: HeaderMap,
    Form(new): Form<NewComment>,
) -> Response {
    let login = known_person(&new.person).map_or_else(|| person(&headers), |(login, _)| login.to_owned());
    let cookie = cookie(&login);
    let body = new.quick.unwrap_or(new.body).replace("\r\n", "\n");
    let done = act(ui, move |github| github.comment(REPOSITORY, number, &login, &body).map(|_| ())).await;
    ([(header::SET_COOKIE, cookie)], back_to(number, "#checks", done)).into_response()
}

#[derive(Deserialize)]
pub(super) struct Press {
    check: u64,
    identifier: String,
}

/// Presses a button of a check run.
pub(super) async fn press(
    State(ui): State<Ui>,
    Path(number): Path<u64>,
    headers: HeaderMap,
    Form(press): Form<Press>,
) -> Redirect {
    let login = person(&headers);
    let done = act(ui, move |github| {
        need(github, &login, Role::Write, "press a check's button")?;
        github.press_check_button(REPOSITORY, press.check, &press.identifier, &login)
    });
    back_to(number, "#checks", done.await)
}

#[derive(Deserialize)]
pub(super) struct Change {
    /// `add` or `remove` a label.
    change: Option<String>,
}

/// Labels, pushes to, updates, approves, closes or reopens a pull request.
pub(super) async fn change_pull(
    State(ui): State<Ui>,
    Path((number, what)): Path<(u64, String)>,
    headers: HeaderMap,
    Form(form): Form<Change>,
) -> Redirect {
    let login = person(&headers);
    let done = act(ui, move |github| match what.as_str() {
        "label" => {
            need(github, &login, Role::Triage, "change labels")?;
            match form.change.as_deref() {
                Some("remove") => github.unlabel(REPOSITORY, number, &login, LABEL),
                _ => github.label(REPOSITORY, number, &login, LABEL),
            }
        }
        "push" => {
            need(github, &login, Role::Write, "push")?;
            sample::push(github, number, &login)
        }
        "update-branch" => {
            need(github, &login, Role::Write, "update a branch")?;
            github.update_branch(REPOSITORY, number, &login)
        }
        "approve" => github.review(REPOSITORY, number, &login, "APPROVED", "").map(|_| ()),
        "close" => {
            need(github, &login, Role::Triage, "close")?;
            github.close(REPOSITORY, number, &login)
        }
        "reopen" => {
            need(github, &login, Role::Triage, "reopen")?;
            github.reopen(REPOSITORY, number, &login)
        }
        other => Err(SimError::NotFound(format!("the act {other}"))),
    });
    back_to(number, "", done.await)
}

#[derive(Deserialize)]
pub(super) struct ServiceChange {
    health: Option<String>,
    fail: Option<String>,
}

/// Makes a service ill or well, or its next deploy fail.
pub(super) async fn change_service(
    State(ui): State<Ui>,
    Path(id): Path<String>,
    Form(change): Form<ServiceChange>,
) -> Redirect {
    match change.health.as_deref() {
        Some("failing") => ui.render.force_health(&id, Some(Health::Failing)),
        Some("ok") => ui.render.force_health(&id, Some(Health::Ok)),
        Some(_) => ui.render.force_health(&id, None),
        None => {}
    }
    match change.fail.as_deref() {
        Some("build") => ui.render.fail_next_deploy(&id, Phase::Build),
        Some(_) => ui.render.fail_next_deploy(&id, Phase::Update),
        None => {}
    }
    Redirect::to("/services")
}

/// Does something at GitHub, away from the async threads because git works there.
async fn act<F>(ui: Ui, act: F) -> Result<(), SimError>
where
    F: FnOnce(&GitHub) -> Result<(), SimError> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(move || act(&ui.github)).await;
    done.unwrap_or_else(|error| Err(SimError::invalid(error.to_string())))
}

fn need(github: &GitHub, login: &str, role: Role, what: &str) -> Result<(), SimError> {
    let has = github.read(|state| Ok::<_, SimError>(state.role(state.repo(REPOSITORY)?, login)))?;
    if has >= role {
        return Ok(());
    }
    Err(SimError::Forbidden(format!("{login} may only {} here; who wants to {what} needs {}", has.name(), role.name())))
}

fn back_to(number: u64, place: &str, done: Result<(), SimError>) -> Redirect {
    let page = format!("/{REPOSITORY}/pull/{number}");
    match done {
        Ok(()) => Redirect::to(&format!("{page}{place}")),
        Err(error) => {
            let notice: String = url::form_urlencoded::byte_serialize(error.to_string().as_bytes()).collect();
            Redirect::to(&format!("{page}?notice={notice}"))
        }
    }
}
