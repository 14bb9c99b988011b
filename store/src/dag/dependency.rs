//! Dependencies between DAGs: which DAGs start other DAGs or wait for them, according to the tasks of their newest
//! versions. Waits that a task function chooses only at run time are not included.

use crate::{StoreResult, boxed};
use orch_sdk::wait::RunWait;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use std::collections::BTreeSet;

/// A dependency of a DAG on another DAG that one of its tasks starts or waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DagDependency {
    pub dag_id: String,
    /// Kind of the dependency: `trigger` or `wait`.
    pub role: String,
    /// The DAG that is started or waited for. It may not exist.
    pub other: String,
}

/// Returns each dependency once per role. Reads at most `most` tasks.
#[boxed]
pub async fn dag_dependencies(db: &mut PgConnection, most: i64) -> StoreResult<Vec<DagDependency>> {
    let tasks: Vec<(String, String, Option<Value>)> = sqlx::query_as(
        "select d.dag_id, t.spec ->> 'kind', t.spec -> 'config' from dag d join dag_version v on v.id = d.version
        cross join json_array_elements(v.spec -> 'tasks') as t (spec)
        where not d.is_stale and t.spec ->> 'kind' in ('trigger_dag', 'wait_for_dag', 'wait') order by d.dag_id limit $1",
    )
    .bind(most)
    .fetch_all(db)
    .await?;
    let mut found = BTreeSet::new();
    for (dag_id, kind, config) in tasks {
        let role = if kind == "trigger_dag" { "trigger" } else { "wait" };
        for other in others(&kind, &config.unwrap_or_default()) {
            found.insert(DagDependency { dag_id: dag_id.clone(), role: role.into(), other });
        }
    }
    Ok(found.into_iter().collect())
}

/// Returns the DAG ids in the configuration of a task.
fn others(kind: &str, config: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if kind == "wait" {
        awaited(&config["until"], &mut found);
    } else {
        found.extend(config["dag_id"].as_str().map(str::to_owned));
    }
    found
}

/// Adds the DAGs that a condition waits for, including nested conditions.
fn awaited(condition: &Value, found: &mut Vec<String>) {
    let config = &condition["config"];
    match condition["kind"].as_str() {
        Some(RunWait::KIND) => found.extend(config["dag_id"].as_str().map(str::to_owned)),
        Some("any" | "all") => config["of"].as_array().into_iter().flatten().for_each(|one| awaited(one, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_sdk::task::Deferral;
    use orch_sdk::wait::{self, Wait as _};
    use serde_json::json;

    #[test]
    fn a_condition_names_the_dags_it_waits_for() {
        let until = wait::any([
            wait::run("orders", "r").awaited(),
            wait::all([wait::file("/x").awaited(), wait::run("stock", "r").awaited()]),
        ]);
        let config = serde_json::to_value(Deferral::from(until)).unwrap();
        assert_eq!(others("wait", &config), ["orders", "stock"]);
        let sensor = json!({ "until": { "kind": "sql", "config": { "dag_id": "no dag" } } });
        for nothing in [sensor, json!(null), json!({ "until": [] }), json!({ "dag_id": "x" })] {
            assert!(others("wait", &nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn an_operator_names_the_dag_it_starts_or_waits_for() {
        assert_eq!(others("trigger_dag", &json!({ "dag_id": "child" })), ["child"]);
        assert_eq!(others("wait_for_dag", &json!({ "dag_id": "child", "task_id": "t" })), ["child"]);
        assert!(others("trigger_dag", &json!({ "dag_id": 7 })).is_empty());
    }
}
