//! Which cities are requested.

use orch::prelude::*;

/// The cities of a run without params: name, latitude, longitude, time zone. A new city is a new line. The API finds a city by its
/// name; the rest is for sample data.
pub(super) const CITIES: &[(&str, f64, f64, &str)] = &[
    ("London", 51.5085, -0.1257, "Europe/London"),
    ("New Delhi", 28.6128, 77.2311, "Asia/Kolkata"),
    ("New York", 40.7143, -74.006, "America/New_York"),
];

/// Cities whose weather is requested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cities {
    pub cities: Vec<String>,
}

impl Default for Cities {
    fn default() -> Self {
        Cities { cities: CITIES.iter().map(|(name, ..)| (*name).into()).collect() }
    }
}
