//! The 265 zones of New York's taxis, as the city numbers them: names and centres, and the outlines of the 263 that lie
//! somewhere. They are in the binary: where a zone is does not change with the hour.

use super::schema::ZONES;
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use chrono::{DateTime, Utc};
use flate2::read::GzDecoder;
use orch::prelude::*;
use serde_json::Value;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

/// Number, borough, name, centre.
const NAMES: &str = include_str!("data/taxi_zones.csv");
/// `GeoJSON`, with lines that keep to the real ones within some 40 m.
const OUTLINES: &[u8] = include_bytes!("data/taxi_zones.geojson.gz");

/// Names that begin so are where people go to see something, and where they work. (`*` in the document.)
const TOURISTS: [&str; 4] = ["Times Sq/Theatre District", "Central Park", "Greenwich Village", "Union Sq"];
const OFFICES: [&str; 2] = ["Financial District", "Midtown"];

#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    pub location_id: i32,
    pub borough: String,
    pub zone: String,
    /// Latitude and longitude.
    pub centre: Option<(f64, f64)>,
    /// The geometry of `GeoJSON`, as text.
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

/// All of them, by number.
///
/// # Errors
/// Never: what is in the binary is read by a test.
pub fn zones() -> TaskResult<Vec<Zone>> {
    let mut outlines = outlines()?;
    let lines = NAMES.lines().skip(1).map(|line| {
        let broken = || fatal(format!("the line `{line}` of the taxi zones cannot be read"));
        let parts: Vec<&str> = line.split(',').collect();
        let [id, borough, zone, latitude, longitude] = parts[..] else { return Err(broken()) };
        let location_id = id.parse().map_err(|_| broken())?;
        Ok(Zone {
            location_id,
            borough: borough.into(),
            zone: zone.into(),
            centre: latitude.parse().ok().zip(longitude.parse().ok()),
            outline: outlines.remove(&location_id),
        })
    });
    lines.collect()
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

/// Changes with any of them.
pub fn digest(zones: &[Zone]) -> String {
    let mut hasher = DefaultHasher::new();
    for zone in zones {
        (zone.location_id, &zone.borough, &zone.zone, &zone.outline).hash(&mut hasher);
        zone.centre.map(|(latitude, longitude)| (latitude.to_bits(), longitude.to_bits())).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

/// Rows of `reference.taxi_zones`.
///
/// # Errors
/// Never for these: the columns are those of the schema.
pub fn rows(zones: &[Zone], loaded_at: DateTime<Utc>) -> TaskResult<RecordBatch> {
    let text = |of: fn(&Zone) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(zones.iter().map(of))) };
    let truth = |of: fn(&Zone) -> bool| -> ArrayRef {
        Arc::new(zones.iter().map(|zone| Some(of(zone))).collect::<BooleanArray>())
    };
    let part = |of: fn((f64, f64)) -> f64| -> ArrayRef {
        Arc::new(zones.iter().map(|zone| zone.centre.map(of)).collect::<Float64Array>())
    };
    let loaded: ArrayRef = Arc::new(
        TimestampMicrosecondArray::from_value(loaded_at.timestamp_micros(), zones.len()).with_timezone("+00:00"),
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(zones.iter().map(|zone| zone.location_id))),
        text(|zone| &zone.borough),
        text(|zone| &zone.zone),
        part(|centre| centre.0),
        part(|centre| centre.1),
        text(Zone::kind),
        truth(Zone::is_tourist_area),
        truth(Zone::is_business_district),
        loaded.clone(),
        loaded,
        Arc::new(zones.iter().map(|zone| zone.outline.as_deref()).collect::<StringArray>()),
    ];
    Ok(RecordBatch::try_new(ZONES.arrow(), columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_zones_of_the_city_are_there_under_their_numbers() {
        let zones = zones().expect("they can be read");
        assert!(zones.iter().map(|zone| zone.location_id).eq(1..=265));
        assert_eq!(zones.iter().filter(|zone| zone.outline.is_some() && zone.centre.is_some()).count(), 263);
        assert_eq!((zones[0].zone.as_str(), zones[0].kind()), ("Newark Airport", "airport"));
        let named = |is: fn(&Zone) -> bool| {
            zones.iter().filter(|zone| is(zone)).map(|zone| zone.location_id).collect::<Vec<_>>()
        };
        assert_eq!(named(|zone| zone.kind() == "airport"), [1, 132, 138]);
        assert_eq!(named(Zone::is_tourist_area), [43, 113, 114, 230, 234]);
        assert_eq!(named(Zone::is_business_district), [87, 88, 161, 162, 163, 164]);
        let mut other = zones.clone();
        other[7].zone += " ";
        assert_ne!(digest(&zones), digest(&other));
    }
}
