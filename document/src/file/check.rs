//! Checks a document against the table of keys: unknown and missing keys, values of a wrong shape, and invalid
//! templates. Later steps can rely on the shapes.

mod programs;

use super::Problems;
use super::keys::{self, ELSEWHERE, GROUP, KINDS, Key, OPTIONS, SENSOR, SENSORS, Shape, TASK};
use super::node::{Mark, Node, NodeKind};
use super::template::Template;
use super::template::airflow::{Jinja, in_orch, is_connection, template_in_program};
use crate::sql;
use orch_spec::names::closest;
use orch_spec::params::{is_rule, violations};
pub(super) use programs::how_to_connect;
use programs::{how_to_decide, how_to_pass};
use serde_json::Value;

pub(super) fn document(document: &Node, problems: &mut Problems<'_>) {
    Checker { problems }.object(document, &[keys::DAG, keys::DAG_OPTIONS], "a DAG");
}

/// Checks a document of another kind. `whose` names it in messages.
pub(super) fn keys(document: &Node, keys: &'static [Key], whose: &str, problems: &mut Problems<'_>) {
    Checker { problems }.object(document, &[keys], whose);
}

struct Checker<'a, 'p> {
    problems: &'a mut Problems<'p>,
}

impl Checker<'_, '_> {
    /// Checks an object that may only have these keys. `whose` names it in messages.
    fn object(&mut self, node: &Node, tables: &[&'static [Key]], whose: &str) {
        let NodeKind::Map(entries) = &node.kind else {
            let hint = match &node.kind {
                NodeKind::List(_) => {
                    "remove the `- ` (or `[ ]`), and write `key: value` lines that begin in the same column"
                }
                NodeKind::Scalar(_) | NodeKind::Map(_) => "write `key: value` lines",
            };
            return self.wrong(node, whose, hint);
        };
        let known = || tables.iter().flat_map(|table| table.iter());
        // A required key with a wrong name is reported once: as unknown, with the right name.
        let mut misspelt: Vec<&str> = Vec::new();
        for (key, value) in entries {
            match known().find(|known| known.name == key.text) {
                Some(known) => self.value(value, known.shape, &format!("`{}`", key.text)),
                None => misspelt.extend(self.unknown(key.mark, &key.text, whose, known().map(|known| known.name))),
            }
        }
        let required = known().filter(|key| key.required && !misspelt.contains(&key.name));
        for missing in required.filter(|key| node.get(key.name).is_none()) {
            self.problems.add(node.mark, format!("`{}` is missing in {whose}", missing.name), how_to_add(missing));
        }
    }

    /// Reports an unknown key. Returns the known key that the hint suggests instead.
    fn unknown<'k>(
        &mut self,
        mark: Mark,
        key: &str,
        whose: &str,
        known: impl Iterator<Item = &'k str>,
    ) -> Option<&'k str> {
        let known: Vec<&'k str> = known.collect();
        let elsewhere = ELSEWHERE.iter().find(|(other, here)| *other == key && known.contains(here));
        let (elsewhere, near) = (elsewhere.map(|(_, here)| *here), closest(key, known.iter().copied()));
        let hint = match (elsewhere, near) {
            (Some(here), _) => format!("here it is called `{here}`"),
            (None, Some(near)) => format!("did you mean `{near}`?"),
            (None, None) if key == "<<" => "merge keys are not read: repeat the keys, or use `defaults`".into(),
            (None, None) if known.len() > MAX_LISTED => "`orch dags schema` prints all keys, for editors too".into(),
            (None, None) => format!("{whose} has the keys {}", list(&known)),
        };
        self.problems.add(mark, format!("unknown key `{key}` in {whose}"), hint);
        elsewhere.or(near)
    }

    fn wrong(&mut self, node: &Node, what: &str, hint: impl Into<String>) {
        let message =
            if node.is_null() { format!("{what} has no value") } else { format!("{what} cannot be {}", node.what()) };
        self.problems.add(node.mark, message, hint);
    }

    fn value(&mut self, node: &Node, shape: &'static Shape, what: &str) {
        match (shape, &node.kind) {
            (Shape::Any, _) => {}
            (Shape::Either(shapes), _) => match shapes.iter().find(|shape| shape.could_be(node)) {
                Some(shape) => self.value(node, shape, what),
                None => self.wrong(node, what, expected(shape)),
            },
            (Shape::Object(table), _) => self.object(node, &[table], what),
            (Shape::Table(inner), NodeKind::Map(entries)) => {
                entries.iter().for_each(|(key, value)| self.value(value, inner, &inside(what, &key.text)));
            }
            (Shape::List(inner), NodeKind::List(items)) => {
                items.iter().for_each(|item| self.value(item, inner, &format!("an entry of {what}")));
            }
            (Shape::Tasks, _) => self.tasks(node, what),
            (Shape::Sensor, _) => self.sensor(node, true),
            (Shape::Condition, _) => self.condition(node, what),
            (Shape::Param, NodeKind::Map(_)) => self.param(node, what),
            (Shape::Param, _) => {}
            (Shape::Templates, _) => self.templates(node, what),
            (shape, NodeKind::Scalar(value)) => self.scalar(node, value, shape, what),
            (shape, _) => self.wrong(node, what, expected(shape)),
        }
    }

    fn scalar(&mut self, node: &Node, value: &Value, shape: &'static Shape, what: &str) {
        let fits = match shape {
            Shape::Nothing => value.is_null(),
            Shape::Flag => value.is_boolean(),
            Shape::Count => value.as_u64().is_some_and(|count| u32::try_from(count).is_ok()),
            Shape::Whole => value.as_i64().is_some_and(|whole| i32::try_from(whole).is_ok()),
            Shape::Number => value.is_number(),
            Shape::Time => time_ms(value).is_some(),
            Shape::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Shape::Text | Shape::Program | Shape::Date => !value.is_null() && !value.is_boolean(),
            Shape::Template | Shape::Argument => !value.is_null(),
            _ => false,
        };
        if !fits {
            let message = match value {
                Value::Null => format!("{what} has no value"),
                other => format!("{what} cannot be `{}`", text_of(other)),
            };
            let hint = match (shape, value) {
                (Shape::Word(words), Value::String(word)) => {
                    let elsewhere = WORDS_ELSEWHERE.iter().find(|(other, here)| other == word && words.contains(here));
                    let near = elsewhere.map(|(_, here)| *here).or_else(|| closest(word, words.iter().copied()));
                    near.map(|near| format!("did you mean `{near}`?"))
                }
                _ => None,
            };
            let hint = hint.unwrap_or_else(|| expected(shape));
            return self.problems.add(node.mark, message, hint);
        }
        match (shape, value) {
            (Shape::Template | Shape::Argument, Value::String(text)) => self.template(node, text, what),
            (Shape::Text, Value::String(text)) if text.contains("{{") => {
                let hint = "give the value by `env`, `args` or `params`, where templates are rendered";
                self.problems.add(node.mark, format!("in {what} templates are not rendered"), hint);
            }
            (Shape::Program, Value::String(text)) => self.program(node, text, what),
            _ => {}
        }
    }

    /// Checks the text of a program, which is passed unchanged. A template of Airflow or orch in it is an error,
    /// because the program would receive it as text.
    fn program(&mut self, node: &Node, text: &str, what: &str) {
        match template_in_program(text) {
            Some(Jinja::Expression(expression)) => {
                let message = format!("in {what} templates are not rendered: `{{{{ {} }}}}`", short(expression));
                self.problems.add(node.mark, message, how_to_pass(what, text, expression));
            }
            Some(Jinja::Statement(statement)) => {
                let message = format!("in {what} templates are not rendered: `{}`", short(statement));
                self.problems.add(node.mark, message, how_to_decide(what, statement));
            }
            None => {}
        }
        if what == "`statement`" {
            let count = sql::statements(text).len();
            if count != 1 {
                let message = format!(
                    "`statement` has {} statements, not one",
                    if count == 0 { "no".into() } else { count.to_string() }
                );
                let hint = "write a task for each statement, or one `do $$ begin …; …; end $$`";
                self.problems.add(node.mark, message, hint);
            }
        }
    }

    fn template(&mut self, node: &Node, text: &str, what: &str) {
        if let Err(problem) = Template::parse(text) {
            let hint = match template_in_program(text) {
                Some(Jinja::Expression(expression)) if is_connection(expression) => how_to_connect(what, expression),
                Some(Jinja::Expression(expression)) => match in_orch(expression) {
                    Some(orch) if orch != expression => format!("write `{{{{ {orch} }}}}`"),
                    _ => problem.hint,
                },
                _ => problem.hint,
            };
            self.problems.add(node.mark, format!("{what}: {}", problem.message), hint);
        }
    }

    /// Checks the templates in all strings of a value.
    fn templates(&mut self, node: &Node, what: &str) {
        match &node.kind {
            NodeKind::Scalar(Value::String(text)) => self.template(node, text, what),
            NodeKind::Scalar(_) => {}
            NodeKind::List(items) => items.iter().for_each(|item| self.templates(item, what)),
            NodeKind::Map(entries) => entries.iter().for_each(|(_, value)| self.templates(value, what)),
        }
    }

    fn tasks(&mut self, node: &Node, what: &str) {
        if matches!(node.kind, NodeKind::List(_)) {
            return self.wrong(node, what, "name each task by its key: `tasks: {extract: {bash: …}}`, without `-`");
        }
        let NodeKind::Map(entries) = &node.kind else {
            return self.wrong(node, what, "name each task by its key: `extract: {bash: …}`");
        };
        for (name, task) in entries {
            if task.get("tasks").is_some() {
                self.object(task, &[GROUP, OPTIONS], &format!("group `{}`", name.text));
            } else {
                self.task(task, &name.text);
            }
        }
    }

    fn task(&mut self, node: &Node, name: &str) {
        let whose = format!("task `{name}`");
        let NodeKind::Map(entries) = &node.kind else {
            let is_key =
                KINDS.iter().any(|kind| kind.name == name) || TASK.iter().chain(OPTIONS).any(|key| key.name == name);
            let hint = if is_key {
                format!("`{name}` is a key of a task: indent it below the name of its task")
            } else {
                "write what it does below it, for example `bash: echo hello`".into()
            };
            return self.wrong(node, &whose, hint);
        };
        let kinds: Vec<_> = entries
            .iter()
            .filter_map(|(key, value)| KINDS.iter().find(|kind| kind.name == key.text).map(|kind| (key, value, kind)))
            .collect();
        for (_, value, kind) in &kinds {
            self.value(value, &kind.shape, &format!("`{}`", kind.name));
            self.one_way(value, kind.name);
        }
        let known = || TASK.iter().chain(OPTIONS);
        let mut unknown_operator = false;
        for (key, value) in entries {
            if kinds.iter().any(|(kind, ..)| kind.text == key.text) {
                continue;
            }
            match known().find(|known| known.name == key.text) {
                Some(known) => self.value(value, known.shape, &format!("`{}`", key.text)),
                None if kinds.is_empty() && is_unknown_operator(&key.text) => {
                    unknown_operator = true;
                    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
                    let (message, hint) = if ["operator", "type", "kind", "uses"].contains(&key.text.as_str()) {
                        let hint: String = "the name of the operator is the key: `bash: echo hello`".into();
                        (format!("unknown key `{}` in {whose}", key.text), hint)
                    } else {
                        let names = list(&names);
                        let hint =
                            format!("the operators are {names}; other tools run by `bash`, `python` or `container`");
                        (format!("{whose}: there is no operator `{}`", key.text), hint)
                    };
                    self.problems.add(key.mark, message, hint);
                }
                None => {
                    let names = known().map(|known| known.name).chain(KINDS.iter().map(|kind| kind.name));
                    self.unknown(key.mark, &key.text, &whose, names.collect::<Vec<_>>().into_iter());
                }
            }
        }
        match kinds.as_slice() {
            [_] => {}
            [] if unknown_operator => {}
            [] => {
                let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
                self.problems.add(
                    node.mark,
                    format!("{whose} does nothing"),
                    format!("give it one of {}", list(&names)),
                );
            }
            [(_, _, first), (second, _, other), ..] => {
                let message = format!("{whose} is both `{}` and `{}`", first.name, other.name);
                self.problems.add(second.mark, message, "split it into two tasks");
            }
        }
    }

    /// Checks keys of a kind that exclude each other.
    fn one_way(&mut self, node: &Node, kind: &str) {
        let ways: &[&str] = match kind {
            "python" => &["script", "file"],
            "branch" | "short_circuit" => &["on", "bash", "python"],
            _ => return,
        };
        if !matches!(node.kind, NodeKind::Map(_)) {
            return;
        }
        let given: Vec<&str> = ways.iter().copied().filter(|way| node.get(way).is_some()).collect();
        let choices = ["cases", "otherwise"].into_iter().find(|key| kind == "branch" && node.get(key).is_some());
        match (given.as_slice(), choices) {
            ([], Some(choices)) => {
                let message = format!("`branch` has `{choices}` but no `on`, the value that chooses between the tasks");
                self.problems.add(node.mark, message, "add for example `on: \"{{ params.region }}\"`");
            }
            ([], None) => {
                let example = match kind {
                    "python" => "file: load.py",
                    "branch" => "on: \"{{ params.region }}\"",
                    _ => "on: \"{{ params.is_open }}\"",
                };
                let message = format!("`{kind}` needs one of {}", list(ways));
                self.problems.add(node.mark, message, format!("add for example `{example}`"));
            }
            ([way @ ("bash" | "python")], Some(choices)) => {
                let message = format!("`branch` has both `{way}` and `{choices}`");
                let hint = format!(
                    "remove `{choices}`: the last line that `{way}` prints names the tasks; or replace `{way}` by `on`"
                );
                self.problems.add(node.mark, message, hint);
            }
            ([_], _) => {}
            (several, _) => {
                let message = format!("`{kind}` has {}, which exclude each other", list(several));
                self.problems.add(node.mark, message, "keep one of them");
            }
        }
        if kind == "python" && node.get("venv").is_some() && node.get("interpreter").is_some() {
            self.problems.add(node.mark, "`python` has both `venv` and `interpreter`", "say one of them");
        }
    }

    fn sensor(&mut self, node: &Node, outermost: bool) {
        let around: &'static [Key] = if outermost { SENSOR } else { &[] };
        self.object(node, &[SENSORS, around], "a sensor");
        let names = SENSORS.iter().map(|key| key.name);
        let given: Vec<&str> = names.clone().filter(|name| node.get(name).is_some()).collect();
        if given.len() != 1 && matches!(node.kind, NodeKind::Map(_)) {
            let message = if given.is_empty() {
                "a sensor waits for nothing".into()
            } else {
                format!("a sensor waits for several things: {}", list(&given))
            };
            let names = list(&names.collect::<Vec<_>>());
            self.problems.add(
                node.mark,
                message,
                format!("write one of {names}; `any` and `all` take a list of several"),
            );
        }
        if let Some(time) = node.get("time") {
            let said = ["at", "after", "time_of_day"].iter().filter(|key| time.get(key).is_some()).count();
            if said != 1 {
                self.problems.add(time.mark, "`time` is no time", "say one of `at`, `after` and `time_of_day`");
            }
        }
        if let Some(dag) = node.get("dag") {
            if !outermost {
                let hint = "make it a sensor of its own, and let this task run `after` both";
                self.problems.add(dag.mark, "`dag` stands inside `any` or `all`", hint);
            }
            if ["earlier", "run_id", "within"].iter().filter(|key| dag.get(key).is_some()).count() > 1 {
                let hint = "say at most one of `earlier`, `run_id` and `within`";
                self.problems.add(dag.mark, "`dag` names its run in several ways", hint);
            }
        }
        // Only the outermost sensor may have a timeout.
        for inner in ["any", "all"].iter().filter_map(|key| node.get(key)).flat_map(Node::items) {
            if inner.get("timeout").is_some() {
                self.problems.add(inner.mark, "`timeout` stands inside `any` or `all`", "say it for the whole sensor");
            }
        }
    }

    /// Checks the assets that a schedule waits for.
    fn condition(&mut self, node: &Node, what: &str) {
        match &node.kind {
            NodeKind::Scalar(Value::String(_)) => {}
            NodeKind::List(items) => items.iter().for_each(|item| self.condition(item, what)),
            NodeKind::Map(entries) if entries.len() == 1 && matches!(entries[0].0.text.as_str(), "all" | "any") => {
                self.condition(&entries[0].1, what);
            }
            NodeKind::Map(_) => self.value(node, &keys::ASSET, what),
            NodeKind::Scalar(_) => self.wrong(node, what, "name an asset by its URI: `lake://gold/sales`"),
        }
    }

    fn param(&mut self, node: &Node, what: &str) {
        let is_schema = |key: &str, value: &Node| key == "default" || is_rule(key, &value.json());
        if !node.entries().iter().any(|(key, value)| is_schema(&key.text, value)) {
            let hint = "a JSON Schema has a `type`; an object as default is `{type: object, default: {…}}`";
            self.problems.add(node.mark, format!("{what} is an object but not a JSON Schema"), hint);
        }
        if let (Some(default), schema) = (node.get("default"), node.json())
            && let Some(problem) = violations(&schema, &default.json()).first()
        {
            self.problems.add(
                default.mark,
                format!("the default of {what} does not fit its schema: {problem}"),
                "write a default that fits, or change the schema",
            );
        }
    }
}

/// Returns the path of a key in a value: `` `params.limit` `` for `limit` in `` `params` ``.
fn inside(what: &str, key: &str) -> String {
    format!("{}.{key}`", what.trim_end_matches('`'))
}

/// Returns the first characters of a text in one line.
fn short(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Returns a scalar of a DAG file as text: a string unchanged, any other value in its JSON form.
pub(super) fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

/// Returns a duration in milliseconds. A string is one such as `5m`, a number is in seconds.
pub(crate) fn time_ms(value: &Value) -> Option<u64> {
    if let Some(seconds) = value.as_f64() {
        let ms = seconds * 1e3;
        return (ms.is_finite() && (0.0..1e18).contains(&ms)).then_some(ms.round() as u64);
    }
    let text = value.as_str()?.trim();
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
        let (number, behind) = rest.split_at(digits);
        let unit = behind.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(ms)?)?;
        rest = behind.trim_start();
    }
    (!text.is_empty()).then_some(total)
}

/// Maximum number of keys that a hint lists.
const MAX_LISTED: usize = 20;

/// Values of other orchestrators, and the corresponding value here.
const WORDS_ELSEWHERE: &[(&str, &str)] = &[
    ("all_finished", "all_done"),
    ("all_completed", "all_done"),
    ("all_complete", "all_done"),
    ("finished", "all_done"),
    ("all_succeeded", "all_success"),
    ("one_finished", "one_done"),
    ("one_completed", "one_done"),
    ("any_success", "one_success"),
    ("any_failed", "one_failed"),
    ("dummy", "always"),
];

/// Returns whether a key of a task is neither a known key nor similar to one.
fn is_unknown_operator(key: &str) -> bool {
    let names = || TASK.iter().chain(OPTIONS).map(|key| key.name).chain(KINDS.iter().map(|kind| kind.name));
    let is_elsewhere = ELSEWHERE.iter().any(|(other, here)| *other == key && names().any(|name| name == *here));
    key != "<<" && !is_elsewhere && closest(key, names()).is_none()
}

/// Returns a line of YAML that adds a missing key.
fn how_to_add(missing: &Key) -> String {
    let example = match (missing.name, missing.shape) {
        ("dag_id", _) => "nightly_sales",
        ("tasks", _) => "{hello: {bash: echo hello}}",
        ("command", _) => "echo hello",
        ("connection", _) => "warehouse",
        ("columns", _) => "[{name: id, type: integer}]",
        ("panels", _) => "[{title: Orders, type: figure, sql: select count(*) from shop.orders}]",
        ("statement" | "sql", _) => "'select 1'",
        ("url", _) => "https://example.org/orders",
        ("image", _) => "alpine:3",
        ("application", _) => "jobs/clean.py",
        ("subject", _) => "Publish the orders?",
        ("path" | "from", _) => "/in/*.csv",
        ("to", _) => "/out",
        ("uri", _) => "lake://gold/sales",
        ("param", _) => "region",
        ("after", _) => "2h",
        (_, Shape::Count | Shape::Whole | Shape::Number) => "1",
        (_, Shape::Time) => "5m",
        (_, Shape::Flag) => "true",
        (_, Shape::List(_)) => "[…]",
        (_, Shape::Object(_) | Shape::Table(_)) => "{…}",
        (_, Shape::Word(words)) => words.first().copied().unwrap_or("…"),
        _ => "…",
    };
    format!("add a line such as `{}: {example}`", missing.name)
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Text | Shape::Program => "write a text; quote what looks like something else".into(),
        Shape::Template | Shape::Argument => "write a text; templates stand in quotes: `\"{{ params.x }}\"`".into(),
        Shape::Templates | Shape::Any | Shape::Param => "write any value".into(),
        Shape::Nothing => "write `null`".into(),
        Shape::Flag => "write true or false".into(),
        Shape::Count => "write a whole number, 0 or more".into(),
        Shape::Whole => "write a whole number".into(),
        Shape::Number => "write a number".into(),
        Shape::Time => "write a time such as `30s`, `5m`, `2h` or `1d`".into(),
        Shape::Date => "write `2025-01-01`, `2025-01-01T06:30` or `2025-01-01T06:30:00+01:00`".into(),
        Shape::Word(words) => format!("write one of {}", list(words)),
        Shape::Object(table) => {
            let names: Vec<&str> = table.iter().map(|key| key.name).collect();
            format!("write an object with keys of {}", list(&names))
        }
        Shape::Table(_) => "write an object: names with values".into(),
        Shape::List(_) => "write a list: `[a, b]`, or lines that begin with `-`".into(),
        Shape::Either(shapes) => shapes.iter().map(expected).collect::<Vec<_>>().join("; or "),
        Shape::Tasks => "name each task by its key: `extract: {bash: …}`".into(),
        Shape::Condition => "name assets by their URIs".into(),
        Shape::Sensor => "write what it waits for: `file: /in/orders.csv`".into(),
    }
}
