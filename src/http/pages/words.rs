//! The small words and signs of pages: times, sizes, and how something stands as colour, sign and word together.

use chrono::{DateTime, Utc};

use crate::clock;
use crate::domain::gates::GateResult;
use crate::domain::report::{self, Mark};
use crate::domain::run::{Conclusion, RunStatus, StepStatus};
use crate::domain::verdict::Verdict;
use crate::http::markdown::{self, Html};

/// One gate as a row of a table.
pub struct GateView {
    /// Open or closed.
    pub badge: Badge,
    /// Its name.
    pub gate: &'static str,
    /// The code of a closed gate; else empty.
    pub reason: &'static str,
    /// What was seen.
    pub observed: Html,
    /// What to do about it.
    pub way_out: Html,
}

impl From<&GateResult> for GateView {
    fn from(gate: &GateResult) -> Self {
        Self {
            badge: Badge::of_gate(gate.passed()),
            gate: gate.gate.as_str(),
            reason: gate.reason.map_or("", |reason| reason.code()),
            observed: markdown::line(&gate.observed),
            way_out: markdown::line(&gate.way_out),
        }
    }
}

/// How something stands: never by colour alone.
#[derive(Debug, Clone)]
pub struct Badge {
    /// The style class: `good`, `bad`, `working`, `waiting`, `attention` or `stopped`.
    pub class: &'static str,
    /// A drawing.
    pub sign: Html,
    /// One word.
    pub word: String,
}

impl Badge {
    fn new(class: &'static str, word: impl Into<String>) -> Self {
        let shape = match class {
            "good" => r#"<path d="M4.5 8.5l2.3 2.3 4.7-5.1"/>"#,
            "bad" => r#"<path d="M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6"/>"#,
            "working" => r#"<circle class="dot" cx="8" cy="8" r="2.6"/>"#,
            "attention" => r#"<path d="M8 4.4v4.4M8 11.3v.2"/>"#,
            "stopped" => r#"<path d="M5 11L11 5"/>"#,
            _ => "",
        };
        let sign = format!(
            r#"<svg class="sign" viewBox="0 0 16 16" aria-hidden="true"><circle class="ring" cx="8" cy="8" r="7"/>{shape}</svg>"#
        );
        Self { class, sign: Html::trusted(sign), word: word.into() }
    }

    /// Of a run.
    pub fn of_run(status: RunStatus) -> Self {
        match status {
            RunStatus::Queued => Self::new("waiting", "queued"),
            RunStatus::Running => Self::new("working", "running"),
            RunStatus::Undoing => Self::new("attention", "putting back"),
            RunStatus::Completed(Conclusion::Success) => Self::new("good", "success"),
            RunStatus::Completed(Conclusion::Failure) => Self::new("bad", "failure"),
            RunStatus::Completed(Conclusion::Inconclusive) => Self::new("attention", "inconclusive"),
            RunStatus::Completed(Conclusion::Refused) => Self::new("stopped", "refused"),
            RunStatus::Completed(Conclusion::Cancelled) => Self::new("stopped", "cancelled"),
        }
    }

    /// Of a step.
    pub fn of_step(status: StepStatus) -> Self {
        match status {
            StepStatus::Pending => Self::new("waiting", "waiting"),
            StepStatus::Running => Self::new("working", "running"),
            StepStatus::Succeeded => Self::new("good", "done"),
            StepStatus::Failed => Self::new("bad", "failed"),
            StepStatus::Skipped => Self::new("stopped", "skipped"),
        }
    }

    /// Of all gates of a command together.
    pub fn of_gates(open: bool) -> Self {
        match open {
            true => Self::new("good", "open"),
            false => Self::new("bad", "closed"),
        }
    }

    /// Of a gate.
    pub fn of_gate(passed: bool) -> Self {
        if passed { Self::new("good", "passed") } else { Self::new("bad", "failed") }
    }

    /// Of a stage of a change, as the status comment shows it.
    pub fn of_mark(mark: Mark) -> Self {
        match mark {
            Mark::Good => Self::new("good", "good"),
            Mark::Bad => Self::new("bad", "bad"),
            Mark::Working => Self::new("working", "going on"),
            Mark::Waiting => Self::new("waiting", "waiting"),
            Mark::Attention => Self::new("attention", "look at it"),
        }
    }

    /// Of a bake.
    pub fn of_verdict(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::new("good", "pass"),
            Verdict::Fail => Self::new("bad", "fail"),
            Verdict::Inconclusive => Self::new("attention", "inconclusive"),
        }
    }

    /// Of a release: `good`, `bad` or `unproven`.
    pub fn of_release(status: &str) -> Self {
        match status {
            "good" => Self::new("good", "good"),
            "bad" => Self::new("bad", "bad"),
            "withdrawn" => Self::new("waiting", "withdrawn"),
            _ => Self::new("waiting", "unproven"),
        }
    }
}

/// An instant: for machines and for people.
#[derive(Debug, Clone)]
pub struct Moment {
    /// ISO 8601 in UTC.
    pub iso: String,
    /// To the minute, in UTC.
    pub exact: String,
    /// How long ago.
    pub ago: String,
}

impl Moment {
    /// As seen now.
    pub fn new(at: DateTime<Utc>) -> Self {
        let iso = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        Self { iso, exact: report::time(at), ago: ago((clock::now() - at).num_seconds()) }
    }
}

fn ago(seconds: i64) -> String {
    match seconds {
        ..5 => "just now".to_owned(),
        5..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        86_400..172_800 => "yesterday".to_owned(),
        172_800..2_592_000 => format!("{} days ago", seconds / 86_400),
        2_592_000..31_536_000 => format!("{} months ago", seconds / 2_592_000),
        _ => format!("{} years ago", seconds / 31_536_000),
    }
}

/// How long something took, or has taken so far.
pub fn took(from: DateTime<Utc>, to: Option<DateTime<Utc>>) -> String {
    let ms = (to.unwrap_or_else(clock::now) - from).num_milliseconds();
    report::duration(u64::try_from(ms).unwrap_or_default())
}

/// A size for people.
pub fn bytes(n: i64) -> String {
    match n {
        ..1000 => format!("{n} bytes"),
        1000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        _ => format!("{:.1} MB", n as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_near_as_a_person_would_say() {
        for (seconds, words) in [
            (-3, "just now"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (7199, "1 h ago"),
            (86_400, "yesterday"),
            (259_200, "3 days ago"),
            (5_184_000, "2 months ago"),
        ] {
            assert_eq!(ago(seconds), words);
        }
        assert_eq!([bytes(0), bytes(1234), bytes(2_500_000)], ["0 bytes", "1.2 kB", "2.5 MB"]);
    }
}
