//! Build logs as HTML: terminal colours become spans of a closed set of classes, everything else is escaped text.
//!
//! Nothing of the log gets into a tag or an attribute, so the pages need no inline styles and a hostile build cannot get
//! out of its log. A [`Painter`] is fed a log piece by piece and keeps colours, and sequences that are cut in two,
//! across pieces; what it gives for each piece is well-formed by itself.

use std::fmt::Write;

/// Longest control sequence that is waited for; what is longer is taken for text.
const SEQUENCE_LIMIT: usize = 4096;

/// Turns pieces of a terminal's text into HTML.
#[derive(Debug, Clone, Default)]
pub(crate) struct Painter {
    style: Style,
    /// The beginning of a control sequence whose end has not come.
    pending: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    bold: bool,
    faint: bool,
    italic: bool,
    underline: bool,
    /// One of the sixteen colours.
    ink: Option<u8>,
    paper: Option<u8>,
}

/// What stands at the beginning of some text.
enum Found<'t> {
    /// A control sequence of this many bytes that sets these attributes.
    Attributes(usize, &'t str),
    /// A control sequence of this many bytes without a meaning here.
    Other(usize),
    /// A control sequence without its end.
    Unfinished,
}

impl Painter {
    /// The next piece as HTML.
    pub(crate) fn paint(&mut self, piece: &str) -> String {
        let text = std::mem::take(&mut self.pending) + piece;
        let mut html = String::with_capacity(text.len() + text.len() / 8);
        let mut rest = text.as_str();
        while let Some(at) = rest.find('\u{1b}') {
            self.write(&rest[..at], &mut html);
            rest = &rest[at..];
            match sequence(rest) {
                Found::Attributes(length, codes) => {
                    self.style.apply(codes);
                    rest = &rest[length..];
                }
                Found::Other(length) => rest = &rest[length..],
                Found::Unfinished if rest.len() < SEQUENCE_LIMIT => {
                    self.pending = rest.to_owned();
                    return html;
                }
                Found::Unfinished => rest = &rest[1..],
            }
        }
        // A carriage return belongs to the line break that may come next.
        if let Some(before) = rest.strip_suffix('\r') {
            self.pending = "\r".to_owned();
            rest = before;
        }
        self.write(rest, &mut html);
        html
    }

    fn write(&self, text: &str, html: &mut String) {
        if text.is_empty() {
            return;
        }
        let classes = self.style.classes();
        if !classes.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(html, "<span class=\"{classes}\">");
        }
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '"' => html.push_str("&quot;"),
                '\'' => html.push_str("&#39;"),
                '\r' if letters.peek() == Some(&'\n') => {}
                // A progress bar drawn again and again becomes lines.
                '\r' => html.push('\n'),
                '\n' | '\t' => html.push(letter),
                _ if letter.is_control() => {}
                _ => html.push(letter),
            }
        }
        if !classes.is_empty() {
            html.push_str("</span>");
        }
    }
}

/// The control sequence at the beginning of `text`, which begins with the escape character. ECMA-48, sections 5.4 and
/// 5.6.
fn sequence(text: &str) -> Found<'_> {
    let bytes = text.as_bytes();
    match bytes.get(1) {
        None => Found::Unfinished,
        Some(b'[') => match bytes.iter().take(SEQUENCE_LIMIT).skip(2).position(|b| !(0x20..=0x3f).contains(b)) {
            None => Found::Unfinished,
            Some(at) => match (bytes[2 + at], text.get(2..2 + at)) {
                (b'm', Some(codes)) => Found::Attributes(at + 3, codes),
                (0x40..=0x7e, _) => Found::Other(at + 3),
                // Not a sequence after all: only its beginning is dropped.
                _ => Found::Other(at + 2),
            },
        },
        // Operating system commands (titles, links) and their like end with a bell or with ESC \. Any other escape
        // character breaks them off, so that nothing behind it is looked at for this one.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let within = &bytes[2..bytes.len().min(SEQUENCE_LIMIT)];
            match within.iter().position(|b| matches!(b, 0x07 | 0x1b)).map(|at| at + 2) {
                Some(at) if bytes[at] == 0x07 => Found::Other(at + 1),
                Some(at) => match bytes.get(at + 1) {
                    Some(b'\\') => Found::Other(at + 2),
                    Some(_) => Found::Other(2),
                    None => Found::Unfinished,
                },
                None => Found::Unfinished,
            }
        }
        Some(0x20..=0x2f) => match bytes.get(2) {
            None => Found::Unfinished,
            Some(byte) => Found::Other(if byte.is_ascii() { 3 } else { 2 }),
        },
        Some(byte) => Found::Other(if byte.is_ascii() && *byte != 0x1b { 2 } else { 1 }),
    }
}

impl Style {
    /// Select graphic rendition, ECMA-48 section 8.3.117; codes that are not shown here are passed over.
    fn apply(&mut self, codes: &str) {
        let mut codes = codes.split([';', ':']).map(|code| match code {
            "" => Some(0),
            code => code.parse::<u8>().ok(),
        });
        while let Some(code) = codes.next() {
            match code {
                Some(0) => *self = Self::default(),
                Some(1) => self.bold = true,
                Some(2) => self.faint = true,
                Some(3) => self.italic = true,
                Some(4 | 21) => self.underline = true,
                Some(22) => (self.bold, self.faint) = (false, false),
                Some(23) => self.italic = false,
                Some(24) => self.underline = false,
                Some(n @ 30..=37) => self.ink = Some(n - 30),
                Some(n @ 90..=97) => self.ink = Some(n - 90 + 8),
                Some(38) => self.ink = extended(&mut codes).or(self.ink),
                Some(39) => self.ink = None,
                Some(n @ 40..=47) => self.paper = Some(n - 40),
                Some(n @ 100..=107) => self.paper = Some(n - 100 + 8),
                Some(48) => self.paper = extended(&mut codes).or(self.paper),
                Some(49) => self.paper = None,
                _ => {}
            }
        }
    }

    fn classes(self) -> String {
        let flags = [(self.bold, "b"), (self.faint, "f"), (self.italic, "i"), (self.underline, "u")];
        let flags = flags.into_iter().filter(|(on, _)| *on).map(|(_, class)| class.to_owned());
        let ink = self.ink.map(|n| format!("ink{n}"));
        let paper = self.paper.map(|n| format!("paper{n}"));
        flags.chain(ink).chain(paper).collect::<Vec<_>>().join(" ")
    }
}

/// The nearest of the sixteen colours to one of the 256 (`5;n`) or of the 16 million (`2;r;g;b`).
fn extended(codes: &mut impl Iterator<Item = Option<u8>>) -> Option<u8> {
    match codes.next()?? {
        5 => match codes.next()?? {
            n @ 0..=15 => Some(n),
            n @ 16..=231 => {
                let level = |step: u8| if step == 0 { 0 } else { 55 + step * 40 };
                let n = n - 16;
                Some(nearest(level(n / 36), level(n / 6 % 6), level(n % 6)))
            }
            n => {
                let grey = 8 + (n - 232) * 10;
                Some(nearest(grey, grey, grey))
            }
        },
        2 => Some(nearest(codes.next()??, codes.next()??, codes.next()??)),
        _ => None,
    }
}

fn nearest(red: u8, green: u8, blue: u8) -> u8 {
    let brightest = red.max(green).max(blue);
    let on = |part: u8| u16::from(part) * 5 > u16::from(brightest) * 3;
    let hue = u8::from(on(red)) | u8::from(on(green)) << 1 | u8::from(on(blue)) << 2;
    match (hue, brightest) {
        (_, 0..48) => 0,
        (7, 48..144) => 8,
        (7, 144..224) => 7,
        (hue, 48..200) => hue,
        (hue, _) => hue + 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> String {
        Painter::default().paint(text)
    }

    #[test]
    fn colours_become_classes_and_everything_else_is_text() {
        for (text, html) in [
            ("plain", "plain"),
            ("a\x1b[31mb\x1b[0mc", "a<span class=\"ink1\">b</span>c"),
            ("\x1b[1;32mok\x1b[22;39m x", "<span class=\"b ink2\">ok</span> x"),
            ("\x1b[mx\x1b[90;41my", "x<span class=\"ink8 paper1\">y</span>"),
            (
                "\x1b[38;5;196mr\x1b[38;2;0;0;255mb\x1b[38;5;240mg",
                "<span class=\"ink9\">r</span><span class=\"ink12\">b</span><span class=\"ink8\">g</span>",
            ),
            ("\x1b[2K\x1b[1A\x1b(Bx\x1b=y\x1b[?25l", "xy"),
            ("\x1b]0;title\x07x\x1b]8;;https://e.example\x1b\\link\x1b]8;;\x1b\\", "xlink"),
            ("a\r\nb\rc\x08\x00d\te", "a\nb\ncd\te"),
            (
                "<script>alert('x')</script> & \"q\"",
                "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;q&quot;",
            ),
            ("\x1b[31\"onclick=x m", "nclick=x m"),
            ("\x1b[\u{e9}m", "\u{e9}m"),
            ("\x1b\u{e9}", "\u{e9}"),
            ("\x1b\x1b[31mx", "<span class=\"ink1\">x</span>"),
            ("\x1b[999;38;5m;x", ";x"),
        ] {
            assert_eq!(whole(text), html, "{text:?}");
        }
    }

    #[test]
    fn a_sequence_that_never_ends_does_not_swallow_the_log() {
        let mut painter = Painter::default();
        let mut html = painter.paint("\x1b]0;");
        for _ in 0..10 {
            html += &painter.paint(&"x".repeat(1000));
        }
        assert!(html.len() > 9000, "{}", html.len());
    }

    #[test]
    fn sequences_that_never_end_are_looked_at_once() {
        // With a search from each of them to the end this would not end before the day does.
        for hostile in ["\x1b]", "\x1b[", "\x1bP;", "\x1b]\x1b[31", "\x1b[1;1;1;"] {
            let html = whole(&hostile.repeat(300_000));
            assert!(html.len() <= 300_000 * hostile.len(), "{hostile:?}");
        }
        assert_eq!(
            whole("\x1b]0;a\x1b[31mb"),
            "0;a<span class=\"ink1\">b</span>",
            "a title that was broken off is text"
        );
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let text = "a\x1b[1;31mb\r\nc\x1b[0md\x1b]8;;x\x1b\\e<é>\x1b[38;5;20mf\r";
        let visible =
            |html: &str| html.replace("</span><span class=\"b ink1\">", "").replace("</span><span class=\"ink4\">", "");
        for size in 1..8 {
            let mut painter = Painter::default();
            let letters: Vec<char> = text.chars().collect();
            let parts = letters.chunks(size).map(|part| painter.paint(&part.iter().collect::<String>()));
            assert_eq!(visible(&parts.collect::<String>()), visible(&whole(text)), "pieces of {size}");
        }
    }
}
