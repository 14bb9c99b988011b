//! Outbox of alerts: those to be sent, being sent, and sent. A row is written in the transaction of the event that it
//! reports. A sender takes a lease until `due_at` and records the outcome. If the sender dies, its lease expires and
//! another sender takes over.

mod failed;
mod gather;
mod list;
mod tell;

pub use gather::{NextAlert, gather_alerts, next_alert_in};
pub use list::{ALERTS, AlertRow, alert, alerts_of_run, by};
pub use tell::{tell_of_checks, tell_of_stale};

use crate::{StoreError, StoreResult, boxed, step::json};
use chrono::{DateTime, Utc};
use orch_core::alert::{AlertKind, Facts, NewAlert, again_in};
use orch_spec::Notifier;
use sqlx::postgres::PgConnection;
use std::time::Duration;
use uuid::Uuid;

/// Lease of a sender. After it has expired, another sender may send the alert.
pub const LEASE: Duration = Duration::from_mins(1);
/// Maximum length of a receiver's error message in characters. The rest is cut off.
const MOST_PROBLEM_CHARS: usize = 500;
/// Error message of an alert whose row cannot be decoded.
const UNREADABLE: &str = "what is stored of this alert cannot be read";

/// An alert that this process has claimed and sends.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    pub id: i64,
    pub key: String,
    pub kind: AlertKind,
    pub notifier: Notifier,
    pub facts: Facts,
    pub run_id: Option<String>,
    pub logical_date: Option<DateTime<Utc>>,
    pub at: DateTime<Utc>,
    /// Number of attempts to send the alert. It is the fencing token.
    pub tries: i32,
    pub age: Duration,
}

/// Writes alerts. `run` is `None` for alerts that do not belong to a run. If an alert with the same key exists, it is
/// left unchanged. The caller commits, and then sends `Hint::Alert` (a wake-up signal).
#[boxed]
pub async fn add_alerts(db: &mut PgConnection, run: Option<Uuid>, alerts: &[NewAlert]) -> StoreResult<()> {
    let (whole, parts): (Vec<&NewAlert>, Vec<&NewAlert>) = alerts.iter().partition(|alert| alert.gather.is_none());
    if let (Some(run), false) = (run, parts.is_empty()) {
        add_parts(db, run, &parts).await?;
    }
    if whole.is_empty() {
        return Ok(());
    }
    let alerts = whole;
    sqlx::query!(
        "insert into alert (key, kind, notifier, facts, dag_id, run, run_id, logical_date)
        select a.key, a.kind, a.notifier::json, a.facts::json, coalesce(r.dag_id, nullif(a.dag_id, '')), r.id, r.run_id,
          r.logical_date
        from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) as a (key, kind, notifier, facts, dag_id)
        left join dag_run r on r.id = $1 on conflict (key) do nothing",
        run,
        &alerts.iter().map(|a| a.key.clone()).collect::<Vec<_>>(),
        &alerts.iter().map(|a| a.kind.to_string()).collect::<Vec<_>>(),
        &alerts.iter().map(|a| json(&a.notifier)).collect::<Vec<_>>(),
        &alerts.iter().map(|a| json(&a.facts)).collect::<Vec<_>>(),
        &alerts.iter().map(|a| a.facts.dag_id.clone()).collect::<Vec<_>>()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Writes alerts of mapped elements, which are later merged into one alert.
async fn add_parts(db: &mut PgConnection, run: Uuid, parts: &[&NewAlert]) -> StoreResult<()> {
    sqlx::query!(
        "insert into alert_part (key, gather, kind, notifier, facts, map_index, dag_id, run, run_id, logical_date)
        select a.key, a.gather, a.kind, a.notifier::json, a.facts::json, a.map_index, r.dag_id, r.id, r.run_id, r.logical_date
        from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::integer[])
          as a (key, gather, kind, notifier, facts, map_index)
        join dag_run r on r.id = $1 on conflict (key) do nothing",
        run,
        &parts.iter().map(|a| a.key.clone()).collect::<Vec<_>>(),
        &parts.iter().map(|a| a.gather.clone().unwrap_or_default()).collect::<Vec<_>>(),
        &parts.iter().map(|a| a.kind.to_string()).collect::<Vec<_>>(),
        &parts.iter().map(|a| json(&a.notifier)).collect::<Vec<_>>(),
        &parts.iter().map(|a| json(&a.facts)).collect::<Vec<_>>(),
        &parts.iter().map(|a| a.facts.map_index.unwrap_or(-1)).collect::<Vec<_>>()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Claims at most `most` due alerts. Alerts with the fewest attempts come first, so that a receiver that is down does
/// not delay alerts to other receivers. For the same reason, an alert that cannot be decoded is given up.
#[boxed]
pub async fn claim_alerts(db: &mut PgConnection, most: i64) -> StoreResult<Vec<Claimed>> {
    let rows = sqlx::query!(
        r#"update alert set tries = tries + 1, due_at = now() + $2::float8 * interval '1 second'
        where id = any(array(select id from alert where state = 'waiting' and due_at <= now() order by tries, due_at
            limit $1 for update skip locked)) and state = 'waiting'
        returning id, key, kind, notifier::text as "notifier!", facts::text as "facts!", run_id, logical_date, at, tries,
          extract(epoch from now() - at)::float8 as "age!""#,
        most,
        LEASE.as_secs_f64()
    );
    let rows = rows.fetch_all(&mut *db).await?.into_iter();
    let all = rows.map(|row| {
        let (id, tries) = (row.id, row.tries);
        let alert = || -> StoreResult<Claimed> {
            Ok(Claimed {
                notifier: read(id, &row.notifier)?,
                facts: read(id, &row.facts)?,
                kind: crate::run::word(&row.kind)?,
                id,
                key: row.key,
                run_id: row.run_id,
                logical_date: row.logical_date,
                at: row.at,
                tries,
                age: Duration::try_from_secs_f64(row.age).unwrap_or_default(),
            })
        };
        alert().map_err(|error| (id, tries, error))
    });
    let (read, unreadable): (Vec<_>, Vec<_>) = all.partition(Result::is_ok);
    let mut read: Vec<Claimed> = read.into_iter().flatten().collect();
    for claimed in read.iter_mut().filter(|one| one.kind == AlertKind::RunFailed && one.facts.failed.is_none()) {
        if let Err(error) = failed::add_failed_tasks(db, claimed).await {
            tracing::warn!(id = claimed.id, %error, cause = error.source_text(), "an alert is sent without the failed tasks of its run");
        }
    }
    for (id, tries, error) in unreadable.into_iter().filter_map(Result::err) {
        tracing::error!(id, %error, "an alert cannot be read, so it is given up");
        not_sent(db, (id, tries), UNREADABLE, None).await?;
    }
    Ok(read)
}

fn read<T: serde::de::DeserializeOwned>(id: i64, text: &str) -> StoreResult<T> {
    serde_json::from_str(text).map_err(|error| StoreError::corrupt(format!("alert {id}: {error}")))
}

/// Records that an alert was delivered. This is also accepted after its lease has expired.
#[boxed]
pub async fn alert_sent(db: &mut PgConnection, claimed: &Claimed) -> StoreResult<()> {
    sqlx::query!(
        "update alert set state = 'sent', ended_at = now(), problem = null where id = $1 and state <> 'sent'",
        claimed.id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Records a failed delivery. The alert is sent again after a delay, or given up after a day.
#[boxed]
pub async fn alert_not_sent(db: &mut PgConnection, claimed: &Claimed, problem: &str) -> StoreResult<()> {
    not_sent(db, (claimed.id, claimed.tries), problem, again_in(claimed.tries, claimed.age)).await
}

/// Records a failed delivery, fenced by `tries`. If `again_in` is `None`, the alert is given up.
async fn not_sent(
    db: &mut PgConnection,
    (id, tries): (i64, i32),
    problem: &str,
    again_in: Option<Duration>,
) -> StoreResult<()> {
    let problem: String = problem.chars().filter(|letter| *letter != '\0').take(MOST_PROBLEM_CHARS).collect();
    sqlx::query!(
        "update alert set problem = $3, due_at = now() + coalesce($4::float8, 0) * interval '1 second',
          state = case when $4::float8 is null then 'failed' else 'waiting' end,
          ended_at = case when $4::float8 is null then now() end
        where id = $1 and tries = $2 and state = 'waiting'",
        id,
        tries,
        problem,
        again_in.map(|pause| pause.as_secs_f64())
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Result of [`retry_alert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The alert is due now. The caller sends `Hint::Alert`.
    Due,
    AlreadySent,
    NoSuchAlert,
}

/// Makes a waiting or given-up alert due now, with a new day of retries.
#[boxed]
pub async fn retry_alert(db: &mut PgConnection, id: i64) -> StoreResult<Retry> {
    let due = sqlx::query!(
        "update alert set state = 'waiting', ended_at = null, due_at = now(), tries = 0, at = now()
        where id = $1 and state <> 'sent'",
        id
    );
    if due.execute(&mut *db).await?.rows_affected() == 1 {
        return Ok(Retry::Due);
    }
    let there = sqlx::query_scalar!(r#"select exists (select from alert where id = $1) as "there!""#, id);
    Ok(if there.fetch_one(db).await? { Retry::AlreadySent } else { Retry::NoSuchAlert })
}

/// Adds a test alert, which reports no event, to check whether its notifier works. Returns its id.
#[boxed]
pub async fn add_test_alert(db: &mut PgConnection, notifier: Notifier, by: &str) -> StoreResult<i64> {
    let new = orch_core::alert::test(notifier, Uuid::now_v7(), by);
    add_alerts(db, None, std::slice::from_ref(&new)).await?;
    Ok(sqlx::query_scalar!("select id from alert where key = $1", new.key).fetch_one(db).await?)
}
