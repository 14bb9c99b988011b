//! Checks that schedules are valid and dates are in order.

use super::{Checked, MAX_DURATION_MS};
use crate::schedule::{CronExpr, parse_timezone};
use crate::{DagSpec, Schedule};

pub(super) fn check(dag: &mut Checked<'_>) {
    let spec = dag.spec;
    match spec.schedule.time() {
        Schedule::Cron { expression, timezone } => {
            if let Err(error) = CronExpr::parse(expression) {
                dag.about_dag(error.message(), error.hint());
            }
            if let Err(error) = parse_timezone(timezone) {
                dag.about_dag(error.message(), error.hint());
            }
        }
        Schedule::EveryMs(0) => dag.about_dag("it runs every 0 ms", "use `continuous()` for one run after the other"),
        Schedule::EveryMs(ms) if *ms > MAX_DURATION_MS => {
            dag.about_dag("it runs less than once in ten years", "use `once()`");
        }
        Schedule::Continuous if spec.max_active_runs.is_some_and(|runs| runs > 1) => {
            dag.about_dag("a continuous dag has one run after the other", "remove `.max_active_runs(…)`");
        }
        Schedule::Manual
        | Schedule::EveryMs(_)
        | Schedule::Once
        | Schedule::Continuous
        | Schedule::Assets(_)
        | Schedule::AssetPartitions(_)
        | Schedule::AssetsOrTime { .. } => {}
    }
    if is_nested(spec) {
        dag.about_dag("what it has beside assets is no time", "write `asset_or_time(assets, cron(\"…\"))`");
    }
    if let (Some(start), Some(end)) = (spec.start, spec.end)
        && start > end
    {
        let (start, end) = (start.to_rfc3339(), end.to_rfc3339());
        dag.about_dag(format!("`start` {start} is after `end` {end}"), "swap the two dates");
    }
}

/// Returns true if the time of an asset-or-time schedule never creates a run by itself.
fn is_nested(spec: &DagSpec) -> bool {
    let nothing = |time: &Schedule| matches!(time, Schedule::Manual) || time.assets().is_some();
    matches!(&spec.schedule, Schedule::AssetsOrTime { time, .. } if nothing(time))
}
