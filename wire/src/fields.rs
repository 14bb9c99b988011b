//! The fields of a body, taken one by one. What is wrong with any of them is collected, so that one answer names all of it;
//! a field that nobody took is one too many.

use crate::body::{Body, FieldType};
use crate::problem::Problem;
use serde_json::{Map, Value};

/// Larger ones are not exact as floats; no number of bits that is asked for has more.
const MOST_WHOLE: f64 = 9e18;

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

    /// Of an object inside a body. Problems have their places relative to it.
    pub fn below(object: Map<String, Value>) -> Fields {
        Fields { at: Vec::new(), ..Fields::new(object) }
    }

    /// Takes a field. `None`: it is missing or wrong, and the problem is noted.
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

    /// Reads a whole body, and refuses fields that it does not have.
    pub fn whole<B: Body>(mut self) -> Result<B, Invalid> {
        let body = B::take(&mut self);
        self.finish()?;
        // A body that was not read has noted a problem, and `finish` has returned it.
        body.ok_or_else(|| Invalid(Vec::new()))
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

    pub fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// What does not hold between fields.
    pub fn refuse(&mut self, problem: Problem) {
        self.note(problem);
    }

    /// All fields were taken, and nothing is wrong with them.
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
