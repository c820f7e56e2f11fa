//! What a deployed commit says about its own behaviour: the file `service.json` in the root of the repository.
//!
//! Pure: text in, behaviour out. Never reads a file, a clock or the network.
//!
//! ```json
//! {
//!   "message": "Shop 2",
//!   "health": {"failing_after_ms": 3000},
//!   "services": {"shop-production": {"start": "fail"}}
//! }
//! ```
//! Every key is optional. What stands under `services.<name>` holds only on the service of that name, as a program would
//! decide by `RENDER_SERVICE_NAME`, and wins over what stands outside.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

/// The name of the file in the root of a commit.
pub const FILE: &str = "service.json";

/// How a service answers at its health path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Always 200.
    Ok,
    /// Always 500.
    Failing,
    /// 200 at first, 500 from so many milliseconds after going live.
    FailingAfterMs(u64),
    /// Every n-th answer, counted from one, is 500. Zero and one fail every time.
    FailingEvery(u64),
}

impl Health {
    /// Whether the `nth` health answer (from one), given so long after going live, is a good one.
    pub fn is_good(&self, since_live: Duration, nth: u64) -> bool {
        match self {
            Self::Ok => true,
            Self::Failing => false,
            Self::FailingAfterMs(ms) => since_live < Duration::from_millis(*ms),
            Self::FailingEvery(n) => !nth.is_multiple_of((*n).max(1)),
        }
    }
}

/// How a phase of the deploy ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The phase succeeds.
    Ok,
    /// The phase fails, and with it the deploy.
    Fail,
}

/// Whether the running service says which commit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// At `/version` and in the header `x-commit`.
    Told,
    /// Nowhere: `/version` is 404 and the header is missing.
    Hidden,
}

/// One level of `service.json`; absent keys are filled from the level outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Level {
    message: Option<String>,
    health: Option<Health>,
    build: Option<Outcome>,
    pre_deploy: Option<Outcome>,
    start: Option<Outcome>,
    identity: Option<Identity>,
    latency_ms: Option<u64>,
    services: BTreeMap<String, Level>,
}

/// How a commit behaves on one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// Shown on the page.
    pub message: String,
    /// Answers at the health path.
    pub health: Health,
    /// `Fail` ends the deploy with `build_failed`.
    pub build: Outcome,
    /// `Fail` ends the deploy with `pre_deploy_failed`, on a service that has a pre-deploy command.
    pub pre_deploy: Outcome,
    /// `Fail` ends the deploy with `update_failed`.
    pub start: Outcome,
    /// Whether the commit is told.
    pub identity: Identity,
    /// How long every answer takes.
    pub latency: Duration,
}

impl Behaviour {
    /// Reads `service.json` for the service of this name. Without a file everything is well.
    ///
    /// # Errors
    /// What is wrong with the file, as a line for the build log.
    pub fn read(file: Option<&[u8]>, service_name: &str) -> Result<Self, String> {
        let outside: Level = match file {
            // Read as an object first: serde would also take a list of values for the fields in turn.
            Some(bytes) => serde_json::from_slice::<serde_json::Map<_, _>>(bytes)
                .and_then(|object| serde_json::from_value(object.into()))
                .map_err(|error| format!("{FILE} cannot be read: {error}"))?,
            None => Level::default(),
        };
        let inside = outside.services.get(service_name).cloned().unwrap_or_default();
        if !inside.services.is_empty() {
            return Err(format!("{FILE} has services inside services.{service_name}; one level is enough"));
        }
        Ok(Self {
            message: inside.message.or(outside.message).unwrap_or_default(),
            health: inside.health.or(outside.health).unwrap_or(Health::Ok),
            build: inside.build.or(outside.build).unwrap_or(Outcome::Ok),
            pre_deploy: inside.pre_deploy.or(outside.pre_deploy).unwrap_or(Outcome::Ok),
            start: inside.start.or(outside.start).unwrap_or(Outcome::Ok),
            identity: inside.identity.or(outside.identity).unwrap_or(Identity::Told),
            latency: Duration::from_millis(inside.latency_ms.or(outside.latency_ms).unwrap_or(0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_can_behave_otherwise_than_its_sisters() {
        let file = br#"{"message": "hi", "health": {"failing_after_ms": 50}, "services": {"prod": {"start": "fail"}}}"#;
        let canary = Behaviour::read(Some(file), "canary").expect("valid");
        let prod = Behaviour::read(Some(file), "prod").expect("valid");
        assert_eq!((canary.start, prod.start), (Outcome::Ok, Outcome::Fail));
        assert_eq!(prod.message, "hi");
        assert_eq!(prod.health, Health::FailingAfterMs(50));
    }

    #[test]
    fn nothing_said_means_all_is_well_and_nonsense_is_an_error() {
        let silent = Behaviour::read(None, "any").expect("no file is fine");
        assert_eq!((silent.health, silent.build, silent.identity), (Health::Ok, Outcome::Ok, Identity::Told));
        for bad in ["", "[]", r#"{"helth": "ok"}"#, r#"{"health": "sick"}"#] {
            assert!(Behaviour::read(Some(bad.as_bytes()), "any").is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn health_follows_time_and_count() {
        let late = Health::FailingAfterMs(100);
        assert!(late.is_good(Duration::from_millis(99), 1));
        assert!(!late.is_good(Duration::from_millis(100), 1));
        let third = Health::FailingEvery(3);
        let answers: Vec<bool> = (1..=6).map(|nth| third.is_good(Duration::ZERO, nth)).collect();
        assert_eq!(answers, [true, true, false, true, true, false]);
    }
}
