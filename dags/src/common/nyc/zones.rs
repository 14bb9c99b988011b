//! The 265 taxi zones of New York: names, centers, and the outlines of the 263 zones that have a location. The data is
//! compiled into the binary.

use super::schema::ZONES;
use crate::common::rows::batch_of;
use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use flate2::read::GzDecoder;
use orch::prelude::*;
use serde_json::Value;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// CSV with the columns `location_id,borough,zone,latitude,longitude`.
const NAMES: &str = include_str!("data/taxi_zones.csv");
/// Gzipped `GeoJSON`, simplified to within 40 m of the official outlines.
const OUTLINES: &[u8] = include_bytes!("data/taxi_zones.geojson.gz");

/// Prefixes of the names of tourist areas and business districts.
const TOURISTS: [&str; 4] = ["Times Sq/Theatre District", "Central Park", "Greenwich Village", "Union Sq"];
const OFFICES: [&str; 2] = ["Financial District", "Midtown"];

#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    pub location_id: i32,
    pub borough: String,
    pub zone: String,
    /// Latitude and longitude.
    pub centre: Option<(f64, f64)>,
    /// A `GeoJSON` geometry.
    pub outline: Option<String>,
}

impl Zone {
    pub fn kind(&self) -> &'static str {
        if self.zone.to_lowercase().contains("airport") { "airport" } else { "neighborhood" }
    }

    pub fn is_tourist_area(&self) -> bool {
        TOURISTS.iter().any(|name| self.zone.starts_with(name))
    }

    pub fn is_business_district(&self) -> bool {
        OFFICES.iter().any(|name| self.zone.starts_with(name))
    }
}

/// Returns all zones, ordered by `location_id`.
///
/// # Errors
/// Returns an error if the compiled data cannot be parsed, which a test rules out.
pub fn zones() -> TaskResult<Vec<Zone>> {
    let mut outlines = outlines()?;
    let zone = |line: &str| {
        let [id, borough, zone, latitude, longitude] = line.split(',').collect::<Vec<_>>().try_into().ok()?;
        let location_id = id.parse().ok()?;
        let centre = latitude.parse().ok().zip(longitude.parse().ok());
        let outline = outlines.remove(&location_id);
        Some(Zone { location_id, borough: borough.into(), zone: zone.into(), centre, outline })
    };
    NAMES.lines().skip(1).map(zone).collect::<Option<_>>().context("a line of the taxi zones cannot be parsed")
}

fn outlines() -> TaskResult<HashMap<i32, String>> {
    let all: Value = serde_json::from_reader(GzDecoder::new(OUTLINES))?;
    let features = all["features"].as_array().into_iter().flatten();
    let outlines = features.filter_map(|feature| {
        let id = feature["properties"]["LocationID"].as_i64()?;
        Some((i32::try_from(id).ok()?, feature["geometry"].to_string()))
    });
    Ok(outlines.collect())
}

/// Returns a hash of the compiled data.
pub fn digest() -> String {
    let mut hasher = DefaultHasher::new();
    (NAMES, OUTLINES).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Builds the rows of `reference.taxi_zones`.
///
/// # Errors
/// Returns an error if a zone does not fit the columns.
pub fn rows(zones: &[Zone], loaded_at: DateTime<Utc>) -> TaskResult<RecordBatch> {
    let row = |zone: &Zone| {
        json!({
            "location_id": zone.location_id,
            "borough": zone.borough,
            "zone": zone.zone,
            "latitude": zone.centre.map(|(latitude, _)| latitude),
            "longitude": zone.centre.map(|(_, longitude)| longitude),
            "zone_type": zone.kind(),
            "is_tourist_area": zone.is_tourist_area(),
            "is_business_district": zone.is_business_district(),
            "created_at": loaded_at,
            "load_date": loaded_at,
            "geometry": zone.outline,
        })
    };
    batch_of(&ZONES.schema(), &zones.iter().map(row).collect::<Vec<Value>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_zones_can_be_read() {
        let zones = zones().expect("they can be read");
        assert!(zones.iter().map(|zone| zone.location_id).eq(1..=265));
        assert_eq!(zones.iter().filter(|zone| zone.outline.is_some() && zone.centre.is_some()).count(), 263);
        let ids = |is: fn(&Zone) -> bool| {
            zones.iter().filter(|zone| is(zone)).map(|zone| zone.location_id).collect::<Vec<_>>()
        };
        assert_eq!(ids(|zone| zone.kind() == "airport"), [1, 132, 138]);
        assert_eq!(ids(Zone::is_tourist_area), [43, 113, 114, 230, 234]);
        assert_eq!(ids(Zone::is_business_district), [87, 88, 161, 162, 163, 164]);
        assert_eq!(rows(&zones, DateTime::default()).expect("rows").num_rows(), 265);
    }
}
