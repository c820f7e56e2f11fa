//! Names that differ for git and are one file elsewhere.
//!
//! macOS and Windows fold upper and lower case, bring Unicode to one form, pass some characters over, and Windows drops
//! dots and spaces at the end, cuts at a colon, takes a backslash for a slash and knows short names such as `GITHUB~1`.
//! [`fold`] brings a name to a form that all its look-alikes share. It is used only to refuse more, never to let in.

use unicode_normalization::UnicodeNormalization;

use super::name::is_ignorable;

/// The common form of a path's look-alikes, `/` between folders.
pub(super) fn fold(path: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(path) else {
        // No system folds what is no text, but the letters in it may still be folded.
        return path.to_ascii_lowercase();
    };
    let folded = fold_text(text);
    folded.split(['/', '\\']).map(fold_name).collect::<Vec<_>>().join("/").into_bytes()
}

/// One name of a path, folded already.
fn fold_name(name: &str) -> &str {
    // A stream of a file on NTFS (`titan.yml::$DATA`) is that file. A name that begins with a colon has no such end.
    let file = name.split_once(':').map_or(name, |(file, _)| if file.is_empty() { name } else { file });
    // Only dots are no name with dots at its end.
    let kept = file.trim_end_matches(['.', ' ']);
    let kept = if kept.is_empty() { file } else { kept };
    short_name(kept).unwrap_or(kept)
}

/// Text without case, in one Unicode form, without characters that are passed over.
pub(super) fn fold_text(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded: String = text.chars().filter(|c| !is_ignorable(*c)).nfkc().collect();
    // Folding can undo the form and the form can undo folding; twice is enough for every character (UAX 15, 5.18).
    for _ in 0..2 {
        folded = caseless::default_case_fold_str(&folded).nfkc().filter(|c| !is_ignorable(*c)).collect();
    }
    folded
}

/// The long name behind the short name that Windows makes for a folder that every rule set protects something in.
fn short_name(name: &str) -> Option<&'static str> {
    let (head, number) = name.split_once('~')?;
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let hashed = |start: &str| {
        head.strip_prefix(start).is_some_and(|rest| rest.len() == 4 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    match head {
        "git" => Some(".git"),
        "github" => Some(".github"),
        "workfl" => Some("workflows"),
        _ if hashed("gi") => Some(".github"),
        _ if hashed("wo") => Some("workflows"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_share_one_form() {
        for (one, other) in [
            (".github/titan.yml", ".GITHUB/Titan.YML"),
            (".github/titan.yml", ".github\\titan.yml"),
            (".github/titan.yml", ".git\u{200c}hub/titan.yml"),
            (".github/titan.yml", ".github./titan.yml . "),
            (".github/titan.yml", ".github/titan.yml::$DATA"),
            (".github/titan.yml", "GITHUB~1/titan.yml"),
            (".github/titan.yml", "GI7EBA~1/titan.yml"),
            (".github/workflows/a", ".github/WORKFL~1/a"),
            (".github/titan.yml", ".github/t\u{131}tan.yml".replace('\u{131}', "i").as_str()),
            ("kernel", "\u{212a}ernel"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{e4}", "a\u{308}"),
            ("\u{c4}", "a\u{308}"),
            ("file", "\u{fb01}le"),
            ("abc", "\u{ff21}\u{ff22}\u{ff23}"),
            (".git/hooks", "GIT~1/hooks"),
        ] {
            assert_eq!(
                String::from_utf8_lossy(&fold(one.as_bytes())),
                String::from_utf8_lossy(&fold(other.as_bytes())),
                "{one:?} {other:?}"
            );
        }
        for (one, other) in [("a", "b"), ("a/b", "ab"), ("\u{131}", "i"), ("...", ""), ("x~y", "x"), (":a", "")] {
            assert_ne!(fold(one.as_bytes()), fold(other.as_bytes()), "{one:?} {other:?}");
        }
        assert_eq!(fold(b"A\xffB"), b"a\xffb");
    }

    proptest::proptest! {
        #[test]
        fn folding_again_changes_nothing(text in "\\PC{0,24}") {
            let once = fold(text.as_bytes());
            proptest::prop_assert_eq!(fold(&once), once);
        }
    }
}
