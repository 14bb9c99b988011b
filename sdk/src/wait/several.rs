//! Conditions made of others.

use super::read;
use crate::task::Awaited;
use serde_json::{Value, json};

pub(super) const ANY: &str = "any";
pub(super) const ALL: &str = "all";

/// Until one of them holds. Gives `{"index": 1, "value": …}`: which, and what that gave.
pub fn any<W: Into<Awaited>>(of: impl IntoIterator<Item = W>) -> Awaited {
    Awaited { kind: ANY.into(), config: config(&listed(of)) }
}

/// Until all of them hold at the same look. Gives a list of what they gave.
pub fn all<W: Into<Awaited>>(of: impl IntoIterator<Item = W>) -> Awaited {
    Awaited { kind: ALL.into(), config: config(&listed(of)) }
}

fn listed<W: Into<Awaited>>(of: impl IntoIterator<Item = W>) -> Vec<Awaited> {
    of.into_iter().map(Into::into).collect()
}

pub(super) fn config(of: &[Awaited]) -> Value {
    json!({ "of": of })
}

/// What `any` or `all` is made of.
///
/// # Errors
/// When it is none, or made of nothing.
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
