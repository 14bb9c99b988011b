//! Operators: a kind, a config that is data, and a function that runs it. Custom operators implement the same trait
//! as built-in ones.

use super::{
    Approval, Container, CopyFiles, Form, HttpRequest, OtherDag, Python, Shell, Spark, SparkSql, Sql, TriggerDag,
    WaitFor,
};
use crate::{BoxFuture, Call, Ctx, Data, StoredInputs, TaskResult, fatal};
use orch_sdk::task::TaskFn;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A kind of task whose config is data. The config is shown in the UI and hashed into the DAG's version.
pub trait Operator: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    const KIND: &'static str;
    type Output: Data;

    /// Returns the default task id.
    fn default_id(&self) -> String {
        Self::KIND.into()
    }

    /// Runs one attempt.
    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<Self::Output>>;

    /// Returns the call of the operator, to be added to a DAG.
    #[track_caller]
    fn call<'d>(self) -> Call<'d, Self::Output> {
        let config = serde_json::to_value(&self).unwrap_or_default();
        let id = self.default_id();
        Call::of_kind(Self::KIND, &id, config, vec![], move |ctx: Ctx, _: StoredInputs| self.clone().run(ctx))
    }
}

/// Returns the function of a task of a built-in kind. `None` if the kind is not built in.
pub fn body_of(kind: &str, config: &Value) -> Option<Result<TaskFn, String>> {
    let body = match kind {
        Shell::KIND => body_from::<Shell>(config),
        <Python>::KIND => body_from::<Python>(config),
        Sql::KIND => body_from::<Sql>(config),
        <HttpRequest>::KIND => body_from::<HttpRequest>(config),
        Spark::KIND => body_from::<Spark>(config),
        SparkSql::KIND => body_from::<SparkSql>(config),
        Container::KIND => body_from::<Container>(config),
        <TriggerDag>::KIND => body_from::<TriggerDag>(config),
        WaitFor::KIND => body_from::<WaitFor>(config),
        OtherDag::KIND => body_from::<OtherDag>(config),
        Approval::KIND => body_from::<Approval>(config),
        Form::<Value>::KIND => body_from::<Form<Value>>(config),
        CopyFiles::KIND => body_from::<CopyFiles>(config),
        _ => return None,
    };
    Some(body)
}

/// Returns the function of a task of an operator's kind. Crates with more operators use it to build their functions.
///
/// # Errors
/// Returns a message if the config does not match the operator.
pub fn body_from<O: Operator>(config: &Value) -> Result<TaskFn, String> {
    let operator = O::deserialize(config).map_err(|error| format!("the config of a `{}` task: {error}", O::KIND))?;
    Ok(TaskFn::untyped(move |ctx, _| {
        let running = operator.clone().run(ctx);
        Box::pin(async move {
            let output = running.await?;
            let value = serde_json::to_value(output).map_err(|e| fatal(format!("the output is not JSON: {e}")))?;
            Ok(Some(value))
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The configs are those of a DAG file.
    #[test]
    fn every_kind_is_made_from_its_config() {
        let until = json!({ "until": { "kind": "file", "config": { "path": "/x" } } });
        for (kind, config) in [
            ("shell", json!({ "command": "true" })),
            ("python", json!({ "script": "print(1)" })),
            ("sql", json!({ "connection": "db", "statement": "select 1" })),
            ("http", json!({ "url": "https://x/" })),
            ("container", json!({ "image": "alpine" })),
            ("spark", json!({ "application": "job.py" })),
            ("spark_sql", json!({ "sql": "select 1" })),
            ("trigger_dag", json!({ "dag_id": "other" })),
            ("wait", until),
            ("wait_for_dag", json!({ "dag_id": "other" })),
            ("approval", json!({ "subject": "Go on?" })),
            ("input", json!({ "subject": "How many?", "params": { "type": "object" } })),
            ("copy_files", json!({ "from": "/in/*.csv", "to": "/out" })),
        ] {
            assert!(body_of(kind, &config).is_some_and(|body| body.is_ok()), "{kind}");
            let wrong = body_of(kind, &json!({ "no_such_field": 1 })).expect("the kind is known");
            assert!(wrong.is_err_and(|error| error.contains(kind)), "{kind}");
        }
        assert!(body_of("rust", &json!({})).is_none());
    }
}
