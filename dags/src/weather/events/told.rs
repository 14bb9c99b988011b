//! `lake.weather_told`: which reading of a city the producer told last. It is beside the catalog of the lake, so that a row of it
//! changes in the transaction that records the success of the task, as the records of the built-in log do.

use crate::common::lakehouse::Lakehouse;
use orch::completion::{CompletionStep, step};
use orch::prelude::*;
use sqlx::pool::PoolConnection;
use sqlx::{Acquire as _, Postgres};
use std::collections::HashMap;

/// Two that make it at once: one waits.
const MAKE: &str = "
    select pg_advisory_xact_lock(7276135510);
    create table if not exists lake.weather_told (
        -- as it was asked for
        city text primary key,
        -- as the API calls it
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

/// A reading that was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastReading {
    pub(super) city_name: String,
    pub(super) last_updated_epoch: i64,
}

/// What was told last of each of these cities.
pub(super) async fn last(place: &Lakehouse, cities: &[String]) -> TaskResult<HashMap<String, LastReading>> {
    let mut db = open(place).await?;
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("select city, city_name, last_updated_epoch from lake.weather_told where city = any($1)")
            .bind(cities)
            .fetch_all(&mut *db)
            .await?;
    let told = |(city, city_name, last_updated_epoch)| (city, LastReading { city_name, last_updated_epoch });
    Ok(rows.into_iter().map(told).collect())
}

/// Notes them when the task succeeds.
pub(super) fn note(told: HashMap<String, LastReading>) -> impl CompletionStep {
    step(format!("note {} readings in `lake.weather_told`", told.len()), move |db| {
        let told = told.clone();
        Box::pin(async move {
            for (city, told) in told {
                let write = "insert into lake.weather_told (city, city_name, last_updated_epoch) values ($1, $2, $3)
                    on conflict (city) do update set city_name = excluded.city_name,
                        last_updated_epoch = excluded.last_updated_epoch, updated_at = now()";
                let write = sqlx::query(write).bind(city).bind(told.city_name).bind(told.last_updated_epoch);
                write.execute(&mut *db).await?;
            }
            Ok(())
        })
    })
}

async fn open(place: &Lakehouse) -> TaskResult<PoolConnection<Postgres>> {
    let Some(catalog) = place.lake.catalog().postgres() else {
        return Err(fatal(
            "the catalog of the lake is not in Postgres, so `lake.weather_told` has no place\n\
             hint: put the catalog into the metadata database of orch",
        ));
    };
    let mut db = catalog.pool().acquire().await?;
    let is_there = sqlx::query_scalar("select to_regclass('lake.weather_told') is not null");
    if !is_there.fetch_one(&mut *db).await? {
        let mut tx = db.begin().await?;
        sqlx::raw_sql(MAKE).execute(&mut *tx).await?;
        tx.commit().await?;
    }
    Ok(db)
}
