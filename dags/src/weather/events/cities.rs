//! Which cities are asked for and watched.

use super::SILENT_MINUTES;
use orch::prelude::*;

/// Each is a request a minute.
const MOST_CITIES: usize = 50;
const MOST_CHARS: usize = 100;

/// Whose weather is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cities {
    /// As the API knows them: a name, or a name with its country.
    pub cities: Vec<String>,
}

/// Which cities have to be heard of, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Watched {
    pub cities: Vec<String>,
    /// A city whose newest reading is older is silent.
    #[schemars(range(min = 1))]
    pub minutes: u32,
}

impl Default for Cities {
    fn default() -> Self {
        Cities { cities: ["London", "New York", "New Delhi", "Tokyo"].map(String::from).to_vec() }
    }
}

impl Default for Watched {
    fn default() -> Self {
        Watched { cities: Cities::default().cities, minutes: SILENT_MINUTES }
    }
}

/// # Errors
/// A fatal error that names the param.
pub(super) fn check(cities: &[String]) -> TaskResult<()> {
    if cities.is_empty() || cities.len() > MOST_CITIES {
        return Err(fatal(format!("`cities` has {} cities\nhint: name 1 to {MOST_CITIES}", cities.len())));
    }
    for (place, city) in cities.iter().enumerate() {
        if city.trim().is_empty() || city.chars().count() > MOST_CHARS || city.contains('\0') {
            return Err(fatal(format!("city {} has no name of 1 to {MOST_CHARS} characters", place + 1)));
        }
        if cities[..place].contains(city) {
            return Err(fatal(format!("city `{city}` is named twice")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_asked_for_is_refused_by_name() {
        let of = |cities: &[&str]| check(&cities.iter().map(|&city| city.to_owned()).collect::<Vec<_>>());
        assert!(check(&Cities::default().cities).is_ok() && Cities::default().cities[0] == "London");
        for (cities, words) in [
            (&[][..], "has 0 cities"),
            (&["Rome", "Rome"], "`Rome` is named twice"),
            (&["Rome", " "], "city 2 has no name"),
        ] {
            let said = of(cities).expect_err(words).to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}
