//! Reads a signed body into JSON, however odd the JSON is.
//!
//! What GitHub signed must not get lost because of text in it that people chose. So nesting has no limit (what lies
//! deeper than any documented payload is skipped without recursion, here and in everything that follows), and halves of
//! surrogate pairs in strings, which JSON's grammar allows and Rust's strings cannot hold, become U+FFFD.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Levels of nesting that are kept; GitHub's own payloads have fewer than ten.
const DEPTH_LIMIT: usize = 32;

/// The JSON object of a body; always an object.
///
/// # Errors
/// What is wrong with it, for people; no part of the body is repeated.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    let value = parse(bytes).or_else(|error| match mend_surrogates(bytes) {
        Some(mended) => parse(&mended),
        None => Err(error),
    });
    match value {
        Ok(payload) if payload.is_object() => Ok(payload),
        Ok(_) => Err("it is JSON, but another kind of value".to_owned()),
        Err(error) => {
            let form = bytes.starts_with(b"payload=");
            let hint = if form { "; set the webhook's content type to application/json" } else { "" };
            let kind = match error.classify() {
                serde_json::error::Category::Eof => "it ends too early",
                _ => "it is not valid JSON",
            };
            Err(format!("{kind}, at line {}, column {}{hint}", error.line(), error.column()))
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Shallow { levels: DEPTH_LIMIT }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Reads a value, with `null` for everything that lies too deep.
#[derive(Clone, Copy)]
struct Shallow {
    levels: usize,
}

impl Shallow {
    fn inner(self) -> Self {
        Self { levels: self.levels - 1 }
    }
}

impl<'de> DeserializeSeed<'de> for Shallow {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        if self.levels == 0 {
            return reader.deserialize_ignored_any(IgnoredAny).map(|_| Value::Null);
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shallow {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner())? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self.inner())?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// The same text with every escaped half of a surrogate pair replaced; `None` when there is none.
fn mend_surrogates(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut mended = Vec::with_capacity(bytes.len());
    let (mut at, mut changed) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        let width = match (byte, escaped_unit(bytes, at)) {
            (b'\\', Some(0xD800..=0xDBFF)) if matches!(escaped_unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) => 12,
            (b'\\', Some(0xD800..=0xDFFF)) => {
                mended.extend_from_slice(b"\\ufffd");
                (at, changed) = (at + 6, true);
                continue;
            }
            (b'\\', Some(_)) => 6,
            (b'\\', None) => 2,
            _ => 1,
        };
        let end = (at + width).min(bytes.len());
        mended.extend_from_slice(&bytes[at..end]);
        at = end;
    }
    changed.then_some(mended)
}

/// The number of the `\uXXXX` that begins at `at`.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_of_any_depth_is_read_without_recursion() {
        let deep = 200_000;
        let text = format!("{{\"action\": \"created\", \"x\": {}1{}}}", "[".repeat(deep), "]".repeat(deep));
        let payload = read(text.as_bytes()).expect("it is JSON");
        assert_eq!(payload.get("action"), Some(&Value::from("created")));
        assert!(serde_json::to_string(&payload).expect("it can be written").len() < 200);
        let open = format!("{{\"x\": {}", "{\"a\":".repeat(deep));
        assert!(read(open.as_bytes()).is_err());
    }

    #[test]
    fn what_is_shallow_is_read_as_it_is() {
        let text = r#"{"a": [1, -2, 2.5, true, null, "\u0000é\n😀"], "b": {"c": {}}}"#;
        let plain: Value = serde_json::from_str(text).expect("json");
        assert_eq!(read(text.as_bytes()), Ok(plain));
    }

    #[test]
    fn halves_of_surrogate_pairs_do_not_lose_the_rest() {
        let text = r#"{"body": "a\ud800b\uD83D\uDE00c\udc00\\ud800\ud800\ud800"}"#;
        let payload = read(text.as_bytes()).expect("JSON's grammar allows it");
        let seen = payload.get("body").and_then(Value::as_str);
        assert_eq!(seen, Some("a\u{fffd}b😀c\u{fffd}\\ud800\u{fffd}\u{fffd}"));
    }

    #[test]
    fn what_is_no_object_is_refused_with_a_place() {
        for (bytes, part) in [
            (&b""[..], "ends too early"),
            (b"[]", "another kind"),
            (b"null", "another kind"),
            (b"{\"a\": }", "column 7"),
            (b"{} {}", "not valid JSON"),
            (b"{\"a\": \"\xff\"}", "not valid JSON"),
            (b"{\"a\": NaN}", "not valid JSON"),
            (b"payload=%7B%7D", "application/json"),
            (b"\\", "not valid"),
            (b"{\"a\": \"\\ud8", "too early"),
        ] {
            let error = read(bytes).expect_err("no object");
            assert!(error.contains(part), "{:?}: {error}", String::from_utf8_lossy(bytes));
        }
    }
}
