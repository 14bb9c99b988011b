//! `lake.weather_told`: the last reading that the producer sent for each city. The table is next to the catalog of the
//! lake, so it changes in the transaction that records the success of the task, like the records of the built-in log.

use crate::common::lakehouse::Lakehouse;
use orch::completion::{CompletionStep, step};
use orch::prelude::*;
use sqlx::pool::PoolConnection;
use sqlx::{Acquire as _, Postgres};
use std::collections::HashMap;

/// Creates the table. The advisory lock makes concurrent creators wait.
const CREATE: &str = "
    select pg_advisory_xact_lock(7276135510);
    create table if not exists lake.weather_told (
        -- name in the params
        city text primary key,
        -- name in the response
        city_name text not null,
        last_updated_epoch bigint not null,
        updated_at timestamptz not null default now()
    );
    do $$
    begin
        if exists (select from pg_roles where rolname = 'orch_lake') then
            grant select, insert, update on lake.weather_told to orch_lake;
        end if;
    end $$";

/// The name of a city in a response, and the time of the reading in seconds since the Unix epoch.
pub(super) type LastReading = (String, i64);

/// Returns the stored readings by the city names in the params.
pub(super) async fn last(place: &Lakehouse, cities: &[String]) -> TaskResult<HashMap<String, LastReading>> {
    let mut db = open(place).await?;
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("select city, city_name, last_updated_epoch from lake.weather_told where city = any($1)")
            .bind(cities)
            .fetch_all(&mut *db)
            .await?;
    Ok(rows.into_iter().map(|(city, name, updated)| (city, (name, updated))).collect())
}

/// Stores readings in the transaction that records the success of the task.
pub(super) fn store(readings: HashMap<String, LastReading>) -> impl CompletionStep {
    let upsert = "insert into lake.weather_told (city, city_name, last_updated_epoch) values ($1, $2, $3)
        on conflict (city) do update set city_name = excluded.city_name,
            last_updated_epoch = excluded.last_updated_epoch, updated_at = now()";
    step(format!("note {} readings in `lake.weather_told`", readings.len()), move |db| {
        let readings = readings.clone();
        Box::pin(async move {
            for (city, (name, updated)) in readings {
                sqlx::query(upsert).bind(city).bind(name).bind(updated).execute(&mut *db).await?;
            }
            Ok(())
        })
    })
}

async fn open(place: &Lakehouse) -> TaskResult<PoolConnection<Postgres>> {
    let Some(catalog) = place.lake.catalog().postgres() else {
        return Err(fatal(
            "the catalog of the lake is not in Postgres, so `lake.weather_told` cannot be created\n\
             hint: use the metadata database of orch as the catalog",
        ));
    };
    let mut db = catalog.pool().acquire().await?;
    let exists = sqlx::query_scalar("select to_regclass('lake.weather_told') is not null");
    if !exists.fetch_one(&mut *db).await? {
        let mut tx = db.begin().await?;
        sqlx::raw_sql(CREATE).execute(&mut *tx).await?;
        tx.commit().await?;
    }
    Ok(db)
}
