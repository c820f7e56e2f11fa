//! Where Titan is killed: every call that changes something outside, before and after it took effect, and every commit.
//!
//! Calls are held by the simulators' own recorder: the request has arrived and is left without an answer for good.
//! Commits are announced by triggers that are put into the story's database; Postgres sends an announcement only when
//! the transaction is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use sqlx::postgres::PgListener;
use titan::playground::exchange::{FaultKind, Weather};
use tokio::sync::{mpsc, watch};

use crate::support::world::World;

/// The channel on which commits are announced.
const CHANNEL: &str = "crash_points";

/// A call that changes something outside: `POST /repos/*/*/check-runs`, and which one of these it is, from 0. One that was
/// held and is made again keeps its number, so that a kill does not move the points that come after it.
pub type Call = (String, u32);

/// When a request is left without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// When it has arrived; nothing is done. The intent is committed, the effect has not happened.
    Before,
    /// When it is done. The effect has happened, nothing of it is committed.
    After,
}

/// A moment at which Titan can be killed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// While a call has no answer.
    Call(Call, Moment),
    /// As soon as this is committed for the first time.
    Commit(String),
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call((route, nth), Moment::Before) => write!(f, "before {route} #{nth}"),
            Self::Call((route, nth), Moment::After) => write!(f, "after {route} #{nth}"),
            Self::Commit(commit) => write!(f, "after the commit {commit}"),
        }
    }
}

/// What is to happen to Titan in one playing of a story; nothing by default.
#[derive(Debug, Clone, Default)]
pub struct Harm {
    /// It is killed at each of these.
    pub kills: BTreeSet<Point>,
    /// The first try of each of these commits fails, so that what led to it is done twice.
    pub refused: BTreeSet<String>,
}

impl Harm {
    /// Kills at these points.
    pub fn kills(points: impl IntoIterator<Item = Point>) -> Self {
        Self { kills: points.into_iter().collect(), refused: BTreeSet::new() }
    }
}

/// Sees every write at both simulators, and holds the ones that were asked for.
#[derive(Clone)]
pub struct Gate {
    inner: Arc<Mutex<GateState>>,
    hanging: [watch::Receiver<u64>; 2],
}

struct GateState {
    wanted: BTreeSet<Point>,
    seen: BTreeMap<String, u32>,
    /// Done, held, and expected once more: method and path.
    again: BTreeSet<String>,
    order: Vec<(Instant, Call)>,
    hit: Vec<Point>,
}

impl Gate {
    /// Stands before a world's GitHub and Render from now on.
    pub fn put_before(world: &World, harm: &Harm) -> Self {
        let wanted = harm.kills.iter().filter(|point| matches!(point, Point::Call(..))).cloned().collect();
        let (seen, again) = (BTreeMap::new(), BTreeSet::new());
        let state = GateState { wanted, seen, again, order: Vec::new(), hit: Vec::new() };
        let inner = Arc::new(Mutex::new(state));
        let weather: Weather = {
            let inner = inner.clone();
            Arc::new(move |method, path| inner.lock().expect("no panic before").meet(method, path))
        };
        world.github.faults().set_weather(Some(weather.clone()));
        world.render.faults().set_weather(Some(weather));
        let hanging = [world.github.faults().hanging(), world.render.faults().hanging()];
        Self { inner, hanging }
    }

    /// Waits until a request is left without an answer.
    pub async fn held(&mut self) {
        let [github, render] = &mut self.hanging;
        let ended = tokio::select! {
            changed = github.changed() => changed,
            changed = render.changed() => changed,
        };
        ended.expect("the simulators are there");
    }

    /// Whatever is held now is given up; only what comes later wakes [`Gate::held`].
    pub fn forget_held(&mut self) {
        self.hanging.iter_mut().for_each(watch::Receiver::mark_unchanged);
    }

    /// Every write so far, in the order of their arrival.
    pub fn calls(&self) -> Vec<(Instant, Call)> {
        self.inner.lock().expect("no panic before").order.clone()
    }

    /// The writes that were to be held and did not come.
    pub fn unhit(&self) -> BTreeSet<Point> {
        self.inner.lock().expect("no panic before").wanted.clone()
    }

    /// The writes that were held.
    pub fn hit(&self) -> Vec<Point> {
        self.inner.lock().expect("no panic before").hit.clone()
    }
}

impl GateState {
    fn meet(&mut self, method: &str, path: &str) -> Option<FaultKind> {
        if method == "GET" || path.contains(".git/") {
            return None;
        }
        if self.again.remove(&format!("{method} {path}")) {
            return None;
        }
        let route = format!("{method} {}", route(path));
        let count = self.seen.entry(route.clone()).or_default();
        let call = (route, *count);
        if self.hold(&call, Moment::Before) {
            return Some(FaultKind::HangBefore);
        }
        self.seen.insert(call.0.clone(), call.1 + 1);
        self.order.push((Instant::now(), call.clone()));
        if self.hold(&call, Moment::After) {
            // What makes something new is looked for and not made again; all else is simply done once more.
            if matches!(method, "PATCH" | "PUT") || path.ends_with("/reactions") {
                self.again.insert(format!("{method} {path}"));
            }
            return Some(FaultKind::HangAfter);
        }
        None
    }

    /// Whether Titan is to be killed at this moment of this call; once.
    fn hold(&mut self, call: &Call, moment: Moment) -> bool {
        let point = Point::Call(call.clone(), moment);
        let wanted = self.wanted.remove(&point);
        if wanted {
            self.hit.push(point);
        }
        wanted
    }
}

/// A path with `*` for what differs between two playings of the same story.
pub fn route(path: &str) -> String {
    let mut previous = "";
    let mut before = "";
    let mut parts = Vec::new();
    for part in path.split('/') {
        let named = previous == "repos" || before == "repos";
        let number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let hex = part.len() >= 32 && part.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        parts.push(if named || number || hex || part.starts_with("dep-") { "*" } else { part });
        before = previous;
        previous = part;
    }
    parts.join("/")
}

/// The commits of a story, as they happen.
pub struct Commits {
    announced: mpsc::UnboundedReceiver<String>,
    _listener: tokio::task::JoinHandle<()>,
}

impl Commits {
    /// Puts the triggers into a world's database and listens.
    pub async fn watch(world: &World) -> Self {
        sqlx::raw_sql(ANNOUNCING).execute(world.store.pool()).await.expect("the functions can be made");
        // Each in a transaction of its own: together they would hold locks that Titan, at work, waits for in another order.
        for table in TABLES {
            let trigger = format!(
                "CREATE TRIGGER announce_crash_point AFTER INSERT OR UPDATE OR DELETE ON {table}
                 FOR EACH ROW EXECUTE FUNCTION announce_crash_point()"
            );
            let made = sqlx::raw_sql(sqlx::AssertSqlSafe(trigger)).execute(world.store.pool()).await;
            made.expect("the trigger can be made");
        }
        let mut listener = PgListener::connect_with(world.store.pool()).await.expect("a connection");
        listener.listen(CHANNEL).await.expect("it listens");
        let (sender, announced) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok(notice) = listener.recv().await {
                if sender.send(notice.payload().to_owned()).is_err() {
                    return;
                }
            }
        });
        Self { announced, _listener: task }
    }

    /// Makes the first try of each of these commits of a step fail. Sequences remember it, because they outlive the
    /// transaction that is rolled back.
    pub async fn refuse_first(world: &World, commits: &BTreeSet<String>) {
        sqlx::raw_sql(REFUSING).execute(world.store.pool()).await.expect("the trigger can be made");
        for (number, commit) in commits.iter().enumerate() {
            sqlx::query("SELECT refuse_first($1, $2)")
                .bind(commit)
                .bind(format!("refusal_{number}"))
                .execute(world.store.pool())
                .await
                .expect("a sequence");
        }
    }

    /// What was to be refused and never tried.
    pub async fn never_refused(world: &World) -> BTreeSet<String> {
        let never: Vec<String> = sqlx::query_scalar(
            "SELECT label FROM refusal r JOIN pg_sequences s ON s.sequencename = r.sequence WHERE s.last_value IS NULL",
        )
        .fetch_all(world.store.pool())
        .await
        .expect("the store answers");
        never.into_iter().collect()
    }

    /// Lets jobs whose commit was refused try again at once.
    pub async fn hurry(world: &World) {
        sqlx::query(
            "UPDATE job SET run_at = now(), attempts = 0 WHERE status = 'queued' AND last_error LIKE '%refused once%'",
        )
        .execute(world.store.pool())
        .await
        .expect("the store answers");
    }

    /// The next one.
    pub async fn next(&mut self) -> String {
        self.announced.recv().await.expect("the listener lives as long as this")
    }

    /// What was announced and not asked for yet.
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.announced.try_recv().ok()).collect()
    }
}

/// The tables whose commits are points.
const TABLES: [&str; 16] = [
    "delivery",
    "head_ledger",
    "command",
    "run",
    "step",
    "run_event",
    "job",
    "environment_lock",
    "release",
    "artifact",
    "feedback",
    "policy",
    "project",
    "repository",
    "installation",
    "change",
];

/// A commit is named after the table, what was done to the row, and what tells the row's state; a step and a feedback row
/// also after what they know so far, so that an intent and its outcome are two points.
const ANNOUNCING: &str = r#"
CREATE FUNCTION step_state(now_row jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', now_row->>'name', now_row->>'status', '[' || string_agg(key, ',' ORDER BY key) || ']')
      FROM jsonb_each(now_row->'progress') WHERE value NOT IN ('null', 'false', '0', '""', '[]')
$$;
CREATE FUNCTION announce_crash_point() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    now_row jsonb := CASE WHEN TG_OP = 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
    state text := '';
BEGIN
    -- An event that Titan has no use for, and that may get lost while it is down.
    IF TG_TABLE_NAME = 'delivery' AND now_row->>'ignored' IS NOT NULL THEN
        RETURN NULL;
    END IF;
    -- A heartbeat, a wake-up time.
    IF TG_TABLE_NAME = 'job' AND TG_OP = 'UPDATE' AND to_jsonb(OLD)->>'status' = now_row->>'status' THEN
        RETURN NULL;
    END IF;
    IF TG_TABLE_NAME = 'step' THEN
        state := step_state(now_row);
    ELSIF TG_TABLE_NAME = 'feedback' THEN
        state := concat_ws(' ',
            regexp_replace(now_row->>'key', '[0-9a-f-]{36}|[0-9]{4,}', '*'),
            CASE WHEN now_row->>'external_id' IS NULL THEN 'without id' ELSE 'with id' END,
            CASE WHEN now_row->>'sent_hash' IS NULL THEN 'unsent' ELSE 'sent' END);
    ELSE
        state := concat_ws(' ', now_row->>'kind', now_row->>'event', now_row->>'environment', now_row->>'status',
            now_row->>'conclusion', 'current ' || (now_row->>'current'));
    END IF;
    PERFORM pg_notify('crash_points', concat_ws(' ', TG_TABLE_NAME, lower(TG_OP), state));
    RETURN NULL;
END $$;
"#;

/// Fails the first commit of each kind that was asked for.
const REFUSING: &str = r#"
CREATE TABLE refusal (label text PRIMARY KEY, sequence text NOT NULL);
CREATE FUNCTION refuse_first(label text, sequence text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE SEQUENCE %I', sequence);
    INSERT INTO refusal VALUES (label, sequence);
END $$;
CREATE FUNCTION refuse_step() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    known text;
BEGIN
    SELECT sequence INTO known FROM refusal WHERE label = 'step update ' || step_state(to_jsonb(NEW));
    IF known IS NOT NULL AND nextval(known) = 1 THEN
        RAISE EXCEPTION 'refused once';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER refuse_step AFTER UPDATE ON step FOR EACH ROW EXECUTE FUNCTION refuse_step();
"#;
