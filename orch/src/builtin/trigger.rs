//! The `trigger_dag` task: starts a run of a DAG and optionally waits for its end without occupying a slot.

use super::field::{FieldInputs, FieldValue};
use super::operator::Operator;
use crate::{BoxFuture, Call, Ctx, TaskResult, Triggered, Wait, defer, wait};
use anyhow::bail;
use chrono::{DateTime, Utc};
use orch_sdk::task::TriggerRequest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// A run to start. `I` is `()`, or [`FieldInputs`] if the conf is the output of another task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriggerDag<I = ()> {
    pub dag_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// If true, the task finishes when the run has finished, and fails if the run failed.
    #[serde(default)]
    pub wait: bool,
    #[serde(default = "few_seconds")]
    pub poke_ms: u64,
    #[doc(hidden)]
    #[serde(skip)]
    pub inputs: I,
}

fn few_seconds() -> u64 {
    5_000
}

/// The run that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerOutput {
    pub dag_id: String,
    pub run_id: String,
    /// Final state of the run. `None` if the task did not wait for it.
    pub state: Option<String>,
}

/// Starts a run of a DAG (type `operator_triggered`). Idempotent per attempt: if the worker or the response is lost,
/// the attempt finds the run that it has started. A retry starts another run.
#[track_caller]
pub fn trigger_dag<'d, I: Into<FieldInputs<'d>>>(trigger: TriggerDag<I>) -> Call<'d, TriggerOutput> {
    trigger.call()
}

impl TriggerDag {
    pub fn dag(dag_id: &str) -> TriggerDag {
        TriggerDag {
            dag_id: dag_id.into(),
            conf: None,
            run_id: None,
            logical_date: None,
            note: None,
            wait: false,
            poke_ms: few_seconds(),
            inputs: (),
        }
    }
}

impl<I> TriggerDag<I> {
    /// Sets the conf of the run, to a constant or to the output of another task.
    ///
    /// # Panics
    /// Panics if the constant cannot be serialized as JSON.
    #[must_use]
    pub fn conf<V: FieldValue<I>>(self, conf: V) -> TriggerDag<V::Inputs> {
        let (mut trigger, inputs) = self.replace_inputs(());
        let (conf, inputs) = conf.assign("conf".into(), inputs);
        trigger.conf = Some(conf);
        trigger.replace_inputs(inputs).0
    }

    #[must_use]
    pub fn run_id(mut self, run_id: &str) -> Self {
        self.run_id = Some(run_id.into());
        self
    }

    #[must_use]
    pub fn logical_date(mut self, date: DateTime<Utc>) -> Self {
        self.logical_date = Some(date);
        self
    }

    #[must_use]
    pub fn note(mut self, text: &str) -> Self {
        self.note = Some(text.into());
        self
    }

    /// Waits for the end of the run without occupying a slot.
    #[must_use]
    pub fn and_wait(mut self) -> Self {
        self.wait = true;
        self
    }

    /// Sets the time between polls. Default: 5 seconds.
    #[must_use]
    pub fn poke_every(mut self, pause: Duration) -> Self {
        self.poke_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Returns the call that starts the run, to be added to a DAG.
    #[track_caller]
    pub fn call<'d>(self) -> Call<'d, TriggerOutput>
    where
        I: Into<FieldInputs<'d>>,
    {
        let (trigger, inputs) = self.replace_inputs(());
        FieldInputs::call(inputs.into(), trigger)
    }

    /// Replaces the inputs, and returns the former ones.
    fn replace_inputs<J>(self, inputs: J) -> (TriggerDag<J>, I) {
        let TriggerDag { dag_id, conf, run_id, logical_date, note, wait, poke_ms, inputs: former } = self;
        (TriggerDag { dag_id, conf, run_id, logical_date, note, wait, poke_ms, inputs }, former)
    }
}

impl TriggerDag {
    async fn go(self, ctx: &Ctx) -> TaskResult<TriggerOutput> {
        if let Some(resumed) = ctx.resumed() {
            let ended: RunEnded = resumed.value_as()?;
            let RunEnded { dag_id, run_id, state } = ended;
            if state != "success" {
                bail!("run `{run_id}` of dag `{dag_id}` ended as {state}");
            }
            return Ok(TriggerOutput { dag_id, run_id, state: Some(state) });
        }
        let request = TriggerRequest {
            dag_id: self.dag_id,
            run_id: self.run_id,
            logical_date: self.logical_date,
            conf: self.conf,
            note: self.note,
        };
        let Triggered { dag_id, run_id, .. } = ctx.host().trigger(request).await?;
        ctx.info(format!("started run `{run_id}` of dag `{dag_id}`"));
        if self.wait {
            return Err(defer(wait::run(dag_id, run_id).poke_every(Duration::from_millis(self.poke_ms))));
        }
        Ok(TriggerOutput { dag_id, run_id, state: None })
    }
}

#[derive(Deserialize)]
struct RunEnded {
    dag_id: String,
    run_id: String,
    state: String,
}

impl Operator for TriggerDag {
    const KIND: &'static str = "trigger_dag";
    type Output = TriggerOutput;

    fn default_id(&self) -> String {
        format!("trigger_{}", self.dag_id)
    }

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<TriggerOutput>> {
        Box::pin(async move { self.go(&ctx).await })
    }
}
