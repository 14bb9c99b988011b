//! Admits attempts that wait for a slot of a pool or of a concurrency limit. All slots are assigned under one lock,
//! from data that is read under that lock, so no limit is ever exceeded. The statement that records the end of an
//! attempt releases its slots. A recount finds the slots that lost workers, cancels and clears leave behind.
//!
//! Workers run admission after steps that released slots or enqueued attempts. Schedulers run it every second while
//! attempts wait.

mod past;

use crate::{
    StoreError, StoreResult, boxed,
    line::QueueLine,
    locks::{Locks, Slots},
    narrow,
    version::Versions,
};
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use orch_core::admission::{House, Verdict, Waiting, decide, look_again};
use orch_core::gates::{DEFAULT_POOL, Need, Of};
use orch_core::why::Reason;
use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Maximum number of lines that one round reads. A line is a queue of attempts with the same gates. If more lines have
/// waiting attempts, the next round continues after the last line of this one, so that each line is read in turn.
const MOST_LINES: usize = 2_000;
/// Maximum number of attempts that one round admits from a line, or from one run in that line.
const MOST_OF_LINE: usize = 1_000;
/// Maximum number of rows that one round reads from a line whose attempts are decided run by run. Reading them takes
/// some 20 ms.
const MOST_SEEN: i32 = 20_000;
/// Maximum number of waiting attempts that hold slots and are read in one round.
const MOST_HOLDERS: i64 = 10_000;
/// Maximum number of rounds (transactions) per call. The next call continues with the rest.
const MOST_ROUNDS: usize = 64;
/// Minimum interval between two recounts of slots, independent of the number of schedulers.
const RECOUNT_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Number of attempts that became claimable. The caller sends `Hint::Ready` (a wake-up signal) if it is not 0.
    pub many: usize,
    /// Time until a rate limit admits another attempt.
    pub again_in: Option<Duration>,
}

/// Admits waiting attempts while slots are free. Blocks until it gets the admission lock.
#[boxed]
pub async fn admit(db: &mut PgConnection, locks: &Locks<Slots>, versions: &Versions) -> StoreResult<Admitted> {
    let waiting = sqlx::query_scalar!(r#"select exists (select from ready where queue < 0) as "waiting!""#);
    if !waiting.fetch_one(&mut *db).await? {
        return Ok(Admitted::default());
    }
    rounds(db, locks, versions, Lock::Wait).await
}

/// Like [`admit`], but also releases slots that lost attempts left behind. Does nothing if another process holds the
/// lock.
#[boxed]
pub async fn admit_and_recount(
    db: &mut PgConnection,
    locks: &Locks<Slots>,
    versions: &Versions,
) -> StoreResult<Admitted> {
    rounds(db, locks, versions, Lock::Try).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    Wait,
    Try,
}

async fn rounds(db: &mut PgConnection, locks: &Locks<Slots>, versions: &Versions, lock: Lock) -> StoreResult<Admitted> {
    let mut all = Admitted::default();
    for _ in 0..MOST_ROUNDS {
        let done = match round(db, locks, versions, lock, By::All).await {
            Err(error) if error.is_of_one_item() => {
                tracing::warn!(%error, cause = error.source_text(), "those who wait are let in by halves");
                round(db, locks, versions, lock, By::Halves).await
            }
            done => done,
        };
        let Some((round, more)) = done? else { break };
        all.many += round.many;
        all.again_in = round.again_in;
        if !more {
            break;
        }
    }
    Ok(all)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    All,
    /// The batch is halved until the attempts that cannot be written are isolated. They are logged and keep waiting.
    Halves,
}

/// Runs one round in a transaction. Returns `None` if another process holds the lock. The returned flag is true if
/// another round may admit more.
async fn round(
    db: &mut PgConnection,
    locks: &Locks<Slots>,
    versions: &Versions,
    lock: Lock,
    by: By,
) -> StoreResult<Option<(Admitted, bool)>> {
    let mut tx = db.begin().await?;
    let Some(recount) = take_lock(&mut tx, locks, lock).await? else {
        tx.rollback().await?;
        return Ok(None);
    };
    if recount {
        sqlx::query_file!("queries/admission/recount.sql").fetch_one(&mut *tx).await?;
    }
    let (house, ids) = read_house(&mut tx, versions.admitted_to()).await?;
    versions.set_admitted_to(ids.last().filter(|_| ids.len() >= MOST_LINES).map_or(0, |line| -line));
    let lines = versions.lines(&mut tx, &ids).await?;
    let mut candidates = first_of(&mut tx, &house, &lines).await?;
    if lock == Lock::Try {
        let known: HashSet<Uuid> = candidates.iter().map(|c| c.attempt).collect();
        candidates.extend(holders(&mut tx).await?.into_iter().filter(|c| !known.contains(&c.attempt)));
        candidates.sort_unstable_by_key(|c| (std::cmp::Reverse(c.priority), c.seq));
    }
    let of_line: HashMap<i32, Arc<QueueLine>> = lines.into_iter().map(|line| (line.id, line)).collect();
    candidates.retain(|c| of_line.contains_key(&c.line));
    let facts = Facts::read(&mut tx, versions, &candidates, &of_line).await?;
    let waiting: Vec<Waiting<'_>> = candidates.iter().map(|c| facts.of(c, &of_line[&c.line])).collect();
    let now = house.now;
    let verdicts = decide(house, &waiting);
    let again_in = look_again(&verdicts).map(|at| (at - now).to_std().unwrap_or_default());
    let goes: Vec<_> = candidates.iter().zip(verdicts).filter_map(|(c, v)| Some((c, going(v)?))).collect();
    let more = goes.len() >= MOST_OF_LINE;
    let many = match by {
        By::All => let_in(&mut tx, now, &goes).await?,
        By::Halves => let_in_by_halves(&mut tx, now, &goes).await?,
    };
    tx.commit().await?;
    Ok(Some((Admitted { many, again_in }, more)))
}

type Going<'a> = (&'a Candidate, Vec<Need>);

async fn let_in_by_halves(db: &mut PgConnection, now: DateTime<Utc>, goes: &[Going<'_>]) -> StoreResult<usize> {
    let (mut many, mut left) = (0, vec![goes]);
    while let Some(some) = left.pop() {
        let mut savepoint = db.begin().await?;
        match let_in(&mut savepoint, now, some).await {
            Ok(let_in) => {
                savepoint.commit().await?;
                many += let_in;
            }
            Err(error) if error.is_of_one_item() => {
                savepoint.rollback().await?;
                let (first, second) = some.split_at(some.len() / 2);
                match first {
                    [] => some.iter().for_each(|(c, _)| not_let_in(c, &error)),
                    _ => left.extend([second, first]),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(many)
}

fn not_let_in(c: &Candidate, error: &StoreError) {
    let (cause, map_index) = (error.source_text(), c.map_index);
    tracing::error!(run = %c.run, task = c.task, map_index, %error, cause, "a try cannot be let in");
}

fn going(verdict: Verdict) -> Option<Vec<Need>> {
    match verdict {
        Verdict::Go(needs) => Some(needs),
        Verdict::Stay(_) => None,
    }
}

/// Takes the admission lock. Returns `None` if another process holds it, and true if slots must be recounted.
async fn take_lock(db: &mut PgConnection, _locks: &Locks<Slots>, lock: Lock) -> StoreResult<Option<bool>> {
    // The commit needs no WAL flush. A crash that loses it loses the slots and the admission together, and every claim
    // of an admitted attempt comes later in the WAL.
    const ASYNC: &str = "off";
    let recount = match lock {
        Lock::Wait => {
            sqlx::query_scalar!(
                r#"select false as "recount!"
            from admission, set_config('synchronous_commit', $1, true) for no key update of admission"#,
                ASYNC
            )
            .fetch_optional(db)
            .await?
        }
        Lock::Try => {
            sqlx::query_scalar!(
                r#"select recounted_at < clock_timestamp() - $2::float8 * interval '1 second' as "old!"
            from admission, set_config('synchronous_commit', $1, true) for no key update of admission skip locked"#,
                ASYNC,
                RECOUNT_EVERY.as_secs_f64()
            )
            .fetch_optional(db)
            .await?
        }
    };
    Ok(recount)
}

/// Converts the id of a line (a queue of attempts), or the number of slots of a pool (negative if unlimited).
fn whole(number: i64) -> StoreResult<i32> {
    i32::try_from(number).map_err(|_| StoreError::corrupt(format!("{number} is no id and no number of slots")))
}

/// Reads the taken slots, and the ids of lines (queues) that have waiting attempts, starting after the line `after`.
async fn read_house(db: &mut PgConnection, after: i32) -> StoreResult<(House, Vec<i32>)> {
    let rows = sqlx::query_file!("queries/admission/house.sql", MOST_LINES as i64, after).fetch_all(&mut *db).await?;
    let (mut house, mut ids) = (House::default(), Vec::new());
    for row in rows {
        match row.kind.as_str() {
            "line" => ids.push(whole(row.many)?),
            "pool" => {
                house.now = row.at;
                house.pools.insert(row.name, whole(row.many)?);
            }
            "slot" => {
                house.taken.insert(row.name, row.many);
            }
            _ => house.lately.entry(row.name).or_default().push((row.at, row.many)),
        }
    }
    house.lately.values_mut().for_each(|lately| lately.sort_unstable());
    Ok((house, ids))
}

/// An attempt that waits for admission.
#[derive(Debug, Clone)]
struct Candidate {
    /// The `ctid` of its row in `ready`, which is valid until the row changes.
    at: String,
    line: i32,
    run: Uuid,
    task: i16,
    map_index: i32,
    attempt: Uuid,
    version: i32,
    priority: i32,
    seq: i64,
    holds: Vec<String>,
}

/// Returns the first attempts of each line (queue), as many as could get a slot.
async fn first_of(db: &mut PgConnection, house: &House, lines: &[Arc<QueueLine>]) -> StoreResult<Vec<Candidate>> {
    let (mut ids, mut most, mut by_run) = (Vec::new(), Vec::new(), Vec::new());
    for line in lines {
        let room = house.room(&line.gates).min(MOST_OF_LINE);
        if room > 0 {
            ids.push(line.id);
            most.push(narrow::int(room));
            by_run.push(line.gates.are_of_runs());
        }
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_file_as!(Candidate, "queries/admission/waiting.sql", &ids, &most, &by_run, MOST_SEEN);
    Ok(rows.fetch_all(db).await?)
}

async fn holders(db: &mut PgConnection) -> StoreResult<Vec<Candidate>> {
    Ok(sqlx::query_file_as!(Candidate, "queries/admission/holders.sql", MOST_HOLDERS).fetch_all(db).await?)
}

struct Facts {
    /// Slots that attempts need, by run and line. Only lines whose limits have a key are included.
    needs: HashMap<(Uuid, i32), Vec<Need>>,
    past: HashMap<(Uuid, i16), Reason>,
}

impl Facts {
    async fn read(
        db: &mut PgConnection,
        versions: &Versions,
        candidates: &[Candidate],
        lines: &HashMap<i32, Arc<QueueLine>>,
    ) -> StoreResult<Facts> {
        let keyed = |c: &&Candidate| lines[&c.line].gates.limits.iter().any(|limit| limit.key.is_some());
        let mut lines_of: HashMap<Uuid, HashSet<i32>> = HashMap::new();
        for c in candidates.iter().filter(keyed) {
            lines_of.entry(c.run).or_default().insert(c.line);
        }
        let needs = keyed_needs(db, &lines_of, lines).await?;
        let mut wanted = Vec::new();
        for c in candidates {
            wanted.extend(lines[&c.line].gates.past.map(|gate| past::TaskAwaitingPast {
                run: c.run,
                task: c.task,
                version: c.version,
                gate,
            }));
        }
        Ok(Facts { needs, past: past::reasons(db, versions, &wanted).await? })
    }

    fn of<'a>(&'a self, c: &'a Candidate, line: &'a QueueLine) -> Waiting<'a> {
        Waiting {
            needs: self.needs.get(&(c.run, c.line)).cloned().unwrap_or_else(|| line.gates.needs(None)),
            holds: &c.holds,
            past: self.past.get(&(c.run, c.task)).cloned(),
        }
    }
}

/// Returns the slots that attempts of these runs need, by run and line. A run configuration (`conf`) can have 1 MB, so
/// it is dropped as soon as its limit keys are evaluated.
async fn keyed_needs(
    db: &mut PgConnection,
    lines_of: &HashMap<Uuid, HashSet<i32>>,
    lines: &HashMap<i32, Arc<QueueLine>>,
) -> StoreResult<HashMap<(Uuid, i32), Vec<Need>>> {
    let mut needs = HashMap::new();
    if lines_of.is_empty() {
        return Ok(needs);
    }
    let runs: Vec<Uuid> = lines_of.keys().copied().collect();
    let mut rows = sqlx::query!(
        r#"select run, conf::text as "conf!" from dag_run_detail where run = any($1) and conf is not null"#,
        &runs
    )
    .fetch(db);
    while let Some(row) = rows.try_next().await? {
        match serde_json::from_str::<Value>(&row.conf) {
            Ok(conf) => {
                needs.extend(
                    lines_of[&row.run].iter().map(|line| ((row.run, *line), lines[line].gates.needs(Some(&conf)))),
                );
            }
            Err(error) => {
                tracing::error!(run = %row.run, %error, "the conf of a run cannot be read: it counts as empty");
            }
        }
    }
    Ok(needs)
}

/// Makes admitted attempts claimable, and returns their number. Skips attempts that another transaction removes
/// meanwhile.
async fn let_in(db: &mut PgConnection, now: DateTime<Utc>, goes: &[Going<'_>]) -> StoreResult<usize> {
    if goes.is_empty() {
        return Ok(0);
    }
    let at: Vec<String> = goes.iter().map(|(c, _)| c.at.clone()).collect();
    let slots: Vec<_> = goes.iter().flat_map(|(c, needs)| needs.iter().map(move |need| (*c, need))).collect();
    let mut rated: Vec<(Uuid, String, DateTime<Utc>)> = Vec::new();
    for (c, need) in &slots {
        if let Of::Rate { per_ms, .. } = need.of {
            let per = TimeDelta::milliseconds(i64::try_from(per_ms).unwrap_or(i64::MAX / 2));
            rated.extend(now.checked_add_signed(per).map(|until| (c.attempt, need.limit.clone(), until)));
        }
    }
    let many = sqlx::query_file_scalar!(
        "queries/admission/let_in.sql",
        &at,
        &slots.iter().map(|(c, _)| c.attempt).collect::<Vec<_>>(),
        &slots.iter().map(|(_, need)| need.limit.clone()).collect::<Vec<_>>(),
        &slots.iter().map(|(_, need)| need.slots).collect::<Vec<_>>(),
        &slots.iter().map(|(c, _)| c.run).collect::<Vec<_>>(),
        &slots.iter().map(|(c, _)| c.task).collect::<Vec<_>>(),
        &slots.iter().map(|(c, _)| c.map_index).collect::<Vec<_>>(),
        &rated.iter().map(|r| r.0).collect::<Vec<_>>(),
        &rated.iter().map(|r| r.1.clone()).collect::<Vec<_>>(),
        &rated.iter().map(|r| r.2).collect::<Vec<_>>(),
        &goes.iter().map(|(c, _)| c.attempt).collect::<Vec<_>>(),
        now
    );
    Ok(narrow::size(many.fetch_one(db).await?))
}

/// Returns the reasons why an instance waits for admission, as if it were the first in its queue. `None` if it does not
/// wait for admission.
pub(crate) async fn one_waiting(
    db: &mut PgConnection,
    versions: &Versions,
    (run, task, map_index): (Uuid, orch_core::plan::TaskIdx, i32),
) -> StoreResult<Option<Vec<Reason>>> {
    let found = sqlx::query_as!(
        Candidate,
        r#"select r.ctid::text as "at!", -r.queue as "line!", r.run, r.task, r.map_index, r.attempt, r.version, r.priority,
          r.seq, array(select s.limit_name from slot s where s.attempt = r.attempt) as "holds!"
        from ready r where r.run = $1 and r.task = $2 and r.map_index = $3 and r.queue < 0"#,
        run,
        task as i16,
        map_index
    );
    let Some(candidate) = found.fetch_optional(&mut *db).await? else { return Ok(None) };
    let (house, _) = read_house(db, 0).await?;
    let Some(line) = versions.lines(db, &[candidate.line]).await?.pop() else { return Ok(None) };
    let of_line = HashMap::from([(line.id, line.clone())]);
    let candidates = [candidate];
    let facts = Facts::read(db, versions, &candidates, &of_line).await?;
    let verdicts = decide(house, &[facts.of(&candidates[0], &line)]);
    Ok(verdicts.into_iter().next().map(|verdict| match verdict {
        Verdict::Go(_) => vec![Reason::Admitted],
        Verdict::Stay(reasons) => reasons,
    }))
}

/// Returns the database time, and the ids of the DAG's running runs that count against its limit, oldest first.
pub(crate) async fn runs_active(db: &mut PgConnection, dag_id: &str) -> StoreResult<(DateTime<Utc>, Vec<String>)> {
    let row = sqlx::query!(
        r#"select now() as "now!", array(select run_id from dag_run where dag_id = $1 and state = 'running'
            and run_type <> 'backfill' order by started_at, id limit 1000) as "runs!""#,
        dag_id
    );
    let row = row.fetch_one(db).await?;
    Ok((row.now, row.runs))
}

/// True if the default pool has a limit, so that tasks without a pool must be admitted too.
pub(crate) async fn default_pool_has_size(db: &mut PgConnection) -> StoreResult<bool> {
    let size = sqlx::query_scalar!(r#"select slots >= 0 as "has_size!" from pool where name = $1"#, DEFAULT_POOL);
    Ok(size.fetch_optional(db).await?.unwrap_or(false))
}
