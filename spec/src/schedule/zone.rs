//! Names of time zones, and suggestions for misspelled names.

use crate::names::closest;
use chrono_tz::{TZ_VARIANTS, Tz};
use std::fmt;

/// Longer names get no suggestion. The longest zone name has 32 letters.
const MAX_NAME: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTimezone {
    name: String,
    suggestion: Option<&'static str>,
}

impl UnknownTimezone {
    /// Returns the zone that was probably meant.
    pub fn suggestion(&self) -> Option<&'static str> {
        self.suggestion
    }

    /// Returns the error without its hint.
    pub fn message(&self) -> String {
        let shown: String = self.name.chars().take(MAX_NAME).collect();
        format!("timezone `{shown}` is not known")
    }

    pub fn hint(&self) -> String {
        match self.suggestion {
            Some(zone) => format!("did you mean `{zone}`?"),
            None => "use a name of the IANA list, for example `Europe/Berlin`".into(),
        }
    }
}

impl fmt::Display for UnknownTimezone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nhint: {}", self.message(), self.hint())
    }
}

impl std::error::Error for UnknownTimezone {}

/// Returns a zone of the IANA database by its exact name.
pub fn parse_timezone(name: &str) -> Result<Tz, UnknownTimezone> {
    name.parse().map_err(|_| UnknownTimezone { suggestion: near(name), name: name.into() })
}

/// Returns the zone that was probably meant: with another case, the city alone, or a typo.
fn near(name: &str) -> Option<&'static str> {
    if name.len() > MAX_NAME {
        return None;
    }
    let city = |zone: &'static str| zone.rsplit('/').next().unwrap_or(zone);
    let mut zones = TZ_VARIANTS.iter().map(|zone| zone.name());
    let same = zones.clone().find(|zone| zone.eq_ignore_ascii_case(name));
    same.or_else(|| zones.find(|zone| city(zone).eq_ignore_ascii_case(name)))
        .or_else(|| closest(name, TZ_VARIANTS.iter().map(|zone| zone.name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suggested(name: &str) -> Option<&'static str> {
        parse_timezone(name).expect_err("misspelled").suggestion()
    }

    #[test]
    fn near_misses_are_answered_with_the_zone_that_was_meant() {
        assert_eq!(parse_timezone("Europe/Berlin"), Ok(Tz::Europe__Berlin));
        assert_eq!(suggested("Europe/Berln"), Some("Europe/Berlin"));
        assert_eq!(suggested("europe/berlin"), Some("Europe/Berlin"));
        assert_eq!(suggested("America/New York"), Some("America/New_York"));
        assert_eq!(suggested("Kathmandu"), Some("Asia/Kathmandu"));
        assert_eq!(suggested("utc"), Some("UTC"));
        assert_eq!(suggested("somewhere else"), None);
        assert_eq!(suggested(""), None);
        assert_eq!(suggested(&"x".repeat(1_000_000)), None);
        let error = parse_timezone("Europe/Berln").expect_err("misspelled").to_string();
        assert_eq!(error, "timezone `Europe/Berln` is not known\nhint: did you mean `Europe/Berlin`?");
    }
}
