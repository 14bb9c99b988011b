//! A DAG that sends an alert for every event, and the alerts that must have been sent in the end.

use crate::dags::{flaky, list, torture, work};
use crate::ledger::Mark;
use orch::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

pub const TOLD: &str = "told";
/// Connection that receives the alerts.
pub const TEAM: &str = "team";

#[task]
async fn skip_each(ctx: Ctx, number: u64) -> TaskResult<u64> {
    Mark::start(&ctx).fail();
    Err(skip(format!("{number}, as the script says")))
}

pub fn dag() -> Dag {
    torture(TOLD).on_success(notify(TEAM)).deadline(after_queued(millis(1)).tell(notify(TEAM))).build(|d| {
        let work = d.add(work(30).id("work").on_success(notify(TEAM)));
        d.add(flaky(1).id("flaky_1").retry_delay(millis(30)).on_retry(notify(TEAM)).after(work));
        d.map(d.add(list()), |number| skip_each(number).on_skipped(notify(TEAM)));
    })
}

/// Kind of alert that can combine several elements: any number of alerts, but each element in exactly one.
pub const TOGETHER: &str = "task_skipped";

/// Kinds of the other alerts of each run.
pub const OF_EACH_RUN: [&str; 4] = ["deadline_missed", "run_success", "task_retry", "task_success"];

/// Returns the distinct keys of alerts by kind.
pub fn by_kind(keys: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for key in keys {
        let kind = key.split('/').next().unwrap_or_default();
        found.entry(kind.into()).or_default().insert(key.clone());
    }
    found
}
