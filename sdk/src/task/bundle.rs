//! All DAGs of one worker binary or folder, with the functions of their tasks. They are checked together.

use super::{Conditions, TaskFn};
use orch_spec::DagSpec;
use orch_spec::check::{self, Problem};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A DAG with its task functions by task id. Tasks of a kind that the worker runs itself have no function.
#[derive(Debug, Clone)]
pub struct BundleDag {
    pub spec: Arc<DagSpec>,
    pub bodies: HashMap<String, TaskFn>,
    /// Conditions that its tasks can wait for, in addition to the built-in ones.
    pub conditions: Conditions,
}

/// The DAGs that a worker registers and can run.
#[derive(Debug, Clone)]
pub struct Bundle {
    pub name: String,
    dags: BTreeMap<String, BundleDag>,
    /// DAGs that are not registered. Only their existing runs are executed.
    hidden: BTreeMap<String, BundleDag>,
}

impl Bundle {
    /// Creates a bundle, or returns every problem of every DAG and every id or alias that two DAGs share.
    pub fn new(name: impl Into<String>, dags: impl IntoIterator<Item = BundleDag>) -> Result<Bundle, Vec<Problem>> {
        let (mut found, mut wrong) = (BTreeMap::new(), Vec::new());
        let mut names: HashMap<String, Arc<DagSpec>> = HashMap::new();
        for dag in dags {
            wrong.extend(check::problems(&dag.spec));
            for name in std::iter::once(&dag.spec.dag_id).chain(&dag.spec.aliases) {
                match names.get(name) {
                    Some(first) => wrong.push(taken(name, &dag.spec, first)),
                    None => drop(names.insert(name.clone(), dag.spec.clone())),
                }
            }
            found.insert(dag.spec.dag_id.clone(), dag);
        }
        if wrong.is_empty() {
            Ok(Bundle { name: name.into(), dags: found, hidden: BTreeMap::new() })
        } else {
            Err(wrong)
        }
    }

    /// Hides the DAGs for which `is_hidden` returns true: `dag` and `dags` no longer return them, `hidden` does.
    #[must_use]
    pub fn hide(mut self, is_hidden: impl Fn(&str) -> bool) -> Bundle {
        let (hidden, dags): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.dags).into_iter().partition(|(dag_id, _)| is_hidden(dag_id));
        self.hidden.extend(hidden);
        Bundle { dags, ..self }
    }

    /// Returns the hidden DAGs, ordered by id.
    pub fn hidden(&self) -> impl ExactSizeIterator<Item = &BundleDag> {
        self.hidden.values()
    }

    pub fn dag(&self, dag_id: &str) -> Option<&BundleDag> {
        self.dags.get(dag_id)
    }

    /// Returns the conditions of all its DAGs, hidden ones included.
    pub fn conditions(&self) -> Conditions {
        let mut all = Conditions::default();
        self.dags.values().chain(self.hidden.values()).for_each(|dag| all.extend(&dag.conditions));
        all
    }

    /// Returns the DAGs that are not hidden, ordered by id.
    pub fn dags(&self) -> impl ExactSizeIterator<Item = &BundleDag> {
        self.dags.values()
    }
}

fn taken(name: &str, dag: &DagSpec, first: &DagSpec) -> Problem {
    let (what, hint) = if name == dag.dag_id {
        ("dag id", "give one of the two another id")
    } else {
        ("alias", "choose another alias")
    };
    let used = if name == first.dag_id { "the id" } else { "an alias" };
    Problem {
        dag_id: dag.dag_id.clone(),
        task_id: None,
        message: format!(
            "{what} `{name}` is {used} of the dag `{}`{} already",
            first.dag_id,
            check::at(&first.location)
        ),
        hint: hint.into(),
        at: Some(dag.location.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn dag(id: &str, aliases: &[&str], line: u32) -> BundleDag {
        let location = json!({ "file": "dags/a.rs", "line": line });
        let spec = json!({ "dag_id": id, "aliases": aliases, "tasks": [], "location": location });
        BundleDag {
            spec: Arc::new(serde_json::from_value(spec).expect("a spec")),
            bodies: HashMap::new(),
            conditions: Conditions::default(),
        }
    }

    #[test]
    fn dags_are_found_by_id() {
        let bundle = Bundle::new("main", [dag("b", &[], 1), dag("a", &["c"], 2)]).expect("nothing is wrong");
        assert_eq!(bundle.dags().map(|d| d.spec.dag_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(bundle.dag("b").is_some() && bundle.dag("c").is_none());
    }

    #[test]
    fn hidden_dags_are_not_among_the_dags() {
        let bundle = Bundle::new("main", [dag("a", &[], 1), dag("b", &[], 2)]).expect("nothing is wrong");
        let bundle = bundle.hide(|dag_id| dag_id == "b");
        assert_eq!(bundle.dags().map(|d| d.spec.dag_id.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(bundle.hidden().map(|d| d.spec.dag_id.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(bundle.dag("b").is_none());
    }

    #[test]
    fn a_name_used_twice_names_both_lines() {
        let wrong = Bundle::new("main", [dag("a", &["old"], 1), dag("a", &[], 2), dag("b", &["old", "a"], 3)]);
        let lines: Vec<String> =
            wrong.expect_err("it is wrong").iter().map(|p| p.to_string().replace('\n', " /")).collect();
        assert_eq!(
            lines,
            [
                "error: dag `a`: dag id `a` is the id of the dag `a` at dags/a.rs:1 already /  at dags/a.rs:2 /hint: give one of the two another id",
                "error: dag `b`: alias `old` is an alias of the dag `a` at dags/a.rs:1 already /  at dags/a.rs:3 /hint: choose another alias",
                "error: dag `b`: alias `a` is the id of the dag `a` at dags/a.rs:1 already /  at dags/a.rs:3 /hint: choose another alias",
            ]
        );
    }
}
