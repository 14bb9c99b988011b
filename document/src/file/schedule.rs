//! Schedules, assets and dates of a document.

use super::Problems;
use super::check::{text_of, time_ms};
use super::node::{Node, NodeKind};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use orch_spec::schedule::{CronExpr, parse_date, parse_timezone};
use orch_spec::{Asset, AssetCondition, AssetRef, Schedule};
use serde_json::Value;

/// Cron expressions and time zones are checked here, where their lines are known. The rules for all DAGs check the
/// rest.
pub(super) fn schedule(node: &Node, problems: &mut Problems<'_>) -> Schedule {
    if let Some(value) = node.scalar() {
        return by_text(node, &text_of(value), "UTC", problems);
    }
    let time = by_time(node, problems);
    let Some(assets) = node.get("assets") else {
        if node.get("or").or(node.get("by_partition")).is_some() {
            problems.add(node.mark, "the schedule names no assets", "say `assets` too");
        }
        return time.unwrap_or_else(|| {
            problems.add(node.mark, "the schedule says no time", "say one of `cron`, `every` and `assets`");
            Schedule::Manual
        });
    };
    if time.is_some() {
        problems.add(
            node.mark,
            "the schedule has both assets and a time",
            "write the time below `or`: `schedule: {assets: […], or: \"0 2 * * *\"}`",
        );
    }
    let condition = condition(assets);
    let by_partition = node.get("by_partition").and_then(Node::scalar) == Some(&Value::Bool(true));
    match (node.get("or"), by_partition) {
        (Some(or), false) => {
            let time = match or.scalar() {
                Some(text) => Some(by_text(or, &text_of(text), "UTC", problems)),
                None => by_time(or, problems),
            };
            if time.is_none() {
                problems.add(or.mark, "`or` says no time", "say one of `cron` and `every`");
            }
            Schedule::AssetsOrTime { assets: condition, time: Box::new(time.unwrap_or(Schedule::Once)) }
        }
        (Some(or), true) => {
            problems.add(or.mark, "a DAG by partition has no time", "leave `or` or `by_partition` out");
            Schedule::AssetPartitions(condition)
        }
        (None, true) => Schedule::AssetPartitions(condition),
        (None, false) => Schedule::Assets(condition),
    }
}

fn by_text(node: &Node, text: &str, timezone: &str, problems: &mut Problems<'_>) -> Schedule {
    match text.trim() {
        "@once" => Schedule::Once,
        "@continuous" => Schedule::Continuous,
        expression => {
            if let Err(error) = CronExpr::parse(expression) {
                problems.add(node.mark, error.message(), error.hint());
            }
            Schedule::Cron { expression: expression.into(), timezone: timezone.into() }
        }
    }
}

fn by_time(node: &Node, problems: &mut Problems<'_>) -> Option<Schedule> {
    if let Some(every) = node.get("every") {
        return Some(Schedule::EveryMs(every.scalar().and_then(time_ms).unwrap_or(0)));
    }
    let cron = node.get("cron")?;
    let timezone = node.get("timezone").and_then(|node| Some((node, node.text()?)));
    if let Some((node, Err(error))) = timezone.map(|(node, name)| (node, parse_timezone(name))) {
        problems.add(node.mark, error.message(), error.hint());
    }
    Some(by_text(cron, &text_of(cron.scalar()?), timezone.map_or("UTC", |(_, name)| name), problems))
}

/// Returns the time zone of dates without one.
pub(super) fn zone(schedule: &Schedule) -> Tz {
    match schedule.time() {
        Schedule::Cron { timezone, .. } => parse_timezone(timezone).unwrap_or(Tz::UTC), // already reported
        _ => Tz::UTC,
    }
}

pub(super) fn date(node: Option<&Node>, zone: Tz, problems: &mut Problems<'_>) -> Option<DateTime<Utc>> {
    let (node, text) = node.and_then(|node| Some((node, text_of(node.scalar()?))))?;
    let date = parse_date(&text, zone);
    if date.is_none() {
        let hint = "write `2025-01-01`, `2025-01-01T06:30` or `2025-01-01T06:30:00+01:00`";
        problems.add(node.mark, format!("`{text}` is not a date"), hint);
    }
    date
}

fn condition(node: &Node) -> AssetCondition {
    match &node.kind {
        NodeKind::List(items) => AssetCondition::All(items.iter().map(condition).collect()),
        NodeKind::Map(entries) if entries.len() == 1 && entries[0].0.text == "any" => {
            AssetCondition::Any(entries[0].1.items().iter().map(condition).collect())
        }
        NodeKind::Map(entries) if entries.len() == 1 && entries[0].0.text == "all" => {
            AssetCondition::All(entries[0].1.items().iter().map(condition).collect())
        }
        _ => match asset(node) {
            AssetRef::Asset(asset) => AssetCondition::Asset(asset),
            AssetRef::Alias(alias) => AssetCondition::Alias(alias),
        },
    }
}

pub(super) fn assets(node: Option<&Node>, problems: &mut Problems<'_>) -> Vec<AssetRef> {
    let nodes = node.map(Node::items).unwrap_or_default();
    for node in nodes {
        if node.entries().len() > 1 && node.get("alias").is_some() {
            problems.add(node.mark, "an alias stands beside other words", "an alias has nothing but its name");
        } else if !node.entries().is_empty() && node.get("uri").or(node.get("alias")).is_none() {
            problems.add(node.mark, "an asset has neither `uri` nor `alias`", "an asset is known by its URI");
        }
    }
    nodes.iter().map(asset).collect()
}

fn asset(node: &Node) -> AssetRef {
    let text = |key: &str| node.get(key).and_then(Node::scalar).map(text_of);
    if let Some(uri) = node.scalar() {
        return AssetRef::Asset(Asset::new(text_of(uri)));
    }
    if let Some(alias) = text("alias") {
        return AssetRef::Alias(alias);
    }
    let mut asset = Asset::new(text("uri").unwrap_or_default());
    (asset.name, asset.group) = (text("name"), text("group"));
    asset.extra = node.get("extra").and_then(|extra| extra.json().as_object().cloned());
    asset.fresh_within_ms = node.get("fresh_within").and_then(Node::scalar).and_then(time_ms);
    AssetRef::Asset(asset)
}
