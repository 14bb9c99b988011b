//! A server on its own database, with DAGs that no worker runs, and a logged-in user.

use crate::log;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use orch_spec::DagSpec;
use orch_spec::state::TaskState;
use orch_store::audit::{AUDIT, newest};
use orch_store::dag::pause;
use orch_store::hint::Hints;
use orch_store::locks::Locks;
use orch_store::refold::{Keep, fold_run};
use orch_store::registry::{NewBundle, register_bundle};
use orch_store::run::run_by_uuid;
use orch_store::seal::Keyring;
use orch_store::step::{Claim, EndedTry, Failure, Lease, Mode, Stepper, WorkerStep};
use orch_store::user::{NewUser, UserChange, add_user, get_user, reset_password};
use orch_store::version::{Versions, load};
use orch_store::worker::{NewWorker, register_worker};
use orch_store::{MIGRATOR, connect};
use orch_test_support::TestDb;
use orch_web::{ADMIN, App, Clock, Password, WebConfig, hash_password, router};
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;
use uuid::Uuid;

pub(crate) const PASSWORD: &str = "canary-5f1c2e";

pub(crate) struct Web {
    pub(crate) database: TestDb,
    pub(crate) app: App,
    pub(crate) clock: Clock,
    pub(crate) hints: Hints,
    pub(crate) keys: Keyring,
    pub(crate) token: String,
    router: Router,
}

#[derive(Debug)]
pub(crate) struct JsonReply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

pub(crate) struct Bytes {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

/// Returns a hash of `PASSWORD` with minimal cost. Every test logs in, and hashing with the usual cost took a third of
/// the CPU time of all tests.
fn quick_hash() -> String {
    let least = Params::new(Params::MIN_M_COST, Params::MIN_T_COST, 1, None).expect("they are in range");
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, least);
    let hash: PasswordHash = hasher.hash_password(PASSWORD.as_bytes()).expect("it can be hashed");
    hash.to_string()
}

impl Web {
    /// The DAGs are `chain` with five tasks, `params` with a schema, `paused`, and `mapped` over the list of an
    /// upstream task. `chain` has the alias `old_chain`.
    pub(crate) async fn new() -> Web {
        log::capture();
        let database = TestDb::new(&MIGRATOR).await;
        let mut db = database.connect().await;
        let dags = vec![chain("chain", 5), params(), chain("paused", 1), mapped()];
        register_bundle(&mut db, &NewBundle { name: "test".into(), dags }, false).await.expect("they register");
        pause(&mut db, &Locks::begin(), &["paused".into()]).await.expect("it is paused");
        let admin = NewUser { name: ADMIN, password_hash: &quick_hash(), role: "admin", ..NewUser::default() };
        assert_eq!(add_user(&mut db, &admin).await.expect("it can be written"), None);
        let (clock, hints) = (Clock::movable(), Hints::new());
        let keys = Keyring::parse(&Keyring::generate()).expect("it was made just now");
        let config = WebConfig { clock: clock.clone(), keys: keys.clone(), ..WebConfig::new(database.url()) };
        let app = App::new(config, hints.clone()).expect("the configuration is right");
        let mut web = Web { database, clock, hints, keys, token: String::new(), router: router(&app), app };
        web.token = web.log_in(ADMIN, PASSWORD).await.expect("the password is right");
        web
    }

    pub(crate) fn use_router(&mut self, router: Router) {
        self.router = router;
    }

    pub(crate) fn swap_router(&mut self, other: &mut Router) {
        std::mem::swap(&mut self.router, other);
    }

    pub(crate) fn restart(&mut self, change: impl FnOnce(&mut WebConfig)) {
        let mut config = WebConfig { clock: self.clock.clone(), ..WebConfig::new(self.database.url()) };
        change(&mut config);
        self.app = App::new(config, self.hints.clone()).expect("the configuration is right");
        self.router = router(&self.app);
    }

    /// Starts a second server on the same database, with its own caches.
    pub(crate) fn another_server(&self) -> Router {
        let config = WebConfig { clock: self.clock.clone(), ..WebConfig::new(self.database.url()) };
        router(&App::new(config, self.hints.clone()).expect("the configuration is right"))
    }

    pub(crate) async fn db(&self) -> PgConnection {
        connect::one(&self.database.url(), "test").await.expect("the server is there")
    }

    /// Adds a user with the admin's password, by copying its hash.
    pub(crate) async fn add_user(&self, name: &str, role: &str) {
        let mut db = self.db().await;
        let admin = get_user(&mut db, ADMIN).await.expect("it can be read").expect("there is one");
        let new = NewUser { name, password_hash: &admin.password_hash, role, ..NewUser::default() };
        assert_eq!(add_user(&mut db, &new).await.expect("it can be written"), None, "`{name}` is new");
    }

    /// Sets the admin's password as `orch users reset-password` does.
    pub(crate) async fn reset_admin_password(&self, password: &str) {
        let hash = hash_password(Password::new(password)).await.expect("it can be hashed");
        let reset = reset_password(&mut self.db().await, ADMIN, &hash).await.expect("it can be written");
        assert_eq!(reset, UserChange::Done);
    }

    /// Deletes the last admin, which no API allows.
    pub(crate) async fn drop_admin(&self) {
        let gone = sqlx::query("delete from api_user where name = $1").bind(ADMIN).execute(&mut self.db().await).await;
        assert_eq!(gone.expect("it can be deleted").rows_affected(), 1);
    }

    pub(crate) async fn log_in(&self, name: &str, password: &str) -> Result<String, JsonReply> {
        let body = json!({ "username": name, "password": password });
        let answer = self.send(Method::POST, "/auth/token", None, Some(body.to_string())).await;
        match answer.body["access_token"].as_str() {
            Some(token) => Ok(token.into()),
            None => Err(answer),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> JsonReply {
        self.send(Method::GET, path, Some(&self.token), None).await
    }

    /// Returns one field of each entry of a list, and the total, as in `a, b of 7`.
    pub(crate) async fn page_of(&self, path: &str, list: &str, field: &str) -> String {
        let page = self.get(path).await.body;
        let entries = page[list].as_array().unwrap_or_else(|| panic!("{path}: {page}"));
        let words: Vec<&str> = entries.iter().filter_map(|entry| entry[field].as_str()).collect();
        format!("{} of {}", words.join(", "), page["total_entries"])
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> JsonReply {
        self.send(Method::POST, path, Some(&self.token), Some(body.to_string())).await
    }

    /// Claims one instance of a run with a new worker.
    pub(crate) async fn claim(&self, db: &mut PgConnection, run: Uuid) -> Lease {
        let found = run_by_uuid(db, run).await.expect("it can be read").expect("it is there");
        let version = load(db, found.version).await.expect("it has a version");
        let new = NewWorker {
            name: "one".into(),
            hostname: "here".into(),
            pid: 7,
            bundle: "test".into(),
            binary_version: "1".into(),
            queues: vec![version.queues[0]],
            versions: vec![version.id],
            slots: 1,
            lease: Duration::from_mins(1),
        };
        let worker = register_worker(db, &new).await.expect("it registers");
        let claim = Claim { most: 1, queues: vec![version.queues[0]].into(), versions: vec![version.id].into() };
        let step = WorkerStep { claim: Some(claim), ..WorkerStep::default() };
        let reply = Stepper::default().send(db, &step, worker).await.expect("it claims");
        reply.claimed.first().expect("something is ready").lease
    }

    /// Records the end of an attempt like its worker, and folds its run.
    pub(crate) async fn end(&self, db: &mut PgConnection, lease: Lease, state: TaskState, causes: &[&str]) {
        let causes: Vec<_> = causes.iter().map(|cause| (*cause).into()).collect();
        let failure = (!causes.is_empty()).then_some(Failure { kind: "retryable", causes });
        let ended = EndedTry { failure, ..EndedTry::new(lease, state) };
        let step = WorkerStep { ended: vec![ended], mode: Mode::Record, ..WorkerStep::default() };
        let reply = Stepper::default().send(db, &step, 1).await.expect("it is recorded");
        assert!(!reply.accepted.is_empty(), "it counted");
        let folded = fold_run(
            db,
            &Locks::begin().runs(),
            &mut Stepper::default(),
            &mut Versions::default(),
            lease.run,
            1,
            Keep::NOTHING,
        )
        .await;
        folded.expect("the run is folded");
    }

    pub(crate) async fn post_owned(&self, path: &'static str, body: Value) -> JsonReply {
        self.post(path, &body).await
    }

    /// Sends a request with any other method, with or without a body.
    pub(crate) async fn change(&self, method: Method, path: &str, body: &Value) -> JsonReply {
        let body = if body.is_null() { None } else { Some(body.to_string()) };
        self.send(method, path, Some(&self.token), body).await
    }

    /// Returns the audited API changes in order, except triggers and logins. Each row must contain the client address.
    pub(crate) async fn deeds(&self) -> Vec<String> {
        let mut rows = AUDIT.rows(&mut self.db().await, &newest(1_000)).await.expect("the log can be read");
        rows.reverse();
        assert!(rows.iter().all(|row| row.actor == ADMIN && row.extra.as_ref().is_some_and(|e| e["from"].is_string())));
        let rows = rows.into_iter().filter(|row| !["trigger_dag_run", "log_in"].contains(&row.event.as_str()));
        rows.map(|row| {
            let names = [row.dag_id, row.run_id, row.task_id];
            [vec![row.event], names.into_iter().flatten().collect()].concat().join(" ")
        })
        .collect()
    }

    /// Triggers a run of `dag_id`, which must succeed. Returns the run id.
    pub(crate) async fn trigger(&self, dag_id: &str) -> String {
        let path = format!("/api/v2/dags/{dag_id}/dagRuns");
        let answer = self.post(&path, &json!({ "logical_date": null })).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body["dag_run_id"].as_str().expect("a run id").into()
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<String>,
    ) -> JsonReply {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.header("content-type", "application/json");
        self.answer(request.body(Body::from(body.unwrap_or_default())).expect("a request")).await
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> JsonReply {
        let Bytes { status, headers, bytes } = self.bytes(request).await;
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        JsonReply { status, headers, body }
    }

    /// Sends a request without waiting for the whole body of the response.
    pub(crate) async fn open(&self, request: Request<Body>) -> axum::response::Response {
        self.router.clone().oneshot(request).await.expect("a router never fails")
    }

    pub(crate) async fn bytes(&self, request: Request<Body>) -> Bytes {
        let (parts, body) = self.open(request).await.into_parts();
        // An event stream has no end to wait for.
        let is_stream = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = if is_stream { Body::empty() } else { body };
        let bytes = read_body(body).await.expect("the body can be read");
        Bytes { status: parts.status, headers: parts.headers, bytes: bytes.to_vec() }
    }
}

#[expect(clippy::disallowed_methods, reason = "it has a limit")]
pub(crate) async fn read_body(body: Body) -> Result<axum::body::Bytes, axum::Error> {
    axum::body::to_bytes(body, 128 << 20).await
}

pub(crate) fn dag(spec: Value) -> Arc<DagSpec> {
    Arc::new(serde_json::from_value(spec).expect("a spec"))
}

pub(crate) fn chain(dag_id: &str, tasks: usize) -> Arc<DagSpec> {
    let task = |i: usize| {
        let after = if i == 0 { json!([]) } else { json!([format!("t{}", i - 1)]) };
        json!({ "task_id": format!("t{i}"), "kind": "rust", "after": after, "retries": 2 })
    };
    let aliases = if dag_id == "chain" { json!(["old_chain"]) } else { json!([]) };
    dag(json!({ "dag_id": dag_id, "aliases": aliases, "tags": ["x"], "owners": ["ada"],
        "tasks": (0..tasks).map(task).collect::<Vec<_>>() }))
}

fn params() -> Arc<DagSpec> {
    let schema = json!({ "type": "object", "required": ["table", "limit"], "properties": {
        "table": { "type": "string" }, "limit": { "type": "integer", "default": 10 } } });
    dag(json!({ "dag_id": "params", "params_schema": schema, "tasks": [{ "task_id": "a", "kind": "rust" }],
        "schedule": { "cron": { "expression": "0 2 * * *", "timezone": "UTC" } } }))
}

fn mapped() -> Arc<DagSpec> {
    dag(json!({ "dag_id": "mapped", "tasks": [
        { "task_id": "list", "kind": "rust", "owner": "grace" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "value": [1, 2, 3] } } },
        { "task_id": "later", "kind": "rust", "map": { "each": { "output": "list" } } } ] }))
}
