//! The bad days of a chaos story: what goes wrong with calls and with webhooks, as the seed decides for each kind of them
//! and each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use titan::playground::exchange::FaultKind;
use titan::playground::github::Tamper;

use super::dice::Dice;
use crate::support::world::World;

/// So many of a thousand calls go wrong.
const CALLS: u64 = 40;

/// Counts how often something happened.
#[derive(Clone, Default)]
struct Times(Arc<Mutex<HashMap<String, u64>>>);

impl Times {
    fn next(&self, what: &str) -> u64 {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = times.entry(what.to_owned()).or_default();
        *count += 1;
        *count
    }
}

/// Lets it begin; with time enough for what takes tens of seconds, or without.
pub fn begin(world: &World, seed: u64, long: bool) {
    let times = Times::default();
    let at_github = times.clone();
    world.github.faults().set_weather(Some(Arc::new(move |method, path| {
        let what = format!("github {method} {path}");
        fault(&mut Dice::of(seed, &what, at_github.next(&what)), true, long)
    })));
    let at_render = times.clone();
    world.render.faults().set_weather(Some(Arc::new(move |method, path| {
        let what = format!("render {method} {path}");
        fault(&mut Dice::of(seed, &what, at_render.next(&what)), false, long)
    })));
    world.github.hooks().set_weather(Some(Arc::new(move |event| {
        let what = format!("hook {event}");
        tamper(&mut Dice::of(seed, &what, times.next(&what)), long)
    })));
}

/// Lets it end: from now on everything works.
pub fn end(world: &World) {
    world.github.faults().set_weather(None);
    world.render.faults().set_weather(None);
    world.github.hooks().set_weather(None);
}

fn fault(dice: &mut Dice, github: bool, long: bool) -> Option<FaultKind> {
    if !dice.happens(CALLS) {
        return None;
    }
    let page = "<html><body><h1>502 Bad Gateway</h1></body></html>".to_owned();
    let said = |text: &str| format!("{{\"message\": \"{text}\"}}");
    let refused = |status: u16, text: &str, headers: &[(&str, &str)]| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        FaultKind::Before(status, said(text), headers)
    };
    let secondary = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    Some(match dice.between(0, 17) {
        0 => FaultKind::Before(502, page, Vec::new()),
        1 => refused(503, "Service unavailable", &[]),
        2 => refused(429, "too many requests", &[("retry-after", "1")]),
        3 if github => refused(403, secondary, &[("retry-after", "1")]),
        4 if github => refused(403, secondary, &[]),
        5 if github => refused(401, "Bad credentials", &[]),
        3 => refused(429, "too many requests", &[("ratelimit-reset", "1")]),
        4 | 5 => refused(500, "Internal server error", &[]),
        6 => FaultKind::After(500),
        7 => FaultKind::After(502),
        8 => FaultKind::DropBefore,
        9 | 10 => FaultKind::DropAfter,
        11 => FaultKind::Delay(Duration::from_millis(dice.between(50, 400))),
        12 => FaultKind::Slow(Duration::from_millis(dice.between(200, 2000))),
        13 => FaultKind::Half,
        14 => FaultKind::Says(page),
        15 => FaultKind::Says(String::new()),
        16 => FaultKind::CutOff,
        _ if long && dice.happens(250) => FaultKind::HangAfter,
        _ if long => FaultKind::Slow(Duration::from_millis(dice.between(2000, 9000))),
        _ => FaultKind::DropAfter,
    })
}

fn tamper(dice: &mut Dice, long: bool) -> Option<Tamper> {
    match dice.between(0, 99) {
        0..9 => Some(Tamper::Lose),
        9..17 => Some(Tamper::Duplicate),
        17..23 => Some(Tamper::Twin),
        23..40 => Some(Tamper::Delay(Duration::from_millis(dice.between(10, 1500)))),
        40..43 if long => Some(Tamper::Delay(Duration::from_millis(dice.between(5_000, 25_000)))),
        _ => None,
    }
}
