//! One line of gitignore, read and matched byte by byte as git does.
//!
//! It knows one pattern and one path; how the patterns of a list and the folders of a path work together is in the
//! parent module. Glob libraries give other answers than git for character classes, for `**` next to other characters,
//! for `?` and letters of more than one byte, for white space and for braces. A rule that lets a file through which git
//! would have caught is worse than no rule, so the meaning is written out here, and git itself is the judge in the
//! tests. Matching takes time proportional to pattern times path: no pattern can make it explode.

use super::fold::fold_text;

/// A pattern that is ready to match.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// `!` in front: takes an earlier match back.
    pub negated: bool,
    /// `/` at the end: matches folders only.
    folders_only: bool,
    /// Without a slash in it: compared with the last part of a path only.
    name_only: bool,
    /// What the text begins with, literally.
    prefix: Vec<u8>,
    /// What stands between prefix and suffix; empty for a pattern without wildcards.
    middle: Vec<Token>,
    /// What the text ends with, literally; most paths are told apart by it.
    suffix: Vec<u8>,
}

/// A piece of a pattern behind its literal beginning.
#[derive(Debug, Clone)]
enum Token {
    /// This byte.
    Byte(u8),
    /// One of these bytes; never a slash.
    Set(Box<[bool; 256]>),
    /// `*`: any bytes but slashes, also none.
    Star,
    /// `**` at the end: anything, also nothing.
    Anything,
    /// `**/`: nothing, or anything that ends in a slash.
    Folders,
}

impl Pattern {
    /// Reads one pattern.
    ///
    /// # Errors
    /// Why it could never match anything, as the second half of a sentence that begins with the pattern.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains(['\n', '\r', '\0']) {
            return Err("holds a line break or a zero byte, which no pattern can");
        }
        if text.starts_with('#') {
            return Err("begins with #, which makes it a comment; write \\# for a file name that begins so");
        }
        let text = without_trailing_spaces(text);
        let (negated, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        if text.is_empty() {
            return Err("is empty and matches nothing");
        }
        if text == "/" {
            return Err("matches nothing in git; write /** for every file");
        }
        let (folders_only, text) = text.strip_suffix('/').map_or((false, text), |rest| (true, rest));
        let name_only = !text.contains('/');
        let text = text.strip_prefix('/').unwrap_or(text).as_bytes();
        let literal = text.iter().position(|b| b"*?[\\".contains(b)).unwrap_or(text.len());
        let (prefix, rest) = text.split_at(literal);
        let mut middle = tokens(rest, name_only)?;
        let mut suffix = Vec::new();
        while let Some(Token::Byte(byte)) = middle.last() {
            suffix.insert(0, *byte);
            middle.pop();
        }
        Ok(Self { negated, folders_only, name_only, prefix: prefix.to_vec(), middle, suffix })
    }

    /// Reads one pattern for paths that were brought to their common form; `None` when it means nothing there.
    ///
    /// A class of letters holds both cases of each, because the form of a class cannot be told from its text.
    pub fn parse_folded(text: &str) -> Option<Self> {
        let special = |text: &str| text.bytes().filter(|b| b"*?[]\\!#/".contains(b)).count();
        let folded = fold_text(text);
        // A letter that only looks like a star must not become one.
        let folded = if special(&folded) == special(text) { folded } else { text.to_lowercase() };
        let mut pattern = Self::parse(&folded).ok()?;
        for token in &mut pattern.middle {
            if let Token::Set(members) = token {
                for upper in b'A'..=b'Z' {
                    members[usize::from(upper.to_ascii_lowercase())] |= members[usize::from(upper)];
                }
            }
        }
        Some(pattern)
    }

    /// Whether the text says that everything it hits is below this folder, which ends in a slash.
    pub fn is_below(&self, folder: &[u8]) -> bool {
        !self.name_only && self.prefix.starts_with(folder)
    }

    /// Whether it hits this path itself, without regard to `!` and to the folders above.
    pub fn hits(&self, path: &[u8], is_folder: bool) -> bool {
        if self.folders_only && !is_folder {
            return false;
        }
        let text = match path.iter().rposition(|b| *b == b'/') {
            Some(slash) if self.name_only => &path[slash + 1..],
            _ => path,
        };
        text.strip_prefix(self.prefix.as_slice())
            .and_then(|text| text.strip_suffix(self.suffix.as_slice()))
            .is_some_and(|text| if self.middle.is_empty() { text.is_empty() } else { matches(&self.middle, text) })
    }
}

/// Spaces at the end do not count, unless a backslash stands before them.
fn without_trailing_spaces(text: &str) -> &str {
    let kept = text.trim_end_matches(' ');
    let backslashes = kept.len() - kept.trim_end_matches('\\').len();
    if backslashes % 2 == 1 && kept.len() < text.len() { &text[..=kept.len()] } else { kept }
}

/// Reads what follows the literal beginning. `**` has its special meaning only between slashes, where the beginning
/// of `text` counts as a slash although a literal may stand before it: so git does it.
fn tokens(text: &[u8], name_only: bool) -> Result<Vec<Token>, &'static str> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'*' => {
                let end = text[at..].iter().position(|b| *b != b'*').map_or(text.len(), |run| at + run);
                let after = &text[end..];
                let alone = (at == 0 || text[at - 1] == b'/')
                    && (after.is_empty() || after.starts_with(b"/") || after.starts_with(b"\\/"));
                if end - at == 1 || name_only || !alone {
                    found.push(Token::Star);
                    at = end;
                } else if after.starts_with(b"/") {
                    found.push(Token::Folders);
                    at = end + 1;
                } else {
                    found.push(Token::Anything);
                    at = end;
                }
            }
            b'?' => {
                found.push(set(|byte| byte != b'/'));
                at += 1;
            }
            b'[' => {
                let (token, length) = class(&text[at..])?;
                found.push(token);
                at += length;
            }
            b'\\' => {
                let escaped = text.get(at + 1).ok_or("ends in a lone backslash and can never match")?;
                found.push(Token::Byte(*escaped));
                at += 2;
            }
            byte => {
                found.push(Token::Byte(byte));
                at += 1;
            }
        }
    }
    Ok(found)
}

fn set(has: impl Fn(u8) -> bool) -> Token {
    let mut members = Box::new([false; 256]);
    for byte in 0..=u8::MAX {
        members[usize::from(byte)] = byte != b'/' && has(byte);
    }
    Token::Set(members)
}

/// Reads a character class that begins at the first byte of `text`; gives it with its length.
fn class(text: &[u8]) -> Result<(Token, usize), &'static str> {
    const OPEN: &str = "has a [ without its ] and can never match; write \\[ for the character itself";
    let mut has = [false; 256];
    let mut at = 1;
    let negated = matches!(text.get(at), Some(b'!' | b'^'));
    at += usize::from(negated);
    // The member that a following `-` makes the beginning of a range.
    let mut before: Option<u8> = None;
    let first = at;
    loop {
        let byte = *text.get(at).ok_or(OPEN)?;
        if byte == b']' && at > first {
            break;
        }
        let next = text.get(at + 1).copied();
        if byte == b'[' && next == Some(b':') {
            let end = text[at + 2..].iter().position(|b| *b == b']').ok_or(OPEN)? + at + 2;
            if let Some(name) = text[at + 2..end].strip_suffix(b":") {
                let members = named_class(name).ok_or("has an unknown class name between [: and :]")?;
                (0..=u8::MAX).filter(members).for_each(|byte| has[usize::from(byte)] = true);
                before = None;
                at = end + 1;
                continue;
            }
        }
        match (byte, before) {
            (b'-', Some(start)) if next.is_some_and(|next| next != b']') => {
                let (end, length) = member(&text[at + 1..]).ok_or(OPEN)?;
                (start..=end).for_each(|byte| has[usize::from(byte)] = true);
                before = None;
                at += 1 + length;
            }
            _ => {
                let (byte, length) = member(&text[at..]).ok_or(OPEN)?;
                has[usize::from(byte)] = true;
                before = Some(byte);
                at += length;
            }
        }
    }
    Ok((set(|byte| has[usize::from(byte)] != negated), at + 1))
}

/// One member of a class, perhaps escaped, with its length.
fn member(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [b'\\', byte, ..] => Some((*byte, 2)),
        [b'\\'] | [] => None,
        [byte, ..] => Some((*byte, 1)),
    }
}

/// The ASCII classes of POSIX.
fn named_class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| matches!(byte, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

/// Whether the tokens match all of the text. Keeps for every token the places of the text that can be reached so far.
fn matches(tokens: &[Token], text: &[u8]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for token in tokens {
        match token {
            Token::Byte(wanted) => step(&mut reached, text, |byte| byte == *wanted),
            Token::Set(members) => step(&mut reached, text, |byte| members[usize::from(byte)]),
            Token::Star => {
                for at in 0..text.len() {
                    reached[at + 1] |= reached[at] && text[at] != b'/';
                }
            }
            Token::Anything => {
                for at in 0..text.len() {
                    reached[at + 1] |= reached[at];
                }
            }
            Token::Folders => {
                let mut begun = false;
                for at in 0..text.len() {
                    begun |= reached[at];
                    reached[at + 1] |= begun && text[at] == b'/';
                }
            }
        }
        if !reached.contains(&true) {
            return false;
        }
    }
    reached[text.len()]
}

/// Moves every reached place over one byte that fits.
fn step(reached: &mut [bool], text: &[u8], fits: impl Fn(u8) -> bool) {
    for at in (0..text.len()).rev() {
        reached[at + 1] = reached[at] && fits(text[at]);
    }
    reached[0] = false;
}
