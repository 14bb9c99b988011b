//! Names of time zones, and what somebody meant who misspelled one.

use chrono_tz::{TZ_VARIANTS, Tz};
use std::fmt;

/// The longest zone name has 32 letters; more than this is not a misspelling.
const MAX_NAME: usize = 64;

/// More wrong letters than this is another word.
const MAX_TYPOS: usize = 3;

/// A name that is no time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTimezone {
    name: String,
    suggestion: Option<&'static str>,
}

impl UnknownTimezone {
    /// The zone that was probably meant.
    pub fn suggestion(&self) -> Option<&'static str> {
        self.suggestion
    }
}

impl fmt::Display for UnknownTimezone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.name.chars().take(MAX_NAME).collect();
        write!(f, "time zone `{shown}` is not known\nhint: ")?;
        match self.suggestion {
            Some(zone) => write!(f, "did you mean `{zone}`?"),
            None => write!(f, "zones are named by continent and city, as in `Europe/Berlin`, or `UTC`"),
        }
    }
}

impl std::error::Error for UnknownTimezone {}

/// A zone of the IANA database by its exact name.
pub fn parse_timezone(name: &str) -> Result<Tz, UnknownTimezone> {
    name.parse().map_err(|_| UnknownTimezone { suggestion: closest(name), name: name.into() })
}

/// The nearest name, by spelling or by the city alone.
fn closest(name: &str) -> Option<&'static str> {
    if name.len() > MAX_NAME {
        return None;
    }
    let wanted = name.trim().to_ascii_lowercase().replace(' ', "_");
    // The whole name counts first where the city alone is as near: `utc` is `UTC` before `Etc/UTC`.
    let distance = |zone: &'static str| {
        let zone = zone.to_ascii_lowercase();
        let city = zone.rsplit('/').next().unwrap_or_default();
        let whole = typos(&wanted, &zone);
        (whole.min(typos(&wanted, city)), whole)
    };
    let ((distance, _), zone) = TZ_VARIANTS.iter().map(|zone| (distance(zone.name()), zone.name())).min()?;
    // Half of a short word being wrong makes it another word.
    (distance <= MAX_TYPOS && distance * 2 < wanted.chars().count()).then_some(zone)
}

/// Letters to insert, drop or change (Levenshtein).
fn typos(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for j in 0..b.len() {
            let changed = diagonal + usize::from(letter != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
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
        assert_eq!(error, "time zone `Europe/Berln` is not known\nhint: did you mean `Europe/Berlin`?");
    }
}
