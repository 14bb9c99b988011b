//! Options of a task and schedules of a DAG as plain values, with Airflow's names.

use super::AssetCondition;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// When a task may run, depending on the states of its upstreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerRule {
    #[default]
    AllSuccess,
    AllFailed,
    AllDone,
    AllDoneMinOneSuccess,
    AllDoneSetupSuccess,
    OneSuccess,
    OneFailed,
    OneDone,
    NoneFailed,
    NoneSkipped,
    Always,
    NoneFailedMinOneSuccess,
    AllSkipped,
}

impl TriggerRule {
    pub const ALL: [TriggerRule; 13] = [
        TriggerRule::AllSuccess,
        TriggerRule::AllFailed,
        TriggerRule::AllDone,
        TriggerRule::AllDoneMinOneSuccess,
        TriggerRule::AllDoneSetupSuccess,
        TriggerRule::OneSuccess,
        TriggerRule::OneFailed,
        TriggerRule::OneDone,
        TriggerRule::NoneFailed,
        TriggerRule::NoneSkipped,
        TriggerRule::Always,
        TriggerRule::NoneFailedMinOneSuccess,
        TriggerRule::AllSkipped,
    ];
}

impl TriggerRule {
    /// Returns Airflow's name of the rule.
    pub fn as_str(self) -> &'static str {
        match self {
            TriggerRule::AllSuccess => "all_success",
            TriggerRule::AllFailed => "all_failed",
            TriggerRule::AllDone => "all_done",
            TriggerRule::AllDoneMinOneSuccess => "all_done_min_one_success",
            TriggerRule::AllDoneSetupSuccess => "all_done_setup_success",
            TriggerRule::OneSuccess => "one_success",
            TriggerRule::OneFailed => "one_failed",
            TriggerRule::OneDone => "one_done",
            TriggerRule::NoneFailed => "none_failed",
            TriggerRule::NoneSkipped => "none_skipped",
            TriggerRule::Always => "always",
            TriggerRule::NoneFailedMinOneSuccess => "none_failed_min_one_success",
            TriggerRule::AllSkipped => "all_skipped",
        }
    }
}

/// Rule that computes the priority of a task from its own weight and the weights of its relatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightRule {
    /// The task's own weight plus the weights of all descendants.
    #[default]
    Downstream,
    Upstream,
    Absolute,
}

/// Process in which a task function runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// In the worker, as an async task.
    #[default]
    InProcess,
    /// In a separate child process.
    Process,
}

/// Handling of an attempt whose worker is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// Restarts the same attempt, at most this many times. It does not use up a retry.
    Retry(u16),
    Fail,
}

impl Default for OnLost {
    fn default() -> Self {
        OnLost::Retry(3)
    }
}

/// Maximum number of concurrent tasks that use this limit or, with `per_ms`, of starts within that time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    pub name: String,
    pub most: u32,
    /// Path into the run's conf. Each value is counted separately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_ms: Option<u64>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// When runs are created.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Only on request.
    #[default]
    Manual,
    Cron {
        expression: String,
        timezone: String,
    },
    EveryMs(u64),
    Once,
    Continuous,
    /// When the condition holds for the events since the last such run.
    Assets(AssetCondition),
    /// Like `Assets`, but separately for each partition key.
    AssetPartitions(AssetCondition),
    /// By time, and also when the condition holds.
    AssetsOrTime {
        assets: AssetCondition,
        time: Box<Schedule>,
    },
}

impl Schedule {
    /// Returns the condition on assets that starts runs.
    pub fn assets(&self) -> Option<&AssetCondition> {
        match self {
            Schedule::Assets(assets) | Schedule::AssetPartitions(assets) | Schedule::AssetsOrTime { assets, .. } => {
                Some(assets)
            }
            Schedule::Manual | Schedule::Cron { .. } | Schedule::EveryMs(_) | Schedule::Once | Schedule::Continuous => {
                None
            }
        }
    }

    /// Returns true if each run is for one partition key.
    pub fn by_partition(&self) -> bool {
        matches!(self, Schedule::AssetPartitions(_))
    }

    /// Returns the time-based part of the schedule.
    pub fn time(&self) -> &Schedule {
        match self {
            Schedule::AssetsOrTime { time, .. } => time,
            other => other,
        }
    }
}

/// Meaning of a tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timetable {
    /// The run has the tick as its logical date (Airflow 3's default).
    #[default]
    Trigger,
    /// The run covers the time before the tick and has the start of that time as its logical date (Airflow 2's
    /// default).
    DataInterval,
}
