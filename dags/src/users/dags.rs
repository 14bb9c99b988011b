//! Users who sign up, again and again: topic `users` → table `db.users`, one row for each id.
//!
//! The producer of the document counts ids up from 1 and begins anew whenever it is started, which is how duplicates arise. The
//! newest registration counts; one without a date is older than all others.

use crate::common::dice::scramble;
use crate::common::topics::publish;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use iceberg::spec::{PrimitiveType, Transform};
use orch::prelude::*;
use orch_lake::{TableDef, TableName};
use orch_streams::Stream;

pub const TOPIC: &str = "users";
/// Rows of equal ids have to come one after the other, so all of an id go to one partition.
pub const PARTITIONS: i32 = 4;
const BUCKETS: u32 = 16;
/// One each second.
const A_MINUTE: i64 = 60;
/// After so many minutes the producer is started anew.
const RESTART: i64 = 60;

pub fn table() -> TableName {
    TableName::new("db", "users").expect("it is a name")
}

/// Topic `users` → `db.users`, by day and bucket. The cost follows the batch, not the table.
pub fn stream() -> Stream {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let signup = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let record = Schema::new(vec![
        text("id"),
        text("name"),
        text("email"),
        Field::new("signup_ts", signup, true),
        Field::new("age", DataType::Int32, true),
    ]);
    let definition = TableDef::new()
        .required("id", PrimitiveType::String)
        .optional("name", PrimitiveType::String)
        .optional("email", PrimitiveType::String)
        .optional("signup_ts", PrimitiveType::Timestamptz)
        .optional("age", PrimitiveType::Int)
        .key(["id"])
        .partition("signup_ts", Transform::Day)
        .partition("id", Transform::Bucket(BUCKETS))
        .chart("select age, count(*) as users from db.users where age is not null group by age order by age");
    Stream::new("users_mesh")
        .describe("Registrations, into one row for each user")
        .topic(TOPIC)
        .partitions(PARTITIONS)
        .json(record)
        .numbers_as_text()
        .upsert(table(), definition, &["id"], Some("signup_ts"))
        .commit_every(secs(10))
}

pub fn dags() -> Vec<Dag> {
    let producer = dag("users_producer")
        .describe("A registration each second; ids begin at 1 again each hour")
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

/// The registrations of the minute.
#[task(retries = 2)]
async fn register_users(ctx: Ctx) -> TaskResult<usize> {
    let at = ctx.logical_date().unwrap_or_else(|| ctx.run_after());
    let records = registrations(at).map(|one| Ok(NewRecord::json(&one)?.key(one.id.as_str())));
    let records = records.collect::<TaskResult<Vec<_>>>()?;
    let many = records.len();
    publish(&ctx, TOPIC, PARTITIONS, records).await?;
    Ok(many)
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
    (0..A_MINUTE).map(move |second| {
        let id = minute.rem_euclid(RESTART) * A_MINUTE + second + 1;
        let signed_up = at + TimeDelta::seconds(second);
        Registration {
            id: id.to_string(),
            name: format!("User_{id}"),
            email: format!("user_{id}@example.com"),
            signup_ts: signed_up.to_rfc3339_opts(SecondsFormat::Millis, true),
            age: 18 + scramble((minute * A_MINUTE + second).cast_unsigned()) % 48,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_begin_anew_each_hour() {
        let at = DateTime::from_timestamp(1_767_880_800, 0).unwrap();
        let (first, later) =
            (registrations(at).next().unwrap(), registrations(at + TimeDelta::hours(1)).next().unwrap());
        assert_eq!((first.id.as_str(), first.signup_ts.as_str()), ("1", "2026-01-08T14:00:00.000Z"));
        assert_eq!((later.id.as_str(), later.signup_ts.as_str()), ("1", "2026-01-08T15:00:00.000Z"));
        assert_eq!(registrations(at + TimeDelta::minutes(59)).last().unwrap().id, "3600");
    }
}
