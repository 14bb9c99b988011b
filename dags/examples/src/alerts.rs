//! Alerts about retries, failed runs and runs that take too long. The connection `team_chat` has the destination. If it
//! does not exist, the alerts only appear on their page.

use orch::prelude::*;

/// Asks a shop that is often busy.
#[task(retries = 2, retry_delay = millis(200))]
async fn ask_the_shop(ctx: Ctx) -> TaskResult<u64> {
    if ctx.try_number() == 1 {
        bail!("the shop is busy");
    }
    Ok(42)
}

#[task]
async fn count(orders: u64) -> TaskResult<u64> {
    Ok(orders)
}

pub(crate) fn example_alerts() -> Dag {
    dag("example_alerts")
        .describe("Sends alerts: retries, failures, runs that take too long")
        .tags(["example"])
        .on_failure(notify("team_chat").message("{dag_id}, run {run_id}, failed"))
        .deadline(after_queued(mins(5)).tell(notify("team_chat")))
        .build(|d| {
            let told = notify("team_chat").message("{task_id} is tried again after try {try_number}: {reason}");
            let orders = d.add(ask_the_shop().on_retry(told));
            d.add(count(orders));
        })
}
