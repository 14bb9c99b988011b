//! Options of a task and schedules of a DAG: plain values, the same names as Airflow.

use super::AssetCondition;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// When a task may run, by the states of its upstreams.
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
    /// Airflow's word.
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

/// How the priority of a task follows from its own weight and its relatives'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightRule {
    /// Own weight and that of every descendant.
    #[default]
    Downstream,
    Upstream,
    Absolute,
}

/// Where the body of a task runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// In the worker, as an async task.
    #[default]
    InProcess,
    /// In a child process of its own.
    Process,
}

/// What happens to a try whose worker was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// The same try again, at most that many times; a retry of the user's is not used up.
    Retry(u16),
    Fail,
}

impl Default for OnLost {
    fn default() -> Self {
        OnLost::Retry(3)
    }
}

/// At most so many tasks that name it at the same time; or, with `per_ms`, so many beginnings within that time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    pub name: String,
    pub most: u32,
    /// A path into the run's conf: each value it has there is counted by itself.
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
    /// Only when somebody asks.
    #[default]
    Manual,
    Cron {
        expression: String,
        timezone: String,
    },
    EveryMs(u64),
    Once,
    Continuous,
    /// When the condition holds over the events since the last such run.
    Assets(AssetCondition),
    /// The same for each partition key by itself.
    AssetPartitions(AssetCondition),
    /// By time, and besides when the condition holds.
    AssetsOrTime {
        assets: AssetCondition,
        time: Box<Schedule>,
    },
}

impl Schedule {
    /// The assets that start its runs.
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

    /// A run is for one partition key.
    pub fn by_partition(&self) -> bool {
        matches!(self, Schedule::AssetPartitions(_))
    }

    /// What of it is about time.
    pub fn time(&self) -> &Schedule {
        match self {
            Schedule::AssetsOrTime { time, .. } => time,
            other => other,
        }
    }
}

/// What a tick means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timetable {
    /// The run is at the tick (Airflow 3's default).
    #[default]
    Trigger,
    /// The run covers the time up to the tick and carries its beginning as logical date (Airflow 2's default).
    DataInterval,
}
