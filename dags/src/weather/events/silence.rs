//! Whether each city was heard of lately.

use super::cities::{Watched, check};
use super::{table, told};
use crate::common::lakehouse::Lakehouse;
use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use chrono::{DateTime, SecondsFormat, TimeDelta};
use futures::TryStreamExt as _;
use orch::prelude::*;
use orch_lake::{Filter, Table};
use std::collections::HashMap;

/// # Errors
/// Cities are silent: the error names them, with the time of their last reading.
#[task(timeout = mins(5))]
pub async fn cities_are_heard(ctx: Ctx, wish: Watched) -> TaskResult<usize> {
    check(&wish.cities)?;
    let place = Lakehouse::of(&ctx).await?;
    let Some(table) = place.lake.find(&table()).await?.filter(|table| table.current_snapshot().is_some()) else {
        return Err(skip("nothing was told yet"));
    };
    // The API may call a city otherwise than it was asked for.
    let told = told::last(&place, &wish.cities).await?;
    let name = |city: &String| told.get(city).map_or_else(|| city.clone(), |told| told.city_name.clone());
    let names: Vec<String> = wish.cities.iter().map(name).collect();
    let now = place.now().await?;
    let since = (now - TimeDelta::minutes(wish.minutes.into())).timestamp_millis();
    // Files of long ago are opened only to say when a silent city was heard of last.
    let heard = newest(&table, &names, Filter::ge("event_timestamp_ms", since)).await?;
    let late: Vec<String> = names.iter().filter(|name| !heard.contains_key(*name)).cloned().collect();
    if late.is_empty() {
        return Ok(names.len());
    }
    let known = newest(&table, &late, Filter::All).await?;
    bail!("not heard of for more than {} minutes: {}", wish.minutes, told_of(&late, &known).join(", "))
}

/// The time of the newest reading of each city, among those that fit.
async fn newest(table: &Table, cities: &[String], fitting: Filter) -> TaskResult<HashMap<String, i64>> {
    let filter = Filter::is_in("city_name", cities.iter().map(String::as_str)).and(fitting);
    let mut rows = table.scan().columns(["city_name", "event_timestamp_ms"]).filter(filter).stream().await?;
    let mut newest = HashMap::new();
    while let Some(batch) = rows.try_next().await? {
        let cities = batch.column_by_name("city_name").context("the table has no cities")?;
        let times = batch.column_by_name("event_timestamp_ms").context("the table has no times")?;
        let times = times.as_primitive::<Int64Type>();
        for (city, at) in cities.as_string::<i32>().iter().flatten().zip(times.values()) {
            let known = newest.entry(city.to_owned()).or_insert(*at);
            *known = (*known).max(*at);
        }
    }
    Ok(newest)
}

/// Each with the time of its last reading.
fn told_of(cities: &[String], newest: &HashMap<String, i64>) -> Vec<String> {
    let last = |city: &String| newest.get(city).copied().and_then(DateTime::from_timestamp_millis);
    let told = cities.iter().map(|city| match last(city) {
        Some(at) => format!("`{city}` (last {})", at.to_rfc3339_opts(SecondsFormat::Secs, true)),
        None => format!("`{city}` (never)"),
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_city_is_told_with_when_it_was_heard_of_last() {
        let newest = HashMap::from([("Oslo".to_owned(), 1_699_998_140_000), ("London".to_owned(), 1_700_000_000_000)]);
        let cities = ["Oslo", "Rome"].map(String::from);
        assert_eq!(told_of(&cities, &newest), ["`Oslo` (last 2023-11-14T21:42:20Z)", "`Rome` (never)"]);
    }
}
