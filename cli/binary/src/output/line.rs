//! Formats stored log lines for users.

use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Formats a line as `2026-11-20T06:00:00.123456Z INFO  loaded rows=7`.
pub fn readable(line: &str) -> String {
    match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => readable_fields(fields),
        _ => format!("{line}\n"),
    }
}

/// Like `readable`, for a line in the form of the API. A line that is not JSON has only the field `event`.
pub fn readable_fields(mut fields: Map<String, Value>) -> String {
    if let (1, Some(Value::String(words))) = (fields.len(), fields.get("event")) {
        return format!("{words}\n");
    }
    let mut word = |name: &str| match fields.remove(name) {
        Some(Value::String(word)) => word,
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let (at, level, event) = (word("timestamp"), word("level").to_uppercase(), word("event"));
    word("logger");
    let mut text = format!("{at} {level:<7} {event}");
    for (name, value) in fields {
        write!(text, " {name}={value}").expect("writing to a string cannot fail");
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_line_is_read_by_people() {
        let line = r#"{"event":"loaded","level":"info","logger":"task","rows":7,"timestamp":"2026-11-20T06:00:00.5Z"}"#;
        assert_eq!(readable(line), "2026-11-20T06:00:00.5Z INFO    loaded rows=7\n");
        for words in ["no JSON", r#"{"event":"no JSON"}"#] {
            assert_eq!(readable(words), "no JSON\n");
        }
    }
}
