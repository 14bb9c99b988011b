//! Assets as data: what tasks read and update, and the conditions over them that start runs.
//!
//! An asset is known by its URI; all else about it are words. What says no more than a URI is written as older binaries
//! wrote it: a text where a task names it, a list of assets where all of them are waited for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::ops::{BitAnd, BitOr};
use std::time::Duration;

/// Airflow's group of what names none.
const DEFAULT_GROUP: &str = "asset";

/// A named piece of data that tasks update and DAGs wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "name it as an outlet, an inlet or in a schedule"]
pub struct Asset {
    pub uri: String,
    /// Without it the URI is its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
    /// It is stale when no update came for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_within_ms: Option<u64>,
}

impl Asset {
    pub fn new(uri: impl Into<String>) -> Asset {
        Asset { uri: uri.into(), name: None, group: None, extra: None, fresh_within_ms: None }
    }

    /// What people call it.
    pub fn named(mut self, name: &str) -> Asset {
        self.name = Some(name.into());
        self
    }

    pub fn group(mut self, group: &str) -> Asset {
        self.group = Some(group.into());
        self
    }

    /// One of the words that go with it: `.extra("owner", "sales")`.
    pub fn extra(mut self, key: &str, value: impl Into<Value>) -> Asset {
        self.extra.get_or_insert_default().insert(key.into(), value.into());
        self
    }

    /// It is stale when no update came for so long: people are told.
    pub fn fresh_within(mut self, time: Duration) -> Asset {
        self.fresh_within_ms = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Holds when both were updated.
    pub fn and(self, other: impl Into<AssetCondition>) -> AssetCondition {
        AssetCondition::from(self).and(other)
    }

    /// Holds when one of the two was updated.
    pub fn or(self, other: impl Into<AssetCondition>) -> AssetCondition {
        AssetCondition::from(self).or(other)
    }

    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.uri)
    }

    pub fn group_name(&self) -> &str {
        self.group.as_deref().unwrap_or(DEFAULT_GROUP)
    }

    /// Says no more than its URI.
    fn is_plain(&self) -> bool {
        *self == Asset::new(self.uri.as_str())
    }
}

/// What a task names as an inlet or an outlet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenRef", into = "WrittenRef")]
pub enum AssetRef {
    Asset(Asset),
    /// A name for assets that are known only when the task runs.
    Alias(String),
}

impl AssetRef {
    pub fn uri(&self) -> Option<&str> {
        match self {
            AssetRef::Asset(asset) => Some(&asset.uri),
            AssetRef::Alias(_) => None,
        }
    }
}

impl From<Asset> for AssetRef {
    fn from(asset: Asset) -> Self {
        AssetRef::Asset(asset)
    }
}

impl fmt::Display for AssetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AssetRef::Asset(asset) => f.write_str(asset.name()),
            AssetRef::Alias(name) => write!(f, "alias {name}"),
        }
    }
}

/// Where a DAG names an asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssetRole {
    Schedule,
    Outlet,
    Inlet,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenRef {
    Plain(String),
    Alias { alias: String },
    Asset(Asset),
}

impl From<WrittenRef> for AssetRef {
    fn from(written: WrittenRef) -> Self {
        match written {
            WrittenRef::Plain(uri) => AssetRef::Asset(Asset::new(uri)),
            WrittenRef::Alias { alias } => AssetRef::Alias(alias),
            WrittenRef::Asset(asset) => AssetRef::Asset(asset),
        }
    }
}

impl From<AssetRef> for WrittenRef {
    fn from(asset: AssetRef) -> Self {
        match asset {
            AssetRef::Asset(asset) if asset.is_plain() => WrittenRef::Plain(asset.uri),
            AssetRef::Asset(asset) => WrittenRef::Asset(asset),
            AssetRef::Alias(alias) => WrittenRef::Alias { alias },
        }
    }
}

/// When a run begins, by which assets were updated since the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenCondition", into = "WrittenCondition")]
#[must_use = "give it to `dag(…).schedule(…)`"]
pub enum AssetCondition {
    Asset(Asset),
    /// Any asset updated through the alias.
    Alias(String),
    All(Vec<AssetCondition>),
    Any(Vec<AssetCondition>),
}

impl AssetCondition {
    /// Holds when each of them was updated.
    pub fn all(assets: impl IntoIterator<Item = impl Into<AssetCondition>>) -> AssetCondition {
        AssetCondition::All(assets.into_iter().map(Into::into).collect())
    }

    /// Holds when one of them was updated.
    pub fn any(assets: impl IntoIterator<Item = impl Into<AssetCondition>>) -> AssetCondition {
        AssetCondition::Any(assets.into_iter().map(Into::into).collect())
    }

    /// Holds when both do.
    pub fn and(self, other: impl Into<AssetCondition>) -> AssetCondition {
        match (self, other.into()) {
            (AssetCondition::All(mut all), other) => {
                all.push(other);
                AssetCondition::All(all)
            }
            (this, other) => AssetCondition::All(vec![this, other]),
        }
    }

    /// Holds when one of the two does.
    pub fn or(self, other: impl Into<AssetCondition>) -> AssetCondition {
        match (self, other.into()) {
            (AssetCondition::Any(mut any), other) => {
                any.push(other);
                AssetCondition::Any(any)
            }
            (this, other) => AssetCondition::Any(vec![this, other]),
        }
    }

    /// Every asset and alias it names, in the order of writing.
    pub fn leaves(&self) -> Vec<AssetRef> {
        match self {
            AssetCondition::Asset(asset) => vec![AssetRef::Asset(asset.clone())],
            AssetCondition::Alias(name) => vec![AssetRef::Alias(name.clone())],
            AssetCondition::All(parts) | AssetCondition::Any(parts) => {
                parts.iter().flat_map(AssetCondition::leaves).collect()
            }
        }
    }

    /// Whether it holds when exactly these leaves were updated. A list of none never holds.
    pub fn holds(&self, updated: &impl Fn(&AssetRef) -> bool) -> bool {
        match self {
            AssetCondition::Asset(asset) => updated(&AssetRef::Asset(asset.clone())),
            AssetCondition::Alias(name) => updated(&AssetRef::Alias(name.clone())),
            AssetCondition::All(parts) => !parts.is_empty() && parts.iter().all(|part| part.holds(updated)),
            AssetCondition::Any(parts) => parts.iter().any(|part| part.holds(updated)),
        }
    }

    /// A list of none is somewhere in it.
    pub(crate) fn has_empty_list(&self) -> bool {
        match self {
            AssetCondition::Asset(_) | AssetCondition::Alias(_) => false,
            AssetCondition::All(parts) | AssetCondition::Any(parts) => {
                parts.is_empty() || parts.iter().any(AssetCondition::has_empty_list)
            }
        }
    }
}

/// `a and (b or alias c)`.
impl fmt::Display for AssetCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word) = match self {
            AssetCondition::Asset(asset) => return f.write_str(asset.name()),
            AssetCondition::Alias(name) => return write!(f, "alias {name}"),
            AssetCondition::All(parts) => (parts, " and "),
            AssetCondition::Any(parts) => (parts, " or "),
        };
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                f.write_str(word)?;
            }
            match part {
                AssetCondition::All(_) | AssetCondition::Any(_) => write!(f, "({part})")?,
                AssetCondition::Asset(_) | AssetCondition::Alias(_) => write!(f, "{part}")?,
            }
        }
        Ok(())
    }
}

impl From<Asset> for AssetCondition {
    fn from(asset: Asset) -> Self {
        AssetCondition::Asset(asset)
    }
}

impl<T: Into<AssetCondition>> BitAnd<T> for Asset {
    type Output = AssetCondition;
    fn bitand(self, other: T) -> AssetCondition {
        self.and(other)
    }
}

impl<T: Into<AssetCondition>> BitOr<T> for Asset {
    type Output = AssetCondition;
    fn bitor(self, other: T) -> AssetCondition {
        self.or(other)
    }
}

impl<T: Into<AssetCondition>> BitAnd<T> for AssetCondition {
    type Output = AssetCondition;
    fn bitand(self, other: T) -> AssetCondition {
        self.and(other)
    }
}

impl<T: Into<AssetCondition>> BitOr<T> for AssetCondition {
    type Output = AssetCondition;
    fn bitor(self, other: T) -> AssetCondition {
        self.or(other)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenCondition {
    List(Vec<Asset>),
    Tree(Tree),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tree {
    Asset(Asset),
    Alias(String),
    All(Vec<AssetCondition>),
    Any(Vec<AssetCondition>),
}

impl From<WrittenCondition> for AssetCondition {
    fn from(written: WrittenCondition) -> Self {
        match written {
            WrittenCondition::List(assets) => AssetCondition::all(assets),
            WrittenCondition::Tree(Tree::Asset(asset)) => AssetCondition::Asset(asset),
            WrittenCondition::Tree(Tree::Alias(name)) => AssetCondition::Alias(name),
            WrittenCondition::Tree(Tree::All(parts)) => AssetCondition::All(parts),
            WrittenCondition::Tree(Tree::Any(parts)) => AssetCondition::Any(parts),
        }
    }
}

impl From<AssetCondition> for WrittenCondition {
    fn from(condition: AssetCondition) -> Self {
        let plain = |part: &AssetCondition| matches!(part, AssetCondition::Asset(_));
        match condition {
            AssetCondition::All(parts) if parts.iter().all(plain) => {
                let asset = |part| if let AssetCondition::Asset(asset) = part { Some(asset) } else { None };
                WrittenCondition::List(parts.into_iter().filter_map(asset).collect())
            }
            AssetCondition::Asset(asset) => WrittenCondition::Tree(Tree::Asset(asset)),
            AssetCondition::Alias(name) => WrittenCondition::Tree(Tree::Alias(name)),
            AssetCondition::All(parts) => WrittenCondition::Tree(Tree::All(parts)),
            AssetCondition::Any(parts) => WrittenCondition::Tree(Tree::Any(parts)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_and_written(text: &Value) {
        let read: AssetCondition = serde_json::from_value(text.clone()).expect("a condition");
        assert_eq!(serde_json::to_value(&read).expect("JSON"), *text);
    }

    #[test]
    fn conditions_are_written_as_they_are_read() {
        read_and_written(&json!([{ "uri": "a" }, { "uri": "b" }])); // as specs of before there were trees
        read_and_written(&json!({ "asset": { "uri": "a", "fresh_within_ms": 1 } }));
        read_and_written(
            &json!({ "any": [{ "asset": { "uri": "a" } }, { "all": [{ "alias": "x" }, [{ "uri": "b" }]] }] }),
        );
    }

    #[test]
    fn what_says_no_more_than_a_uri_is_a_text() {
        let written = |r: AssetRef| serde_json::to_value(r).expect("JSON");
        assert_eq!(written(Asset::new("a").into()), json!("a"));
        assert_eq!(written(Asset::new("a").named("b").into()), json!({ "uri": "a", "name": "b" }));
        assert_eq!(written(AssetRef::Alias("x".into())), json!({ "alias": "x" }));
        for text in [json!("a"), json!({ "uri": "a", "name": "b" }), json!({ "alias": "x" })] {
            let read: AssetRef = serde_json::from_value(text.clone()).expect("a reference");
            assert_eq!(written(read), text);
        }
    }

    #[test]
    fn words_and_operators_mean_the_same() {
        let (a, b, c) = (|| Asset::new("a"), || Asset::new("b"), || AssetCondition::Alias("c".into()));
        assert_eq!(a().and(b()).or(c()), (a() & b()) | c());
        assert_eq!((a() & b() & c()).to_string(), "a and b and alias c");
        assert_eq!((a() & (b() | c())).to_string(), "a and (b or alias c)");
    }
}
