//! HTTP routes of the Iceberg REST protocol.

use crate::access::Reader;
use crate::audit::Caller;
use crate::paths::PathCheck;
use crate::refusal::{Refusal, RestResult};
use crate::vending::{AssumedRole, TableKeys};
use crate::{commit, namespaces, tables, views};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, head, post};
use axum::{Json, Router};
use orch_lake::catalog::{Catalog as _, PgCatalog, Properties};
use orch_lake::{Lake, TableName};
use orch_sdk::task::{TaskResult, fatal};
use orch_store::hint::Hints;
use orch_store::identity::identity;
use orch_store::token::{Audience, Callers};
use orch_store::user::Role;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use std::sync::Arc;

/// Maximum size of a request body. Metadata of a table with many snapshots takes several megabytes.
const MOST_BODY_BYTES: usize = 64 << 20;

/// Dependencies of the catalog server.
pub struct Means {
    pub lake: Lake,
    /// Pool of orch's metadata database, which contains the catalog, API tokens and assets.
    pub pool: PgPool,
    pub hints: Hints,
    /// True if only the web server of this installation can connect, and signs the identity of each caller.
    pub is_behind_web: bool,
    /// Which storage credentials are issued to clients that request them and may write.
    pub keys: GivenKeys,
}

/// The kind of storage credentials that clients receive.
#[derive(Debug, Clone)]
pub enum GivenKeys {
    None,
    /// The storage credentials of orch itself, which give access to the whole storage.
    OfStorage,
    /// Temporary credentials, obtained by assuming this role. They are limited to the folder of one table and expire
    /// after one hour.
    OfTable(AssumedRole),
}

pub(crate) struct Api {
    pub(crate) lake: Lake,
    pub(crate) catalog: PgCatalog,
    pub(crate) pool: PgPool,
    pub(crate) hints: Hints,
    pub(crate) callers: Callers,
    given_keys: GivenKeys,
}

/// Returns the router of the REST catalog.
///
/// # Errors
/// Returns a fatal error if the catalog of the lake is not in orch's metadata database.
pub async fn router(means: Means) -> TaskResult<Router> {
    let Means { lake, pool, hints, is_behind_web, keys: given_keys } = means;
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
    let callers = Callers::new(pool.clone(), Audience::Catalog, is_behind_web);
    let api = Api { lake, catalog, pool, hints, callers, given_keys };
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

/// Returns the client configuration. If the client names a warehouse, it must be the catalog's name or the location
/// of its files.
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

/// Maximum number of characters of an error message about a request body. The message is truncated because it can
/// contain a value of the body.
const MAX_ERROR_CHARS: usize = 500;

/// Parses a JSON request body. Rejects strings that contain NUL, because Postgres can store it neither in names nor
/// in properties.
pub(crate) fn body<T: DeserializeOwned>(sent: &[u8]) -> RestResult<T> {
    let unreadable = |error: serde_json::Error| {
        let message: String = error.to_string().chars().take(MAX_ERROR_CHARS).collect();
        Refusal::input(format!("the body cannot be read: {message}"))
    };
    // The body is parsed a second time only if it contains an escaped NUL, which is rare.
    if sent.windows(NUL_ESCAPE.len()).any(|bytes| bytes == NUL_ESCAPE)
        && has_nul(&serde_json::from_slice(sent).map_err(unreadable)?)
    {
        return Err(Refusal::input("a string in the body contains NUL"));
    }
    serde_json::from_slice(sent).map_err(unreadable)
}

const NUL_ESCAPE: &[u8] = br"\u0000";

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

impl Api {
    pub(crate) async fn namespace(&self, name: &str) -> RestResult<Properties> {
        self.catalog.namespace(name).await?.ok_or_else(|| Refusal::no_namespace(name))
    }

    /// Returns a checker for the file paths in this caller's requests.
    pub(crate) fn paths(&self, caller: &Caller) -> PathCheck<'_> {
        PathCheck { warehouse: self.lake.warehouse(), is_admin: caller.role >= Role::Admin, outside: Vec::new() }
    }

    /// Returns the properties with which a client accesses the files of a table. If they include credentials, an
    /// entry is added to the audit log.
    pub(crate) async fn storage(
        &self,
        reader: &Reader,
        table: (&TableName, &str),
        asks_for_keys: bool,
    ) -> RestResult<Value> {
        let storage = self.lake.storage();
        let keys = match &self.given_keys {
            _ if !asks_for_keys || !reader.may_write() => None,
            GivenKeys::None => None,
            GivenKeys::OfStorage => TableKeys::of_storage(storage),
            GivenKeys::OfTable(role) => {
                Some(role.assume(storage, &reader.0.user, table.1, self.lake.now().await?).await?)
            }
        };
        let config = [
            ("s3.endpoint", storage.endpoint.clone()),
            ("s3.path-style-access", storage.endpoint.as_ref().map(|_| (!storage.virtual_host).to_string())),
            ("client.region", storage.region.clone()),
        ];
        let mut config: Map<String, Value> =
            config.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value?)))).collect();
        if let Some(keys) = keys {
            let details = json!({ "access_key": keys.access_key, "expires_at_ms": keys.expires_at_ms });
            let mut db = self.pool.acquire().await?;
            reader.0.did(&mut db, "give_storage_keys", ("table", &table.0.to_string()), details).await?;
            config.extend(keys.config());
        }
        Ok(Value::Object(config))
    }
}

/// HTTP status of successful responses without a body.
pub(crate) const DONE: StatusCode = StatusCode::NO_CONTENT;
