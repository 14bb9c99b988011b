//! Requests about assets. Freshness comes from a separate list of the API that extends Airflow's.

use super::{Api, ApiReply, ListQuery, Query, read, refused};
use chrono::{DateTime, Utc};
use orch_binary::failure::Failure;
use orch_binary::output::counted;
use orch_spec::asset::AssetEvent;
use orch_store::asset::{AliasRow, AssetRow, Dependency};
use orch_store::dag::DagDependency;
use orch_store::run::RunDetails;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

type Moment = DateTime<Utc>;

/// The DAGs and tasks that refer to an asset, and its lineage.
#[derive(Debug, Clone, Default)]
pub(crate) struct AssetDetails {
    pub(crate) aliases: Vec<String>,
    /// DAG ids.
    pub(crate) scheduled: Vec<String>,
    /// Tasks as `dag.task`.
    pub(crate) producing: Vec<String>,
    pub(crate) consuming: Vec<String>,
    pub(crate) lineage: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) at: DateTime<Utc>,
    pub(crate) asset: String,
    pub(crate) partition_key: Option<String>,
    pub(crate) rows: Option<i64>,
    pub(crate) extra: Value,
    pub(crate) source_dag_id: Option<String>,
    pub(crate) source_run_id: Option<String>,
    pub(crate) source_task_id: Option<String>,
    pub(crate) runs: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Check {
    pub(crate) at: Moment,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) policy: String,
    pub(crate) outcome: String,
    pub(crate) rows: u64,
    pub(crate) rows_bad: u64,
    pub(crate) sample: String,
    pub(crate) dag_id: String,
    pub(crate) dag_run_id: String,
    pub(crate) task_id: String,
    pub(crate) try_number: i16,
}

#[derive(Deserialize)]
struct Asset {
    id: i32,
    name: String,
    uri: String,
    group: String,
    extra: Option<Value>,
    created_at: Moment,
    updated_at: Moment,
    scheduled_dags: Vec<DagReference>,
    producing_tasks: Vec<DagReference>,
    consuming_tasks: Vec<DagReference>,
    aliases: Vec<Alias>,
    last_asset_event: LastAssetEvent,
}

/// The DAG, and the task if there is one, that refers to an asset.
#[derive(Deserialize)]
struct DagReference {
    dag_id: String,
    #[serde(default)]
    task_id: String,
}

#[derive(Deserialize)]
struct Alias {
    id: i32,
    name: String,
    group: String,
}

#[derive(Deserialize)]
struct LastAssetEvent {
    id: Option<i64>,
    timestamp: Option<Moment>,
}

/// Fields of an asset that only orch has.
#[derive(Deserialize)]
struct Extra {
    id: i32,
    fresh_within_seconds: Option<f64>,
    fresh_until: Option<Moment>,
    stale_since: Option<Moment>,
    #[serde(default)]
    lineage: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    from: String,
    to: String,
    rows: Option<i64>,
}

#[derive(Deserialize)]
struct Event {
    uri: Option<String>,
    name: Option<String>,
    extra: Option<Map<String, Value>>,
    source_task_id: Option<String>,
    source_dag_id: Option<String>,
    source_run_id: Option<String>,
    created_dagruns: Vec<Began>,
    timestamp: Moment,
    partition_key: Option<String>,
}

#[derive(Deserialize)]
struct Began {
    dag_id: String,
    run_id: String,
}

impl Api {
    /// Lists assets, ordered by name.
    pub(crate) async fn assets(&self, asked: ListQuery, only_stale: bool) -> Result<Vec<AssetRow>, Failure> {
        let all = ListQuery::all().with("only_active", false);
        let mut extras = BTreeMap::new();
        for extra in self.pages_extra("assets", "assets", &all, parsed::<Extra>).await? {
            extras.insert(extra.id, extra);
        }
        let most = asked.most;
        let asked = if only_stale { asked.most(usize::MAX) } else { asked };
        let asked = asked.or("only_active", false).with("order_by", "name");
        let assets = self.pages("assets", "assets", &asked, parsed::<Asset>).await?;
        let rows = assets.into_iter().map(|asset| {
            let extra = extras.get(&asset.id);
            row(asset, extra)
        });
        Ok(rows.filter(|row| !only_stale || row.stale_since.is_some()).take(most).collect())
    }

    /// Lists aliases, ordered by name.
    pub(crate) async fn aliases(&self, asked: ListQuery) -> Result<Vec<AliasRow>, Failure> {
        self.pages("assets/aliases", "asset_aliases", &asked.with("order_by", "name"), |entry| {
            let Alias { id, name, group } = parsed(entry)?;
            Some(AliasRow { id, name, group_name: group })
        })
        .await
    }

    /// Returns the assets with this URI, otherwise all with this name.
    pub(crate) async fn assets_called(&self, said: &str) -> Result<Vec<AssetRow>, Failure> {
        for (pattern, is_name) in [("uri_prefix_pattern", false), ("name_prefix_pattern", true)] {
            let asked = ListQuery::all().with("only_active", false).with("order_by", "id").with(pattern, said);
            let mut found = self.pages("assets", "assets", &asked, parsed::<Asset>).await?;
            found.retain(|asset| said == if is_name { &asset.name } else { &asset.uri });
            if !found.is_empty() {
                let mut rows = Vec::new();
                for asset in found {
                    let extra = self.found(self.get_extra(&format!("assets/{}", asset.id)).await?)?;
                    rows.push(row(asset, Some(&parsed(&extra).ok_or_else(|| self.strange())?)));
                }
                return Ok(rows);
            }
        }
        Ok(Vec::new())
    }

    pub(crate) async fn asset_details(&self, asset: &AssetRow) -> Result<AssetDetails, Failure> {
        let path = format!("assets/{}", asset.id);
        let found: Option<Asset> = parsed(&self.found(self.get(&path, &Query::default()).await?)?);
        let extra: Option<Extra> = parsed(&self.found(self.get_extra(&path).await?)?);
        let (Some(found), Some(extra)) = (found, extra) else { return Err(self.strange()) };
        let tasks = |places: Vec<DagReference>| places.iter().map(|p| format!("{}.{}", p.dag_id, p.task_id)).collect();
        Ok(AssetDetails {
            aliases: found.aliases.into_iter().map(|alias| alias.name).collect(),
            scheduled: found.scheduled_dags.into_iter().map(|place| place.dag_id).collect(),
            producing: tasks(found.producing_tasks),
            consuming: tasks(found.consuming_tasks),
            lineage: extra.lineage.iter().map(|edge| way(&edge.from, &edge.to, edge.rows)).collect(),
        })
    }

    /// Lists updates, newest first.
    pub(crate) async fn updates(&self, asked: ListQuery) -> Result<Vec<Update>, Failure> {
        let asked = asked.with("order_by", "-timestamp");
        self.pages("assets/events", "asset_events", &asked, |entry| parsed(entry).map(update)).await
    }

    /// Lists results of data contracts, newest first.
    pub(crate) async fn checks(&self, asked: &ListQuery) -> Result<Vec<Check>, Failure> {
        self.pages_extra("assets/checks", "checks", asked, parsed).await
    }

    /// Lists the data quality of assets, worst first.
    pub(crate) async fn quality<T: for<'a> Deserialize<'a>>(&self, asked: &ListQuery) -> Result<Vec<T>, Failure> {
        self.pages_extra("quality", "assets", asked, parsed).await
    }

    /// Returns which DAGs refer to which assets, and which DAGs start or wait for other DAGs. The second list is empty
    /// if the server is older than that feature.
    pub(crate) async fn dependencies(&self) -> Result<(Vec<Dependency>, Vec<DagDependency>), Failure> {
        let found = self.found(self.get_extra("assets/dependencies").await?)?;
        let word = |entry: &Value, name: &str| entry[name].as_str().map(str::to_owned);
        let of_asset = |entry: &Value| {
            let (role, dag_id, asset) = (word(entry, "role")?, word(entry, "dag_id")?, word(entry, "asset")?);
            Some(Dependency { role, dag_id, asset })
        };
        let of_dag = |entry: &Value| {
            let (role, dag_id, other) = (word(entry, "role")?, word(entry, "dag_id")?, word(entry, "other_dag_id")?);
            Some(DagDependency { dag_id, role, other })
        };
        let assets = found["dependencies"].as_array().ok_or_else(|| self.strange())?;
        let dags: &[Value] = found["dag_dependencies"].as_array().map_or(&[], Vec::as_slice);
        let assets: Option<Vec<Dependency>> = assets.iter().map(of_asset).collect();
        let dags: Option<Vec<DagDependency>> = dags.iter().map(of_dag).collect();
        assets.zip(dags).ok_or_else(|| self.strange())
    }

    /// Records an update of an asset and returns its number.
    pub(crate) async fn say_updated(&self, asset: &AssetRow, event: &AssetEvent) -> Result<i64, Failure> {
        let body = json!({ "asset_id": asset.id, "partition_key": event.partition_key, "extra": event.extra });
        match self.post("assets/events", &body).await? {
            ApiReply::Found(said) => said["id"].as_i64().ok_or_else(|| self.strange()),
            ApiReply::Refused(404, _) => Err(Failure::new(format!("asset `{}` was deleted just now", asset.name))),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Starts a run of the only DAG that produces the asset. Fails if there are none or several.
    pub(crate) async fn materialize(
        &self,
        asset: &AssetRow,
        partition_key: Option<&str>,
    ) -> Result<RunDetails, Failure> {
        let path = format!("assets/{}/materialize", asset.id);
        match self.post(&path, &json!({ "partition_key": partition_key })).await? {
            ApiReply::Found(run) => read::run(&run).ok_or_else(|| self.strange()),
            ApiReply::Refused(404 | 409, words) => {
                let details = self.asset_details(asset).await?;
                let dag = |place: &String| place.split_once('.').map(|(dag, _)| dag.to_owned());
                let mut producers: Vec<String> = details.producing.iter().filter_map(dag).collect();
                producers.dedup();
                the_producer(asset, producers)?;
                Err(refused(&words))
            }
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }
}

fn parsed<T: for<'a> Deserialize<'a>>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

fn row(asset: Asset, extra: Option<&Extra>) -> AssetRow {
    AssetRow {
        id: asset.id,
        uri: asset.uri,
        name: asset.name,
        group_name: asset.group,
        extra: asset.extra.unwrap_or_else(|| json!({})),
        fresh_within_ms: extra.and_then(|extra| extra.fresh_within_seconds).map(|secs| (secs * 1_000.0) as i64),
        fresh_until: extra.and_then(|extra| extra.fresh_until),
        stale_since: extra.and_then(|extra| extra.stale_since),
        last_event: asset.last_asset_event.id,
        last_event_at: asset.last_asset_event.timestamp,
        created_at: asset.created_at,
        updated_at: asset.updated_at,
    }
}

/// Converts an update. The API has no field for the number of rows, so it is in `extra`.
fn update(event: Event) -> Update {
    let mut extra = event.extra.unwrap_or_default();
    let rows = extra.get("rows").and_then(Value::as_i64);
    if rows.is_some() {
        extra.remove("rows");
    }
    Update {
        at: event.timestamp,
        asset: event.name.or(event.uri).unwrap_or_default(),
        partition_key: event.partition_key,
        rows,
        extra: Value::Object(extra),
        source_dag_id: event.source_dag_id,
        source_run_id: event.source_run_id,
        source_task_id: event.source_task_id,
        runs: event.created_dagruns.iter().map(|run| format!("{}.{}", run.dag_id, run.run_id)).collect(),
    }
}

/// Returns `from -> to (7 rows)`.
fn way(from: &str, to: &str, rows: Option<i64>) -> String {
    let rows = rows.map_or_else(String::new, |rows| format!(" ({})", counted(rows, "row")));
    format!("{from} -> {to}{rows}")
}

/// Returns the only producer of an asset. Fails if there are none or several.
fn the_producer(asset: &AssetRow, mut producers: Vec<String>) -> Result<String, Failure> {
    match producers.len() {
        1 => Ok(producers.remove(0)),
        0 => Err(Failure::new(format!("no dag produces `{}`", asset.name))
            .hint("name it as an outlet of a task: `.outlet(asset(\"…\"))`")),
        many => {
            let hint = format!("start one of them with `orch dags trigger`: {}", producers.join(", "));
            Err(Failure::new(format!("{many} dags produce `{}`", asset.name)).hint(hint))
        }
    }
}
