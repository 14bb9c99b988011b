//! Recursive-descent parser of templates.

use super::filter::{FILTERS, Filter};
use super::{Expression, From, Template, TemplatePart, TemplateProblem};
use orch_spec::names::closest;
use serde_json::{Number, Value};

pub(super) fn template(text: &str) -> Result<Template, TemplateProblem> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        if open > 0 {
            refuse_statements(&rest[..open])?;
            parts.push(TemplatePart::Text(rest[..open].into()));
        }
        let mut reader = Reader { rest: &rest[open + 2..] };
        parts.push(TemplatePart::Expression(reader.expression()?));
        rest = reader.rest;
    }
    refuse_statements(rest)?;
    if !rest.is_empty() || parts.is_empty() {
        parts.push(TemplatePart::Text(rest.into()));
    }
    Ok(Template { parts })
}

fn refuse_statements(text: &str) -> Result<(), TemplateProblem> {
    if text.contains("{%") || text.contains("{#") {
        let hint = "a template is a value with filters: decide in a task, or with `when`";
        return Err(problem("templates have no statements `{% … %}`", hint));
    }
    Ok(())
}

fn problem(message: impl Into<String>, hint: impl Into<String>) -> TemplateProblem {
    TemplateProblem { message: message.into(), hint: hint.into() }
}

/// The unparsed rest of the text.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn expression(&mut self) -> Result<Expression, TemplateProblem> {
        let whole = self.rest;
        let from = self.from()?;
        let mut filters = Vec::new();
        loop {
            self.space();
            let read = whole.len() - self.rest.len();
            if self.eat("}}") {
                return Ok(Expression { from, filters, text: whole[..read].trim().into() });
            }
            if !self.eat("|") {
                return Err(self.odd("a filter `| name`, or `}}`"));
            }
            filters.push(self.filter()?);
        }
    }

    /// Returns a problem that shows what was found in place of `expected`.
    fn odd(&self, expected: &str) -> TemplateProblem {
        let found: String = self.rest.chars().take_while(|c| *c != '\n').take(20).collect();
        if found.is_empty() {
            return problem(format!("a template ends where {expected} is expected"), "close it: `{{ params.table }}`");
        }
        problem(format!("a template has `{found}` where {expected} is expected"), HINT)
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, word: &str) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn from(&mut self) -> Result<From, TemplateProblem> {
        self.space();
        if let Some(value) = self.literal()? {
            return Ok(From::Literal(value));
        }
        let mut path = vec![self.name()?];
        loop {
            if self.eat(".") {
                path.push(self.name()?);
            } else if self.eat("[") {
                self.space();
                path.push(match self.literal()? {
                    Some(Value::String(name)) => name,
                    Some(Value::Number(place)) => place.to_string(),
                    _ => return Err(self.odd("a place or a name in quotes")),
                });
                self.space();
                if !self.eat("]") {
                    return Err(self.odd("`]`"));
                }
            } else {
                return Ok(From::Path(path));
            }
        }
    }

    fn name(&mut self) -> Result<String, TemplateProblem> {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let end = self.rest.find(|c| !is_letter(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.odd("a name"));
        }
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(name.into())
    }

    /// Reads a string in quotes, a number, `true`, `false`, `null` or `none`.
    fn literal(&mut self) -> Result<Option<Value>, TemplateProblem> {
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        if first == '"' || first == '\'' {
            let inside = &self.rest[1..];
            let end = inside.find(first).ok_or_else(|| problem("a text in a template does not end", HINT))?;
            self.rest = &inside[end + 1..];
            return Ok(Some(Value::String(inside[..end].into())));
        }
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)));
        let word = &self.rest[..end.unwrap_or(self.rest.len())];
        let value = match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" | "none" => Value::Null,
            _ if first.is_ascii_digit() || first == '-' => {
                let whole = word.parse::<i64>().ok().map(Number::from);
                let number = whole.or_else(|| word.parse::<f64>().ok().and_then(Number::from_f64));
                Value::Number(number.ok_or_else(|| self.odd("a number"))?)
            }
            _ => return Ok(None),
        };
        self.rest = &self.rest[word.len()..];
        Ok(Some(value))
    }

    fn filter(&mut self) -> Result<Filter, TemplateProblem> {
        self.space();
        let name = self.name()?;
        let mut arguments = Vec::new();
        if self.eat("(") {
            self.space();
            while !self.eat(")") {
                arguments.push(self.literal()?.ok_or_else(|| self.odd("a text in quotes, a number, or `)`"))?);
                self.space();
                if !self.eat(",") && !self.rest.starts_with(')') {
                    return Err(self.odd("`,` or `)`"));
                }
                self.space();
            }
        }
        let Some(known) = FILTERS.iter().find(|known| known.name == name) else {
            let hint = match closest(elsewhere(&name), FILTERS.iter().map(|known| known.name)) {
                Some(_) if name == "strftime" => "write `format(\"%Y-%m-%d\")`".into(),
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let names: Vec<String> = FILTERS.iter().map(|known| format!("`{}`", known.name)).collect();
                    format!("there are {}", names.join(", "))
                }
            };
            return Err(problem(format!("there is no filter `{name}`"), hint));
        };
        Filter::new(known, arguments).map_err(|message| problem(message, format!("write `{}`", known.example)))
    }
}

/// Maps filters of Jinja and Airflow to their names here.
fn elsewhere(name: &str) -> &str {
    match name {
        "strftime" | "date_format" => "format",
        "tojson" => "json",
        "fromjson" => "from_json",
        "d" => "default",
        "count" => "length",
        "ts_nodash" => "ts",
        other => other,
    }
}

const HINT: &str = "write a path with filters: `{{ params.table | default(\"orders\") }}`";
