//! The App, its installations, its tokens and its webhook's delivery log.
//! The only routes that take the App's own token; sending again is left to `webhooks`.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Call, Failure, expiry};
use crate::playground::github::model::{Installation, Permissions, State};
use crate::playground::github::views::{time, without_client_id};
use crate::playground::github::webhooks::Delivery;

/// `GET /app`.
pub fn app(state: &mut State, _: &Call) -> Result<Answer, Failure> {
    let mut app = state.view().app(&state.app);
    app["installations_count"] = state.installations.len().into();
    Ok(Answer::ok(app))
}

/// `GET /app/installations`.
pub fn installations(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    // The list leaves the client id and the newest field of accounts out.
    let describe = |installation: &Installation| {
        let mut described = without_client_id(state.view().installation(installation));
        if let Some(account) = described.get_mut("account").and_then(Value::as_object_mut) {
            account.remove("user_view_type");
        }
        described
    };
    Ok(call.paged(&state.installations, describe))
}

/// `GET /app/installations/{installation_id}`.
pub fn installation(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let installation = state.installation(call.number("installation_id")?)?;
    Ok(Answer::ok(state.view().installation(installation)))
}

/// `GET /repos/{owner}/{repo}/installation`.
pub fn repository_installation(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let installation = state.installation_of(&call.full_name()).ok_or_else(Failure::not_found)?;
    Ok(Answer::ok(state.view().installation(installation)))
}

#[derive(Deserialize)]
struct TokenRequest {
    repositories: Option<Vec<String>>,
    repository_ids: Option<Vec<u64>>,
    permissions: Option<Permissions>,
}

/// `POST /app/installations/{installation_id}/access_tokens`.
pub fn create_token(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let wanted: TokenRequest = call.body()?;
    let installation = state.installation(call.number("installation_id")?)?;
    let (id, account) = (installation.id, installation.account.clone());
    let mut names: Option<Vec<String>> = None;
    if let Some(list) = wanted.repositories {
        // Names come without the owner; unknown ones are kept, so that minting refuses them.
        let full = list.into_iter().map(|name| {
            let full = format!("{account}/{name}");
            state.repository(&full).map_or(full, |known| known.full_name())
        });
        names.get_or_insert_default().extend(full);
    }
    if let Some(ids) = wanted.repository_ids {
        let full = ids.into_iter().map(|id| {
            let known = state.repositories.values().find(|repository| repository.id == id);
            known.map_or_else(|| format!("unknown/{id}"), |known| known.full_name())
        });
        names.get_or_insert_default().extend(full);
    }
    let token = state.mint(id, names, wanted.permissions)?;
    let mut body = json!({
        "token": secrecy::ExposeSecret::expose_secret(&token.token),
        "expires_at": expiry(&token),
        "permissions": state.view().permissions(&token.permissions),
        "repository_selection": "selected",
    });
    if token.narrowed {
        let known = token.repositories.iter().filter_map(|name| state.repository(name));
        body["repositories"] = known.map(|repository| state.view().repository(repository)).collect::<Vec<_>>().into();
    }
    Ok(Answer::status(StatusCode::CREATED, body))
}

/// `GET /installation/repositories`.
pub fn repositories(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let names = call.token.as_ref().map(|token| token.repositories.clone()).unwrap_or_default();
    let known: Vec<_> = names.iter().filter_map(|name| state.repository(name)).collect();
    let (shown, link) = call.page(&known);
    let described: Vec<Value> = shown.iter().map(|repository| state.view().repository(repository)).collect();
    let body = json!({ "total_count": known.len(), "repository_selection": "selected", "repositories": described });
    Ok(Answer::ok(body).with_link(link))
}

/// `GET /app/hook/config`.
pub fn hook_config(_: &mut State, call: &Call) -> Result<Answer, Failure> {
    let url = call.hooks.target().map(String::from).unwrap_or_default();
    Ok(Answer::ok(json!({ "content_type": "json", "insecure_ssl": "0", "secret": "********", "url": url })))
}

/// `GET /app/hook/deliveries`: newest first, paged by a cursor.
pub fn deliveries(_: &mut State, call: &Call) -> Result<Answer, Failure> {
    let mut log = call.hooks.log();
    log.reverse();
    match call.query("status") {
        None => {}
        Some("success") => log.retain(Delivery::succeeded),
        Some("failure") => log.retain(|attempt| !attempt.succeeded()),
        Some(_) => return Err(Failure::invalid("Invalid request.\n\nstatus must be one of: success, failure.")),
    }
    if let Some(cursor) = call.query("cursor") {
        let wrong = || Failure::new(StatusCode::BAD_REQUEST, "Invalid cursor");
        let last: u64 = cursor.strip_prefix("v1_").and_then(|id| id.parse().ok()).ok_or_else(wrong)?;
        log.retain(|attempt| attempt.id < last);
    }
    let size = call.query("per_page").and_then(|text| text.parse().ok()).unwrap_or(30_usize).clamp(1, 100);
    let more = log.len() > size;
    log.truncate(size);
    let link = match log.last().filter(|_| more) {
        Some(last) => call.link(&[("cursor", &format!("v1_{}", last.id))], "next"),
        None => String::new(),
    };
    Ok(Answer::ok(log.iter().map(item).collect::<Vec<_>>().into()).with_link(link))
}

/// `GET /app/hook/deliveries/{delivery_id}`.
pub fn delivery(_: &mut State, call: &Call) -> Result<Answer, Failure> {
    let id = call.number("delivery_id")?;
    let attempt = call.hooks.log().into_iter().find(|attempt| attempt.id == id).ok_or_else(Failure::not_found)?;
    let headers = |list: &[(String, String)]| -> Value {
        list.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect::<Map<_, _>>().into()
    };
    let mut body = item(&attempt);
    body["url"] = call.hooks.target().map(String::from).unwrap_or_default().into();
    body["request"] = json!({ "headers": headers(&attempt.request_headers), "payload": attempt.json() });
    body["response"] = json!({ "headers": headers(&attempt.response_headers), "payload": attempt.response_body });
    Ok(Answer::ok(body))
}

/// `POST /app/hook/deliveries/{delivery_id}/attempts`.
pub fn redeliver(_: &mut State, call: &Call) -> Result<Answer, Failure> {
    if call.hooks.redeliver(call.number("delivery_id")?) {
        return Ok(Answer::status(StatusCode::ACCEPTED, json!({})));
    }
    Err(Failure::not_found())
}

fn item(attempt: &Delivery) -> Value {
    json!({
        "id": attempt.id,
        "guid": attempt.guid,
        "delivered_at": time(attempt.delivered_at),
        "redelivery": attempt.redelivery,
        "duration": attempt.duration.as_secs_f64(),
        "status": attempt.status,
        "status_code": attempt.status_code,
        "event": attempt.event,
        "action": attempt.action,
        "installation_id": attempt.installation,
        "repository_id": attempt.repository_id,
        "throttled_at": null,
    })
}
