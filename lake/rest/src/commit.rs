//! Handles commits of clients. A commit is checked against the current table state and written, and all tables of a
//! request are swapped in one Postgres transaction. The same transaction records asset events, which start the DAGs
//! that wait for these tables.

use crate::access::Writer;
use crate::audit::Caller;
use crate::names::{self, Identifier};
use crate::paths::locations;
use crate::refusal::{Refusal, RestResult};
use crate::router::{Api, DONE, body};
use crate::tables::{NameInPath, is_free, table_of};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use iceberg::spec::{FormatVersion, MAIN_BRANCH, Operation, Snapshot, SortOrder, TableMetadata, TableMetadataBuilder};
use iceberg::spec::{Schema, UnboundPartitionSpec};
use iceberg::{TableRequirement, TableUpdate};
use orch_lake::catalog::EntryType;
use orch_lake::table::CommitStep;
use orch_lake::{Change, LakeError, Table, TableName};
use orch_store::asset::{UriEvent, add_event_of_uri};
use orch_store::hint::Hint;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use std::sync::Arc;

/// Maximum number of attempts when other writers commit first. After that, the client must retry.
const TRIES: u32 = 50;

#[derive(Debug, Deserialize)]
struct CommitTableRequest {
    identifier: Option<Identifier>,
    #[serde(default)]
    requirements: Vec<TableRequirement>,
    updates: Vec<TableUpdate>,
}

/// A change of one table, as requested by a client.
struct RequestedCommit {
    name: TableName,
    requirements: Vec<TableRequirement>,
    updates: Vec<TableUpdate>,
}

impl RequestedCommit {
    fn of(name: TableName, sent: CommitTableRequest) -> RequestedCommit {
        RequestedCommit { name, requirements: sent.requirements, updates: sent.updates }
    }

    /// Checks the file paths in the commit. Returns those outside the warehouse, which are recorded in the audit log.
    async fn check_paths(&self, api: &Api, caller: &Caller, table: &Table) -> RestResult<Vec<String>> {
        let mut paths = api.paths(caller);
        paths.commit(table, &self.updates)?;
        for location in locations(&self.updates).filter(|location| *location != table.metadata().location()) {
            api.lake.folder_for(&self.name, Some(location)).await?;
        }
        Ok(paths.outside)
    }

    /// Returns the actions of the commit that change more than rows, for the audit log. New snapshots are not
    /// included because the history of the table contains them.
    fn alterations(&self) -> Vec<Value> {
        let is_data = |update: &&TableUpdate| {
            matches!(
                update,
                TableUpdate::AddSnapshot { .. }
                    | TableUpdate::SetSnapshotRef { .. }
                    | TableUpdate::SetStatistics { .. }
                    | TableUpdate::SetPartitionStatistics { .. }
            )
        };
        let altering = self.updates.iter().filter(|update| !is_data(update));
        altering.filter_map(|update| Some(serde_json::to_value(update).ok()?["action"].clone())).collect()
    }

    fn creates(&self) -> bool {
        self.requirements.contains(&TableRequirement::NotExist)
    }

    /// Returns the snapshot to which the commit sets the main branch, if it does.
    fn published(&self) -> Option<&Snapshot> {
        let now = self.updates.iter().rev().find_map(|update| match update {
            TableUpdate::SetSnapshotRef { ref_name, reference } if ref_name == MAIN_BRANCH => {
                Some(reference.snapshot_id)
            }
            _ => None,
        })?;
        self.updates.iter().find_map(|update| match update {
            TableUpdate::AddSnapshot { snapshot } if snapshot.snapshot_id() == now => Some(snapshot),
            _ => None,
        })
    }
}

pub(crate) async fn commit(
    State(api): State<Arc<Api>>,
    Writer(writer): Writer,
    Path((namespace, name)): NameInPath,
    sent: Bytes,
) -> RestResult<Json<Value>> {
    let wanted = RequestedCommit::of(names::table(&namespace, &name)?, body(&sent)?);
    let table = if wanted.creates() {
        create(&api, wanted, &writer).await?
    } else {
        let name = wanted.name.clone();
        change(&api, vec![wanted], &writer).await?;
        table_of(&api, &name).await?
    };
    Ok(Json(json!({ "metadata-location": table.metadata_location(), "metadata": table.metadata() })))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Transaction {
    table_changes: Vec<CommitTableRequest>,
}

/// Commits to several tables atomically.
pub(crate) async fn transaction(
    State(api): State<Arc<Api>>,
    Writer(writer): Writer,
    sent: Bytes,
) -> RestResult<StatusCode> {
    let Transaction { table_changes } = body(&sent)?;
    let wanted = table_changes.into_iter().map(|sent| {
        let Some(identifier) = &sent.identifier else {
            return Err(Refusal::input("a table of the transaction has no identifier"));
        };
        Ok(RequestedCommit::of(identifier.table()?, sent))
    });
    let wanted: Vec<RequestedCommit> = wanted.collect::<RestResult<_>>()?;
    if wanted.iter().any(RequestedCommit::creates) {
        return Err(Refusal::input("a transaction changes tables that are there: create the others first"));
    }
    change(&api, wanted, &writer).await?;
    Ok(DONE)
}

async fn change(api: &Api, wanted: Vec<RequestedCommit>, caller: &Caller) -> RestResult<()> {
    let (mut changes, mut outside) = (Vec::with_capacity(wanted.len()), Vec::new());
    for one in &wanted {
        let table = table_of(api, &one.name).await?;
        outside.push(one.check_paths(api, caller, &table).await?);
        changes.push(Change::of_metadata(&table, one.updates.clone(), one.requirements.clone()));
    }
    let mut step = CommitStep::new(&api.lake, changes);
    for _ in 0..TRIES {
        step.stage().await?;
        let mut tx = api.pool.begin().await?;
        match step.swap_on(&mut tx).await {
            Ok(()) => {
                let mut is_asset_updated = false;
                for (one, outside) in wanted.iter().zip(&outside) {
                    is_asset_updated |= tell(&mut tx, one, &caller.client).await?;
                    let alterations = one.alterations();
                    if !alterations.is_empty() {
                        let details = json!({ "updates": alterations, "outside": outside });
                        caller.did(&mut tx, "alter_table", ("table", &one.name.to_string()), details).await?;
                    }
                }
                return done(api, tx, is_asset_updated).await;
            }
            Err(LakeError::Moved { .. }) => tx.rollback().await?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Refusal::conflict(format!("others were faster {TRIES} times in a row")))
}

async fn done(api: &Api, tx: sqlx::Transaction<'_, sqlx::Postgres>, is_asset_updated: bool) -> RestResult<()> {
    tx.commit().await.map_err(|error| Refusal::unknown(&error.into()))?;
    if is_asset_updated {
        api.hints.give(Hint::Asset);
    }
    Ok(())
}

/// Creates a table with the schema, properties and snapshots that the client has prepared.
async fn create(api: &Api, wanted: RequestedCommit, caller: &Caller) -> RestResult<Table> {
    let name = &wanted.name;
    api.namespace(name.namespace()).await?;
    let exists = || Refusal::exists(format!("Requirement failed: table already exists: {name}"));
    match api.catalog.entry(name).await? {
        Some((EntryType::Table, _)) => return Err(exists()),
        _ => is_free(api, EntryType::Table, name).await?,
    }
    let metadata = created(wanted.updates.clone())?;
    let mut paths = api.paths(caller);
    paths.new_table(&metadata)?;
    api.lake.folder_for(name, Some(metadata.location())).await?;
    let location = api.lake.write_new(metadata).await?;
    let mut tx = api.pool.begin().await?;
    if !api.catalog.add_on(&mut tx, EntryType::Table, name, &location).await? {
        return Err(exists());
    }
    let is_asset_updated = tell(&mut tx, &wanted, &caller.client).await?;
    let details = json!({ "location": location, "outside": paths.outside });
    caller.did(&mut tx, "create_table", ("table", &name.to_string()), details).await?;
    done(api, tx, is_asset_updated).await?;
    Ok(api.lake.table_at(name, &location).await?)
}

/// Returns the metadata of a new table after these updates. The first schema, sort order and partition spec are the
/// initial ones.
fn created(updates: Vec<TableUpdate>) -> RestResult<TableMetadata> {
    let (mut schema, mut spec, mut order): (Option<Schema>, Option<UnboundPartitionSpec>, Option<SortOrder>) =
        (None, None, None);
    let (mut location, mut version, mut others) = (None, FormatVersion::V2, Vec::new());
    for update in updates {
        match update {
            TableUpdate::AddSchema { schema: first } if schema.is_none() => schema = Some(first),
            TableUpdate::AddSpec { spec: first } if spec.is_none() => spec = Some(first),
            TableUpdate::AddSortOrder { sort_order: first } if order.is_none() => order = Some(first),
            TableUpdate::SetLocation { location: wanted } => location = Some(wanted),
            TableUpdate::UpgradeFormatVersion { format_version } => version = format_version,
            other => others.push(other),
        }
    }
    let (Some(schema), Some(location)) = (schema, location) else {
        return Err(Refusal::input("a new table needs a schema and a location"));
    };
    let spec = spec.unwrap_or_else(|| UnboundPartitionSpec::builder().build());
    let order = order.unwrap_or_else(SortOrder::unsorted_order);
    let builder = TableMetadataBuilder::new(schema, spec, order, location, version, HashMap::new())?;
    let builder = others.into_iter().try_fold(builder, |builder, update| update.apply(builder))?;
    Ok(builder.build()?.metadata)
}

/// Records an asset event if the commit publishes new rows. Returns true if it recorded one, so that the caller can
/// notify the scheduler.
async fn tell(tx: &mut PgConnection, wanted: &RequestedCommit, client: &str) -> RestResult<bool> {
    // A compaction only moves rows to other files, so it publishes no new rows.
    let is_new = |snapshot: &&Snapshot| snapshot.summary().operation != Operation::Replace;
    let Some(snapshot) = wanted.published().filter(is_new) else { return Ok(false) };
    let summary = snapshot.summary();
    let rows = summary.additional_properties.get("added-records").and_then(|rows| rows.parse().ok());
    let uri = wanted.name.asset_uri();
    let extra = json!({
        "client": client,
        "operation": summary.operation.as_str(),
        "snapshot_id": snapshot.snapshot_id().to_string(),
    });
    Ok(add_event_of_uri(tx, &UriEvent { uri: &uri, rows, extra: &extra }).await?)
}
