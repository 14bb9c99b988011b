//! Exports a DAG as a file that `file::parse` reads as the same structure.

mod task;
mod write;

use orch_spec::params::extracted;
use orch_spec::{
    Asset, AssetCondition, AssetRef, Callbacks, DagSpec, GroupSpec, MapSpec, Notifier, Options, Schedule, Source,
    Timetable,
};
use serde_json::{Value, json};
use std::fmt;
use write::Out;
pub(super) use write::time;

/// The reasons why a DAG cannot be exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotExpressible {
    /// The features that files do not support.
    pub reasons: Vec<String>,
}

impl fmt::Display for NotExpressible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reasons.join("; "))
    }
}

/// Returns the text of a file with this DAG, or every feature of the DAG that only Rust supports.
pub fn export(spec: &DagSpec) -> Result<String, NotExpressible> {
    let mut writer = Writer { spec, reasons: Vec::new() };
    let dag = writer.dag();
    let reasons = writer.reasons;
    if reasons.is_empty() { Ok(dag.document()) } else { Err(NotExpressible { reasons }) }
}

struct Writer<'a> {
    spec: &'a DagSpec,
    reasons: Vec<String>,
}

/// Keys with their values, in order. Keys without a value are left out.
struct Fields(Vec<(String, Out)>);

impl Fields {
    fn say(&mut self, key: &str, value: Option<Out>) {
        self.0.extend(value.map(|value| (key.to_string(), value)));
    }

    fn value(&mut self, key: &str, value: Option<impl Into<Value>>) {
        self.say(key, value.map(|value| Out::Value(value.into())));
    }

    fn time(&mut self, key: &str, ms: Option<u64>) {
        self.value(key, ms.map(time));
    }

    fn list(&mut self, key: &str, values: &[impl Clone + Into<Value>]) {
        let list = values.iter().cloned().map(|value| Out::Value(value.into())).collect::<Vec<_>>();
        self.say(key, (!list.is_empty()).then_some(Out::List(list)));
    }

    fn flag(&mut self, key: &str, is_set: bool) {
        self.value(key, is_set.then_some(true));
    }
}

impl Writer<'_> {
    fn cannot(&mut self, reason: String) {
        self.reasons.push(reason);
    }

    fn dag(&mut self) -> Out {
        let spec = self.spec;
        let mut dag = Fields(Vec::new());
        dag.value("dag_id", Some(spec.dag_id.clone()));
        dag.value("description", Some(spec.description.clone()).filter(|text| !text.is_empty()));
        let schedule = schedule(&spec.schedule);
        dag.say("schedule", schedule);
        dag.flag("data_interval", spec.timetable == Timetable::DataInterval);
        dag.value("start", spec.start.map(|date| date.to_rfc3339()));
        dag.value("end", spec.end.map(|date| date.to_rfc3339()));
        dag.list("tags", &spec.tags);
        dag.list("owners", &spec.owners);
        dag.list("aliases", &spec.aliases);
        super::options::written_of_dag(spec).into_iter().for_each(|(key, value)| dag.value(key, Some(value)));
        let params = self.params();
        dag.say("params", params);
        callbacks(&mut dag, &spec.callbacks);
        let deadlines = spec.deadlines.iter().map(|deadline| {
            let mut fields = Fields(Vec::new());
            fields.time("after", Some(deadline.after_ms));
            fields.value("from", Some(deadline.from.as_str()));
            fields.say("notify", notifiers(&deadline.notify));
            Out::Map(fields.0)
        });
        let deadlines: Vec<Out> = deadlines.collect();
        dag.say("deadlines", (!deadlines.is_empty()).then_some(Out::List(deadlines)));
        let tasks = self.tasks(None);
        dag.say("tasks", Some(tasks));
        Out::Map(dag.0)
    }

    fn params(&mut self) -> Option<Out> {
        let schema = self.spec.params_schema.as_ref()?;
        if schema.get("$defs").is_some() {
            self.cannot("its params have types of their own (`$defs`)".into());
        }
        let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
        let properties = schema.get("properties").and_then(Value::as_object)?;
        let param = |(name, property): (&String, &Value)| {
            let fields = property.as_object();
            let plain = fields.filter(|fields| {
                let kind = fields.get("default").map(kind_of);
                fields.len() == 2 && kind.is_some() && fields.get("type").and_then(Value::as_str) == kind.flatten()
            });
            let value = match plain {
                Some(fields) if !required(name) => fields["default"].clone(),
                _ => extracted(name, property.clone()).unwrap_or_else(|| property.clone()),
            };
            (name.clone(), Out::Value(value))
        };
        Some(Out::Map(properties.iter().map(param).collect()))
    }

    /// Returns the tasks and groups of a group, or those outside of all groups.
    fn tasks(&mut self, group: Option<&str>) -> Out {
        let spec = self.spec;
        let mut entries: Vec<(String, Out)> = Vec::new();
        let own = |id: &str| match group {
            Some(group) => id.strip_prefix(group)?.strip_prefix('.').map(String::from),
            None => Some(id.to_string()),
        };
        for task in spec.tasks.iter().filter(|task| task.group_id.as_deref() == group) {
            let Some(name) = own(&task.task_id) else {
                self.cannot(format!("task `{}` does not have the name of its group", task.task_id));
                continue;
            };
            entries.push((name, self.task(task)));
        }
        let parent = |id: &str| spec.groups.iter().filter(|g| inside(id, &g.group_id)).map(|g| g.group_id.len()).max();
        for inner in &spec.groups {
            if parent(&inner.group_id) == group.map(str::len)
                && group.is_none_or(|group| inside(&inner.group_id, group))
            {
                let name = own(&inner.group_id).unwrap_or_default();
                let written = self.group(inner);
                entries.push((name, written));
            }
        }
        Out::Map(entries)
    }

    fn group(&mut self, group: &GroupSpec) -> Out {
        let mut fields = Fields(Vec::new());
        fields.value("doc", Some(group.doc.clone()).filter(|doc| !doc.is_empty()));
        let map = group.map.as_ref().map(|map| self.map(map, &group.group_id));
        fields.say("map", map);
        let tasks = self.tasks(Some(&group.group_id));
        fields.say("tasks", Some(tasks));
        Out::Map(fields.0)
    }

    fn map(&mut self, map: &MapSpec, whose: &str) -> Out {
        let mut list = |source: &Source| match source {
            Source::Value(list) => Out::Value(list.clone()),
            Source::Output(id) | Source::Collected(id) => Out::Value(json!(format!("{{{{ upstream.{id}.output }}}}"))),
            _ => {
                self.reasons.push(format!("`{whose}` is mapped in a way that only Rust knows"));
                Out::Value(Value::Null)
            }
        };
        match map {
            MapSpec::Each(source) => list(source),
            MapSpec::Zip(sources) => Out::Map(vec![("zip".into(), Out::List(sources.iter().map(list).collect()))]),
            MapSpec::Cross(sources) => Out::Map(vec![("cross".into(), Out::List(sources.iter().map(list).collect()))]),
        }
    }
}

fn inside(id: &str, group: &str) -> bool {
    id.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'))
}

/// Returns the type that a file without a type implies.
fn kind_of(default: &Value) -> Option<&'static str> {
    match default {
        Value::Bool(_) => Some("boolean"),
        Value::String(_) => Some("string"),
        Value::Array(_) => Some("array"),
        Value::Number(number) if number.is_i64() => Some("integer"),
        Value::Number(_) => Some("number"),
        Value::Null | Value::Object(_) => None,
    }
}

fn schedule(schedule: &Schedule) -> Option<Out> {
    Some(match schedule {
        Schedule::Manual => return None,
        Schedule::Assets(assets) => Out::Map(vec![("assets".into(), condition(assets))]),
        Schedule::AssetPartitions(assets) => {
            Out::Map(vec![("assets".into(), condition(assets)), ("by_partition".into(), Out::Value(json!(true)))])
        }
        Schedule::AssetsOrTime { assets, time } => {
            let time = Out::Value(by_time(time));
            Out::Map(vec![("assets".into(), condition(assets)), ("or".into(), time)])
        }
        time => Out::Value(by_time(time)),
    })
}

fn by_time(schedule: &Schedule) -> Value {
    match schedule {
        Schedule::Cron { expression, timezone } if timezone == "UTC" => json!(expression),
        Schedule::Cron { expression, timezone } => json!({ "cron": expression, "timezone": timezone }),
        Schedule::EveryMs(ms) => json!({ "every": time(*ms) }),
        Schedule::Continuous => json!("@continuous"),
        _ => json!("@once"),
    }
}

fn condition(of: &AssetCondition) -> Out {
    let list = |parts: &[AssetCondition]| Out::List(parts.iter().map(condition).collect());
    match of {
        AssetCondition::Asset(one) => Out::Value(asset(one)),
        AssetCondition::Alias(name) => Out::Value(json!({ "alias": name })),
        AssetCondition::All(parts) => list(parts),
        AssetCondition::Any(parts) => Out::Map(vec![("any".into(), list(parts))]),
    }
}

fn asset_ref(of: &AssetRef) -> Value {
    match of {
        AssetRef::Asset(one) => asset(one),
        AssetRef::Alias(name) => json!({ "alias": name }),
    }
}

fn asset(of: &Asset) -> Value {
    let mut written = json!({ "uri": of.uri });
    let fields = [("name", of.name.clone().map(Value::from)), ("group", of.group.clone().map(Value::from))];
    let more = [
        ("extra", of.extra.clone().map(Value::Object)),
        ("fresh_within", of.fresh_within_ms.map(|ms| json!(time(ms)))),
    ];
    for (key, value) in fields.into_iter().chain(more) {
        if let Some(value) = value {
            written[key] = value;
        }
    }
    if written.as_object().is_some_and(|fields| fields.len() == 1) { json!(of.uri) } else { written }
}

fn callbacks(fields: &mut Fields, callbacks: &Callbacks) {
    for (key, whom) in [
        ("on_success", &callbacks.on_success),
        ("on_failure", &callbacks.on_failure),
        ("on_retry", &callbacks.on_retry),
        ("on_skipped", &callbacks.on_skipped),
        ("on_awaiting_input", &callbacks.on_awaiting_input),
        ("on_stale", &callbacks.on_stale),
        ("on_failed_check", &callbacks.on_failed_check),
    ] {
        fields.say(key, notifiers(whom));
    }
}

fn notifiers(of: &[Notifier]) -> Option<Out> {
    let one = |notifier: &Notifier| {
        let Notifier { connection, subject, message, to, each, extra: _ } = notifier;
        let mut fields = Fields(Vec::new());
        fields.value("connection", Some(connection.as_str()));
        fields.value("subject", subject.as_deref());
        fields.value("message", message.as_deref());
        fields.list("to", to);
        fields.flag("each", *each);
        if fields.0.len() == 1 { Out::Value(connection.as_str().into()) } else { Out::Map(fields.0) }
    };
    (!of.is_empty()).then(|| Out::List(of.iter().map(one).collect()))
}

fn options(fields: &mut Fields, options: &Options) {
    super::options::written(options).into_iter().for_each(|(key, value)| fields.value(key, Some(value)));
}
