//! One commit, fetched with real git over HTTP, and a token that leaves no trace.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use base64::Engine as _;
use secrecy::SecretString;
use titan::checkout::{CheckoutError, checkout};
use titan::domain::ids::CommitSha;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use url::Url;

/// More than any repository here.
const LIMIT: u64 = 1 << 20;

pub const TOKEN: &str = "ghs_0123456789abcdef0123456789abcdef0123";

/// A repository with three commits behind git's own HTTP server program, which asks for the token.
struct Host {
    folder: tempfile::TempDir,
    url: Url,
    commits: Vec<CommitSha>,
    /// The `Authorization` headers that came, in order.
    seen: Arc<Mutex<Vec<Option<String>>>>,
}

#[derive(Clone)]
struct Served {
    root: PathBuf,
    seen: Arc<Mutex<Vec<Option<String>>>>,
}

impl Host {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let work = folder.path().join("shop.git");
        std::fs::create_dir(&work).expect("a folder");
        git(&work, &["init", "-q", "-b", "main", "."]);
        let commits: [CommitSha; 3] = ["one", "two", "three"].map(|text| {
            std::fs::write(work.join("file.txt"), text).expect("a file");
            std::fs::write(work.join(".gitattributes"), "*.bin filter=lfs\n*.txt filter=evil\n").expect("a file");
            git(&work, &["add", "."]);
            git(&work, &["commit", "-q", "-m", text]);
            git(&work, &["rev-parse", "HEAD"]).parse().expect("a commit")
        });
        let (url, seen) = serve(folder.path()).await;
        Self { url, folder, commits: commits.to_vec(), seen }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("builds/checkout")
    }

    async fn fetch(&self, commit: &CommitSha, token: &str) -> Result<(), CheckoutError> {
        let deadline = Instant::now() + Duration::from_secs(30);
        checkout(&self.url, Some(&SecretString::from(token)), commit, &self.target(), LIMIT, deadline).await
    }
}

/// Serves the repository `shop.git` of a folder. Gives its address and the `Authorization` headers that come.
pub async fn serve(root: &Path) -> (Url, Arc<Mutex<Vec<Option<String>>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let served = Served { root: root.to_owned(), seen: seen.clone() };
    let router = Router::new().fallback(backend).with_state(served);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/shop.git", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Url::parse(&url).expect("a url"), seen)
}

/// `git http-backend` as a CGI program. 401 without the right token.
async fn backend(State(served): State<Served>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let authorization = header("authorization");
    served.seen.lock().expect("a lock").push(authorization.clone());
    let right = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{TOKEN}"));
    if authorization != Some(format!("Basic {right}")) {
        return answer(StatusCode::UNAUTHORIZED, &[("www-authenticate", "Basic realm=\"git\"")], Bytes::new());
    }
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &served.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git http-backend");
    child.stdin.take().expect("piped").write_all(&body).await.expect("its input");
    let output = child.wait_with_output().await.expect("its output").stdout;
    let end = output.windows(4).position(|part| part == b"\r\n\r\n").expect("headers");
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let headers: Vec<(&str, &str)> = head.lines().filter_map(|line| line.split_once(": ")).collect();
    let status = headers.iter().find(|(name, _)| *name == "Status").and_then(|(_, value)| value[..3].parse().ok());
    let status = status.and_then(|code: u16| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::OK);
    answer(status, &headers, Bytes::copy_from_slice(&output[end + 4..]))
}

fn answer(status: StatusCode, headers: &[(&str, &str)], body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let map: &mut HeaderMap = response.headers_mut();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (axum::http::HeaderName::try_from(*name), value.parse()) {
            map.insert(name, value);
        }
    }
    response
}

/// What git says, as text.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Every regular file below, with its bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.file_type().expect("a type").is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push((entry.path(), std::fs::read(entry.path()).expect("a file"))),
        }
    }
    found
}

#[tokio::test]
async fn exactly_the_commit_is_there_and_nothing_of_its_history() {
    let host = Host::new().await;
    host.fetch(&host.commits[1], TOKEN).await.expect("the commit in the middle");
    assert_eq!(std::fs::read_to_string(host.target().join("file.txt")).expect("the file"), "two");
    assert_eq!(git(&host.target(), &["rev-list", "--all", "HEAD"]), host.commits[1].as_str());
    assert_eq!(git(&host.target(), &["status", "--porcelain"]), "");

    std::fs::write(host.target().join("left-over"), "from an attempt that was cut off").expect("a file");
    host.fetch(&host.commits[2], TOKEN).await.expect("again, over what is there");
    assert_eq!(std::fs::read_to_string(host.target().join("file.txt")).expect("the file"), "three");
    assert!(!host.target().join("left-over").exists());
}

#[tokio::test]
async fn the_token_reaches_the_host_and_stays_nowhere() {
    let host = Host::new().await;
    host.fetch(&host.commits[0], TOKEN).await.expect("the commit");
    assert!(host.seen.lock().expect("a lock").iter().any(Option::is_some), "the host saw a token");
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{TOKEN}"));
    let all = files(&host.target());
    assert!(all.len() > 5, "there is something to look through");
    for (path, bytes) in all {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(TOKEN) && !text.contains(&encoded), "the token is in {}", path.display());
    }
    assert_eq!(git(&host.target(), &["remote"]), "", "and the repository has no remote");
}

#[tokio::test]
async fn what_goes_wrong_is_told_without_the_token() {
    let host = Host::new().await;
    let wrong = "ghs_wrong0123456789abcdef0123456789abcde";
    let error = host.fetch(&host.commits[0], wrong).await.expect_err("a wrong token");
    assert!(matches!(error, CheckoutError::Unauthorized(_)), "{error}");
    assert!(!error.to_string().contains(wrong), "{error}");

    let missing = "0123456789012345678901234567890123456789".parse().expect("an id");
    let error = host.fetch(&missing, TOKEN).await.expect_err("no such commit");
    assert!(matches!(error, CheckoutError::NotFound(_)), "{error}");

    let mut nowhere = host.url.clone();
    nowhere.set_path("/other.git");
    let deadline = Instant::now() + Duration::from_secs(30);
    let token = SecretString::from(TOKEN);
    let error =
        checkout(&nowhere, Some(&token), &missing, &host.target(), LIMIT, deadline).await.expect_err("no repository");
    assert!(matches!(error, CheckoutError::NotFound(_)), "{error}");

    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    nowhere.set_port(Some(closed.local_addr().expect("an address").port())).expect("a port");
    drop(closed);
    let error = checkout(&nowhere, Some(&token), &missing, &host.target(), LIMIT, deadline).await.expect_err("no host");
    assert!(matches!(error, CheckoutError::Transient(_)), "{error}");

    for address in ["file:///etc", "ssh://git@example.com/x", "https://u:p@example.com/x"] {
        let url = Url::parse(address).expect("a url");
        let error = checkout(&url, None, &missing, &host.target(), LIMIT, deadline).await.expect_err(address);
        assert!(matches!(error, CheckoutError::Address(_)), "{error}");
    }
}

#[tokio::test]
async fn a_host_that_never_answers_is_left_at_the_deadline() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/shop.git", listener.local_addr().expect("an address"));
    let (url, place) = (Url::parse(&url).expect("a url"), tempfile::tempdir().expect("a folder"));
    let commit = "0123456789012345678901234567890123456789".parse().expect("an id");
    let started = Instant::now();
    let into = place.path().join("x");
    let outcome = checkout(&url, None, &commit, &into, LIMIT, started + Duration::from_millis(700)).await;
    assert!(matches!(outcome, Err(CheckoutError::TimedOut)), "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
    let limit = Instant::now() + Duration::from_secs(5);
    while let Some(left) = process_with(url.as_str()) {
        assert!(Instant::now() < limit, "git still runs: {left}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The command line of a process that names this text.
fn process_with(text: &str) -> Option<String> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .find(|line| line.contains(text))
}

#[tokio::test]
async fn what_a_build_left_in_the_checkout_is_never_run_by_titan() {
    let host = Host::new().await;
    let target = host.target();
    let canary = host.folder.path().join("pwned");
    host.fetch(&host.commits[0], TOKEN).await.expect("it comes");
    // what a hostile build could leave: settings, hooks and filters that run programs
    let run = format!("touch {}", canary.display());
    let config = format!(
        "[core]\n\tfsmonitor = {run}\n\tsshCommand = {run}\n\tpager = {run}\n\thooksPath = .git/hooks\n\
         [filter \"evil\"]\n\tsmudge = {run}\n\tclean = {run}\n\trequired = true\n[credential]\n\thelper = !{run}\n\
         [include]\n\tpath = /etc/passwd\n[alias]\n\tfetch = !{run}\n[protocol \"ext\"]\n\tallow = always\n"
    );
    std::fs::write(target.join(".git/config"), &config).expect("a file");
    std::fs::create_dir_all(target.join(".git/hooks")).expect("a folder");
    for hook in ["post-checkout", "reference-transaction", "post-index-change", "fsmonitor-watchman"] {
        let path = target.join(".git/hooks").join(hook);
        std::fs::write(&path, format!("#!/bin/sh\n{run}\n")).expect("a hook");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a hook");
    }
    host.fetch(&host.commits[1], TOKEN).await.expect("it comes");
    assert!(!canary.exists(), "nothing of it was run");
    let left = std::fs::read_to_string(target.join(".git/config")).expect("a config");
    assert!(!left.contains("fsmonitor") && !left.contains("evil"), "nothing of it is left: {left}");

    // a `.git` that leads elsewhere, and a folder that does
    let elsewhere = host.folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a folder");
    std::fs::write(elsewhere.join("kept"), "x").expect("a file");
    for leads_elsewhere in [true, false] {
        std::fs::remove_dir_all(target.join(".git")).expect("it goes");
        match leads_elsewhere {
            true => std::os::unix::fs::symlink(&elsewhere, target.join(".git")).expect("a link"),
            false => {
                std::fs::write(target.join(".git"), format!("gitdir: {}\n", elsewhere.display())).expect("a file");
            }
        }
        host.fetch(&host.commits[2], TOKEN).await.expect("it comes");
        assert!(target.join(".git").symlink_metadata().expect("it is there").is_dir());
        assert_eq!(std::fs::read_dir(&elsewhere).expect("a folder").count(), 1, "nothing was put there or taken");
    }
    std::fs::remove_dir_all(&target).expect("it goes");
    std::os::unix::fs::symlink(&elsewhere, &target).expect("a link");
    host.fetch(&host.commits[0], TOKEN).await.expect("it comes");
    assert!(elsewhere.join("kept").exists() && !target.is_symlink() && !canary.exists());
}

#[tokio::test]
async fn one_content_under_many_names_is_counted_as_often_as_it_would_be_written() {
    let host = Host::new().await;
    let work = host.folder.path().join("shop.git");
    for n in 0..40 {
        std::fs::write(work.join(format!("copy{n}")), vec![b'x'; 60_000]).expect("a file");
    }
    git(&work, &["add", "."]);
    git(&work, &["commit", "-q", "-m", "copies"]);
    let commit: CommitSha = git(&work, &["rev-parse", "HEAD"]).parse().expect("a commit");
    let refused = host.fetch(&commit, TOKEN).await;
    assert!(matches!(refused, Err(CheckoutError::TooLarge { limit: LIMIT })), "{refused:?}");
    assert!(!host.target().join("copy0").exists(), "nothing of it is written");
    assert!(refused.unwrap_err().to_string().contains("more than 1 MB"));
}
