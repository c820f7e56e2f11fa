//! Brings exactly one commit of a repository into a folder, with the `git` program.
//!
//! The token reaches git only through the environment of the one fetch and is bound to the repository's host: it is never
//! in an argument list, a URL, a file or an error. Nobody's git settings, hooks, filters or submodules are used, so
//! nothing of the repository is run here.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::domain::ids::CommitSha;
use crate::redact::Redactor;

mod room;
mod trees;

pub use trees::{TreeDiff, diff_trees};

/// The system's programs; Titan's own `PATH` may lead anywhere.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where git is among them. A program that is started by its path alone needs no copy of this process first.
static GIT: LazyLock<PathBuf> = LazyLock::new(|| {
    let found = PATH.split(':').map(|folder| Path::new(folder).join("git")).find(|path| path.is_file());
    // found later, or missed with the system's own words
    found.unwrap_or_else(|| PathBuf::from("git"))
});
/// How much of git's words is read. The reason stands at the end of them, and this is far more than git says.
const WORDS_LIMIT: usize = 64 * 1024;
/// How much of git's words an error repeats, in characters.
const SENTENCE_LIMIT: usize = 300;
/// A transfer slower than this many bytes a second for this many seconds is given up.
const SLOW_BYTES: &str = "1000";
const SLOW_SECONDS: &str = "60";

/// Settings for every call: nothing of the repository is run, nothing is asked, nothing stays behind.
const SETTINGS: [(&str, &str); 15] = [
    ("core.hooksPath", "/dev/null"),
    ("core.attributesFile", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("credential.helper", ""),
    ("advice.detachedHead", "false"),
    ("init.defaultBranch", "titan"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", SLOW_BYTES),
    ("http.lowSpeedTime", SLOW_SECONDS),
];

/// Why a commit is not there, named by what the caller does about it. Texts are for people and hold no token.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// The repository or the commit is not there, or not for this token.
    #[error("git cannot find the commit: {0}")]
    NotFound(String),
    /// The token is refused.
    #[error("git may not read the repository: {0}")]
    Unauthorized(String),
    /// The host is not well or cannot be reached; try again later.
    #[error("git cannot reach the repository: {0}")]
    Transient(String),
    /// It took too long and was stopped.
    #[error("fetching the commit took too long and was stopped")]
    TimedOut,
    /// `git` cannot be started.
    #[error("cannot run git: {0}; install it (Debian, Ubuntu: apt install git)")]
    NoGit(io::Error),
    /// The folder cannot be used.
    #[error("cannot use the checkout folder: {0}")]
    Folder(io::Error),
    /// The URL is not one to fetch from.
    #[error("cannot fetch from this address: {0}")]
    Address(&'static str),
    /// Its files are more than may be written.
    #[error("its files take more than {} MB, which is all that a build may write here", limit / 1_000_000)]
    TooLarge {
        /// How many bytes there may be.
        limit: u64,
    },
    /// Anything else that git says.
    #[error("git failed: {0}")]
    Failed(String),
}

/// Puts the files of `commit` into `into`, as a repository with a detached `HEAD` and a history of one commit. What was
/// in `into` before is removed first, so an attempt that was cut off is simply repeated. When `deadline` passes, or the
/// future is dropped, git is killed. Neither what is fetched nor the files take more than `limit` bytes: one content under
/// many names is fetched once and written many times, so the names are counted before anything is written.
///
/// # Errors
/// Each variant of [`CheckoutError`]; `into` may then hold a part.
pub async fn checkout(
    git_url: &Url,
    token: Option<&SecretString>,
    commit: &CommitSha,
    into: &Path,
    limit: u64,
    deadline: Instant,
) -> Result<(), CheckoutError> {
    check_address(git_url)?;
    prepare(into).await.map_err(CheckoutError::Folder)?;
    let git = Git::new(into, git_url, token, limit, deadline)?;
    let format = if commit.as_str().len() == 64 { "sha256" } else { "sha1" };
    git.run(&["init", "--quiet", "--template=", &format!("--object-format={format}")], Access::Local).await?;
    let refspec = commit.as_str();
    git.run(
        &["fetch", "--quiet", "--depth=1", "--no-tags", "--no-auto-maintenance", "--", git_url.as_str(), refspec],
        Access::Remote,
    )
    .await?;
    if git.bytes_of(refspec).await? > limit {
        return Err(CheckoutError::TooLarge { limit });
    }
    git.run(&["checkout", "--quiet", "--force", "--detach", refspec], Access::Local).await?;
    let head = git.run(&["rev-parse", "--verify", "HEAD"], Access::Local).await?;
    if head.trim() == commit.as_str() {
        Ok(())
    } else {
        Err(CheckoutError::Failed(format!("the checkout is at another commit than {commit}")))
    }
}

fn check_address(git_url: &Url) -> Result<(), CheckoutError> {
    if !matches!(git_url.scheme(), "https" | "http") {
        return Err(CheckoutError::Address("its scheme is neither https nor http"));
    }
    if !git_url.username().is_empty() || git_url.password().is_some() {
        return Err(CheckoutError::Address("it contains credentials, which would be seen by other programs"));
    }
    Ok(())
}

/// An empty folder in place of whatever was there.
async fn prepare(into: &Path) -> io::Result<()> {
    match tokio::fs::remove_dir_all(into).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    tokio::fs::create_dir_all(into).await
}

/// Whether a call needs the repository's host, and with it the token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Local,
    Remote,
}

/// How git is called for one checkout.
struct Git {
    folder: PathBuf,
    /// The name of the setting that sends the token to this host only, and its value.
    header: Option<(String, SecretString)>,
    redactor: Redactor,
    /// The most bytes that may be fetched.
    limit: u64,
    deadline: Instant,
}

impl Git {
    fn new(
        folder: &Path,
        url: &Url,
        token: Option<&SecretString>,
        limit: u64,
        deadline: Instant,
    ) -> Result<Self, CheckoutError> {
        let encoded =
            token.map(|token| SecretString::from(STANDARD.encode(format!("x-access-token:{}", token.expose_secret()))));
        let known = token.iter().map(|token| token.expose_secret());
        let redactor = Redactor::new(known.chain(encoded.iter().map(ExposeSecret::expose_secret)))
            .map_err(|error| CheckoutError::Failed(error.to_string()))?;
        let header = encoded.map(|encoded| {
            let host = url.origin().ascii_serialization();
            let value = format!("Authorization: Basic {}", encoded.expose_secret());
            (format!("http.{host}/.extraHeader"), SecretString::from(value))
        });
        Ok(Self { folder: folder.to_owned(), header, redactor, limit, deadline })
    }

    /// Runs one subcommand and gives its standard output.
    async fn run(&self, arguments: &[&str], access: Access) -> Result<String, CheckoutError> {
        let mut child = self.command(arguments, access).spawn().map_err(CheckoutError::NoGit)?;
        let mut group = Group::of(&child);
        if access == Access::Remote
            && let Some(git) = group.0
        {
            // No single file of it may pass the limit, however fast it comes. Only a tighter limit than Titan's own.
            let most = rustix::process::Rlimit { current: Some(self.limit), maximum: Some(self.limit) };
            let _ = rustix::process::prlimit(Some(git), rustix::process::Resource::Fsize, most);
        }
        let ended = tokio::select! {
            ended = timeout_at(self.deadline, finish(&mut child)) => ended,
            limit = room::used_up(&self.folder, self.limit), if access == Access::Remote => return Err(limit),
        };
        let (status, output, words) = match ended {
            Ok(finished) => finished.map_err(|error| CheckoutError::Failed(error.to_string()))?,
            Err(_) => return Err(CheckoutError::TimedOut),
        };
        // it has ended and been waited for, so its number may soon be somebody else's
        group.0 = None;
        match status.success() {
            true => Ok(output),
            // SIGXFSZ, in the words of git about the program that writes the pack.
            false if words.contains("died of signal 25") => Err(CheckoutError::TooLarge { limit: self.limit }),
            false => Err(classify(&self.redactor.clean(&words), status)),
        }
    }

    fn command(&self, arguments: &[&str], access: Access) -> Command {
        let mut command = Command::new(&*GIT);
        command.args(arguments).current_dir(&self.folder).env_clear();
        command
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            // what a fetch left out stays out
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "http:https")
            // git must not find a repository in a folder above when this one is broken
            .env("GIT_CEILING_DIRECTORIES", self.folder.parent().unwrap_or(Path::new("/")));
        let header = self.header.as_ref().filter(|_| access == Access::Remote);
        let header = header.map(|(name, value)| (name.as_str(), value.expose_secret()));
        let settings = SETTINGS.into_iter().chain(header);
        let mut count = 0_usize;
        for (name, value) in settings {
            command.env(format!("GIT_CONFIG_KEY_{count}"), name).env(format!("GIT_CONFIG_VALUE_{count}"), value);
            count += 1;
        }
        command.env("GIT_CONFIG_COUNT", count.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command
    }
}

/// Kills git and the programs it started when dropped before git's end, whatever the reason.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // fails only when all of it has ended meanwhile
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// Waits for the end and keeps what was said.
async fn finish(child: &mut Child) -> io::Result<(ExitStatus, String, String)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (output, words, status) = tokio::join!(read(stdout), read(stderr), child.wait());
    Ok((status?, output?, words?))
}

/// Reads to the end and keeps the last part.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let Some(mut stream) = stream else { return Ok(String::new()) };
    let (mut kept, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut chunk).await?;
        if length == 0 {
            return Ok(String::from_utf8_lossy(&kept).into_owned());
        }
        kept.extend_from_slice(&chunk[..length]);
        if kept.len() > 2 * WORDS_LIMIT {
            kept.drain(..kept.len() - WORDS_LIMIT);
        }
    }
}

/// What git's words (English by `LC_ALL=C`) mean for the caller. `words` hold no token any more.
fn classify(words: &str, status: ExitStatus) -> CheckoutError {
    let lines = words.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("hint:"));
    let text: String = lines.collect::<Vec<_>>().join("; ").chars().take(SENTENCE_LIMIT).collect();
    let text = if text.is_empty() { status.to_string() } else { text };
    let says = |any: &[&str]| any.iter().any(|part| words.contains(part));
    if says(&["not our ref", "couldn't find remote ref", "unadvertised object"]) || says(&["' not found"]) {
        CheckoutError::NotFound(text)
    } else if says(&["Authentication failed", "could not read Username", "returned error: 401", "returned error: 403"])
    {
        CheckoutError::Unauthorized(text)
    } else if says(&[
        "Could not resolve host",
        "Failed to connect",
        "Couldn't connect",
        "Connection",
        "early EOF",
        "hung up unexpectedly",
        "Empty reply from server",
        "transfer closed",
        "expected flush after",
        "bytes of body are still expected",
        "unexpected disconnect",
        "invalid index-pack output",
        "returned error: 408",
        "RPC failed",
        "returned error: 5",
        "returned error: 429",
        "Operation too slow",
        "SSL",
    ]) {
        CheckoutError::Transient(text)
    } else {
        CheckoutError::Failed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn git_s_words_say_what_the_caller_does() {
        let kind = |words: &str| classify(words, ExitStatus::from_raw(128 << 8));
        for words in [
            "fatal: remote error: upload-pack: not our ref 0123",
            "fatal: repository 'https://github.com/a/b/' not found",
        ] {
            assert!(matches!(kind(words), CheckoutError::NotFound(_)), "{words}");
        }
        for words in [
            "fatal: Authentication failed for 'https://github.com/a/b/'",
            "fatal: could not read Username for 'https://github.com': terminal prompts disabled",
            "fatal: unable to access 'https://github.com/a/b/': The requested URL returned error: 403",
        ] {
            assert!(matches!(kind(words), CheckoutError::Unauthorized(_)), "{words}");
        }
        for words in [
            "fatal: unable to access 'https://x.invalid/': Could not resolve host: x.invalid",
            "fatal: unable to access 'https://github.com/a/b/': The requested URL returned error: 503",
            "error: RPC failed; curl 18 transfer closed",
            "fatal: unable to access 'https://github.com/a/b/': Empty reply from server",
            "fatal: unable to access 'https://github.com/a/b/': transfer closed with 279 bytes remaining to read",
            "fatal: expected flush after capabilities",
        ] {
            assert!(matches!(kind(words), CheckoutError::Transient(_)), "{words}");
        }
        let CheckoutError::Failed(text) = kind("") else { panic!("nothing is known") };
        assert_eq!(text, "exit status: 128");
    }

    #[test]
    fn only_the_fetch_knows_the_token_and_only_for_its_host() {
        let url = Url::parse("https://github.example:8443/acme/shop.git").expect("a url");
        let token = SecretString::from("ghs_0123456789abcdef0123456789abcdef0123");
        let git = Git::new(Path::new("/nowhere/x"), &url, Some(&token), 1, Instant::now()).expect("a token");
        let environment = |access| {
            let command = git.command(&["fetch"], access);
            let list = command.as_std().get_envs().map(|(name, value)| format!("{name:?}={value:?}"));
            list.collect::<Vec<_>>().join("\n")
        };
        assert!(!environment(Access::Local).contains("Authorization"));
        let remote = environment(Access::Remote);
        assert!(
            remote.contains("\"http.https://github.example:8443/.extraHeader\"") && remote.contains("Authorization")
        );
        assert!(remote.contains("\"GIT_CONFIG_COUNT\"=Some(\"16\")"), "{remote}");
    }
}
