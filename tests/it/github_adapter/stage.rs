//! A GitHub that answers as each test writes: for the answers that a well-behaved GitHub does not give.
//!
//! It checks the App's JWT, hands out numbered tokens and keeps every exchange. It knows no repository; what a real
//! GitHub does is the simulated one's business.

use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::{Value, json};
use titan::github::{GitHub, GitHubSettings, RepoClient, RepoRef};
use titan::playground::exchange::{Exchange, Recorder, path_matches, record};
use url::Url;

/// The App's number on this stage.
pub const APP: i64 = 42;
/// Beginning of every token; none may show up in an error.
pub const TOKEN: &str = "ghs_stage";

/// What the stage sees of a request.
pub struct Seen {
    pub query: Vec<(String, String)>,
    pub accept: String,
}

impl Seen {
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn page(&self) -> usize {
        self.query("page").and_then(|page| page.parse().ok()).unwrap_or(1)
    }
}

type Act = Arc<dyn Fn(&Seen) -> Response + Send + Sync>;
/// Method, path and what is answered.
type Cue = (&'static str, String, Act);

#[derive(Clone)]
struct Script {
    prefix: &'static str,
    acts: Arc<Mutex<Vec<Cue>>>,
    public_key: Arc<Vec<u8>>,
    token_life: Arc<Mutex<TimeDelta>>,
    minted: Arc<Mutex<u32>>,
}

/// The running stage and a connection to it.
pub struct Stage {
    pub recorder: Recorder,
    pub github: GitHub,
    pub url: Url,
    script: Script,
}

impl Stage {
    pub async fn new() -> Self {
        Self::below("").await
    }

    /// With the API below a path, as GitHub Enterprise Server has it.
    pub async fn below(prefix: &'static str) -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        // The last part of an X.509 public key is the PKCS#1 key, which is what the JWT library reads.
        let public_key = key.public_key().as_ref().to_vec();
        assert!(public.as_ref().ends_with(&public_key));
        let script = Script {
            prefix,
            acts: Arc::default(),
            public_key: Arc::new(public_key),
            token_life: Arc::new(Mutex::new(TimeDelta::hours(1))),
            minted: Arc::default(),
        };
        let recorder = Recorder::new(&[]);
        let router = Router::new()
            .fallback(answer)
            .with_state(script.clone())
            .layer(axum::middleware::from_fn_with_state(recorder.clone(), record));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}{prefix}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let github = GitHub::new(&GitHubSettings {
            api_url: url.clone(),
            git_url: "https://ghe.example.com/git/".parse().unwrap(),
            app_id: APP.to_string(),
            private_key_pem: SecretString::from(pem(&key)),
        })
        .unwrap();
        Self { recorder, github, url, script }
    }

    /// The repository that all of the tests speak about.
    pub fn repo(&self) -> RepoClient {
        self.github
            .repo(&RepoRef { installation: titan::domain::ids::InstallationId(5), name: "acme/shop".parse().unwrap() })
    }

    /// Answers requests that fit with what `act` gives. Paths begin after the prefix; the newest rule that fits counts.
    pub fn on(&self, method: &'static str, path: &str, act: impl Fn(&Seen) -> Response + Send + Sync + 'static) {
        let pattern = format!("{}{path}", self.script.prefix);
        self.script.acts.lock().unwrap().insert(0, (method, pattern, Arc::new(act)));
    }

    /// Answers requests that fit with always the same JSON.
    pub fn says(&self, method: &'static str, path: &str, status: u16, body: Value) {
        self.on(method, path, move |_| reply(status, &body));
    }

    /// How long new tokens live.
    pub fn token_life(&self, life: TimeDelta) {
        *self.script.token_life.lock().unwrap() = life;
    }

    /// What was asked, without the requests for tokens.
    pub fn asked(&self) -> Vec<Exchange> {
        self.recorder.log.all().into_iter().filter(|seen| !seen.path.ends_with("/access_tokens")).collect()
    }

    /// The bodies of the requests for tokens.
    pub fn minted(&self) -> Vec<Value> {
        let pattern = format!("{}/app/installations/*/access_tokens", self.script.prefix);
        self.recorder.log.matching("POST", &pattern).iter().map(Exchange::request_json).collect()
    }
}

/// A JSON answer.
pub fn reply(status: u16, body: &Value) -> Response {
    (axum::http::StatusCode::from_u16(status).unwrap(), axum::Json(body.clone())).into_response()
}

async fn answer(State(script): State<Script>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let bearer = header("authorization").strip_prefix("Bearer ").unwrap_or_default().to_owned();
    let path = parts.uri.path().strip_prefix(script.prefix).unwrap_or_default();
    let of_the_app = path == "/app"
        || path.starts_with("/app/hook/")
        || path.ends_with("/installation")
        || path.ends_with("/access_tokens");
    let allowed = if of_the_app { jwt_is_good(&script, &bearer) } else { bearer.starts_with(TOKEN) };
    if !allowed {
        return reply(401, &json!({"message": "Bad credentials"}));
    }
    let query = parts.uri.query().unwrap_or_default();
    let seen =
        Seen { query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(), accept: header("accept") };
    let act = script
        .acts
        .lock()
        .unwrap()
        .iter()
        .find(|(method, pattern, _)| parts.method == *method && path_matches(pattern, parts.uri.path()))
        .map(|(_, _, act)| act.clone());
    match act {
        Some(act) => act(&seen),
        None if path.ends_with("/access_tokens") => mint(&script),
        None if path == "/app" => reply(200, &json!({"id": APP, "slug": "titan-test"})),
        None => reply(404, &json!({"message": "Not Found"})),
    }
}

fn mint(script: &Script) -> Response {
    let mut minted = script.minted.lock().unwrap();
    *minted += 1;
    let expires_at = Utc::now() + *script.token_life.lock().unwrap();
    reply(201, &json!({"token": format!("{TOKEN}_{minted}_0123456789abcdef"), "expires_at": expires_at}))
}

fn jwt_is_good(script: &Script, jwt: &str) -> bool {
    let key = jsonwebtoken::DecodingKey::from_rsa_der(&script.public_key);
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    rules.set_required_spec_claims(&["exp", "iss"]);
    rules.set_issuer(&[APP.to_string()]);
    let Ok(read) = jsonwebtoken::decode::<Value>(jwt, &key, &rules) else { return false };
    let (iat, exp) = (read.claims["iat"].as_i64().unwrap(), read.claims["exp"].as_i64().unwrap());
    // GitHub refuses a JWT from the future and one that lives longer than ten minutes.
    iat <= Utc::now().timestamp() && exp - Utc::now().timestamp() <= 600 && exp > iat
}

fn pem(key: &KeyPair) -> String {
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let lines = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> = lines.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}
