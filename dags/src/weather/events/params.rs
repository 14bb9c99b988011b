//! Which cities are requested and watched.

use super::SILENT_MINUTES;
use orch::prelude::*;

/// The cities of a run without params: name, country, latitude, longitude, time zone. A new city is a new line. The API finds a
/// city by its name; the rest is for sample data.
pub(super) const CITIES: &[(&str, &str, f64, f64, &str)] = &[
    ("London", "United Kingdom", 51.52, -0.11, "Europe/London"),
    ("New York", "United States of America", 40.71, -74.01, "America/New_York"),
    ("New Delhi", "India", 28.6, 77.2, "Asia/Kolkata"),
    ("Tokyo", "Japan", 35.69, 139.69, "Asia/Tokyo"),
];

/// Cities whose weather is requested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cities {
    /// Names that the API knows, with or without a country.
    pub cities: Vec<String>,
}

/// Cities that must have new readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Watched {
    pub cities: Vec<String>,
    /// Maximum age of the newest reading of a city.
    #[schemars(range(min = 1))]
    pub minutes: u32,
}

impl Default for Cities {
    fn default() -> Self {
        Cities { cities: CITIES.iter().map(|(name, ..)| (*name).into()).collect() }
    }
}

impl Default for Watched {
    fn default() -> Self {
        Watched { cities: Cities::default().cities, minutes: SILENT_MINUTES }
    }
}
