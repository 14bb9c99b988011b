//! Assets, at the database or over the API.

use super::Server;
use chrono::{DateTime, Utc};
use orch_binary::failure::Failure;
use orch_binary::person;
use orch_core::asset::AssetEvent;
use orch_core::state::{RunType, TriggeredBy};
use orch_store::asset::{
    AliasRow, AssetFilter, AssetOrder, AssetRow, EventFilter, EventOrder, NewEvent, add_event, aliases_of,
    edges_of_asset, find_asset, list_aliases, list_assets, list_events, producers_of, runs_of_events, uses_of,
};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::run::{CreateRun, NewRun, RunDetails, create_run};
use orch_store::version::Versions;
use serde_json::{Value, json};

/// In one list.
pub(crate) const MOST: i64 = 1_000;

/// Who names an asset, and which ways its data took.
#[derive(Debug, Clone, Default)]
pub(crate) struct AssetDetails {
    pub(crate) aliases: Vec<String>,
    /// DAGs.
    pub(crate) scheduled: Vec<String>,
    /// `dag.task`.
    pub(crate) producing: Vec<String>,
    pub(crate) consuming: Vec<String>,
    pub(crate) lineage: Vec<String>,
}

/// An update of an asset, and the runs it began.
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

impl Server {
    /// By name.
    pub(crate) async fn assets(&mut self, only_stale: bool) -> Result<Vec<AssetRow>, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.assets(only_stale),
        };
        let filter = AssetFilter { stale: only_stale.then_some(true), ..AssetFilter::default() };
        Ok(list_assets(&mut session.db, &filter, &[(AssetOrder::Name, false)], (0, MOST)).await?)
    }

    /// By name.
    pub(crate) async fn aliases(&mut self) -> Result<Vec<AliasRow>, Failure> {
        match self {
            Server::Database(session) => {
                Ok(list_aliases(&mut session.db, &AssetFilter::default(), (true, false), (0, MOST)).await?)
            }
            Server::Api(api) => api.aliases(),
        }
    }

    /// By its URI, else all that are called so.
    pub(crate) async fn assets_called(&mut self, said: &str) -> Result<Vec<AssetRow>, Failure> {
        match self {
            Server::Database(session) => Ok(find_asset(&mut session.db, said).await?),
            Server::Api(api) => api.assets_called(said),
        }
    }

    pub(crate) async fn asset_details(&mut self, asset: &AssetRow) -> Result<AssetDetails, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.asset_details(asset),
        };
        let mut details = AssetDetails::default();
        for used in uses_of(&mut session.db, &[asset.id]).await? {
            match used.role.as_str() {
                "schedule" => details.scheduled.push(used.dag_id),
                "outlet" => details.producing.push(format!("{}.{}", used.dag_id, used.task_id)),
                _ => details.consuming.push(format!("{}.{}", used.dag_id, used.task_id)),
            }
        }
        let aliases = aliases_of(&mut session.db, &[asset.id]).await?;
        details.aliases = aliases.into_iter().map(|(_, alias)| alias.name).collect();
        let edges = edges_of_asset(&mut session.db, &asset.uri, MOST).await?;
        details.lineage = edges.into_iter().map(|edge| way(&edge.from_uri, &edge.to_uri, edge.rows)).collect();
        Ok(details)
    }

    /// The newest first.
    pub(crate) async fn updates(&mut self, of: Option<&AssetRow>, most: i64) -> Result<Vec<Update>, Failure> {
        let asset = of.map(|asset| asset.id);
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.updates(asset, most),
        };
        let filter = EventFilter { asset, ..EventFilter::default() };
        let events = list_events(&mut session.db, &filter, &[(EventOrder::At, true)], (0, most)).await?;
        let ids: Vec<i64> = events.iter().map(|event| event.id).collect();
        let runs = runs_of_events(&mut session.db, &ids).await?;
        let runs_of = |id| runs.iter().filter(move |run| run.event == id).map(|r| format!("{}.{}", r.dag_id, r.run_id));
        let update = |event: orch_store::asset::EventRow| Update {
            runs: runs_of(event.id).collect(),
            at: event.at,
            asset: event.name.unwrap_or(event.uri),
            partition_key: event.partition_key,
            rows: event.rows,
            extra: event.extra.unwrap_or_else(|| json!({})),
            source_dag_id: event.source_dag_id,
            source_run_id: event.source_run_id,
            source_task_id: event.source_task_id,
        };
        Ok(events.into_iter().map(update).collect())
    }

    /// Says that an asset was updated, and gives the number of the update.
    pub(crate) async fn say_updated(&mut self, asset: &AssetRow, event: AssetEvent) -> Result<i64, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.say_updated(asset, &event),
        };
        let new = NewEvent { asset: asset.id, partition_key: event.partition_key, extra: event.extra };
        let said = add_event(&mut session.db, &new).await?;
        let id = said.ok_or_else(|| Failure::new(format!("asset `{}` was deleted just now", asset.name)))?;
        let extra = json!({ "asset": asset.uri, "partition_key": new.partition_key });
        let deed = Deed { event: "create_asset_event", extra: Some(extra), ..Deed::default() };
        session.did(&deed, &[Hint::Asset]).await?;
        Ok(id)
    }

    /// Starts a run of the one DAG that produces it.
    pub(crate) async fn materialize(
        &mut self,
        asset: &AssetRow,
        partition_key: Option<&str>,
    ) -> Result<RunDetails, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.materialize(asset, partition_key),
        };
        let dag_id = the_producer(asset, producers_of(&mut session.db, asset.id).await?)?;
        let new = NewRun {
            run_type: RunType::AssetMaterialization,
            user: Some(person::name()),
            partition_key: partition_key.map(String::from),
            ..NewRun::manual(&dag_id, TriggeredBy::Cli)
        };
        let created = create_run(&mut session.db, &mut Versions::default(), &new).await?;
        let CreateRun::Created(run) = created else {
            return Err(Failure::new(format!("dag `{dag_id}` was deleted just now")));
        };
        let event = "materialize_asset";
        let deed = Deed { event, dag_id: Some(&dag_id), run_id: Some(&run.run_id), ..Deed::default() };
        session.did(&deed, &run.hints()).await?;
        Ok(RunDetails::created(run, new))
    }
}

/// `from -> to (7 rows)`.
pub(crate) fn way(from: &str, to: &str, rows: Option<i64>) -> String {
    let rows = rows.map_or_else(String::new, |rows| format!(" ({rows} rows)"));
    format!("{from} -> {to}{rows}")
}

/// Of those who produce an asset; there has to be one and no more.
pub(crate) fn the_producer(asset: &AssetRow, mut producers: Vec<String>) -> Result<String, Failure> {
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
