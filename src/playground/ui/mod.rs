//! The playground's pages: the simulated GitHub and Render as people see them, at one address.
//!
//! Pages read copies of what the simulators know and forms do what a person would do there, through the same acts as
//! the REST API. Nothing here talks to Titan: what Titan does is seen at GitHub and Render.

mod act;
mod git;
mod live;
mod markdown;
mod pages;
pub mod read;
pub mod view;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use self::view::{Frame, Person};
use super::github::GitHub;
use super::github::model::Role;
use super::render::Render;
use super::sample;

/// The cookie that remembers who one is.
const COOKIE: &str = "playground_person";

/// What every page needs. Clones share everything.
#[derive(Clone)]
pub struct Ui {
    github: GitHub,
    render: Render,
    http: reqwest::Client,
    titan_url: Arc<Mutex<Option<String>>>,
}

impl Ui {
    /// Pages over these two simulators.
    ///
    /// # Errors
    /// When the client that hands git on cannot be made.
    pub fn new(github: GitHub, render: Render) -> Result<Self, reqwest::Error> {
        Ok(Self { github, render, http: git::client()?, titan_url: Arc::default() })
    }

    /// Where Titan's own pages are, for the link in the menu.
    pub fn set_titan_url(&self, url: &str) {
        *self.titan_url.lock().unwrap_or_else(PoisonError::into_inner) = Some(url.to_owned());
    }

    /// All pages and forms.
    pub fn router(self) -> Router {
        Router::new()
            .route("/", get(pages::home))
            .route("/{owner}/{name}", get(pages::home))
            .route("/{owner}/{name}/pulls", get(pages::pulls))
            .route("/{owner}/{name}/pull/{number}", get(pages::pull))
            .route("/{owner}/{name}/pull/{number}/files", get(pages::files))
            .route("/{owner}/{name}/commit/{sha}", get(pages::commit))
            .route("/{owner}/{name}/runs/{id}", get(pages::check))
            .route("/{owner}/{name}/info/refs", get(git::hand_on))
            .route("/{owner}/{name}/git-upload-pack", post(git::hand_on))
            .route("/services", get(pages::services))
            .route("/traffic", get(pages::traffic))
            .route("/playground/me", post(act::choose_person))
            .route("/playground/pull/{number}/comment", post(act::comment))
            .route("/playground/pull/{number}/action", post(act::press))
            .route("/playground/pull/{number}/{what}", post(act::change_pull))
            .route("/playground/service/{id}", post(act::change_service))
            .route("/playground/live", get(live::stream))
            .route("/playground/playground.css", get(async || asset("text/css", CSS)))
            .route("/playground/playground.js", get(async || asset("text/javascript", JS)))
            .route("/playground/icon.svg", get(async || asset("image/svg+xml", ICON)))
            .fallback(pages::missing)
            .layer(axum::middleware::from_fn(own_pages_only))
            .with_state(self)
    }

    /// What stands on every page, for the person whom the request's cookie names.
    fn frame(&self, headers: &HeaderMap, here: &'static str, path: &str, title: &str) -> Frame {
        let people = sample::PEOPLE.map(|(login, role)| Person { login: login.to_owned(), role: role.name() });
        Frame {
            title: title.to_owned(),
            repo: sample::REPOSITORY.to_owned(),
            titan_url: self.titan_url.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            here,
            path: path.to_owned(),
            me: person(headers),
            people: people.into(),
            notice: None,
        }
    }
}

const CSS: &str = include_str!("../../../templates/playground/playground.css");
const JS: &str = include_str!("../../../templates/playground/playground.js");
const ICON: &str = include_str!("../../../templates/playground/icon.svg");

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, format!("{kind}; charset=utf-8"))], text)
}

/// Who the request's cookie names, when it is someone of the sample; else the first who may do everything.
fn person(headers: &HeaderMap) -> String {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let named = cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .and_then(|(_, login)| known_person(login));
    named.unwrap_or(sample::PEOPLE[0]).0.to_owned()
}

fn known_person(login: &str) -> Option<(&'static str, Role)> {
    sample::PEOPLE.into_iter().find(|(known, _)| *known == login)
}

/// Keeps other sites' pages from pressing buttons here: browsers say where a form came from.
async fn own_pages_only(request: Request, next: Next) -> Response {
    let site = request.headers().get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if request.method() == "POST" && site.is_some_and(|site| site != "same-origin" && site != "none") {
        return (StatusCode::FORBIDDEN, "only the playground's own pages may do this\n").into_response();
    }
    next.run(request).await
}
