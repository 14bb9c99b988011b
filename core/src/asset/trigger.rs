//! Decides which runs the queued asset events of a DAG start, and which events each run consumes.
//!
//! An event is queued until a run of the DAG consumes it. As in Airflow, a run consumes all queued events, even if its
//! condition would hold without them.

use orch_spec::{AssetCondition, AssetRef, Schedule};

/// An event that a DAG has not consumed yet.
#[derive(Debug, Clone, Copy)]
pub struct Queued<'a> {
    pub event: i64,
    pub uri: &'a str,
    /// Aliases through which the event was emitted.
    pub aliases: &'a [String],
    pub partition_key: Option<&'a str>,
}

/// A run to create, with all events that it consumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    pub partition_key: Option<String>,
    pub events: Vec<i64>,
}

/// An asset or alias in the condition of a DAG that waits for updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub of: AssetRef,
    pub updated: bool,
}

/// Returns the runs to start, ordered by the oldest event of each. `queued` must be sorted by event.
///
/// A DAG with partitions gets one run per partition key whose events fulfil the condition, and ignores events without a
/// key. A DAG without partitions ignores the keys.
pub fn triggers(schedule: &Schedule, queued: &[Queued<'_>]) -> Vec<Trigger> {
    let Some(condition) = schedule.assets() else { return Vec::new() };
    let leaves = condition.leaves();
    // Ignore events of assets that the schedule no longer contains.
    let named = queued.iter().filter(|q| leaves.iter().any(|leaf| q.updates(leaf)));
    let mut parts: Vec<(Option<&str>, Vec<Queued<'_>>)> = Vec::new();
    for q in named.copied() {
        let key = if schedule.by_partition() { Some(q.partition_key) } else { Some(None) };
        let Some(key) = key.filter(|key| key.is_some() || !schedule.by_partition()) else { continue };
        match parts.iter_mut().find(|(known, _)| *known == key) {
            Some((_, events)) => events.push(q),
            None => parts.push((key, vec![q])),
        }
    }
    parts.retain(|(_, events)| holds(condition, events));
    let trigger = |(key, events): (Option<&str>, Vec<Queued<'_>>)| Trigger {
        partition_key: key.map(String::from),
        events: events.iter().map(|q| q.event).collect(),
    };
    parts.into_iter().map(trigger).collect()
}

/// Returns the assets and aliases that a DAG waits for, without duplicates. For a DAG with partitions, the result
/// describes the partition key with the most updates.
pub fn waiting_for(schedule: &Schedule, queued: &[Queued<'_>]) -> Vec<Waiting> {
    let mut leaves: Vec<AssetRef> = Vec::new();
    for leaf in schedule.assets().map(AssetCondition::leaves).unwrap_or_default() {
        if !leaves.contains(&leaf) {
            leaves.push(leaf);
        }
    }
    let of_key = |key: Option<&str>| -> Vec<Waiting> {
        let mine = |q: &&Queued<'_>| !schedule.by_partition() || q.partition_key == key;
        let updated = |leaf: &AssetRef| queued.iter().filter(mine).any(|q| q.updates(leaf));
        leaves.iter().map(|leaf| Waiting { updated: updated(leaf), of: leaf.clone() }).collect()
    };
    if !schedule.by_partition() {
        return of_key(None);
    }
    let keys = queued.iter().filter_map(|q| q.partition_key);
    let furthest = keys.map(|key| of_key(Some(key))).max_by_key(|found| found.iter().filter(|w| w.updated).count());
    furthest.unwrap_or_else(|| of_key(None))
}

fn holds(condition: &AssetCondition, events: &[Queued<'_>]) -> bool {
    condition.holds(&|leaf| events.iter().any(|q| q.updates(leaf)))
}

impl Queued<'_> {
    fn updates(&self, leaf: &AssetRef) -> bool {
        match leaf {
            AssetRef::Asset(asset) => asset.uri == self.uri,
            AssetRef::Alias(name) => self.aliases.contains(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_spec::Asset;

    /// Parses a condition: `a (b | c)` means `a and (b or c)`. A letter is an asset and `@x` is an alias.
    fn condition(text: &str) -> AssetCondition {
        let (rest, found) = any(text.trim());
        assert_eq!(rest, "", "`{text}`");
        found
    }

    fn any(mut text: &str) -> (&str, AssetCondition) {
        let mut parts = Vec::new();
        loop {
            let (rest, part) = all(text);
            parts.push(part);
            match rest.trim_start().strip_prefix('|') {
                Some(rest) => text = rest,
                None if parts.len() == 1 => return (rest, parts.remove(0)),
                None => return (rest, AssetCondition::Any(parts)),
            }
        }
    }

    fn all(mut text: &str) -> (&str, AssetCondition) {
        let mut parts = Vec::new();
        loop {
            text = text.trim_start();
            let part = match text.chars().next() {
                Some('(') => {
                    let (rest, part) = any(&text[1..]);
                    text = rest.trim_start().strip_prefix(')').expect("closed");
                    part
                }
                Some('@') => {
                    let name = text[1..2].to_string();
                    text = &text[2..];
                    AssetCondition::Alias(name)
                }
                Some(letter) if letter.is_alphabetic() => {
                    text = &text[1..];
                    AssetCondition::Asset(Asset::new(letter))
                }
                _ if parts.len() == 1 => return (text, parts.remove(0)),
                _ => return (text, AssetCondition::All(parts)),
            };
            parts.push(part);
        }
    }

    /// Returns the runs that queued events start, formatted as `1 2` or `monday: 1 2` and separated by `;`. Events are
    /// written as `1:a 2:b@x 3:a/monday` (asset, alias, partition key).
    fn runs(schedule: &Schedule, events: &str) -> String {
        let parsed: Vec<(i64, String, Vec<String>, Option<String>)> = events
            .split_whitespace()
            .map(|event| {
                let (number, rest) = event.split_once(':').expect("a number");
                let (rest, key) = rest.split_once('/').map_or((rest, None), |(r, key)| (r, Some(key.to_string())));
                let (uri, alias) = rest.split_once('@').map_or((rest, None), |(uri, alias)| (uri, Some(alias)));
                let number = number.parse().expect("a number");
                (number, uri.into(), alias.into_iter().map(String::from).collect(), key)
            })
            .collect();
        let queued: Vec<Queued<'_>> = parsed
            .iter()
            .map(|(event, uri, aliases, key)| Queued { event: *event, uri, aliases, partition_key: key.as_deref() })
            .collect();
        let words = |t: Trigger| {
            let events: Vec<String> = t.events.iter().map(ToString::to_string).collect();
            let key = t.partition_key.map(|key| format!("{key}: ")).unwrap_or_default();
            format!("{key}{}", events.join(" "))
        };
        triggers(schedule, &queued).into_iter().map(words).collect::<Vec<_>>().join("; ")
    }

    fn check(text: &str, events: &str, expected: &str) {
        assert_eq!(runs(&Schedule::Assets(condition(text)), events), expected, "`{text}` with `{events}`");
    }

    fn check_partitions(text: &str, events: &str, expected: &str) {
        assert_eq!(runs(&Schedule::AssetPartitions(condition(text)), events), expected, "`{text}` with `{events}`");
    }

    #[test]
    fn one_asset_starts_a_run_with_all_its_events() {
        check("a", "", "");
        check("a", "1:a", "1");
        check("a", "1:a 2:a 3:a", "1 2 3");
    }

    #[test]
    fn and_waits_for_each() {
        check("a b", "1:a", "");
        check("a b", "1:a 2:a", "");
        check("a b", "1:a 2:a 3:b", "1 2 3");
        check("a b c", "1:c 2:a", "");
        check("a b c", "1:c 2:a 3:b", "1 2 3");
    }

    #[test]
    fn or_fires_on_any_and_consumes_all() {
        check("a | b", "1:b", "1");
        check("a | b", "1:b 2:a 3:b", "1 2 3");
    }

    #[test]
    fn trees_are_read_from_the_leaves() {
        check("a (b | c)", "1:b 2:c", "");
        check("a (b | c)", "1:c 2:a", "1 2");
        check("a b | c", "1:a", "");
        check("a b | c", "1:a 2:c", "1 2"); // the run also consumes the event that the condition did not need
        check("(a | b) (c | d)", "1:a 2:b", "");
        check("(a | b) (c | d)", "1:b 2:d", "1 2");
    }

    #[test]
    fn an_alias_stands_for_whatever_came_through_it() {
        check("@x", "1:a", "");
        check("@x", "1:a@x 2:b@x", "1 2");
        check("@x b", "1:a@x", "");
        check("@x b", "1:b@x", "1"); // one event can match both
        check("@x", "1:a@y", "");
    }

    #[test]
    fn what_the_dag_does_not_name_is_left_alone() {
        check("a", "1:z 2:a", "2");
        check("a b", "1:z 2:a", "");
    }

    #[test]
    fn a_key_means_nothing_to_a_dag_that_is_not_by_partition() {
        check("a b", "1:a/monday 2:b/tuesday", "1 2");
        check("a", "1:a/monday 2:a", "1 2");
    }

    #[test]
    fn each_key_has_a_run_of_its_own() {
        check_partitions("a", "1:a/monday 2:a/tuesday 3:a/monday", "monday: 1 3; tuesday: 2");
        check_partitions("a b", "1:a/monday 2:b/tuesday", "");
        check_partitions("a b", "1:a/monday 2:b/tuesday 3:a/tuesday", "tuesday: 2 3");
        check_partitions("a b", "1:a/m 2:a/t 3:b/t 4:b/m", "m: 1 4; t: 2 3");
        check_partitions("a | b", "1:b/m 2:a/t", "m: 1; t: 2");
    }

    #[test]
    fn a_dag_by_partition_never_sees_events_without_a_key() {
        check_partitions("a", "1:a", "");
        check_partitions("a b", "1:a 2:b/monday", "");
    }

    #[test]
    fn time_beside_assets_changes_nothing_about_the_assets() {
        let cron = Schedule::parse("@daily", "UTC").expect("known");
        let both = Schedule::AssetsOrTime { assets: condition("a b"), time: Box::new(cron) };
        assert_eq!(runs(&both, "1:a"), "");
        assert_eq!(runs(&both, "1:a 2:b"), "1 2");
        assert_eq!(runs(&Schedule::Manual, "1:a"), "");
    }

    #[test]
    fn people_see_what_a_dag_still_waits_for() {
        let schedule = Schedule::Assets(condition("a (b | c) a"));
        let queued = [Queued { event: 1, uri: "b", aliases: &[], partition_key: None }];
        let found: Vec<(String, bool)> =
            waiting_for(&schedule, &queued).into_iter().map(|w| (w.of.to_string(), w.updated)).collect();
        assert_eq!(found, [("a".into(), false), ("b".into(), true), ("c".into(), false)]);

        let key = |event, uri, partition_key| Queued { event, uri, aliases: &[], partition_key };
        let by_key = Schedule::AssetPartitions(condition("a b c"));
        let queued = [key(1, "a", Some("m")), key(2, "a", Some("t")), key(3, "b", Some("t"))];
        assert_eq!(waiting_for(&by_key, &queued).iter().filter(|w| w.updated).count(), 2);
        assert_eq!(waiting_for(&by_key, &[]).len(), 3);
    }
}
