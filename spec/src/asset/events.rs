//! Events and lineage of a successful task attempt: an event for each updated asset, an edge for each data flow.

use crate::AssetRef;
use crate::text::{MOST_DEPTH, is_too_deep};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Maximum number of events, and of edges, of one attempt.
pub const MAX_EVENTS: usize = 1_000;
/// Maximum size of the extra of one event as JSON.
pub const MAX_EXTRA_BYTES: usize = 64 * 1024;
/// Maximum number of bytes of names, URIs and keys: Airflow's limit for URIs.
const MAX_NAME: usize = 1_500;
/// Maximum total length of both ends of an edge in bytes. They are in one index row together with the run and the task,
/// which Postgres limits to 2,704 bytes.
const MAX_EDGE: usize = 2_200;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssetEvent {
    pub uri: String,
    /// JSON object with additional information.
    #[serde(default)]
    pub extra: Value,
    /// Alias through which the event is emitted.
    #[serde(default)]
    pub alias: Option<String>,
    /// `None`: the partition key of the run.
    #[serde(default)]
    pub partition_key: Option<String>,
    /// Number of rows written.
    #[serde(default)]
    pub rows: Option<u64>,
}

impl AssetEvent {
    pub fn of(uri: impl Into<String>) -> AssetEvent {
        let extra = Value::Object(Map::new());
        AssetEvent { uri: uri.into(), extra, alias: None, partition_key: None, rows: None }
    }

    #[must_use]
    pub fn extra(mut self, extra: Value) -> AssetEvent {
        self.extra = extra;
        self
    }

    /// Emits the event through an alias, for DAGs that wait for the alias.
    #[must_use]
    pub fn through(mut self, alias: &str) -> AssetEvent {
        self.alias = Some(alias.into());
        self
    }

    #[must_use]
    pub fn partition(mut self, key: impl Into<String>) -> AssetEvent {
        self.partition_key = Some(key.into());
        self
    }

    #[must_use]
    pub fn rows(mut self, rows: u64) -> AssetEvent {
        self.rows = Some(rows);
        self
    }

    /// Returns why the event is invalid.
    pub fn problem(&self) -> Option<String> {
        if !valid_name(&self.uri) {
            return Some(format!("an asset cannot be called {:?}", self.uri));
        }
        let named = [("alias", &self.alias), ("partition key", &self.partition_key)];
        for (what, name) in named {
            if let Some(name) = name.as_ref().filter(|name| !valid_name(name)) {
                return Some(format!("the {what} of an event of `{}` cannot be {name:?}", self.uri));
            }
        }
        if !matches!(self.extra, Value::Object(_) | Value::Null) {
            return Some(format!("the extra of an event of `{}` is no object: write `json!({{ … }})`", self.uri));
        }
        if is_too_deep(&self.extra) {
            return Some(format!("the extra of an event of `{}` is nested more than {MOST_DEPTH} deep", self.uri));
        }
        let bytes = self.extra.to_string().len();
        (bytes > MAX_EXTRA_BYTES)
            .then(|| format!("the extra of an event of `{}` has {bytes} bytes, more than {MAX_EXTRA_BYTES}", self.uri))
    }
}

/// Returns true if the name can be stored and shown.
pub fn valid_name(name: &str) -> bool {
    name.len() <= MAX_NAME && !name.trim().is_empty() && !name.chars().any(char::is_control)
}

/// A data flow between two assets, as reported by a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageEdge {
    pub from: String,
    pub to: String,
    pub rows: Option<u64>,
}

impl LineageEdge {
    /// Returns why the edge is invalid.
    pub fn problem(&self) -> Option<String> {
        if let Some(bad) = [&self.from, &self.to].into_iter().find(|name| !valid_name(name)) {
            return Some(format!("an asset cannot be called {bad:?}"));
        }
        let bytes = self.from.len() + self.to.len();
        (bytes > MAX_EDGE).then(|| format!("the two names of a lineage have {bytes} bytes, more than {MAX_EDGE}"))
    }
}

/// Returns the events of a successful attempt. A declared outlet gets an event unless the task emitted one. The last
/// event with the same asset, alias and key wins. An event without a key gets the key of the run.
pub fn events_of(outlets: &[AssetRef], said: &[AssetEvent], partition_key: Option<&str>) -> Vec<AssetEvent> {
    let mut events: Vec<AssetEvent> = Vec::with_capacity(outlets.len() + said.len());
    for uri in outlets.iter().filter_map(AssetRef::uri) {
        let already = said.iter().any(|event| event.uri == uri) || events.iter().any(|event| event.uri == uri);
        if !already {
            events.push(AssetEvent::of(uri));
        }
    }
    for event in said {
        let of = |e: &AssetEvent| (e.uri.clone(), e.alias.clone(), e.partition_key.clone());
        let same = |e: &&mut AssetEvent| of(e) == of(event);
        match events.iter_mut().find(same) {
            Some(known) => *known = event.clone(),
            None => events.push(event.clone()),
        }
    }
    events.truncate(MAX_EVENTS);
    events
        .iter_mut()
        .filter(|e| e.partition_key.is_none())
        .for_each(|e| e.partition_key = partition_key.map(Into::into));
    events
}

/// Returns the lineage of a successful attempt: the edges that the task reported and, for each declared outlet without
/// reported edges, an edge from each declared inlet.
pub fn edges_of(inlets: &[AssetRef], outlets: &[AssetRef], said: &[LineageEdge]) -> Vec<LineageEdge> {
    let mut edges: Vec<LineageEdge> = Vec::with_capacity(said.len());
    for edge in said {
        match edges.iter_mut().find(|e| e.from == edge.from && e.to == edge.to) {
            Some(known) => known.rows = edge.rows.or(known.rows),
            None => edges.push(edge.clone()),
        }
    }
    for to in outlets.iter().filter_map(AssetRef::uri) {
        if edges.iter().any(|e| e.to == to) {
            continue;
        }
        let declared = inlets.iter().filter_map(AssetRef::uri);
        edges.extend(declared.map(|from| LineageEdge { from: from.into(), to: to.into(), rows: None }));
    }
    edges.truncate(MAX_EVENTS);
    edges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Asset;
    use serde_json::json;

    fn refs(uris: &[&str]) -> Vec<AssetRef> {
        uris.iter().map(|uri| AssetRef::Asset(Asset::new(*uri))).collect()
    }

    #[test]
    fn a_declared_outlet_has_one_event() {
        assert_eq!(events_of(&refs(&["a", "b", "a"]), &[], None), [AssetEvent::of("a"), AssetEvent::of("b")]);
        let said = [AssetEvent::of("a").extra(json!({ "rows": 1 })), AssetEvent::of("a").extra(json!({ "rows": 2 }))];
        assert_eq!(events_of(&refs(&["a"]), &said, None), said[1..]);
    }

    #[test]
    fn what_is_not_declared_may_be_said() {
        assert_eq!(events_of(&[], &[AssetEvent::of("c")], None), [AssetEvent::of("c")]);
        let through = AssetEvent::of("c").through("x");
        assert_eq!(events_of(&[AssetRef::Alias("x".into())], std::slice::from_ref(&through), None), [through]);
        assert_eq!(events_of(&[AssetRef::Alias("x".into())], &[], None), []);
    }

    #[test]
    fn an_edge_that_no_index_takes_says_why() {
        let edge = |from: usize, to: usize| LineageEdge { from: "a".repeat(from), to: "b".repeat(to), rows: None };
        assert_eq!(edge(1_500, 700).problem(), None);
        assert!(edge(1_500, 1_500).problem().is_some() && edge(0, 1).problem().is_some());
    }

    #[test]
    fn each_partition_key_has_an_event() {
        let said = [
            AssetEvent::of("a").partition("m"),
            AssetEvent::of("a").partition("t"),
            AssetEvent::of("a").partition("m"),
        ];
        assert_eq!(events_of(&refs(&["a"]), &said, None), said[..2]);
    }

    #[test]
    fn declared_edges_fill_up_what_was_not_said() {
        let edge = |from: &str, to: &str, rows| LineageEdge { from: from.into(), to: to.into(), rows };
        assert_eq!(edges_of(&refs(&["a", "b"]), &refs(&["c"]), &[]), [edge("a", "c", None), edge("b", "c", None)]);
        let said = [edge("a", "c", Some(3)), edge("a", "c", Some(4))];
        assert_eq!(
            edges_of(&refs(&["a", "b"]), &refs(&["c", "d"]), &said),
            [edge("a", "c", Some(4)), edge("a", "d", None), edge("b", "d", None)]
        );
        assert_eq!(edges_of(&refs(&["a"]), &[], &[]), []);
    }

    #[test]
    fn an_event_that_cannot_be_kept_says_why() {
        assert_eq!(AssetEvent::of("lake://a").problem(), None);
        assert!(AssetEvent::of(" ").problem().is_some());
        assert!(AssetEvent::of("a\0").problem().is_some());
        assert!(AssetEvent::of("a").partition("").problem().is_some());
        assert!(AssetEvent::of("a").extra(json!([1])).problem().is_some());
        let deep = (0..1_000).fold(json!({}), |inner, _| json!({ "in": inner }));
        assert!(AssetEvent::of("a").extra(deep).problem().is_some());
        assert!(AssetEvent::of("a").extra(json!({ "x": "y".repeat(MAX_EXTRA_BYTES) })).problem().is_some());
    }
}
