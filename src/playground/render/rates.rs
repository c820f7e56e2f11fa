//! Render's rate limits: fixed windows of a minute for reads, writes and deploys.
//!
//! Only counts and answers; `api` turns the answer into headers. The numbers were recorded from Render by its own
//! Terraform provider; `Ratelimit-Reset` is seconds that remain, not a time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The length of a window.
const WINDOW: Duration = Duration::from_secs(60);

/// How many requests a minute are allowed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// All `GET` together.
    pub reads: u32,
    /// All other methods together, but for the two below.
    pub writes: u32,
    /// `POST …/deploys`, a service.
    pub deploys: u32,
    /// `PATCH /services/{id}`, a service.
    pub updates: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { reads: 400, writes: 100, deploys: 10, updates: 10 }
    }
}

/// What one request may know about its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests a window.
    pub limit: u32,
    /// Requests left in this window after this one.
    pub remaining: u32,
    /// Whole seconds until the window ends, at least one.
    pub reset_seconds: u64,
    /// Whether this request may pass.
    pub passes: bool,
}

/// Counts requests by bucket.
#[derive(Debug)]
pub struct Rates {
    limits: Limits,
    windows: Mutex<HashMap<String, (Instant, u32)>>,
}

impl Rates {
    /// Nothing counted yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, windows: Mutex::default() }
    }

    /// Counts a request made at `now`; `path` is without the `/v1` in front.
    pub fn take(&self, method: &str, path: &str, now: Instant) -> Allowance {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (bucket, limit) = match (method, &parts[..]) {
            ("GET" | "HEAD", _) => ("reads".to_owned(), self.limits.reads),
            ("POST", ["services", id, "deploys"]) => (format!("deploys of {id}"), self.limits.deploys),
            ("PATCH", ["services", id]) => (format!("updates of {id}"), self.limits.updates),
            _ => ("writes".to_owned(), self.limits.writes),
        };
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, used) = windows.entry(bucket).or_insert((now, 0));
        if now.duration_since(*began) >= WINDOW {
            (*began, *used) = (now, 0);
        }
        let passes = *used < limit;
        *used = used.saturating_add(1);
        let left = WINDOW.saturating_sub(now.duration_since(*began));
        let remaining = limit.saturating_sub(*used);
        Allowance { limit, remaining, reset_seconds: left.as_secs().max(1), passes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deploys_are_counted_by_service_and_a_new_minute_begins_anew() {
        let rates = Rates::new(Limits { deploys: 2, ..Limits::default() });
        let start = Instant::now();
        let deploy = |service: &str, after: u64| {
            rates.take("POST", &format!("/services/{service}/deploys"), start + Duration::from_secs(after)).passes
        };
        assert_eq!([deploy("a", 0), deploy("a", 1), deploy("a", 2), deploy("b", 2)], [true, true, false, true]);
        assert!(deploy("a", 60));
        let read = rates.take("GET", "/services", start + Duration::from_secs(10));
        assert_eq!((read.limit, read.remaining, read.passes), (400, 399, true));
    }
}
