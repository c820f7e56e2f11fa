//! The REST API: from a request to the route, through authentication, to an answer in GitHub's form.
//!
//! Routes are rows of a table (method, GitHub's own path template, needed permission, handler). Handlers are plain
//! functions over the locked state; they decide nothing about headers, paging links or who is calling.

mod answer;
mod apps;
mod call;
mod checks;
mod comments;
mod commits;
mod contents;
mod deployments;
mod git_data;
mod issues;
mod labels;
mod pulls;
mod repositories;
mod routes;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;

pub use answer::{Answer, Failure};
pub use call::Call;

use super::Sim;
use super::auth::{self, Caller, Needs};
use super::model::{RateLimit, State};
use super::views::time;

/// A handler: looks at the call, reads or changes the state, answers.
pub type Handler = fn(&mut State, &Call) -> Result<Answer, Failure>;

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Its method.
    pub method: Method,
    /// Percent-encoded path.
    pub path: String,
    /// What stood after `?`.
    pub query: Option<String>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Answers one request to the REST API. Blocks while git works.
pub fn serve(sim: &Sim, request: &Incoming) -> http::Response<axum::body::Body> {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let head = request.method == Method::HEAD;
    let method = if head { Method::GET } else { request.method.clone() };
    let (outcome, rate, accepted) = sim.with(|state| {
        if header("user-agent").is_none_or(str::is_empty) {
            let message =
                "Request forbidden by administrative rules. Please make sure your request has a User-Agent header";
            return (Err(Failure::new(StatusCode::FORBIDDEN, message)), None, None);
        }
        let known = ["2022-11-28", "2026-03-10"];
        if header("x-github-api-version").is_some_and(|version| !known.contains(&version)) {
            let message = "The requested API version is not supported.";
            return (Err(Failure::new(StatusCode::BAD_REQUEST, message)), None, None);
        }
        let Some((route, params)) = routes::find(&method, &request.path) else {
            state.unknown_requests.push(format!("{} {}", request.method, request.path));
            return (Err(Failure::not_found()), None, None);
        };
        let caller = match auth::caller(state, &sim.key, header("authorization"), crate::clock::now()) {
            Ok(caller) => caller,
            Err(auth::Unauthorized(message)) => {
                return (Err(Failure::new(StatusCode::UNAUTHORIZED, &message)), None, None);
            }
        };
        let accepted = match route.needs {
            Needs::AnyOf(needed) | Needs::Organization(needed) => Some(auth::accepted(needed)),
            _ => None,
        };
        let installation = match &caller {
            Caller::Installation(token) => Some(token.installation),
            _ => None,
        };
        let (rate, limited) = count(state, &caller, &route.needs, &request.path);
        let outcome = match limited {
            Some(failure) => Err(failure),
            None => enter(sim, state, route, params, caller, request),
        };
        if let Ok(answer) = &outcome
            && answer.is_known_to(&request.headers)
            && let Some(rate) = installation.and_then(|id| state.rate.get_mut(&id))
        {
            // What the client has already costs nothing.
            rate.used = rate.used.saturating_sub(1);
        }
        (outcome, rate, accepted)
    });
    let answer = outcome.unwrap_or_else(Failure::into_answer);
    answer.into_response(&request.headers, head, rate, accepted)
}

/// Lets the caller in and runs the handler.
fn enter(
    sim: &Sim,
    state: &mut State,
    route: &routes::Route,
    params: Vec<(&'static str, String)>,
    caller: Caller,
    request: &Incoming,
) -> Result<Answer, Failure> {
    let call = Call::new(state, sim.hooks.clone(), params, request)?;
    match (&route.needs, &caller) {
        (Needs::Anyone, _) | (Needs::App, Caller::App) | (Needs::Installation, Caller::Installation(_)) => {}
        (Needs::App, Caller::Installation(_)) => {
            return Err(Failure::new(StatusCode::UNAUTHORIZED, "A JSON web token could not be decoded"));
        }
        (_, Caller::Anonymous) => return Err(Failure::new(StatusCode::UNAUTHORIZED, "Requires authentication")),
        (_, Caller::App) => {
            let message = "You must use an installation access token or user access token to access this endpoint.";
            return Err(Failure::new(StatusCode::FORBIDDEN, message));
        }
        (Needs::Organization(needed), Caller::Installation(token)) => {
            let installed = |one: &super::model::Installation| {
                one.id == token.installation && one.account.eq_ignore_ascii_case(call.param("org"))
            };
            if !state.installations.iter().any(installed) {
                return Err(Failure::not_found());
            }
            if !auth::permits(token, needed) {
                return Err(Failure::new(StatusCode::FORBIDDEN, "Resource not accessible by integration"));
            }
        }
        (Needs::AnyOf(needed), Caller::Installation(token)) => {
            let name = call.full_name();
            // A repository that was taken out of the installation is out of reach for older tokens too.
            let installed = state.installation_of(&name).is_some_and(|known| known.id == token.installation);
            let reachable = installed && token.repositories.iter().any(|known| known.eq_ignore_ascii_case(&name));
            let public = state.repository(&name).is_some_and(|repository| !repository.private);
            if !reachable && !public {
                return Err(Failure::not_found());
            }
            if !auth::permits(token, needed) || (!reachable && call.method != Method::GET) {
                return Err(Failure::new(StatusCode::FORBIDDEN, "Resource not accessible by integration"));
            }
        }
    }
    let call = call.by(state, caller);
    (route.handler)(state, &call)
}

/// Counts the call against its installation's hour, and refuses it when the hour is used up.
fn count(state: &mut State, caller: &Caller, needs: &Needs, path: &str) -> (Option<RateLimit>, Option<Failure>) {
    let Caller::Installation(token) = caller else { return (None, None) };
    let now = crate::clock::now();
    let fresh = RateLimit { limit: 5000, used: 0, reset_at: now + chrono::TimeDelta::hours(1) };
    let rate = state.rate.entry(token.installation).or_insert(fresh);
    if rate.reset_at <= now {
        *rate = fresh;
    }
    if path == "/rate_limit" || *needs == Needs::App {
        return (Some(*rate), None);
    }
    if rate.used >= rate.limit {
        let message = format!("API rate limit exceeded for installation ID {}.", token.installation);
        return (Some(*rate), Some(Failure::new(StatusCode::FORBIDDEN, &message)));
    }
    rate.used += 1;
    (Some(*rate), None)
}

/// `GET /rate_limit`.
fn rate_limit(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let rate = call.token.as_ref().and_then(|token| state.rate.get(&token.installation));
    let now = crate::clock::now();
    let rate = rate.copied().unwrap_or(RateLimit { limit: 60, used: 0, reset_at: now + chrono::TimeDelta::hours(1) });
    let one = |rate: RateLimit| {
        json!({
            "limit": rate.limit,
            "used": rate.used,
            "remaining": rate.limit.saturating_sub(rate.used),
            "reset": rate.reset_at.timestamp(),
        })
    };
    let search = RateLimit { limit: 30, used: 0, reset_at: now + chrono::TimeDelta::minutes(1) };
    let graphql = RateLimit { limit: 5000, used: 0, reset_at: rate.reset_at };
    Ok(Answer::ok(json!({
        "resources": { "core": one(rate), "search": one(search), "graphql": one(graphql) },
        "rate": one(rate),
    })))
}

/// `GET /users/{username}`.
fn user(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let account = state.account(call.param("username")).ok_or_else(Failure::not_found)?;
    Ok(Answer::ok(state.view().public_user(account)))
}

/// `GET /user/{account_id}`: whoever has the number, under the present login.
fn user_by_id(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let id: u64 = call.number("account_id")?;
    let account = state.accounts.values().find(|account| account.id == id).ok_or_else(Failure::not_found)?;
    Ok(Answer::ok(state.view().public_user(account)))
}

/// `GET /versions`.
fn versions(_: &mut State, _: &Call) -> Result<Answer, Failure> {
    Ok(Answer::ok(json!(["2026-03-10", "2022-11-28"])))
}

/// The time of a token's end, in GitHub's form.
fn expiry(token: &super::model::MintedToken) -> String {
    time(token.expires_at)
}
