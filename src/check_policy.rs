//! `titan check-policy`: tells what is wrong with a policy file, or which of its rules hits a path.
//!
//! It reads files and prints; every judgement is `domain::policy`'s and `domain::paths`'s. It needs no settings, no
//! database and no network, so that it can run in anybody's editor or CI. Answers go to standard output, what is wrong
//! goes to standard error.

use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource};

use crate::domain::paths::PathRules;
use crate::domain::policy::{Diagnostic, Policy};

/// The policy is good, and every path was answered.
const GOOD: u8 = 0;
/// The policy has mistakes.
const MISTAKES: u8 = 1;
/// Something could not be read or written.
const UNREADABLE: u8 = 2;

/// Checks a policy file.
///
/// Without `paths`: prints a summary, or every mistake with its place in the file. With `paths`, a file with one path
/// a line (`-` for standard input): prints for each path one line of JSON, `{"path", "protected", "allowed", "rule"}`,
/// in the order of the list, and with `"look_alike"` when the path is only on some systems that of a protected file. A
/// line is taken as it is, without its LF or CRLF, byte for byte; empty lines are passed over, bytes that are no UTF-8
/// are shown as U+FFFD, and a leading `./` does not count.
///
/// The exit code is 0 for a good policy, 1 for one with mistakes, 2 when something could not be read.
pub fn run(file: &Path, paths: Option<&str>) -> ExitCode {
    let colours = io::stderr().is_terminal();
    let mut out = BufWriter::new(io::stdout().lock());
    let code = check(file, paths, colours, &mut out, &mut io::stderr().lock()).unwrap_or(UNREADABLE);
    ExitCode::from(code)
}

/// The same, with the places to print to; an error is one of printing, and there is nobody left to tell it to.
fn check(
    file: &Path,
    paths: Option<&str>,
    colours: bool,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<u8> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            writeln!(err, "titan: cannot read {}: {error}", file.display())?;
            return Ok(UNREADABLE);
        }
    };
    let (policy, rules) = match understand(&bytes) {
        Ok(understood) => understood,
        Err(found) => {
            explain(file, &String::from_utf8_lossy(&bytes), &found, colours, err)?;
            return Ok(MISTAKES);
        }
    };
    match paths {
        None => out.write_all(summary(file, &policy).as_bytes())?,
        Some(list) => match read_list(list) {
            Ok(list) => answer(&rules, &list, out)?,
            Err(error) => {
                writeln!(err, "titan: cannot read the list of paths {list}: {error}")?;
                return Ok(UNREADABLE);
            }
        },
    }
    out.flush()?;
    Ok(GOOD)
}

fn understand(bytes: &[u8]) -> Result<(Policy, PathRules), Vec<Diagnostic>> {
    let policy = Policy::parse_bytes(bytes)?;
    let rules = PathRules::new(&policy.paths)?;
    Ok((policy, rules))
}

fn summary(file: &Path, policy: &Policy) -> String {
    let mut text = format!("ok: {} is a valid policy\n", file.display());
    let patterns = |count: usize| if count == 1 { "1 pattern".to_owned() } else { format!("{count} patterns") };
    let allowed = match &policy.paths.allowed {
        Some(allowed) => patterns(allowed.len()),
        None => "everything that is not protected".to_owned(),
    };
    let build = match &policy.build.run {
        Some(run) => run.join(", then "),
        None => "found from the lock file".to_owned(),
    };
    let roles: Vec<String> = policy.permissions.iter().map(|(command, grant)| format!("{command} {grant}")).collect();
    let rows = [
        ("hash", policy.hash.clone()),
        ("protected", patterns(policy.paths.protected.len())),
        ("allowed", allowed),
        ("build", format!("{build}, within {}", humantime::format_duration(policy.build.timeout))),
        ("roles", roles.join(", ")),
        ("promote", format!("{} approvals, {}", policy.approvals, policy.merge.as_str())),
    ];
    for (what, value) in rows {
        let _ = writeln!(text, "  {what:<10} {value}");
    }
    for (name, project) in &policy.projects {
        let targets: Vec<String> = [("canary", &project.canary), ("production", &project.production)]
            .into_iter()
            .filter_map(|(what, target)| target.as_ref().map(|target| format!("{what} {}", target.url)))
            .collect();
        let targets = if targets.is_empty() { "nowhere to deploy".to_owned() } else { targets.join(", ") };
        let _ = writeln!(text, "  {:<10} {name}: {targets}", "project");
    }
    text
}

/// Prints every mistake with the lines of the file around it.
fn explain(file: &Path, text: &str, found: &[Diagnostic], colours: bool, err: &mut impl Write) -> io::Result<()> {
    // What is shown must not be able to steer the terminal. Columns are counted behind the byte order mark.
    let shown: String = text
        .trim_start_matches('\u{feff}')
        .chars()
        .map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c })
        .collect();
    let theme = if colours { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(100);
    for mistake in found {
        let mut diagnostic = MietteDiagnostic::new(mistake.message.clone()).with_label(LabeledSpan::at(
            span(&shown, mistake),
            format!("line {}, column {}", mistake.line, mistake.column),
        ));
        if let Some(suggestion) = &mistake.suggestion {
            diagnostic = diagnostic.with_help(format!("write {suggestion}"));
        }
        let report = miette::Report::new(diagnostic)
            .with_source_code(NamedSource::new(file.display().to_string(), shown.clone()));
        let mut page = String::new();
        handler.render_report(&mut page, report.as_ref()).map_err(io::Error::other)?;
        err.write_all(page.as_bytes())?;
    }
    let many = if found.len() == 1 { "1 mistake".to_owned() } else { format!("{} mistakes", found.len()) };
    writeln!(err, "\n{many} in {}", file.display())
}

/// The bytes from a mistake's place to the end of the word there.
fn span(text: &str, mistake: &Diagnostic) -> std::ops::Range<usize> {
    let before: usize = text.split_inclusive('\n').take(mistake.line.saturating_sub(1)).map(str::len).sum();
    let line = text[before..].split('\n').next().unwrap_or_default();
    let start = before + line.char_indices().nth(mistake.column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
    let word = text[start..].find(|c: char| c.is_whitespace() || ",:]}".contains(c)).unwrap_or(text.len() - start);
    start..start + word
}

fn read_list(list: &str) -> io::Result<Vec<u8>> {
    if list != "-" {
        return std::fs::read(list);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn answer(rules: &PathRules, list: &[u8], out: &mut impl Write) -> io::Result<()> {
    for line in list.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let mut path = line;
        while let Some(rest) = path.strip_prefix(b"./") {
            path = rest;
        }
        let mut answer = rules.ask(path);
        answer.path = String::from_utf8_lossy(line).into_owned();
        serde_json::to_writer(&mut *out, &answer)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
