//! Options of a task, of a group and of the defaults of a DAG.

use super::{count, ms};
use crate::file::check::text_of;
use crate::file::node::Node;
use orch_spec::{Limit, OnLost, Options};
use serde_json::{Map, Value};

pub(super) fn options(node: &Node) -> Options {
    let text = |key: &str| node.get(key).and_then(Node::scalar).map(text_of);
    let flag = |key: &str| node.get(key).and_then(Node::scalar).and_then(Value::as_bool);
    fn word<T: serde::de::DeserializeOwned>(node: &Node, key: &str) -> Option<T> {
        serde_json::from_value(node.get(key)?.json()).ok()
    }
    let limit = |one: &Node| Limit {
        name: one.get("name").and_then(Node::scalar).map(text_of).unwrap_or_default(),
        most: count(one, "most").unwrap_or(0),
        key: one.get("key").and_then(Node::scalar).map(text_of),
        per_ms: ms(one, "per"),
        extra: Map::new(),
    };
    let on_lost = node.get("on_lost").and_then(Node::scalar).map(|value| match value.as_u64() {
        Some(times) => OnLost::Retry(u16::try_from(times).unwrap_or(u16::MAX)),
        None => OnLost::Fail,
    });
    Options {
        retries: count(node, "retries"),
        retry_delay_ms: ms(node, "retry_delay"),
        retry_backoff: node.get("retry_backoff").and_then(Node::scalar).and_then(Value::as_f64),
        max_retry_delay_ms: ms(node, "max_retry_delay"),
        timeout_ms: ms(node, "timeout"),
        pool: text("pool"),
        pool_slots: count(node, "pool_slots"),
        queue: text("queue"),
        priority: node.get("priority").and_then(|n| i32::try_from(n.scalar()?.as_i64()?).ok()),
        weight_rule: word(node, "weight_rule"),
        trigger_rule: word(node, "trigger_rule"),
        max_active: count(node, "max_active"),
        max_active_over_runs: count(node, "max_active_over_runs"),
        limits: node.get("limits").map(|limits| limits.items().iter().map(limit).collect()),
        poll_every_ms: ms(node, "poll_every"),
        depends_on_past: flag("depends_on_past"),
        wait_for_downstream: flag("wait_for_downstream"),
        isolation: word(node, "isolation"),
        memory_mb: count(node, "memory_mb"),
        on_lost,
        on_failure_fail_run: flag("on_failure_fail_run"),
    }
}
