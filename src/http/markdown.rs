//! One line of Titan's finished Markdown as HTML.
//!
//! The same lines stand in comments and checks, where GitHub renders them. Here only code, emphasis and links to web
//! pages come alive; anything else, HTML above all, is shown as text. That holds for hostile text too, although what
//! comes from outside was escaped before it got into a line.

use std::fmt;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::domain::markdown::is_invisible;

/// Finished HTML. Made only here and in the painter of logs, from escaped text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// Takes HTML that was made from escaped text.
    pub(super) fn trusted(html: String) -> Self {
        Self(html)
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Html {}

/// A line of finished Markdown; what would be a block of its own becomes part of the line.
pub fn line(markdown: &str) -> Html {
    let mut html = String::with_capacity(markdown.len() + markdown.len() / 4);
    let mut links = Vec::new();
    for event in Parser::new_ext(markdown, Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => escape(&text, &mut html),
            Event::Code(text) => {
                html.push_str("<code>");
                escape(&text, &mut html);
                html.push_str("</code>");
            }
            Event::SoftBreak | Event::HardBreak | Event::Rule => html.push(' '),
            Event::Start(Tag::Emphasis) => html.push_str("<em>"),
            Event::End(TagEnd::Emphasis) => html.push_str("</em>"),
            Event::Start(Tag::Strong) => html.push_str("<strong>"),
            Event::End(TagEnd::Strong) => html.push_str("</strong>"),
            Event::Start(Tag::Link { dest_url, .. }) => {
                let web = dest_url.starts_with("https://") || dest_url.starts_with("http://");
                links.push(web);
                if web {
                    html.push_str("<a rel=\"nofollow\" href=\"");
                    escape(&dest_url, &mut html);
                    html.push_str("\">");
                }
            }
            Event::End(TagEnd::Link) if links.pop() == Some(true) => html.push_str("</a>"),
            Event::End(TagEnd::Paragraph | TagEnd::Item | TagEnd::Heading(_) | TagEnd::CodeBlock) => html.push(' '),
            _ => {}
        }
    }
    Html(html.trim_end().to_owned())
}

/// The same for a line that was made fit for a cell of a Markdown table, where a pipe needs a backslash even in code.
pub fn cell(markdown: &str) -> Html {
    line(&markdown.replace("\\|", "|"))
}

/// The text of a line without any markup, for titles.
pub fn plain(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    for event in Parser::new_ext(markdown, Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Text(part) | Event::Code(part) => text.extend(part.chars().filter(|c| !is_invisible(*c))),
            Event::SoftBreak | Event::HardBreak | Event::End(TagEnd::Paragraph) => text.push(' '),
            _ => {}
        }
    }
    text.trim_end().to_owned()
}

/// Text as HTML, without the marks that keep it from coming alive at GitHub.
fn escape(text: &str, html: &mut String) {
    for letter in text.chars().filter(|c| !is_invisible(*c)) {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::markdown;

    #[test]
    fn titans_lines_keep_their_shape() {
        for (text, html) in [
            ("`npm ci && npm run build` in 41 s", "<code>npm ci &amp;&amp; npm run build</code> in 41 s"),
            (
                "**rolled back** to `0ddba11`; revert #12",
                "<strong>rolled back</strong> to <code>0ddba11</code>; revert #12",
            ),
            ("press *Ready for review*", "press <em>Ready for review</em>"),
            (
                "Titan [rolls back](http://127.0.0.1:8080/runs/1?a=1&b=2) by itself",
                "Titan <a rel=\"nofollow\" href=\"http://127.0.0.1:8080/runs/1?a=1&amp;b=2\">rolls back</a> by itself",
            ),
            ("", ""),
            ("a\n\nb", "a b"),
        ] {
            assert_eq!(line(text).to_string(), html);
        }
        assert_eq!(cell(&markdown::table_cell("`a|b`")).to_string(), "<code>a|b</code>");
        assert_eq!(plain("**live** as `3f2c1ab`, [x](http://y)"), "live as 3f2c1ab, x");
    }

    #[test]
    fn nothing_else_comes_alive() {
        for hostile in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "x <b onclick=\"x\">b</b>",
            "[x](javascript:alert(1))",
            "[x](data:text/html,<script>)",
            "![x](http://e.example/p.png)",
            "<!-- x -->",
            "<javascript:alert(1)>",
            "[x](https://e.example/\"onmouseover=alert(1) \"t\")",
        ] {
            let html = line(hostile).to_string();
            let tags: Vec<&str> = html.split('<').skip(1).collect();
            let known = |tag: &str| tag.starts_with("/a>") || tag.starts_with("a rel=\"nofollow\" href=\"http");
            assert!(tags.iter().all(|tag| known(tag)), "{hostile} -> {html}");
            assert!(!html.contains("\"onmouseover"), "{html}");
        }
    }

    #[test]
    fn escaped_text_reads_as_it_was_written() {
        let text = "@alice said: see https://e.example & <b>#12</b> | 'x'";
        assert_eq!(
            line(&markdown::escape(text)).to_string(),
            "@alice said: see https://e.example &amp; &lt;b&gt;#12&lt;/b&gt; | &#39;x&#39;"
        );
    }
}
