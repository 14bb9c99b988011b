//! Requests and responses of Iceberg's REST protocol.

use crate::bucket::Options;
use crate::catalog::{LentKeys, NewTable, Properties, Swap};
use crate::error::LakeResult;
use crate::table::TableName;
use iceberg::spec::{PartitionSpec, Schema, SortOrder, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) defaults: HashMap<String, Option<String>>,
    #[serde(default)]
    pub(super) overrides: HashMap<String, Option<String>>,
    /// Endpoints that the server supports. Empty for servers older than Iceberg 1.7.
    #[serde(default)]
    pub(super) endpoints: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Token {
    pub(super) access_token: String,
    pub(super) expires_in: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Failed {
    pub(super) error: Failure,
}

#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    #[serde(default)]
    pub(super) message: String,
}

pub(super) trait Page {
    fn next(&self) -> Option<&str>;
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Namespaces {
    #[serde(default)]
    pub(super) namespaces: Vec<Vec<String>>,
    next_page_token: Option<String>,
}

impl Page for Namespaces {
    fn next(&self) -> Option<&str> {
        self.next_page_token.as_deref()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Tables {
    #[serde(default)]
    pub(super) identifiers: Vec<TablePlace>,
    next_page_token: Option<String>,
}

impl Page for Tables {
    fn next(&self) -> Option<&str> {
        self.next_page_token.as_deref()
    }
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct TablePlace {
    namespace: Vec<String>,
    name: String,
}

impl TablePlace {
    pub(super) fn of(table: &TableName) -> TablePlace {
        TablePlace { namespace: table.namespace().split('.').map(str::to_owned).collect(), name: table.name().into() }
    }

    pub(super) fn name(&self) -> LakeResult<TableName> {
        TableName::new(self.namespace.join("."), &self.name)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct LoadedNamespace {
    pub(super) properties: Option<Properties>,
}

#[derive(Debug, Serialize)]
pub(super) struct DeclareNamespace<'a> {
    pub(super) namespace: Vec<&'a str>,
    pub(super) properties: &'a Properties,
}

#[derive(Debug, Serialize)]
pub(super) struct Rename {
    pub(super) source: TablePlace,
    pub(super) destination: TablePlace,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Loaded {
    pub(super) metadata_location: String,
    pub(super) metadata: TableMetadata,
    #[serde(default)]
    config: Settings,
    #[serde(default)]
    storage_credentials: Vec<Credential>,
}

type Settings = HashMap<String, Value>;

#[derive(Debug, Deserialize)]
struct Credential {
    prefix: String,
    config: Settings,
}

impl Loaded {
    /// Returns the issued storage credentials. Older servers send them in the table's settings instead.
    pub(super) fn keys(&self) -> Vec<LentKeys> {
        let location = self.metadata.location();
        let given = self.storage_credentials.iter().filter_map(|one| lent(&one.prefix, location, &one.config));
        let keys: Vec<LentKeys> = given.collect();
        if keys.is_empty() { lent(location, location, &self.config).into_iter().collect() } else { keys }
    }
}

/// Reads storage credentials from settings. If `prefix` contains no bucket, they apply to the location of the table.
fn lent(prefix: &str, location: &str, settings: &Settings) -> Option<LentKeys> {
    let text = |name: &str| settings.get(name).and_then(Value::as_str).map(str::to_owned);
    let options = Options {
        endpoint: text("s3.endpoint"),
        region: text("s3.region").or_else(|| text("client.region")),
        access_key: Some(text("s3.access-key-id")?),
        secret_key: Some(text("s3.secret-access-key")?),
        session_token: text("s3.session-token"),
        virtual_host: text("s3.path-style-access").as_deref() == Some("false"),
    };
    let end_at = text("s3.session-token-expires-at-ms").and_then(|at| at.parse().ok());
    let names_bucket = |place: &str| {
        let bucket = place.strip_prefix("s3").and_then(|rest| rest.split_once("://")).map(|(_, bucket)| bucket);
        bucket.is_some_and(|bucket| !bucket.is_empty() && !bucket.starts_with('/'))
    };
    let prefix = [prefix, location].into_iter().find(|place| names_bucket(place))?;
    Some(LentKeys { prefix: prefix.to_owned(), options, end_at })
}

/// Request to create a table. The server chooses the location of the table unless `location` is set.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CreateTable<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<&'a str>,
    schema: &'a Schema,
    partition_spec: &'a PartitionSpec,
    write_order: &'a SortOrder,
    stage_create: bool,
    properties: BTreeMap<&'a str, String>,
}

impl<'a> CreateTable<'a> {
    pub(super) fn of(new: &NewTable<'a>) -> CreateTable<'a> {
        let metadata = new.metadata;
        let version = ("format-version", (metadata.format_version() as u8).to_string());
        let properties = metadata.properties().iter().map(|(key, value)| (key.as_str(), value.clone()));
        CreateTable {
            name: new.table.name(),
            location: new.folder,
            schema: metadata.current_schema(),
            partition_spec: metadata.default_partition_spec(),
            write_order: metadata.default_sort_order(),
            stage_create: false,
            properties: properties.chain([version]).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Update<'a> {
    identifier: TablePlace,
    requirements: &'a [TableRequirement],
    updates: Vec<SentUpdate<'a>>,
}

impl<'a> Update<'a> {
    pub(super) fn of(swap: &Swap<'a>) -> Update<'a> {
        let assigned = swap.requirements.iter().find_map(|requirement| match requirement {
            TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id } => Some(*last_assigned_field_id),
            _ => None,
        });
        let updates =
            swap.updates.iter().map(|update| SentUpdate { update, last_column_id: last_id(update, assigned) });
        Update { identifier: TablePlace::of(swap.table), requirements: swap.requirements, updates: updates.collect() }
    }
}

#[derive(Debug, Serialize)]
struct SentUpdate<'a> {
    #[serde(flatten)]
    update: &'a TableUpdate,
    #[serde(rename = "last-column-id", skip_serializing_if = "Option::is_none")]
    last_column_id: Option<i32>,
}

/// Returns the highest column id that was ever assigned, which is sent with a new schema. The protocol no longer
/// requires it, but Nessie rejects schemas without it.
fn last_id(update: &TableUpdate, assigned: Option<i32>) -> Option<i32> {
    match update {
        TableUpdate::AddSchema { schema } => Some(schema.highest_field_id().max(assigned.unwrap_or_default())),
        _ => None,
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Transaction<'a> {
    pub(super) table_changes: Vec<Update<'a>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use iceberg::spec::{NestedField, PrimitiveType, Type};
    use serde_json::json;

    #[test]
    fn keys_are_for_the_place_that_the_catalog_names() {
        let keys = |prefix: &str, settings: Value| {
            lent(prefix, "s3://lake/orders", &serde_json::from_value(settings).expect("an object"))
        };
        let given = json!({
            "s3.access-key-id": "key", "s3.secret-access-key": "hush", "s3.session-token": "token", "s3.endpoint": "http://minio:9000",
            "client.region": "eu-west-1", "s3.path-style-access": "true", "s3.session-token-expires-at-ms": "1760000000000", "more": [1],
        });
        let all = keys("s3://lake/orders/2026", given.clone()).expect("there are keys");
        assert_eq!((all.prefix.as_str(), all.end_at), ("s3://lake/orders/2026", Some(1_760_000_000_000)));
        let options = &all.options;
        assert_eq!(
            (options.endpoint.as_deref(), options.region.as_deref()),
            (Some("http://minio:9000"), Some("eu-west-1"))
        );
        assert!(!options.virtual_host && !format!("{all:?}").contains("hush"));
        for root in ["s3", "s3://", ""] {
            assert_eq!(keys(root, given.clone()).expect("there are keys").prefix, "s3://lake/orders", "{root}");
        }
        assert_eq!(keys("s3", json!({ "s3.endpoint": "http://minio:9000" })), None);
        assert_eq!(lent("gs://lake", "gs://lake/orders", &serde_json::from_value(given).expect("an object")), None);
    }

    #[test]
    fn a_new_schema_says_the_highest_id_that_a_column_ever_had() {
        let column = NestedField::optional(2, "note", Type::Primitive(PrimitiveType::String));
        let schema = Schema::builder().with_fields([column.into()]).build().expect("a schema");
        let updates = [TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }];
        let table = "retail.orders".parse().expect("a name");
        for (assigned, last) in [(7, 7), (1, 2)] {
            let requirements = [TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: assigned }];
            let swap = Swap { table: &table, base: "", next: "", requirements: &requirements, updates: &updates };
            let sent = serde_json::to_value(Update::of(&swap)).expect("JSON");
            assert_eq!(
                (&sent["updates"][0]["action"], &sent["updates"][0]["last-column-id"]),
                (&json!("add-schema"), &json!(last))
            );
            assert_eq!(sent["updates"][1], json!({ "action": "set-current-schema", "schema-id": -1 }));
        }
    }
}
