//! Attacks on the catalog: clients that name files outside of the warehouse, and the role that each route requires.

use crate::client::{JSON, Login, Reply};
use crate::installation::Installation;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Each route of the catalog with the lowest role that may use it.
const RIGHTS: &str = include_str!("catalog_rights.txt");
const SECRET: &str = "canary-7d02aa";
/// Folders that the test creates beside the warehouse `data/lake`.
const OUTSIDE: [&str; 3] = ["outside", "data/outside", "data/lake-evil"];
/// Hostile names of namespaces, tables and views.
const NAMES: [&str; 7] = [
    "..",
    "%2e%2e",
    "..%2F..%2Foutside",
    "%2Fetc%2Fpasswd",
    "orders%2F..%2F..%2F..%2Foutside",
    "orders%00",
    "%1F..%1Foutside",
];

/// Files that no route may read, change or delete.
struct Canaries {
    home: PathBuf,
    before: BTreeMap<PathBuf, (Vec<u8>, FileState)>,
    entries: Vec<PathBuf>,
    /// True if the file system updates access times, so that a read of a canary is detected.
    records_reads: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct FileState {
    accessed: SystemTime,
    modified: SystemTime,
}

fn state(path: &Path) -> FileState {
    let metadata = fs::metadata(path).unwrap();
    FileState { accessed: metadata.accessed().unwrap(), modified: metadata.modified().unwrap() }
}

/// Sets the access time before the modification time: with `relatime`, the next read updates it.
fn forget_reads(path: &Path) {
    let days = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_hours(24 * days);
    let times = FileTimes::new().set_accessed(days(1)).set_modified(days(2));
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

fn sorted_entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

impl Canaries {
    fn plant(home: &Path, metadata: &Value) -> Canaries {
        let mut before = BTreeMap::new();
        for folder in OUTSIDE.map(|folder| home.join(folder)) {
            fs::create_dir_all(folder.join("metadata")).unwrap();
            let mut metadata = metadata.clone();
            metadata["location"] = json!(format!("file://{}", folder.display()));
            metadata["properties"]["canary"] = json!(SECRET);
            for (name, content) in
                [("secret.key", SECRET.to_owned()), ("metadata/00001-a.metadata.json", metadata.to_string())]
            {
                let path = folder.join(name);
                fs::write(&path, &content).unwrap();
                before.insert(path, content.into_bytes());
            }
        }
        let control = home.join("control");
        fs::write(&control, "").unwrap();
        forget_reads(&control);
        let unread = state(&control);
        fs::read(&control).unwrap();
        let records_reads = state(&control) != unread;
        let before = before.into_iter().map(|(path, content)| {
            forget_reads(&path);
            let state = state(&path);
            (path, (content, state))
        });
        let before = before.collect();
        Canaries { home: home.to_owned(), before, entries: Canaries::entries(home), records_reads }
    }

    /// Lists the entries of the folders beside and above the warehouse.
    fn entries(home: &Path) -> Vec<PathBuf> {
        let mut entries = [sorted_entries(home), sorted_entries(&home.join("data"))].concat();
        for folder in OUTSIDE.map(|folder| home.join(folder)) {
            entries.extend([sorted_entries(&folder), sorted_entries(&folder.join("metadata"))].concat());
        }
        entries
    }

    fn assert_untouched(&self) {
        assert_eq!(Canaries::entries(&self.home), self.entries, "files were made or deleted");
        for (path, (content, state_before)) in &self.before {
            let now = state(path);
            assert_eq!(now.modified, state_before.modified, "{} was written", path.display());
            let is_read = self.records_reads && now.accessed != state_before.accessed;
            assert!(!is_read, "{} was read", path.display());
            assert_eq!(&fs::read(path).unwrap(), content, "{}", path.display());
            forget_reads(path);
        }
    }

    fn hostile_paths(&self) -> Vec<String> {
        let home = self.home.display();
        let file = "metadata/00001-a.metadata.json";
        let mut paths = vec![
            format!("file://{home}/outside/secret.key"),
            format!("file://{home}/outside/{file}"),
            format!("file:{home}/outside/{file}"),
            format!("{home}/outside/{file}"),
            format!("FILE://{home}/outside/{file}"),
            format!("file://localhost{home}/outside/{file}"),
            format!("file://{home}/data/lake/../outside/{file}"),
            format!("file://{home}/data/lake/%2e%2e/outside/{file}"),
            format!("file://{home}/data/lake/..%2foutside/{file}"),
            format!("file://{home}/data/lake/a/../../outside/{file}"),
            format!("file://{home}/data/lake/..\\outside/{file}"),
            format!("file://{home}/data/lake-evil/{file}"),
            format!("data/outside/{file}"),
            format!("../outside/{file}"),
        ];
        for elsewhere in [
            "file:///etc/passwd",
            "file:///proc/self/environ",
            "s3://another/secret.key",
            "gs://another/secret.key",
            "memory:///secret.key",
            "http://127.0.0.1:1/secret.key",
            "file://",
            "/",
            "",
        ] {
            paths.push(elsewhere.into());
        }
        paths
    }
}

fn schema() -> Value {
    json!({ "type": "struct", "schema-id": 0, "fields": [{ "id": 1, "name": "id", "required": false, "type": "long" }] })
}

fn view_version() -> Value {
    let sql = json!({ "type": "sql", "sql": "select 1 as id", "dialect": "spark" });
    json!({ "version-id": 1, "schema-id": 0, "timestamp-ms": 1_700_000_000_000_i64, "summary": {},
        "default-namespace": ["retail"], "representations": [sql] })
}

/// Returns changes of a table that name `path`.
fn table_updates(path: &str) -> Vec<Value> {
    let file = json!({ "snapshot-id": 1, "statistics-path": path, "file-size-in-bytes": 1,
        "file-footer-size-in-bytes": 1, "blob-metadata": [] });
    let snapshot = json!({ "snapshot-id": 1, "sequence-number": 1, "timestamp-ms": 1_700_000_000_000_i64,
        "manifest-list": path, "summary": { "operation": "append" }, "schema-id": 0 });
    let mut updates = vec![
        json!({ "action": "set-location", "location": path }),
        json!({ "action": "set-statistics", "statistics": file }),
        json!({ "action": "set-partition-statistics",
            "partition-statistics": { "snapshot-id": 1, "statistics-path": path, "file-size-in-bytes": 1 } }),
        json!({ "action": "add-snapshot", "snapshot": snapshot }),
    ];
    updates.extend(
        ["write.metadata.path", "write.data.path", "write.object-storage.path", "write.folder-storage.path"]
            .map(|property| json!({ "action": "set-properties", "updates": { property: path } })),
    );
    updates
}

/// Returns request bodies that name `path`, or nothing if the route takes no body.
///
/// # Panics
/// Panics if the route is new.
fn bodies(route: &str, path: &str) -> Vec<Value> {
    let new = || json!({ "name": "new", "location": null, "schema": schema(), "view-version": view_version(), "properties": {} });
    let located = |properties: Value, location: Option<&str>| {
        let mut body = new();
        (body["properties"], body["location"]) = (properties, json!(location));
        body
    };
    let of_orders = json!({ "namespace": ["retail"], "name": "orders" });
    match route {
        "/v1/namespaces" => vec![json!({ "namespace": [path] }), json!({ "namespace": ["..", path] })],
        "/v1/namespaces/{namespace}/properties" => vec![json!({ "updates": { "location": path } })],
        "/v1/namespaces/{namespace}/tables" => {
            let mut all = vec![located(json!({}), Some(path)), located(json!({ "write.data.path": path }), None)];
            let staged = all.iter().cloned().map(|mut body| {
                body["stage-create"] = json!(true);
                body
            });
            all.extend(staged.collect::<Vec<_>>());
            let mut named = new();
            named["name"] = json!(path);
            all.push(named);
            all
        }
        "/v1/namespaces/{namespace}/views" => {
            vec![located(json!({}), Some(path)), located(json!({ "write.metadata.path": path }), None)]
        }
        "/v1/namespaces/{namespace}/register" => [false, true]
            .map(|overwrite| json!({ "name": "orders", "metadata-location": path, "overwrite": overwrite }))
            .into_iter()
            .chain([json!({ "name": "new", "metadata-location": path })])
            .collect(),
        "/v1/namespaces/{namespace}/register-view" => vec![json!({ "name": "new", "metadata-location": path })],
        "/v1/namespaces/{namespace}/tables/{table}" => {
            let updates = table_updates(path).into_iter();
            updates.map(|update| json!({ "requirements": [], "updates": [update] })).collect()
        }
        "/v1/transactions/commit" => {
            let changes = table_updates(path).into_iter().map(|update| {
                json!({ "table-changes": [{ "identifier": of_orders, "requirements": [], "updates": [update] }] })
            });
            changes.collect()
        }
        "/v1/namespaces/{namespace}/views/{view}" => {
            let updates = [
                json!({ "action": "set-location", "location": path }),
                json!({ "action": "set-properties", "updates": { "write.metadata.path": path } }),
            ];
            updates.into_iter().map(|update| json!({ "requirements": [], "updates": [update] })).collect()
        }
        "/v1/namespaces/{namespace}/tables/{table}/metrics" => {
            vec![json!({ "report-type": "scan-report", "table-name": path, "snapshot-id": 1 })]
        }
        "/v1/tables/rename" | "/v1/views/rename" => vec![
            json!({ "source": of_orders, "destination": { "namespace": [".."], "name": path } }),
            json!({ "source": { "namespace": ["retail"], "name": path }, "destination": of_orders }),
        ],
        route => panic!("`{route}` takes a body: add one that names a path"),
    }
}

/// Returns true for requests that may succeed, because the server stores the path as text and does not open it.
fn is_text_only(route: &str) -> bool {
    route.ends_with("/properties") || route.ends_with("/metrics") || route == "/v1/namespaces"
}

/// Returns the method and path of each route that the catalog lists.
async fn routes(installation: &Installation, login: &Login) -> Vec<(String, String)> {
    let config = installation.get("/catalog/v1/config", login).await.json();
    let endpoints = config["endpoints"].as_array().unwrap_or_else(|| panic!("{config}"));
    let routes = endpoints.iter().map(|endpoint| {
        let (method, path) = endpoint.as_str().unwrap().split_once(' ').unwrap();
        (method.to_owned(), path.replace("/{prefix}", ""))
    });
    let routes: Vec<_> = routes.collect();
    assert!(routes.len() > 20, "{routes:?}");
    routes
}

fn filled(path: &str, names: [&str; 3]) -> String {
    let [namespace, table, view] = names;
    let path = path.replace("{namespace}", namespace).replace("{table}", table).replace("{view}", view);
    format!("/catalog{path}")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_of_the_catalog_touches_a_file_outside_of_the_warehouse() {
    let mut installation = Installation::start().await;
    let op = installation.add_user("op").await;
    let send = async |method: &str, path: &str, body: &Value| installation.send_json(method, path, &op, body).await;
    let made = send("POST", "/catalog/v1/namespaces", &json!({ "namespace": ["retail"] })).await;
    assert_eq!(made.status, 200, "{made:?}");
    let table = json!({ "name": "orders", "schema": schema() });
    let made = send("POST", "/catalog/v1/namespaces/retail/tables", &table).await;
    assert_eq!(made.status, 200, "{made:?}");
    let metadata = made.json()["metadata"].clone();
    let view = json!({ "name": "seen", "schema": schema(), "view-version": view_version(), "properties": {} });
    let made = send("POST", "/catalog/v1/namespaces/retail/views", &view).await;
    assert_eq!(made.status, 200, "{made:?}");

    let canaries = Canaries::plant(installation.home.path(), &metadata);
    let all = routes(&installation, &op).await;
    for path in canaries.hostile_paths() {
        for (_, route) in all.iter().filter(|(method, _)| method == "POST") {
            for body in bodies(route, &path) {
                let reply = send("POST", &filled(route, ["retail", "orders", "seen"]), &body).await;
                let is_refused = (400..500).contains(&reply.status);
                assert!(is_refused || is_text_only(route) && reply.is_success(), "{route} {body}: {reply:?}");
                assert!(!reply.body.contains(SECRET), "{route} {body}: {reply:?}");
            }
        }
        // The property `location` of a namespace does not move its tables.
        let inside = json!({ "name": "inside", "schema": schema() });
        let reply = send("POST", "/catalog/v1/namespaces/retail/tables", &inside).await;
        let location = reply.json()["metadata"]["location"].as_str().unwrap_or_default().to_owned();
        assert!(
            reply.status == 400 || location.contains("/data/lake/") && !location.contains(".."),
            "{path}: {reply:?}"
        );
        if reply.is_success() {
            let purge = "/catalog/v1/namespaces/retail/tables/inside?purgeRequested=true";
            assert_eq!(send("DELETE", purge, &Value::Null).await.status, 204);
        }
        canaries.assert_untouched();
    }
    for name in NAMES {
        for (method, route) in &all {
            for names in [[name, "orders", "seen"], ["retail", name, name], [name, name, name]] {
                let path = filled(route, names);
                if !path.contains(name) {
                    continue;
                }
                for path in [format!("{path}?purgeRequested=true"), path] {
                    let body = if method == "POST" { json!({}) } else { Value::Null };
                    let reply = installation.ask(method, &path, Some(&op), JSON, body.to_string().as_bytes()).await;
                    assert!(reply.status < 500 && !reply.body.contains(SECRET), "{method} {path}: {reply:?}");
                }
            }
        }
    }
    canaries.assert_untouched();
    // The attacked table is unchanged.
    let loaded = installation.get("/catalog/v1/namespaces/retail/tables/orders", &op).await;
    assert_eq!((loaded.status, &loaded.json()["metadata"]), (200, &metadata), "{loaded:?}");
    let purged = send("DELETE", "/catalog/v1/namespaces/retail/tables/orders?purgeRequested=true", &Value::Null).await;
    assert_eq!(purged.status, 204, "{purged:?}");
    canaries.assert_untouched();
    installation.assert_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_serves_each_route_to_the_roles_of_the_list() {
    let installation = Installation::start().await;
    let admin = installation.log_in("admin").await;
    let mut logins = Vec::new();
    for role in ["viewer", "user", "op"] {
        logins.push((role, installation.add_user(role).await));
    }
    logins.push(("admin", admin.clone()));
    let mut enforced = Vec::new();
    for (method, route) in routes(&installation, &admin).await {
        let path = filled(&route, ["missing", "missing", "missing"]);
        let ask = async |login| -> Reply { installation.ask(&method, &path, login, JSON, b"{}").await };
        let anonymous = ask(None).await;
        assert_eq!(anonymous.status, 401, "{method} {path}: {anonymous:?}");
        let mut lowest = None;
        for (role, login) in &logins {
            let reply = ask(Some(login)).await;
            assert_ne!(reply.status, 401, "{method} {path} for {role}: {reply:?}");
            if reply.status == 403 {
                assert_eq!(lowest, None, "{method} {path} is refused to {role}: {reply:?}");
            } else {
                lowest = lowest.or(Some(*role));
            }
        }
        enforced.push(format!("{} {method} {route}\n", lowest.unwrap_or("nobody")));
    }
    let enforced = enforced.concat();
    assert_eq!(enforced, RIGHTS, "the rights of the catalog differ from `catalog_rights.txt`; it serves:\n{enforced}");
}
