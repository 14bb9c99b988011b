//! DAGs whose tasks share pools, limits and keys, and the number of concurrent tasks according to the outside ledger.
//!
//! The name of a task determines its limits: `pool_…` takes a slot of the pool, as does each attempt of `flaky_1`, and
//! `two_…` takes two; `crm_…`, `customer_…`, `lonely` and `rate_…` have the limit of that name, and together with
//! `start` they use the default pool, which has a size here; `in_order` waits for the previous run.

use crate::dags::{torture, works};
use crate::ledger::{Entry, Mark, Word};
use crate::world::Kill;
use orch::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

pub const POOL: &str = "tight";
pub const SLOTS: i32 = 4;
/// Size of the default pool: fewer slots than its tasks would use.
pub const DEFAULT_SLOTS: i32 = 6;
/// Prefixes of tasks without a named pool.
pub const IN_DEFAULT: [&str; 5] = ["start", "crm_", "customer_", "lonely", "rate_"];
pub const CRM: u32 = 2;
pub const RATE: u32 = 6;
pub const RATE_PER: Duration = Duration::from_millis(500);

#[task]
async fn uses(ctx: Ctx, ms: u64) -> TaskResult<u64> {
    works(&ctx, ms).await;
    Ok(ms)
}

#[task(retries = 2, retry_delay = millis(30))]
async fn at_second(ctx: Ctx) -> TaskResult<u32> {
    let mark = Mark::start(&ctx);
    tokio::time::sleep(Duration::from_millis(20)).await;
    if ctx.try_number() == 1 {
        mark.fail();
        bail!("the first try fails");
    }
    mark.end();
    Ok(ctx.try_number())
}

const WIDE: [u64; 6] = [50, 120, 200, 20, 300, 80];

/// Returns two DAGs that compete for the same slots.
pub fn dags() -> Vec<Dag> {
    vec![dag_of("limited", 1), dag_of("limited_too", 5)]
}

fn dag_of(dag_id: &str, priority: i32) -> Dag {
    torture(dag_id).build(|d| {
        let start = d.add(uses(1).id("start"));
        d.map(WIDE, |ms| uses(ms).id("pool_wide").pool(POOL).priority(priority).after(start));
        d.add(uses(150).id("two_slots").pool(POOL).pool_slots(2).isolation(Isolation::Process).after(start));
        d.add(at_second().id("flaky_1").pool(POOL).after(start));
        d.map(WIDE, |ms| uses(ms).id("crm_wide").limit(limit("crm", CRM)).after(start));
        d.map(WIDE, |ms| uses(ms).id("customer_wide").limit(limit("customer", 1).key("who.name")).after(start));
        d.add(uses(40).id("lonely").max_active_over_runs(1).after(start));
        d.map(WIDE, |ms| uses(ms).id("rate_wide").limit(limit("api", RATE).per(RATE_PER)).after(start));
        d.add(uses(20).id("in_order").depends_on_past(true).pool(POOL).after(start));
    })
}

/// A task function from its start to its end, or to the death of its worker.
#[derive(Debug, Clone, Copy)]
pub struct Stay<'a> {
    pub of: &'a Entry,
    pub until: Duration,
}

/// Returns all task functions that started. A worker that was not killed may have ended an attempt itself when a busy
/// machine delayed its heartbeat: that attempt keeps its slots until its next lease starts it again. An attempt without
/// an end, a killed worker or a successor never ends.
pub fn stays<'a>(entries: &'a [Entry], kills: &[Kill]) -> Vec<Stay<'a>> {
    let (mut ends, mut begins) = (BTreeMap::new(), BTreeMap::new());
    for entry in entries {
        let of = if entry.word == Word::Start { &mut begins } else { &mut ends };
        of.insert((entry.attempt, entry.lease_no), entry.at);
    }
    let begun = entries.iter().filter(|entry| entry.word == Word::Start);
    begun
        .map(|of| {
            let end = ends.get(&(of.attempt, of.lease_no)).copied();
            let killed = kills.iter().find(|kill| (kill.pid == of.pid || kill.pid == of.parent) && kill.at > of.at);
            let again = begins.range((of.attempt, of.lease_no + 1)..=(of.attempt, i32::MAX)).next().map(|(_, at)| *at);
            let until = end.or(killed.map(|kill| kill.at)).or(again).unwrap_or(Duration::MAX);
            Stay { of, until }
        })
        .collect()
}

/// Returns the maximum total weight of concurrent task functions.
pub fn most_at_once<'a>(stays: impl Iterator<Item = (&'a Stay<'a>, i32)>) -> i32 {
    let mut moments: Vec<(Duration, i32)> = Vec::new();
    for (stay, weight) in stays {
        moments.extend([(stay.of.at, weight), (stay.until, -weight)]);
    }
    // At equal times, ends sort before starts, so that they free their slots first.
    moments.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, weight) in moments {
        now += weight;
        most = most.max(now);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn line(lease_no: i32, word: Word, at: u64) -> Entry {
        let at = Duration::from_millis(at);
        let (run, attempt) = (Uuid::nil(), Uuid::nil());
        Entry {
            run,
            task_id: "lonely".into(),
            map_index: -1,
            attempt,
            lease_no,
            try_no: 1,
            word,
            pid: 7,
            parent: 1,
            at,
        }
    }

    fn check(entries: &[Entry], kills: &[Kill], expected: &[Option<u64>]) {
        let until: Vec<_> = stays(entries, kills).iter().map(|stay| stay.until).collect();
        let expected: Vec<_> = expected.iter().map(|ms| ms.map_or(Duration::MAX, Duration::from_millis)).collect();
        assert_eq!(until, expected);
    }

    #[test]
    fn a_body_stays_until_its_end_its_death_or_its_next_lease() {
        let (begun, ended) = (line(1, Word::Start, 10), line(1, Word::End, 30));
        check(&[begun.clone(), ended.clone()], &[], &[Some(30)]);
        check(std::slice::from_ref(&begun), &[Kill { pid: 7, at: Duration::from_millis(20) }], &[Some(20)]);
        check(&[begun.clone(), line(3, Word::Start, 50), line(3, Word::End, 60)], &[], &[Some(50), Some(60)]);
        check(&[begun], &[], &[None]);
    }
}
