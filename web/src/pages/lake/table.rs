//! `/lake/{namespace}/{table}`: the columns and the partitioning of a table, and its newest snapshots.

use super::picture::{Picture, picture};
use super::{Head, LoadedTable, READS_DATA, find};
use crate::auth::Role;
use crate::extract::Names;
use crate::pages::lake::snapshots::{SnapshotLine, line};
use crate::pages::{Shell, encoded, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::lake_view::{LakePage, LakeTable};

#[derive(Template)]
#[template(path = "pages/lake/table.html")]
struct TablePage {
    shell: Shell,
    head: Head,
    columns: Vec<Column>,
    schema: String,
    partitions: Vec<(String, String)>,
    snapshots: Vec<SnapshotLine>,
    refs: Vec<(String, &'static str, i64)>,
    facts: Vec<(&'static str, String)>,
    properties: Vec<(String, String)>,
    picture: Option<Picture>,
    /// Address of the SQL console with the chart's query.
    picture_href: String,
}

struct Column {
    id: i32,
    name: String,
    data_type: String,
    required: bool,
    doc: String,
    roles: Vec<&'static str>,
}

const NEWEST: usize = 5;

pub(crate) async fn show(State(app): State<App>, shell: Shell, names: Names) -> Result<Response, Refusal> {
    let LoadedTable { lake, table, head } = find(&app, &names, "schema", &shell).await?;
    let picture = if shell.can(READS_DATA) { picture(&*lake, &table, shell.can(Role::Admin)).await } else { None };
    let newest = lake.snapshots(table.id.clone(), LakePage { skip: 0, most: NEWEST }).await?;
    let schema = format!("{}, schema {}", parts::counted(table.columns.len(), "column"), table.schema_id);
    let page = TablePage {
        picture_href: picture.as_ref().map_or_else(String::new, |one| format!("/sql?sql={}", encoded(&one.sql))),
        picture,
        columns: columns(&table),
        schema,
        partitions: table.partitioned_by.iter().map(|by| (by.name.clone(), by.transform.clone())).collect(),
        snapshots: newest.into_iter().map(|snapshot| line(snapshot, shell.now)).collect(),
        refs: table.refs.iter().map(|to| (to.name.clone(), to.kind.words(), to.snapshot_id)).collect(),
        facts: vec![
            ("Location", table.location.clone()),
            ("Asset", table.asset_uri.clone()),
            ("UUID", table.uuid.clone()),
            ("Schemas so far", table.schemas.to_string()),
        ],
        properties: table.properties.into_iter().collect(),
        shell,
        head,
    };
    html(StatusCode::OK, &page)
}

fn columns(table: &LakeTable) -> Vec<Column> {
    let roles = |name: &str| {
        let mut roles = Vec::new();
        if table.key.iter().any(|key| key == name) {
            roles.push("key");
        }
        if table.partitioned_by.iter().any(|by| by.column == name) {
            roles.push("partition");
        }
        roles
    };
    let columns = table.columns.iter().map(|column| Column {
        id: column.id,
        roles: roles(&column.name),
        name: column.name.clone(),
        data_type: column.data_type.clone(),
        required: column.required,
        doc: column.doc.clone().unwrap_or_default(),
    });
    columns.collect()
}
