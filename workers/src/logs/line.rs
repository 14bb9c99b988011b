//! One line of a log, as it is stored: a JSON object with when, how grave, what, and fields.

use crate::mask;
use chrono::{DateTime, SecondsFormat, Utc};
use orch_core::task::LogLevel;
use serde_json::{Map, Value};

/// Longer texts are cut: one line must not fill a log.
const LINE_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) at: DateTime<Utc>,
    pub(crate) level: LogLevel,
    pub(crate) logger: String,
    pub(crate) event: String,
    pub(crate) fields: Map<String, Value>,
}

impl Line {
    pub(crate) fn new(level: LogLevel, logger: &str, event: String, fields: Map<String, Value>) -> Self {
        Line { at: now(), level, logger: logger.into(), event, fields }
    }

    pub(crate) fn about_the_log(event: String) -> Self {
        Line::new(LogLevel::Warning, "orch", event, Map::new())
    }

    /// Without what is secret. Costs nothing until something is.
    pub(super) fn masked_json(&self) -> String {
        let Some(masker) = mask::masker() else { return self.to_json() };
        let mut fields = self.fields.clone();
        masker.mask_fields(&mut fields);
        let logger = masker.mask(&self.logger).into_owned();
        Line { event: masker.mask(&self.event).into_owned(), fields, logger, ..*self }.to_json()
    }

    pub(crate) fn to_json(&self) -> String {
        let mut line = Map::new();
        line.insert("timestamp".into(), self.at.to_rfc3339_opts(SecondsFormat::Micros, true).into());
        line.insert("level".into(), self.level.as_str().into());
        line.insert("logger".into(), self.logger.as_str().into());
        line.insert("event".into(), cut(&self.event).into());
        for (key, value) in &self.fields {
            line.entry(key.as_str()).or_insert_with(|| value.clone());
        }
        let text = Value::Object(line).to_string();
        if text.len() <= 2 * LINE_BYTES {
            return text;
        }
        let bare = Line { fields: Map::new(), logger: self.logger.clone(), event: self.event.clone(), ..*self };
        bare.to_json()
    }
}

fn cut(text: &str) -> String {
    // Postgres text holds no NUL; everything else a body says is kept as it is.
    let text = if text.contains('\0') { text.replace('\0', "\u{2400}") } else { text.to_string() };
    if text.len() <= LINE_BYTES {
        return text;
    }
    let end = text.floor_char_boundary(LINE_BYTES);
    format!("{} … ({} bytes in all)", &text[..end], text.len())
}

#[expect(clippy::disallowed_methods, reason = "a log line carries the clock of the machine that said it")]
fn now() -> DateTime<Utc> {
    Utc::now()
}
