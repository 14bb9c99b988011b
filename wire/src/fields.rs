//! The fields of a body, taken one by one. What is wrong with any of them is collected, so that one answer names all of it;
//! a field that nobody took is one too many.

use crate::problem::Problem;
use crate::timestamp::moment;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// Larger ones are not exact as floats; no number of bits that is asked for has more.
const MOST_WHOLE: f64 = 9e18;

/// What is to be written; `None` takes away what was.
#[derive(Debug, Clone)]
pub struct Note(pub Option<String>);

/// As long as a note may be in Airflow.
const MOST_NOTE_CHARS: usize = 1_000;

/// Every mistake in a request.
#[derive(Debug)]
pub struct Invalid(pub Vec<Problem>);

#[derive(Debug)]
pub struct Fields {
    left: Map<String, Value>,
    /// As it was sent, for the fields that are missing; nothing where it must not be sent back.
    whole: Value,
    echo: bool,
    /// Where it stands: the body, or an entry of a list in it.
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

    /// Of a body that holds a secret: nothing of it comes back.
    pub fn secret(body: Map<String, Value>) -> Fields {
        Fields { whole: Value::Null, left: body, echo: false, at: vec!["body".into()], problems: Vec::new() }
    }

    /// A field that may be left out or null.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.optional(name, text)
    }

    pub fn required_text(&mut self, name: &str) -> String {
        self.required_checked(name, text)
    }

    /// A field that is read in a way of its own.
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

    pub fn moment(&mut self, name: &str) -> Option<DateTime<Utc>> {
        self.optional(name, moment)
    }

    /// The key must be there, even with null.
    pub fn required_moment(&mut self, name: &str) -> Option<DateTime<Utc>> {
        if self.require(name) { self.moment(name) } else { None }
    }

    pub fn flag(&mut self, name: &str) -> Option<bool> {
        self.optional(name, flag)
    }

    pub fn required_flag(&mut self, name: &str) -> bool {
        self.required_checked(name, flag)
    }

    pub fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// A whole number that is not below zero.
    pub fn count(&mut self, name: &str, otherwise: i64) -> i64 {
        let read = |value: &Value| match integer(value) {
            Some(number) if number >= 0 => Ok(number),
            Some(_) => Err(Problem::new("greater_than_equal", "Input should be greater than or equal to 0")
                .with_ctx(serde_json::json!({ "ge": 0 }))
                .with_input(value)),
            None => Err(Problem::new("int_type", "Input should be a valid integer").with_input(value)),
        };
        self.optional(name, read).unwrap_or(otherwise)
    }

    pub fn number(&mut self, name: &str) -> Option<f64> {
        let unlike = |value: &Value| Problem::new("float_type", "Input should be a valid number").with_input(value);
        self.optional(name, |value| value.as_f64().ok_or_else(|| unlike(value)))
    }

    /// A list of which each entry is read by itself.
    pub fn list<T>(&mut self, name: &str, read: impl Fn(&Value) -> Result<T, Problem>) -> Option<Vec<T>> {
        let value = self.left.remove(name).filter(|value| !value.is_null())?;
        let Value::Array(entries) = &value else {
            let problem = Problem::new("list_type", "Input should be a valid list").with_input(&value);
            self.say_at(problem, [name.into()]);
            return None;
        };
        let mut found = Vec::with_capacity(entries.len());
        for (place, entry) in entries.iter().enumerate() {
            match read(entry) {
                Ok(entry) => found.push(entry),
                Err(problem) => self.say_at(problem, [name.into(), place.into()]),
            }
        }
        Some(found)
    }

    /// A list of objects, each read field by field; null is none.
    pub fn objects<T>(&mut self, name: &str, read: impl Fn(&mut Fields) -> T) -> Option<Vec<T>> {
        let value = self.left.remove(name).filter(|value| !value.is_null())?;
        let Value::Array(entries) = value else {
            let problem = Problem::new("list_type", "Input should be a valid list").with_input(&value);
            self.say_at(problem, [name.into()]);
            return None;
        };
        let mut found = Vec::with_capacity(entries.len());
        for (place, entry) in entries.into_iter().enumerate() {
            let at = self.at.iter().cloned().chain([name.into(), place.into()]).collect();
            match entry {
                Value::Object(left) => {
                    let whole = Value::Object(left.clone());
                    let mut fields = Fields { left, whole, echo: self.echo, at, problems: Vec::new() };
                    found.push(read(&mut fields));
                    fields.refuse_the_rest();
                    self.problems.append(&mut fields.problems);
                }
                other => {
                    let problem = Problem::new("model_attributes_type", "Input should be a valid dictionary or object");
                    self.problems.push(problem.with_input(&other).at(at));
                }
            }
        }
        Some(found)
    }

    /// The same where the list must be there.
    pub fn required_objects<T>(&mut self, name: &str, read: impl Fn(&mut Fields) -> T) -> Vec<T> {
        if !self.require(name) {
            return Vec::new();
        }
        if self.left.get(name).is_some_and(Value::is_null) {
            self.left.remove(name);
            self.say_at(Problem::new("list_type", "Input should be a valid list"), [name.into()]);
            return Vec::new();
        }
        self.objects(name, read).unwrap_or_default()
    }

    /// Any JSON; the key must be there.
    pub fn required_value(&mut self, name: &str) -> Value {
        if self.require(name) { self.left.remove(name).unwrap_or_default() } else { Value::Null }
    }

    /// A whole number of 32 bits.
    pub fn whole(&mut self, name: &str) -> Option<i32> {
        let read = |value: &Value| match integer(value).map(i32::try_from) {
            Some(Ok(number)) => Ok(number),
            _ => Err(Problem::new("int_type", "Input should be a valid integer").with_input(value)),
        };
        self.optional(name, read)
    }

    /// One of these words.
    pub fn word(&mut self, name: &str, known: &[&'static str]) -> Option<&'static str> {
        self.optional(name, |value| one_of(value, known))
    }

    pub fn required_word(&mut self, name: &str, known: &[&'static str]) -> Option<&'static str> {
        if !self.require(name) {
            return None;
        }
        let left = self.left.get_mut(name).map(std::mem::take).unwrap_or_default();
        // Null is none of the words either.
        let shown = if left.is_null() { Value::String(String::new()) } else { left };
        self.left.insert(name.into(), shown);
        self.word(name, known)
    }

    /// Texts in a list stand for objects with this one field.
    pub fn wrap_texts(&mut self, name: &str, field: &str) {
        if let Some(Value::Array(entries)) = self.left.get_mut(name) {
            for entry in entries.iter_mut().filter(|entry| entry.is_string()) {
                *entry = Value::Object(Map::from_iter([(field.to_string(), entry.take())]));
            }
        }
    }

    /// What people write, as long as Airflow takes it.
    pub fn note(&mut self) -> Option<String> {
        let read = |value: &Value| {
            let note = text(value)?;
            let long = note.chars().count() > MOST_NOTE_CHARS;
            let msg = format!("String should have at most {MOST_NOTE_CHARS} characters");
            if long { Err(Problem::new("string_too_long", msg).with_input(value)) } else { Ok(note) }
        };
        self.optional("note", read)
    }

    pub fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        self.list(name, text)
    }

    pub fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        let value = self.left.remove(name)?;
        match value {
            Value::Null => None,
            Value::Object(map) => Some(map),
            other => {
                let problem = Problem::new("dict_type", "Input should be a valid dictionary");
                self.read(name, &other, |value| Err(problem.with_input(value)))
            }
        }
    }

    /// What does not hold between fields.
    pub fn refuse(&mut self, problem: Problem) {
        self.say_at(problem, []);
    }

    /// All fields were taken, and nothing is wrong with them.
    pub fn finish(mut self) -> Result<(), Invalid> {
        self.refuse_the_rest();
        if self.problems.is_empty() { Ok(()) } else { Err(Invalid(self.problems)) }
    }

    fn refuse_the_rest(&mut self) {
        for (name, value) in std::mem::take(&mut self.left) {
            let problem = Problem::new("extra_forbidden", "Extra inputs are not permitted");
            self.say_at(problem.with_input(&value), [name.into()]);
        }
    }

    fn require(&mut self, name: &str) -> bool {
        let there = self.left.contains_key(name);
        if !there {
            let problem = Problem::new("missing", "Field required").with_input(&self.whole);
            self.say_at(problem, [name.into()]);
        }
        there
    }

    fn optional<T>(&mut self, name: &str, read: impl FnOnce(&Value) -> Result<T, Problem>) -> Option<T> {
        let value = self.left.remove(name).filter(|value| !value.is_null())?;
        self.read(name, &value, read)
    }

    fn read<T>(&mut self, name: &str, value: &Value, read: impl FnOnce(&Value) -> Result<T, Problem>) -> Option<T> {
        read(value).map_err(|problem| self.say_at(problem, [name.into()])).ok()
    }

    fn say_at<const N: usize>(&mut self, problem: Problem, place: [Value; N]) {
        let place = self.at.iter().cloned().chain(place).collect::<Vec<_>>();
        let mut problem = problem.at(place);
        if !self.echo {
            problem.input = Value::Null;
        }
        self.problems.push(problem);
    }
}

pub fn flag(value: &Value) -> Result<bool, Problem> {
    let unlike = || Problem::new("bool_type", "Input should be a valid boolean").with_input(value);
    value.as_bool().ok_or_else(unlike)
}

/// Also one that is written with a point: `3.0` is three.
#[expect(clippy::cast_possible_truncation, reason = "it is whole, and below `MOST_WHOLE`")]
pub fn integer(value: &Value) -> Option<i64> {
    let whole = |number: &f64| number.fract() == 0.0 && number.abs() < MOST_WHOLE;
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
