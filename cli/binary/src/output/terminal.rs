//! Escapes control characters in texts of servers and tasks. In a terminal they could move the cursor, change lines
//! that are shown, or send input as if the user had typed it.

use std::borrow::Cow;
use std::fmt::Write as _;

const RESET: &str = "\x1b[0m";

/// Replaces control characters except tabs and line breaks by escapes such as `\x1b`.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    replace(text, false)
}

/// Like `escape`, but keeps colors, which `orch` prints and many programs write to their logs. Resets the color at the
/// end of the text.
pub(super) fn escape_except_colors(text: &str) -> Cow<'_, str> {
    replace(text, true)
}

fn is_escaped(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

fn replace(text: &str, keeps_colors: bool) -> Cow<'_, str> {
    let (mut safe, mut rest, mut color) = (String::new(), text, RESET);
    while let Some(at) = rest.find(is_escaped) {
        let (before, from_control) = rest.split_at(at);
        safe.push_str(before);
        if let Some(length) = color_length(from_control).filter(|_| keeps_colors) {
            (color, rest) = from_control.split_at(length);
            safe.push_str(color);
            continue;
        }
        let mut chars = from_control.chars();
        let control = chars.next().map_or(0, u32::from);
        rest = chars.as_str();
        // Drop the carriage return of a Windows line break.
        if !(control == u32::from('\r') && rest.starts_with('\n')) {
            write!(safe, "\\x{control:02x}").expect("writing to a string cannot fail");
        }
    }
    if safe.is_empty() && rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    safe.push_str(rest);
    if ![RESET, "\x1b[m"].contains(&color) {
        safe.push_str(RESET);
    }
    Cow::Owned(safe)
}

/// Returns the length of a sequence such as `ESC [ 1 ; 31 m` if the text starts with one.
fn color_length(text: &str) -> Option<usize> {
    let after = text.strip_prefix("\x1b[")?;
    let end = after.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':')?;
    after[end..].starts_with('m').then_some("\x1b[".len() + end + "m".len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        for (text, expected) in [
            ("größe\tin two\nlines", "größe\tin two\nlines"),
            ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
            ("done\rfailed\x08\x7f", "done\\x0dfailed\\x08\\x7f"),
            ("of Windows\r\n", "of Windows\n"),
            // The 8-bit form of `ESC [`.
            ("\u{9b}2J", "\\x9b2J"),
            ("\x1b", "\\x1b"),
        ] {
            assert_eq!(escape(text), expected);
            assert_eq!(escape_except_colors(text), expected);
        }
    }

    #[test]
    fn colors_are_kept_where_they_may_be() {
        for (text, expected) in [
            ("\x1b[1;31merror\x1b[0m: x", "\x1b[1;31merror\x1b[0m: x"),
            ("\x1b[38:5:1mred", "\x1b[38:5:1mred\x1b[0m"),
            ("\x1b[mx", "\x1b[mx"),
            // This sequence configures the keyboard and is not a color.
            ("\x1b[>4;2m", "\\x1b[>4;2m"),
            ("\x1b[31", "\\x1b[31"),
        ] {
            assert_eq!(escape_except_colors(text), expected);
        }
        assert_eq!(escape("\x1b[8mhidden"), "\\x1b[8mhidden");
    }
}
