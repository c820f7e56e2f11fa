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

/// Lets it begin.
pub fn begin(world: &World, seed: u64) {
    let times = Times::default();
    let at_github = times.clone();
    world.github.faults().set_weather(Some(Arc::new(move |method, path| {
        let what = format!("github {method} {path}");
        fault(&mut Dice::of(seed, &what, at_github.next(&what)), true)
    })));
    let at_render = times.clone();
    world.render.faults().set_weather(Some(Arc::new(move |method, path| {
        let what = format!("render {method} {path}");
        fault(&mut Dice::of(seed, &what, at_render.next(&what)), false)
    })));
    world.github.hooks().set_weather(Some(Arc::new(move |event| {
        let what = format!("hook {event}");
        tamper(&mut Dice::of(seed, &what, times.next(&what)))
    })));
}

/// Lets it end: from now on everything works.
pub fn end(world: &World) {
    world.github.faults().set_weather(None);
    world.render.faults().set_weather(None);
    world.github.hooks().set_weather(None);
}

fn fault(dice: &mut Dice, github: bool) -> Option<FaultKind> {
    if !dice.happens(CALLS) {
        return None;
    }
    let said = |text: &str| format!("{{\"message\": \"{text}\"}}");
    let soon = vec![("retry-after".to_owned(), "1".to_owned())];
    Some(match dice.between(0, 9) {
        0 => FaultKind::Before(502, "<html>Bad Gateway</html>".to_owned(), Vec::new()),
        1 => FaultKind::Before(503, said("Service unavailable"), Vec::new()),
        2 => FaultKind::Before(429, said("too many requests"), soon),
        3 if github => FaultKind::Before(403, said("You have exceeded a secondary rate limit."), soon),
        3 | 4 => FaultKind::After(500),
        5 => FaultKind::After(502),
        6 => FaultKind::DropBefore,
        7 | 8 => FaultKind::DropAfter,
        _ => FaultKind::Delay(Duration::from_millis(dice.between(50, 400))),
    })
}

fn tamper(dice: &mut Dice) -> Option<Tamper> {
    match dice.between(0, 99) {
        0..10 => Some(Tamper::Lose),
        10..20 => Some(Tamper::Duplicate),
        20..40 => Some(Tamper::Delay(Duration::from_millis(dice.between(10, 1500)))),
        _ => None,
    }
}
