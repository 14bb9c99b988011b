//! Endpoints that create, list, load, register, rename and drop tables. Endpoints for commits are in `commit`.

use crate::access::{Reader, Writer};
use crate::audit::Caller;
use crate::names::{self, Identifier, Paging, Rename};
use crate::paths::PathCheck;
use crate::refusal::{Refusal, RestResult};
use crate::router::{Api, DONE, body};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use iceberg::TableCreation;
use iceberg::spec::{FormatVersion, Schema, SortOrder, TableMetadata, TableMetadataBuilder, UnboundPartitionSpec};
use orch_lake::catalog::{Catalog as _, EntryType, Renamed, Swap, Swapped};
use orch_lake::{Table, TableName};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Header with which a client requests storage credentials.
const DELEGATION: HeaderName = HeaderName::from_static("x-iceberg-access-delegation");
const VENDED: &str = "vended-credentials";
/// Property with the format version of a new table.
const FORMAT_VERSION: &str = "format-version";

pub(crate) type NameInPath = Path<(String, String)>;

pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    _: Reader,
    Path(path): Path<String>,
    Query(paging): Query<Paging>,
) -> RestResult<Json<Value>> {
    page(&api, EntryType::Table, &path, &paging).await
}

/// Returns one page of the names of tables or views in a namespace.
pub(crate) async fn page(api: &Api, of: EntryType, path: &str, paging: &Paging) -> RestResult<Json<Value>> {
    let namespace = names::namespace(path)?;
    let found = api.catalog.names_after(of, &namespace, paging.after()?, paging.most()?.saturating_add(1)).await?;
    if found.is_empty() {
        api.namespace(&namespace).await?;
    }
    let (page, next) = paging.cut(found, TableName::name)?;
    let identifiers: Vec<_> = page.iter().map(Identifier::of).collect();
    Ok(Json(json!({ "identifiers": identifiers, "next-page-token": next })))
}

/// Checks that neither a table nor a view has this name.
pub(crate) async fn is_free(api: &Api, of: EntryType, name: &TableName) -> RestResult<()> {
    match api.catalog.entry(name).await?.map(|(found, _)| found) {
        None => Ok(()),
        Some(found) if found == of => Err(Refusal::exists(format!("{of:?} already exists: {name}"))),
        Some(found) => Err(Refusal::exists(format!("{found:?} with same name already exists: {name}"))),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct New {
    name: String,
    location: Option<String>,
    schema: Schema,
    partition_spec: Option<UnboundPartitionSpec>,
    write_order: Option<SortOrder>,
    #[serde(default)]
    stage_create: bool,
    properties: Option<HashMap<String, String>>,
}

impl New {
    async fn metadata(self, api: &Api, paths: &mut PathCheck<'_>, name: &TableName) -> RestResult<TableMetadata> {
        let location = api.lake.folder_for(name, self.location.as_deref()).await?;
        let mut properties = self.properties.unwrap_or_default();
        let format_version = match properties.remove(FORMAT_VERSION).as_deref() {
            None | Some("2") => FormatVersion::V2,
            Some("1") => FormatVersion::V1,
            Some("3") => FormatVersion::V3,
            Some(other) => {
                return Err(Refusal::input(format!("format version `{other}` is not known: write 1, 2 or 3")));
            }
        };
        let creation = TableCreation {
            name: self.name,
            location: Some(location),
            schema: self.schema,
            partition_spec: self.partition_spec,
            sort_order: self.write_order,
            properties,
            format_version,
        };
        let metadata = TableMetadataBuilder::from_table_creation(creation)?.build()?.metadata;
        paths.new_table(&metadata)?;
        Ok(metadata)
    }
}

pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    Writer(writer): Writer,
    Path(path): Path<String>,
    headers: HeaderMap,
    sent: Bytes,
) -> RestResult {
    let new: New = body(&sent)?;
    let name = names::table(&path, &new.name)?;
    api.namespace(name.namespace()).await?;
    is_free(&api, EntryType::Table, &name).await?;
    let is_staged = new.stage_create;
    let mut paths = api.paths(&writer);
    let metadata = new.metadata(&api, &mut paths, &name).await?;
    let details = json!({ "location": metadata.location(), "outside": paths.outside });
    let reader = Reader(writer);
    let asked = TableRequest { name: &name, reader: &reader, headers: &headers };
    if is_staged {
        return asked.loaded(&api, None, &metadata).await.map(Json::into_response);
    }
    let location = api.lake.write_new(metadata).await?;
    let mut tx = api.pool.begin().await?;
    if !api.catalog.add_on(&mut tx, EntryType::Table, &name, &location).await? {
        return Err(taken(&api, &name).await);
    }
    reader.0.did(&mut tx, "create_table", ("table", &name.to_string()), details).await?;
    tx.commit().await?;
    asked.table(&api, &api.lake.table_at(&name, &location).await?).await
}

/// Returns the error for a name that another client has used in the meantime.
async fn taken(api: &Api, name: &TableName) -> Refusal {
    let exists = Refusal::exists(format!("Table already exists: {name}"));
    is_free(api, EntryType::Table, name).await.err().unwrap_or(exists)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Registered {
    pub(crate) name: String,
    pub(crate) metadata_location: String,
    #[serde(default)]
    pub(crate) overwrite: bool,
}

pub(crate) async fn register(
    State(api): State<Arc<Api>>,
    Writer(writer): Writer,
    Path(path): Path<String>,
    headers: HeaderMap,
    sent: Bytes,
) -> RestResult {
    let Registered { name, metadata_location: location, overwrite } = body(&sent)?;
    let name = names::table(&path, &name)?;
    api.namespace(name.namespace()).await?;
    let mut paths = api.paths(&writer);
    paths.place(&location)?;
    let before = match api.catalog.entry(&name).await? {
        Some((EntryType::Table, before)) if overwrite => Some(before),
        _ => is_free(&api, EntryType::Table, &name).await.map(|()| None)?,
    };
    let table = api.lake.table_at(&name, &location).await?;
    paths.registered(&table)?;
    let mut tx = api.pool.begin().await?;
    match &before {
        Some(base) => {
            let swap = Swap { table: &name, base, next: &location, requirements: &[], updates: &[] };
            if api.catalog.swap_on(&mut tx, &swap).await? == Swapped::Moved {
                return Err(Refusal::conflict(format!("another client changed the table {name} meanwhile")));
            }
        }
        None if api.catalog.add_on(&mut tx, EntryType::Table, &name, &location).await? => {}
        None => return Err(taken(&api, &name).await),
    }
    let details = json!({ "metadata_location": location, "replaced": before, "outside": paths.outside });
    writer.did(&mut tx, "register_table", ("table", &name.to_string()), details).await?;
    tx.commit().await?;
    TableRequest { name: &name, reader: &Reader(writer), headers: &headers }.table(&api, &table).await
}

pub(crate) async fn load(
    State(api): State<Arc<Api>>,
    reader: Reader,
    Path((namespace, name)): NameInPath,
    headers: HeaderMap,
) -> RestResult {
    let table = table_of(&api, &names::table(&namespace, &name)?).await?;
    let tag = tag(table.metadata_location());
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let location = table.metadata_location();
    // Checks that the metadata file exists. Metadata files are cached, so loading a table does not prove it.
    if !api.lake.io().exists(location).await? {
        return Err(Refusal::no_file(location));
    }
    TableRequest { name: table.name(), reader: &reader, headers: &headers }.table(&api, &table).await
}

pub(crate) async fn table_of(api: &Api, name: &TableName) -> RestResult<Table> {
    Ok(api.lake.table(name).await?)
}

fn tag(location: &str) -> String {
    format!("\"{location}\"")
}

pub(crate) async fn is_there(
    State(api): State<Arc<Api>>,
    _: Reader,
    Path((namespace, name)): NameInPath,
) -> RestResult<StatusCode> {
    let name = names::table(&namespace, &name)?;
    match api.catalog.load(&name).await? {
        Some(_) => Ok(DONE),
        None => Err(Refusal::no_table(&name)),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Removal {
    #[serde(default)]
    purge_requested: String,
}

pub(crate) async fn remove(
    State(api): State<Arc<Api>>,
    Writer(writer): Writer,
    Path((namespace, name)): NameInPath,
    Query(removal): Query<Removal>,
) -> RestResult<StatusCode> {
    let name = names::table(&namespace, &name)?;
    // Compared without case, because Python clients send `True`.
    let purges = removal.purge_requested.eq_ignore_ascii_case("true");
    let purged = if purges { Some(table_of(&api, &name).await?) } else { None };
    if purges {
        api.lake.check_owner().await?;
    }
    let mut tx = api.pool.begin().await?;
    if !api.catalog.remove_on(&mut tx, EntryType::Table, &name).await? {
        return Err(Refusal::no_table(&name));
    }
    let event = if purges { "purge_table" } else { "drop_table" };
    writer.did(&mut tx, event, ("table", &name.to_string()), Value::Null).await?;
    tx.commit().await?;
    if let Some(table) = purged {
        api.lake.delete_files(&table).await?;
    }
    Ok(DONE)
}

pub(crate) async fn rename(State(api): State<Arc<Api>>, Writer(writer): Writer, sent: Bytes) -> RestResult<StatusCode> {
    rename_entry(&api, &writer, (EntryType::Table, "rename_table", "table"), &sent, Refusal::no_table).await
}

pub(crate) async fn rename_entry(
    api: &Api,
    caller: &Caller,
    (of, event, kind): (EntryType, &str, &str),
    sent: &[u8],
    missing: fn(&TableName) -> Refusal,
) -> RestResult<StatusCode> {
    let Rename { source, destination } = body(sent)?;
    let (from, to) = (source.table()?, destination.table()?);
    match api.catalog.entry(&from).await? {
        Some((found, _)) if found == of => {}
        _ => return Err(missing(&from)),
    }
    api.namespace(to.namespace()).await?;
    let mut tx = api.pool.begin().await?;
    match api.catalog.rename_on(&mut tx, of, &from, &to).await? {
        Renamed::Done => {
            caller.did(&mut tx, event, (kind, &from.to_string()), json!({ "to": to.to_string() })).await?;
            tx.commit().await?;
            Ok(DONE)
        }
        Renamed::Missing => Err(missing(&from)),
        Renamed::Taken => {
            let there = api.catalog.entry(&to).await?.map_or(of, |(found, _)| found);
            Err(Refusal::exists(format!("Cannot rename {from} to {to}. {there:?} already exists")))
        }
    }
}

/// Logs an engine's report about a scan or a commit.
pub(crate) async fn metrics(
    State(api): State<Arc<Api>>,
    _: Reader,
    Path((namespace, name)): NameInPath,
    sent: Bytes,
) -> RestResult<StatusCode> {
    let name = names::table(&namespace, &name)?;
    let report: Value = body(&sent)?;
    if api.catalog.load(&name).await?.is_none() {
        return Err(Refusal::no_table(&name));
    }
    tracing::debug!(table = %name, %report, "an engine has worked on a table");
    Ok(DONE)
}

pub(crate) async fn credentials(
    State(api): State<Arc<Api>>,
    reader: Reader,
    Path((namespace, name)): NameInPath,
) -> RestResult<Json<Value>> {
    let table = table_of(&api, &names::table(&namespace, &name)?).await?;
    let location = table.metadata().location();
    let given = json!({ "prefix": location, "config": api.storage(&reader, (table.name(), location), true).await? });
    Ok(Json(json!({ "storage-credentials": [given] })))
}

/// A client's request to load a table: its name, the caller and the HTTP headers.
pub(crate) struct TableRequest<'a> {
    pub(crate) name: &'a TableName,
    pub(crate) reader: &'a Reader,
    pub(crate) headers: &'a HeaderMap,
}

impl TableRequest<'_> {
    pub(crate) async fn table(&self, api: &Api, table: &Table) -> RestResult {
        let location = table.metadata_location();
        let tag = [(header::ETAG, tag(location))];
        Ok((tag, self.loaded(api, Some(location), table.metadata()).await?).into_response())
    }

    async fn loaded(&self, api: &Api, location: Option<&str>, metadata: &TableMetadata) -> RestResult<Json<Value>> {
        let wanted = self.headers.get(DELEGATION).and_then(|wanted| wanted.to_str().ok()).unwrap_or_default();
        let asks_for_keys = wanted.split(',').any(|one| one.trim() == VENDED);
        let config = api.storage(self.reader, (self.name, metadata.location()), asks_for_keys).await?;
        Ok(Json(json!({ "metadata-location": location, "metadata": metadata, "config": config })))
    }
}
