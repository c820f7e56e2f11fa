//! One call: its path parameters, query, body and caller, with GitHub's manners of reading them. Changes nothing.

use chrono::{DateTime, Utc};
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Answer, Failure, Incoming};
use crate::playground::github::auth::Caller;
use crate::playground::github::model::{MintedToken, State};
use crate::playground::github::webhooks::Hooks;

/// What a handler gets to see.
#[derive(Debug, Clone)]
pub struct Call {
    /// `GET`, `POST`, ...
    pub method: Method,
    /// Login of the acting account: the App's bot.
    pub actor: String,
    /// The installation token, when one was used.
    pub token: Option<MintedToken>,
    /// The webhook, for its delivery log.
    pub hooks: Hooks,
    /// The `Accept` header, empty when there was none.
    pub accept: String,
    params: Vec<(&'static str, String)>,
    query: Vec<(String, String)>,
    body: Value,
    base: String,
}

impl Call {
    /// Reads a request.
    ///
    /// # Errors
    /// 400 when the body is not a JSON object.
    pub fn new(
        state: &State,
        hooks: Hooks,
        params: Vec<(&'static str, String)>,
        request: &Incoming,
    ) -> Result<Self, Failure> {
        let body = if request.body.is_empty() {
            Value::Object(serde_json::Map::new())
        } else {
            let problem = |message: &str| Failure::new(StatusCode::BAD_REQUEST, message);
            let body: Value = serde_json::from_slice(&request.body).map_err(|_| problem("Problems parsing JSON"))?;
            match body {
                Value::Null => Value::Object(serde_json::Map::new()),
                Value::Object(_) | Value::Array(_) => body,
                _ => return Err(problem("Body should be a JSON object")),
            }
        };
        let query = request.query.as_deref().unwrap_or_default().as_bytes();
        let accept = request.headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Self {
            method: request.method.clone(),
            actor: String::new(),
            token: None,
            hooks,
            accept: accept.to_owned(),
            params,
            query: url::form_urlencoded::parse(query).into_owned().collect(),
            body,
            base: format!("{}{}", state.api, request.path),
        })
    }

    /// The same call, made by this caller.
    pub fn by(mut self, state: &State, caller: Caller) -> Self {
        self.actor = state.app.bot_login();
        if let Caller::Installation(token) = caller {
            self.token = Some(token);
        }
        self
    }

    /// A path parameter, decoded; empty when the route has none of that name.
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// A path parameter that is a number; what is none is not found.
    pub fn number(&self, name: &str) -> Result<u64, Failure> {
        self.param(name).parse().map_err(|_| Failure::not_found())
    }

    /// `owner/name` of the repository in the path.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.param("owner"), self.param("repo"))
    }

    /// A query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A query parameter that is an instant.
    pub fn query_time(&self, name: &str) -> Option<DateTime<Utc>> {
        DateTime::parse_from_rfc3339(self.query(name)?).ok().map(|at| at.to_utc())
    }

    /// The body, read into a type.
    ///
    /// # Errors
    /// 422 in GitHub's words when a field is missing or of the wrong type.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        T::deserialize(&self.body).map_err(|error| {
            let text = error.to_string();
            match text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
                Some(field) => Failure::invalid(format!("Invalid request.\n\n\"{field}\" wasn't supplied.")),
                None => Failure::invalid(format!("Invalid request.\n\n{text}")),
            }
        })
    }

    /// The body as it was sent.
    pub fn raw_body(&self) -> &Value {
        &self.body
    }

    /// The part of a list that `page` and `per_page` ask for (30, at most 100), with a `Link` header's text.
    pub fn page<'a, T>(&self, all: &'a [T]) -> (&'a [T], String) {
        let wanted = |name: &str| self.query(name).and_then(|text| text.parse::<usize>().ok());
        let size = wanted("per_page").filter(|size| *size > 0).unwrap_or(30).min(100);
        let page = wanted("page").filter(|page| *page > 0).unwrap_or(1);
        let last = all.len().div_ceil(size).max(1);
        let start = (page - 1).saturating_mul(size).min(all.len());
        let shown = &all[start..(start + size).min(all.len())];
        let mut links = Vec::new();
        if page > 1 {
            links.push(self.link(&[("page", &(page - 1).to_string())], "prev"));
        }
        if page < last {
            links.push(self.link(&[("page", &(page + 1).to_string())], "next"));
            links.push(self.link(&[("page", &last.to_string())], "last"));
        }
        if page > 1 {
            links.push(self.link(&[("page", "1")], "first"));
        }
        (shown, links.join(", "))
    }

    /// One link to this same address with other query parameters.
    pub fn link(&self, changed: &[(&str, &str)], relation: &str) -> String {
        let kept = self.query.iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
        let query =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).extend_pairs(changed).finish();
        format!("<{}?{query}>; rel=\"{relation}\"", self.base)
    }

    /// A page of a list as an answer.
    pub fn paged<T>(&self, all: &[T], describe: impl Fn(&T) -> Value) -> Answer {
        let (shown, link) = self.page(all);
        Answer::ok(shown.iter().map(describe).collect::<Vec<_>>().into()).with_link(link)
    }
}
