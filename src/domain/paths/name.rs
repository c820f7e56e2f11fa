//! The name of a file in a repository: bytes, as git has them.
//!
//! It holds and shows names and judges none. Most names are UTF-8 text, but git asks for nothing of the kind: a name may
//! hold line breaks, quotes, characters that turn the direction of writing, and bytes that are no text at all.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// More of a name helps nobody who reads it.
const SHOWN_CHARS: usize = 400;

/// A path in a repository, from its top, `/` between folders.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(Vec<u8>);

impl RepoPath {
    /// Takes the bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The exact bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as text, when it is text.
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// As GitHub's JSON has it: what is no text becomes U+FFFD.
    pub fn lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Whether the name can be shown as it is: text without anything that cannot be seen.
    pub fn is_plain(&self) -> bool {
        self.as_text().is_some_and(|text| !text.chars().any(is_hidden)) && self.0.len() <= SHOWN_CHARS
    }

    /// For people: the name itself, or, when something in it cannot be seen, in quotes with that written out.
    pub fn shown(&self) -> String {
        if self.is_plain() {
            return self.lossy().into_owned();
        }
        let mut shown = String::from("\"");
        let mut count = 0;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars().take(SHOWN_CHARS.saturating_sub(count)) {
                count += 1;
                match c {
                    '\n' => shown.push_str("\\n"),
                    '\r' => shown.push_str("\\r"),
                    '\t' => shown.push_str("\\t"),
                    '"' | '\\' => shown.extend(['\\', c]),
                    c if is_hidden(c) => shown.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
                    c => shown.push(c),
                }
            }
            for byte in chunk.invalid().iter().take(SHOWN_CHARS.saturating_sub(count)) {
                count += 1;
                shown.push_str(&format!("\\x{byte:02x}"));
            }
        }
        shown.push_str(if count >= SHOWN_CHARS { "…\"" } else { "\"" });
        shown
    }
}

/// Characters that are not seen, or that change how what stands beside them is seen.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control() || c == '\u{fffd}' || is_ignorable(c)
}

/// Characters that Unicode wants to be passed over when names are compared, among them all that HFS+ ignores.
pub(super) fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
}

impl From<&str> for RepoPath {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for RepoPath {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown())
    }
}

/// Text stays text; other bytes are written as `{"hex": "…"}`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire<'a> {
    Text(Cow<'a, str>),
    Bytes { hex: String },
}

impl Serialize for RepoPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_text() {
            Some(text) => Wire::Text(Cow::Borrowed(text)).serialize(serializer),
            None => Wire::Bytes { hex: hex::encode(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for RepoPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Wire::deserialize(deserializer)? {
            Wire::Text(text) => Ok(Self(text.into_owned().into_bytes())),
            Wire::Bytes { hex } => hex::decode(hex).map(Self).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        for (bytes, shown) in [
            (&b"src/a b.rs"[..], "src/a b.rs"),
            ("src/\u{e4}\u{65e5}".as_bytes(), "src/\u{e4}\u{65e5}"),
            (b"a\"b", "a\"b"),
            (b"a\nb\"", "\"a\\nb\\\"\""),
            (b"a\xffb", "\"a\\xffb\""),
            ("src/\u{202e}gpj.exe".as_bytes(), "\"src/\\u{202e}gpj.exe\""),
            ("fe\u{200d}ed".as_bytes(), "\"fe\\u{200d}ed\""),
            (b"\x1b[2J", "\"\\u{1b}[2J\""),
        ] {
            assert_eq!(RepoPath::new(bytes).shown(), shown);
        }
        assert!(RepoPath::new(vec![b'a'; 5_000]).shown().len() < 500);
    }

    #[test]
    fn every_name_survives_json() {
        for bytes in [&b"a"[..], b"a\xff\nb", b"{\"hex\":\"00\"}", b""] {
            let path = RepoPath::new(bytes);
            let json = serde_json::to_string(&path).expect("plain data");
            assert_eq!(serde_json::from_str::<RepoPath>(&json).expect("the same"), path, "{json}");
        }
    }
}
