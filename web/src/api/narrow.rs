//! Filters of lists that are short enough to be read whole and narrowed here.

use super::dag_runs::COMPARES;
use crate::extract::Query;
use chrono::{DateTime, Utc};
use orch_store::name_pattern::NamePattern;
use orch_store::run::Compare;

/// Whether a name fits; what SQL calls wildcards stands for itself here.
pub(super) fn fits(pattern: &NamePattern, name: &str) -> bool {
    let lower = name.to_lowercase();
    let contains = |parts: &Vec<String>| parts.iter().any(|part| lower.contains(&part.to_lowercase()));
    let begins = |parts: &Vec<String>| parts.iter().any(|part| name.starts_with(part.as_str()));
    pattern.contains.as_ref().is_none_or(contains) && pattern.begins.as_ref().is_none_or(begins)
}

/// `…_gte`, `…_gt`, `…_lte` and `…_lt` of a time. What has none fits only where none is asked for.
pub(super) struct Span(Vec<(Compare, DateTime<Utc>)>);

impl Span {
    pub(super) fn of(query: &mut Query, name: &str) -> Span {
        let bound = |(suffix, compare): (&str, Compare)| Some((compare, query.moment(&format!("{name}_{suffix}"))?));
        Span(COMPARES.into_iter().filter_map(bound).collect())
    }

    pub(super) fn holds(&self, at: Option<DateTime<Utc>>) -> bool {
        self.0.iter().all(|(compare, bound)| {
            at.is_some_and(|at| match compare {
                Compare::AtLeast => at >= *bound,
                Compare::Above => at > *bound,
                Compare::AtMost => at <= *bound,
                Compare::Below => at < *bound,
            })
        })
    }
}
