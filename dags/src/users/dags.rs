//! Users who sign up: topic `users` → table `db.users`, one row per id.
//!
//! The producer restarts its ids at 1 every hour, so ids repeat. The newest registration of an id wins. A registration
//! without a date is older than all others.

use crate::common::dice::scramble;
use crate::common::topics::publish;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use iceberg::spec::Transform;
use orch::prelude::*;
use orch_lake::{TableSpec, columns};
use orch_streams::Stream;

pub const TOPIC: &str = "users";
/// Number of partitions. All registrations of an id are in one partition, so the stream reads them in order.
pub const PARTITIONS: i32 = 4;
const REGISTRATIONS_PER_MINUTE: i64 = 60;
const MINUTES_UNTIL_RESTART: i64 = 60;

const USERS: TableSpec = TableSpec::new(
    "db",
    "users",
    &["id"],
    columns! {
        id: String,
        name: Option<String>,
        email: Option<String>,
        signup_ts: Option<DateTime<Utc>>,
        age: Option<i32>,
    },
)
.partition(&[("signup_ts", Transform::Day), ("id", Transform::Bucket(16))])
.chart("select age, count(*) as users from db.users where age is not null group by age order by age");

/// Topic `users` → `db.users`. The partitions keep the cost of an upsert in proportion to the batch, not to the table.
pub fn stream() -> Stream {
    let (table, definition) = (USERS.id(), USERS.definition());
    Stream::new("users_mesh")
        .describe("Registrations, into one row for each user")
        .topic(TOPIC)
        .partitions(PARTITIONS)
        .json(USERS.unchecked_schema().as_ref().clone())
        .numbers_as_text()
        .upsert(table.expect("a valid name"), definition.expect("Iceberg types"), USERS.key, Some("signup_ts"))
        .commit_every(secs(10))
}

pub fn dags() -> Vec<Dag> {
    let producer = dag("users_producer")
        .describe("A registration each second; ids restart at 1 every hour")
        .schedule("* * * * *")
        .start("2024-01-01")
        .tags(["users", "streams"])
        .owners(["airflow"])
        .max_active_runs(1)
        .build(|d| {
            d.add(register_users());
        });
    vec![producer]
}

/// Publishes the registrations of one minute.
#[task(retries = 2)]
async fn register_users(ctx: Ctx) -> TaskResult<usize> {
    let minute = ctx.logical_date().unwrap_or_else(|| ctx.run_after());
    let records = registrations(minute).map(|one| Ok(NewRecord::json(&one)?.key(one.id.as_str())));
    let records = records.collect::<TaskResult<Vec<_>>>()?;
    let count = records.len();
    publish(&ctx, TOPIC, PARTITIONS, records).await?;
    Ok(count)
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Registration {
    id: String,
    name: String,
    email: String,
    signup_ts: String,
    age: u64,
}

fn registrations(at: DateTime<Utc>) -> impl Iterator<Item = Registration> {
    let minute = at.timestamp().div_euclid(60);
    (0..REGISTRATIONS_PER_MINUTE).map(move |second| {
        let id = minute.rem_euclid(MINUTES_UNTIL_RESTART) * REGISTRATIONS_PER_MINUTE + second + 1;
        let seed = (minute * REGISTRATIONS_PER_MINUTE + second).cast_unsigned();
        Registration {
            id: id.to_string(),
            name: format!("User_{id}"),
            email: format!("user_{id}@example.com"),
            signup_ts: (at + TimeDelta::seconds(second)).to_rfc3339_opts(SecondsFormat::Millis, true),
            age: 18 + scramble(seed) % 48,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_restart_every_hour() {
        let at = DateTime::from_timestamp(1_767_880_800, 0).unwrap();
        let first = |at| registrations(at).next().map(|one| (one.id, one.signup_ts)).unwrap();
        assert_eq!(first(at), ("1".into(), "2026-01-08T14:00:00.000Z".into()));
        assert_eq!(first(at + TimeDelta::hours(1)), ("1".into(), "2026-01-08T15:00:00.000Z".into()));
        assert_eq!(registrations(at + TimeDelta::minutes(59)).last().unwrap().id, "3600");
    }
}
