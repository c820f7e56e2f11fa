//! Text from outside, made safe to stand in a GitHub comment or check run.
//!
//! Pure. Every function takes plain text and gives Markdown that shows this text and does nothing else: nobody is
//! mentioned, nothing is linked, no HTML is live, and no line of it can be read as a command. What the text *says* is
//! never judged here.

/// Splits words that GitHub would turn into something live (`@name`, `#12`, `https://`), without being seen.
const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// One line of text as inline code.
///
/// Line breaks and tabs become spaces, control and direction characters are left out. The back-ticks around it are
/// more than any run inside, so the text cannot get out. Empty text gives a code span with one space.
pub fn inline_code(text: &str) -> String {
    let line: String = text.chars().filter_map(|c| if is_line_space(c) { Some(' ') } else { visible(c) }).collect();
    if line.trim().is_empty() {
        return "` `".to_owned();
    }
    let ticks = "`".repeat(longest_run(&line, '`') + 1);
    let touches = line.starts_with('`') || line.ends_with('`');
    // Markdown takes one space from both sides when both have one; another pair keeps the text as it was.
    let spaced = line.starts_with(' ') && line.ends_with(' ');
    if touches || spaced { format!("{ticks} {line} {ticks}") } else { format!("{ticks}{line}{ticks}") }
}

/// Text of any number of lines as a fenced code block, ending in a line break.
///
/// The fence is longer than any run of back-ticks inside. Control characters other than tab and line break are left
/// out; CRLF and CR become LF.
pub fn fence(text: &str) -> String {
    let body: String = unix_lines(text).chars().filter_map(|c| if c == '\t' { Some(c) } else { visible(c) }).collect();
    let ticks = "`".repeat((longest_run(&body, '`') + 1).max(3));
    let end = if body.is_empty() || body.ends_with('\n') { "" } else { "\n" };
    format!("{ticks}\n{body}{end}{ticks}\n")
}

/// User text as plain Markdown text: no mention, reference, link, image, HTML, list, heading, code or table in it is
/// live, and no line of it is a command.
///
/// Lines stay lines (a blank line still parts paragraphs); white space at the beginning of a line is left out because
/// it could make a code block.
pub fn escape(text: &str) -> String {
    let text = unix_lines(text);
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        escape_line(&clean_line(line), &mut out);
    }
    out
}

/// One line of user text for a place that is no Markdown, such as a title or a commit's message: the same to the eye, and
/// nobody is mentioned, nothing is linked or closed.
pub fn inert(text: &str) -> String {
    let line = clean_line(text);
    let mut out = String::with_capacity(line.len() + line.len() / 8);
    for (at, c) in line.char_indices() {
        let (before, after) = (&line[..at], &line[at + c.len_utf8()..]);
        out.push(c);
        let gh = c == '-' && before.len() >= 2 && before.to_ascii_lowercase().ends_with("gh");
        if matches!(c, '@' | '#') || gh || (c == ':' && after.starts_with("//")) {
            out.push(ZERO_WIDTH_SPACE);
        }
    }
    out
}

/// Finished inline Markdown made fit for one cell of a table: one line, no free `|`.
pub fn table_cell(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    let mut escaped = false;
    for c in markdown.chars().map(|c| if is_line_space(c) { ' ' } else { c }) {
        if c == '|' && !escaped {
            out.push('\\');
        }
        out.push(c);
        escaped = c == '\\' && !escaped;
    }
    out
}

/// At most `max` bytes of `text`, cut between characters, with a closing note that tells how much is missing.
///
/// The note counts towards `max`; when `max` is too small even for the note, the text is only cut. Cap first, then
/// [`fence`] or [`escape`]: cutting finished Markdown could leave a code block open.
pub fn cap_bytes(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    // The note grows with the number of digits, so it is measured with the largest number it can hold.
    let room = closing_note(text.len()).len();
    if room > max {
        return text[..text.floor_char_boundary(max)].to_owned();
    }
    let kept = &text[..text.floor_char_boundary(max - room)];
    format!("{kept}{}", closing_note(text.len() - kept.len()))
}

fn closing_note(bytes: usize) -> String {
    format!("\n\n(cut here, {bytes} bytes more)")
}

/// CRLF and lone CR as LF.
fn unix_lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn is_line_space(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// The character, unless it is a control or one that is not seen or turns the direction of the text.
fn visible(c: char) -> Option<char> {
    (c == '\n' || !(c.is_control() || is_invisible(c))).then_some(c)
}

/// Characters that take no room on the screen or look like one that is missing: zero-width ones, direction marks, soft
/// hyphens, fillers and tags.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn longest_run(text: &str, wanted: char) -> usize {
    let (mut longest, mut run) = (0, 0);
    for c in text.chars() {
        run = if c == wanted { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

/// One line without control and invisible characters and without white space around it.
fn clean_line(line: &str) -> String {
    let spaced: String = line.chars().filter_map(|c| if is_line_space(c) { Some(' ') } else { visible(c) }).collect();
    spaced.trim().to_owned()
}

fn escape_line(line: &str, out: &mut String) {
    let mut before = None;
    for (at, c) in line.char_indices() {
        let rest = &line[at + c.len_utf8()..];
        match c {
            // GitHub looks for these in the finished text, where a backslash is no longer seen.
            '@' | '#' => out.extend(['\\', c, ZERO_WIDTH_SPACE]),
            ':' if rest.starts_with("//") => out.extend(['\\', c, ZERO_WIDTH_SPACE]),
            '.' if before.is_some_and(|b: char| b.eq_ignore_ascii_case(&'w')) => {
                out.extend([ZERO_WIDTH_SPACE, '\\', c]);
            }
            '-' if line[..at].len() >= 2 && line[..at].to_ascii_lowercase().ends_with("gh") => {
                out.extend(['\\', c, ZERO_WIDTH_SPACE]);
            }
            ',' | ';' | '\'' | '"' | '?' | '%' => out.push(c),
            '/' if before.is_some() => out.push(c),
            _ if c.is_ascii_punctuation() => out.extend(['\\', c]),
            _ => out.push(c),
        }
        before = Some(c);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Options, Parser, Tag};

    use super::*;

    fn events(markdown: &str) -> Vec<Event<'_>> {
        Parser::new_ext(markdown, Options::all() - Options::ENABLE_SMART_PUNCTUATION).collect()
    }

    /// The text that a reader sees, or the event that should not have been there.
    fn shown(markdown: &str) -> Result<String, String> {
        let mut text = String::new();
        for event in events(markdown) {
            match event {
                Event::Text(part) => text.push_str(&part),
                Event::SoftBreak => text.push('\n'),
                Event::Start(Tag::Paragraph) | Event::End(_) => text.push('\n'),
                other => return Err(format!("{other:?} in {markdown:?}")),
            }
        }
        Ok(text)
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace()
            .map(|w| w.chars().filter(|c| !is_invisible(*c) && !c.is_control()).collect::<String>())
            .filter(|w| !w.is_empty())
            .collect()
    }

    #[test]
    fn a_title_mentions_and_closes_nothing() {
        let title = inert("fixes #12, GH-7\r\nand https://x.example/1 @acme/all");
        assert_eq!(title.replace(ZERO_WIDTH_SPACE, ""), "fixes #12, GH-7  and https://x.example/1 @acme/all");
        for live in ["#12", "GH-7", "://x", "@acme"] {
            assert!(!title.contains(live), "{live} in {title:?}");
        }
    }

    #[test]
    fn inline_code_cannot_be_left() {
        for (text, code) in [
            ("npm ci", "`npm ci`"),
            ("", "` `"),
            ("\n", "` `"),
            ("a`b", "``a`b``"),
            ("`", "`` ` ``"),
            ("``x", "``` ``x ```"),
            (" a ", "`  a  `"),
            ("a\r\nb\u{7}\u{202e}", "`a  b`"),
        ] {
            assert_eq!(inline_code(text), code, "{text:?}");
        }
    }

    #[test]
    fn a_fence_is_longer_than_what_it_holds() {
        assert_eq!(fence("hello"), "```\nhello\n```\n");
        assert_eq!(fence(""), "```\n```\n");
        assert_eq!(fence("a\r\nb\r"), "```\na\nb\n```\n");
        assert_eq!(fence("```\nx\n````"), "`````\n```\nx\n````\n`````\n");
    }

    #[test]
    fn hostile_text_is_only_text() {
        for text in [
            "@alice and @acme/admins",
            "fixes #12, GH-13 and acme/shop#14",
            "[click](javascript:alert(1)) ![x](http://evil.example/p.png)",
            "<script>alert(1)</script> <!-- hidden --> &amp;",
            "see https://evil.example and www.evil.example or mail a@b.example",
            "| a | b |\n|---|---|\n| 1 | 2 |",
            "# big\n- list\n1. one\n> quote\n    code\n\tcode\n```\nfence\n```\n~~~\n---\n===",
            "**bold** _it_ ~~gone~~ `code` $x$ [^1] :rocket: {a} a\\",
            "<https://x.example> <a@b.example>",
            "[x]: https://evil.example",
            "- [ ] task\n+ plus\n* star",
        ] {
            let safe = escape(text);
            let seen = shown(&safe).expect("only text");
            assert_eq!(words(&seen), words(text), "{text:?}");
            for live in ["@alice", "@acme", "a@b", "#12", "#14", "GH-13", "https://", "www."] {
                assert!(!seen.contains(live), "{live} is live in {safe:?}");
            }
        }
    }

    #[test]
    fn a_command_in_user_text_is_not_one() {
        for text in
            ["/titan promote", "x\n/titan promote", "\u{200b}/titan promote", "  /titan promote", "`/titan halt`"]
        {
            for line in escape(text).lines() {
                let bare: String = line.chars().filter(|c| !is_invisible(*c)).collect();
                assert!(!bare.trim_start_matches([' ', '`']).starts_with("/titan"), "{line:?}");
            }
        }
    }

    #[test]
    fn a_cell_keeps_its_pipes() {
        assert_eq!(table_cell("`a | b`"), r"`a \| b`");
        assert_eq!(table_cell(&escape("a|b")), r"a\|b");
        assert_eq!(table_cell(r"a\\|b"), r"a\\\|b");
        assert_eq!(table_cell("a\nb"), "a b");
    }

    #[test]
    fn a_cap_is_kept_and_told() {
        assert_eq!(cap_bytes("short", 5), "short");
        assert_eq!(cap_bytes("äöü", 3), "ä");
        let cut = cap_bytes(&"ä".repeat(100), 61);
        assert!(cut.len() <= 61 && cut.ends_with("bytes more)"), "{cut}");
        assert!(cut.contains(&format!("{} bytes", 200 - cut.matches('ä').count() * 2)), "{cut}");
    }

    proptest! {
        #[test]
        fn any_text_is_only_text(text in any_text()) {
            let safe = escape(&text);
            let seen = shown(&safe).map_err(TestCaseError::fail)?;
            prop_assert_eq!(words(&seen), words(&text));
        }

        #[test]
        fn any_line_stays_in_its_code_span(text in any_text()) {
            let code = inline_code(&text);
            // In the middle of a line, because a span at the beginning of a line could look like a fence.
            let markdown = format!("x {code}");
            let found = events(&markdown);
            prop_assert!(
                matches!(&found[..], [Event::Start(_), Event::Text(_), Event::Code(_), Event::End(_)]),
                "{:?}", found
            );
        }

        #[test]
        fn any_text_stays_in_its_fence(text in any_text()) {
            let block = fence(&text);
            let found = events(&block);
            prop_assert!(matches!(found.first(), Some(Event::Start(Tag::CodeBlock(_)))));
            let inside = &found[1..found.len() - 1];
            prop_assert!(inside.iter().all(|e| matches!(e, Event::Text(_))), "{:?}", found);
        }

        #[test]
        fn any_cap_is_kept(text in any_text(), max in 0usize..80) {
            let cut = cap_bytes(&text, max);
            prop_assert!(cut.len() <= max);
            prop_assert!(text.len() > max || cut == text);
        }
    }

    /// Text made of the pieces that have a meaning in Markdown, and of anything.
    fn any_text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            proptest::sample::select(vec![
                "`",
                "```",
                "~~~",
                "*",
                "_",
                "[x](y)",
                "![",
                "<b>",
                "<!--",
                "-->",
                "@bob",
                "#1",
                "|",
                "\\",
                "\n",
                "\r\n",
                "    ",
                "\t",
                "> ",
                "- ",
                "1. ",
                "# ",
                "===",
                "---",
                "&amp;",
                "http://a.b",
                "www.a.b",
                "$$",
                "/titan ",
                ":",
                "{",
                "}",
                "[^1]",
                "[^1]: ",
                "a",
                " ",
                "\u{a0}",
                "\u{200b}",
                "é",
            ])
            .prop_map(str::to_owned),
            "\\PC{0,4}",
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|parts| parts.concat())
    }
}
