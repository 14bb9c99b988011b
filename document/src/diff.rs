//! The differences between two versions of the structure of a DAG: tasks, edges and settings. They are computed from
//! the JSON of the structures, so that unknown fields count, too. Locations and documentation are not part of the
//! structure (`DagSpec::version`) and are left out.

use orch_spec::{DagSpec, MapSpec, TaskSpec};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Everything is ordered by name, except for new tasks, which keep the order of the DAG.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Diff {
    /// Ids of tasks that only the newer structure contains.
    pub added: Vec<String>,
    /// Ids of tasks that only the older structure contains.
    pub removed: Vec<String>,
    pub changed: Vec<TaskChange>,
    /// Changed dependencies, including edges of added and removed tasks.
    pub edges_added: Vec<Edge>,
    pub edges_removed: Vec<Edge>,
    /// Changes of the DAG's own settings, such as schedule, params and limits.
    pub dag: Vec<FieldChange>,
}

/// A task that both structures contain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskChange {
    pub task_id: String,
    pub fields: Vec<FieldChange>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Edge {
    pub from: String,
    pub to: String,
}

/// A changed field. Null means that the field is not set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// Path of the field: `params_schema.properties.limit.default`.
    pub field: String,
    pub before: Value,
    pub after: Value,
}

/// Fields of a task that are not part of the structure: locations and documentation.
const TASK_WORDS: [&str; 3] = ["defined", "added", "doc"];
/// Fields of a DAG that are not compared here. Its tasks are compared one by one.
const DAG_WORDS: [&str; 5] = ["tasks", "location", "description", "tags", "owners"];
const GROUP_WORDS: [&str; 2] = ["location", "doc"];
/// Maximum depth of nested objects that are compared field by field. Deeper objects are compared as one value.
const DEEPEST: usize = 6;

impl Diff {
    /// Returns the changes that lead from `before` to `after`.
    pub fn between(before: &DagSpec, after: &DagSpec) -> Diff {
        let (old, new) = (by_id(before), by_id(after));
        let (old_edges, new_edges) = (edges(before), edges(after));
        let changed = old.iter().filter_map(|(id, old)| {
            let fields = changes(json(old, &TASK_WORDS), json(new.get(id)?, &TASK_WORDS));
            (!fields.is_empty()).then(|| TaskChange { task_id: (*id).into(), fields })
        });
        Diff {
            added: after.tasks.iter().map(|t| t.task_id.clone()).filter(|id| !old.contains_key(id.as_str())).collect(),
            removed: old.keys().filter(|id| !new.contains_key(*id)).map(|id| (*id).into()).collect(),
            changed: changed.collect(),
            edges_added: new_edges.difference(&old_edges).cloned().collect(),
            edges_removed: old_edges.difference(&new_edges).cloned().collect(),
            dag: changes(of_dag(before), of_dag(after)),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Diff::default()
    }

    /// Returns a summary in one line: `2 tasks added, 1 changed; 3 edges added; schedule`.
    pub fn summary(&self) -> String {
        let count = |words: &str, counts: [(usize, &str); 3]| {
            let mut said = Vec::new();
            for (number, what) in counts.into_iter().filter(|(number, _)| *number > 0) {
                let noun = match (said.is_empty(), number) {
                    (true, 1) => format!(" {words}"),
                    (true, _) => format!(" {words}s"),
                    (false, _) => String::new(),
                };
                said.push(format!("{number}{noun} {what}"));
            }
            said.join(", ")
        };
        let parts = [
            count(
                "task",
                [(self.added.len(), "added"), (self.removed.len(), "removed"), (self.changed.len(), "changed")],
            ),
            count("edge", [(self.edges_added.len(), "added"), (self.edges_removed.len(), "removed"), (0, "")]),
            self.settings().join(", "),
        ];
        let said: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        if said.is_empty() { "nothing".into() } else { said.join("; ") }
    }

    /// Returns the names of the DAG's own settings that differ, each once.
    pub fn settings(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.dag.iter().map(|change| first(&change.field)).collect();
        names.dedup();
        names
    }

    /// Returns one line per change in the style of `diff`, with `+`, `-` and `~`.
    pub fn lines(&self) -> Vec<String> {
        let field = |change: &FieldChange| {
            format!("{}: {} → {}", change.field, format_value(&change.before), format_value(&change.after))
        };
        let mut lines: Vec<String> = self.dag.iter().map(|change| format!("~ {}", field(change))).collect();
        lines.extend(self.added.iter().map(|id| format!("+ task {id}")));
        lines.extend(self.removed.iter().map(|id| format!("- task {id}")));
        for TaskChange { task_id, fields } in &self.changed {
            lines.extend(fields.iter().map(|change| format!("~ task {task_id}: {}", field(change))));
        }
        lines.extend(self.edges_added.iter().map(|edge| format!("+ {} → {}", edge.from, edge.to)));
        lines.extend(self.edges_removed.iter().map(|edge| format!("- {} → {}", edge.from, edge.to)));
        lines
    }
}

impl FieldChange {
    /// Returns both values as JSON in one line, or a dash for a field that is not set.
    pub fn texts(&self) -> (String, String) {
        (format_value(&self.before), format_value(&self.after))
    }
}

/// Maximum length of a displayed value, in characters. Longer values are truncated.
const LONGEST_VALUE: usize = 200;

fn format_value(value: &Value) -> String {
    let text = match value {
        Value::Null => "–".into(),
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn first(field: &str) -> &str {
    field.split('.').next().unwrap_or(field)
}

fn by_id(spec: &DagSpec) -> BTreeMap<&str, &TaskSpec> {
    spec.tasks.iter().map(|task| (task.task_id.as_str(), task)).collect()
}

/// Returns the dependencies of each task, as in its plan.
fn edges(spec: &DagSpec) -> BTreeSet<Edge> {
    let of = |task: &TaskSpec| {
        let mut upstreams: BTreeSet<String> = task.upstreams().into_iter().map(Into::into).collect();
        // A task of a mapped group also waits for the list of its group.
        let group = spec.mapped_group(task.group_id.as_deref()).and_then(|group| group.map.as_ref());
        let mut sources = Vec::new();
        group.into_iter().flat_map(MapSpec::sources).for_each(|source| source.collect(&mut sources));
        upstreams.extend(sources.into_iter().map(str::to_owned));
        upstreams.into_iter().map(|from| Edge { from, to: task.task_id.clone() }).collect::<Vec<_>>()
    };
    spec.tasks.iter().flat_map(of).collect()
}

fn json(of: &impl Serialize, without: &[&str]) -> Map<String, Value> {
    let mut fields = match serde_json::to_value(of) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    without.iter().for_each(|name| drop(fields.remove(*name)));
    fields
}

/// Returns the DAG without its tasks. Groups are keyed by id, so that an added group does not change those after it.
fn of_dag(spec: &DagSpec) -> Map<String, Value> {
    let mut fields = json(spec, &DAG_WORDS);
    let groups = spec.groups.iter().map(|group| {
        let mut group = json(group, &GROUP_WORDS);
        let id = group.remove("group_id").and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_default();
        // Makes an added group without any fields visible in the diff.
        group.entry("map").or_insert(Value::Bool(false));
        (id, Value::Object(group))
    });
    let groups: Map<String, Value> = groups.collect();
    fields.remove("groups");
    if !groups.is_empty() {
        fields.insert("groups".into(), Value::Object(groups));
    }
    fields
}

fn changes(before: Map<String, Value>, after: Map<String, Value>) -> Vec<FieldChange> {
    let mut found = Vec::new();
    compare("", &Value::Object(before), &Value::Object(after), DEEPEST, &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, depth: usize, found: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    if let (Value::Object(old), Value::Object(new)) = (before, after)
        && depth > 0
    {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or(Value::Null);
            compare(&path, &of(old), &of(new), depth - 1, found);
        }
        return;
    }
    found.push(FieldChange { field: path.into(), before: before.clone(), after: after.clone() });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    /// `a(2) b<a` is a task `a` with two retries, and `b` after `a`.
    fn dag(tasks: &str, more: Value) -> DagSpec {
        let task = |word: &str| {
            let (head, after) = word.split_once('<').unwrap_or((word, ""));
            let (id, retries) = head.split_once('(').unwrap_or((head, ""));
            let after: Vec<&str> = after.split(',').filter(|id| !id.is_empty()).collect();
            let mut task = json!({ "task_id": id, "kind": "rust", "after": after });
            if let Ok(retries) = retries.trim_end_matches(')').parse::<u32>() {
                task["retries"] = json!(retries);
            }
            task
        };
        let mut spec = json!({ "dag_id": "d", "tasks": tasks.split_whitespace().map(task).collect::<Vec<_>>() });
        if let Value::Object(more) = more {
            spec.as_object_mut().unwrap().extend(more);
        }
        from_value(spec).unwrap()
    }

    fn check(before: &DagSpec, after: &DagSpec, lines: &[&str], summary: &str) {
        let diff = Diff::between(before, after);
        assert_eq!(diff.lines(), lines);
        assert_eq!(diff.summary(), summary);
        assert_eq!(diff.is_empty(), lines.is_empty());
        // The reverse diff must contain the same changes with opposite signs.
        let back = Diff::between(after, before);
        assert_eq!(back.added.iter().collect::<BTreeSet<_>>(), diff.removed.iter().collect::<BTreeSet<_>>());
        assert_eq!((&back.edges_added, &back.edges_removed), (&diff.edges_removed, &diff.edges_added));
        assert_eq!((back.changed.len(), back.dag.len()), (diff.changed.len(), diff.dag.len()));
    }

    #[test]
    fn tasks_come_go_and_change() {
        let none = json!({});
        let before = dag("a b<a", none.clone());
        check(&before, &before, &[], "nothing");
        check(&before, &dag("a b<a c<b", none.clone()), &["+ task c", "+ b → c"], "1 task added; 1 edge added");
        check(&before, &dag("a", none.clone()), &["- task b", "- a → b"], "1 task removed; 1 edge removed");
        check(&before, &dag("a(3) b<a", none.clone()), &["~ task a: retries: – → 3"], "1 task changed");
        check(
            &before,
            &dag("a c<a d<a,c", none),
            &["+ task c", "+ task d", "- task b", "+ a → c", "+ a → d", "+ c → d", "- a → b"],
            "2 tasks added, 1 removed; 3 edges added, 1 removed",
        );
    }

    #[test]
    fn a_wire_that_is_laid_anew_is_an_edge_and_a_field() {
        check(
            &dag("a b c<a", json!({})),
            &dag("a b c<b", json!({})),
            &[r#"~ task c: after: ["a"] → ["b"]"#, "+ b → c", "- a → c"],
            "1 task changed; 1 edge added, 1 removed",
        );
    }

    #[test]
    fn what_is_the_dags_own_is_named_by_its_path() {
        let before = dag(
            "a",
            json!({ "schedule": { "cron": { "expression": "0 6 * * *", "timezone": "UTC" } }, "catchup": false }),
        );
        let after = dag(
            "a",
            json!({ "schedule": { "cron": { "expression": "0 7 * * *", "timezone": "UTC" } }, "catchup": true }),
        );
        let lines: Vec<String> = Diff::between(&before, &after).lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0], "~ catchup: false → true");
        assert!(lines[1].starts_with("~ schedule.") && lines[1].ends_with(r#""0 6 * * *" → "0 7 * * *""#), "{lines:?}");
        assert_eq!(Diff::between(&before, &after).summary(), "catchup, schedule");
        let limit = |most: u32| json!({ "params_schema": { "properties": { "limit": { "default": most } } } });
        check(
            &dag("a", limit(1)),
            &dag("a", limit(2)),
            &["~ params_schema.properties.limit.default: 1 → 2"],
            "params_schema",
        );
    }

    #[test]
    fn words_and_places_are_no_change_as_they_make_no_version() {
        let before = dag("a", json!({ "description": "x", "tags": ["t"], "location": { "file": "a.rs", "line": 1 } }));
        let mut after =
            dag("a", json!({ "description": "y", "owners": ["o"], "location": { "file": "b.rs", "line": 9 } }));
        after.tasks[0].doc = "words".into();
        after.tasks[0].added.line = 7;
        assert_eq!(before.version(), after.version());
        check(&before, &after, &[], "nothing");
    }

    #[test]
    fn groups_are_compared_by_their_ids() {
        let with = |ids: &[&str]| {
            let groups: Vec<Value> = ids.iter().map(|id| json!({ "group_id": id })).collect();
            dag("a", json!({ "groups": groups }))
        };
        check(&with(&["g"]), &with(&["f", "g"]), &[r#"~ groups.f: – → {"map":false}"#], "groups");
    }

    #[test]
    fn every_two_structures_of_another_version_differ() {
        let dags = [dag("a", json!({})), dag("a b", json!({})), dag("a b<a", json!({})), dag("a(1) b<a", json!({}))];
        for before in &dags {
            for after in &dags {
                assert_eq!(Diff::between(before, after).is_empty(), before.version() == after.version());
            }
        }
    }

    #[test]
    fn long_values_are_cut_where_a_letter_ends() {
        assert_eq!(format_value(&json!("ü".repeat(300))).chars().count(), LONGEST_VALUE + 1);
        assert_eq!(format_value(&Value::Null), "–");
    }
}
