//! Sending events to the App: signed, in order for each repository, on tasks of their own, with a log as GitHub's.
//!
//! A failed delivery is only written down, as at GitHub; nothing is sent again unless somebody asks. Tests can tamper
//! with what is sent next: lose it, send it twice, delay it or hold it back.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use tokio::sync::{mpsc, watch};
use url::Url;

use super::model::Event;

/// How long GitHub waits for an answer before it counts a delivery as failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// One attempt to deliver an event.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Of the attempt; grows with time.
    pub id: u64,
    /// `X-GitHub-Delivery`: the same for every attempt of one event.
    pub guid: String,
    /// `X-GitHub-Event`.
    pub event: String,
    /// The payload's `action`.
    pub action: Option<String>,
    /// Which installation it was for.
    pub installation: u64,
    /// Full name of the repository.
    pub repository: Option<String>,
    /// The repository's id.
    pub repository_id: Option<u64>,
    /// When the attempt was made.
    pub delivered_at: DateTime<Utc>,
    /// Whether it was asked for after a first attempt.
    pub redelivery: bool,
    /// How long it took.
    pub duration: Duration,
    /// `OK`, the answer's reason, or what broke.
    pub status: String,
    /// The answer's code; 502 when there was none.
    pub status_code: u16,
    /// What was sent.
    pub request_headers: Vec<(String, String)>,
    /// The body that was sent.
    pub payload: Bytes,
    /// What came back.
    pub response_headers: Vec<(String, String)>,
    /// The body that came back, its first 64 KiB.
    pub response_body: String,
}

impl Delivery {
    /// Whether the App took it.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.status_code)
    }

    /// The payload as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).unwrap_or_default()
    }
}

/// What happens to a delivery instead of simply being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tamper {
    /// It never arrives; GitHub's log shows it as failed.
    Lose,
    /// It arrives twice with the same id.
    Duplicate,
    /// It arrives twice, as two deliveries with ids of their own.
    Twin,
    /// It arrives that much later; later ones overtake it.
    Delay(Duration),
    /// It is kept until [`Hooks::release`]; later ones overtake it.
    Hold,
}

/// Chooses what happens to a delivery of an event of this name, besides what was asked for one by one.
pub type Weather = Arc<dyn Fn(&str) -> Option<Tamper> + Send + Sync>;

#[derive(Debug, Clone)]
struct Job {
    guid: String,
    event: Event,
    body: Bytes,
    redelivery: bool,
}

/// The App's webhook. A clone is the same one.
#[derive(Clone)]
pub struct Hooks {
    inner: Arc<Inner>,
}

struct Inner {
    app: u64,
    secret: SecretString,
    http: reqwest::Client,
    runtime: tokio::runtime::Handle,
    target: Mutex<Option<Url>>,
    tampers: Mutex<VecDeque<(Option<String>, Tamper)>>,
    weather: Mutex<Option<Weather>>,
    held: Mutex<Vec<Job>>,
    log: Mutex<Vec<Delivery>>,
    queues: Mutex<HashMap<String, mpsc::UnboundedSender<Job>>>,
    pending: watch::Sender<usize>,
    next_id: AtomicU64,
}

impl Hooks {
    /// A webhook without a target: events are not delivered, as with a hook that is switched off. Must be called on a
    /// tokio runtime, which carries the deliveries.
    pub fn new(app: u64, secret: SecretString) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            // the playground speaks plain HTTP
            .tls_certs_only([])
            .no_proxy()
            .timeout(ANSWER_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("GitHub-Hookshot/7e0cb2e")
            .build()?;
        let inner = Inner {
            app,
            secret,
            http,
            runtime: tokio::runtime::Handle::current(),
            target: Mutex::default(),
            tampers: Mutex::default(),
            weather: Mutex::default(),
            held: Mutex::default(),
            log: Mutex::default(),
            queues: Mutex::default(),
            pending: watch::Sender::new(0),
            // Real ids are larger than 32 bits.
            next_id: AtomicU64::new(20_000_000_000_000),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where events go from now on; `None` switches the hook off.
    pub fn set_target(&self, target: Option<Url>) {
        *lock(&self.inner.target) = target;
    }

    /// Where events go.
    pub fn target(&self) -> Option<Url> {
        lock(&self.inner.target).clone()
    }

    /// What happens to the next delivery of that event (`None`: of any); several are used up in order.
    pub fn tamper(&self, event: Option<&str>, tamper: Tamper) {
        lock(&self.inner.tampers).push_back((event.map(str::to_owned), tamper));
    }

    /// From now on every delivery is exposed to this; `None` ends it.
    pub fn set_weather(&self, weather: Option<Weather>) {
        *lock(&self.inner.weather) = weather;
    }

    /// What was asked for with [`Hooks::tamper`] and has not happened.
    pub fn unused_tampers(&self) -> usize {
        lock(&self.inner.tampers).len()
    }

    /// Sends what was held back, in its order.
    pub fn release(&self) {
        let held = std::mem::take(&mut *lock(&self.inner.held));
        for job in held {
            self.queue(job);
        }
    }

    /// All attempts, oldest first.
    pub fn log(&self) -> Vec<Delivery> {
        lock(&self.inner.log).clone()
    }

    /// How many attempts there were.
    pub fn count(&self) -> usize {
        lock(&self.inner.log).len()
    }

    /// How many deliveries are on their way. What is held back does not count.
    pub fn on_their_way(&self) -> usize {
        *self.inner.pending.borrow()
    }

    /// Waits until nothing is on its way. What is held back does not count.
    pub async fn settle(&self) {
        let mut pending = self.inner.pending.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        pending.wait_for(|count| *count == 0).await.ok();
    }

    /// Delivers an event, unless the hook is switched off.
    pub(super) fn send(&self, event: Event) {
        if lock(&self.inner.target).is_none() {
            return;
        }
        let body = Bytes::from(event.payload.to_string());
        let job = Job { guid: uuid::Uuid::new_v4().to_string(), event, body, redelivery: false };
        match self.take_tamper(&job.event.name) {
            None => self.queue(job),
            Some(Tamper::Lose) => self.record_loss(&job),
            Some(Tamper::Duplicate) => {
                self.queue(job.clone());
                self.queue(job);
            }
            Some(Tamper::Twin) => {
                self.queue(Job { guid: uuid::Uuid::new_v4().to_string(), ..job.clone() });
                self.queue(job);
            }
            Some(Tamper::Hold) => lock(&self.inner.held).push(job),
            Some(Tamper::Delay(wait)) => {
                self.inner.pending.send_modify(|count| *count += 1);
                let hooks = self.clone();
                self.inner.runtime.spawn(async move {
                    tokio::time::sleep(wait).await;
                    hooks.queue(job);
                    hooks.inner.pending.send_modify(|count| *count -= 1);
                });
            }
        }
    }

    /// Sends the event of that attempt again, under the same delivery id. False when the log has no such attempt.
    pub fn redeliver(&self, id: u64) -> bool {
        let found = lock(&self.inner.log).iter().find(|attempt| attempt.id == id).cloned();
        let Some(attempt) = found else { return false };
        let event = Event {
            name: attempt.event.clone(),
            action: attempt.action.clone(),
            repository: attempt.repository.clone(),
            repository_id: attempt.repository_id,
            installation: attempt.installation,
            payload: serde_json::Value::Null,
        };
        self.queue(Job { guid: attempt.guid, event, body: attempt.payload, redelivery: true });
        true
    }

    fn take_tamper(&self, event: &str) -> Option<Tamper> {
        let asked_for = {
            let mut tampers = lock(&self.inner.tampers);
            let fits = |(wanted, _): &(Option<String>, Tamper)| wanted.as_deref().is_none_or(|wanted| wanted == event);
            tampers.iter().position(fits).and_then(|at| tampers.remove(at)).map(|(_, tamper)| tamper)
        };
        let weather = lock(&self.inner.weather).clone();
        asked_for.or_else(|| weather.and_then(|weather| weather(event)))
    }

    fn queue(&self, job: Job) {
        self.inner.pending.send_modify(|count| *count += 1);
        let key = job.event.repository.clone().unwrap_or_default();
        let mut queues = lock(&self.inner.queues);
        let sender = queues.entry(key).or_insert_with(|| self.start_queue());
        // The receiving task ends only with the runtime; then nobody waits for the delivery either.
        sender.send(job).ok();
    }

    fn start_queue(&self) -> mpsc::UnboundedSender<Job> {
        let (sender, mut jobs) = mpsc::unbounded_channel::<Job>();
        // A strong handle here would keep the queues, and so this task, alive for ever.
        let weak = Arc::downgrade(&self.inner);
        self.inner.runtime.spawn(async move {
            while let Some(job) = jobs.recv().await {
                let Some(inner) = weak.upgrade() else { return };
                let hooks = Hooks { inner };
                hooks.attempt(job).await;
                hooks.inner.pending.send_modify(|count| *count -= 1);
            }
        });
        sender
    }

    fn headers(&self, job: &Job) -> Vec<(String, String)> {
        let inner = &self.inner;
        // HMAC takes keys of any length.
        let mac = Hmac::<Sha256>::new_from_slice(inner.secret.expose_secret().as_bytes());
        let signature = mac.map(|mac| hex::encode(mac.chain_update(&job.body).finalize().into_bytes()));
        [
            ("Accept", "*/*".to_owned()),
            ("Content-Type", "application/json".to_owned()),
            ("X-GitHub-Delivery", job.guid.clone()),
            ("X-GitHub-Event", job.event.name.clone()),
            ("X-GitHub-Hook-ID", (400_000_000 + inner.app).to_string()),
            ("X-GitHub-Hook-Installation-Target-ID", inner.app.to_string()),
            ("X-GitHub-Hook-Installation-Target-Type", "integration".to_owned()),
            ("X-Hub-Signature-256", format!("sha256={}", signature.unwrap_or_default())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    async fn attempt(&self, job: Job) {
        let Some(target) = self.target() else { return };
        let headers = self.headers(&job);
        let mut request = self.inner.http.post(target).body(job.body.clone());
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let (at, began) = (crate::clock::now(), Instant::now());
        let mut attempt = self.describe(&job, at, headers);
        match request.send().await {
            Ok(response) => {
                attempt.status_code = response.status().as_u16();
                attempt.status = response.status().canonical_reason().unwrap_or("unknown").to_owned();
                let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
                attempt.response_headers =
                    response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
                let body = response.bytes().await.unwrap_or_default();
                attempt.response_body = String::from_utf8_lossy(&body[..body.len().min(64 << 10)]).into_owned();
            }
            Err(error) if error.is_timeout() => {
                attempt.status_code = 504;
                attempt.status = "timed out".into();
            }
            Err(_) => {}
        }
        attempt.duration = began.elapsed();
        lock(&self.inner.log).push(attempt);
    }

    fn record_loss(&self, job: &Job) {
        let lost = self.describe(job, crate::clock::now(), self.headers(job));
        lock(&self.inner.log).push(lost);
    }

    /// An attempt that has not been answered.
    fn describe(&self, job: &Job, at: DateTime<Utc>, headers: Vec<(String, String)>) -> Delivery {
        Delivery {
            id: self.inner.next_id.fetch_add(1, Ordering::Relaxed),
            guid: job.guid.clone(),
            event: job.event.name.clone(),
            action: job.event.action.clone(),
            installation: job.event.installation,
            repository: job.event.repository.clone(),
            repository_id: job.event.repository_id,
            delivered_at: at,
            redelivery: job.redelivery,
            duration: Duration::ZERO,
            status: "failed to connect".into(),
            status_code: 502,
            request_headers: headers,
            payload: job.body.clone(),
            response_headers: Vec::new(),
            response_body: String::new(),
        }
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
