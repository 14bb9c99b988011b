//! Looks what there is to do and calls whoever does it. The one statement that an idle scheduler sends.

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

/// However many hints come, it looks no more often.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// Ends of runs are many, and what they leave to do is rarely urgent.
const AFTER_RUNS: Duration = Duration::from_millis(200);
/// While somebody waits at a gate it looks so often: a slot may be free of which nobody heard.
pub(crate) const WHILE_PARKED: Duration = Duration::from_secs(1);
/// What is due in a moment is looked at when it is surely due.
const SLACK: Duration = Duration::from_millis(1);

pub(crate) async fn run_lookout(shared: Shared) -> &'static str {
    let mut lookout = Lookout { process: None, pauses: PauseDetector::default(), paused: false, slept: Duration::ZERO };
    let mut link = Link::new("lookout");
    let mut upkeep_at = Instant::now();
    while !shared.stop.is_cancelled() {
        // Armed before we look.
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
    /// The last look came after a pause: when leases end is to be asked again.
    paused: bool,
    slept: Duration,
}

impl Lookout {
    async fn register_and_poll(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<Due> {
        let process = match self.process {
            Some(process) => process,
            // Kept before anything else can fail: who does not know his row cannot take it away.
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
        // Somebody may have forgotten us while we could not be heard.
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

    /// On a connection of the pool, else on a new one: it may have been cut without our noticing.
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

/// Some of it cannot be helped, so it is tried once in a while only.
fn needs_upkeep(due: &Due, shared: &Shared) -> bool {
    let by_workers = due.stale || due.stranded;
    due.retention || due.queued_long || due.orphans || (by_workers && shared.board.may_mark_stale())
}

/// Without workers there is no lease that a pause could end.
fn shortest_lease(due: &Due) -> Duration {
    due.shortest_lease_secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok()).unwrap_or(Duration::MAX)
}

/// Sleeps for `most`, or until `fold_after` after an outcome was recorded: an outcome that its worker has not folded by then is due.
async fn sleep_unless_recorded(most: Duration, fold_after: Duration, recorded: Notified<'_>) {
    let end = Instant::now() + most;
    tokio::select! {
        () = tokio::time::sleep_until(end) => {}
        () = recorded => tokio::time::sleep_until(end.min(Instant::now() + fold_after + SLACK)).await,
    }
}

/// How long to sleep when nobody calls.
fn until(due: &Due, most: Duration) -> Duration {
    let next = due.next_at.and_then(|at| (at - due.now).to_std().ok()).map_or(most, |next| next + SLACK);
    next.clamp(BETWEEN_LOOKS, most)
}

/// The gate that opens next may do so sooner.
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
