//! A stored line of a log, for people.

use serde_json::Value;
use std::fmt::Write as _;

/// `2026-11-20T06:00:00.123456Z INFO  loaded rows=7`
pub fn readable(line: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else { return format!("{line}\n") };
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
        assert_eq!(readable("no JSON"), "no JSON\n");
    }
}
