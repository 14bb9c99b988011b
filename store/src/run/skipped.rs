//! Writes the rows of instances that had not started when a user or a timeout ended their run.
//!
//! Writing the rows of a long map takes seconds, and the transaction that ends the run holds the run's lock. It
//! therefore writes only the first batch and records the remaining batches in the table `unwritten_skip`; schedulers
//! write those one at a time. Before a clear or a mark, which needs the states of all instances, all batches of the run
//! are written.

use crate::{StoreResult, boxed};
use orch_core::plan::Plan;
use orch_core::run::Run;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Maximum number of rows per batch. Writing 20,000 rows takes about 0.2 s, far below the statement timeout.
const MAX_ROWS: i32 = 20_000;

/// SQL that writes the rows of the CTE `ended`, which has the columns `run`, `rev`, `tasks`, `firsts` and `lasts`.
/// Cleared instances already have a row without a state, which is updated.
const WRITE: &str =
    "insert into task_instance as i (run, task, map_index, attempt, try_no, max_tries, lease_no, state, ended_at)
    select e.run, r.task, index, gen_random_uuid(), 0, 0, 0, 'skipped', now()
    from ended e, unnest(e.tasks, e.firsts, e.lasts) as r (task, first, last), generate_series(r.first, r.last) as index
    on conflict (run, task, map_index) do update set lease_no = i.lease_no + 1, state = 'skipped', ended_at = now(),
      rev_end = (select rev from ended) where i.state is null";

/// The unfinished tasks of an ended run, each with its number of mapped elements. The number is 0 for a task that is
/// not mapped.
pub(super) struct Rest {
    tasks: Vec<i16>,
    lengths: Vec<i32>,
}

impl Rest {
    pub(super) fn new(plan: &Plan, ledger: &Run) -> Rest {
        let open = (0..).zip(&plan.tasks).filter(|(task, _)| !ledger.task(*task).is_finished());
        let (tasks, lengths) = open.map(|(task, planned)| (task as i16, ledger.len(planned).unwrap_or(0))).unzip();
        Rest { tasks, lengths }
    }

    /// Divides all instances into batches of at most `most` instances, in DAG order.
    fn batches(&self, most: i32) -> Vec<Vec<ElementRange>> {
        let (mut batches, mut batch, mut free) = (Vec::new(), Vec::new(), most);
        for (&task, &length) in self.tasks.iter().zip(&self.lengths) {
            let (mut first, end) = if length > 0 { (0, length) } else { (-1, 0) };
            while first < end {
                let next = end.min(first + free);
                batch.push(ElementRange { task, first, last: next - 1 });
                free -= next - first;
                first = next;
                if free == 0 {
                    batches.push(std::mem::take(&mut batch));
                    free = most;
                }
            }
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
        batches
    }
}

/// A range of mapped elements of a task, both ends inclusive. Both ends are -1 if the task is not mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ElementRange {
    task: i16,
    first: i32,
    last: i32,
}

/// Marks all unfinished instances of an ended run as skipped. The first batch is written in the caller's transaction,
/// the others later. `rev` is the revision at which the run ended.
pub(super) async fn skip_rest(db: &mut PgConnection, run: Uuid, rev: i32, rest: &Rest) -> StoreResult<()> {
    for (batch, ranges) in (0..).zip(rest.batches(MAX_ROWS)) {
        let text = match batch {
            0 => format!(
                "with ended as (select $1::uuid as run, $2::integer as rev, $3::smallint[] as tasks, $4::integer[] as firsts,
                  $5::integer[] as lasts) {WRITE}"
            ),
            _ => format!(
                "insert into unwritten_skip (run, batch, rev, tasks, firsts, lasts) values ($1, {batch}, $2, $3, $4, $5)"
            ),
        };
        sqlx::query(AssertSqlSafe(text))
            .bind(run)
            .bind(rev)
            .bind(ranges.iter().map(|range| range.task).collect::<Vec<_>>())
            .bind(ranges.iter().map(|range| range.first).collect::<Vec<_>>())
            .bind(ranges.iter().map(|range| range.last).collect::<Vec<_>>())
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// Writes one recorded batch of any run, skipping batches that another session is writing. Returns false if there is no
/// batch to write.
#[boxed]
pub async fn write_skipped(db: &mut PgConnection) -> StoreResult<bool> {
    write_batch(db, None, "for update skip locked").await
}

/// Writes all recorded batches of an ended run. Waits for batches that another session is writing.
pub(crate) async fn write_all_skipped(db: &mut PgConnection, run: Uuid) -> StoreResult<()> {
    while write_batch(db, Some(run), "for update").await? {}
    Ok(())
}

async fn write_batch(db: &mut PgConnection, run: Option<Uuid>, lock: &str) -> StoreResult<bool> {
    let text = format!(
        "with next as (select run, batch from unwritten_skip where $1::uuid is null or run = $1 order by run, batch limit 1 {lock}),
        ended as (delete from unwritten_skip u using next n where u.run = n.run and u.batch = n.batch returning u.*),
        written as ({WRITE})
        select exists (select from ended)"
    );
    Ok(sqlx::query_scalar(AssertSqlSafe(text)).bind(run).fetch_one(db).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_is_in_one_batch() {
        let rest = Rest { tasks: vec![0, 3, 4, 7], lengths: vec![0, 5, 0, 9] };
        for most in 1..20 {
            let batches = rest.batches(most);
            let size = |batch: &Vec<ElementRange>| batch.iter().map(|range| range.last - range.first + 1).sum::<i32>();
            assert!(batches.iter().all(|batch| (1..=most).contains(&size(batch))), "{batches:?}");
            let all =
                batches.iter().flatten().flat_map(|range| (range.first..=range.last).map(|index| (range.task, index)));
            let expected =
                [(0, -1)].into_iter().chain((0..5).map(|i| (3, i))).chain([(4, -1)]).chain((0..9).map(|i| (7, i)));
            assert!(all.eq(expected), "{most}");
        }
        assert_eq!(Rest { tasks: Vec::new(), lengths: Vec::new() }.batches(5), Vec::<Vec<ElementRange>>::new());
    }
}
