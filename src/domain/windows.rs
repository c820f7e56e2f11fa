//! When promotes are let in: weekly hours and days without, by the clock on the wall of one place.
//!
//! Pure; the instant comes from outside. All rules are about local time, so a window is as long as the clock says, also
//! on the two days of a year when an hour is missing or there twice. An hour that is missing opens nothing by itself;
//! one that is there twice is open twice.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

/// So many days ahead the next opening is looked for.
const AHEAD_DAYS: u64 = 800;
const DAY_MINUTES: u32 = 24 * 60;
const DAY_NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// The windows of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// Whose clock counts.
    pub zone: Tz,
    /// The hours that are open; empty: all.
    pub open: Vec<Hours>,
    /// The times when nothing is open.
    pub freeze: Vec<Freeze>,
}

/// Hours of some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// From Monday.
    days: [bool; 7],
    /// Minutes of the day.
    from: u32,
    /// Minutes of the day, not counted in; not after `from` when the hours end on the next day.
    to: u32,
    /// As written.
    text: String,
}

/// A time when nothing is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    from: NaiveDateTime,
    /// Not counted in.
    until: NaiveDateTime,
    /// As written.
    text: String,
}

/// Why it is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// Outside the open hours.
    OutsideHours,
    /// Inside this freeze, as written.
    Frozen(String),
}

impl Windows {
    /// Whether it is open at an instant.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, at: DateTime<Utc>) -> Result<(), Closed> {
        let local = at.with_timezone(&self.zone).naive_local();
        if let Some(freeze) = self.freeze.iter().find(|freeze| (freeze.from..freeze.until).contains(&local)) {
            return Err(Closed::Frozen(freeze.text.clone()));
        }
        let open = self.open.is_empty() || self.open.iter().any(|hours| hours.hold(local));
        open.then_some(()).ok_or(Closed::OutsideHours)
    }

    /// The first instant after this one when it is open; `None` when there is none for more than two years.
    pub fn next_opening(&self, after: DateTime<Utc>) -> Option<DateTime<Tz>> {
        let first = after.with_timezone(&self.zone).date_naive();
        let days = (0..AHEAD_DAYS).filter_map(|n| first.checked_add_days(Days::new(n)));
        // It can only open when hours begin or a freeze ends.
        let mut ends: Vec<NaiveDateTime> = self.freeze.iter().map(|freeze| freeze.until).collect();
        ends.sort_unstable();
        days.filter_map(|day| {
            let begins = self.open.iter().filter_map(|hours| day.and_hms_opt(hours.from / 60, hours.from % 60, 0));
            let ended = ends.iter().copied().filter(|end| end.date() == day);
            let instants = begins.chain(ended).filter_map(|local| self.instant(local));
            instants.filter(|at| at.to_utc() > after && self.check(at.to_utc()).is_ok()).min()
        })
        .next()
    }

    /// The first instant that the clock on the wall shows this or, when it never shows it, what comes next.
    fn instant(&self, local: NaiveDateTime) -> Option<DateTime<Tz>> {
        // No place has ever set its clock by more than a day.
        (0..=i64::from(DAY_MINUTES))
            .find_map(|minutes| self.zone.from_local_datetime(&(local + TimeDelta::minutes(minutes))).earliest())
    }

    /// The open hours as written, or `always`.
    pub fn hours(&self) -> String {
        let texts: Vec<&str> = self.open.iter().map(|hours| hours.text.as_str()).collect();
        if texts.is_empty() { "always".to_owned() } else { texts.join(", ") }
    }
}

impl Hours {
    fn hold(&self, local: NaiveDateTime) -> bool {
        let minute = local.hour() * 60 + local.minute();
        let day = local.weekday().num_days_from_monday() as usize;
        let before = (day + 6) % 7;
        if self.from < self.to {
            return self.days[day] && (self.from..self.to).contains(&minute);
        }
        (self.days[day] && minute >= self.from) || (self.days[before] && minute < self.to)
    }

    /// Reads `Mon-Thu 08:00-17:00`, `Sat,Sun 10:00-12:00`, `22:00-02:00` (every day, into the next).
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that begins with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (days, hours) = match text.trim().rsplit_once(char::is_whitespace) {
            Some((days, hours)) => (Some(days.trim()), hours),
            None => (None, text.trim()),
        };
        let wanted = "must be days and hours, such as Mon-Thu 08:00-17:00";
        let (from, to) = hours.split_once('-').ok_or(wanted)?;
        let minutes =
            |text: &str| minutes(text).ok_or_else(|| format!("has {text:?} where a time such as 08:00 belongs"));
        let (from, to) = (minutes(from)?, minutes(to)?);
        if from == to || from == DAY_MINUTES {
            return Err("has no time in it; write 00:00-24:00 for a whole day".to_owned());
        }
        let mut set = [days.is_none(); 7];
        for part in days.into_iter().flat_map(|days| days.split(',')).map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (day(first)?, day(last)?);
            // Fri-Mon goes over the end of the week.
            for step in 0..=(last + 7 - first) % 7 {
                set[(first + step) % 7] = true;
            }
        }
        Ok(Self { days: set, from, to, text: text.trim().to_owned() })
    }
}

fn minutes(text: &str) -> Option<u32> {
    if text == "24:00" {
        return Some(DAY_MINUTES);
    }
    let time = NaiveTime::parse_from_str(text, "%H:%M").ok().filter(|_| text.len() == 5)?;
    Some(time.hour() * 60 + time.minute())
}

fn day(text: &str) -> Result<usize, String> {
    let found = DAY_NAMES.iter().position(|name| name.eq_ignore_ascii_case(text.trim()));
    found.ok_or_else(|| format!("has {:?} where a day belongs; days are {}", text.trim(), DAY_NAMES.join(", ")))
}

impl Freeze {
    /// Reads `2026-12-20..2027-01-02` (both days whole) or `2026-11-27T18:00..2026-11-30T06:00`, or one day.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that begins with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let read = |text: &str, is_end: bool| {
            let text = text.trim();
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
            let whole = day
                .and_then(|day| if is_end { day.succ_opt() } else { Some(day) })
                .and_then(|d| d.and_hms_opt(0, 0, 0));
            whole.or_else(|| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").ok()).ok_or_else(|| {
                format!("has {text:?} where a day such as 2026-12-20 or a time such as 2026-12-20T18:00 belongs")
            })
        };
        let (from, until) = (read(from, false)?, read(to, true)?);
        if until <= from {
            return Err("ends before it begins".to_owned());
        }
        Ok(Self { from, until, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(zone: &str, open: &[&str], freeze: &[&str]) -> Windows {
        Windows {
            zone: zone.parse().expect("a zone"),
            open: open.iter().map(|text| Hours::parse(text).expect(text)).collect(),
            freeze: freeze.iter().map(|text| Freeze::parse(text).expect(text)).collect(),
        }
    }

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[test]
    fn hours_are_those_of_the_clock_on_the_wall() {
        let berlin = windows("Europe/Berlin", &["Mon-Thu 08:00-17:00", "Fri 08:00-12:00", "Sat 22:00-02:00"], &[]);
        for (at, open, next) in [
            // Winter: one hour ahead of UTC. 2026-11-23 is a Monday.
            ("2026-11-23T06:59:59Z", false, "2026-11-23T07:00:00Z"),
            ("2026-11-23T07:00:00Z", true, "2026-11-24T07:00:00Z"),
            ("2026-11-23T15:59:59Z", true, "2026-11-24T07:00:00Z"),
            ("2026-11-23T16:00:00Z", false, "2026-11-24T07:00:00Z"),
            // Summer: two hours.
            ("2026-07-20T06:00:00Z", true, "2026-07-21T06:00:00Z"),
            ("2026-07-20T05:59:00Z", false, "2026-07-20T06:00:00Z"),
            ("2026-11-27T11:00:00Z", false, "2026-11-28T21:00:00Z"),
            // Saturday's hours end on Sunday.
            ("2026-11-29T00:30:00Z", true, "2026-11-30T07:00:00Z"),
            ("2026-11-29T01:00:00Z", false, "2026-11-30T07:00:00Z"),
        ] {
            assert_eq!(berlin.check(utc(at)).is_ok(), open, "{at}");
            assert_eq!(berlin.next_opening(utc(at)).map(|at| at.to_utc()), Some(utc(next)), "{at}");
        }
    }

    #[test]
    fn the_two_odd_days_of_a_year_open_and_close_by_the_clock() {
        let night = windows("Europe/Berlin", &["02:30-04:00"], &[]);
        for (at, open) in [
            // 2026-03-29: 02:00 becomes 03:00, so 02:30 never comes and it opens at 03:00.
            ("2026-03-29T00:59:00Z", false),
            ("2026-03-29T01:00:00Z", true),
            ("2026-03-29T01:59:00Z", true),
            ("2026-03-29T02:00:00Z", false),
            // 2026-10-25: 03:00 becomes 02:00 again, so 02:30 comes twice.
            ("2026-10-25T00:29:00Z", false),
            ("2026-10-25T00:30:00Z", true),
            ("2026-10-25T01:00:00Z", false),
            ("2026-10-25T01:30:00Z", true),
            ("2026-10-25T02:59:00Z", true),
            ("2026-10-25T03:00:00Z", false),
        ] {
            assert_eq!(night.check(utc(at)).is_ok(), open, "{at}");
        }
        let next = |at: &str| night.next_opening(utc(at)).map(|at| at.to_utc());
        assert_eq!(next("2026-03-29T00:00:00Z"), Some(utc("2026-03-29T01:00:00Z")), "an hour that never comes");
        assert_eq!(next("2026-10-25T00:00:00Z"), Some(utc("2026-10-25T00:30:00Z")), "the first of two");
        // A place that left out a whole day: 2011-12-30 never came in Samoa.
        let samoa = windows("Pacific/Apia", &["Fri 09:00-10:00"], &[]);
        assert_eq!(
            samoa.next_opening(utc("2011-12-29T12:00:00Z")).map(|at| at.to_utc()),
            Some(utc("2012-01-05T19:00:00Z"))
        );
    }

    #[test]
    fn a_freeze_closes_whole_days_or_to_the_minute() {
        let frozen = windows(
            "America/New_York",
            &[],
            &["2026-12-20..2027-01-02", "2026-11-27T18:00..2026-11-30T06:00", "2026-12-04"],
        );
        for (at, until) in [
            ("2026-12-20T05:00:00Z", Some("2027-01-03T05:00:00Z")),
            ("2026-12-20T04:59:00Z", None),
            ("2027-01-03T04:59:59Z", Some("2027-01-03T05:00:00Z")),
            ("2026-11-27T23:00:00Z", Some("2026-11-30T11:00:00Z")),
            ("2026-11-27T22:59:00Z", None),
            ("2026-12-04T12:00:00Z", Some("2026-12-05T05:00:00Z")),
        ] {
            assert_eq!(frozen.check(utc(at)).is_err(), until.is_some(), "{at}");
            if let Some(until) = until {
                assert_eq!(frozen.next_opening(utc(at)).map(|at| at.to_utc()), Some(utc(until)), "{at}");
            }
        }
        let never = windows("UTC", &[], &["2026-01-01..2036-01-01"]);
        assert_eq!(never.next_opening(utc("2026-06-01T00:00:00Z")), None);
    }

    #[test]
    fn what_is_no_window_is_told() {
        for text in [
            "",
            "Mon",
            "Mon 8-17",
            "Mon 08:00",
            "Mon 08:00-25:00",
            "Mon 8:00-09:00",
            "Mo 08:00-09:00",
            "Mon 08:00-08:00",
            "Mon- 08:00-09:00",
            "24:00-08:00",
        ] {
            assert!(Hours::parse(text).is_err(), "{text:?}");
        }
        for text in [
            "",
            "2026-02-30",
            "2026-12-20..",
            "2027-01-01..2026-01-01",
            "20.12.2026",
            "2026-01-01T10:00..2026-01-01T10:00",
            "2026-01-01...2026-01-03",
        ] {
            assert!(Freeze::parse(text).is_err(), "{text:?}");
        }
        let weekend = Hours::parse("fri-mon 10:00-11:00").expect("over the end of the week");
        assert_eq!(weekend.days, [true, false, false, false, true, true, true]);
    }
}
