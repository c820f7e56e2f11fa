//! What the words after `/titan` mean.
//!
//! It reads one line that is known to be addressed to Titan, and gives a command or the hint why it is none.

use super::guess;
use super::{Command, CommandName, Hint, Parsed, could_be_commit};
use crate::domain::ids::{CommitPrefix, ProjectName};
use crate::domain::markdown::inline_code;

/// The person's own words in a hint are cut to this many characters.
const QUOTED_CHARS: usize = 40;

/// Whether free text may follow this command.
pub(super) fn takes_reason(name: CommandName) -> bool {
    use CommandName::{Cancel, Halt, Lock, Rollback, Unlock};
    matches!(name, Rollback | Lock | Unlock | Cancel | Halt)
}

/// Whether a project may be named after this command. The others concern the whole repository.
fn takes_project(name: CommandName) -> bool {
    use CommandName::{Arm, Disarm, Halt, Help, Resume, Trust};
    !matches!(name, Arm | Disarm | Halt | Resume | Trust | Help)
}

/// Reads the words after `/titan`.
pub(super) fn understand(words: &str) -> Parsed {
    let words: Vec<&str> = words.split_whitespace().collect();
    let Some((first, rest)) = words.split_first() else {
        return Parsed::Command(Command::bare(CommandName::Help));
    };
    match CommandName::ALL.into_iter().find(|name| name.as_str().eq_ignore_ascii_case(first)) {
        Some(name) => match read_arguments(name, rest) {
            Ok(command) => Parsed::Command(command),
            Err(hint) => Parsed::Misunderstood(hint),
        },
        None => Parsed::Misunderstood(unknown(first, rest)),
    }
}

fn unknown(first: &str, rest: &[&str]) -> Hint {
    let suggestion = guess::command(first, rest).map(|(name, rest)| {
        // What stood behind the word is offered again when it fits the command that was probably meant.
        read_arguments(name, rest).unwrap_or_else(|_| Command::bare(name)).to_string()
    });
    Hint { problem: format!("there is no command {}", quoted(first)), suggestion }
}

fn read_arguments(name: CommandName, words: &[&str]) -> Result<Command, Hint> {
    let mut command = Command::bare(name);
    if name == CommandName::Help {
        return Ok(command);
    }
    for (at, &word) in words.iter().enumerate() {
        let may_begin_reason = takes_reason(name) && at + 1 < words.len();
        if is_force(name, word) {
            command.force = true;
        } else if let Some(commit) = commit(&command, word)? {
            command.commit = Some(commit);
        } else if let Some(hint) = misplaced(&command, word) {
            return Err(hint);
        } else if let Some(project) = project(&command, word, may_begin_reason) {
            command.project = Some(project);
        } else if takes_reason(name) {
            command.reason = reason(name, &words[at..]).map_err(|option| no_options(&command, option))?;
            break;
        } else {
            return Err(unexpected(&command, word));
        }
    }
    Ok(command)
}

/// The commit that a word names; `None` for a word that can be something else.
fn commit(command: &Command, word: &str) -> Result<Option<CommitPrefix>, Hint> {
    let Some(digits) = word.strip_prefix('@') else { return Ok(None) };
    // Only digits, but too few or too many: a commit that was meant and mistyped. Anything else may be a person, and a
    // person may stand at the beginning of a reason.
    let meant = !takes_reason(command.name) || digits.bytes().all(|b| b.is_ascii_hexdigit());
    match digits.parse() {
        Ok(commit) if command.commit.is_none() => Ok(Some(commit)),
        _ if command.name == CommandName::Halt => Ok(None),
        Ok(_) => Err(second_commit(command, word)),
        Err(_) if meant => Err(no_commit(command, word)),
        Err(_) => Ok(None),
    }
}

/// A target where none can be given: a commit without its `@`, or a version to roll back to.
fn misplaced(command: &Command, word: &str) -> Option<Hint> {
    if !takes_project(command.name) || command.project.is_some() {
        return None;
    }
    let commit = could_be_commit(word);
    if command.name == CommandName::Rollback {
        let version =
            word.contains('.') && word.trim_start_matches(['v', 'V']).starts_with(|c: char| c.is_ascii_digit());
        return (commit || version || word.eq_ignore_ascii_case("to")).then(|| Hint {
            problem: format!(
                "`rollback` always brings back the last good version, so no target can follow it, but {} does",
                quoted(word)
            ),
            suggestion: Some(command.to_string()),
        });
    }
    commit.then(|| Hint {
        problem: format!("{} could be a commit, and a commit is written with an at sign in front", quoted(word)),
        suggestion: Some(Command { commit: word.parse().ok(), ..command.clone() }.to_string()),
    })
}

/// The project that a word names. Phones like to begin words with a capital, so the case is forgiven, but not where
/// the word may as well begin the sentence of a reason.
fn project(command: &Command, word: &str, may_begin_reason: bool) -> Option<ProjectName> {
    if !takes_project(command.name) || command.project.is_some() {
        return None;
    }
    if may_begin_reason { word.parse().ok() } else { word.to_ascii_lowercase().parse().ok() }
}

/// An option such as `--force`, also as phones write it, with a long dash.
fn is_option(word: &str) -> bool {
    let name = word.trim_start_matches(['-', '\u{2013}', '\u{2014}']);
    name.len() < word.len() && name.starts_with(char::is_alphabetic)
}

/// `--force`, the one option there is.
fn is_force(name: CommandName, word: &str) -> bool {
    let option = word.trim_start_matches(['-', '\u{2013}', '\u{2014}']);
    name == CommandName::Unlock && is_option(word) && option.eq_ignore_ascii_case("force")
}

/// The words as a reason, or the option among them.
fn reason<'a>(name: CommandName, words: &[&'a str]) -> Result<String, &'a str> {
    // A halt is obeyed whatever is written behind it. Inside quotes an option is only quoted.
    let quotes = words.first().is_some_and(|word| word.starts_with(['"', '\'', '\u{201c}', '\u{2018}', '\u{ab}']));
    match words.iter().find(|word| is_option(word)) {
        Some(option) if name != CommandName::Halt && !quotes => Err(option),
        _ => Ok(clean_reason(&words.join(" "))),
    }
}

/// The reason without the quotes around it, in one line, and short enough to be shown everywhere.
pub(super) fn clean_reason(text: &str) -> String {
    const PAIRS: [(char, char); 5] =
        [('"', '"'), ('\'', '\''), ('\u{201c}', '\u{201d}'), ('\u{2018}', '\u{2019}'), ('\u{ab}', '\u{bb}')];
    let mut text = text.trim();
    for (open, close) in PAIRS {
        if let Some(inner) = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)) {
            text = inner.trim();
            break;
        }
    }
    let mut text = text.replace('"', "'");
    // A comment that the removal of another one has put together would be left out on the next reading.
    while text.contains("<!--") {
        text = text.replace("<!--", "");
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = line.chars().take(Command::REASON_CHARS).collect();
    short.trim_end().to_owned()
}

fn second_commit(command: &Command, word: &str) -> Hint {
    Hint {
        problem: format!("`{}` takes one commit, but {} came after it", command.name, quoted(word)),
        suggestion: None,
    }
}

fn no_commit(command: &Command, word: &str) -> Hint {
    Hint {
        problem: format!("{} does not name a commit: at least 7 digits (0-9, a-f) of its id are needed", quoted(word)),
        suggestion: Some(command.to_string()),
    }
}

fn no_options(command: &Command, option: &str) -> Hint {
    let problem = match is_force(command.name, option) {
        true => "`--force` stands before the reason".to_owned(),
        false if command.name == CommandName::Unlock => {
            format!("`unlock` has no option but `--force`, and {} was written", quoted(option))
        }
        false => format!("`{}` has no options, but {} was written", command.name, quoted(option)),
    };
    let suggestion = Command { force: command.force || is_force(command.name, option), ..command.clone() };
    Hint { problem, suggestion: Some(suggestion.to_string()) }
}

fn unexpected(command: &Command, word: &str) -> Hint {
    if is_option(word) {
        return no_options(command, word);
    }
    let name = command.name;
    if !takes_project(name) {
        return Hint {
            problem: format!("`{name}` is for the whole repository and takes no {}", quoted(word)),
            suggestion: Some(command.to_string()),
        };
    }
    if command.project.is_some() {
        return Hint {
            problem: format!("`{name}` takes one project and nothing else, but {} came after it", quoted(word)),
            // The word that was taken for a project may have been the beginning of a sentence.
            suggestion: Some(Command { project: None, ..command.clone() }.to_string()),
        };
    }
    let joined = word.split_once('@').and_then(|(project, commit)| {
        Some(Command {
            project: Some(project.to_ascii_lowercase().parse().ok()?),
            commit: Some(commit.parse().ok()?),
            ..command.clone()
        })
    });
    Hint {
        problem: format!("{} is not the name of a project", quoted(word)),
        suggestion: Some(joined.unwrap_or_else(|| command.clone()).to_string()),
    }
}

/// The person's own words, short and harmless, as a code span.
fn quoted(text: &str) -> String {
    let mut clean: Vec<char> = text.chars().filter(|c| !"`@<>|&\\".contains(*c) && !c.is_control()).collect();
    if clean.is_empty() {
        return "what was written".to_owned();
    }
    if clean.len() > QUOTED_CHARS {
        clean.truncate(QUOTED_CHARS - 1);
        clean.push('\u{2026}');
    }
    inline_code(&clean.into_iter().collect::<String>())
}
