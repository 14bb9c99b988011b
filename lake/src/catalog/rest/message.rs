//! What is sent and answered, as Iceberg's REST protocol has it.

use crate::catalog::{NewTable, Properties};
use crate::error::LakeResult;
use crate::table::TableName;
use iceberg::spec::{PartitionSpec, Schema, SortOrder, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) defaults: HashMap<String, Option<String>>,
    #[serde(default)]
    pub(super) overrides: HashMap<String, Option<String>>,
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

/// One page of a list.
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

/// A table as it is now.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Loaded {
    pub(super) metadata_location: String,
    pub(super) metadata: TableMetadata,
}

/// The server says where the files of the table are, unless `location` does.
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

/// A commit.
#[derive(Debug, Serialize)]
pub(super) struct Update<'a> {
    pub(super) identifier: TablePlace,
    pub(super) requirements: &'a [TableRequirement],
    pub(super) updates: &'a [TableUpdate],
}
