//! Checks that each city has recent readings.

use super::cities::Watched;
use super::{table, told};
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::sources::filled;
use crate::common::rows::query;
use crate::weather::cities::check;
use chrono::{DateTime, SecondsFormat, TimeDelta};
use orch::prelude::*;
use orch_lake::{Filter, Table};
use std::collections::HashMap;

/// # Errors
/// Returns an error that names the silent cities, with the time of their last reading.
#[task(timeout = mins(5))]
pub async fn cities_are_heard(ctx: Ctx, wish: Watched) -> TaskResult<usize> {
    check(&wish.cities)?;
    let place = Lakehouse::of(&ctx).await?;
    let Some(table) = filled(&place, &table().to_string()).await? else {
        return Err(skip("the table has no readings yet"));
    };
    // The API may return another name than the requested one.
    let told = told::last(&place, &wish.cities).await?;
    let name = |city: &String| told.get(city).map_or(city, |(name, _)| name).clone();
    let names: Vec<String> = wish.cities.iter().map(name).collect();
    let since = (place.now().await? - TimeDelta::minutes(wish.minutes.into())).timestamp_millis();
    let recent = newest(&table, &names, Filter::ge("event_timestamp_ms", since)).await?;
    let silent: Vec<String> = names.iter().filter(|name| !recent.contains_key(*name)).cloned().collect();
    if silent.is_empty() {
        return Ok(names.len());
    }
    // Old files are opened only for the error message.
    let last = newest(&table, &silent, Filter::All).await?;
    let describe = |city: &String| match last.get(city).copied().and_then(DateTime::from_timestamp_millis) {
        Some(at) => format!("`{city}` (last {})", at.to_rfc3339_opts(SecondsFormat::Secs, true)),
        None => format!("`{city}` (never)"),
    };
    let silent: Vec<String> = silent.iter().map(describe).collect();
    bail!("not heard of for more than {} minutes: {}", wish.minutes, silent.join(", "))
}

/// Returns the time of the newest reading of each city that matches the filter, in milliseconds since the Unix epoch.
async fn newest(table: &Table, cities: &[String], matching: Filter) -> TaskResult<HashMap<String, i64>> {
    let filter = Filter::is_in("city_name", cities.iter().map(String::as_str)).and(matching);
    let rows = table.scan().columns(["city_name", "event_timestamp_ms"]).filter(filter).stream().await?;
    let statement = "SELECT city_name, MAX(event_timestamp_ms) AS newest FROM rows GROUP BY city_name";
    let newest = query(&rows.collect().await?, statement).await?;
    let (cities, times) = (newest.column("city_name")?.str()?, newest.column("newest")?.i64()?);
    Ok(cities.iter().zip(times.iter()).filter_map(|(city, at)| Some((city?.to_owned(), at?))).collect())
}
