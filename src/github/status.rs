//! What a status means: GitHub's answer that is not a success, turned into a [`GitHubError`].
//!
//! Pure. Keeps GitHub's own sentence, short and without anything that looks like a token, because it is often the only
//! hint at what to do ("Resource not accessible by integration").

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::GitHubError;
use crate::domain::budget::{Limited, Rate};
use crate::redact::Redactor;

/// How much of GitHub's sentence is kept, in characters.
const SENTENCE_LIMIT: usize = 300;

/// How much of an answer that is no JSON is looked at.
const TEXT_BYTES: usize = 4096;

/// GitHub's error body; every part may be missing.
#[derive(Deserialize, Default)]
struct Body {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    errors: Option<serde_json::Value>,
    #[serde(default)]
    documentation_url: Option<String>,
    /// What stands there instead of JSON.
    #[serde(skip)]
    text: String,
}

impl Body {
    /// A body that is no JSON: its beginning, for the words of a limit.
    fn of_text(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&body[..body.len().min(TEXT_BYTES)]).into_owned();
        Self { message: None, text, ..Self::default() }
    }
}

/// The error that an answer stands for; `None` for a 2xx. `name` is method and path.
pub(super) fn problem(
    name: &str,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
    redactor: &Redactor,
) -> Option<GitHubError> {
    if status.is_success() {
        return None;
    }
    let read: Result<Body, _> = serde_json::from_slice(body);
    let is_github = read.is_ok() || body.is_empty();
    let body = read.unwrap_or_else(|_| Body::of_text(body));
    if let Some(limited) = limit_of(status, headers, &body, now) {
        return Some(GitHubError::RateLimited { retry_at: limited.retry_at(now) });
    }
    let said = sentence(&body, redactor);
    let text = if said.is_empty() { format!("{name}: {status}") } else { format!("{name}: {status}: {said}") };
    Some(match status.as_u16() {
        // A page in front of GitHub knows nothing of what may be done there.
        403 if !is_github => GitHubError::Transient(text),
        404 | 410 => GitHubError::NotFound(text),
        405 | 409 => GitHubError::Conflict(text),
        400 | 422 | 501 => GitHubError::Invalid(text),
        401 | 403 => GitHubError::Unauthorized(text),
        // A 304 to a question without a condition is a proxy's mistake, and says nothing about what was done.
        304 | 408 | 425 | 500.. => GitHubError::Transient(text),
        _ => GitHubError::Unexpected(text),
    })
}

/// GitHub's sentence in an answer that is not a success; empty when it said nothing.
pub(super) fn message(body: &[u8], redactor: &Redactor) -> String {
    sentence(&serde_json::from_slice(body).unwrap_or_default(), redactor)
}

/// GitHub's message and the parts of `errors`; empty when it said nothing.
fn sentence(body: &Body, redactor: &Redactor) -> String {
    let mut parts: Vec<String> = body.message.iter().cloned().collect();
    for error in body.errors.iter().flat_map(|e| e.as_array().cloned().unwrap_or_else(|| vec![e.clone()])) {
        let word = |key: &str| error.get(key).and_then(|v| v.as_str()).map(str::to_owned);
        match (error.as_str(), word("message")) {
            (Some(text), _) => parts.push(text.to_owned()),
            (None, Some(text)) => parts.push(text),
            (None, None) => {
                parts.extend(word("field").zip(word("code")).map(|(field, code)| format!("{field} {code}")))
            }
        }
    }
    let text = redactor.clean(&parts.join("; "));
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SENTENCE_LIMIT).collect();
    text.trim().to_owned()
}

/// What the headers say about the hour's calls; `None` when they do not, or speak of another resource than REST calls.
pub(super) fn rate(headers: &HeaderMap) -> Option<Rate> {
    let number = |name: &str| text(headers, name)?.parse::<i64>().ok();
    if text(headers, "x-ratelimit-resource").is_some_and(|resource| resource != "core") {
        return None;
    }
    let reset_at = DateTime::from_timestamp(number("x-ratelimit-reset")?, 0)?;
    let limit = number("x-ratelimit-limit").unwrap_or_default();
    Some(Rate { limit, remaining: number("x-ratelimit-remaining")?, reset_at })
}

/// Whether an answer is a rate limit, and until when.
pub(super) fn limited(status: StatusCode, headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Option<Limited> {
    if !matches!(status.as_u16(), 403 | 429) {
        return None;
    }
    limit_of(status, headers, &serde_json::from_slice(body).unwrap_or_else(|_| Body::of_text(body)), now)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// A limit is a 429, or a 403 with `retry-after`, with `x-ratelimit-remaining: 0`, or that says so (GitHub's "Rate limits
/// for the REST API", API version 2022-11-28; Enterprise Server also speaks of an abuse detection mechanism).
fn limit_of(status: StatusCode, headers: &HeaderMap, body: &Body, now: DateTime<Utc>) -> Option<Limited> {
    let after = text(headers, "retry-after");
    let used_up = text(headers, "x-ratelimit-remaining") == Some("0");
    let message = body.message.as_deref().unwrap_or(&body.text).to_ascii_lowercase();
    let link = body.documentation_url.as_deref().unwrap_or_default();
    let said = message.contains("rate limit")
        || message.contains("abuse detection")
        || ["rate-limits", "rate-limiting", "abuse-rate"].iter().any(|part| link.contains(part));
    let limited = match status.as_u16() {
        429 => true,
        403 => after.is_some() || used_up || said,
        _ => false,
    };
    if !limited {
        return None;
    }
    let from_after = after.and_then(|value| match value.parse::<u32>() {
        Ok(seconds) => Some(now + TimeDelta::seconds(i64::from(seconds))),
        Err(_) => DateTime::parse_from_rfc2822(value).ok().map(|at| at.with_timezone(&Utc)),
    });
    // The reset belongs to the primary limit; with calls left it says nothing about a secondary one.
    let from_reset = || {
        let seconds = text(headers, "x-ratelimit-reset").filter(|_| used_up)?.parse::<i64>().ok()?;
        DateTime::from_timestamp(seconds, 0)
    };
    let used_up = used_up && from_after.is_none();
    Some(Limited { until: from_after.or_else(from_reset).filter(|until| *until > now), used_up })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
    }

    fn read(status: u16, headers: &[(&'static str, &str)], body: &str) -> Option<GitHubError> {
        let status = StatusCode::from_u16(status).expect("a status");
        let headers = headers
            .iter()
            .map(|(k, v)| (http::HeaderName::from_static(k), v.parse().expect("a header value")))
            .collect();
        let redactor = Redactor::new([]).expect("no secrets");
        problem("GET /x", status, &headers, body.as_bytes(), now(), &redactor)
    }

    #[test]
    fn each_status_has_its_meaning() {
        let kind = |status: u16| match read(status, &[], "{}") {
            None => "ok",
            Some(GitHubError::NotFound(_)) => "not found",
            Some(GitHubError::Conflict(_)) => "conflict",
            Some(GitHubError::Invalid(_)) => "invalid",
            Some(GitHubError::Unauthorized(_)) => "unauthorized",
            Some(GitHubError::RateLimited { .. }) => "limited",
            Some(GitHubError::Transient(_)) => "transient",
            Some(GitHubError::Unexpected(_)) => "unexpected",
        };
        for (status, expected) in [
            (200, "ok"),
            (201, "ok"),
            (204, "ok"),
            (304, "transient"),
            (400, "invalid"),
            (401, "unauthorized"),
            (403, "unauthorized"),
            (404, "not found"),
            (405, "conflict"),
            (408, "transient"),
            (425, "transient"),
            (409, "conflict"),
            (410, "not found"),
            (418, "unexpected"),
            (422, "invalid"),
            (429, "limited"),
            (451, "unexpected"),
            (500, "transient"),
            (501, "invalid"),
            (502, "transient"),
            (503, "transient"),
        ] {
            assert_eq!(kind(status), expected, "{status}");
        }
    }

    #[test]
    fn a_rate_limit_says_until_when() {
        let seconds = |headers: &[(&'static str, &str)], body: &str, status: u16| match read(status, headers, body) {
            Some(GitHubError::RateLimited { retry_at }) => Some((retry_at - now()).num_seconds()),
            _ => None,
        };
        let secondary = r#"{"message":"You have exceeded a secondary rate limit"}"#;
        assert_eq!(seconds(&[("retry-after", "30")], "", 403), Some(30));
        assert_eq!(seconds(&[("retry-after", "30")], "", 429), Some(30));
        assert_eq!(seconds(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1800000090")], "", 403), Some(90));
        assert_eq!(seconds(&[("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "1800000090")], "", 403), None);
        assert_eq!(seconds(&[("x-ratelimit-remaining", "9")], secondary, 403), Some(60));
        assert_eq!(seconds(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "12")], "", 403), Some(60));
        assert_eq!(seconds(&[("retry-after", "Fri, 15 Jan 2027 08:00:45 GMT")], "", 429), Some(45));
        assert_eq!(seconds(&[("retry-after", "Fri, 15 Jan 2027 07:00:00 GMT")], "", 429), Some(60));
        assert_eq!(seconds(&[("retry-after", "0")], "", 429), Some(60));
        assert_eq!(seconds(&[("retry-after", "soon")], "", 429), Some(60));
        assert_eq!(seconds(&[("retry-after", "4294967295")], "", 429), Some(86_400));
        assert_eq!(seconds(&[("retry-after", "30")], "", 404), None);
        let abuse = r#"{"message":"You have triggered an abuse detection mechanism. Please wait a few minutes."}"#;
        assert_eq!(seconds(&[], abuse, 403), Some(60));
        let link = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary";
        assert_eq!(seconds(&[], &format!(r#"{{"message":"Slow down","documentation_url":"{link}"}}"#), 403), Some(60));
        assert_eq!(seconds(&[], r#"{"message":"Resource not accessible by integration"}"#, 403), None);
        assert_eq!(seconds(&[], "<html>too many</html>", 429), Some(60));
        assert_eq!(seconds(&[], "<p>You have exceeded a secondary rate limit.</p>", 403), Some(60));
    }

    #[test]
    fn a_page_of_somebody_else_forbids_nothing() {
        assert!(matches!(read(403, &[], "<html>Forbidden</html>"), Some(GitHubError::Transient(_))));
        assert!(matches!(read(403, &[], ""), Some(GitHubError::Unauthorized(_))));
    }

    #[test]
    fn the_hours_calls_are_read_from_the_headers() {
        let read = |headers: &[(&'static str, &str)]| {
            let header =
                |(k, v): &(&'static str, &str)| (http::HeaderName::from_static(k), v.parse().expect("a value"));
            rate(&headers.iter().map(header).collect())
        };
        let core = [("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "1800000090")];
        let expected = Rate { limit: 5000, remaining: 7, reset_at: now() + TimeDelta::seconds(90) };
        assert_eq!(read(&core), Some(expected));
        assert_eq!(read(&[&core[..], &[("x-ratelimit-resource", "core")]].concat()), Some(expected));
        assert_eq!(read(&[&core[..], &[("x-ratelimit-resource", "search")]].concat()), None);
        assert_eq!(read(&core[1..]), Some(Rate { limit: 0, ..expected }));
        assert_eq!(read(&core[..2]), None);
        assert_eq!(read(&[("x-ratelimit-remaining", "many"), core[2]]), None);
    }

    #[test]
    fn an_error_names_the_request_and_githubs_sentence_but_no_token() {
        let token = "ghs_0123456789012345678901234567890123456789";
        let body = format!(
            r#"{{"message":"Validation Failed {token}","errors":[{{"resource":"X","field":"head","code":"invalid"}},{{"message":"A pull request already exists"}},"odd\nline"]}}"#
        );
        let text = read(422, &[], &body).expect("an error").to_string();
        assert_eq!(
            text,
            "refused by GitHub: GET /x: 422 Unprocessable Entity: Validation Failed [redacted]; head invalid; \
             A pull request already exists; odd line"
        );
        assert_eq!(
            read(502, &[], "<html>").expect("an error").to_string(),
            "GitHub did not answer properly: GET /x: 502 Bad Gateway"
        );
    }
}
