//! Compares the accepted values of params and the loading of scheduled DAGs with Airflow 3.3.2
//! (`tests/oracle/params.py`). Params are read from a DAG file, and values are checked as the conf of a run.

#![expect(clippy::unwrap_used, reason = "the table is committed: a row of another shape is a broken test")]

use orch_document::file::parse;
use orch_spec::params::check_conf;
use serde_json::{Map, Value, json};

fn table(name: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../../tests/oracle/params.json")).unwrap();
    assert_eq!(all["airflow"], "3.3.2");
    all[name].as_array().unwrap().clone()
}

/// Loads a DAG whose only param `p` has this schema. Returns the schema of its params, or the problems as one text.
fn load(schema: &Value, schedule: &Value) -> Result<Value, String> {
    let mut document = json!({ "dag_id": "oracle", "params": { "p": schema }, "tasks": { "t": { "value": 1 } } });
    if !schedule.is_null() {
        document["schedule"] = schedule.clone();
    }
    match parse("oracle.json", "/dags", document.to_string().as_bytes()) {
        Ok(mut dags) => Ok(dags.remove(0).params_schema.unwrap()),
        Err(problems) => Err(problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("\n")),
    }
}

/// Returns whether a problem names a keyword of the schema, including nested keywords.
fn names_a_keyword(problem: &str, schema: &Value) -> bool {
    match schema {
        Value::Object(words) => words.iter().any(|(word, value)| {
            problem.contains(&format!("`{word}`"))
                || (word == "default" && problem.contains("the default of"))
                || names_a_keyword(problem, value)
        }),
        Value::Array(items) => items.iter().any(|item| names_a_keyword(problem, item)),
        _ => false,
    }
}

#[test]
fn values_are_accepted_as_by_airflow_or_the_keyword_is_refused_at_load() {
    let rows = table("values");
    let (mut equal, mut refused_at_load, mut wrong) = (0, Vec::new(), Vec::new());
    for row in &rows {
        let (schema, expected) = (&row["schema"], row["result"].as_str().unwrap());
        let conf: Map<String, Value> =
            row.get("value").map(|value| ("p".to_owned(), value.clone())).into_iter().collect();
        let found = load(schema, &Value::Null).map(|params| check_conf(Some(&params), &Value::Object(conf)));
        match (found, expected) {
            (Ok(Ok(())), "accepted") | (Ok(Err(_)), "refused") => equal += 1,
            (Err(problem), _) if !names_a_keyword(&problem, schema) => {
                wrong.push(format!("{row}\n  no keyword: {problem}"));
            }
            (Err(_), "bad_schema") => equal += 1,
            (Err(problem), _) => refused_at_load.push(format!("{schema} {problem}")),
            (Ok(found), _) => wrong.push(format!("{row}\n  {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    assert!(rows.len() >= 265 && equal >= 245, "{equal} of {}", rows.len());
    assert!(refused_at_load.len() <= 20, "{}", refused_at_load.join("\n"));
}

#[test]
fn a_schedule_needs_defaults_that_fit() {
    for row in table("loads") {
        let schedule = match row["schedule"].as_str() {
            Some("asset") => json!({ "assets": ["lake://raw/a"] }),
            _ => row["schedule"].clone(),
        };
        let found = load(&row["schema"], &schedule);
        let bad_default = found.as_ref().is_err_and(|problem| problem.contains("the default of"));
        // A default that does not fit is rejected even without a schedule.
        assert!(found.is_ok() == (row["loads"] == true) || bad_default, "{row}: {found:?}");
    }
    assert_eq!(
        load(&json!({ "type": "string" }), &json!("@daily")),
        Err("dag `oracle`: the param `p` has no default, but the dag has a schedule, whose runs get no params".into())
    );
}
