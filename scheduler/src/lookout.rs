//! The lookout polls the database for work and wakes the loops that do it. An idle scheduler sends no other query.

use crate::pause::PauseDetector;
use crate::rounds::{Link, Shared, limited};
use orch_store::due::{After, Due, poll_due};
use orch_store::hint::Hint;
use orch_store::process::{Role, forget_process, register_process};
use orch_store::{StoreResult, connect};
use sqlx::postgres::PgConnection;
use std::time::Duration;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// Minimum time between two polls, however many hints arrive.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// Delay of the poll after a hint about a finished run. Runs end often, and the resulting work is rarely urgent.
const AFTER_RUNS: Duration = Duration::from_millis(200);
/// Poll interval while tasks wait for slots, because a process may have freed a slot without sending a hint.
pub(crate) const WHILE_PARKED: Duration = Duration::from_secs(1);
/// Added to the due time of the next item, so that the item is due when the poll runs.
const SLACK: Duration = Duration::from_millis(1);

pub(crate) async fn run_lookout(shared: Shared) -> &'static str {
    let mut lookout = Lookout { process: None, pauses: PauseDetector::default(), paused: false, slept: Duration::ZERO };
    let mut link = Link::new("lookout");
    let mut upkeep_at = Instant::now();
    while !shared.stop.is_cancelled() {
        // Armed before the poll, so that a hint during the poll is not lost.
        let due = shared.hints.on(Hint::Due).notified();
        let runs = shared.hints.on(Hint::Run).notified();
        let recorded = shared.hints.on(Hint::Recorded).notified();
        let asked = shared.board.look.notified();
        let Some(db) = link.begin(&shared).await else { break };
        let looked = limited(lookout.register_and_poll(db, &shared)).await;
        let Some(due_now) = link.end(&shared, looked).await else { continue };
        lookout.call(&due_now, &shared);
        if Instant::now() >= upkeep_at && needs_upkeep(&due_now, &shared) {
            upkeep_at = Instant::now() + shared.config.upkeep_every;
            shared.board.upkeep.notify_one();
        }
        let sleep = if lookout.paused { Duration::ZERO } else { until(&due_now, shared.config.look_every) };
        let sleep = if due_now.parked { while_parked(sleep, shared.board.gate_opens_in()) } else { sleep };
        lookout.slept = sleep;
        tokio::select! {
            () = shared.stop.cancelled() => break,
            () = sleep_unless_recorded(sleep, shared.config.fold_after, recorded) => {}
            () = due => tokio::time::sleep(BETWEEN_LOOKS).await,
            () = asked => tokio::time::sleep(BETWEEN_LOOKS).await,
            () = runs => tokio::time::sleep(AFTER_RUNS).await,
        }
    }
    lookout.say_good_bye(&shared).await;
    "lookout"
}

struct Lookout {
    process: Option<i32>,
    pauses: PauseDetector,
    /// True if a pause of the scheduler or database preceded the last poll. The next poll follows immediately and
    /// checks the leases again.
    paused: bool,
    slept: Duration,
}

impl Lookout {
    async fn register_and_poll(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<Due> {
        let process = match self.process {
            Some(process) => process,
            // Store the id before anything else can fail, so that the row can be deleted at shutdown.
            None => {
                let process = register_process(db, Role::Scheduler, &hostname(), std::process::id()).await?;
                *self.process.insert(process)
            }
        };
        let config = &shared.config;
        let after = After {
            fold: config.fold_after,
            stale: config.stale_after,
            queued: config.queued_too_long,
            awake: shared.board.awake_since(),
        };
        let due = poll_due(db, process, &shared.board.to_json(), &after).await?;
        // Another scheduler may have deleted the row while this scheduler had no database connection.
        self.process = due.known.then_some(process);
        Ok(due)
    }

    fn call(&mut self, due: &Due, shared: &Shared) {
        let (board, config) = (&shared.board, &shared.config);
        if due.timed_out {
            board.time_out.notify_one();
        }
        if due.dags {
            board.create.notify_one();
        }
        if due.queued {
            board.start.notify_one();
        }
        if due.backfills {
            board.pace.notify_one();
        }
        if due.assets {
            board.assets.notify_one();
        }
        if due.deadlines {
            board.deadlines.notify_one();
        }
        if due.waiting {
            board.wake.notify_one();
        }
        if due.parked || due.recount {
            board.admit.notify_one();
        }
        self.paused = self.pauses.notices(due.now, self.slept, shortest_lease(due));
        let awake_since = self.pauses.awake_since(due.server_started);
        board.set_awake_since(awake_since);
        board.set_may_mark_stale((due.now - awake_since).to_std().is_ok_and(|awake| awake >= config.stale_after));
        if due.unfolded || (due.workers && !self.paused) {
            board.mend.notify_one();
        }
    }

    /// Deletes this scheduler's row. Uses a connection of the pool, or a new connection if the first one was closed.
    async fn say_good_bye(&self, shared: &Shared) {
        let Some(process) = self.process else { return };
        let bye = async {
            if let Ok(mut db) = shared.cold.acquire().await
                && forget_process(&mut db, process).await.is_ok()
            {
                return Ok(());
            }
            let mut db = connect::one(&shared.config.database_url, "orch scheduler").await?;
            forget_process(&mut db, process).await
        };
        if !matches!(tokio::time::timeout(shared.config.farewell, bye).await, Ok(Ok(()))) {
            tracing::debug!("the scheduler's row is left to be forgotten");
        }
    }
}

/// Returns true if maintenance is needed. The caller limits the rate, because maintenance cannot fix every cause.
fn needs_upkeep(due: &Due, shared: &Shared) -> bool {
    let by_workers = due.stale || due.stranded;
    due.retention || due.queued_long || due.orphans || (by_workers && shared.board.may_mark_stale())
}

/// Returns the shortest lease of a living worker, or `Duration::MAX` without living workers.
fn shortest_lease(due: &Due) -> Duration {
    due.shortest_lease_secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok()).unwrap_or(Duration::MAX)
}

/// Sleeps for `most`. Ends earlier if an outcome is recorded meanwhile and no worker folds it (applies it to the run)
/// within `fold_after`.
async fn sleep_unless_recorded(most: Duration, fold_after: Duration, recorded: Notified<'_>) {
    let end = Instant::now() + most;
    tokio::select! {
        () = tokio::time::sleep_until(end) => {}
        () = recorded => tokio::time::sleep_until(end.min(Instant::now() + fold_after + SLACK)).await,
    }
}

/// Returns the time until the next item is due, at most `most`.
fn until(due: &Due, most: Duration) -> Duration {
    let next = due.next_at.and_then(|at| (at - due.now).to_std().ok()).map_or(most, |next| next + SLACK);
    next.clamp(BETWEEN_LOOKS, most)
}

/// Limits `sleep` to `WHILE_PARKED` and to the time until a rate limit admits the next task.
fn while_parked(sleep: Duration, opens_in: Option<Duration>) -> Duration {
    let next = opens_in.map_or(WHILE_PARKED, |wait| (wait + SLACK).min(WHILE_PARKED));
    sleep.min(next.max(BETWEEN_LOOKS))
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "localhost".into(), |name| name.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};

    #[test]
    fn it_sleeps_until_something_is_due() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let due = |in_ms: Option<i64>| Due {
            now,
            server_started: now,
            known: true,
            dags: false,
            assets: false,
            queued: false,
            backfills: false,
            timed_out: false,
            deadlines: false,
            waiting: false,
            unfolded: false,
            workers: false,
            orphans: false,
            stale: false,
            stranded: false,
            queued_long: false,
            parked: false,
            recount: false,
            retention: false,
            shortest_lease_secs: None,
            next_at: in_ms.map(|ms| now + TimeDelta::milliseconds(ms)),
        };
        let most = Duration::from_secs(5);
        assert_eq!(until(&due(None), most), most);
        assert_eq!(until(&due(Some(60_000)), most), most);
        assert_eq!(until(&due(Some(300)), most), Duration::from_millis(301));
        assert_eq!(until(&due(Some(0)), most), BETWEEN_LOOKS);
    }

    #[test]
    fn it_looks_each_second_while_somebody_waits_at_a_gate_and_when_a_rate_opens() {
        let (ms, secs) = (Duration::from_millis, Duration::from_secs);
        assert_eq!(while_parked(secs(5), None), secs(1));
        assert_eq!(while_parked(ms(200), None), ms(200));
        assert_eq!(while_parked(secs(5), Some(ms(300))), ms(301));
        assert_eq!(while_parked(secs(5), Some(secs(60))), secs(1));
        assert_eq!(while_parked(secs(5), Some(ms(0))), BETWEEN_LOOKS);
    }
}
