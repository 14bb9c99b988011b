//! Tasks that only wait: for a condition, or for other DAGs.

use super::operator::Operator;
use crate::{Awaited, BoxFuture, Call, Ctx, Deferral, OnTimeout, TaskResult, defer, fatal};
use chrono::TimeDelta;
use orch_sdk::wait::{RunSelector, RunWait};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// A task that waits and returns the value of the condition. Null if it timed out and is configured to resume then.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WaitFor {
    pub what: Deferral,
}

/// Waits without occupying a slot: `wait_for("orders", wait::file("/in/orders.csv").timeout(hours(2)))`.
#[track_caller]
pub fn wait_for<'d>(id: &str, what: impl Into<Deferral>) -> Call<'d, Value> {
    WaitFor { what: what.into() }.call().id(id)
}

impl Operator for WaitFor {
    const KIND: &'static str = "wait";
    type Output = Value;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<Value>> {
        Box::pin(async move { wait(&ctx, self.what) })
    }
}

fn wait(ctx: &Ctx, what: Deferral) -> TaskResult<Value> {
    match ctx.resumed() {
        None => Err(defer(what)),
        Some(resumed) => Ok(resumed.value().cloned().unwrap_or(Value::Null)),
    }
}

/// A wait for another DAG, or for one of its tasks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherDag {
    pub dag_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    #[serde(default)]
    pub which: OtherRun,
    #[serde(default = "success")]
    pub allowed: Vec<String>,
    /// States that fail the waiting task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    /// States that skip the waiting task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poke_ms: Option<u64>,
    #[serde(default)]
    pub on_timeout: OnTimeout,
}

fn success() -> Vec<String> {
    vec!["success".into()]
}

/// Selects a run of the other DAG relative to the waiting run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherRun {
    /// The run for the logical date of the waiting run, minus `earlier_ms`.
    SameDate {
        earlier_ms: i64,
    },
    RunId(String),
    /// The newest run that succeeded at most this many milliseconds before the waiting run was due, or later.
    WithinMs(u64),
}

impl Default for OtherRun {
    fn default() -> Self {
        OtherRun::SameDate { earlier_ms: 0 }
    }
}

/// Waits until a DAG has succeeded for the same logical date. See [`OtherDag`] for other runs.
#[track_caller]
pub fn wait_for_dag<'d>(other: OtherDag) -> Call<'d, Value> {
    other.call()
}

/// Like `wait_for_dag`, but waits for one task of that DAG.
#[track_caller]
pub fn wait_for_task<'d>(task_id: &str, of: OtherDag) -> Call<'d, Value> {
    OtherDag { task_id: Some(task_id.into()), ..of }.call()
}

impl OtherDag {
    pub fn dag(dag_id: &str) -> OtherDag {
        OtherDag {
            dag_id: dag_id.into(),
            task_id: None,
            which: OtherRun::default(),
            allowed: success(),
            failed: Vec::new(),
            skipped: Vec::new(),
            timeout_ms: None,
            poke_ms: None,
            on_timeout: OnTimeout::Fail,
        }
    }

    /// Selects the run whose logical date is `time` before the waiting run's.
    #[must_use]
    pub fn earlier(mut self, time: Duration) -> OtherDag {
        self.which = OtherRun::SameDate { earlier_ms: i64::try_from(time.as_millis()).unwrap_or(i64::MAX) };
        self
    }

    /// Selects the newest run that succeeded at most `time` before the waiting run was due, or later.
    #[must_use]
    pub fn within(mut self, time: Duration) -> OtherDag {
        self.which = OtherRun::WithinMs(ms(time));
        self
    }

    #[must_use]
    pub fn run_id(mut self, run_id: &str) -> OtherDag {
        self.which = OtherRun::RunId(run_id.into());
        self
    }

    /// Sets the states to wait for. Default: `success`.
    #[must_use]
    pub fn allowed<S: Into<String>>(mut self, states: impl IntoIterator<Item = S>) -> OtherDag {
        self.allowed = states.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the states that fail the waiting task.
    #[must_use]
    pub fn failed<S: Into<String>>(mut self, states: impl IntoIterator<Item = S>) -> OtherDag {
        self.failed = states.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the states that skip the waiting task.
    #[must_use]
    pub fn skipped<S: Into<String>>(mut self, states: impl IntoIterator<Item = S>) -> OtherDag {
        self.skipped = states.into_iter().map(Into::into).collect();
        self
    }

    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> OtherDag {
        self.timeout_ms = Some(ms(limit));
        self
    }

    #[must_use]
    pub fn poke_every(mut self, pause: Duration) -> OtherDag {
        self.poke_ms = Some(ms(pause));
        self
    }

    /// Makes a timeout skip the task instead of failing it.
    #[must_use]
    pub fn soft_fail(mut self) -> OtherDag {
        self.on_timeout = OnTimeout::Skip;
        self
    }

    fn deferral(self, ctx: &Ctx) -> TaskResult<Deferral> {
        let which = match self.which {
            OtherRun::RunId(run_id) => RunSelector::RunId(run_id),
            OtherRun::SameDate { earlier_ms } => {
                let date = ctx.logical_date().ok_or_else(|| {
                    fatal(
                        "this run has no logical date, so no other run is for the same: wait for one with `.within(…)`",
                    )
                })?;
                RunSelector::LogicalDate(date - delta(earlier_ms)?)
            }
            OtherRun::WithinMs(within) => {
                RunSelector::EndedSince(ctx.run_after() - delta(i64::try_from(within).unwrap_or(i64::MAX))?)
            }
        };
        let wait = RunWait {
            dag_id: self.dag_id,
            task_id: self.task_id,
            which,
            allowed: self.allowed,
            failed: self.failed,
            skipped: self.skipped,
        };
        let until: Awaited = wait.into();
        Ok(Deferral {
            timeout_ms: self.timeout_ms,
            poke_ms: self.poke_ms,
            on_timeout: self.on_timeout,
            ..Deferral::from(until)
        })
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn delta(ms: i64) -> TaskResult<TimeDelta> {
    TimeDelta::try_milliseconds(ms)
        .filter(|delta| delta.num_days().abs() < 36_500)
        .ok_or_else(|| fatal(format!("{ms} ms are too long")))
}

impl Operator for OtherDag {
    const KIND: &'static str = "wait_for_dag";
    type Output = Value;

    fn default_id(&self) -> String {
        match &self.task_id {
            Some(task_id) => format!("wait_for_{}.{task_id}", self.dag_id),
            None => format!("wait_for_{}", self.dag_id),
        }
    }

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<Value>> {
        Box::pin(async move {
            let deferral = self.deferral(&ctx)?;
            wait(&ctx, deferral)
        })
    }
}
