//! Judges a bake: probe samples -> pass, fail or inconclusive, with the numbers behind it.
//!
//! The canary sees only synthetic probes, so absolute conditions decide. "Nothing failed in n probes" bounds the error
//! rate only so far (the rule of three); the bound is part of the answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One probe of a baking service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BakeSample {
    /// Whether the health path answered 2xx.
    pub healthy: bool,
    /// Milliseconds until the answer, when there was one.
    pub latency_ms: Option<u32>,
    /// What the service said it is.
    pub identity: SampleIdentity,
    /// What went wrong, short, for people.
    pub error: Option<String>,
}

/// Which commit a sample came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SampleIdentity {
    /// The expected commit.
    Expected,
    /// Another commit.
    Other,
    /// The service did not say, or the policy names no place where it says.
    Unknown,
}

/// The judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Good.
    Pass,
    /// Bad.
    Fail,
    /// Not enough was seen; a person decides.
    Inconclusive,
}

/// A judgement with its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The judgement.
    pub verdict: Verdict,
    /// Why, one sentence.
    pub why: String,
    /// The numbers.
    pub figures: Figures,
}

/// Numbers of a bake.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// How many samples.
    pub samples: usize,
    /// How many of them were not healthy.
    pub failed: usize,
    /// Median latency of the healthy ones, milliseconds.
    pub p50_ms: Option<u32>,
    /// 95th percentile of the healthy ones, milliseconds.
    pub p95_ms: Option<u32>,
    /// Upper bound (95 %) of the error rate in percent, when nothing failed.
    pub error_bound_percent: Option<f64>,
}

/// So many failures in a row end a bake at once.
pub const FAILURES_IN_A_ROW: usize = 5;
/// So many answers of another commit in a row end a bake at once.
pub const STRANGERS_IN_A_ROW: usize = 3;
/// Below this share of healthy samples a bake has failed.
pub const HEALTHY_PERCENT: f64 = 95.0;
/// With fewer samples than this share of the expected ones nothing can be said, nor when fewer of them than this share
/// came from the expected commit.
const ENOUGH_PERCENT: f64 = 50.0;

/// How long to wait between two probes: 2 s, closer together for short bakes so that there is something to judge.
pub fn probe_interval(bake: Duration) -> Duration {
    (bake / 20).clamp(Duration::from_millis(100), Duration::from_secs(2))
}

/// Ends a bake early when it is hopeless; `None`: go on. `samples` are in the order of time.
pub fn fail_fast(samples: &[BakeSample]) -> Option<Judgement> {
    let figures = figures(samples);
    let last =
        |n: usize, bad: fn(&BakeSample) -> bool| samples.len() >= n && samples[samples.len() - n..].iter().all(bad);
    if last(FAILURES_IN_A_ROW, |s| !s.healthy) {
        let error = samples.last().and_then(|s| s.error.clone()).unwrap_or_else(|| "not healthy".to_owned());
        let why = format!("{FAILURES_IN_A_ROW} probes in a row failed, the last with: {error}");
        return Some(Judgement { verdict: Verdict::Fail, why, figures });
    }
    if last(STRANGERS_IN_A_ROW, |s| s.identity == SampleIdentity::Other) {
        let why = format!("the service answered as another commit {STRANGERS_IN_A_ROW} times in a row");
        return Some(Judgement { verdict: Verdict::Fail, why, figures });
    }
    None
}

/// Whether so many samples are enough to judge by, of so many that the bake time allows for.
pub fn are_enough(count: usize, expected: usize) -> bool {
    count > 0 && (count as f64) * 100.0 >= (expected as f64) * ENOUGH_PERCENT
}

/// Judges a whole bake. `expected` is how many samples the bake time allows for.
pub fn judge(samples: &[BakeSample], expected: usize) -> Judgement {
    if let Some(judgement) = fail_fast(samples) {
        return judgement;
    }
    let figures = figures(samples);
    let count = figures.samples;
    if !are_enough(count, expected) {
        let why = format!("only {count} of {expected} samples could be taken");
        return Judgement { verdict: Verdict::Inconclusive, why, figures };
    }
    let healthy = (count - figures.failed) as f64 * 100.0 / count as f64;
    if healthy < HEALTHY_PERCENT {
        let why = format!("{} of {count} probes failed, {HEALTHY_PERCENT} % must be healthy", figures.failed);
        return Judgement { verdict: Verdict::Fail, why, figures };
    }
    let named = samples.iter().filter(|sample| sample.identity == SampleIdentity::Expected).count();
    if (named as f64) * 100.0 < (count as f64) * ENOUGH_PERCENT {
        let why = format!("only {named} of {count} answers named the expected commit");
        return Judgement { verdict: Verdict::Inconclusive, why, figures };
    }
    let why = match figures.error_bound_percent {
        Some(bound) => format!("all {count} probes were healthy (error rate below {bound:.1} % at 95 % confidence)"),
        None => format!("{} of {count} probes were healthy", count - figures.failed),
    };
    Judgement { verdict: Verdict::Pass, why, figures }
}

/// The numbers of some samples.
pub fn figures(samples: &[BakeSample]) -> Figures {
    let failed = samples.iter().filter(|s| !s.healthy).count();
    let mut latencies: Vec<u32> = samples.iter().filter(|s| s.healthy).filter_map(|s| s.latency_ms).collect();
    latencies.sort_unstable();
    let percentile = |p: usize| match latencies.len() {
        0 => None,
        n => latencies.get(((n * p).div_ceil(100)).saturating_sub(1)).copied(),
    };
    // With no failure in n trials, the 95 % upper bound p solves (1 - p)^n = 0.05.
    let bound = (failed == 0 && !samples.is_empty())
        .then(|| (1.0 - 0.05_f64.powf(1.0 / samples.len() as f64)) * 100.0)
        .map(|b| (b * 10.0).round() / 10.0);
    Figures {
        samples: samples.len(),
        failed,
        p50_ms: percentile(50),
        p95_ms: percentile(95),
        error_bound_percent: bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(healthy: bool, identity: SampleIdentity) -> BakeSample {
        BakeSample { healthy, latency_ms: Some(10), identity, error: (!healthy).then(|| "500".to_owned()) }
    }

    fn series(pattern: &str) -> Vec<BakeSample> {
        let one = |c| match c {
            '+' => sample(true, SampleIdentity::Expected),
            '-' => sample(false, SampleIdentity::Expected),
            '?' => sample(true, SampleIdentity::Unknown),
            _ => sample(true, SampleIdentity::Other),
        };
        pattern.chars().map(one).collect()
    }

    #[test]
    fn a_bake_is_judged_by_what_was_seen() {
        let cases = [
            ("++++++++++", 10, Verdict::Pass),
            ("", 10, Verdict::Inconclusive),
            ("+++", 10, Verdict::Inconclusive),
            ("+++++-----", 10, Verdict::Fail),
            ("+-+++++++++++++++++++", 20, Verdict::Pass),
            ("+-+-++++++++++++++++", 20, Verdict::Fail),
            ("+++xxx", 6, Verdict::Fail),
            ("+++x+x", 6, Verdict::Pass),
            ("x+xx+xx+", 8, Verdict::Inconclusive),
            ("????????", 8, Verdict::Inconclusive),
        ];
        for (pattern, expected, verdict) in cases {
            let judgement = judge(&series(pattern), expected);
            assert_eq!(judgement.verdict, verdict, "{pattern:?}: {}", judgement.why);
        }
    }

    #[test]
    fn five_failures_in_a_row_end_it_at_once_and_four_do_not() {
        assert!(fail_fast(&series("++----")).is_none());
        assert!(fail_fast(&series("++-----")).is_some());
        assert!(fail_fast(&series("-----+")).is_none());
    }

    #[test]
    fn no_failure_bounds_the_error_rate_only_so_far() {
        assert_eq!(figures(&series(&"+".repeat(150))).error_bound_percent, Some(2.0));
        assert_eq!(figures(&series("+-")).error_bound_percent, None);
    }

    #[test]
    fn probes_are_two_seconds_apart_and_closer_in_short_bakes() {
        assert_eq!(probe_interval(Duration::from_secs(300)), Duration::from_secs(2));
        assert_eq!(probe_interval(Duration::from_secs(20)), Duration::from_secs(1));
        assert_eq!(probe_interval(Duration::from_secs(1)), Duration::from_millis(100));
    }
}
