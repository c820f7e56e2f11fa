//! The small words of what people see: marks, times, numbers, cells. Pure, and nothing of it knows what a run is.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::markdown::{cap_bytes, inline_code, table_cell};
use crate::domain::verdict::Figures;

/// The most bytes that one line of finished Markdown may take in a table.
const CELL_BYTES: usize = 900;

/// How something stands, at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// Done and good.
    Good,
    /// Went wrong or was refused.
    Bad,
    /// Going on.
    Working,
    /// Not begun, or of no meaning for the current head.
    Waiting,
    /// A person should look.
    Attention,
}

impl Mark {
    /// The sign in comments and on pages.
    pub fn icon(self) -> &'static str {
        match self {
            Self::Good => "✅",
            Self::Bad => "❌",
            Self::Working => "🔵",
            Self::Waiting => "⚪",
            Self::Attention => "⚠️",
        }
    }
}

/// A word that leads somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// One word, e.g. `details`.
    pub label: &'static str,
    /// Where it leads.
    pub url: String,
}

impl Link {
    /// As Markdown. Addresses are Titan's own settings and ids, so they need no escape.
    pub(super) fn markdown(&self) -> String {
        format!("[{}]({})", self.label, self.url)
    }
}

/// Milliseconds for people: `0.8 s`, `41 s`, `2 min 10 s`, `1 h 3 min`.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// An instant for people, to the minute, in UTC.
pub fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// `1 file`, `2 files`.
pub(super) fn count(n: usize, one: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    }
}

/// Finished Markdown for one cell. What is too long becomes code with its end cut off, because cutting finished
/// Markdown could bring something in it to life.
pub(super) fn cell(markdown: &str) -> String {
    let line = match markdown.len() {
        0..=CELL_BYTES => markdown.trim().to_owned(),
        _ => inline_code(&cap_bytes(markdown, CELL_BYTES)),
    };
    table_cell(&line)
}

/// Foreign text as code, cut to a bearable length.
pub(super) fn code(text: &str) -> String {
    const MOST: usize = 200;
    if text.len() <= MOST {
        return inline_code(text);
    }
    inline_code(&format!("{}…", &text[..text.floor_char_boundary(MOST)]))
}

/// Foreign text as one line of plain text, for places where Markdown is not read.
pub(super) fn plain_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The end of a text, at most `max` bytes, from the beginning of a line where there is one.
pub(super) fn tail_bytes(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let kept = &text[text.ceil_char_boundary(text.len() - max)..];
    kept.find('\n').map_or(kept, |at| &kept[at + 1..])
}

/// The numbers of a bake in one line; `expected` 0 means that it is not known.
pub(super) fn figures_line(figures: &Figures, expected: usize) -> String {
    let of = if expected > figures.samples { format!(" of {expected}") } else { String::new() };
    let mut line = format!("{}{of} samples", figures.samples);
    if figures.failed > 0 {
        line += &format!(", {} failed", figures.failed);
    }
    if let Some(p95) = figures.p95_ms {
        line += &format!(", p95 {p95} ms");
    }
    line
}

/// Joins parts of a line that are there.
pub(super) fn join(parts: impl IntoIterator<Item = String>, between: &str) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_exact_as_a_person_needs() {
        for (ms, words) in [
            (0, "0.0 s"),
            (850, "0.8 s"),
            (9_999, "9.9 s"),
            (41_200, "41 s"),
            (130_000, "2 min 10 s"),
            (3_780_000, "1 h 3 min"),
        ] {
            assert_eq!(duration(ms), words);
        }
    }

    #[test]
    fn a_long_cell_is_shown_as_code_and_never_half_alive() {
        let long = format!("{} `@team`", "x ".repeat(600));
        let cell = cell(&long);
        assert!(cell.starts_with('`') && cell.ends_with('`') && cell.len() < 1000, "{cell}");
        assert!(!cell.contains("@team"));
    }

    #[test]
    fn a_tail_begins_with_a_whole_line() {
        assert_eq!(tail_bytes("one\ntwo\nthree", 9), "three");
        assert_eq!(tail_bytes("one\ntwo", 100), "one\ntwo");
        assert_eq!(tail_bytes("ääääää", 5), "ää");
    }
}
