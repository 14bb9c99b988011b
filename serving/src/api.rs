//! Serves endpoints over HTTP.

use crate::endpoint::{ByPath, Endpoint, Published, Shape, by_path};
use crate::folder;
use crate::format::{self, EndpointRows, Format};
use crate::key::role;
use crate::openapi;
use crate::postgres::Databases;
use crate::values::{self, EndpointRequest, read_default};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::SecondsFormat;
use orch_lake::{Lake, TableName};
use orch_sdk::task::TaskResult;
use orch_store::lake_view::{
    AnswerKey, Answers, FindConnection, Kept, LakeDoor, LakeError, Query, QueryAnswer, QueryLimits, SqlValues,
    collect_answer,
};
use orch_store::stream::now;
use orch_store::token::{Audience, Callers};
use orch_store::user::Role;
use orch_store::{StoreError, StoreResult};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Maximum size of the response cache in bytes.
const MOST_KEPT_BYTES: usize = 64 << 20;
/// Maximum size of a response in bytes, and of its rows as JSON.
const MOST_ANSWER_BYTES: usize = 32 << 20;
/// Header with the path at which users reach this server. Ignored unless the web server sends it.
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Retry delay in seconds while the maximum number of queries is running.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

const DOCS: &str = include_str!("docs.html");
const DOCS_SCRIPT: &str = include_str!("docs.js");
const DOCS_STYLE: &str = include_str!("docs.css");
const DOCS_POLICY: &str =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'";

/// A response body that can be cached and sent.
#[derive(Clone)]
struct Ready(Bytes);

impl Kept for Ready {
    fn size(&self) -> usize {
        self.0.len()
    }
}

/// Parameters of [`router`].
pub struct Means {
    pub endpoints: Vec<Endpoint>,
    /// Folder of further endpoints, whose files may change while the server runs.
    pub folder: Option<PathBuf>,
    /// Lake whose catalog has the current location of each table.
    pub lake: Lake,
    /// Runs the queries.
    pub view: LakeDoor,
    /// Finds the connections of endpoints that query Postgres.
    pub find: Arc<FindConnection>,
    /// Pool of orch's database, which has the API tokens.
    pub pool: PgPool,
    /// True if only the web server of this installation can connect. It signs the identity of the caller.
    pub is_behind_web: bool,
}

struct Api {
    endpoints: watch::Receiver<Arc<ByPath>>,
    /// The task that watches the folder.
    _watching: JoinSet<()>,
    lake: Lake,
    view: LakeDoor,
    databases: Databases,
    pool: PgPool,
    callers: Callers,
    is_behind_web: bool,
    answers: Answers<Ready>,
}

/// Returns a router for all endpoints, their documentation and a health check. Must be called in a Tokio runtime, in
/// which the folder is watched.
///
/// # Errors
/// Returns a fatal error if an endpoint is invalid or two have the same path.
pub fn router(means: Means) -> TaskResult<Router> {
    let Means { endpoints, folder, lake, view, find, pool, is_behind_web } = means;
    let own = Arc::new(by_path(endpoints)?);
    let (changes, endpoints) = watch::channel(own.clone());
    let mut watching = JoinSet::new();
    if let Some(folder) = folder {
        watching.spawn(folder::watch(folder, own, pool.clone(), changes));
    }
    let callers = Callers::new(pool.clone(), Audience::Serving, is_behind_web);
    let (databases, answers) = (Databases::new(find), Answers::new(MOST_KEPT_BYTES));
    let api = Api { endpoints, _watching: watching, lake, view, databases, pool, callers, is_behind_web, answers };
    Ok(Router::new().fallback(serve).with_state(Arc::new(api)))
}

async fn serve(State(api): State<Arc<Api>>, request: Request<Body>) -> Response {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let allow = [(header::ALLOW, "GET, HEAD")];
        return (allow, Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "queries only read: `GET` asks them"))
            .into_response();
    }
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let answered = match path {
        "/health" => api.health().await,
        "/docs" => Ok(page("text/html; charset=utf-8", DOCS)),
        "/docs.js" => Ok(page("text/javascript; charset=utf-8", DOCS_SCRIPT)),
        "/docs.css" => Ok(page("text/css; charset=utf-8", DOCS_STYLE)),
        "/openapi.json" => Ok(api.describe(request.headers())),
        _ => api.answer(path, query, request.headers()).await,
    };
    answered.unwrap_or_else(IntoResponse::into_response)
}

fn page(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, DOCS_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text).into_response()
}

/// An error response.
struct Refusal {
    status: StatusCode,
    detail: Value,
}

impl Refusal {
    fn new(status: StatusCode, detail: impl Into<Value>) -> Refusal {
        Refusal { status, detail: detail.into() }
    }

    fn broken(error: &anyhow::Error) -> Refusal {
        tracing::error!(error = format!("{error:#}"), "a published query failed");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the endpoint cannot answer; the log of the server says why")
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        tracing::error!(error = error.in_full(), "the keys cannot be read");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the database cannot be reached")
    }
}

const CONNECTION_FAILED: &str = "a connection that the query uses failed; the log of the server has the reason";

impl From<LakeError> for Refusal {
    fn from(error: LakeError) -> Refusal {
        let status = match &error {
            LakeError::NotFound(_) => StatusCode::NOT_FOUND,
            LakeError::TooDear(_) => StatusCode::BAD_REQUEST,
            LakeError::Busy(_) => StatusCode::TOO_MANY_REQUESTS,
            LakeError::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            // The query was checked, so a table is not as the endpoint expects.
            LakeError::Refused(_) => return Refusal::broken(&error.into()),
            LakeError::Broken(_) => StatusCode::SERVICE_UNAVAILABLE,
            // The reason is only logged, because callers of every role would see it in the response.
            LakeError::Unavailable(_) => {
                tracing::error!(%error, "a connection of a published query failed");
                return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, CONNECTION_FAILED);
            }
        };
        Refusal::new(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "detail": self.detail }).to_string();
        let way_out = match self.status {
            StatusCode::TOO_MANY_REQUESTS => Some((header::RETRY_AFTER, RETRY_AFTER)),
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            _ => None,
        };
        let headers: HeaderMap = way_out.into_iter().chain([(header::CONTENT_TYPE, JSON)]).collect();
        (self.status, headers, body).into_response()
    }
}

impl Api {
    async fn health(&self) -> Result<Response, Refusal> {
        let at = self.now().await?;
        Ok(as_json(&json!({ "status": "healthy", "timestamp": at.to_rfc3339_opts(SecondsFormat::Micros, true) })))
    }

    async fn now(&self) -> StoreResult<chrono::DateTime<chrono::Utc>> {
        now(&mut *self.pool.acquire().await?).await
    }

    /// Describes all endpoints as `OpenAPI`. Requires no key, like the page `/docs`, which shows the same.
    fn describe(&self, headers: &HeaderMap) -> Response {
        let prefix = headers.get(PREFIX).filter(|_| self.is_behind_web).and_then(|prefix| prefix.to_str().ok());
        let endpoints = self.endpoints();
        let endpoints = endpoints.values().map(|published| &published.endpoint);
        as_json(&openapi::document(endpoints, prefix.unwrap_or("/")))
    }

    fn endpoints(&self) -> Arc<ByPath> {
        self.endpoints.borrow().clone()
    }

    async fn role(&self, headers: &HeaderMap) -> Result<Role, Refusal> {
        let words =
            "a key is missing or has ended\nhint: send an API token of the page `/account` in the header `X-API-Key`";
        role(&self.callers, headers).await?.ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, words))
    }

    async fn answer(&self, path: &str, query: &str, headers: &HeaderMap) -> Result<Response, Refusal> {
        let role = self.role(headers).await?;
        let Some(published) = self.endpoints().get(path).cloned() else {
            let words = format!("there is no endpoint `{path}`\nhint: `/docs` lists all there are");
            return Err(Refusal::new(StatusCode::NOT_FOUND, words));
        };
        let Published { endpoint, tables } = &*published;
        if role < endpoint.role {
            let words = format!("the endpoint is for users with the role `{}`", endpoint.role);
            return Err(Refusal::new(StatusCode::FORBIDDEN, words));
        }
        let asked = values::read(endpoint, query)
            .map_err(|problems| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, json!(problems)))?;
        let format = asked.format;
        let (tag, Ready(body)) = match &endpoint.connection {
            Some(id) => (None, self.ask_database(id, endpoint, asked).await?),
            None => {
                let versions = self.versions(tables).await?;
                let values = serde_json::to_vec(&asked.values).map_err(|error| Refusal::broken(&error.into()))?;
                let key = AnswerKey::of(&[path.as_bytes(), format.name().as_bytes(), &values, &versions]);
                if headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == key.tag().as_bytes()) {
                    return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, key.tag())]).into_response());
                }
                (Some(key.tag()), self.answers.get(key, Box::pin(self.ask_lake(endpoint, asked, &versions))).await?)
            }
        };
        let headers = [(header::CACHE_CONTROL, "private, no-cache"), (header::CONTENT_TYPE, format.content_type())];
        let mut response = (headers, body).into_response();
        let tag = tag.and_then(|tag| HeaderValue::try_from(tag).ok());
        response.headers_mut().extend(tag.map(|tag| (header::ETAG, tag)));
        if format != Format::Json {
            let name = path.rsplit('/').next().unwrap_or("answer");
            let file = HeaderValue::try_from(format!("attachment; filename=\"{name}.{}\"", format.name()));
            response.headers_mut().extend(file.ok().map(|file| (header::CONTENT_DISPOSITION, file)));
        }
        Ok(response)
    }

    /// Returns the current locations of the tables, which change with every commit. Fails if a table does not exist.
    async fn versions(&self, tables: &[TableName]) -> Result<Vec<u8>, Refusal> {
        let found = self.lake.catalog().locations(tables).await.map_err(|error| {
            tracing::error!(error = format!("{:#}", anyhow::Error::from(error)), "the catalog did not answer");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the catalog of the lake cannot be reached")
        })?;
        if let Some((table, _)) = tables.iter().zip(&found).find(|(_, location)| location.is_none()) {
            let words = format!("table `{table}` is not in the lake yet\nhint: run the pipeline that makes it");
            return Err(Refusal::new(StatusCode::NOT_FOUND, words));
        }
        serde_json::to_vec(&found).map_err(|error| Refusal::broken(&error.into()))
    }

    async fn ask_lake(&self, endpoint: &Endpoint, asked: EndpointRequest, versions: &[u8]) -> Result<Ready, LakeError> {
        let EndpointRequest { mut values, format } = asked;
        for (param, sql) in endpoint.defaults_to_ask(&values) {
            let key = AnswerKey::of(&[b"default", sql.as_bytes(), versions]);
            let Ready(found) = self.answers.get(key, self.default(sql, endpoint.timeout())).await?;
            let found = serde_json::from_slice(&found).unwrap_or_default();
            values.insert(param.name.clone(), read_default(param, &found)?);
        }
        let QueryAnswer { columns, rows, more, .. } =
            self.ask(&endpoint.sql, values, (endpoint.most_rows(), endpoint.timeout())).await?;
        let columns = columns.into_iter().map(|column| column.name).collect();
        self.write(endpoint, format, EndpointRows { columns, rows, more }).await
    }

    async fn ask_database(&self, id: &str, endpoint: &Endpoint, asked: EndpointRequest) -> Result<Ready, LakeError> {
        let found = self.databases.ask(id, endpoint, asked.values).await?;
        self.write(endpoint, asked.format, found).await
    }

    async fn write(&self, endpoint: &Endpoint, format: Format, found: EndpointRows) -> Result<Ready, LakeError> {
        if found.more && endpoint.shape == Shape::Rows {
            return Err(too_many(endpoint));
        }
        if !found.columns.iter().eq(endpoint.columns.iter().map(|column| &column.name)) {
            return Err(LakeError::Refused(format!(
                "the query of `{}` gives the columns {}, not the declared ones",
                endpoint.path,
                found.columns.join(", ")
            )));
        }
        let at = self.now().await.map_err(|error| LakeError::Unavailable(error.to_string()))?;
        let body = format::body(endpoint, format, found.rows, at)
            .map_err(|error| LakeError::Refused(format!("the answer of `{}`: {error:#}", endpoint.path)))?;
        if body.len() > MOST_ANSWER_BYTES {
            return Err(too_many(endpoint));
        }
        Ok(Ready(body.into()))
    }

    /// Returns the first value of the first row as JSON.
    async fn default(&self, sql: &str, time: Duration) -> Result<Ready, LakeError> {
        let found = self.ask(sql, SqlValues::new(), (1, time)).await?;
        let value = found.rows.into_iter().next().and_then(|row| row.into_iter().next()).unwrap_or_default();
        Ok(Ready(value.to_string().into()))
    }

    async fn ask(
        &self,
        sql: &str,
        values: SqlValues,
        (rows, time): (usize, Duration),
    ) -> Result<QueryAnswer, LakeError> {
        let limits = QueryLimits { rows, bytes: MOST_ANSWER_BYTES, time };
        let query = Query { values, ..Query::new(sql, limits) };
        let began = Instant::now();
        let rows = self.view.open().await?.query(query, CancellationToken::new()).await?;
        collect_answer(rows, began).await
    }
}

fn too_many(endpoint: &Endpoint) -> LakeError {
    LakeError::TooDear(format!(
        "the answer has more than {} rows or {} MB\nhint: ask for fewer, by its parameters",
        endpoint.most_rows(),
        MOST_ANSWER_BYTES >> 20
    ))
}

fn as_json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, JSON)], value.to_string()).into_response()
}
