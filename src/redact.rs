//! Secrets by type, and a last line of defence for text that leaves.
//!
//! A [`SecretUrl`] or a [`secrecy::SecretString`] never prints its value. [`Redactor`] masks known secrets and things
//! that look like GitHub tokens in text that comes from elsewhere: build output, error messages, upstream bodies.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

/// What stands where a secret was.
pub const MASK: &str = "[redacted]";

/// A URL that is itself a secret, such as a deploy hook's. Prints only its host.
#[derive(Clone)]
pub struct SecretUrl(SecretString, String);

impl SecretUrl {
    /// Keeps the URL and remembers its host for printing.
    pub fn new(url: &url::Url) -> Self {
        Self(SecretString::from(url.as_str().to_owned()), url.host_str().unwrap_or("unknown").to_owned())
    }

    /// The URL itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}/{MASK}", self.1)
    }
}

/// The known secrets cannot be looked for; Titan does not start then, because it could not keep them.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the secrets of the settings cannot be looked for in text: {0}; they are too long or too many")]
pub struct NoRedactor(String);

/// Masks secrets in text, in time that grows with the text and with nothing else. Cheap to clone.
#[derive(Clone)]
pub struct Redactor {
    known: Arc<Known>,
}

/// The known secrets in every form.
struct Known {
    automaton: AhoCorasick,
    /// The longest form, in bytes.
    longest: usize,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

/// Beginnings of GitHub's tokens, in both the 40-character and the variable-length format, as they are and as Markdown
/// has them.
const TOKEN_PREFIXES: [&str; 12] = [
    "ghs_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghr_",
    "github_pat_",
    "ghs\\_",
    "ghp\\_",
    "gho\\_",
    "ghu\\_",
    "ghr\\_",
    "github\\_pat\\_",
];
/// Characters after the prefix from which on something looks like a token.
const TOKEN_LENGTH: usize = 16;
/// The beginning of every JSON Web Token, such as the one that the App signs: `{"` in base64.
const JWT_PREFIX: [&str; 1] = ["eyJ"];
/// A shorter one has no signature that is good for anything.
const JWT_LENGTH: usize = 64;
/// Known secrets that are shorter are left out, because masking them would garble text.
const SHORTEST: usize = 6;
/// The same for the inner part of a secret in base64, whose ends depend on what stands around it.
const SHORTEST_BASE64: usize = 8;
/// Text without a line's end is held back up to this size.
const HELD_BACK: usize = 64 * 1024;

static TOKENS: LazyLock<AhoCorasick> = LazyLock::new(|| fixed(&TOKEN_PREFIXES));
static JWTS: LazyLock<AhoCorasick> = LazyLock::new(|| fixed(&JWT_PREFIX));

fn fixed(prefixes: &[&str]) -> AhoCorasick {
    AhoCorasick::new(prefixes).expect("invariant: a few short words make an automaton")
}

impl Redactor {
    /// Knows these values, as they are and as URLs, JSON, base64 and Markdown have them; ones shorter than 6 characters
    /// are left out, because masking them would garble text.
    ///
    /// # Errors
    /// When there are too many or too long ones.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, NoRedactor> {
        let mut patterns: Vec<String> =
            secrets.into_iter().map(str::trim).filter(|s| s.len() >= SHORTEST).flat_map(forms).collect();
        patterns.sort_unstable();
        patterns.dedup();
        let longest = patterns.iter().map(String::len).max().unwrap_or_default();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            // the quickest kind is not worth the time it takes to make: there is one for each checkout
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&patterns)
            .map_err(|error| NoRedactor(error.to_string()))?;
        Ok(Self { known: Arc::new(Known { automaton, longest }) })
    }

    /// The text without known secrets and without anything that looks like a token.
    pub fn clean(&self, text: &str) -> String {
        let without = mask(text, self.known.automaton.find_iter(text).map(|found| found.range()));
        let without = mask(&without, tokens(&without));
        mask(&without, jwts(&without))
    }

    /// How much of the beginning of a text that goes on can be cleaned by itself, so that no secret is cut in two: whole
    /// lines, or, of a line that does not end, most of what is there. 0: wait for more.
    pub fn settled(&self, text: &str) -> usize {
        if let Some(at) = text.rfind('\n') {
            return at + 1;
        }
        if text.len() <= HELD_BACK.max(4 * self.known.longest) {
            return 0;
        }
        let mut cut = text.floor_char_boundary(text.len() - self.known.longest.max(1));
        let known = self.known.automaton.find_iter(text).map(|found| found.range());
        let mut found: Vec<Range<usize>> = known.chain(tokens(text)).chain(jwts(text)).collect();
        // From the end: what begins behind the cut is behind it for good.
        found.sort_unstable_by_key(|range| std::cmp::Reverse(range.start));
        for range in found {
            if range.start < cut && cut < range.end {
                cut = range.start;
            }
        }
        // Something that looks like one token longer than any: its beginning, which is what makes it one, is masked.
        if cut == 0 { text.len() } else { cut }
    }
}

/// A secret as other places write it: in URLs, in JSON, in base64 wherever it begins, in Markdown.
fn forms(secret: &str) -> Vec<String> {
    let escape = |upper: bool| {
        let byte = |byte: u8| match byte {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
            b if upper => format!("%{b:02X}"),
            b => format!("%{b:02x}"),
        };
        secret.bytes().map(byte).collect::<String>()
    };
    let mut forms = vec![secret.to_owned(), escape(true), escape(false), crate::domain::markdown::escape(secret)];
    let json = serde_json::Value::from(secret).to_string();
    forms.push(json[1..json.len() - 1].to_owned());
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        for before in 0..3 {
            let mut bytes = vec![0; before];
            bytes.extend_from_slice(secret.as_bytes());
            // Only the characters that the secret alone decides.
            let (first, last) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
            let inner = engine.encode(&bytes)[first..last].to_owned();
            forms.extend(Some(inner).filter(|inner| inner.len() >= SHORTEST_BASE64));
        }
    }
    forms
}

/// A character of a token, or what Markdown puts between two of them.
fn token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '\\' | '\u{200b}')
}

/// The runs of token characters that begin with one of the prefixes: apart from each other and in order, so that every
/// byte is looked at once, however often a prefix stands in the text. With each, where its prefix ends.
fn runs<'t>(text: &'t str, prefixes: &'static AhoCorasick) -> impl Iterator<Item = (Range<usize>, usize)> + 't {
    let mut done = 0;
    prefixes.find_iter(text).filter_map(move |found| {
        if found.start() < done {
            return None;
        }
        let rest = &text[found.end()..];
        done = found.end() + rest.find(|c| !token_char(c)).unwrap_or(rest.len());
        Some((found.start()..done, found.end()))
    })
}

/// Whatever looks like a token of GitHub.
fn tokens(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    runs(text, &TOKENS).filter(|(run, after)| run.end - after >= TOKEN_LENGTH).map(|(run, _)| run)
}

/// Whatever looks like a JSON Web Token: three parts, long enough to be signed.
fn jwts(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let is_one =
        |run: &Range<usize>| run.len() >= JWT_LENGTH && text[run.clone()].bytes().filter(|b| *b == b'.').count() >= 2;
    runs(text, &JWTS).map(|(run, _)| run).filter(is_one)
}

/// The text with these ranges, which are in order and apart, masked.
fn mask(text: &str, ranges: impl Iterator<Item = Range<usize>>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for range in ranges {
        out.push_str(&text[from..range.start]);
        out.push_str(MASK);
        from = range.end;
    }
    out.push_str(&text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Redactor {
        Redactor::new(secrets).expect("a few secrets")
    }

    #[test]
    fn known_values_and_tokens_of_both_formats_are_masked() {
        let redactor = redactor(["hunter2-hunter2", "abc"]);
        let long = format!("ghs_123456_{}", "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln");
        let text = format!("a hunter2-hunter2 b ghs_0123456789012345678901234567890123456789 c {long} d abc ghs_x");
        assert_eq!(redactor.clean(&text), "a [redacted] b [redacted] c [redacted] d abc ghs_x");
    }

    #[test]
    fn a_secret_in_another_form_is_the_same_secret() {
        let secret = "p@ss/w_ord+\"quoted\"?1";
        let redactor = redactor([secret]);
        for form in forms(secret) {
            assert_eq!(redactor.clean(&format!("a {form} b")), "a [redacted] b", "{form}");
        }
        for before in ["", "x", "xy", "xyz"] {
            let encoded = STANDARD_NO_PAD.encode(format!("{before}{secret} and more"));
            assert!(redactor.clean(&encoded).contains(MASK), "after {before:?}: {encoded}");
        }
        let token = crate::domain::markdown::escape(
            "ghs_0123456789012345678901234567890123456789, github_pat_11ABC_0123456789abcdef.",
        );
        assert!(!redactor.clean(&token).contains("0123456789"), "{}", redactor.clean(&token));
        let jwt = format!("Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI0MiJ9.{}", "Zm9v".repeat(40));
        assert_eq!(redactor.clean(&jwt), "Bearer [redacted]");
        assert_eq!(redactor.clean("eyJub3QiOiJhIHRva2VuIn0"), "eyJub3QiOiJhIHRva2VuIn0", "JSON in base64 is no token");
    }

    #[test]
    fn what_holds_many_prefixes_is_looked_at_once() {
        // With a search from each of them to the end this would not end before the day does.
        for hostile in ["ghs_ ", "eyJ.", "ghs_", "eyJ "] {
            let text = hostile.repeat(400_000);
            let seen: usize = runs(&text, &TOKENS).chain(runs(&text, &JWTS)).map(|(run, _)| run.len()).sum();
            assert!(seen <= 2 * text.len(), "{hostile:?}: {seen} of {}", text.len());
            assert!(redactor(["hunter2-hunter2"]).clean(&text).len() <= text.len());
        }
    }

    /// What a build prints, in pieces, cleaned as far as it is settled each time.
    fn in_pieces(redactor: &Redactor, text: &str, size: usize) -> (String, usize) {
        let (mut out, mut pending, mut held) = (String::new(), String::new(), 0);
        for piece in text.as_bytes().chunks(size) {
            pending.push_str(std::str::from_utf8(piece).expect("ASCII"));
            held = held.max(pending.len());
            let whole = redactor.settled(&pending);
            out += &redactor.clean(&pending[..whole]);
            pending.drain(..whole);
        }
        (out + &redactor.clean(&pending), held)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_line_that_never_ends_is_neither_held_back_nor_cut_inside_a_secret(
            before in 0..3 * HELD_BACK, size in 1_000..40_000_usize, which in 0..3_usize,
        ) {
            let redactor = redactor(["hunter2-hunter2"]);
            let token = format!("ghs_{}", "0123456789".repeat(4));
            let jwt = format!("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI0MiJ9.{}", "Zm9v".repeat(40));
            let secret = ["hunter2-hunter2", &token, &jwt][which];
            let text = format!("{} {secret} {}", "x ".repeat(before / 2), "y ".repeat(2 * HELD_BACK));
            let (out, held) = in_pieces(&redactor, &text, size);
            prop_assert!(held <= HELD_BACK + size, "{} bytes were held back", held);
            prop_assert!(out == text.replace(secret, MASK), "{secret} after {before} bytes in pieces of {size}");
        }
    }

    #[test]
    fn a_token_without_an_end_is_not_waited_for() {
        let redactor = redactor(["hunter2-hunter2"]);
        let (out, held) = in_pieces(&redactor, &format!("ghs_{}", "a".repeat(1_000_000)), 10_000);
        assert!(held <= HELD_BACK + 10_000 && out.starts_with(MASK), "{held}");
    }

    #[test]
    fn a_secret_url_prints_its_host_only() {
        let url = url::Url::parse("https://api.render.com/deploy/srv-a?key=topsecret").expect("a url");
        let secret = SecretUrl::new(&url);
        assert_eq!(
            format!("{secret} {secret:?}"),
            "https://api.render.com/[redacted] https://api.render.com/[redacted]"
        );
    }
}
