//! What GitHub's and Render's documentation ask for outside of their OpenAPI files: headers, who may call what, and the
//! errors that any operation can answer with.
//!
//! Does not look into bodies.

use serde_json::Value;
use titan::playground::exchange::Exchange;

use super::operation::Operation;
use super::schema::Finding;
use super::spec::Violation;

/// Whose manners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// <https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api>, read 2026-11.
    GitHub,
    /// <https://api-docs.render.com/reference/authentication>, read 2026-11.
    Render,
}

/// The version that the OpenAPI file describes; the next one drops fields, so that its answers are other documents.
const GITHUB_API_VERSION: &str = "2022-11-28";

impl Manners {
    /// The path as the document has it: Enterprise Server and Render put a prefix before it.
    pub fn without_base(self, path: &str) -> &str {
        let base = match self {
            Self::GitHub => "/api/v3",
            Self::Render => "/v1",
        };
        path.strip_prefix(base).filter(|rest| rest.starts_with('/')).unwrap_or(path)
    }

    /// Checks what is documented in prose only; `None` when the exchange belongs to the API that the document describes.
    pub fn check_outside_the_document(self, exchange: &Exchange) -> Option<Vec<Violation>> {
        match self {
            Self::Render => exchange.path.starts_with("/deploy/").then(|| deploy_hook(exchange)),
            // git's own protocol, which git itself speaks on both ends
            Self::GitHub => exchange.path.split('/').nth(2)?.ends_with(".git").then(Vec::new),
        }
    }

    /// Whether an answer that the operation's documentation does not list is one that any operation can have.
    pub fn knows_status(self, exchange: &Exchange) -> bool {
        let is_conditional =
            ["if-none-match", "if-modified-since"].iter().any(|name| exchange.request_header(name).is_some());
        match (self, exchange.status) {
            (_, 400 | 401 | 403 | 404 | 422 | 429 | 500..=599) => true,
            (Self::GitHub, 304) => is_conditional,
            // a renamed repository: "API redirects" in GitHub's guide to best practices
            (Self::GitHub, 301 | 302 | 307) => exchange.response_header("location").is_some(),
            _ => false,
        }
    }

    /// Whether the answer is in a form that the request asked for by name (`application/vnd.github.diff`) and that has no
    /// schema.
    pub fn is_asked_for_medium(self, exchange: &Exchange, answered: &str) -> bool {
        const BARE: [&str; 4] = [".diff", ".patch", ".raw", ".sha"];
        let accept = exchange.request_header("accept").unwrap_or_default();
        let asked = BARE.iter().any(|form| accept.contains("application/vnd.github") && accept.contains(form));
        self == Self::GitHub && asked && BARE.iter().any(|form| answered.contains(form))
    }

    /// What is wrong with the request's headers.
    pub fn check_request(self, operation: &Operation, facts: &Value, exchange: &Exchange) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut complain = |place: &str, problem: String| findings.push(Finding { place: place.into(), problem });
        let header = |name| exchange.request_header(name).unwrap_or_default();
        match self {
            Self::Render => {
                if !header("authorization").starts_with("Bearer ") {
                    complain("request header authorization", "must be 'Bearer' and an API key".into());
                }
            }
            Self::GitHub => {
                if header("user-agent").is_empty() {
                    complain("request header user-agent", "is missing: GitHub answers 403 to such a request".into());
                }
                let version = header("x-github-api-version");
                if version != GITHUB_API_VERSION {
                    let problem = format!("is '{version}', but the contract is that of {GITHUB_API_VERSION}");
                    complain("request header x-github-api-version", problem);
                }
                if let Some(problem) = github_identity(operation, facts, header("authorization")) {
                    complain("request header authorization", problem);
                }
            }
        }
        findings
    }
}

/// Which of the App's identities an operation takes.
/// <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/about-authentication-with-a-github-app>
fn github_identity(operation: &Operation, facts: &Value, authorization: &str) -> Option<String> {
    let template = operation.template.as_str();
    let is_conversion = template == "/app-manifests/{code}/conversions";
    let token = ["Bearer ", "token "].iter().find_map(|scheme| authorization.strip_prefix(scheme));
    let Some(token) = token else {
        return (!is_conversion).then(|| "is missing, or is neither 'Bearer' nor 'token'".into());
    };
    let is_app_itself = template == "/app" || template.starts_with("/app/") || template.ends_with("}/installation");
    let is_jwt = token.starts_with("eyJ");
    if is_app_itself != is_jwt {
        let wanted = if is_app_itself { "the App's own JWT" } else { "a token of an installation or a user" };
        return Some(format!("this operation takes {wanted}"));
    }
    let is_closed = facts["x-github"]["enabledForGitHubApps"] == false;
    (is_closed && token.starts_with("ghs_")).then(|| "this operation does not take an installation's token".into())
}

/// A deploy hook is a URL and not part of Render's API. <https://render.com/docs/deploy-hooks>, read 2026-11.
fn deploy_hook(exchange: &Exchange) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut complain = |place: &str, problem: String| {
        violations.push(Violation {
            exchange: format!("{exchange:?}"),
            operation: "Render's deploy hooks".into(),
            place: place.into(),
            problem,
        });
    };
    if !["GET", "POST"].contains(&exchange.method.as_str()) && exchange.status != 405 {
        complain("method", format!("{} is not documented, only GET and POST", exchange.method));
    }
    let query = url::form_urlencoded::parse(exchange.query.as_deref().unwrap_or_default().as_bytes());
    for (name, _) in query.filter(|(name, _)| !["key", "ref", "imgURL"].contains(&name.as_ref())) {
        complain(&format!("query parameter {name}"), "is not documented, only key, ref and imgURL".into());
    }
    match exchange.status {
        200 if exchange.response_json()["deploy"]["id"].as_str().is_none_or(|id| !id.starts_with("dep-")) => {
            complain("response body", "must be {\"deploy\":{\"id\":\"dep-…\"}}".into());
        }
        0 | 200 | 202 | 400 | 401 | 404 | 405 | 409 | 429 | 500..=599 => {}
        status => complain("response status", format!("{status} is not documented for a deploy hook")),
    }
    violations
}
