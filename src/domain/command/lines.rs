//! Which lines of a comment are live text, and which of them are addressed to Titan.
//!
//! It knows Markdown and the word `/titan`, and not what any command means.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag};

use super::CommandName;
use crate::domain::markdown::is_invisible;

/// A line that begins with `/titan`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// The words after it; empty for `/titan` alone.
    Words(String),
    /// Something other than a space stands between it and this command (`/titan-canary`, `/titan: canary`).
    Joined(CommandName),
}

/// The comment from its first non-blank line on, with LF line ends and without characters that cannot be seen.
pub(super) fn visible_text(body: &str) -> String {
    let text: String = body
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter_map(|c| match c {
            '\n' | '\t' => Some(c),
            // Form feeds and the like part words, as they do on paper.
            c if c.is_control() => c.is_whitespace().then_some(' '),
            // How an emoji is drawn says nothing here.
            '\u{fe00}'..='\u{fe0f}' => None,
            c => (!is_invisible(c)).then_some(c),
        })
        .collect();
    let blank: usize = text.split_inclusive('\n').take_while(|line| line.trim().is_empty()).map(str::len).sum();
    text[blank..].to_owned()
}

/// Whether the first line begins like a command, judged without the Markdown around it.
pub(super) fn first_address(text: &str) -> Option<Address> {
    let line = text.lines().next()?;
    // Four columns make a code block; a tab reaches the fourth column from anywhere before it.
    let indent = line.bytes().take_while(|b| matches!(b, b' ' | b'\t')).collect::<Vec<_>>();
    if indent.len() >= 4 || indent.contains(&b'\t') {
        return None;
    }
    // A comment that is not closed yet may still hide the end of the line; that does not change its beginning.
    address(line.split("<!--").next().unwrap_or(line))
}

/// The lines of top-level paragraphs and headings without their HTML comments, in order. A line that begins inside a
/// code span or an HTML comment is not among them, and neither is anything in quotes, lists, code blocks or HTML blocks.
/// Each comes with the byte where it starts.
pub(super) fn live(text: &str) -> Vec<(usize, String)> {
    let (mut blocks, mut comments, mut covered) = (Vec::new(), Vec::new(), Vec::new());
    let mut depth = 0_usize;
    for (event, range) in Parser::new_ext(text, Options::empty()).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                if depth == 0 && matches!(tag, Tag::Paragraph | Tag::Heading { .. }) {
                    blocks.push(range);
                }
                depth += 1;
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::InlineHtml(html) if html.starts_with("<!--") => {
                comments.push(range.clone());
                covered.push(range);
            }
            Event::InlineHtml(_) | Event::Code(_) => covered.push(range),
            _ => {}
        }
    }
    let mut lines = Vec::new();
    for block in blocks {
        let mut start = block.start;
        for line in text[block].split_inclusive('\n') {
            let range = start..start + line.len();
            start = range.end;
            let before = covered.partition_point(|c| c.start < range.start);
            if before.checked_sub(1).is_none_or(|last| covered[last].end <= range.start) {
                lines.push((range.start, without(text, range, &comments)));
            }
        }
    }
    lines
}

/// The text of `range` without the parts of it that `holes` cover; holes are in order and do not overlap.
fn without(text: &str, range: Range<usize>, holes: &[Range<usize>]) -> String {
    let mut kept = String::new();
    let mut at = range.start;
    let first = holes.partition_point(|hole| hole.end <= range.start);
    for hole in holes[first..].iter().take_while(|hole| hole.start < range.end) {
        kept.push_str(text.get(at..hole.start).unwrap_or_default());
        at = hole.end;
    }
    kept.push_str(text.get(at..range.end).unwrap_or_default());
    kept
}

/// What a line says to Titan, when it is addressed to it.
pub(super) fn address(line: &str) -> Option<Address> {
    const NAME: &str = "/titan";
    let line = without_back_ticks(line.trim())?;
    let rest = line.get(NAME.len()..).filter(|_| line[..NAME.len()].eq_ignore_ascii_case(NAME))?;
    if rest.is_empty() || rest.starts_with(char::is_whitespace) {
        return Some(Address::Words(rest.trim().to_owned()));
    }
    let after = rest.trim_start_matches(['-', '_', ':', ',', ';', '=', '+', '!', '?', '.']);
    let named = after
        .split_whitespace()
        .next()
        .and_then(|word| CommandName::ALL.into_iter().find(|name| name.as_str().eq_ignore_ascii_case(word)));
    // `/titan: hello` talks to Titan, `/titanic` and `/titan.yml` do not.
    let addressed = after.len() < rest.len() && (after.is_empty() || after.starts_with(char::is_whitespace));
    named.or(addressed.then_some(CommandName::Help)).map(Address::Joined)
}

/// The line without the back-ticks around it; `None` when it begins with back-ticks that do not enclose all of it.
fn without_back_ticks(line: &str) -> Option<&str> {
    let inner = line.trim_start_matches('`');
    let ticks = line.len() - inner.len();
    if ticks == 0 {
        return Some(line);
    }
    let inner = inner.strip_suffix(&line[..ticks])?;
    (!inner.contains('`')).then(|| inner.trim())
}
