//! Filters of a dashboard: their declaration, and the values in the query string of a page.

use super::texts;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Maximum length of a text value in characters. Values of columns that are worth filtering by are shorter.
const MOST_CHARS: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: FilterType,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub default: Option<Value>,
    /// Query with one row, whose value is the default.
    #[serde(default)]
    pub default_sql: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    pub choices: Vec<String>,
    /// Query whose first column contains the choices.
    #[serde(default)]
    pub choices_sql: Option<String>,
    #[serde(default)]
    pub minimum: Option<i64>,
    #[serde(default)]
    pub maximum: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterType {
    /// A date such as `2026-11-20`.
    Date,
    Integer,
    Text,
    Choice,
}

/// The value of a filter. An empty text in the URL means that nothing is selected (`Null`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterValue {
    Null,
    Integer(i64),
    Text(String),
    Date(NaiveDate),
}

impl Filter {
    pub fn label(&self) -> &str {
        if self.title.is_empty() { &self.name } else { &self.title }
    }

    /// Returns the default value in the form of the query string.
    pub fn default_text(&self) -> Option<String> {
        self.default.as_ref().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    /// Parses a value of the query string. The error is a message with the expected value.
    pub fn read(&self, text: &str) -> Result<FilterValue, String> {
        if text.is_empty() {
            return Ok(FilterValue::Null);
        }
        match self.data_type {
            FilterType::Date => {
                let date = text.parse().map_err(|_| format!("`{text}` is not a date: write one such as 2026-11-20"));
                date.map(FilterValue::Date)
            }
            FilterType::Integer => {
                let number: i64 = text.parse().map_err(|_| format!("`{text}` is not a whole number"))?;
                match (self.minimum, self.maximum) {
                    (Some(least), _) if number < least => Err(format!("{number} is less than {least}")),
                    (_, Some(most)) if number > most => Err(format!("{number} is more than {most}")),
                    _ => Ok(FilterValue::Integer(number)),
                }
            }
            FilterType::Choice if !self.choices.is_empty() && !self.choices.iter().any(|choice| choice == text) => {
                Err(format!("`{text}` is not one of {}", self.choices.join(", ")))
            }
            FilterType::Text | FilterType::Choice if text.chars().count() > MOST_CHARS || text.contains('\0') => {
                Err(format!("a text has at most {MOST_CHARS} characters, and no NUL"))
            }
            FilterType::Text | FilterType::Choice => Ok(FilterValue::Text(text.into())),
        }
    }

    /// Returns the wrong key, the reason and a hint.
    pub(super) fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_integer = self.data_type == FilterType::Integer;
        let is_choice = self.data_type == FilterType::Choice;
        if self.name.is_empty() || !self.name.bytes().all(is_plain) {
            return Some(("name", "it is no name".into(), "write letters, digits and `_`: queries name it `$name`"));
        }
        if !is_integer && (self.minimum.is_some() || self.maximum.is_some()) {
            return Some(("type", "only whole numbers have a `minimum` and a `maximum`".into(), "leave them out"));
        }
        if is_choice != (!self.choices.is_empty() || self.choices_sql.is_some()) {
            let message = "`choices` and `type: choice` go together".into();
            return Some(("type", message, "write both, or `choices_sql` for values of a table"));
        }
        if self.default.is_some() && self.default_sql.is_some() {
            return Some(("default_sql", "it has two defaults".into(), "leave `default` or `default_sql` out"));
        }
        let default = self.default_text()?;
        let problem = self.read(&default).err()?;
        Some(("default", problem, "write a value that a reader could choose"))
    }
}
