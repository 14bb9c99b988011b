//! A REST catalog inside the test process, with its warehouse and a folder outside the warehouse.

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use iceberg::spec::{PrimitiveType, Type};
use orch_lake::bucket::Options;
use orch_lake::{Lake, LakeConfig, TableDef, TableName};
use orch_lake_rest::{GivenKeys, Means, router};
use orch_store::MIGRATOR;
use orch_store::hint::Hints;
use orch_test_support::TestDb;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tower::ServiceExt as _;

pub(crate) const TABLE: &str = "retail.orders";
pub(crate) const LONG: Type = Type::Primitive(PrimitiveType::Long);

pub(crate) struct World {
    pub(crate) lake: Lake,
    db: TestDb,
    folder: TempDir,
    router: Router,
}

impl World {
    pub(crate) async fn new(keys: GivenKeys) -> World {
        World::with(keys, "", Options::default()).await
    }

    /// Starts a catalog with this warehouse. If `warehouse` is empty, uses a temporary folder.
    pub(crate) async fn with(keys: GivenKeys, warehouse: &str, storage: Options) -> World {
        let (db, folder) = (TestDb::new(&MIGRATOR).await, tempfile::tempdir().unwrap());
        for inner in ["wh", "wh-evil", "outside"] {
            std::fs::create_dir(folder.path().join(inner)).unwrap();
            std::fs::write(folder.path().join(inner).join("secret.key"), "a secret").unwrap();
        }
        std::fs::remove_file(folder.path().join("wh/secret.key")).unwrap();
        let own = format!("file://{}/wh", folder.path().display());
        let warehouse = if warehouse.is_empty() { own } else { warehouse.to_owned() };
        let config = LakeConfig { catalog: db.pool(), name: "orch".into(), warehouse, storage };
        let lake = Lake::open(config).unwrap();
        for role in ["viewer", "op", "admin"] {
            let add = "with person as (insert into api_user (name, password_hash, role)
                    values ('ann ' || $1, 'none', $1) returning name, generation)
                insert into api_token (token_hash, user_name, name, generation, created_at, scope)
                select sha256(convert_to($1, 'utf8')), name, 'a notebook', generation, now(), 'all' from person";
            sqlx::query(add).bind(role).execute(&mut db.connect().await).await.unwrap();
        }
        let (pool, hints) = (db.pool(), Hints::new());
        let means = Means { lake: lake.clone(), pool, hints, is_behind_web: false, keys };
        let router = router(means).await.unwrap();
        World { lake, db, folder, router }
    }

    pub(crate) fn warehouse(&self) -> String {
        format!("file://{}/wh", self.folder.path().display())
    }

    pub(crate) fn outside(&self) -> String {
        format!("file://{}/outside", self.folder.path().display())
    }

    /// Opens a lake whose catalog has another name in the same database, like that of another installation.
    pub(crate) fn lake_at(&self, warehouse: &str, name: &str) -> Lake {
        let (catalog, storage) = (self.db.pool(), Options::default());
        Lake::open(LakeConfig { catalog, name: name.into(), warehouse: warehouse.into(), storage }).unwrap()
    }

    /// Sends a request with the token of a user with this role.
    pub(crate) async fn send(&self, method: &str, path: &str, role: &str, body: &Value) -> (StatusCode, Value) {
        self.send_with(method, path, role, body, &[]).await
    }

    pub(crate) async fn send_with(
        &self,
        method: &str,
        path: &str,
        role: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("authorization", format!("Bearer {role}")).header("user-agent", "a client");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status();
        #[expect(clippy::disallowed_methods, reason = "it has a limit")]
        let text = to_bytes(response.into_body(), 1 << 24).await.unwrap();
        (status, serde_json::from_slice(&text).unwrap_or(Value::Null))
    }

    pub(crate) fn outside_files(&self) -> Vec<String> {
        World::files_of(&self.outside())
    }

    /// Returns the paths of all files in a folder, sorted.
    pub(crate) fn files_of(location: &str) -> Vec<String> {
        fn files(folder: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => files(&path, found),
                    path => found.push(path.display().to_string()),
                }
            }
        }
        let mut found = Vec::new();
        files(Path::new(location.trim_start_matches("file://")), &mut found);
        found.sort();
        found
    }

    /// Returns actor, event and extra of each audit log entry, in order.
    pub(crate) async fn all_audited(&self) -> Vec<(String, String, Value)> {
        let select = "select actor, event, extra::text from audit order by id";
        let rows: Vec<(String, String, String)> =
            sqlx::query_as(select).fetch_all(&mut self.db.connect().await).await.unwrap();
        rows.into_iter().map(|(actor, event, extra)| (actor, event, extra.parse().unwrap())).collect()
    }

    pub(crate) async fn audited(&self, event: &str) -> Vec<Value> {
        let all = self.all_audited().await.into_iter();
        all.filter(|(_, found, _)| found == event).map(|(.., extra)| extra).collect()
    }
}

pub(crate) fn named(name: &str) -> TableName {
    name.parse().unwrap()
}

pub(crate) fn schema() -> TableDef {
    TableDef::new().optional("id", LONG)
}

pub(crate) fn view_schema() -> Value {
    json!({ "type": "struct", "schema-id": 0, "fields": [{ "id": 1, "name": "id", "required": false, "type": "long" }] })
}

pub(crate) fn view_version() -> Value {
    let sql = json!({ "type": "sql", "sql": "select 1 as id", "dialect": "spark" });
    json!({ "version-id": 1, "schema-id": 0, "timestamp-ms": 1_700_000_000_000_i64, "summary": {},
        "default-namespace": ["retail"], "representations": [sql] })
}

pub(crate) fn rows(count: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    RecordBatch::try_from_iter([("id", ids)]).unwrap()
}
