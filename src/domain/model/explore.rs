//! The whole graph of states, and what must be true of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

use super::moves::By;
use super::*;

/// More would not be explored in time; reaching it fails the test instead of leaving something out.
const MOST_STATES: usize = 3_000_000;

/// Nobody attacks this table, so a few operations for each word are enough.
#[derive(Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }

    fn write_i64(&mut self, word: i64) {
        self.write_u64(word as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

struct Graph {
    states: Vec<State>,
    /// From where one comes to a state without anybody's help but a look that Titan asked for.
    back: Vec<Vec<u32>>,
    moves: usize,
}

/// Every state that can be reached, or the first one in which something is wrong.
fn explore(people: People, rules: Rules) -> Result<Graph, Box<State>> {
    let mut known: HashMap<State, u32, BuildHasherDefault<Quick>> = HashMap::default();
    known.insert(State::first(), 0);
    let mut graph = Graph { states: vec![State::first()], back: vec![Vec::new()], moves: 0 };
    let mut at = 0;
    while at < graph.states.len() {
        for (by, state) in graph.states[at].next(people, rules) {
            if state.wrong.is_some() {
                return Err(Box::new(state));
            }
            graph.moves += 1;
            let id = match known.entry(state) {
                Entry::Occupied(entry) => *entry.get(),
                Entry::Vacant(entry) => {
                    let id = graph.states.len() as u32;
                    graph.states.push(*entry.key());
                    graph.back.push(Vec::new());
                    *entry.insert(id)
                }
            };
            if matches!(by, By::Titan | By::Look) {
                graph.back[id as usize].push(at as u32);
            }
        }
        at += 1;
        assert!(graph.states.len() < MOST_STATES, "too many states to be explored completely");
    }
    Ok(graph)
}

/// A state from which Titan cannot bring every command to its conclusion.
fn dead_end(graph: &Graph) -> Option<&State> {
    let mut ends_well: Vec<bool> = graph.states.iter().map(State::is_quiet).collect();
    let mut open: Vec<u32> = (0..graph.states.len() as u32).filter(|id| ends_well[*id as usize]).collect();
    while let Some(id) = open.pop() {
        for from in &graph.back[id as usize] {
            if !std::mem::replace(&mut ends_well[*from as usize], true) {
                open.push(*from);
            }
        }
    }
    ends_well.iter().position(|good| !good).map(|at| &graph.states[at])
}

fn all_goes_well(people: People, at_least: usize) -> Graph {
    let graph = explore(people, REAL).unwrap_or_else(|state| panic!("{people:?}: {:?}: {state:#?}", state.wrong));
    println!("{people:?}: {} states, {} moves", graph.states.len(), graph.moves);
    let count = graph.states.len();
    assert!(count > at_least, "{people:?}: only {count} states, so the model has lost something");
    assert!(graph.states.iter().any(|state| state.live[1] != 0), "{people:?}: nothing is ever shipped");
    assert!(dead_end(&graph).is_none(), "{people:?}: no way out of {:#?}", dead_end(&graph));
    graph
}

#[test]
fn two_pull_requests_that_want_everything_get_it_one_after_the_other() {
    let graph = all_goes_well(People::Busy, 10_000);
    assert!(graph.states.iter().any(|state| state.line[0].is_some()), "nobody ever waits");
}

#[test]
fn a_push_at_any_moment_ships_nothing_that_was_not_tried() {
    all_goes_well(People::Pushing, 10_000);
}

#[test]
fn closing_and_taking_away_at_any_moment_leave_nothing_behind() {
    all_goes_well(People::Taking, 10_000);
}

fn found(people: People, rules: Rules) -> Option<Wrong> {
    explore(people, rules).err().and_then(|state| state.wrong)
}

#[test]
fn without_one_of_its_rules_the_model_finds_what_the_rule_is_for() {
    let busy = |rules| found(People::Busy, rules);
    // Whichever of the two comes first: the one who was overtaken completes a step that another is in the middle of.
    let twice = busy(Rules { fence: false, ..REAL });
    assert!(matches!(twice, Some(Wrong::TwoCompletions | Wrong::TwoEffects)), "{twice:?}");
    // Two rules keep the second out: that a lock is one row, and that old facts start nothing.
    assert_eq!(busy(Rules { lock: false, fresh: false, ..REAL }), Some(Wrong::TwoHolders));
    assert_eq!(busy(Rules { claim: false, ..REAL }), Some(Wrong::TwoEffects));
    assert_eq!(busy(Rules { fresh: false, ..REAL }), Some(Wrong::Unpromoted));
    assert_eq!(found(People::Taking, Rules { lock_fence: false, ..REAL }), Some(Wrong::ActedWithoutLock));
}
