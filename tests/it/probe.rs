//! Probes against small services that behave well, badly and slyly.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use titan::domain::policy::{DeployVia, Identity, Target};
use titan::probe::{IdentityAnswer, Prober};
use url::Url;

const SHA: &str = "3f2c1ab000000000000000000000000000000000";

fn prober(allowed: &[&str]) -> Prober {
    Prober::new(allowed.iter().map(|net| net.parse().expect("a network")).collect()).expect("a prober")
}

fn here() -> Prober {
    prober(&["127.0.0.0/8"])
}

fn target(url: &str, health: &str, identity: Option<Identity>) -> Target {
    let deploy = DeployVia::Hook("WEB".to_owned());
    Target { deploy, url: Url::parse(url).expect("a url"), health: health.to_owned(), identity }
}

fn json(path: &str) -> Option<Identity> {
    Some(Identity::Json { path: path.to_owned(), json: "build.commit".to_owned() })
}

/// A service on a free port; stays until the test ends.
async fn service(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn good() -> Router {
    let version = format!(r#"{{"build":{{"commit":"{SHA}"}}}}"#);
    Router::new().route("/health", get(async || ([("x-commit", SHA)], "fine"))).route("/version", get(async || version))
}

#[tokio::test]
async fn a_healthy_service_tells_health_and_commit_at_once() {
    let url = format!("http://{}", service(good()).await);
    let seen = here().observe(&target(&url, "/health", json("/version"))).await;
    assert!(seen.sample.ok && seen.sample.status == Some(200) && seen.sample.error.is_none(), "{seen:?}");
    assert!(seen.sample.latency_ms.is_some());
    assert_eq!(seen.identity, Some(IdentityAnswer::Commit(SHA.to_owned())));

    let header = Some(Identity::Header { header: "x-commit".to_owned() });
    let seen = here().observe(&target(&url, "/health", header)).await;
    assert_eq!(seen.identity, Some(IdentityAnswer::Commit(SHA.to_owned())));
    assert_eq!(here().observe(&target(&url, "/health", None)).await.identity, None);
}

#[tokio::test]
async fn anything_but_2xx_is_not_healthy_and_redirects_are_not_followed() {
    let inner = service(good()).await;
    let elsewhere = format!("http://{inner}/health");
    let router = Router::new()
        .route("/down", get(async || StatusCode::SERVICE_UNAVAILABLE))
        .route("/moved", get(async move || Redirect::temporary(&elsewhere)));
    let url = format!("http://{}", service(router).await);
    for (path, status, words) in
        [("/down", 503, "answered 503"), ("/moved", 307, "redirect"), ("/nothing", 404, "answered 404")]
    {
        let sample = here().health(&target(&url, path, None)).await;
        assert!(!sample.ok && sample.status == Some(status), "{sample:?}");
        assert!(sample.error.as_deref().is_some_and(|why| why.contains(words)), "{sample:?}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_says_so_in_words() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let seen = here().observe(&target(&url, "/", json("/version"))).await;
    assert!(!seen.sample.ok && seen.sample.status.is_none() && seen.sample.latency_ms.is_none());
    let why = seen.sample.error.expect("a reason");
    assert!(why.to_lowercase().contains("connection refused"), "{why}");
    assert!(matches!(seen.identity, Some(IdentityAnswer::Unreachable(_))));
}

#[tokio::test]
async fn a_slow_service_is_given_up_after_five_seconds() {
    let slow = async || {
        tokio::time::sleep(Duration::from_secs(30)).await;
        "late"
    };
    let url = format!("http://{}", service(Router::new().route("/", get(slow))).await);
    let started = Instant::now();
    let sample = here().health(&target(&url, "/", None)).await;
    assert_eq!(sample.error.as_deref(), Some("no answer within 5 s"));
    assert!(started.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn an_endless_answer_is_cut_and_names_no_commit() {
    let endless = async || {
        let spaces = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 4096])));
        ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(spaces)).into_response()
    };
    let url = format!("http://{}", service(Router::new().route("/version", get(endless))).await);
    let started = Instant::now();
    let seen = here().observe(&target(&url, "/version", json("/version"))).await;
    assert!(started.elapsed() < Duration::from_secs(4), "it does not wait for the end");
    assert!(seen.sample.ok);
    let Some(IdentityAnswer::Missing(why)) = seen.identity else { panic!("{:?}", seen.identity) };
    assert!(why.contains("larger than 64 KB"), "{why}");
}

#[tokio::test]
async fn private_addresses_are_reached_by_no_spelling_unless_allowed() {
    let port = service(good()).await.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0"] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}");
            for prober in [prober(&[]), prober(&["10.0.0.0/8"])] {
                let sample = prober.health(&target(&url, "/health", None)).await;
                let why = sample.error.unwrap_or_default();
                assert!(!sample.ok && why.contains("ALLOW_PRIVATE_TARGETS"), "{url}: {why}");
            }
        }
    }
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let sample = here().health(&target(&format!("http://{host}:{port}"), "/health", None)).await;
        assert!(sample.ok, "{host}: {sample:?}");
    }
}
