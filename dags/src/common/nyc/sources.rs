//! What the analytics are made of, read from the lake: trips, the weather of each hour, the zones of the city, and the
//! changes of trips.

use super::days::{Days, day_of};
use super::grid::hour_of;
use super::month;
use super::schema::HUNDREDTHS;
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::schema::{HOURLY, ZONES};
use crate::common::nyc::zones;
use arrow::array::{Array as _, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast, cast_with_options, max};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimeUnit};
use chrono::{NaiveDate, TimeDelta};
use futures::TryStreamExt as _;
use orch::{Ctx, TaskResult, fatal};
use orch_lake::contract::KeySet;
use orch_lake::{Filter, Table};
use std::collections::HashMap;
use std::sync::Arc;

/// Whose weather it is, as `nyc_weather_etl` calls the place.
const CITY: &str = "New York";
pub const TRIPS: &str = "nyc_taxi.trips";
const SUMMARY: &str = "nyc_taxi.daily_summary";

/// A trip, with amounts in hundredths and times in microseconds on the clocks of New York.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trip {
    pub pickup: i64,
    pub dropoff: i64,
    pub from: i32,
    pub to: i32,
    pub vendor: Option<i32>,
    pub passengers: i32,
    pub distance: i64,
    pub fare: i64,
    pub tip: Option<i64>,
    pub total: i64,
}

impl Trip {
    pub fn day(&self) -> NaiveDate {
        day_of(self.pickup)
    }

    pub fn minutes(&self) -> f64 {
        (self.dropoff - self.pickup) as f64 / 60e6
    }
}

/// A zone of the city, as the lake has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    pub id: i32,
    pub borough: String,
    pub name: String,
    pub kind: String,
    pub is_tourist_area: bool,
    pub is_business_district: bool,
    /// Latitude and longitude.
    pub centre: Option<(f64, f64)>,
    /// The geometry of `GeoJSON`.
    pub outline: Option<String>,
}

#[cfg(test)]
impl Zone {
    /// In Queens, with nothing special about it.
    pub(crate) fn numbered(id: i32) -> Zone {
        Zone {
            id,
            borough: "Queens".into(),
            name: format!("Zone {id}"),
            kind: "neighborhood".into(),
            is_tourist_area: false,
            is_business_district: false,
            centre: Some((40.7, -73.8)),
            outline: None,
        }
    }
}

/// All zones, by number.
#[derive(Debug, Clone, Default)]
pub struct Zones {
    all: Vec<Arc<Zone>>,
    /// The places in `all` of the zones with numbers below `LOW_NUMBERS`, since each trip needs several. The city has 265 zones.
    places: Vec<Option<usize>>,
}

const LOW_NUMBERS: i32 = 1_024;

impl Zones {
    pub fn of(mut zones: Vec<Zone>) -> Zones {
        zones.sort_by_key(|zone| zone.id);
        let mut all = Zones { all: zones.into_iter().map(Arc::new).collect(), places: Vec::new() };
        all.places = (0..LOW_NUMBERS).map(|id| all.search(id)).collect();
        all
    }

    /// The zones that `nyc_weather_etl` loads.
    ///
    /// # Errors
    /// Never: they are in the binary.
    pub fn of_the_city() -> TaskResult<Zones> {
        let zone = |zone: zones::Zone| Zone {
            id: zone.location_id,
            kind: zone.kind().into(),
            is_tourist_area: zone.is_tourist_area(),
            is_business_district: zone.is_business_district(),
            borough: zone.borough,
            name: zone.zone,
            centre: zone.centre,
            outline: zone.outline,
        };
        Ok(Zones::of(zones::zones()?.into_iter().map(zone).collect()))
    }

    pub fn all(&self) -> &[Arc<Zone>] {
        &self.all
    }

    /// The place of a zone in the list.
    pub fn place(&self, id: i32) -> Option<usize> {
        match usize::try_from(id).ok().and_then(|id| self.places.get(id)) {
            Some(place) => *place,
            None => self.search(id),
        }
    }

    fn search(&self, id: i32) -> Option<usize> {
        self.all.binary_search_by_key(&id, |zone| zone.id).ok()
    }

    pub fn get(&self, id: i32) -> Option<&Arc<Zone>> {
        self.place(id).map(|at| &self.all[at])
    }

    /// For checks that something refers to a zone.
    ///
    /// # Errors
    /// Never: it is one column of numbers.
    pub fn keys(&self) -> TaskResult<KeySet> {
        let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(self.all.iter().map(|zone| zone.id)));
        Ok(KeySet::of(&[RecordBatch::try_from_iter([("location_id", ids)])?], &["location_id"])?)
    }
}

/// The weather of one hour.
#[derive(Debug, Clone, PartialEq)]
pub struct Weather {
    pub condition: String,
    pub temperature: f64,
    pub humidity: Option<f64>,
    pub wind: Option<f64>,
}

/// The condition of an hour whose weather is not known.
pub const UNKNOWN: &str = "unknown";

/// By how much more or less people ride in such weather.
pub fn weather_impact(weather: Option<&Weather>) -> f64 {
    let temperature = weather.map(|weather| weather.temperature);
    match weather.map_or(UNKNOWN, |weather| weather.condition.as_str()) {
        "rain" | "snow" => 1.3,
        "fog" => 1.1,
        _ if temperature.is_some_and(|degrees| degrees < 0.0) => 1.2,
        _ if temperature.is_some_and(|degrees| degrees > 30.0) => 1.1,
        _ => 1.0,
    }
}

/// By hour on the clocks of New York, one for each.
pub type Hours = HashMap<i64, Arc<Weather>>;

/// A table with at least one snapshot.
///
/// # Errors
/// The lake cannot be asked.
pub(crate) async fn filled(place: &Lakehouse, name: &str) -> TaskResult<Option<Table>> {
    Ok(place.lake.find(&name.parse()?).await?.filter(|table| table.current_snapshot().is_some()))
}

pub(crate) async fn needed(place: &Lakehouse, name: &str, made_by: &str) -> TaskResult<Table> {
    let missing = || fatal(format!("`{name}` is not in the lake, or empty\nhint: run `{made_by}`, which fills it"));
    filled(place, name).await?.ok_or_else(missing)
}

/// # Errors
/// The lake has no trips, or cannot be asked.
pub(crate) async fn trips_table(place: &Lakehouse) -> TaskResult<Table> {
    needed(place, TRIPS, "nyc_taxi_iceberg_etl").await
}

/// The newest day that there are trips of. Files have a few trips of other months, some still to come: a day counts up to the
/// end of the newest month that was loaded.
///
/// # Errors
/// No trips were loaded, or the lake cannot be read.
pub(crate) async fn newest_day(place: &Lakehouse) -> TaskResult<NaiveDate> {
    let summary = needed(place, SUMMARY, "nyc_taxi_iceberg_etl").await?;
    let loaded = month::last_loaded(&place.lake).await?.map(|month| month.next().first());
    let tomorrow = place.now().await?.date_naive() + TimeDelta::days(1);
    let end = loaded.map_or(tomorrow, |loaded| loaded.min(tomorrow)).to_string();
    let days = summary.scan().columns(["trip_date"]).filter(Filter::lt("trip_date", end.as_str())).collect().await?;
    let newest = days.iter().filter_map(|batch| max(batch.column(0).as_primitive::<Date32Type>())).max();
    let day = newest.and_then(Date32Type::to_naive_date_opt);
    day.ok_or_else(|| fatal(format!("`{SUMMARY}` has no day before {end}\nhint: name a `reference_date`")))
}

/// All trips that began on these days, one by one, in no order.
///
/// # Errors
/// The lake cannot be read.
pub async fn each_trip(ctx: &Ctx, trips: &Table, days: Days, mut take: impl FnMut(Trip) + Send) -> TaskResult<()> {
    let columns = [
        "pickup_datetime",
        "dropoff_datetime",
        "pickup_location_id",
        "dropoff_location_id",
        "vendor_id",
        "passenger_count",
        "trip_distance",
        "fare_amount",
        "tip_amount",
        "total_amount",
    ];
    let mut rows =
        trips.scan().columns(columns).filter(days.rows("pickup_datetime")).stream().await?.report_progress(ctx);
    while let Some(batch) = rows.try_next().await? {
        let [pickup, dropoff] = [0, 1].map(|at| longs(batch.column(at)));
        let [from, to, vendor, passengers] = [2, 3, 4, 5].map(|at| ints(batch.column(at)));
        let [distance, fare, tip, total] = [6, 7, 8, 9].map(|at| hundredths(batch.column(at)));
        let (pickup, dropoff, from, to, vendor, passengers) = (pickup?, dropoff?, from?, to?, vendor?, passengers?);
        let (distance, fare, tip, total) = (distance?, fare?, tip?, total?);
        for at in 0..batch.num_rows() {
            take(Trip {
                pickup: pickup.value(at),
                dropoff: dropoff.value(at),
                from: from.value(at),
                to: to.value(at),
                vendor: vendor.is_valid(at).then(|| vendor.value(at)),
                passengers: passengers.value(at),
                distance: distance[at].unwrap_or_default(),
                fare: fare[at].unwrap_or_default(),
                tip: tip[at],
                total: total[at].unwrap_or_default(),
            });
        }
    }
    Ok(())
}

/// Where and when trips began: all that old days are asked for.
///
/// # Errors
/// The lake cannot be read.
pub async fn each_pickup(
    ctx: &Ctx,
    trips: &Table,
    days: Days,
    mut take: impl FnMut(i64, i32) + Send,
) -> TaskResult<()> {
    let columns = ["pickup_datetime", "pickup_location_id"];
    let mut rows =
        trips.scan().columns(columns).filter(days.rows("pickup_datetime")).stream().await?.report_progress(ctx);
    while let Some(batch) = rows.try_next().await? {
        let (pickup, from) = (longs(batch.column(0))?, ints(batch.column(1))?);
        (0..batch.num_rows()).for_each(|at| take(pickup.value(at), from.value(at)));
    }
    Ok(())
}

/// The zones of the city.
///
/// # Errors
/// The table is not there.
pub(crate) async fn zones(place: &Lakehouse) -> TaskResult<Zones> {
    zones_of(&zones_table(place).await?).await
}

/// # Errors
/// The table is not there.
pub(crate) async fn zones_table(place: &Lakehouse) -> TaskResult<Table> {
    needed(place, &format!("{}.{}", ZONES.namespace, ZONES.name), "nyc_weather_etl").await
}

/// The zones of one snapshot of their table.
///
/// # Errors
/// The lake cannot be read.
pub(crate) async fn zones_of(table: &Table) -> TaskResult<Zones> {
    let columns = [
        "location_id",
        "borough",
        "zone",
        "zone_type",
        "is_tourist_area",
        "is_business_district",
        "latitude",
        "longitude",
        "geometry",
    ];
    let mut all = Vec::new();
    for batch in table.scan().columns(columns).collect().await? {
        let ids = ints(batch.column(0))?;
        let texts: Vec<&StringArray> = [1, 2, 3, 8].map(|at| batch.column(at).as_string()).into();
        let truths: Vec<&BooleanArray> = [4, 5].map(|at| batch.column(at).as_boolean()).into();
        let numbers: Vec<&Float64Array> = [6, 7].map(|at| batch.column(at).as_primitive::<Float64Type>()).into();
        all.extend((0..batch.num_rows()).map(|at| Zone {
            id: ids.value(at),
            borough: texts[0].value(at).into(),
            name: texts[1].value(at).into(),
            kind: texts[2].value(at).into(),
            is_tourist_area: truths[0].value(at),
            is_business_district: truths[1].value(at),
            centre: numbers.iter().all(|part| part.is_valid(at)).then(|| (numbers[0].value(at), numbers[1].value(at))),
            outline: texts[3].is_valid(at).then(|| texts[3].value(at).into()),
        }));
    }
    Ok(Zones::of(all))
}

/// The weather of the city on these days. Of several readings of one hour the one that was loaded last counts; of those
/// that were loaded together the later one, as in the hour that clocks show twice in autumn.
///
/// # Errors
/// The lake cannot be read.
pub(crate) async fn weather(place: &Lakehouse, days: Days) -> TaskResult<Hours> {
    let Some(table) = filled(place, &format!("{}.{}", HOURLY.namespace, HOURLY.name)).await? else {
        return Ok(Hours::new());
    };
    // The days of New York lie elsewhere on the UTC clock.
    let around = Days { first: days.first - TimeDelta::days(1), last: days.last + TimeDelta::days(1) };
    let columns = [
        "timestamp",
        "load_date",
        "year",
        "month",
        "day",
        "hour",
        "temperature_celsius",
        "humidity_percent",
        "wind_speed_kmh",
        "weather_condition",
    ];
    let filter = Filter::eq("location", CITY).and(around.rows("timestamp"));
    let mut newest: HashMap<i64, ((i64, i64), Arc<Weather>)> = HashMap::new();
    for batch in table.scan().columns(columns).filter(filter).collect().await? {
        let (time, loaded) = (longs(batch.column(0))?, longs(batch.column(1))?);
        let clock = [2, 3, 4, 5].map(|at| batch.column(at).as_primitive::<Int32Type>());
        let numbers = [6, 7, 8].map(|at| batch.column(at).as_primitive::<Float64Type>());
        let conditions: &StringArray = batch.column(9).as_string();
        for at in 0..batch.num_rows() {
            let [year, month, day, hour] = clock.map(|part| part.value(at));
            let date = NaiveDate::from_ymd_opt(year, month.unsigned_abs(), day.unsigned_abs());
            let Some(date) = date.filter(|date| days.has(*date)) else { continue };
            let number = |of: usize| numbers[of].is_valid(at).then(|| numbers[of].value(at));
            let weather = Weather {
                condition: conditions.value(at).to_owned(),
                temperature: numbers[0].value(at),
                humidity: number(1),
                wind: number(2),
            };
            let (key, rank) =
                (hour_of(super::days::micros_of(date)) + i64::from(hour), (loaded.value(at), time.value(at)));
            let known = newest.get(&key).map(|(rank, _)| *rank);
            if known.is_none_or(|known| known < rank) {
                newest.insert(key, (rank, Arc::new(weather)));
            }
        }
    }
    Ok(newest.into_iter().map(|(hour, (_, weather))| (hour, weather)).collect())
}

/// Times as microseconds, and whole numbers.
pub(crate) fn longs(column: &ArrayRef) -> TaskResult<arrow::array::Int64Array> {
    let column = match column.data_type() {
        DataType::Timestamp(_, zone) => cast(column, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?,
        _ => column.clone(),
    };
    Ok(cast(&column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

pub(crate) fn ints(column: &ArrayRef) -> TaskResult<Int32Array> {
    Ok(cast(column, &DataType::Int32)?.as_primitive::<Int32Type>().clone())
}

/// Dollars and miles as the taximeter counts them, also where they are written as doubles.
pub(crate) fn hundredths(column: &ArrayRef) -> TaskResult<Vec<Option<i64>>> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let column = cast_with_options(column, &DataType::Decimal128(HUNDREDTHS.0, HUNDREDTHS.1), &options)?;
    let values = column.as_primitive::<Decimal128Type>();
    // Twelve digits at most.
    Ok(values.iter().map(|value| value.and_then(|value| i64::try_from(value).ok())).collect())
}
