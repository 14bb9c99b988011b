//! Summarizes the state of the installation in one sentence.

use super::MOST_NEEDS;
use crate::parts::{counted, spelled};
use orch_store::overview::Pulse;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// DAGs whose last run failed.
    pub(super) failing: usize,
    /// True if there are more than `failing` such DAGs.
    pub(super) more: bool,
    /// Failed streams.
    pub(super) streams: usize,
    /// DAGs whose last run succeeded although tasks failed, at most `MOST_NEEDS`.
    pub(super) partly_failed: usize,
    /// Files with import errors.
    pub(super) files: usize,
    /// Assets whose last check by a contract failed, at most `MOST_NEEDS`.
    pub(super) contracts: usize,
    /// Assets that are older than their freshness limit, at most `MOST_NEEDS`.
    pub(super) stale: usize,
    /// Alerts that were given up in the last 24 hours, at most `MOST_NEEDS`.
    pub(super) alerts: usize,
    /// Active runs.
    pub(super) running: usize,
    /// Approvals that wait for an answer of the current user.
    pub(super) approvals: usize,
    /// Runs that are due but have not started.
    pub(super) waiting: usize,
}

/// Returns the sentence and an optional addition.
pub(super) fn sentence(of: Counts, pulse: Option<&Pulse>) -> (String, &'static str) {
    let parts = pulse.copied().unwrap_or_default();
    if pulse.is_some() && parts.dags == 0 {
        return ("There is no DAG yet.".into(), "A worker brings its DAGs along when it starts.");
    }
    if pulse.is_some() && parts.workers == 0 {
        return ("No worker answers: no task runs until one starts.".into(), "");
    }
    if pulse.is_some() && parts.schedulers == 0 {
        return ("No scheduler answers: scheduled runs wait until one starts.".into(), "");
    }
    let mut clauses = Vec::new();
    match (of.failing, of.streams) {
        (0, 0) => {}
        (failing, _) if of.more => clauses.push(format!("more than {}", clause(failing, "DAG", "fail"))),
        (0, streams) => clauses.push(clause(streams, "stream", "fail")),
        (failing, 0) => clauses.push(clause(failing, "DAG", "fail")),
        (failing, streams) => {
            clauses.push(format!("{} and {} fail", count_in_words(failing, "DAG"), count_in_words(streams, "stream")));
        }
    }
    let fails = !clauses.is_empty();
    if of.partly_failed > 0 {
        let succeeds = clause(of.partly_failed, "DAG", "succeed");
        clauses.push(capped(of.partly_failed) + &succeeds + " although tasks fail");
    }
    if of.files > 0 {
        clauses.push(predicate(of.files, "file", ["is", "are"], "broken"));
    }
    if of.contracts > 0 {
        clauses.push(capped(of.contracts) + &predicate(of.contracts, "contract", ["is", "are"], "broken"));
    }
    if of.stale > 0 {
        clauses.push(capped(of.stale) + &predicate(of.stale, "asset", ["is", "are"], "stale"));
    }
    if of.alerts > 0 {
        clauses.push(capped(of.alerts) + &predicate(of.alerts, "alert", ["was", "were"], "not delivered"));
    }
    if of.approvals > 0 {
        clauses.push(clause(of.approvals, "approval", "wait") + " for you");
    }
    if of.waiting > 0 {
        clauses.push(clause(of.waiting, "run", "wait"));
    }
    let Some((last, before)) = clauses.split_last() else {
        return match of.running {
            0 => ("Everything is done.".into(), "Nothing fails, nothing runs."),
            _ => ("Everything is on time.".into(), "Nothing fails."),
        };
    };
    let all = if before.is_empty() { last.clone() } else { format!("{} and {last}", before.join(", ")) };
    let rest = match (of.failing, of.streams) {
        _ if of.partly_failed + of.files + of.contracts + of.stale + of.alerts > 0 => "",
        _ if !fails => "Nothing fails.",
        _ if of.more || of.waiting > 0 => "",
        (0, _) => "The DAGs are on time.",
        (_, 0) => "The rest is on time.",
        _ => "",
    };
    (with_capital(&all) + ".", rest)
}

fn count_in_words(count: usize, one: &str) -> String {
    counted(spelled(count), one)
}

/// Returns a clause such as `one file is broken` or `two files are broken`.
fn predicate(count: usize, one: &str, [is, are]: [&str; 2], rest: &str) -> String {
    format!("{} {} {rest}", count_in_words(count, one), if count == 1 { is } else { are })
}

/// Returns the prefix of a count that is limited to `MOST_NEEDS` rows.
fn capped(count: usize) -> String {
    if count < MOST_NEEDS { String::new() } else { "at least ".into() }
}

fn clause(count: usize, one: &str, verb: &str) -> String {
    format!("{} {verb}{}", count_in_words(count, one), if count == 1 { "s" } else { "" })
}

fn with_capital(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().into_iter().flat_map(char::to_uppercase);
    first.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_counts_what_fails_and_what_waits() {
        let alive = Pulse { dags: 3, workers: 1, schedulers: 1, ..Pulse::default() };
        let none = Counts::default();
        for (of, said, rest) in [
            (none, "Everything is done.", "Nothing fails, nothing runs."),
            (Counts { running: 2, ..none }, "Everything is on time.", "Nothing fails."),
            (Counts { failing: 1, ..none }, "One DAG fails.", "The rest is on time."),
            (Counts { failing: 12, ..none }, "12 DAGs fail.", "The rest is on time."),
            (Counts { failing: 8, more: true, streams: 1, ..none }, "More than eight DAGs fail.", ""),
            (Counts { streams: 1, ..none }, "One stream fails.", "The DAGs are on time."),
            (Counts { failing: 1, streams: 2, ..none }, "One DAG and two streams fail.", ""),
            (Counts { approvals: 1, ..none }, "One approval waits for you.", "Nothing fails."),
            (Counts { waiting: 1, ..none }, "One run waits.", "Nothing fails."),
            (Counts { files: 1, ..none }, "One file is broken.", ""),
            (Counts { files: 2, failing: 1, ..none }, "One DAG fails and two files are broken.", ""),
            (Counts { alerts: 2, running: 1, ..none }, "Two alerts were not delivered.", ""),
            (
                Counts { contracts: 1, stale: 8, approvals: 1, ..none },
                "One contract is broken, at least eight assets are stale and one approval waits for you.",
                "",
            ),
            (Counts { partly_failed: 1, ..none }, "One DAG succeeds although tasks fail.", ""),
            (
                Counts { failing: 1, partly_failed: 2, ..none },
                "One DAG fails and two DAGs succeed although tasks fail.",
                "",
            ),
            (
                Counts { failing: 2, approvals: 2, waiting: 30, ..none },
                "Two DAGs fail, two approvals wait for you and 30 runs wait.",
                "",
            ),
            (
                Counts { failing: 1, approvals: 1, ..none },
                "One DAG fails and one approval waits for you.",
                "The rest is on time.",
            ),
        ] {
            assert_eq!(sentence(of, Some(&alive)), (said.to_owned(), rest), "{of:?}");
        }
        let without = |pulse: Pulse| sentence(none, Some(&pulse)).0;
        assert_eq!(without(Pulse { dags: 0, ..alive }), "There is no DAG yet.");
        assert_eq!(without(Pulse { workers: 0, ..alive }), "No worker answers: no task runs until one starts.");
        let no_scheduler = without(Pulse { schedulers: 0, ..alive });
        assert_eq!(no_scheduler, "No scheduler answers: scheduled runs wait until one starts.");
    }
}
