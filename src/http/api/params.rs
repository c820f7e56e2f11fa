//! Query parameters, read by hand so that a mistake is answered in words. Unknown parameters are ignored.

use std::str::FromStr;

use axum::extract::RawQuery;
use url::form_urlencoded;

use crate::http::problem::Problem;

/// The parameters of a query. Of a repeated one the last counts; an empty one counts as absent.
#[derive(Debug, Default)]
pub(in crate::http) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a query string.
    pub(in crate::http) fn new(RawQuery(query): RawQuery) -> Self {
        let query = query.unwrap_or_default();
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The text of a parameter.
    pub(in crate::http) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
    }

    /// A parameter of a shape; `expected` says which.
    ///
    /// # Errors
    /// 400 when it is there and has another shape.
    pub(in crate::http) fn read<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        let parse = |text: &str| {
            text.parse().map_err(|_| Problem::bad_parameter(format!("`{name}` cannot be read; expected {expected}")))
        };
        self.text(name).map(parse).transpose()
    }
}
