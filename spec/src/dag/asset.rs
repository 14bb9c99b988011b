//! Assets as data: what tasks read and update, and the conditions over them that start runs.
//!
//! The URI identifies an asset. An asset with only a URI is stored in the format of older binaries: as a text if a task
//! names it, and in a list of assets if a condition requires all of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::ops::{BitAnd, BitOr};
use std::time::Duration;

/// Airflow's group of assets without one.
const DEFAULT_GROUP: &str = "asset";

/// A named piece of data that tasks update and DAGs wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "name it as an outlet, an inlet or in a schedule"]
pub struct Asset {
    pub uri: String,
    /// `None`: the URI is the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
    /// The asset is stale if it is not updated for this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_within_ms: Option<u64>,
}

impl Asset {
    pub fn new(uri: impl Into<String>) -> Asset {
        Asset { uri: uri.into(), name: None, group: None, extra: None, fresh_within_ms: None }
    }

    /// Sets the display name.
    pub fn named(mut self, name: &str) -> Asset {
        self.name = Some(name.into());
        self
    }

    pub fn group(mut self, group: &str) -> Asset {
        self.group = Some(group.into());
        self
    }

    /// Adds a field to the extra: `.extra("owner", "sales")`.
    pub fn extra(mut self, key: &str, value: impl Into<Value>) -> Asset {
        self.extra.get_or_insert_default().insert(key.into(), value.into());
        self
    }

    /// Sets the time after which the asset is stale without an update. An alert is sent then.
    pub fn fresh_within(mut self, time: Duration) -> Asset {
        self.fresh_within_ms = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Returns a condition that holds when both were updated.
    pub fn and(self, other: impl Into<AssetCondition>) -> AssetCondition {
        AssetCondition::from(self).and(other)
    }

    /// Returns a condition that holds when one of the two was updated.
    pub fn or(self, other: impl Into<AssetCondition>) -> AssetCondition {
        AssetCondition::from(self).or(other)
    }

    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.uri)
    }

    pub fn group_name(&self) -> &str {
        self.group.as_deref().unwrap_or(DEFAULT_GROUP)
    }

    /// Returns true if the asset has only a URI.
    fn is_plain(&self) -> bool {
        *self == Asset::new(self.uri.as_str())
    }
}

/// An inlet or outlet of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenRef", into = "WrittenRef")]
pub enum AssetRef {
    Asset(Asset),
    /// Name for assets that are known only when the task runs.
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

/// Role of an asset in a DAG.
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

/// Condition on the assets updated since the last run. A run starts when it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenCondition", into = "WrittenCondition")]
#[must_use = "give it to `dag(…).schedule(…)`"]
pub enum AssetCondition {
    Asset(Asset),
    /// Any asset that was updated through the alias.
    Alias(String),
    All(Vec<AssetCondition>),
    Any(Vec<AssetCondition>),
}

impl AssetCondition {
    /// Returns a condition that holds when all of the assets were updated.
    pub fn all(assets: impl IntoIterator<Item = impl Into<AssetCondition>>) -> AssetCondition {
        AssetCondition::All(assets.into_iter().map(Into::into).collect())
    }

    /// Returns a condition that holds when one of the assets was updated.
    pub fn any(assets: impl IntoIterator<Item = impl Into<AssetCondition>>) -> AssetCondition {
        AssetCondition::Any(assets.into_iter().map(Into::into).collect())
    }

    /// Returns a condition that holds when both conditions hold.
    pub fn and(self, other: impl Into<AssetCondition>) -> AssetCondition {
        match (self, other.into()) {
            (AssetCondition::All(mut all), other) => {
                all.push(other);
                AssetCondition::All(all)
            }
            (this, other) => AssetCondition::All(vec![this, other]),
        }
    }

    /// Returns a condition that holds when one of the two conditions holds.
    pub fn or(self, other: impl Into<AssetCondition>) -> AssetCondition {
        match (self, other.into()) {
            (AssetCondition::Any(mut any), other) => {
                any.push(other);
                AssetCondition::Any(any)
            }
            (this, other) => AssetCondition::Any(vec![this, other]),
        }
    }

    /// Returns every asset and alias in the condition, in the order in which they are written.
    pub fn leaves(&self) -> Vec<AssetRef> {
        match self {
            AssetCondition::Asset(asset) => vec![AssetRef::Asset(asset.clone())],
            AssetCondition::Alias(name) => vec![AssetRef::Alias(name.clone())],
            AssetCondition::All(parts) | AssetCondition::Any(parts) => {
                parts.iter().flat_map(AssetCondition::leaves).collect()
            }
        }
    }

    /// Returns true if the condition holds when exactly these leaves were updated. An empty list never holds.
    pub fn holds(&self, updated: &impl Fn(&AssetRef) -> bool) -> bool {
        match self {
            AssetCondition::Asset(asset) => updated(&AssetRef::Asset(asset.clone())),
            AssetCondition::Alias(name) => updated(&AssetRef::Alias(name.clone())),
            AssetCondition::All(parts) => !parts.is_empty() && parts.iter().all(|part| part.holds(updated)),
            AssetCondition::Any(parts) => parts.iter().any(|part| part.holds(updated)),
        }
    }

    /// Returns true if the condition contains an empty list.
    pub(crate) fn has_empty_list(&self) -> bool {
        match self {
            AssetCondition::Asset(_) | AssetCondition::Alias(_) => false,
            AssetCondition::All(parts) | AssetCondition::Any(parts) => {
                parts.is_empty() || parts.iter().any(AssetCondition::has_empty_list)
            }
        }
    }
}

/// Formats a condition as `a and (b or alias c)`.
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
        read_and_written(&json!([{ "uri": "a" }, { "uri": "b" }])); // format before conditions were trees
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
