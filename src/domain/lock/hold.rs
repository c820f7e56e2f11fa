//! For how long a person locks: `/titan lock 2h moving the database` locks for two hours.

use std::time::Duration;

/// Nobody needs a lock that ends by itself after more than this.
pub const LONGEST_HOLD: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A lock by hand: for how long, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// `None`: until somebody gives it back.
    pub lasts: Option<Duration>,
    /// Why; may be empty.
    pub reason: String,
}

/// Reads what follows `/titan lock`: a duration in front (`30m`, `2h`, `1h30m`, `3d`) says when the lock ends.
///
/// A number without a unit is part of the reason. So is a duration that is longer than [`LONGEST_HOLD`] or zero: then
/// the lock does not end by itself, and the answer says so.
pub fn hold(text: &str) -> Hold {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    match duration(first) {
        Some(lasts) => Hold { lasts: Some(lasts), reason: rest.trim().to_owned() },
        None => Hold { lasts: None, reason: text.to_owned() },
    }
}

fn duration(word: &str) -> Option<Duration> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b's' | b'm' | b'h' | b'd'));
    let ends_in_unit = word.bytes().last().is_some_and(|byte| byte.is_ascii_alphabetic());
    let lasts = (plain && ends_in_unit).then(|| humantime::parse_duration(word).ok()).flatten()?;
    (Duration::from_secs(1)..=LONGEST_HOLD).contains(&lasts).then_some(lasts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_in_front_says_when_the_lock_ends() {
        let hours = |n: u64| Some(Duration::from_secs(n * 3600));
        for (text, lasts, reason) in [
            ("", None, ""),
            ("2h", hours(2), ""),
            ("2h moving the database", hours(2), "moving the database"),
            ("3d", hours(72), ""),
            ("1h30m lunch", Some(Duration::from_secs(5400)), "lunch"),
            ("90s", Some(Duration::from_secs(90)), ""),
            ("moving the database for 2h", None, "moving the database for 2h"),
            ("2 hours", None, "2 hours"),
            ("2", None, "2"),
            ("0h nothing", None, "0h nothing"),
            ("31d too long", None, "31d too long"),
            ("99999999999999999999d", None, "99999999999999999999d"),
            ("2H", None, "2H"),
            ("mh", None, "mh"),
        ] {
            assert_eq!(hold(text), Hold { lasts, reason: reason.to_owned() }, "{text:?}");
        }
    }
}
