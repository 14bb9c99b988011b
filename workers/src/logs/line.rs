//! A stored log line: a JSON object with time, level, logger, event and further fields.

use crate::mask;
use chrono::{DateTime, SecondsFormat, Utc};
use orch_sdk::task::LogLevel;
use orch_spec::text::{JsonText, MOST_DEPTH, is_too_deep, take_apart};
use serde_json::{Map, Value};

/// Maximum size of a text in a line in bytes, so that a single line cannot fill a log.
const LINE_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct LogLine {
    pub(crate) at: DateTime<Utc>,
    pub(crate) level: LogLevel,
    pub(crate) logger: String,
    pub(crate) event: String,
    /// Length of the complete event in bytes. `event` may be truncated.
    bytes: usize,
    pub(crate) fields: Map<String, Value>,
}

impl LogLine {
    pub(crate) fn new(level: LogLevel, logger: &str, event: String, mut fields: Map<String, Value>) -> Self {
        for field in fields.values_mut().filter(|field| is_too_deep(field)) {
            take_apart(std::mem::replace(field, format!("(nested more than {MOST_DEPTH} deep)").into()));
        }
        LogLine { at: now(), level, logger: logger.into(), bytes: event.len(), event, fields }
    }

    /// Builds a line from a text of any length. Copies at most twice the maximum length, so that a secret that spans
    /// the cut is still found and masked.
    pub(crate) fn from_body(level: LogLevel, text: &str, fields: Map<String, Value>) -> Self {
        let event = text[..text.floor_char_boundary(2 * LINE_BYTES)].to_string();
        LogLine { bytes: text.len(), ..LogLine::new(level, "task", event, fields) }
    }

    pub(crate) fn about_the_log(event: String) -> Self {
        LogLine::new(LogLevel::Warning, "orch", event, Map::new())
    }

    /// Returns the line as JSON with masked secrets. Masking costs nothing until a secret is registered.
    pub(super) fn masked_json(&self) -> String {
        let Some(masker) = mask::masker() else { return self.to_json() };
        let mut fields = self.fields.clone();
        masker.mask_fields(&mut fields);
        let logger = masker.mask(&self.logger).into_owned();
        let event = masker.mask(&self.event).into_owned();
        let bytes = if self.bytes > self.event.len() { self.bytes } else { event.len() };
        LogLine { logger, event, bytes, fields, ..*self }.to_json()
    }

    pub(crate) fn to_json(&self) -> String {
        let mut line = Map::new();
        line.insert("timestamp".into(), self.at.to_rfc3339_opts(SecondsFormat::Micros, true).into());
        line.insert("level".into(), self.level.as_str().into());
        line.insert("logger".into(), self.logger.as_str().into());
        line.insert("event".into(), cut(&self.event, self.bytes).into());
        for (key, value) in &self.fields {
            line.entry(key.as_str()).or_insert_with(|| value.clone());
        }
        // Replace NUL in the fields, too, so that lines can be loaded into a database.
        let text = JsonText::new(Value::Object(line).to_string()).into_string();
        // In JSON, a control character takes six bytes. A line without fields cannot be shortened further.
        if self.fields.is_empty() || text.len() <= 2 * LINE_BYTES {
            return text;
        }
        let bare = LogLine { fields: Map::new(), logger: self.logger.clone(), event: self.event.clone(), ..*self };
        bare.to_json()
    }
}

/// Truncates a text to `LINE_BYTES`. `bytes` is the length of the complete text.
fn cut(text: &str, bytes: usize) -> String {
    let kept = &text[..text.floor_char_boundary(LINE_BYTES)];
    // Replace NUL, which Postgres text cannot contain. All other characters are kept.
    let kept = if kept.contains('\0') { kept.replace('\0', "\u{2400}") } else { kept.to_string() };
    if bytes <= LINE_BYTES { kept } else { format!("{kept} … ({bytes} bytes in all)") }
}

#[expect(clippy::disallowed_methods, reason = "a log line carries the clock of the machine that said it")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_and_says_how_long_it_was() {
        let whole = LogLine::from_body(LogLevel::Info, &"x".repeat(LINE_BYTES), Map::new());
        assert_eq!(cut(&whole.event, whole.bytes), whole.event);
        let long = LogLine::from_body(LogLevel::Info, &"é".repeat(LINE_BYTES), Map::new());
        let shown = cut(&long.event, long.bytes);
        assert!(shown.ends_with(&format!(" … ({} bytes in all)", 2 * LINE_BYTES)), "{}", &shown[shown.len() - 60..]);
        assert_eq!(shown.chars().filter(|c| *c == 'é').count(), LINE_BYTES / 2);
        let huge = LogLine::from_body(LogLevel::Info, &"x".repeat(100 * LINE_BYTES), Map::new());
        assert!(huge.event.len() <= 2 * LINE_BYTES && huge.to_json().contains("(6553600 bytes in all)"));
    }

    #[test]
    fn a_line_of_control_characters_is_kept_however_long_its_json_is() {
        for text in ["\0x", "\u{1}"] {
            let line =
                LogLine::from_body(LogLevel::Info, &text.repeat(LINE_BYTES), Map::from_iter([("a".into(), 1.into())]));
            assert!(line.to_json().len() < 8 * LINE_BYTES);
        }
    }

    #[test]
    fn a_field_that_no_reader_takes_is_said_so() {
        let deep = (0..10_000).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        let fields = Map::from_iter([("deep".into(), deep), ("nul".into(), "\0".into())]);
        let line = LogLine::from_body(LogLevel::Info, "a", fields).to_json();
        assert!(
            line.contains(r#""deep":"(nested more than 100 deep)""#) && line.contains("\"nul\":\"\u{FFFD}\""),
            "{line}"
        );
    }

    #[test]
    fn a_byte_that_postgres_cannot_hold_is_shown() {
        let line = LogLine::from_body(LogLevel::Info, "a\0b", Map::new());
        assert!(line.to_json().contains("a\u{2400}b"), "{}", line.to_json());
    }
}
