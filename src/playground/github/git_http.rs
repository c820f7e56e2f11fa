//! Git's smart HTTP protocol, for fetching only: `git http-backend` behind a check of the token.
//!
//! Private repositories need Basic authentication with an installation token as password (the user is
//! `x-access-token`) and `contents: read`. Any commit may be asked for by its id. Pushing is refused.

use std::io::Write as _;
use std::process::Stdio;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, Response, StatusCode};

use super::Sim;
use super::auth::{self, Level};
use super::git::Git;
use super::model::State;
use super::rest::Incoming;

/// A request of git's own protocol: the repository's full name and what follows its `.git`.
pub fn split_path(path: &str) -> Option<(String, &'static str)> {
    // The last one is what git asks for when an answer looks to it as if the server were a mere folder.
    let (repository, service) = ["/info/refs", "/git-upload-pack", "/git-receive-pack", ".git/HEAD"]
        .into_iter()
        .find_map(|end| Some((path.strip_suffix(end)?, end)))?;
    let (owner, name) = repository.strip_prefix('/')?.split_once('/')?;
    let name = name.strip_suffix(".git").unwrap_or(name);
    let plain = !owner.is_empty() && !name.is_empty() && !name.contains('/');
    plain.then(|| (format!("{owner}/{name}"), service))
}

/// Answers one request of git. Blocks while git works.
pub fn serve(sim: &Sim, request: &Incoming, full_name: &str, service: &'static str) -> Response<Body> {
    let query = request.query.as_deref().unwrap_or_default();
    let git = match sim.with(|state| {
        state.git_requests.push(format!("{} {}", request.method, request.path));
        enter(state, &request.headers, full_name)
    }) {
        Ok(git) => git,
        Err(refusal) => return refusal.into_response(),
    };
    let fetching = match service {
        "/info/refs" => request.method == Method::GET && query == "service=git-upload-pack",
        "/git-upload-pack" => request.method == Method::POST,
        _ => false,
    };
    if !fetching {
        return text(StatusCode::FORBIDDEN, "The playground's git takes no pushes and no old protocols.\n");
    }
    backend(&git, request, service)
        .unwrap_or_else(|error| text(StatusCode::INTERNAL_SERVER_ERROR, &format!("git could not answer: {error}\n")))
}

/// Why git is not let in.
struct Refusal {
    status: StatusCode,
    message: &'static str,
}

impl Refusal {
    /// The answer that says so; a 401 asks for credentials.
    fn into_response(self) -> Response<Body> {
        let mut response = text(self.status, self.message);
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = http::HeaderValue::from_static("Basic realm=\"GitHub\"");
            response.headers_mut().insert(http::header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// The repository, if the caller may read it.
fn enter(state: &State, headers: &HeaderMap, full_name: &str) -> Result<Git, Refusal> {
    let missing = || Refusal { status: StatusCode::NOT_FOUND, message: "Repository not found.\n" };
    let asks = || Refusal { status: StatusCode::UNAUTHORIZED, message: "Invalid username or token.\n" };
    let repository = state.repository(full_name);
    let Some(authorization) = headers.get("authorization").and_then(|value| value.to_str().ok()) else {
        // GitHub asks for credentials rather than telling whether a private repository exists.
        return match repository.filter(|repository| !repository.private) {
            Some(public) => Ok(public.git.clone()),
            None => Err(asks()),
        };
    };
    let token = basic_password(authorization)
        .and_then(|password| auth::installation_token(state, &password, crate::clock::now()))
        .ok_or_else(asks)?;
    let repository = repository.ok_or_else(missing)?;
    if !repository.private {
        return Ok(repository.git.clone());
    }
    if !token.repositories.contains(&repository.full_name()) {
        return Err(missing());
    }
    if !auth::permits(&token, &[("contents", Level::Read)]) {
        let message = "Write access to repository not granted.\n";
        return Err(Refusal { status: StatusCode::FORBIDDEN, message });
    }
    Ok(repository.git.clone())
}

fn basic_password(authorization: &str) -> Option<String> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())??;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    (user == "x-access-token").then(|| password.to_owned())
}

/// Runs git's own CGI program; it also undoes compression and speaks both versions of the protocol.
fn backend(git: &Git, request: &Incoming, service: &str) -> std::io::Result<Response<Body>> {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut command = git.command();
    let mut child = command
        .arg("http-backend")
        .env_remove("GIT_DIR")
        .env("GIT_PROJECT_ROOT", git.dir())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", service)
        .env("REQUEST_METHOD", request.method.as_str())
        .env("QUERY_STRING", request.query.as_deref().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let writer = child.stdin.take().map(|mut pipe| {
        let body = request.body.clone();
        std::thread::spawn(move || pipe.write_all(&body).ok())
    });
    let output = child.wait_with_output()?;
    if let Some(writer) = writer {
        writer.join().ok();
    }
    cgi(&output.stdout).ok_or_else(|| std::io::Error::other("its answer has no end of headers"))
}

fn cgi(out: &[u8]) -> Option<Response<Body>> {
    let end = out.windows(4).position(|window| window == b"\r\n\r\n")?;
    let mut response = Response::new(Body::from(out[end + 4..].to_vec()));
    for line in String::from_utf8_lossy(&out[..end]).lines() {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next()?.parse().ok()?;
            *response.status_mut() = StatusCode::from_u16(code).ok()?;
        } else if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), http::HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    Some(response)
}

fn text(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(message.to_owned()));
    *response.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    response
}
