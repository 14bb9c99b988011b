//! Reads the trips of the sample files by zone and hour, with the same filters as the pipeline.

use chrono::{NaiveDate, NaiveDateTime};
use flate2::read::GzDecoder;
use orch_forecast::calendar::midnight;
use orch_forecast::series::Series;
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, read_to_string};
use std::io::Read as _;
use std::path::{Path, PathBuf};

const COLUMNS: [&str; 6] =
    ["pickup_datetime", "pickup_location_id", "trip_distance", "fare_amount", "total_amount", "passenger_count"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dags/tests/data/taxi")
}

/// Borough and hourly trips of each zone that has at least one trip.
pub(crate) type Zones = BTreeMap<u32, (String, Series)>;

/// Adds up the zones of each borough.
pub(crate) fn boroughs(zones: &Zones) -> BTreeMap<String, Series> {
    let mut sums: BTreeMap<String, Vec<Option<u32>>> = BTreeMap::new();
    let mut first = 0;
    for (borough, series) in zones.values() {
        let hours = series.hours();
        first = hours.start;
        let sum = sums.entry(borough.clone()).or_insert_with(|| vec![Some(0); hours.clone().count()]);
        for (sum, hour) in sum.iter_mut().zip(hours) {
            *sum = sum.zip(series.at(hour)).map(|(sum, count)| sum + count as u32);
        }
    }
    sums.into_iter().map(|(borough, counts)| (borough, Series::new(first, counts))).collect()
}

pub(crate) fn zones() -> Zones {
    let lookup = read_to_string(folder().join("taxi_zone_lookup.csv")).unwrap();
    let field = |line: &str, at| line.split(',').nth(at).unwrap_or_default().trim_matches('"').to_owned();
    let listed: HashMap<String, String> = lookup.lines().skip(1).map(|line| (field(line, 0), field(line, 1))).collect();
    let [first, end] = [2018, 2021].map(|year| midnight(NaiveDate::from_ymd_opt(year, 1, 1).unwrap()));
    let mut counts: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for month in (2018..2021).flat_map(|year| (1..13).map(move |month| format!("{year}-{month:02}"))) {
        let mut text = String::new();
        let file = File::open(folder().join(format!("yellow_tripdata_sample_{month}.csv.gz"))).unwrap();
        GzDecoder::new(file).read_to_string(&mut text).unwrap();
        for (hour, zone) in pickups(&text).filter(|(hour, _)| (first..end).contains(hour)) {
            let of_zone = counts.entry(zone.to_owned()).or_insert_with(|| vec![0; (end - first) as usize]);
            of_zone[(hour - first) as usize] += 1;
        }
    }
    let series = |counts: Vec<u32>| Series::new(first, counts.into_iter().map(Some).collect());
    counts.into_iter().map(|(zone, counts)| (zone.parse().unwrap(), (listed[&zone].clone(), series(counts)))).collect()
}

/// Returns hour and zone of each trip that passes the pipeline's filters.
fn pickups(text: &str) -> impl Iterator<Item = (i64, &str)> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').map(str::trim).collect();
    let places = COLUMNS.map(|column| names.iter().position(|name| *name == column).unwrap());
    lines.filter_map(move |line| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [pickup, zone, distance, fare, total, passengers] = places.map(|place| fields[place]);
        let number = |text: &str| text.parse::<f64>().unwrap_or_default();
        let is_kept = [distance, fare, total].iter().all(|text| number(text) > 0.0);
        let is_kept = is_kept && (1.0..=6.0).contains(&number(passengers));
        let time = NaiveDateTime::parse_from_str(pickup, "%Y-%m-%d %H:%M:%S").unwrap();
        is_kept.then(|| (time.and_utc().timestamp().div_euclid(3_600), zone))
    })
}
