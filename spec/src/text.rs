//! Text from outside, in a form that the database accepts. Postgres stores no NUL in a text, and cannot extract a JSON
//! string that contains NUL or half a surrogate pair. These types replace such characters by U+FFFD and visibly
//! truncate long text.

use serde_json::Value;
use std::borrow::{Borrow, Cow};
use std::fmt::{self, Write as _};

/// A text without NUL, of bounded length.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Text(String);

impl Text {
    /// Maximum size in bytes, the same as for a line of a log.
    pub const MOST_BYTES: usize = 64 * 1024;

    pub fn new(text: impl Into<String>) -> Text {
        Text::bounded(text, Text::MOST_BYTES)
    }

    /// Truncates the text to `most_bytes` and appends a mark with the original size.
    pub fn bounded(text: impl Into<String>, most_bytes: usize) -> Text {
        let mut text: String = text.into();
        let bytes = text.len();
        if bytes > most_bytes {
            text.truncate(text.floor_char_boundary(most_bytes));
        }
        if text.contains('\0') {
            text = without_nul(&text).into_owned();
        }
        if bytes > most_bytes {
            write!(text, " … ({bytes} bytes in all)").expect("a string can grow");
        }
        Text(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

/// Replaces each NUL by U+FFFD.
pub fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(text) }
}

/// A JSON value as text, without `\u0000` and without halves of surrogate pairs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JsonText(String);

impl JsonText {
    /// `text` must be valid JSON, as parsed or written by a JSON library.
    pub fn new(text: impl Into<String>) -> JsonText {
        let text: String = text.into();
        match clean_json(&text) {
            Cow::Owned(clean) => JsonText(clean),
            Cow::Borrowed(_) => JsonText(text),
        }
    }

    pub fn of(value: &Value) -> JsonText {
        JsonText::new(value.to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

/// Returns JSON text from which Postgres can extract every string.
pub fn clean_json(text: &str) -> Cow<'_, str> {
    // Nearly every text contains neither.
    if !text.contains("\\u") && !text.contains('\0') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let (mut clean, mut from, mut at) = (String::new(), 0, 0);
    while at < bytes.len() {
        let bad = match bytes[at] {
            0 => 1,
            b'\\' => match escape(bytes, at) {
                Escape::Other(len) => {
                    at += len;
                    continue;
                }
                Escape::Bad(len) => len,
            },
            _ => {
                at += 1;
                continue;
            }
        };
        clean.push_str(&text[from..at]);
        clean.push('\u{FFFD}');
        at += bad;
        from = at;
    }
    if from == 0 {
        return Cow::Borrowed(text);
    }
    clean.push_str(&text[from..]);
    Cow::Owned(clean)
}

/// Replaces each NUL in strings and names of fields.
pub fn clean_value(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = without_nul(text).into_owned(),
        Value::Array(list) => list.iter_mut().for_each(clean_value),
        Value::Object(fields) => {
            if fields.keys().any(|name| name.contains('\0')) {
                let all = std::mem::take(fields).into_iter();
                *fields = all.map(|(name, value)| (without_nul(&name).into_owned(), value)).collect();
            }
            fields.values_mut().for_each(clean_value);
        }
        _ => {}
    }
}

/// Maximum depth of nested containers in a value. JSON parsers stop at 128, and some of our code wraps a value in a few
/// more levels.
pub const MOST_DEPTH: usize = 100;

/// Returns true if JSON parsers would reject the value as too deep. Uses no recursion.
pub fn is_too_deep(value: &Value) -> bool {
    let mut open = vec![(value, 0)];
    while let Some((value, around)) = open.pop() {
        if around >= MOST_DEPTH {
            return true;
        }
        match value {
            Value::Array(list) => {
                open.extend(list.iter().filter(|inner| holds_more(inner)).map(|inner| (inner, around + 1)));
            }
            Value::Object(fields) => {
                open.extend(fields.values().filter(|inner| holds_more(inner)).map(|inner| (inner, around + 1)));
            }
            _ => {}
        }
    }
    false
}

fn holds_more(value: &Value) -> bool {
    value.is_array() || value.is_object()
}

/// Drops a value iteratively, because a recursive drop of a deep value could overflow the stack.
pub fn take_apart(value: Value) {
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(list) => open.extend(list.into_iter().filter(holds_more)),
            Value::Object(fields) => open.extend(fields.into_iter().map(|(_, inner)| inner).filter(holds_more)),
            _ => {}
        }
    }
}

/// Returns `1 run`, `3 runs` or `2 tries`. The count may be a word or contain commas.
pub fn counted(count: impl fmt::Display, one: &str) -> String {
    let count = count.to_string();
    match (count.as_str(), one.strip_suffix("ry")) {
        ("1" | "one", _) => format!("{count} {one}"),
        (_, Some(stem)) => format!("{count} {stem}ries"),
        (_, None) => format!("{count} {one}s"),
    }
}

enum Escape {
    /// Number of valid bytes.
    Other(usize),
    /// Number of bytes to replace.
    Bad(usize),
}

fn escape(bytes: &[u8], at: usize) -> Escape {
    let unit = |at: usize| -> Option<u16> {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    match unit(at) {
        Some(0 | 0xDC00..=0xDFFF) => Escape::Bad(6),
        Some(0xD800..=0xDBFF) => match unit(at + 6) {
            Some(0xDC00..=0xDFFF) => Escape::Other(12),
            _ => Escape::Bad(6),
        },
        Some(_) => Escape::Other(6),
        // `\\`, `\"`, `\n`, or the last byte of a truncated text.
        None => Escape::Other(2),
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text::new(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text::new(text)
    }
}

impl From<&str> for JsonText {
    fn from(text: &str) -> JsonText {
        JsonText::new(text)
    }
}

impl From<String> for JsonText {
    fn from(text: String) -> JsonText {
        JsonText::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_replaced_and_a_long_text_says_how_long_it_was() {
        assert_eq!(Text::new("a\0b").as_str(), "a\u{FFFD}b");
        assert_eq!(Text::bounded("äöü", 3).as_str(), "ä … (6 bytes in all)");
        assert_eq!(Text::new("x".repeat(Text::MOST_BYTES)).as_str().len(), Text::MOST_BYTES);
        assert_eq!([Text::new("a"), Text::new("b")].join(": "), "a: b");
    }

    #[test]
    fn what_is_counted_has_its_plural() {
        assert_eq!([counted(1, "run"), counted(0, "run"), counted(2, "try")], ["1 run", "0 runs", "2 tries"]);
        assert_eq!([counted("1,200", "file"), counted("one", "DAG")], ["1,200 files", "one DAG"]);
    }

    #[test]
    fn a_value_is_cleaned_in_all_its_depth() {
        let mut value = serde_json::json!({ "a\0": ["x", { "b": "\0" }], "c": 1 });
        clean_value(&mut value);
        assert_eq!(value, serde_json::json!({ "a\u{FFFD}": ["x", { "b": "\u{FFFD}" }], "c": 1 }));
    }

    #[test]
    fn a_value_that_is_too_deep_is_found_and_dropped_however_deep_it_is() {
        let deep = |levels| (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![1.into(), inner]));
        assert!(!is_too_deep(&deep(MOST_DEPTH)) && is_too_deep(&deep(MOST_DEPTH + 1)));
        let text = deep(MOST_DEPTH).to_string();
        assert!(serde_json::from_str::<Value>(&format!("{{\"a\":[{{\"b\":{text}}}]}}")).is_ok());
        let deepest = deep(1_000_000);
        assert!(is_too_deep(&deepest));
        take_apart(deepest);
    }

    #[test]
    fn json_loses_only_what_no_text_can_hold() {
        for same in [r#""plain""#, r#""\\u0000""#, r#""\ud83d\ude00""#, r#"{"a\n":"\u00e4\u0001"}"#, "\"\\", "\\"] {
            assert!(matches!(clean_json(same), Cow::Borrowed(_)), "{same}");
        }
        for (bad, clean) in [
            (r#""a\u0000b""#, "\"a\u{FFFD}b\""),
            (r#"{"\u0000":1}"#, "{\"\u{FFFD}\":1}"),
            (r#""\ud800""#, "\"\u{FFFD}\""),
            (r#""\ude00\ud83d""#, "\"\u{FFFD}\u{FFFD}\""),
            (r#""\ud800\ud83d\ude00""#, "\"\u{FFFD}\\ud83d\\ude00\""),
            (r#""\\\u0000""#, "\"\\\\\u{FFFD}\""),
            ("\"a\0b\"", "\"a\u{FFFD}b\""),
        ] {
            assert_eq!(clean_json(bad), clean, "{bad}");
        }
    }
}
