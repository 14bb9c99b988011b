//! Lists of cities in the params of DAGs.

use orch::prelude::*;

/// Maximum number of cities: each one is a request.
const MAX_CITIES: usize = 50;
const MAX_CHARS: usize = 100;

/// Returns a fatal error that names the city, or the number of cities.
pub(super) fn check(cities: &[String]) -> TaskResult<()> {
    if cities.is_empty() || cities.len() > MAX_CITIES {
        return Err(fatal(format!("`cities` has {} cities\nhint: name 1 to {MAX_CITIES}", cities.len())));
    }
    for (index, city) in cities.iter().enumerate() {
        if city.trim().is_empty() || city.chars().count() > MAX_CHARS || city.contains('\0') {
            return Err(fatal(format!("city {} does not have a name of 1 to {MAX_CHARS} characters", index + 1)));
        }
        if cities[..index].contains(city) {
            return Err(fatal(format!("city `{city}` is named twice")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_lists_are_rejected_by_name() {
        assert!(check(&["London".into(), "New York".into()]).is_ok());
        assert!(check(&[]).is_err_and(|error| error.to_string().contains("has 0 cities")));
        for (city, message) in [("Rome", "`Rome` is named twice"), (" ", "city 2 does not have a name")] {
            let error = check(&["Rome".into(), city.into()]).expect_err(message).to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
