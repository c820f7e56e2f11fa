//! The process's settings: environment -> [`Config`], all mistakes reported at once. The only reader of the environment.
//!
//! A variable that is set but empty counts as absent. Secrets are held in types that do not print.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use crate::domain::targets::Grants;
use crate::redact::SecretUrl;

/// How a key in PEM begins.
const PEM: &str = "-----BEGIN";
const MB: u64 = 1024 * 1024;

/// One environment variable, for the documentation.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name; `<NAME>` stands for a part that is chosen freely.
    pub name: &'static str,
    /// What it is for.
    pub meaning: &'static str,
    /// What holds without it.
    pub default: &'static str,
}

const fn setting(name: &'static str, meaning: &'static str, default: &'static str) -> Setting {
    Setting { name, meaning, default }
}

/// Every variable that Titan reads, in the order of the documentation.
pub const SETTINGS: &[Setting] = &[
    setting("DATABASE_URL", "Postgres", "an own Postgres that Titan starts under `OUTPUT_DIR`"),
    setting("BIND_ADDR", "address to listen on", "`127.0.0.1`"),
    setting("PORT", "port to listen on", "`8080`"),
    setting("PUBLIC_URL", "how people reach Titan; used in links", "`http://BIND_ADDR:PORT`"),
    setting("GITHUB_APP_ID", "the App's id", "none, needed by `serve`"),
    setting(
        "GITHUB_APP_PRIVATE_KEY",
        "the App's private key: PEM text, or the path of a file",
        "none, needed by `serve`",
    ),
    setting(
        "GITHUB_WEBHOOK_SECRET",
        "the App's webhook secret; two, separated by a comma, while you change it",
        "none, needed by `serve`",
    ),
    setting("GITHUB_API_URL", "GitHub's REST API", "`https://api.github.com`"),
    setting("GITHUB_URL", "GitHub's pages and git", "`https://github.com`"),
    setting("RENDER_API_URL", "Render's API", "`https://api.render.com/v1`"),
    setting("RENDER_API_KEY", "key for Render's API", "none; then only deploy hooks work"),
    setting("RENDER_DEPLOY_HOOK_<NAME>", "a deploy hook that a policy can name as `<NAME>`", "none"),
    setting(
        "TARGET_REPOSITORIES",
        "which repository may deploy to which service or hook: `srv-abc=acme/shop, WEB_CANARY=acme/*`",
        "the first repository that deploys to a service keeps it",
    ),
    setting("OUTPUT_DIR", "checkouts, caches, the own Postgres", "`./data`"),
    setting(
        "ALLOW_PRIVATE_TARGETS",
        "networks (CIDR, comma-separated) that probes and hooks may reach although private",
        "none",
    ),
    setting(
        "BUILD_ISOLATION",
        "`required`: what cannot be isolated is not built; `off`: builds run as Titan's own user",
        "`required`",
    ),
    setting(
        "BUILD_TOOLS",
        "folders (colon-separated) that builds see read-only besides the system's, the `bin` in each on their `PATH`",
        "none",
    ),
    setting("BUILD_MEMORY_MB", "memory of one build", "half of the machine's, at most `4096`"),
    setting("BUILD_PROCESSES", "processes and threads of one build", "`1024`"),
    setting("BUILD_CPUS", "processors of one build, such as `1.5`", "all"),
    setting("BUILD_DISK_MB", "what one build may write, and what its checkout may take", "`8192`"),
    setting("BUILD_OUTPUT_MB", "what one build may print", "`16`"),
    setting(
        "KEEP_DELIVERIES_DAYS",
        "how long webhook deliveries are remembered; GitHub repeats them for three days, an Enterprise Server for seven",
        "`30`, at least `10`",
    ),
    setting(
        "KEEP_LOGS_DAYS",
        "how long build logs, probes and live events of finished runs are kept; runs, releases, decisions and the audit log \
         stay",
        "`90`",
    ),
    setting("TITAN_PG_BIN", "folder with `postgres` and `initdb` for the own Postgres", "found on the machine"),
    setting("RUST_LOG", "log filter", "`info`"),
];

/// Where the App's credentials come from and how GitHub is reached.
#[derive(Debug, Clone)]
pub struct GitHubConfig {
    /// The App's id.
    pub app_id: String,
    /// The private key as PEM text.
    pub private_key: SecretString,
    /// At least one webhook secret.
    pub webhook_secrets: Vec<SecretString>,
    /// REST API, without a slash at the end.
    pub api_url: Url,
    /// Pages and git, without a slash at the end.
    pub web_url: Url,
}

/// How Render is reached.
#[derive(Debug, Clone)]
pub struct RenderConfig {
    /// API base, without a slash at the end.
    pub api_url: Url,
    /// The key; without it only hooks work.
    pub api_key: Option<SecretString>,
    /// Deploy hooks by upper-case name.
    pub hooks: BTreeMap<String, SecretUrl>,
    /// Which repository may deploy where; `None`: the first one to deploy to a service keeps it.
    pub grants: Option<Grants>,
}

/// What holds for every build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildConfig {
    /// `false` only when the operator turned isolation off.
    pub isolated: bool,
    /// Absolute paths of folders that builds see besides the system's.
    pub tools: Vec<PathBuf>,
    /// Memory; `None`: as the machine has it.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: u32,
    /// Hundredths of a processor; `None`: all.
    pub cpu_percent: Option<u32>,
    /// What may be written.
    pub disk_bytes: u64,
    /// What may be printed.
    pub output_bytes: u64,
}

/// Everything that `titan serve` needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Postgres; `None`: start an own one.
    pub database_url: Option<SecretString>,
    /// Where to listen.
    pub bind: SocketAddr,
    /// How people reach Titan, without a slash at the end.
    pub public_url: Url,
    /// GitHub.
    pub github: GitHubConfig,
    /// Render.
    pub render: RenderConfig,
    /// Checkouts, caches, the own Postgres.
    pub output_dir: PathBuf,
    /// Private networks that may be reached.
    pub allow_private: Vec<IpNet>,
    /// What holds for builds.
    pub build: BuildConfig,
    /// How long webhook deliveries are remembered.
    pub keep_deliveries: Duration,
    /// How long logs and probes of finished runs are kept.
    pub keep_logs: Duration,
    /// The file with the private key, when it is in one: builds must not see it.
    pub key_file: Option<PathBuf>,
    /// Folder of Postgres programs.
    pub pg_bin: Option<PathBuf>,
}

/// Every mistake in the settings.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the settings are not complete:")?;
        for error in &self.0 {
            writeln!(f, "  - {error}")?;
        }
        write!(f, "see the table of settings in the README; `titan playground` needs none of them")
    }
}

impl std::error::Error for ConfigErrors {}

/// The process's environment as text; variables that are not UTF-8 are left out.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

/// `PATH`, for finding programs; may hold what is not UTF-8.
pub fn search_path() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}

/// The database settings alone, for `titan migrate`.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// Postgres; `None`: start an own one.
    pub url: Option<SecretString>,
    /// Where the own Postgres keeps its data.
    pub output_dir: PathBuf,
    /// Folder of Postgres programs.
    pub pg_bin: Option<PathBuf>,
}

impl DatabaseConfig {
    /// Reads the three variables; none of them can be wrong by itself.
    pub fn read(vars: &BTreeMap<String, String>) -> Self {
        let mut reader = Reader { vars, errors: Vec::new() };
        Self {
            url: reader.get("DATABASE_URL").map(SecretString::from),
            output_dir: reader.get("OUTPUT_DIR").unwrap_or_else(|| "./data".to_owned()).into(),
            pg_bin: reader.get("TITAN_PG_BIN").map(PathBuf::from),
        }
    }
}

impl Config {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// Every mistake at once, each naming its variable and what to set.
    pub fn read(vars: &BTreeMap<String, String>) -> Result<Self, ConfigErrors> {
        let mut reader = Reader { vars, errors: Vec::new() };
        let bind = reader.bind();
        let public_url = reader.url("PUBLIC_URL", &format!("http://{bind}"));
        let github = reader.github();
        let render = reader.render();
        let allow_private = reader.networks("ALLOW_PRIVATE_TARGETS");
        let build = reader.build();
        let keep_deliveries = reader.days("KEEP_DELIVERIES_DAYS", 10..=3650, 30);
        let keep_logs = reader.days("KEEP_LOGS_DAYS", 1..=3650, 90);
        let database = DatabaseConfig::read(vars);
        let key_file = reader.get("GITHUB_APP_PRIVATE_KEY").filter(|key| !key.starts_with(PEM)).map(PathBuf::from);
        if let Some(github) = github.filter(|_| reader.errors.is_empty()) {
            return Ok(Self {
                database_url: database.url,
                bind,
                public_url,
                github,
                render,
                output_dir: database.output_dir,
                allow_private,
                build,
                keep_deliveries,
                keep_logs,
                key_file,
                pg_bin: database.pg_bin,
            });
        }
        Err(ConfigErrors(reader.errors))
    }

    /// Every secret, for the redactor.
    pub fn secrets(&self) -> Vec<&SecretString> {
        let mut all: Vec<&SecretString> = self.github.webhook_secrets.iter().collect();
        all.push(&self.github.private_key);
        all.extend(self.render.api_key.iter());
        all.extend(self.database_url.iter());
        all
    }
}

struct Reader<'a> {
    vars: &'a BTreeMap<String, String>,
    errors: Vec<String>,
}

impl Reader<'_> {
    fn get(&mut self, name: &str) -> Option<String> {
        self.vars.get(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
    }

    fn need(&mut self, name: &str, hint: &str) -> Option<String> {
        let value = self.get(name);
        if value.is_none() {
            self.errors.push(format!("{name} is not set: {hint}"));
        }
        value
    }

    fn bind(&mut self) -> SocketAddr {
        let address = self.get("BIND_ADDR").unwrap_or_else(|| "127.0.0.1".to_owned());
        let ip = address.parse().unwrap_or_else(|_| {
            self.errors.push("BIND_ADDR is not an IP address: use for example 127.0.0.1 or 0.0.0.0".to_owned());
            IpAddr::from([127, 0, 0, 1])
        });
        let port = self.get("PORT").unwrap_or_else(|| "8080".to_owned());
        let port = port.parse().unwrap_or_else(|_| {
            self.errors.push("PORT is not a number from 0 to 65535".to_owned());
            8080
        });
        SocketAddr::new(ip, port)
    }

    /// A URL without a slash at the end; a wrong one is reported and replaced by the default.
    fn url(&mut self, name: &str, default: &str) -> Url {
        let text = self.get(name).unwrap_or_else(|| default.to_owned());
        let parsed = Url::parse(text.trim_end_matches('/')).ok().filter(|u| matches!(u.scheme(), "http" | "https"));
        parsed.unwrap_or_else(|| {
            self.errors.push(format!("{name} is not an http or https address"));
            Url::parse(default)
                .unwrap_or_else(|_| Url::parse("http://localhost").expect("invariant: a constant address"))
        })
    }

    fn github(&mut self) -> Option<GitHubConfig> {
        let app_id = self.need("GITHUB_APP_ID", "the number on the App's settings page");
        let key = self.need("GITHUB_APP_PRIVATE_KEY", "the App's private key, as PEM text or as the path of its file");
        let secret = self.need("GITHUB_WEBHOOK_SECRET", "the secret that you typed on the App's settings page");
        let api_url = self.url("GITHUB_API_URL", "https://api.github.com");
        let web_url = self.url("GITHUB_URL", "https://github.com");
        let private_key = key.and_then(|key| self.pem(&key));
        Some(GitHubConfig {
            app_id: app_id?,
            private_key: private_key?,
            webhook_secrets: webhook_secrets(&secret?),
            api_url,
            web_url,
        })
    }

    fn pem(&mut self, value: &str) -> Option<SecretString> {
        if value.starts_with(PEM) {
            // Some platforms keep line breaks in a variable only as the two characters \n.
            return Some(SecretString::from(value.replace("\\n", "\n")));
        }
        match std::fs::read_to_string(value) {
            Ok(text) => Some(SecretString::from(text)),
            Err(error) => {
                self.errors.push(format!(
                    "GITHUB_APP_PRIVATE_KEY is neither PEM text nor the path of a file that can be read ({})",
                    error.kind()
                ));
                None
            }
        }
    }

    fn render(&mut self) -> RenderConfig {
        let api_url = self.url("RENDER_API_URL", "https://api.render.com/v1");
        let api_key = self.get("RENDER_API_KEY").map(SecretString::from);
        let mut hooks = BTreeMap::new();
        for (name, value) in self.vars {
            let Some(hook) = name.strip_prefix("RENDER_DEPLOY_HOOK_").filter(|n| !n.is_empty()) else { continue };
            match Url::parse(value.trim()) {
                Ok(url) => {
                    hooks.insert(hook.to_ascii_uppercase(), SecretUrl::new(&url));
                }
                Err(_) if value.trim().is_empty() => {}
                Err(_) => self.errors.push(format!(
                    "{name} is not an address: copy the deploy hook from the service's settings at Render"
                )),
            }
        }
        let grants = self.get("TARGET_REPOSITORIES").and_then(|text| match text.parse() {
            Ok(grants) => Some(grants),
            Err(error) => {
                self.errors.push(format!("TARGET_REPOSITORIES: {error}"));
                None
            }
        });
        RenderConfig { api_url, api_key, hooks, grants }
    }

    fn build(&mut self) -> BuildConfig {
        let isolated = match self.get("BUILD_ISOLATION").as_deref() {
            None | Some("required") => true,
            Some("off") => false,
            Some(_) => {
                self.errors.push("BUILD_ISOLATION is neither required nor off".to_owned());
                true
            }
        };
        let cpus = self.get("BUILD_CPUS").and_then(|text| match text.parse::<f64>() {
            // the range keeps the number small and above nothing
            Ok(cpus) if (0.1..=1024.0).contains(&cpus) => Some((cpus * 100.0).round() as u32),
            _ => {
                self.errors.push("BUILD_CPUS is not a number of processors from 0.1 to 1024".to_owned());
                None
            }
        });
        BuildConfig {
            isolated,
            tools: self.folders("BUILD_TOOLS"),
            memory_bytes: self.number("BUILD_MEMORY_MB", 128..=1_048_576).map(|mb| mb * MB),
            processes: self.number("BUILD_PROCESSES", 16..=1_000_000).and_then(|n| n.try_into().ok()).unwrap_or(1024),
            cpu_percent: cpus,
            disk_bytes: self.number("BUILD_DISK_MB", 16..=16_777_216).unwrap_or(8192) * MB,
            output_bytes: self.number("BUILD_OUTPUT_MB", 1..=1024).unwrap_or(16) * MB,
        }
    }

    fn number(&mut self, name: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let text = self.get(name)?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.errors.push(format!("{name} is not a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    fn days(&mut self, name: &str, range: std::ops::RangeInclusive<u64>, default: u64) -> Duration {
        Duration::from_secs(self.number(name, range).unwrap_or(default) * 24 * 3600)
    }

    /// Absolute folders. The whole machine, or a part that isolation makes anew, is no folder of tools.
    fn folders(&mut self, name: &str) -> Vec<PathBuf> {
        const NOT: [&str; 10] = ["/", "/proc", "/sys", "/dev", "/run", "/tmp", "/etc", "/home", "/root", "/var"];
        let text = self.get(name).unwrap_or_default();
        let mut folders = Vec::new();
        for part in text.split(':').map(str::trim).filter(|part| !part.is_empty()) {
            let folder: PathBuf = std::path::Path::new(part).components().collect();
            let plain = folder.components().all(|c| !matches!(c, std::path::Component::ParentDir));
            if folder.is_absolute() && plain && !NOT.iter().any(|not| folder == std::path::Path::new(not)) {
                folders.push(folder);
            } else {
                self.errors.push(format!(
                    "{name} has a part that is not the absolute path of a folder of tools, such as /opt/node"
                ));
            }
        }
        folders
    }

    fn networks(&mut self, name: &str) -> Vec<IpNet> {
        let text = self.get(name).unwrap_or_default();
        let mut networks = Vec::new();
        for part in text.split([',', ' ']).map(str::trim).filter(|p| !p.is_empty()) {
            let parsed = part.parse::<IpNet>().ok().or_else(|| part.parse::<IpAddr>().ok().map(IpNet::from));
            match parsed {
                Some(network) => networks.push(network),
                None => self.errors.push(format!("{name} has a part that is not a network such as 10.0.0.0/8")),
            }
        }
        networks
    }
}

/// One secret, or two while it is being changed. A secret with a comma inside stays valid as a whole; parts count
/// only when each is long enough to be a secret of its own.
fn webhook_secrets(value: &str) -> Vec<SecretString> {
    const SHORTEST_PART: usize = 16;
    let parts: Vec<&str> = value.split([',', ' ', '\n']).map(str::trim).filter(|p| !p.is_empty()).collect();
    let mut all = vec![SecretString::from(value.to_owned())];
    if parts.len() == 2 && parts.iter().all(|part| part.len() >= SHORTEST_PART) {
        all.extend(parts.into_iter().map(|part| SecretString::from(part.to_owned())));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn every_mistake_is_reported_at_once_and_no_value_is_repeated() {
        let errors = Config::read(&vars(&[
            ("PORT", "eighty"),
            ("GITHUB_API_URL", "ftp://x"),
            ("GITHUB_APP_PRIVATE_KEY", "/nowhere/secret-name.pem"),
            ("RENDER_DEPLOY_HOOK_WEB", "not an address s3cret"),
            ("ALLOW_PRIVATE_TARGETS", "10.0.0.0/8, home"),
            ("BUILD_ISOLATION", "no"),
            ("BUILD_TOOLS", "/opt/x:/"),
            ("BUILD_MEMORY_MB", "1"),
            ("BUILD_CPUS", "NaN"),
            ("KEEP_DELIVERIES_DAYS", "7"),
            ("KEEP_LOGS_DAYS", "0"),
        ]))
        .expect_err("must not be accepted")
        .to_string();
        for name in [
            "PORT",
            "GITHUB_API_URL",
            "GITHUB_APP_PRIVATE_KEY",
            "GITHUB_APP_ID",
            "GITHUB_WEBHOOK_SECRET",
            "RENDER_DEPLOY_HOOK_WEB",
            "ALLOW_PRIVATE_TARGETS",
            "BUILD_ISOLATION",
            "BUILD_TOOLS",
            "BUILD_MEMORY_MB",
            "BUILD_CPUS",
            "KEEP_DELIVERIES_DAYS",
            "KEEP_LOGS_DAYS",
        ] {
            assert!(errors.contains(name), "{name} is missing in {errors}");
        }
        assert!(!errors.contains("s3cret") && !errors.contains("secret-name"), "{errors}");
    }

    #[test]
    fn a_complete_environment_is_read_with_defaults() {
        let config = Config::read(&vars(&[
            ("GITHUB_APP_ID", "12"),
            ("GITHUB_APP_PRIVATE_KEY", "-----BEGIN RSA PRIVATE KEY-----\\nabc\\n-----END RSA PRIVATE KEY-----"),
            ("GITHUB_WEBHOOK_SECRET", "it"),
            ("GITHUB_API_URL", "http://127.0.0.1:9/api/v3/"),
            ("RENDER_DEPLOY_HOOK_WEB", "https://api.render.com/deploy/srv-a?key=topsecret"),
            ("PUBLIC_URL", ""),
            ("BUILD_TOOLS", "/opt/node:/srv/tools/"),
            ("BUILD_CPUS", "1.5"),
            ("BUILD_MEMORY_MB", "512"),
        ]))
        .expect("complete");
        assert_eq!(config.bind.to_string(), "127.0.0.1:8080");
        assert_eq!(config.public_url.as_str(), "http://127.0.0.1:8080/");
        assert_eq!(config.github.api_url.path(), "/api/v3");
        assert!(!format!("{config:?}").contains("topsecret"));
        assert!(config.render.hooks.contains_key("WEB"));
        let build = config.build;
        assert!(build.isolated && build.processes == 1024 && build.cpu_percent == Some(150));
        assert_eq!(build.memory_bytes, Some(512 << 20));
        assert_eq!(build.tools, [PathBuf::from("/opt/node"), PathBuf::from("/srv/tools")]);
    }

    #[test]
    fn two_webhook_secrets_live_side_by_side_but_short_pieces_never_do() {
        assert_eq!(webhook_secrets("0123456789abcdef,fedcba9876543210").len(), 3);
        assert_eq!(webhook_secrets("ab,cd").len(), 1);
    }
}
