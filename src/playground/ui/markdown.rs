//! Markdown of comments and check runs as HTML that is safe to show.
//!
//! Raw HTML never passes as it is: comments vanish, a few harmless tags without attributes stay, the rest is shown as
//! text. Links go to `http`, `https` and `mailto` only, and pictures are shown as links, so that a page loads nothing
//! from elsewhere.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

/// Tags that may stand in raw HTML, as on GitHub, and only without attributes. They are closed if the text forgot to.
const TAGS: [&str; 14] =
    ["details", "summary", "sub", "sup", "b", "i", "em", "strong", "code", "kbd", "p", "blockquote", "ins", "del"];
/// Like [`TAGS`], without an end tag.
const VOID_TAGS: [&str; 2] = ["br", "hr"];

/// Renders GitHub's Markdown (tables, strikethrough, task lists).
pub fn render(text: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut open: Vec<&'static str> = Vec::new();
    let mut events: Vec<Event<'_>> = Vec::new();
    // A block of raw HTML comes line by line; it is judged as a whole, because a comment can span lines.
    let mut block: Option<String> = None;
    for event in Parser::new_ext(text, options) {
        match event {
            Event::Start(Tag::HtmlBlock) => block = Some(String::new()),
            Event::Html(html) => match &mut block {
                Some(block) => block.push_str(&html),
                None => events.push(raw(&html, &mut open)),
            },
            Event::End(TagEnd::HtmlBlock) => events.extend(block.take().map(|block| raw(&block, &mut open))),
            Event::InlineHtml(html) => events.push(raw(&html, &mut open)),
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                events.push(Event::Start(Tag::Link { link_type, dest_url: safe_url(dest_url), title, id }));
            }
            Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
                events.push(Event::Start(Tag::Link { link_type, dest_url: safe_url(dest_url), title, id }));
                events.push(Event::Text("🖼 ".into()));
            }
            Event::End(TagEnd::Image) => events.push(Event::End(TagEnd::Link)),
            // GitHub keeps the line breaks of a comment.
            Event::SoftBreak => events.push(Event::HardBreak),
            other => events.push(other),
        }
    }
    let mut out = String::new();
    html::push_html(&mut out, events.into_iter());
    while let Some(tag) = open.pop() {
        out.push_str(&format!("</{tag}>"));
    }
    out
}

fn safe_url(url: CowStr<'_>) -> CowStr<'_> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme.trim().to_ascii_lowercase());
    match scheme.as_deref() {
        None | Some("http" | "https" | "mailto") => url,
        // A colon after a slash, a question mark or a hash belongs to a relative address.
        Some(scheme) if scheme.contains(['/', '?', '#']) => url,
        Some(_) => "#".into(),
    }
}

/// What may stay of a piece of raw HTML. `open` remembers which tags wait for their end.
fn raw(html: &str, open: &mut Vec<&'static str>) -> Event<'static> {
    let mut out = String::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        escape(&rest[..at], &mut out);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("<!--") {
            rest = after.find("-->").map_or("", |end| &after[end + 3..]);
        } else if let Some((length, tag)) = allowed_tag(rest, open) {
            out.push_str(&tag);
            rest = &rest[length..];
        } else {
            out.push_str("&lt;");
            rest = &rest[1..];
        }
    }
    escape(rest, &mut out);
    Event::InlineHtml(out.into())
}

/// An allowed tag at the beginning of the text: its length and how it is written. An end tag needs its start.
fn allowed_tag(text: &str, open: &mut Vec<&'static str>) -> Option<(usize, String)> {
    let end = text.find('>')?;
    let inside = text[1..end].trim().trim_end_matches('/').trim_end().to_ascii_lowercase();
    let name = |wanted: &str, known: &[&'static str]| known.iter().copied().find(|known| *known == wanted);
    let tag = if let Some(closing) = inside.strip_prefix('/') {
        let tag = name(closing, &TAGS)?;
        let at = open.iter().rposition(|waiting| *waiting == tag)?;
        // What was opened inside and not closed is closed with it, so that the page's own elements stay whole.
        open.drain(at..).rev().map(|tag| format!("</{tag}>")).collect()
    } else if let Some(tag) = name(&inside, &VOID_TAGS) {
        format!("<{tag}>")
    } else if inside == "details open" {
        open.push("details");
        "<details open>".to_owned()
    } else {
        let tag = name(&inside, &TAGS)?;
        open.push(tag);
        format!("<{tag}>")
    };
    Some((end + 1, tag))
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn tables_and_breaks_look_as_on_github() {
        let html = render("| a | b |\n|---|---|\n| ✅ | `x` |\n\none\ntwo");
        assert!(html.contains("<td>✅</td><td><code>x</code></td>"), "{html}");
        assert!(html.contains("one<br />\ntwo"), "{html}");
    }

    #[test]
    fn raw_html_never_runs() {
        for hostile in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "<details ontoggle=alert(1) open>x</details>",
            "<a href=\"javascript:alert(1)\">x</a>",
            "<svg/onload=alert(1)>",
            "<b onmouseover=alert(1)>x</b>",
            "<iframe src=//example.com></iframe>",
            "<scr<b>ipt>alert(1)</scr</b>ipt>",
            "<!-- > <script>alert(1)</script> -->",
        ] {
            let html = render(hostile).to_ascii_lowercase();
            for start in html.split('<').skip(1) {
                let tag = start.split('>').next().unwrap_or_default();
                let known = ["p", "/p", "br /", "details", "/details", "b", "/b"].contains(&tag.trim());
                assert!(known, "{hostile} became {html}");
            }
        }
    }

    #[test]
    fn links_run_nothing_and_pictures_are_not_loaded() {
        let html =
            render("[x](javascript:alert(1)) [y](JaVaScRiPt:alert(1)) [z](https://a.example) [r](/runs/1?a=b:c)");
        assert!(!html.to_ascii_lowercase().contains("javascript"), "{html}");
        assert!(html.contains("href=\"https://a.example\"") && html.contains("href=\"/runs/1?a=b:c\""), "{html}");
        assert!(!render("![spy](https://a.example/x.png)").contains("<img"));
    }

    #[test]
    fn comments_vanish_and_allowed_tags_are_closed() {
        assert_eq!(render("<!-- hidden\nmark -->\nshown").trim(), "<p>shown</p>");
        let html = render("<details><summary>more</summary>\n\ninside **bold**\n");
        assert!(html.contains("<summary>more</summary>") && html.ends_with("</details>"), "{html}");
        assert!(!render("</details></div></main>").contains("</"));
    }
}
