//! Forms (value types) of options, and how their values are validated. `document/src/file/options.rs` defines how a
//! form is written in a DAG file, `orch/src/options.rs` how it is written in Rust.

use crate::check::{MAX_DURATION_MS, MAX_PRIORITY, MAX_RATE, MAX_RETRIES};
use crate::ids;
use crate::{Isolation, Limit, OnLost, Overlap, TriggerRule, WeightRule};

/// A problem of a value, and a hint.
pub type Wrong = (String, &'static str);

/// Value type of an option that is stored as `Stored`.
pub trait Form<Stored> {
    /// Returns the problems of this value of the option `name`.
    fn problems(name: &str, value: &Stored) -> Vec<Wrong>;
}

/// An enum that is written as a word.
pub trait Words: 'static {
    const WORDS: &'static [&'static str];
}

/// Number of retries.
#[derive(Debug)]
pub enum Tries {}
/// A duration that may be 0.
#[derive(Debug)]
pub enum Delay {}
/// A duration that must not be 0.
#[derive(Debug)]
pub enum Time {}
/// Number to multiply by.
#[derive(Debug)]
pub enum Factor {}
/// A name that must not be empty.
#[derive(Debug)]
pub enum Name {}
/// A number that must not be 0.
#[derive(Debug)]
pub enum Most {}
/// A priority.
#[derive(Debug)]
pub enum Weight {}
/// A word from a fixed set.
#[derive(Debug)]
pub enum Word {}
/// A boolean.
#[derive(Debug)]
pub enum Flag {}
/// A list of shared limits.
#[derive(Debug)]
pub enum Limits {}
/// Handling of an attempt whose worker is lost.
#[derive(Debug)]
pub enum Lost {}

/// A boolean of a DAG.
#[derive(Debug)]
pub enum Set {}
/// A number for which 0 means that it is not set.
#[derive(Debug)]
pub enum FromZero {}
/// A word with a default.
#[derive(Debug)]
pub enum WordOrDefault {}
/// Limits on concurrent runs by the values of params.
#[derive(Debug)]
pub enum Keys {}
/// Initial pause state of a DAG.
#[derive(Debug)]
pub enum Paused {}

impl Form<u32> for Tries {
    fn problems(name: &str, tries: &u32) -> Vec<Wrong> {
        let problem = || {
            (
                format!("{name} is {tries}, more than {MAX_RETRIES}"),
                "write a smaller number; to wait for something, use a sensor",
            )
        };
        (*tries > MAX_RETRIES).then(problem).into_iter().collect()
    }
}

const GIVE_A_TIME: &str = "give a time of at most ten years, or leave it out";

impl Form<u64> for Delay {
    fn problems(name: &str, ms: &u64) -> Vec<Wrong> {
        (*ms > MAX_DURATION_MS).then(|| (format!("{name} is more than ten years"), GIVE_A_TIME)).into_iter().collect()
    }
}

impl Form<u64> for Time {
    fn problems(name: &str, ms: &u64) -> Vec<Wrong> {
        duration(name, *ms).map(|message| (message, GIVE_A_TIME)).into_iter().collect()
    }
}

/// Returns the problem of a duration that must not be 0.
pub(crate) fn duration(name: &str, ms: u64) -> Option<String> {
    match ms {
        0 => Some(format!("{name} is 0")),
        ms if ms > MAX_DURATION_MS => Some(format!("{name} is more than ten years")),
        _ => None,
    }
}

impl Form<f64> for Factor {
    fn problems(name: &str, factor: &f64) -> Vec<Wrong> {
        let problem = || (format!("{name} is {factor}"), "give a factor such as 2.0, or 0 for no growth");
        (!factor.is_finite() || *factor < 0.0).then(problem).into_iter().collect()
    }
}

impl Form<String> for Name {
    fn problems(name: &str, text: &String) -> Vec<Wrong> {
        text.is_empty()
            .then(|| (format!("{name} is an empty name"), "leave it out for the default"))
            .into_iter()
            .collect()
    }
}

impl Form<u32> for Most {
    fn problems(name: &str, most: &u32) -> Vec<Wrong> {
        (*most == 0).then(|| (format!("{name} is 0: it would never run"), "give at least 1")).into_iter().collect()
    }
}

impl Form<i32> for Weight {
    fn problems(name: &str, weight: &i32) -> Vec<Wrong> {
        let problem = || {
            let message = format!("{name} is {weight}, outside -{MAX_PRIORITY} to {MAX_PRIORITY}");
            (message, "the order is what counts: choose smaller numbers")
        };
        (!(-MAX_PRIORITY..=MAX_PRIORITY).contains(weight)).then(problem).into_iter().collect()
    }
}

impl<W: Words> Form<W> for Word {
    fn problems(_: &str, _: &W) -> Vec<Wrong> {
        Vec::new()
    }
}

impl Form<bool> for Flag {
    fn problems(_: &str, _: &bool) -> Vec<Wrong> {
        Vec::new()
    }
}

impl Form<OnLost> for Lost {
    fn problems(name: &str, lost: &OnLost) -> Vec<Wrong> {
        match lost {
            OnLost::Retry(times) if u32::from(*times) > MAX_RETRIES => {
                vec![(format!("{name} tries {times} times again, more than {MAX_RETRIES}"), "a few times are enough")]
            }
            OnLost::Retry(_) | OnLost::Fail => Vec::new(),
        }
    }
}

impl Form<Vec<Limit>> for Limits {
    fn problems(_: &str, limits: &Vec<Limit>) -> Vec<Wrong> {
        let mut found = Vec::new();
        for (place, limit) in limits.iter().enumerate() {
            let name = &limit.name;
            if ids::check("limit", name, "_.-").is_err() {
                found.push((
                    format!("limit `{name}` has a name that cannot be used"),
                    "letters, digits, `_`, `.` and `-`, at most 250",
                ));
            }
            if limits[..place]
                .iter()
                .any(|other| other.name == *name && other.per_ms.is_some() == limit.per_ms.is_some())
            {
                found.push((format!("limit `{name}` is named twice"), "name it once: it would wait for itself"));
            }
            if limit.most == 0 {
                found.push((format!("limit `{name}` lets nothing in: the task would never run"), "give at least 1"));
            }
            if limit.per_ms.is_some() && limit.most > MAX_RATE {
                let message = format!("limit `{name}` lets {} in, more than {MAX_RATE}", limit.most);
                found.push((message, "choose a shorter time with a smaller number"));
            }
            if limit.key.as_deref().is_some_and(|path| path.split('.').any(str::is_empty)) {
                found.push((
                    format!("limit `{name}` has an empty key"),
                    "name a field of the params, such as `customer` or `order.region`",
                ));
            }
            if let Some(message) = limit.per_ms.and_then(|ms| duration(&format!("the time of limit `{name}`"), ms)) {
                found.push((message, "give a time between 1 ms and ten years"));
            }
        }
        found
    }
}

impl Words for TriggerRule {
    const WORDS: &'static [&'static str] = &[
        "all_success",
        "all_failed",
        "all_done",
        "all_done_min_one_success",
        "all_done_setup_success",
        "one_success",
        "one_failed",
        "one_done",
        "none_failed",
        "none_skipped",
        "always",
        "none_failed_min_one_success",
        "all_skipped",
    ];
}

impl Words for Overlap {
    const WORDS: &'static [&'static str] = &["queue", "skip", "cancel_running"];
}

impl Words for WeightRule {
    const WORDS: &'static [&'static str] = &["downstream", "upstream", "absolute"];
}

impl Words for Isolation {
    const WORDS: &'static [&'static str] = &["in_process", "process"];
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use serde_json::json;

    fn each_is_read<W: Words + DeserializeOwned + Copy>(count: usize) {
        assert_eq!(W::WORDS.len(), count);
        for word in W::WORDS {
            assert!(serde_json::from_value::<W>(json!(word)).is_ok(), "{word}");
        }
    }

    #[test]
    fn every_word_of_an_option_is_read() {
        each_is_read::<TriggerRule>(TriggerRule::ALL.len());
        each_is_read::<WeightRule>(3);
        each_is_read::<Isolation>(2);
        each_is_read::<Overlap>(Overlap::ALL.len());
        assert_eq!(TriggerRule::WORDS, TriggerRule::ALL.map(TriggerRule::as_str));
    }
}
