//! The params of a run: its locations, and the number of hours to look back.

use chrono_tz::Tz;
use orch::prelude::*;

/// The locations of a run without params: name, latitude, longitude, time zone. To add a city, add a line.
const CITIES: &[(&str, f64, f64, &str)] = &[
    ("New York", 40.7128, -74.006, "America/New_York"), //
];

/// Maximum number of hours that a run looks back: 31 days.
const MAX_HOURS: u32 = 31 * 24;
const MAX_LOCATIONS: usize = 50;

/// A place whose weather is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// Value of the column `location` in the table.
    pub name: String,
    pub latitude: f64,
    pub longitude: f64,
    /// Time zone of the columns `hour`, `day`, …, such as `America/New_York`.
    pub zone: String,
}

/// Params of `nyc_weather_etl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Weather {
    /// Number of hours up to and including the hour of the run. Rows of the same hours are replaced.
    #[schemars(range(min = 1, max = 744))]
    pub hours: u32,
    pub locations: Vec<Location>,
}

impl Default for Weather {
    fn default() -> Self {
        Weather { hours: 24, locations: CITIES.iter().copied().map(Location::of).collect() }
    }
}

impl Location {
    /// Creates a location from a name, latitude, longitude and time zone.
    pub(crate) fn of((name, latitude, longitude, zone): (&str, f64, f64, &str)) -> Location {
        Location { name: name.into(), latitude, longitude, zone: zone.into() }
    }

    /// Returns the time zone, or a fatal error if it is unknown.
    pub fn clock(&self) -> TaskResult<Tz> {
        let Location { name, zone, .. } = self;
        let unknown =
            |_| fatal(format!("location `{name}`: unknown time zone `{zone}`\nhint: write `America/New_York`"));
        zone.parse().map_err(unknown)
    }
}

impl Weather {
    /// Returns a fatal error that names the param if a value is not allowed.
    pub fn check(&self) -> TaskResult<()> {
        if !(1..=MAX_HOURS).contains(&self.hours) {
            return Err(fatal(format!("`hours` is {}\nhint: write a number from 1 to {MAX_HOURS}", self.hours)));
        }
        let count = self.locations.len();
        if !(1..=MAX_LOCATIONS).contains(&count) {
            return Err(fatal(format!("`locations` has {count} locations\nhint: name 1 to {MAX_LOCATIONS}")));
        }
        for (index, location) in self.locations.iter().enumerate() {
            location.clock()?;
            if self.locations[..index].iter().any(|other| other.name == location.name) {
                return Err(fatal(format!("location `{}` is named twice", location.name)));
            }
            if !(-90.0..=90.0).contains(&location.latitude) || !(-180.0..=180.0).contains(&location.longitude) {
                return Err(fatal(format!("location `{}` has coordinates that are not on earth", location.name)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_params_are_rejected_by_name() {
        let place = |name: &str, zone: &str| Location::of((name, 0.0, 0.0, zone));
        assert!(Weather::default().check().is_ok());
        for (hours, locations, message) in [
            (0, vec![place("a", "UTC")], "`hours` is 0"),
            (24, vec![], "0 locations"),
            (24, vec![place("a", "UTC"), place("a", "UTC")], "`a` is named twice"),
            (24, vec![place("a", "Mars/Olympus")], "unknown time zone `Mars/Olympus`"),
            (24, vec![Location { latitude: 91.0, ..place("a", "UTC") }], "`a` has coordinates"),
        ] {
            let error = Weather { hours, locations }.check().expect_err(message).to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
