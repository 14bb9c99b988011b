//! The paths of the protocol.

use crate::access::Reader;
use crate::refusal::{Refusal, RestResult};
use crate::{commit, namespaces, tables, views};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, head, post};
use axum::{Json, Router};
use orch_lake::catalog::{Catalog as _, PgCatalog, Properties};
use orch_lake::{Lake, Table, plain_location};
use orch_sdk::task::{TaskResult, fatal};
use orch_store::hint::Hints;
use orch_store::identity::identity;
use orch_store::token::Keys;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::sync::Arc;

/// Metadata of a table with many snapshots are megabytes.
const MOST_BODY_BYTES: usize = 64 << 20;

/// What the catalog is served with.
pub struct Means {
    pub lake: Lake,
    /// The database of orch, which the catalog is in. It knows tokens and assets.
    pub pool: PgPool,
    pub hints: Hints,
    /// Only the web server of this installation can connect. It says who asks.
    pub is_behind_web: bool,
    /// Tables and views may be in folders of this machine outside of the warehouse.
    pub takes_any_location: bool,
    /// Clients that ask for them get the keys of the storage.
    pub gives_keys: bool,
}

pub(crate) struct Api {
    pub(crate) lake: Lake,
    pub(crate) catalog: PgCatalog,
    pub(crate) pool: PgPool,
    pub(crate) hints: Hints,
    pub(crate) keys: Keys,
    pub(crate) is_behind_web: bool,
    takes_any_location: bool,
    gives_keys: bool,
}

/// # Errors
/// A fatal error when the catalog of the lake is in another database than that of orch.
pub async fn router(means: Means) -> TaskResult<Router> {
    let Means { lake, pool, hints, is_behind_web, takes_any_location, gives_keys } = means;
    let elsewhere = || {
        fatal(
            "the catalog of the lake is not in the database of orch, so it cannot be served\n\
             hint: let the connection `lake` lead to the database of `ORCH_DATABASE_URL`, or delete it if the default will do",
        )
    };
    let catalog = lake.catalog().postgres().cloned().ok_or_else(elsewhere)?;
    if identity(&mut *catalog.pool().acquire().await?).await? != identity(&mut *pool.acquire().await?).await? {
        return Err(elsewhere());
    }
    let keys = Keys::new(pool.clone());
    let api = Api { lake, catalog, pool, hints, keys, is_behind_web, takes_any_location, gives_keys };
    Ok(Router::new()
        .route("/v1/config", get(config))
        .route("/v1/namespaces", get(namespaces::list).post(namespaces::create))
        .route(
            "/v1/namespaces/{namespace}",
            head(namespaces::is_there).get(namespaces::show).delete(namespaces::remove),
        )
        .route("/v1/namespaces/{namespace}/properties", post(namespaces::change))
        .route("/v1/namespaces/{namespace}/tables", get(tables::list).post(tables::create))
        .route("/v1/namespaces/{namespace}/register", post(tables::register))
        .route(
            "/v1/namespaces/{namespace}/tables/{table}",
            head(tables::is_there).get(tables::load).post(commit::commit).delete(tables::remove),
        )
        .route("/v1/namespaces/{namespace}/tables/{table}/credentials", get(tables::credentials))
        .route("/v1/namespaces/{namespace}/tables/{table}/metrics", post(tables::metrics))
        .route("/v1/tables/rename", post(tables::rename))
        .route("/v1/transactions/commit", post(commit::transaction))
        .route("/v1/namespaces/{namespace}/views", get(views::list).post(views::create))
        .route("/v1/namespaces/{namespace}/register-view", post(views::register))
        .route(
            "/v1/namespaces/{namespace}/views/{view}",
            head(views::is_there).get(views::load).post(views::change).delete(views::remove),
        )
        .route("/v1/views/rename", post(views::rename))
        .fallback(async || Refusal::input("the catalog has no such path; `GET /v1/config` lists those it has"))
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .with_state(Arc::new(api)))
}

const ENDPOINTS: [&str; 26] = [
    "GET /v1/{prefix}/namespaces",
    "POST /v1/{prefix}/namespaces",
    "GET /v1/{prefix}/namespaces/{namespace}",
    "HEAD /v1/{prefix}/namespaces/{namespace}",
    "DELETE /v1/{prefix}/namespaces/{namespace}",
    "POST /v1/{prefix}/namespaces/{namespace}/properties",
    "GET /v1/{prefix}/namespaces/{namespace}/tables",
    "POST /v1/{prefix}/namespaces/{namespace}/tables",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "DELETE /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
    "POST /v1/{prefix}/namespaces/{namespace}/register",
    "POST /v1/{prefix}/tables/rename",
    "POST /v1/{prefix}/transactions/commit",
    "GET /v1/{prefix}/namespaces/{namespace}/views",
    "POST /v1/{prefix}/namespaces/{namespace}/views",
    "GET /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "POST /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "DELETE /v1/{prefix}/namespaces/{namespace}/views/{view}",
    "POST /v1/{prefix}/namespaces/{namespace}/register-view",
    "POST /v1/{prefix}/views/rename",
    "GET /v1/config",
];

#[derive(Debug, Deserialize)]
struct ConfigQuery {
    warehouse: Option<String>,
}

/// What a client is to know before it asks for anything. Its warehouse is the name of the catalog or the place of its files.
async fn config(State(api): State<Arc<Api>>, _: Reader, Query(wanted): Query<ConfigQuery>) -> RestResult<Json<Value>> {
    let (name, place) = (api.catalog.name(), api.lake.warehouse());
    if let Some(other) = wanted.warehouse
        && !other.is_empty()
        && other != name
        && other.trim_end_matches('/') != place
    {
        return Err(Refusal::input(format!("`{other}` is not the warehouse of this catalog; it is called `{name}`")));
    }
    Ok(Json(json!({ "defaults": { "warehouse": name }, "overrides": {}, "endpoints": ENDPOINTS })))
}

/// What a body says.
pub(crate) fn body<T: DeserializeOwned>(sent: &[u8]) -> RestResult<T> {
    serde_json::from_slice(sent).map_err(|error| Refusal::input(format!("the body cannot be read: {error}")))
}

impl Api {
    /// The properties of a namespace.
    pub(crate) async fn namespace(&self, name: &str) -> RestResult<Properties> {
        self.catalog.namespace(name).await?.ok_or_else(|| Refusal::no_namespace(name))
    }

    /// A place of files that a client names. On this machine only the warehouse is written to, and the folder where a table is
    /// already, unless the connection says otherwise: a client with a token is not a person who may write anywhere.
    pub(crate) fn allowed(&self, location: &str, table: Option<&Table>) -> RestResult<()> {
        // Clients of Hadoop write `file:/folder`.
        let place = plain_location(location);
        let is_folder = place.starts_with("file:") || !place.contains("://");
        let warehouse = self.lake.warehouse();
        let is_below =
            |folder: &str| place.strip_prefix(&plain_location(folder)).is_some_and(|rest| rest.starts_with('/'));
        let is_within = is_below(warehouse) || table.is_some_and(|table| is_below(table.metadata().location()));
        if !is_folder || self.takes_any_location || (is_within && !place.split('/').any(|part| part == "..")) {
            return Ok(());
        }
        Err(Refusal::forbidden(format!(
            "`{location}` is outside of the warehouse `{warehouse}`; leave the location out, or add `\"any_location\": true` to \
             the extra of the connection of the lake"
        )))
    }

    /// How the client reaches the files of a table.
    pub(crate) fn storage(&self, reader: &Reader, asks_for_keys: bool) -> Value {
        let storage = self.lake.storage();
        let keys = Some(()).filter(|()| asks_for_keys && self.gives_keys && reader.may_write());
        let all = [
            ("s3.endpoint", storage.endpoint.clone()),
            ("s3.path-style-access", storage.endpoint.as_ref().map(|_| (!storage.virtual_host).to_string())),
            ("client.region", storage.region.clone()),
            ("s3.access-key-id", keys.and_then(|()| storage.access_key.clone())),
            ("s3.secret-access-key", keys.and_then(|()| storage.secret_key.clone())),
            ("s3.session-token", keys.and_then(|()| storage.session_token.clone())),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// For answers without a body.
pub(crate) const DONE: StatusCode = StatusCode::NO_CONTENT;
