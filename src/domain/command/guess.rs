//! What was probably meant by a word that is no command. It only suggests: nothing that is guessed is ever run.

use super::CommandName;

/// Words that people use for what a command does.
const SYNONYMS: &[(&str, CommandName)] = {
    use CommandName::{
        Arm, Canary, Cancel, Disarm, Halt, Help, Lock, Promote, Propose, Resume, Rollback, Status, Unlock,
    };
    &[
        ("build", Propose),
        ("check", Propose),
        ("ci", Propose),
        ("test", Propose),
        ("validate", Propose),
        ("verify", Propose),
        ("plan", Propose),
        ("run", Propose),
        ("rebuild", Propose),
        ("recheck", Propose),
        ("retry", Propose),
        ("rerun", Propose),
        ("submit", Propose),
        ("deploy", Canary),
        ("redeploy", Canary),
        ("stage", Canary),
        ("staging", Canary),
        ("preview", Canary),
        ("try", Canary),
        ("ship", Promote),
        ("merge", Promote),
        ("release", Promote),
        ("publish", Promote),
        ("land", Promote),
        ("prod", Promote),
        ("production", Promote),
        ("apply", Promote),
        ("live", Promote),
        ("revert", Rollback),
        ("undo", Rollback),
        ("restore", Rollback),
        ("back", Rollback),
        ("reset", Rollback),
        ("info", Status),
        ("state", Status),
        ("why", Status),
        ("gates", Status),
        ("show", Status),
        ("list", Status),
        ("hold", Lock),
        ("claim", Lock),
        ("free", Unlock),
        ("abort", Cancel),
        ("kill", Cancel),
        ("stop", Cancel),
        ("quit", Cancel),
        ("enable", Arm),
        ("activate", Arm),
        ("disable", Disarm),
        ("deactivate", Disarm),
        ("freeze", Halt),
        ("pause", Halt),
        ("emergency", Halt),
        ("continue", Resume),
        ("unhalt", Resume),
        ("unpause", Resume),
        ("commands", Help),
        ("usage", Help),
    ]
};

/// Words behind a command that name nothing.
const FILLERS: [&str; 12] = ["it", "this", "that", "now", "please", "pls", "to", "the", "again", "a", "me", "for"];

/// Words that turn `deploy` into `promote`.
const PRODUCTION: [&str; 3] = ["production", "prod", "live"];

/// The command that was probably meant by `first`, with the words that remain behind it: `roll back web` is `rollback`
/// with `web`.
pub(super) fn command<'a>(first: &str, rest: &'a [&'a str]) -> Option<(CommandName, &'a [&'a str])> {
    let word = bare(first);
    let named = |text: &str| CommandName::ALL.into_iter().find(|name| name.as_str() == text);
    if let Some((second, others)) = rest.split_first() {
        let second = bare(second);
        if let Some(name) = named(&(word.clone() + &second)) {
            return Some((name, others));
        }
        // `please canary`, `run canary`: the command stands behind a word of politeness.
        if let Some(name) = named(&second).filter(|_| named(&word).is_none()) {
            return Some((name, others));
        }
    }
    let names = || CommandName::ALL.into_iter().map(|name| (name.as_str(), name));
    let synonyms = || SYNONYMS.iter().copied();
    let exact = || names().chain(synonyms()).find(|(text, _)| *text == word);
    let begun = || names().chain(synonyms()).find(|(text, _)| word.len() >= 3 && text.starts_with(&word));
    let near = || {
        let distances =
            names().map(|(text, name)| (text, name, 2)).chain(synonyms().map(|(text, name)| (text, name, 1)));
        distances
            .map(|(text, name, far)| (strsim::osa_distance(&word, text), name, if text.len() < 6 { 1 } else { far }))
            .filter(|(distance, _, far)| distance <= far && word.len() >= 3)
            .min_by_key(|(distance, _, _)| *distance)
            .map(|(_, name, _)| ("", name))
    };
    let (_, name) = exact().or_else(begun).or_else(near)?;
    let fillers = rest.iter().take_while(|word| FILLERS.contains(&bare(word).as_str())).count();
    let rest = &rest[fillers..];
    match rest.split_first() {
        Some((place, others)) if name == CommandName::Canary && PRODUCTION.contains(&bare(place).as_str()) => {
            Some((CommandName::Promote, others))
        }
        _ => Some((name, rest)),
    }
}

/// The word in lower case without what is not a letter or digit at its ends. Cut short: nothing long is close to a
/// command, and the distance takes time.
fn bare(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric()).chars().take(20).flat_map(char::to_lowercase).collect()
}
