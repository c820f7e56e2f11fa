//! Secrets by type, and a last line of defence for text that leaves.
//!
//! A [`SecretUrl`] or a [`secrecy::SecretString`] never prints its value. [`Redactor`] masks known secrets and things
//! that look like GitHub tokens in text that comes from elsewhere: build output, error messages, upstream bodies.

use std::fmt;
use std::sync::Arc;

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

/// Masks secrets in text. Cheap to clone.
#[derive(Clone)]
pub struct Redactor {
    known: Option<Arc<aho_corasick::AhoCorasick>>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

/// Beginnings of GitHub's tokens, in both the 40-character and the variable-length format.
const TOKEN_PREFIXES: [&str; 6] = ["ghs_", "ghp_", "gho_", "ghu_", "ghr_", "github_pat_"];

impl Redactor {
    /// Knows these values; ones shorter than 6 characters are left out, because masking them would garble text.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns: Vec<&str> = secrets.into_iter().map(str::trim).filter(|s| s.len() >= 6).collect();
        patterns.sort_by_key(|s| std::cmp::Reverse(s.len()));
        let known = aho_corasick::AhoCorasick::builder()
            .match_kind(aho_corasick::MatchKind::LeftmostLongest)
            // the quickest kind is not worth the time it takes to make: there is one for each checkout
            .kind(Some(aho_corasick::AhoCorasickKind::ContiguousNFA))
            .build(&patterns)
            .ok()
            .filter(|_| !patterns.is_empty())
            .map(Arc::new);
        Self { known }
    }

    /// The text without known secrets and without anything that looks like a GitHub token.
    pub fn clean(&self, text: &str) -> String {
        let text = match &self.known {
            Some(known) => known.replace_all(text, &vec![MASK; known.patterns_len()]),
            None => text.to_owned(),
        };
        mask_tokens(&text)
    }
}

/// Replaces every run of token characters that begins with one of GitHub's prefixes.
fn mask_tokens(text: &str) -> String {
    let token_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, prefix)) =
        TOKEN_PREFIXES.iter().filter_map(|p| rest.find(p).map(|at| (at, *p))).min_by_key(|(at, _)| *at)
    {
        let after = &rest[at + prefix.len()..];
        let length = after.find(|c| !token_char(c)).unwrap_or(after.len());
        out.push_str(&rest[..at]);
        if length >= 16 {
            out.push_str(MASK);
        } else {
            out.push_str(&rest[at..at + prefix.len() + length]);
        }
        rest = &after[length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_and_tokens_of_both_formats_are_masked() {
        let redactor = Redactor::new(["hunter2-hunter2", "abc"]);
        let long = format!("ghs_123456_{}", "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln");
        let text = format!("a hunter2-hunter2 b ghs_0123456789012345678901234567890123456789 c {long} d abc ghs_x");
        assert_eq!(redactor.clean(&text), "a [redacted] b [redacted] c [redacted] d abc ghs_x");
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
