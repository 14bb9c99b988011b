//! `orch tasks test`: runs the function of one task in this process, without a server. Nothing is recorded.

use crate::app::Cx;
use crate::conf::ConfFlag;
use crate::console::ConsoleHost;
use crate::failure::{Exit, Failure, Outcome};
use crate::names;
use crate::output::print_line;
use crate::secrets;
use chrono::{DateTime, Utc};
use orch_sdk::task::{Ctx, RunFacts, TaskError, TryFacts};
use orch_spec::ids::{DagId, TaskId};
use orch_spec::params::{check_conf, with_defaults};
use orch_spec::{DagSpec, InputSpec, Source};
use orch_workers::{Secrets, mask};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Run the body of one task of this binary, without a server
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch tasks test example_hello greet\n  \
    orch tasks test example_chain step_2 --input count=41\n  \
    orch tasks test example_params select --conf '{\"limit\": 3}'\n\n\
    Prints what the task gives, as JSON. Exit code: 0 it succeeded or was skipped, 1 it failed.")]
pub struct TestTask {
    /// The DAG, by id or alias
    dag_id: String,
    task_id: String,
    /// The date that the run is about
    #[arg(value_name = "LOGICAL_DATE", value_parser = names::moment)]
    logical_date: Option<DateTime<Utc>>,
    #[command(flatten)]
    conf: ConfFlag,
    /// What an upstream would give: the name of the parameter and JSON
    #[arg(short, long, value_name = "NAME=JSON", value_parser = input)]
    input: Vec<(String, Value)>,
    /// The element of a mapped task, from 0
    #[arg(long, value_name = "NUMBER")]
    map_index: Option<u32>,
}

fn input(text: &str) -> Result<(String, Value), String> {
    let (name, json) = text.split_once('=').ok_or("no NAME=JSON: write for example `rows=42`")?;
    let value =
        serde_json::from_str(json).map_err(|error| format!("no JSON: {error}; text needs quotes: '\"text\"'"))?;
    Ok((name.into(), value))
}

impl TestTask {
    pub async fn run(self, cx: &Cx) -> Outcome {
        let bundle = cx.local_bundle()?;
        let dag = names::local_dag(&bundle, &self.dag_id)?;
        let task = &dag.spec.tasks[names::task(&dag.spec, &self.task_id)?];
        let Some(body) = dag.bodies.get(&task.task_id) else {
            return Err(Failure::new(format!("task `{}` has no function in this binary", task.task_id)));
        };
        let conf = self.conf.read()?.unwrap_or_else(|| Value::Object(Map::new()));
        check_conf(dag.spec.params_schema.as_ref(), &conf)?;
        let params =
            dag.spec.params_schema.as_ref().map_or_else(|| conf.clone(), |schema| with_defaults(schema, &conf));
        let inputs = self.inputs(&dag.spec, &task.inputs, &params)?;
        let config = secrets::sources_of_server(&cx.config()?)?;
        let secrets = Secrets::new(&config, None).map_err(|error| Failure::from_error(&error))?;
        let run = RunFacts {
            dag_id: DagId::new(&dag.spec.dag_id)?,
            logical_date: self.logical_date,
            data_interval_start: self.logical_date,
            data_interval_end: self.logical_date,
            conf: Arc::new(conf),
            ..RunFacts::test()
        };
        let this_try = TryFacts { task_id: TaskId::new(&task.task_id)?, map_index: self.map_index, ..TryFacts::test() };
        let ctx = Ctx::new(Arc::new(run), this_try, Arc::new(params), Arc::new(ConsoleHost::new(secrets)));
        match body.call(ctx, inputs).await {
            Ok(Some(value)) => print_line(&value.to_string()),
            Ok(None) => {
                eprintln!("the sensor says: not yet");
                Ok(Exit::Done)
            }
            Err(TaskError::Skipped { reason }) => {
                eprintln!("skipped: {}", mask::mask(&reason));
                Ok(Exit::Done)
            }
            Err(TaskError::Deferred { deferral }) => {
                let until = &deferral.until;
                eprintln!("deferred: it waits for `{}` {}", until.kind, mask::mask(&until.config.to_string()));
                Ok(Exit::Done)
            }
            Err(TaskError::Retryable { causes } | TaskError::Fatal { causes }) => {
                eprintln!("failed: {}", mask::mask(&causes.join(": ")));
                Ok(Exit::Failed)
            }
        }
    }

    /// Returns the arguments of the task function. Outputs of upstream tasks must be passed with `--input`.
    fn inputs(&self, spec: &DagSpec, wanted: &[InputSpec], params: &Value) -> Result<Vec<Value>, Failure> {
        let mut given: HashMap<&str, &Value> = self.input.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let mut inputs = Vec::with_capacity(wanted.len());
        for input in wanted {
            let value = match (given.remove(input.name.as_str()), &input.source) {
                (Some(value), _) => value.clone(),
                (None, Source::Value(value)) => value.clone(),
                (None, Source::Params) => params.clone(),
                (None, _) if input.optional => Value::Null,
                (None, _) => {
                    let kind = if input.type_name.is_empty() { "JSON" } else { &input.type_name };
                    return Err(Failure::new(format!("`{}` ({kind}) comes from another task", input.name))
                        .hint(format!("say what it is: `--input {}=…`", input.name)));
                }
            };
            inputs.push(value);
        }
        match given.keys().next() {
            None => Ok(inputs),
            Some(unknown) => {
                let names: Vec<&str> = wanted.iter().map(|input| input.name.as_str()).collect();
                let failure = Failure::new(format!(
                    "task `{}` of dag `{}` has no parameter `{unknown}`",
                    self.task_id, spec.dag_id
                ));
                Err(if names.is_empty() { failure } else { failure.hint(format!("it has {}", names.join(", "))) })
            }
        }
    }
}
