//! Conditions that combine others.

use super::read;
use crate::task::Awaited;
use serde_json::{Value, json};

pub(super) const ANY: &str = "any";
pub(super) const ALL: &str = "all";

/// Waits until one of the conditions holds. Returns `{"index": 1, "value": …}` with the index and value of that
/// condition.
pub fn any<W: Into<Awaited>>(of: impl IntoIterator<Item = W>) -> Awaited {
    Awaited { kind: ANY.into(), config: config(&listed(of)) }
}

/// Waits until all conditions hold in the same poll. Returns a list of their values.
pub fn all<W: Into<Awaited>>(of: impl IntoIterator<Item = W>) -> Awaited {
    Awaited { kind: ALL.into(), config: config(&listed(of)) }
}

fn listed<W: Into<Awaited>>(of: impl IntoIterator<Item = W>) -> Vec<Awaited> {
    of.into_iter().map(Into::into).collect()
}

pub(super) fn config(of: &[Awaited]) -> Value {
    json!({ "of": of })
}

/// Returns the conditions in the config of `any` or `all`.
///
/// # Errors
/// Returns an error if the config is invalid or contains no condition.
pub fn several(config: &Value) -> Result<Vec<Awaited>, String> {
    let of: Vec<Awaited> = read(config.get("of").unwrap_or(&Value::Null))?;
    if of.is_empty() { Err("it is made of no condition".into()) } else { Ok(of) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{self, Wait};
    use chrono::{DateTime, TimeDelta};
    use std::time::Duration;

    #[test]
    fn times_inside_others_are_settled_when_the_wait_begins() {
        let now = DateTime::UNIX_EPOCH;
        let wish = any([wait::file("/x").awaited(), all([wait::after(Duration::from_secs(5))])]);
        let settled = wait::settle(&wish, now).expect("times");
        assert_eq!(settled, any([wait::file("/x").awaited(), all([wait::at(now + TimeDelta::seconds(5))])]));
        assert_eq!(wait::settle(&settled, now + TimeDelta::days(1)).expect("times"), settled);
        assert!(several(&json!({ "of": [] })).is_err());
    }
}
