//! Templates in the fields of a task: `{{ params.table }}`, `{{ run.logical_date | ds }}`. A template is a path or a
//! literal with filters; there are no calls, loops, conditions or other code.
//!
//! A field that consists of one template gets the value with its type; inside other text, a value is written as text. A
//! missing value is an error, never an empty text: `| default(…)` provides another value.

pub(super) mod airflow;
mod filter;
mod names;
mod parse;

pub use filter::{FILTERS, FilterInfo};
pub use names::{Names, RUN_FIELDS, TASK_FIELDS, upstream};

use filter::{Filter, MOST_BYTES, size, too_long};
use orch_sdk::secret::{is_sensitive, secrets_in};
use serde_json::Value;
use std::fmt;

/// A text that may contain templates.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<TemplatePart>,
}

#[derive(Debug, Clone, PartialEq)]
enum TemplatePart {
    Text(String),
    Expression(Expression),
}

/// The content of the braces.
#[derive(Debug, Clone, PartialEq)]
struct Expression {
    from: From,
    filters: Vec<Filter>,
    /// The source text, for errors.
    text: String,
}

#[derive(Debug, Clone, PartialEq)]
enum From {
    Literal(Value),
    Path(Vec<String>),
}

/// The reason why a text is not a valid template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateProblem {
    pub message: String,
    pub hint: String,
}

impl fmt::Display for TemplateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nhint: {}", self.message, self.hint)
    }
}

/// The names that paths can start with.
pub const ROOTS: [&str; 8] = ["run", "task", "params", "conf", "upstream", "element", "map_index", "var"];

impl Template {
    /// Parses a text. Rejects braces that do not close, unknown filters and invalid paths.
    pub fn parse(text: &str) -> Result<Template, TemplateProblem> {
        parse::template(text)
    }

    /// Returns every path in the text.
    pub fn paths(&self) -> impl Iterator<Item = &[String]> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Expression(Expression { from: From::Path(path), .. }) => Some(path.as_slice()),
            _ => None,
        })
    }

    /// Returns whether at least one path starts with a known name.
    pub fn names_something(&self) -> bool {
        self.paths().any(|path| path.first().is_some_and(|first| ROOTS.contains(&first.as_str())))
    }

    /// Returns the path if the text consists of a path without filters.
    pub fn only_path(&self) -> Option<&[String]> {
        match self.parts.as_slice() {
            [TemplatePart::Expression(Expression { from: From::Path(path), filters, .. })] if filters.is_empty() => {
                Some(path)
            }
            _ => None,
        }
    }

    /// Renders the text. Fails if a value is missing or not accepted by a filter.
    pub fn render(&self, names: &Names) -> Result<Value, String> {
        if let [TemplatePart::Expression(only)] = self.parts.as_slice() {
            return only.value(names);
        }
        let mut text = String::new();
        for part in &self.parts {
            match part {
                TemplatePart::Text(words) => text.push_str(words),
                TemplatePart::Expression(expression) => match expression.value(names)? {
                    Value::Null => {
                        return Err(format!(
                            "`{{{{ {} }}}}` is null within a text: say `| default(\"…\")`",
                            expression.text
                        ));
                    }
                    Value::String(words) => text.push_str(&words),
                    other => text.push_str(&other.to_string()),
                },
            }
            if text.len() > MOST_BYTES {
                return Err(too_long());
            }
        }
        Ok(Value::String(text))
    }
}

impl Expression {
    fn value(&self, names: &Names) -> Result<Value, String> {
        let mut value = match &self.from {
            From::Literal(value) => Some(value.clone()),
            From::Path(path) => names.find(path),
        };
        for filter in &self.filters {
            value = match filter.apply(value) {
                Ok(value) => value,
                Err(problem) => return Err(format!("`{{{{ {} }}}}`: {problem}", self.text)),
            };
        }
        value.ok_or_else(|| format!("`{{{{ {} }}}}` is not there: say `| default(…)`, or mend the name", self.text))
    }
}

/// Renders the templates in all strings of a value. Fails with the first error, or if the result is too large.
pub fn render(value: &Value, names: &Names) -> Result<Value, String> {
    rendered(value, names, &mut { MOST_BYTES })
}

fn rendered(value: &Value, names: &Names, left: &mut usize) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) if text.contains("{{") => {
            let made = Template::parse(text).map_err(|problem| problem.message)?.render(names)?;
            *left = left.checked_sub(size(&made)).ok_or_else(too_long)?;
            made
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| rendered(item, names, left)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| Ok((key.clone(), rendered(value, names, left)?)))
                .collect::<Result<_, String>>()?,
        ),
        other => other.clone(),
    })
}

/// Collects every path in the strings of a value.
pub fn paths(value: &Value, found: &mut Vec<Vec<String>>) {
    match value {
        Value::String(text) if text.contains("{{") => {
            if let Ok(template) = Template::parse(text) {
                found.extend(template.paths().map(<[String]>::to_vec));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, found)),
        Value::Object(fields) => fields.values().for_each(|value| paths(value, found)),
        _ => {}
    }
}

/// Returns the values that filters produce from secret variables. A mask that only knows the secret itself would not
/// find them.
pub fn filtered_secrets(value: &Value, names: &Names) -> Vec<String> {
    match value {
        Value::String(text) if text.contains("{{") => {
            let expressions = Template::parse(text).map_or_else(|_| Vec::new(), |template| template.parts);
            expressions.into_iter().flat_map(|part| part.filtered_secrets(names)).collect()
        }
        Value::Array(items) => items.iter().flat_map(|item| filtered_secrets(item, names)).collect(),
        Value::Object(fields) => fields.values().flat_map(|value| filtered_secrets(value, names)).collect(),
        _ => Vec::new(),
    }
}

/// Returns the secrets that templates brought into a rendered value: everything below sensitive names, the values of
/// paths with sensitive names, and bearer tokens.
pub fn rendered_secrets(value: &Value, rendered: &Value, names: &Names) -> Vec<String> {
    let mut found = Vec::new();
    collect_rendered((value, rendered), names, false, &mut found);
    found
}

fn collect_rendered((value, rendered): (&Value, &Value), names: &Names, is_secret: bool, found: &mut Vec<String>) {
    match (value, rendered) {
        (Value::String(text), _) if text.contains("{{") => {
            let written = as_words(rendered);
            found.extend(secrets_in(is_secret, &written));
            found.extend(credential(&written, is_secret).map(String::from));
            let template = Template::parse(text).ok();
            let paths = template.iter().flat_map(Template::paths);
            let values =
                paths.filter(|path| path.iter().any(|name| is_sensitive(name))).filter_map(|path| names.find(path));
            found.extend(values.flat_map(|value| secrets_in(true, &as_words(&value))));
        }
        (Value::Array(items), Value::Array(made)) => {
            items.iter().zip(made).for_each(|pair| collect_rendered(pair, names, is_secret, found));
        }
        (Value::Object(fields), Value::Object(made)) => {
            let pairs = fields.iter().filter_map(|(name, value)| Some((name, (value, made.get(name)?))));
            pairs.for_each(|(name, pair)| collect_rendered(pair, names, is_secret || is_sensitive(name), found));
        }
        _ => {}
    }
}

/// Returns the token of `Bearer …` anywhere in a text, or the part after the scheme in the value of a sensitive header.
fn credential(text: &str, is_secret: bool) -> Option<&str> {
    let mut words = text.split([' ', '\t', '\n', '"', '\'']).filter(|word| !word.is_empty());
    if is_secret {
        return words.nth(1);
    }
    words.find(|word| word.eq_ignore_ascii_case("bearer"))?;
    words.next()
}

fn as_words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl TemplatePart {
    fn filtered_secrets(&self, names: &Names) -> Vec<String> {
        let TemplatePart::Expression(expression @ Expression { from: From::Path(path), filters, .. }) = self else {
            return Vec::new();
        };
        if filters.is_empty() || variable(path).is_none() {
            return Vec::new();
        }
        let holds_secret = || names.find(path).is_some_and(|found| !secrets_in(false, &as_words(&found)).is_empty());
        match expression.value(names) {
            Ok(value) if path.iter().any(|name| is_sensitive(name)) || holds_secret() => {
                secrets_in(true, &as_words(&value))
            }
            _ => Vec::new(),
        }
    }
}

/// Returns the variable of a path that starts with `var`, the path inside its JSON, and whether it is read as JSON.
pub fn variable(path: &[String]) -> Option<(&str, &[String], bool)> {
    match path {
        [var, how, name, rest @ ..] if var == "var" && how == "json" => Some((name, rest, true)),
        [var, how, name] if var == "var" && how == "value" => Some((name, &[], false)),
        [var, name] if var == "var" => Some((name, &[], false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
