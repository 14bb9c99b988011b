//! What a run is asked for: which places, and how many hours back.

use chrono_tz::Tz;
use orch::prelude::*;

/// A run looks back at most so far: a month of hours.
const MOST_HOURS: u32 = 31 * 24;
const MOST_LOCATIONS: usize = 50;

/// A place whose weather is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// Under which its rows are found.
    pub name: String,
    pub latitude: f64,
    pub longitude: f64,
    /// Whose clock the columns `hour`, `day`, … are read from: `America/New_York`.
    pub zone: String,
}

/// What one run fetches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Weather {
    /// Hours up to that of the run, that one included. What was there of them is replaced.
    #[schemars(range(min = 1, max = 744))]
    pub hours: u32,
    pub locations: Vec<Location>,
}

impl Default for Weather {
    fn default() -> Self {
        let new_york = Location {
            name: "New York".into(),
            latitude: 40.7128,
            longitude: -74.006,
            zone: "America/New_York".into(),
        };
        Weather { hours: 24, locations: vec![new_york] }
    }
}

impl Location {
    /// # Errors
    /// A fatal error when nobody knows that zone.
    pub fn clock(&self) -> TaskResult<Tz> {
        self.zone.parse().map_err(|_| {
            fatal(format!(
                "location `{}`: `{}` is no time zone\nhint: write it as `America/New_York`",
                self.name, self.zone
            ))
        })
    }
}

impl Weather {
    /// # Errors
    /// A fatal error that names the param.
    pub fn check(&self) -> TaskResult<()> {
        if !(1..=MOST_HOURS).contains(&self.hours) {
            return Err(fatal(format!("`hours` is {}\nhint: it is a number from 1 to {MOST_HOURS}", self.hours)));
        }
        if self.locations.is_empty() || self.locations.len() > MOST_LOCATIONS {
            let count = self.locations.len();
            return Err(fatal(format!("{count} `locations` were named\nhint: name 1 to {MOST_LOCATIONS}")));
        }
        for (place, location) in self.locations.iter().enumerate() {
            location.clock()?;
            if self.locations[..place].iter().any(|other| other.name == location.name) {
                return Err(fatal(format!("location `{}` is named twice", location.name)));
            }
            if !(-90.0..=90.0).contains(&location.latitude) || !(-180.0..=180.0).contains(&location.longitude) {
                return Err(fatal(format!("location `{}` lies nowhere on earth", location.name)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_fetched_is_refused_by_name() {
        let place =
            |name: &str, zone: &str| Location { name: name.into(), latitude: 0.0, longitude: 0.0, zone: zone.into() };
        let of = |hours, locations| Weather { hours, locations }.check().err().map_or(String::new(), |e| e.to_string());
        assert_eq!(Weather::default().check().map_err(|error| error.to_string()), Ok(()));
        for (hours, locations, words) in [
            (0, vec![place("a", "UTC")], "`hours` is 0"),
            (24, vec![], "0 `locations`"),
            (24, vec![place("a", "UTC"), place("a", "UTC")], "`a` is named twice"),
            (24, vec![place("a", "Mars/Olympus")], "`Mars/Olympus` is no time zone"),
            (24, vec![Location { latitude: 91.0, ..place("a", "UTC") }], "`a` lies nowhere"),
        ] {
            let said = of(hours, locations);
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}
