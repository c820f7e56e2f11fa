//! The table of routes, and finding the row for a request. Looks at nothing but method and path.

use http::Method;

use super::{
    Handler, apps, checks, comments, commits, contents, deployments, git_data, issues, labels, pulls, repositories,
};
use crate::playground::github::auth::Level::{Read, Write};
use crate::playground::github::auth::{Level, Needs};

/// One route.
pub struct Route {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// GitHub's path template. `{name}` is one segment, `{*name}` one or more.
    pub path: &'static str,
    /// What the caller must have.
    pub needs: Needs,
    /// What it does.
    pub handler: Handler,
}

const fn route(method: &'static str, path: &'static str, needs: Needs, handler: Handler) -> Route {
    Route { method, path, needs, handler }
}

type Permission = (&'static str, Level);
const METADATA: Needs = Needs::AnyOf(&[("metadata", Read)]);
const READ_MEMBERS: Needs = Needs::Organization(&[("members", Read)]);
const READ_CONTENTS: Needs = Needs::AnyOf(&[("contents", Read)]);
const WRITE_CONTENTS: Needs = Needs::AnyOf(&[("contents", Write)]);
const READ_PULLS: Needs = Needs::AnyOf(&[("pull_requests", Read)]);
const WRITE_PULLS: Needs = Needs::AnyOf(&[("pull_requests", Write)]);
const READ_TALK: &[Permission] = &[("issues", Read), ("pull_requests", Read)];
const WRITE_TALK: &[Permission] = &[("issues", Write), ("pull_requests", Write)];
const READ_ISSUES: Needs = Needs::AnyOf(READ_TALK);
const WRITE_ISSUES: Needs = Needs::AnyOf(WRITE_TALK);
const READ_CHECKS: Needs = Needs::AnyOf(&[("checks", Read)]);
const WRITE_CHECKS: Needs = Needs::AnyOf(&[("checks", Write)]);
const READ_STATUSES: Needs = Needs::AnyOf(&[("statuses", Read)]);
const WRITE_STATUSES: Needs = Needs::AnyOf(&[("statuses", Write)]);
const READ_DEPLOYMENTS: Needs = Needs::AnyOf(&[("deployments", Read)]);
const WRITE_DEPLOYMENTS: Needs = Needs::AnyOf(&[("deployments", Write)]);
/// Commits can be listed for a pull request by who may read contents or pull requests.
const READ_COMMIT_PULLS: Needs = Needs::AnyOf(&[("pull_requests", Read), ("contents", Read)]);

/// All routes; of several that fit a request the first is taken.
pub const ROUTES: &[Route] = &[
    route("GET", "/app", Needs::App, apps::app),
    route("GET", "/app/installations", Needs::App, apps::installations),
    route("GET", "/app/installations/{installation_id}", Needs::App, apps::installation),
    route("POST", "/app/installations/{installation_id}/access_tokens", Needs::App, apps::create_token),
    route("GET", "/app/hook/config", Needs::App, apps::hook_config),
    route("GET", "/app/hook/deliveries", Needs::App, apps::deliveries),
    route("GET", "/app/hook/deliveries/{delivery_id}", Needs::App, apps::delivery),
    route("POST", "/app/hook/deliveries/{delivery_id}/attempts", Needs::App, apps::redeliver),
    route("GET", "/installation/repositories", Needs::Installation, apps::repositories),
    route("GET", "/rate_limit", Needs::Anyone, super::rate_limit),
    route("GET", "/versions", Needs::Anyone, super::versions),
    route("GET", "/users/{username}", Needs::Anyone, super::user),
    route("GET", "/user/{account_id}", Needs::Anyone, super::user_by_id),
    route("GET", "/orgs/{org}/teams/{team_slug}/memberships/{username}", READ_MEMBERS, repositories::membership),
    route("GET", "/repos/{owner}/{repo}", METADATA, repositories::repository),
    route("GET", "/repos/{owner}/{repo}/installation", Needs::App, apps::repository_installation),
    route("GET", "/repos/{owner}/{repo}/collaborators/{username}/permission", METADATA, repositories::permission),
    route("GET", "/repos/{owner}/{repo}/branches", READ_CONTENTS, repositories::branches),
    route("GET", "/repos/{owner}/{repo}/branches/{*branch}", READ_CONTENTS, repositories::branch),
    route("GET", "/repos/{owner}/{repo}/rules/branches/{*branch}", METADATA, repositories::rules),
    route("GET", "/repos/{owner}/{repo}/contents", READ_CONTENTS, contents::read),
    route("GET", "/repos/{owner}/{repo}/contents/{*path}", READ_CONTENTS, contents::read),
    route("GET", "/repos/{owner}/{repo}/compare/{*basehead}", READ_CONTENTS, commits::compare),
    route("GET", "/repos/{owner}/{repo}/commits", READ_CONTENTS, commits::list),
    route("GET", "/repos/{owner}/{repo}/commits/{*ref}/check-runs", READ_CHECKS, checks::list_for_ref),
    route("GET", "/repos/{owner}/{repo}/commits/{*ref}/status", READ_STATUSES, commits::combined_status),
    route("GET", "/repos/{owner}/{repo}/commits/{*ref}/statuses", READ_STATUSES, commits::statuses),
    route("GET", "/repos/{owner}/{repo}/commits/{*ref}/pulls", READ_COMMIT_PULLS, commits::pulls),
    route("GET", "/repos/{owner}/{repo}/commits/{*ref}", READ_CONTENTS, commits::one),
    route("POST", "/repos/{owner}/{repo}/statuses/{sha}", WRITE_STATUSES, commits::create_status),
    route("POST", "/repos/{owner}/{repo}/check-runs", WRITE_CHECKS, checks::create),
    route("GET", "/repos/{owner}/{repo}/check-runs/{check_run_id}", READ_CHECKS, checks::get),
    route("PATCH", "/repos/{owner}/{repo}/check-runs/{check_run_id}", WRITE_CHECKS, checks::update),
    route("GET", "/repos/{owner}/{repo}/check-runs/{check_run_id}/annotations", READ_CHECKS, checks::annotations),
    route("GET", "/repos/{owner}/{repo}/deployments", READ_DEPLOYMENTS, deployments::list),
    route("POST", "/repos/{owner}/{repo}/deployments", WRITE_DEPLOYMENTS, deployments::create),
    route("GET", "/repos/{owner}/{repo}/deployments/{deployment_id}", READ_DEPLOYMENTS, deployments::get),
    route("GET", "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses", READ_DEPLOYMENTS, deployments::statuses),
    route("POST", "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses", WRITE_DEPLOYMENTS, deployments::add),
    route("GET", "/repos/{owner}/{repo}/pulls", READ_PULLS, pulls::list),
    route("POST", "/repos/{owner}/{repo}/pulls", WRITE_PULLS, pulls::create),
    route("GET", "/repos/{owner}/{repo}/pulls/{pull_number}", READ_PULLS, pulls::get),
    route("PATCH", "/repos/{owner}/{repo}/pulls/{pull_number}", WRITE_PULLS, pulls::update),
    route("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/files", READ_PULLS, pulls::files),
    route("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/commits", READ_PULLS, pulls::commits),
    route("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/reviews", READ_PULLS, pulls::reviews),
    route("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/merge", READ_PULLS, pulls::is_merged),
    route("PUT", "/repos/{owner}/{repo}/pulls/{pull_number}/merge", WRITE_CONTENTS, pulls::merge),
    route("PUT", "/repos/{owner}/{repo}/pulls/{pull_number}/update-branch", WRITE_PULLS, pulls::update_branch),
    route("GET", "/repos/{owner}/{repo}/labels", READ_ISSUES, labels::list),
    route("POST", "/repos/{owner}/{repo}/labels", WRITE_ISSUES, labels::create),
    route("GET", "/repos/{owner}/{repo}/labels/{name}", READ_ISSUES, labels::get),
    route("GET", "/repos/{owner}/{repo}/issues", READ_ISSUES, issues::list),
    route("POST", "/repos/{owner}/{repo}/issues", WRITE_ISSUES, issues::create),
    route("GET", "/repos/{owner}/{repo}/issues/comments", READ_ISSUES, comments::list_all),
    route("GET", "/repos/{owner}/{repo}/issues/comments/{comment_id}", READ_ISSUES, comments::get),
    route("PATCH", "/repos/{owner}/{repo}/issues/comments/{comment_id}", WRITE_ISSUES, comments::update),
    route("DELETE", "/repos/{owner}/{repo}/issues/comments/{comment_id}", WRITE_ISSUES, comments::delete),
    route("GET", "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions", READ_ISSUES, comments::reactions),
    route("POST", "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions", WRITE_ISSUES, comments::react),
    route(
        "DELETE",
        "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions/{reaction_id}",
        WRITE_ISSUES,
        comments::unreact,
    ),
    route("GET", "/repos/{owner}/{repo}/issues/{issue_number}", READ_ISSUES, issues::get),
    route("PATCH", "/repos/{owner}/{repo}/issues/{issue_number}", WRITE_ISSUES, issues::update),
    route("GET", "/repos/{owner}/{repo}/issues/{issue_number}/comments", READ_ISSUES, comments::list),
    route("GET", "/repos/{owner}/{repo}/issues/{issue_number}/events", READ_ISSUES, labels::events),
    route("POST", "/repos/{owner}/{repo}/issues/{issue_number}/comments", WRITE_ISSUES, comments::create),
    route("GET", "/repos/{owner}/{repo}/issues/{issue_number}/labels", READ_ISSUES, labels::of_issue),
    route("POST", "/repos/{owner}/{repo}/issues/{issue_number}/labels", WRITE_ISSUES, labels::add),
    route("DELETE", "/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}", WRITE_ISSUES, labels::remove),
    route("GET", "/repos/{owner}/{repo}/git/ref/{*ref}", READ_CONTENTS, git_data::get_ref),
    route("GET", "/repos/{owner}/{repo}/git/matching-refs/{*ref}", READ_CONTENTS, git_data::matching_refs),
    route("POST", "/repos/{owner}/{repo}/git/refs", WRITE_CONTENTS, git_data::create_ref),
    route("PATCH", "/repos/{owner}/{repo}/git/refs/{*ref}", WRITE_CONTENTS, git_data::update_ref),
    route("DELETE", "/repos/{owner}/{repo}/git/refs/{*ref}", WRITE_CONTENTS, git_data::delete_ref),
    route("POST", "/repos/{owner}/{repo}/git/commits", WRITE_CONTENTS, git_data::create_commit),
    route("GET", "/repos/{owner}/{repo}/git/commits/{commit_sha}", READ_CONTENTS, git_data::get_commit),
    route("POST", "/repos/{owner}/{repo}/git/trees", WRITE_CONTENTS, git_data::create_tree),
    route("GET", "/repos/{owner}/{repo}/git/trees/{*tree_sha}", READ_CONTENTS, git_data::get_tree),
    route("POST", "/repos/{owner}/{repo}/git/blobs", WRITE_CONTENTS, git_data::create_blob),
    route("GET", "/repos/{owner}/{repo}/git/blobs/{file_sha}", READ_CONTENTS, git_data::get_blob),
];

/// The route for a method and a percent-encoded path, with the decoded path parameters.
pub fn find(method: &Method, path: &str) -> Option<(&'static Route, Vec<(&'static str, String)>)> {
    let segments: Vec<String> = path.trim_start_matches('/').split('/').map(decode).collect();
    ROUTES.iter().filter(|route| route.method == method.as_str()).find_map(|route| {
        let template: Vec<&'static str> = route.path.trim_start_matches('/').split('/').collect();
        Some((route, fit(&template, &segments)?))
    })
}

fn fit(template: &[&'static str], segments: &[String]) -> Option<Vec<(&'static str, String)>> {
    let Some((first, rest)) = template.split_first() else {
        return segments.is_empty().then(Vec::new);
    };
    let name = first.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
    let lengths = match name {
        Some(name) if name.starts_with('*') => 1..=segments.len(),
        _ => 1..=1,
    };
    for length in lengths.rev() {
        let Some(taken) = segments.get(..length) else { continue };
        // Only a parameter of several segments may have empty ones: `matching-refs/heads/`.
        if taken[0].is_empty() {
            continue;
        }
        if name.is_none() && taken[0] != *first {
            return None;
        }
        if let Some(mut params) = fit(rest, &segments[length..]) {
            if let Some(name) = name {
                params.insert(0, (name.trim_start_matches('*'), taken.join("/")));
            }
            return Some(params);
        }
    }
    None
}

/// Undoes percent-encoding; what is not valid stays as it is.
fn decode(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = segment.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[at], code) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &Method, path: &str) -> Option<(&'static str, Vec<String>)> {
        let (route, params) = find(method, path)?;
        Some((route.path, params.into_iter().map(|(_, value)| value).collect()))
    }

    #[test]
    fn a_path_finds_its_route_and_its_decoded_parameters() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let cases = [
            ("/repos/a/b/issues/comments", Some(("/repos/{owner}/{repo}/issues/comments", texts(&["a", "b"])))),
            (
                "/repos/a/b/commits/feature%2Fx/check-runs",
                Some(("/repos/{owner}/{repo}/commits/{*ref}/check-runs", texts(&["a", "b", "feature/x"]))),
            ),
            (
                "/repos/a/b/commits/feature/x",
                Some(("/repos/{owner}/{repo}/commits/{*ref}", texts(&["a", "b", "feature/x"]))),
            ),
            (
                "/repos/a/b/contents/src/a%20b.rs",
                Some(("/repos/{owner}/{repo}/contents/{*path}", texts(&["a", "b", "src/a b.rs"]))),
            ),
            ("/repos/a/b/", None),
            ("/repos/a/b/unheard-of", None),
        ];
        for (path, expected) in cases {
            assert_eq!(found(&Method::GET, path), expected, "{path}");
        }
        assert_eq!(found(&Method::PUT, "/repos/a/b"), None);
    }
}
