//! The fields of a request body, which are removed one by one as they are read. All problems are collected, so one
//! response reports every mistake. Fields that are left at the end are reported as unknown.

use crate::body::{Body, FieldType};
use crate::problem::Problem;
use serde_json::{Map, Value};

/// Smallest number (2^53) from which a float may represent another integer than the one that was written.
const FIRST_INEXACT: f64 = 9_007_199_254_740_992.0;

/// All problems of a request body.
#[derive(Debug)]
pub struct Invalid(pub Vec<Problem>);

#[derive(Debug)]
pub struct Fields {
    left: Map<String, Value>,
    /// The object as the client sent it. Problems of missing fields echo it. Null if it may contain a secret.
    whole: Value,
    echo: bool,
    /// Path of this object in the request, which is prepended to the `loc` (path) of each problem. Empty for a nested
    /// object, because the parent adds the path.
    at: Vec<Value>,
    problems: Vec<Problem>,
}

impl Fields {
    pub fn new(body: Map<String, Value>) -> Fields {
        Fields {
            whole: Value::Object(body.clone()),
            left: body,
            echo: true,
            at: vec!["body".into()],
            problems: Vec::new(),
        }
    }

    /// Creates the fields of a body that may contain a secret. Problems do not echo its values.
    pub fn secret(body: Map<String, Value>) -> Fields {
        Fields { whole: Value::Null, left: body, echo: false, at: vec!["body".into()], problems: Vec::new() }
    }

    /// Creates the fields of an object inside a body. The `loc` (path) of each problem is relative to this object.
    pub fn below(object: Map<String, Value>) -> Fields {
        Fields { at: Vec::new(), ..Fields::new(object) }
    }

    /// Removes and parses a field. If the field is missing or invalid, records the problem and returns `None`.
    pub fn take<T: FieldType>(&mut self, name: &str) -> Option<T> {
        let Some(value) = self.left.remove(name) else {
            return T::left_out().or_else(|| {
                self.miss(name);
                None
            });
        };
        let wrong = match T::read(value) {
            Ok(value) => return Some(value),
            Err(wrong) => wrong,
        };
        wrong.into_iter().for_each(|problem| self.note(problem.below(name)));
        None
    }

    /// Parses a complete body. Rejects unknown fields.
    pub fn whole<B: Body>(mut self) -> Result<B, Invalid> {
        let body = B::take(&mut self);
        self.finish()?;
        // If `body` is `None`, a problem was recorded, so `finish` has already returned an error.
        body.ok_or_else(|| Invalid(Vec::new()))
    }

    /// Removes an optional field and parses it with `read`. Null counts as missing.
    pub fn checked<T>(&mut self, name: &str, read: impl FnOnce(&Value) -> Result<T, Problem>) -> Option<T> {
        self.optional(name, read)
    }

    pub fn required_checked<T: Default>(&mut self, name: &str, read: impl FnOnce(&Value) -> Result<T, Problem>) -> T {
        if !self.require(name) {
            return T::default();
        }
        let value = self.left.remove(name).unwrap_or_default();
        self.read(name, &value, read).unwrap_or_default()
    }

    pub fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// Records a problem, for example if several fields together violate a rule.
    pub fn refuse(&mut self, problem: Problem) {
        self.note(problem);
    }

    /// Returns all problems, including those of fields that were not read and are therefore unknown.
    pub fn finish(mut self) -> Result<(), Invalid> {
        self.refuse_the_rest();
        if self.problems.is_empty() { Ok(()) } else { Err(Invalid(self.problems)) }
    }

    fn refuse_the_rest(&mut self) {
        for (name, value) in std::mem::take(&mut self.left) {
            let problem = Problem::new("extra_forbidden", "Extra inputs are not permitted");
            self.note(problem.with_input(&value).below(name));
        }
    }

    fn require(&mut self, name: &str) -> bool {
        let there = self.left.contains_key(name);
        if !there {
            self.miss(name);
        }
        there
    }

    fn miss(&mut self, name: &str) {
        self.note(Problem::new("missing", "Field required").with_input(&self.whole).below(name));
    }

    fn optional<T>(&mut self, name: &str, read: impl FnOnce(&Value) -> Result<T, Problem>) -> Option<T> {
        let value = self.left.remove(name).filter(|value| !value.is_null())?;
        self.read(name, &value, read)
    }

    fn read<T>(&mut self, name: &str, value: &Value, read: impl FnOnce(&Value) -> Result<T, Problem>) -> Option<T> {
        read(value).map_err(|problem| self.note(problem.below(name))).ok()
    }

    fn note(&mut self, problem: Problem) {
        let loc = self.at.iter().chain(&problem.loc).cloned().collect();
        let input = if self.echo { problem.input } else { Value::Null };
        self.problems.push(Problem { loc, input, ..problem });
    }
}

pub fn flag(value: &Value) -> Result<bool, Problem> {
    let unlike = || Problem::new("bool_type", "Input should be a valid boolean").with_input(value);
    value.as_bool().ok_or_else(unlike)
}

/// Returns the value as an integer. A float such as `3.0` is accepted if its absolute value is less than 2^53, because
/// larger floats may already be rounded. `None` for other values.
#[expect(clippy::cast_possible_truncation, reason = "the number is whole and less than `FIRST_INEXACT`")]
pub fn integer(value: &Value) -> Option<i64> {
    let whole = |number: &f64| number.fract() == 0.0 && number.abs() < FIRST_INEXACT;
    value.as_i64().or_else(|| value.as_f64().filter(whole).map(|number| number as i64))
}

pub(crate) fn one_of(value: &Value, known: &[&'static str]) -> Result<&'static str, Problem> {
    match value.as_str().and_then(|text| known.iter().find(|word| **word == text)) {
        Some(word) => Ok(*word),
        None => {
            let msg = format!("Input should be one of '{}'", known.join("', '"));
            Err(Problem::new("enum", msg).with_input(value))
        }
    }
}

pub fn text(value: &Value) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err(Problem::new("string_type", "Input should be a valid string").with_input(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_that_was_rounded_is_not_accepted() {
        for (sent, expected) in [
            ("3", Some(3)),
            ("3.0", Some(3)),
            ("-3e2", Some(-300)),
            ("9007199254740991.0", Some(9_007_199_254_740_991)),
            ("9007199254740993", Some(9_007_199_254_740_993)),
            ("9223372036854775807", Some(i64::MAX)),
            // JSON parsers read this number as 9007199254740992.
            ("9007199254740993.0", None),
            ("-9007199254740993.0", None),
            ("1e18", None),
            ("9223372036854775808", None),
            ("3.5", None),
            (r#""3""#, None),
        ] {
            let value: Value = serde_json::from_str(sent).expect("JSON");
            assert_eq!(integer(&value), expected, "{sent}");
        }
    }
}
