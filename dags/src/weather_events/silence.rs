//! Whether each city was heard of lately.

use super::cities::{Watched, check};
use super::{table, told};
use crate::place::Place;
use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures::TryStreamExt as _;
use orch::prelude::*;
use orch_lake::Filter;
use std::collections::HashMap;

/// # Errors
/// Cities are silent: the error names them, with the time of their last reading.
#[task(timeout = mins(5))]
pub async fn cities_are_heard(ctx: Ctx, wish: Watched) -> TaskResult<usize> {
    check(&wish.cities)?;
    let place = Place::of(&ctx).await?;
    let Some(table) = place.lake.find(&table()).await?.filter(|table| table.current_snapshot().is_some()) else {
        return Err(skip("nothing was told yet"));
    };
    // The API may call a city otherwise than it was asked for.
    let told = told::last(&place, &wish.cities).await?;
    let name = |city: &String| told.get(city).map_or_else(|| city.clone(), |told| told.city_name.clone());
    let names: Vec<String> = wish.cities.iter().map(name).collect();
    let filter = Filter::is_in("city_name", names.iter().map(String::as_str));
    let mut rows = table.scan().columns(["city_name", "event_timestamp_ms"]).filter(filter).stream().await?;
    let mut newest: HashMap<String, i64> = HashMap::new();
    while let Some(batch) = rows.try_next().await? {
        let cities = batch.column_by_name("city_name").context("the table has no cities")?;
        let times = batch.column_by_name("event_timestamp_ms").context("the table has no times")?;
        let times = times.as_primitive::<Int64Type>();
        for (city, at) in cities.as_string::<i32>().iter().flatten().zip(times.values()) {
            let known = newest.entry(city.to_owned()).or_insert(*at);
            *known = (*known).max(*at);
        }
    }
    let silent = silent(&names, &newest, TimeDelta::minutes(wish.minutes.into()), place.now().await?);
    if silent.is_empty() {
        return Ok(names.len());
    }
    bail!("not heard of for more than {} minutes: {}", wish.minutes, silent.join(", "))
}

/// Those whose newest reading is too old, or that have none.
fn silent(cities: &[String], newest: &HashMap<String, i64>, longest: TimeDelta, now: DateTime<Utc>) -> Vec<String> {
    let since = (now - longest).timestamp_millis();
    let late = cities.iter().filter(|city| newest.get(*city).is_none_or(|at| *at < since));
    late.map(|city| match newest.get(city).copied().and_then(DateTime::from_timestamp_millis) {
        Some(at) => format!("`{city}` (last {})", at.to_rfc3339_opts(SecondsFormat::Secs, true)),
        None => format!("`{city}` (never)"),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_city_is_silent_after_its_time_or_when_it_never_spoke() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
        let minutes_ago = |minutes: i64| (now - TimeDelta::minutes(minutes)).timestamp_millis();
        let newest = HashMap::from([("London".to_owned(), minutes_ago(30)), ("Oslo".to_owned(), minutes_ago(31))]);
        let cities = ["London", "Oslo", "Rome"].map(String::from);
        let found = silent(&cities, &newest, TimeDelta::minutes(30), now);
        assert_eq!(found, ["`Oslo` (last 2023-11-14T21:42:20Z)", "`Rome` (never)"]);
    }
}
