//! Log text as HTML: ANSI colors become classes, other escape sequences are removed, and control characters are made
//! visible. Log text can never become markup, a link or a cursor movement.

use super::Escaped;
use askama::filters::HtmlSafe;
use std::fmt;
use std::ops::Range;

/// Log text in which all occurrences of the needle are marked, ignoring case. An empty needle marks nothing.
#[derive(Debug, Clone)]
pub(crate) struct Marked {
    pub(crate) text: String,
    pub(crate) needle: String,
}

const ESCAPE: char = '\u{1b}';

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    bold: bool,
    colour: Option<&'static str>,
}

impl Style {
    fn apply(mut self, codes: &str) -> Style {
        let mut codes = codes.split([';', ':']);
        while let Some(code) = codes.next() {
            match code.parse::<u32>().unwrap_or(0) {
                0 => self = Style::default(),
                1 => self.bold = true,
                22 => self.bold = false,
                31 | 91 => self.colour = Some("ansi-r"),
                32 | 92 => self.colour = Some("ansi-g"),
                33 | 93 => self.colour = Some("ansi-y"),
                34 | 94 => self.colour = Some("ansi-u"),
                35 | 95 => self.colour = Some("ansi-m"),
                36 | 96 => self.colour = Some("ansi-c"),
                30 | 37 | 39 | 90 | 97 => self.colour = None,
                // Colors of a larger palette are skipped with their parameters.
                38 | 48 => match codes.next() {
                    Some("5") => drop(codes.next()),
                    Some("2") => drop(codes.nth(2)),
                    _ => {}
                },
                _ => {}
            }
        }
        self
    }

    fn is_plain(self) -> bool {
        self == Style::default()
    }
}

enum Sequence<'a> {
    Colours(&'a str),
    Other,
}

/// Parses the escape sequence at the start of `text`, after its escape character, and returns it with the rest.
fn sequence(text: &str) -> (Sequence<'_>, &str) {
    let Some(kind) = text.chars().next() else { return (Sequence::Other, "") };
    let rest = &text[kind.len_utf8()..];
    match kind {
        '[' => match rest.find(|c: char| ('@'..='~').contains(&c)) {
            Some(end) if rest[end..].starts_with('m') => (Sequence::Colours(&rest[..end]), &rest[end + 1..]),
            Some(end) => (Sequence::Other, &rest[end + 1..]),
            None => (Sequence::Other, ""),
        },
        // Titles, links and other strings end with a bell or a string terminator.
        ']' | 'P' | '_' | '^' | 'X' => match rest.find(['\u{7}', ESCAPE]) {
            Some(end) if rest[end..].starts_with('\u{7}') => (Sequence::Other, &rest[end + 1..]),
            Some(end) => (Sequence::Other, rest[end + 1..].strip_prefix('\\').unwrap_or(&rest[end + 1..])),
            None => (Sequence::Other, ""),
        },
        _ => (Sequence::Other, rest),
    }
}

/// Returns the visible text in pieces of one style each.
fn pieces(text: &str) -> Vec<(Style, &str)> {
    let (mut style, mut rest, mut pieces) = (Style::default(), text, Vec::new());
    loop {
        let end = rest.find(ESCAPE).unwrap_or(rest.len());
        if end > 0 {
            pieces.push((style, &rest[..end]));
        }
        if end == rest.len() {
            return pieces;
        }
        let (found, after) = sequence(&rest[end + 1..]);
        if let Sequence::Colours(codes) = found {
            style = style.apply(codes);
        }
        rest = after;
    }
}

/// Returns the text without escape sequences.
pub(crate) fn plain(text: &str) -> String {
    pieces(text).into_iter().map(|(_, piece)| piece).collect()
}

/// Finds the needle, ignoring case.
pub(crate) fn find_in(text: &str, needle: &str, from: usize) -> Option<Range<usize>> {
    let rest = text.get(from..)?;
    if needle.is_empty() {
        return None;
    }
    if needle.is_ascii() {
        let (bytes, needle) = (rest.as_bytes(), needle.as_bytes());
        let first = needle[0].to_ascii_lowercase();
        let last = bytes.len().checked_sub(needle.len())?;
        let is_there = |at: &usize| {
            bytes[*at].to_ascii_lowercase() == first && bytes[*at..*at + needle.len()].eq_ignore_ascii_case(needle)
        };
        let at = (0..=last).find(is_there)?;
        return Some(from + at..from + at + needle.len());
    }
    rest.char_indices().find_map(|(at, _)| {
        let mut wanted = needle.chars().flat_map(char::to_lowercase).peekable();
        for (place, c) in rest[at..].char_indices() {
            if wanted.peek().is_none() {
                return Some(from + at..from + at + place);
            }
            if !c.to_lowercase().all(|c| wanted.next() == Some(c)) {
                return None;
            }
        }
        wanted.peek().is_none().then_some(from + at..text.len())
    })
}

impl Marked {
    pub(crate) fn is_hit(&self) -> bool {
        !self.needle.is_empty() && find_in(&plain(&self.text), &self.needle, 0).is_some()
    }
}

impl fmt::Display for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pieces = pieces(&self.text);
        let whole: String = if self.needle.is_empty() { String::new() } else { plain(&self.text) };
        let (mut hit, mut start) = (find_in(&whole, &self.needle, 0), 0);
        for (style, text) in pieces {
            let (mut at, end) = (start, start + text.len());
            while at < end {
                // A match may span several styles.
                while hit.as_ref().is_some_and(|hit| hit.end <= at) {
                    hit = find_in(&whole, &self.needle, at);
                }
                let (stop, is_hit) = match &hit {
                    Some(hit) if hit.start <= at => (hit.end.min(end), true),
                    Some(hit) => (hit.start.min(end), false),
                    None => (end, false),
                };
                piece(f, style, is_hit, &text[at - start..stop - start])?;
                at = stop;
            }
            start = end;
        }
        Ok(())
    }
}

impl HtmlSafe for Marked {}

fn piece(f: &mut fmt::Formatter<'_>, style: Style, is_hit: bool, text: &str) -> fmt::Result {
    if text.is_empty() {
        return Ok(());
    }
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if u32::from(c) < 0x20 => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        // Bidirectional control characters could disguise the text that follows.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => c,
    };
    let text: String = text.chars().map(shown).collect();
    let (mark, unmark) = if is_hit { ("<mark>", "</mark>") } else { ("", "") };
    if style.is_plain() {
        return write!(f, "{mark}{}{unmark}", Escaped(&text));
    }
    let bold = if style.bold { "ansi-b" } else { "" };
    let space = if style.bold && style.colour.is_some() { " " } else { "" };
    write!(
        f,
        r#"<span class="{bold}{space}{}">{mark}{}{unmark}</span>"#,
        style.colour.unwrap_or_default(),
        Escaped(&text)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes_and_all_else_is_only_text() {
        for (text, html) in [
            ("plain", "plain"),
            ("\u{1b}[1mb\u{1b}[0m a", r#"<span class="ansi-b">b</span> a"#),
            ("\u{1b}[1;32mok\u{1b}[mno", r#"<span class="ansi-b ansi-g">ok</span>no"#),
            ("\u{1b}[38;5;31mx", "x"),
            ("\u{1b}[48;2;31;32;33mx\u{1b}[31my", r#"x<span class="ansi-r">y</span>"#),
            ("a\u{1b}[2Jb\u{1b}[10;20Hc", "abc"),
            ("\u{1b}]8;;javascript:alert(1)\u{1b}\\click\u{1b}]8;;\u{1b}\\", "click"),
            ("\u{1b}]0;title\u{7}x", "x"),
            ("\u{1b}[31", ""),
            ("end\u{1b}", "end"),
            ("\u{1b}[31m<b>\"&", r#"<span class="ansi-r">&#60;b&#62;&#34;&#38;</span>"#),
            ("a\rb\0c\u{202e}d", "a␍b␀c\u{fffd}d"),
            ("é\u{1b}é", "é"),
        ] {
            assert_eq!(Marked { text: text.into(), needle: String::new() }.to_string(), html, "{text:?}");
        }
    }

    #[test]
    fn what_is_searched_for_is_marked_over_colours_and_cases() {
        for (text, needle, html) in [
            ("a fee, a FEE", "fee", "a <mark>fee</mark>, a <mark>FEE</mark>"),
            ("a \u{1b}[32mfe\u{1b}[0me", "fee", r#"a <span class="ansi-g"><mark>fe</mark></span><mark>e</mark>"#),
            ("Ä<b>ä", "ä<", "<mark>Ä&#60;</mark>b&#62;ä"),
            ("İx", "x", "İ<mark>x</mark>"),
            ("nothing", "fee", "nothing"),
            ("aaa", "aa", "<mark>aa</mark>a"),
        ] {
            let marked = Marked { text: text.into(), needle: needle.into() };
            assert_eq!((marked.to_string().as_str(), marked.is_hit()), (html, html.contains("<mark>")), "{text:?}");
        }
    }
}
