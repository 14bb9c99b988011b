//! Markdown from authors: bodies of questions, and descriptions of DAGs and tasks. The rendered HTML is safe: tags in
//! the source are shown as text, links are limited to http, https and mailto, and images become links.

use super::{Escaped, short};
use askama::filters::HtmlSafe;
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};
use std::fmt;

/// Maximum length. The rest is not rendered.
const MOST_CHARS: usize = 64 * 1024;
const SCHEMES: [&str; 3] = ["http://", "https://", "mailto:"];

#[derive(Debug, Clone)]
pub(crate) struct Markdown(String);

/// Returns `None` for blank text.
pub(crate) fn markdown(text: &str) -> Option<Markdown> {
    (!text.trim().is_empty()).then(|| Markdown(short(text, MOST_CHARS).into_owned()))
}

impl fmt::Display for Markdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parser = Parser::new_ext(&self.0, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
        let mut tamer = Tamer::default();
        let mut written = String::new();
        html::push_html(&mut written, parser.filter_map(|event| tamer.tame(event)));
        f.write_str(&written)
    }
}

impl HtmlSafe for Markdown {}

/// Sanitizes the events of the Markdown parser.
#[derive(Default)]
struct Tamer {
    /// The enclosing links and images: true for each that is rendered as a link.
    around: Vec<bool>,
}

impl Tamer {
    fn tame<'a>(&mut self, event: Event<'a>) -> Option<Event<'a>> {
        Some(match event {
            Event::Html(tags) | Event::InlineHtml(tags) => Event::Text(tags),
            Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
            Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => return self.begin(&dest_url),
            Event::End(TagEnd::Link | TagEnd::Image) => return self.end(),
            // The page and its panels have their own headings, so these are lowered.
            Event::Start(Tag::Heading { level, .. }) => {
                Event::Start(Tag::Heading { level: below(level), id: None, classes: Vec::new(), attrs: Vec::new() })
            }
            Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(below(level))),
            // Column alignment would need inline styles, which the content security policy of pages forbids.
            Event::Start(Tag::Table(columns)) => {
                Event::Start(Tag::Table(vec![pulldown_cmark::Alignment::None; columns.len()]))
            }
            other => other,
        })
    }

    fn begin<'a>(&mut self, url: &str) -> Option<Event<'a>> {
        let is_link = may_lead_to(url) && !self.around.contains(&true);
        self.around.push(is_link);
        let tag = || format!("<a class=\"link\" href=\"{}\" rel=\"noopener noreferrer nofollow\">", Escaped(url));
        is_link.then(|| Event::InlineHtml(CowStr::from(tag())))
    }

    fn end<'a>(&mut self) -> Option<Event<'a>> {
        let was_link = self.around.pop().unwrap_or(false);
        was_link.then_some(Event::InlineHtml(CowStr::Borrowed("</a>")))
    }
}

fn may_lead_to(url: &str) -> bool {
    SCHEMES.iter().any(|scheme| url.get(..scheme.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(scheme)))
}

fn below(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H3,
        HeadingLevel::H2 => HeadingLevel::H4,
        HeadingLevel::H3 => HeadingLevel::H5,
        _ => HeadingLevel::H6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(markdown(text).expect("something to read").to_string().trim_end(), expected, "{text}");
    }

    #[test]
    fn what_is_meant_is_drawn() {
        assert!(markdown(" \n").is_none());
        check("one\n\n*two* `x < y`", "<p>one</p>\n<p><em>two</em> <code>x &lt; y</code></p>");
        check("# Title", "<h3>Title</h3>");
        check("- a\n- ~~b~~", "<ul>\n<li>a</li>\n<li><del>b</del></li>\n</ul>");
        check(
            "[a](https://x.org/?a=1&b=2)",
            "<p><a class=\"link\" href=\"https://x.org/?a=1&#38;b=2\" rel=\"noopener noreferrer nofollow\">a</a></p>",
        );
        check(
            "<mailto:a@b.org>",
            "<p><a class=\"link\" href=\"mailto:a@b.org\" rel=\"noopener noreferrer nofollow\">mailto:a@b.org</a></p>",
        );
        check(
            "|a|\n|:-:|\n|1|",
            "<table><thead><tr><th>a</th></tr></thead><tbody>\n<tr><td>1</td></tr>\n</tbody></table>",
        );
    }

    #[test]
    fn a_picture_is_a_link_and_no_link_is_within_another() {
        let link = |url: &str, words: &str| {
            format!("<p><a class=\"link\" href=\"{url}\" rel=\"noopener noreferrer nofollow\">{words}</a></p>")
        };
        check("![a cat](http://x/cat.png)", &link("http://x/cat.png", "a cat"));
        check("[![a cat](http://x/cat.png)](http://x/)", &link("http://x/", "a cat"));
        check("![x](data:image/svg+xml,<svg>)", "<p>x</p>");
    }

    /// Well-known attack vectors.
    #[test]
    fn nothing_that_is_written_becomes_a_script() {
        let attacks = [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "a <b onmouseover=alert(1)>b</b>",
            "<svg/onload=alert(1)>",
            "<!-- --><iframe src=javascript:alert(1)>",
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](&#106;avascript:alert(1))",
            "[x](java&#10;script:alert(1))",
            "[x]( javascript:alert(1))",
            "[x](vbscript:x) [y](data:text/html,<script>alert(1)</script>) [z](//evil.org) [w](/logout)",
            "<javascript:alert(1)>",
            "![x](javascript:alert(1))",
            "[x][1]\n\n[1]: javascript:alert(1)",
            "[x](http://a\" onmouseover=\"alert(1))",
            "[x](<http://a\" onmouseover=\"alert(1)>)",
            "[x](https://a 'title\" onmouseover=\"alert(1)')",
            "```\"><script>alert(1)</script>\nx\n```",
            "`<script>`",
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "# <a name=\"x\" onclick=alert(1)>h</a>",
            "|<td onclick=alert(1)>|\n|-|\n|<script>|",
            "x\n\n<div\n onclick=alert(1)>\n\n</div>",
        ];
        for attack in attacks {
            let drawn = markdown(attack).expect("something to read").to_string();
            let mut tags = drawn.split('<').skip(1).map(|rest| rest.split('>').next().unwrap_or_default());
            let harmless = |tag: &str| {
                let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
                let known =
                    ["p", "a", "code", "pre", "h3", "table", "thead", "tbody", "tr", "th", "td"].contains(&name);
                let link = tag.strip_prefix("a class=\"link\" href=\"");
                let link = link.and_then(|rest| rest.strip_suffix("\" rel=\"noopener noreferrer nofollow"));
                let leads = |url: &str| url.starts_with("http") && !url.contains('"');
                known
                    && (!tag.contains('=') || link.is_some_and(|url| leads(url.trim_end_matches('"'))) || is_fence(tag))
            };
            assert!(tags.all(|tag| harmless(tag.trim_end_matches('"'))), "{attack}\n{drawn}");
        }
    }

    /// Returns whether a tag is a code block with an escaped language name.
    fn is_fence(tag: &str) -> bool {
        tag.strip_prefix("code class=\"language-").is_some_and(|language| !language.contains(['"', '<', '>']))
    }
}
