//! Connections, variables and the keys that encrypt them; no output may contain a secret.

use crate::binary::CommandOutput;
use crate::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Values that a user types into the conf of a run are not secrets and are shown unchanged.
pub(crate) const TYPED: &str = "typed-by-a-person";
pub(crate) const PASSWORD: &str = "plänted/p@ssw%rd+1";
/// Interval between samples of the processes.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const API_KEY: &str = "planted-api-key-77";
const TOKEN: &str = "planted token & more";
const FROM_ENVIRONMENT: &str = "planted-in-the-environment";
const NEVER_ASKED_FOR: &str = "planted-never-asked-for";

/// Returns a world with a key for secrets.
pub(crate) async fn world() -> World {
    let mut world = World::new().await;
    world.set("ORCH_SECRET_KEY", world.run(&["secrets", "generate-key"]).done().trim());
    world
}

fn uri() -> String {
    let password = PASSWORD.bytes().fold(String::new(), |url, byte| format!("{url}%{byte:02X}"));
    format!("postgres://me:{password}@db.example.com:5432/sales?api_key={API_KEY}&sslmode=require\n")
}

/// Returns a secret in every encoding in which it may appear.
fn forms(secret: &str) -> Vec<String> {
    let hex = secret.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let percent = |upper: bool, keep: &str| {
        secret.bytes().fold(String::new(), |url, byte| match char::from(byte) {
            sign if sign.is_ascii_alphanumeric() || keep.contains(sign) => format!("{url}{sign}"),
            _ if upper => format!("{url}%{byte:02X}"),
            _ => format!("{url}%{byte:02x}"),
        })
    };
    let json = Value::from(secret).to_string();
    let mut forms = vec![secret.into(), hex.to_uppercase(), hex, json.trim_matches('"').into()];
    forms.extend([percent(true, "-._~"), percent(false, "-._~"), percent(true, "-._~/"), percent(true, "")]);
    for offset in 0..3 {
        let shifted = [vec![0; offset], secret.as_bytes().to_vec()].concat();
        let (first, end) = ((offset * 8_usize).div_ceil(6), shifted.len() * 8 / 6);
        forms.extend([
            STANDARD_NO_PAD.encode(&shifted)[first..end].to_string(),
            URL_SAFE_NO_PAD.encode(&shifted)[first..end].into(),
        ]);
    }
    forms
}

#[track_caller]
pub(crate) fn is_clean(place: &str, text: &str) {
    for secret in [PASSWORD, API_KEY, TOKEN, FROM_ENVIRONMENT, NEVER_ASKED_FOR] {
        for form in forms(secret) {
            if let Some(at) = text.find(&form) {
                let start = text.floor_char_boundary(at.saturating_sub(200));
                panic!(
                    "{place} has {secret:?} as {form:?}: …{}",
                    &text[start..text.ceil_char_boundary(at + form.len())]
                );
            }
        }
    }
}

/// Returns what all users of this machine can read of its processes, and what the same user can read of children.
fn processes() -> String {
    let mut all = String::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let file = |name: &str| std::fs::read(process.path().join(name)).unwrap_or_default();
        let line = String::from_utf8_lossy(&file("cmdline")).into_owned();
        // A process has its initial environment until it executes itself again without secrets.
        if line.contains("run-attempt") || line.contains("the shell is done") {
            all += &String::from_utf8_lossy(&file("environ"));
            all.push('\n');
        }
        all += &line;
        all.push('\n');
    }
    all
}

/// Runs tasks that log, return and raise planted secrets, until the run has finished.
pub(crate) async fn planted() -> World {
    let mut world = world().await;
    world.set("ORCH_VAR_FROM_ENVIRONMENT_SECRET", FROM_ENVIRONMENT);
    world.set("AIRFLOW_CONN_UNUSED", format!("x://me:{NEVER_ASKED_FOR}@h"));
    world.run_with(uri().as_bytes(), &["connections", "add", "planted", "--conn-uri", "-"]).done();
    world.run_with(TOKEN.as_bytes(), &["variables", "set", "planted_token", "-"]).done();
    world.start(&["worker", "--paused-at-creation=false"]);
    world.start(&["scheduler"]);
    world.wait_for(&["dags", "list", "-o", "plain"], |ended| ended.out.contains("test_planted"));
    let conf = format!("{{\"typed\": \"{TYPED}\"}}");
    // A separate thread watches the processes: children live for a shorter time than a command takes.
    let over = Arc::new(AtomicBool::new(false));
    let is_over = over.clone();
    let watching = std::thread::spawn(move || {
        let mut seen = String::new();
        while !is_over.load(Ordering::SeqCst) {
            seen += &processes();
            std::thread::park_timeout(LOOK_AGAIN);
        }
        seen
    });
    world.run(&["dags", "trigger", "test_planted", "--run-id", "it", "--conf", &conf]).done();
    let list = ["dags", "list-runs", "test_planted", "-o", "plain"];
    let ended = world.wait_for(&list, |ended| ended.out.contains("failed"));
    over.store(true, Ordering::SeqCst);
    let seen = watching.join().unwrap();
    is_clean("the list of processes", &seen);
    assert!(seen.contains("run-attempt"), "children were there");
    is_clean("the end", &format!("{ended:?}"));
    world
}

#[tokio::test]
async fn planted_secrets_come_out_nowhere() {
    let world = planted().await;
    let states = world.run(&["tasks", "states-for-dag-run", "test_planted", "it", "-o", "json"]).json();
    let state =
        |task: &str| states.as_array().unwrap().iter().find(|one| one["task_id"] == task).unwrap()["state"].clone();
    let taken = ["give", "take", "take_one"].map(state);
    assert_eq!(taken, ["success"; 3].map(Value::from), "who is given a secret has it as it is: {states}");

    let log = |task: &str, word: &str| {
        let arguments = ["tasks", "logs", "test_planted", task, "it"];
        let ended = world.wait_for(&arguments, |ended| format!("{ended:?}").contains(word));
        let log = format!("{ended:?}");
        is_clean(task, &log);
        log
    };
    for (task, last) in [
        ("tell", "HOME="),
        ("tell_in_error", "with ***: password authentication failed: postgres://me:***@db"),
        ("tell_in_panic", "it panicked: cannot log in with ***"),
        ("tell_in_child", "it panicked: the child cannot log in with ***"),
    ] {
        let log = log(task, last);
        assert!(log.contains("all of it was said") && log.matches("***").count() > 20, "{log}");
    }
    assert!(!log("tell", "HOME=").contains("ORCH_SECRET_KEY"), "a body finds no secret of its worker");
    assert!(log("tell_in_child", "it panicked").contains("printed ***"));
    assert!(log("look_around", "the shell is done").contains("ORCH_TASK_ID=look_around"));
    assert!(!log("look_around", "the shell is done").contains("ORCH_SECRET_KEY"));
    assert!(log("miss", "there is no connection `nowhere`").contains("try 1 failed (fatal)"));

    let mut db = world.db().await;
    let tables: Vec<String> = sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
        .fetch_all(&mut db)
        .await
        .unwrap();
    assert!(tables.iter().any(|table| table == "connection"));
    for table in tables {
        let rows = format!("select coalesce(string_agg(t::text, ' '), '') from {table} t");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(&mut db).await.unwrap();
        is_clean(&format!("table {table}"), &rows);
    }
    let dump = Command::new("pg_dump").args(["--dbname", &world.url()]).output().unwrap();
    assert!(dump.status.success(), "{dump:?}");
    let dump = String::from_utf8_lossy(&dump.stdout);
    assert!(dump.contains("db.example.com"), "it is the right database");
    is_clean("a dump of the database", &dump);
    is_clean("what the processes said", &world.said());
    assert!(world.said().contains("cannot log in with ***"), "a panic is told: {}", world.said());

    for shown in [
        &["connections", "list", "-o", "json"][..],
        &["connections", "list", "--show-values", "--hide-sensitive", "-o", "yaml"],
        &["connections", "get", "planted", "-o", "json"],
        &["variables", "list"],
        &["variables", "list", "--show-values", "--hide-sensitive"],
        &["config", "list", "-o", "json"],
        &["connections", "get", "unused"],
    ] {
        let ended = world.run(shown);
        assert_eq!(ended.code, 0, "{ended:?}");
        is_clean(&format!("{shown:?}"), &format!("{ended:?}"));
    }
    let audit: Vec<String> = sqlx::query_scalar(
        "select event || ' ' || extra::text from audit where event in ('add_connection', 'add_variable') order by id",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    assert_eq!(audit.len(), 2, "{audit:?}");
}

fn get(world: &World, id: &str) -> Value {
    world.run(&["connections", "get", id, "--show-values", "-o", "json"]).json()
}

#[tokio::test]
async fn connections_come_from_files_then_the_environment_then_the_database() {
    let mut world = world().await;
    let add = |world: &World, id: &str, uri: &str| world.run(&["connections", "add", id, "--conn-uri", uri]);
    for id in ["one", "two", "three"] {
        add(&world, id, "x://database").done();
    }
    world.set("ORCH_CONN_ONE", "x://environment");
    world.set("ORCH_CONN_TWO", r#"{"conn_type": "x", "host": "environment"}"#);
    world.set("AIRFLOW_CONN_TWO", "x://airflow");
    world.set("AIRFLOW_VAR_LIMIT", "7");
    let files = world.path().join("connections.yaml");
    std::fs::write(&files, "one: x://file\n").unwrap();
    world.set("ORCH_CONNECTIONS_FILE", files.to_string_lossy());
    let host = |id: &str| get(&world, id)["host"].as_str().unwrap().to_owned();
    assert_eq!([host("one"), host("two"), host("three")], ["file", "environment", "database"]);
    assert_eq!(world.run(&["variables", "get", "limit"]).done(), "7\n");
    assert_eq!(world.run(&["variables", "get", "other", "-d", "8"]).done(), "8\n");
    assert_eq!(
        world.run(&["variables", "get", "other"]).refused(),
        "error: there is no variable `other`\nhint: list all with `orch variables list`\n"
    );
    assert!(
        world.run(&["connections", "get", "nowhere"]).refused().starts_with("error: there is no connection `nowhere`")
    );
    // A broken file does not affect other sources, and is named in the error if no other source has the connection.
    std::fs::write(&files, "one: [hush").unwrap();
    assert_eq!(get(&world, "one")["host"], "environment");
    let refused = world.run(&["connections", "get", "nowhere"]).refused();
    assert!(refused.contains("connections.yaml` cannot be read") || refused.contains("is not YAML"), "{refused}");
    assert!(!refused.contains("hush"), "{refused}");
}

#[tokio::test]
async fn keys_are_rotated_and_a_wrong_key_says_what_to_do() {
    let mut world = World::new().await;
    let key = |world: &World| world.run(&["secrets", "generate-key"]).done().trim().to_owned();
    let (old, new) = (key(&world), key(&world));
    let refused = world.run_with(b"hush", &["variables", "set", "v", "-"]).refused();
    assert!(
        refused.starts_with("error: variable `v` cannot be kept: this process has no key for secrets\nhint: "),
        "{refused}"
    );
    world.run(&["connections", "add", "open", "--conn-type", "http", "--conn-host", "h"]).done();
    world.set("ORCH_SECRET_KEY", &old);
    world.run_with(b"first\nsecond\n", &["variables", "set", "v", "-"]).done();
    assert_eq!(world.run(&["variables", "get", "v"]).done(), "first\nsecond\n");
    world.set("ORCH_SECRET_KEY", &new);
    let refused = world.run(&["variables", "get", "v"]).refused();
    assert!(refused.contains("is sealed with the key") && refused.contains("hint: add that key"), "{refused}");
    assert_eq!(world.run(&["secrets", "rotate"]).code, 2);
    world.set("ORCH_SECRET_KEY", format!("{new},{old}"));
    let rotated = world.run(&["secrets", "rotate"]);
    assert!(rotated.err.starts_with("0 connections and 1 variable are now sealed with the key"), "{rotated:?}");
    world.set("ORCH_SECRET_KEY", &new);
    assert_eq!(world.run(&["variables", "get", "v"]).done(), "first\nsecond\n");
    world.set("ORCH_SECRET_KEY", "hush");
    let refused = world.run(&["variables", "list"]).refused();
    assert!(refused.contains("key 1 for secrets is not 32 bytes in base64: it is from `ORCH_SECRET_KEY`"), "{refused}");
}

fn write(path: &Path, text: &str) -> String {
    std::fs::write(path, text).unwrap();
    path.to_string_lossy().into_owned()
}

#[tokio::test]
async fn exports_go_to_and_fro_in_every_format() {
    let (world, other) = (world().await, world().await);
    world
        .run_with(uri().as_bytes(), &["connections", "add", "sales", "--conn-uri", "-", "--conn-description", "d"])
        .done();
    let whole = r#"{"conn_type": "google-cloud", "extra": {"keyfile_dict": {"private_key": "a\nb"}, "n": 1}}"#;
    world.run_with(whole.as_bytes(), &["connections", "add", "lake", "--conn-json", "-"]).done();
    let password = ["connections", "add", "pw", "--conn-type", "x", "--conn-login", "me", "--conn-password", "-"];
    world.run_with(b"s3cret\n", &password).done();
    assert!(
        world
            .run(&["connections", "add", "pw", "--conn-type", "x"])
            .refused()
            .contains("there is a connection `pw` already")
    );
    assert!(world.run(&["connections", "add", "a/b", "--conn-type", "x"]).refused().contains("connection id"));
    assert!(world.run(&["connections", "add", "x"]).refused().contains("has no type"));
    let before = ["sales", "lake", "pw"].map(|id| get(&world, id));
    assert_eq!(before[0]["password"], PASSWORD);
    for (name, more) in [
        ("c.json", &[][..]),
        ("c.yaml", &[]),
        ("c.env", &[]),
        ("d.env", &["--serialization-format", "json"]),
        ("e.txt", &["--file-format", "yaml"]),
    ] {
        let path = world.path().join(name);
        let file = path.to_string_lossy().into_owned();
        world.run(&[&["connections", "export", &file], more].concat()).done();
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "nobody else reads {name}");
        let ending =
            path.with_extension(if name == "e.txt" { "yaml" } else { path.extension().unwrap().to_str().unwrap() });
        std::fs::rename(&path, &ending).unwrap();
        other.run(&["connections", "import", &ending.to_string_lossy(), "--overwrite"]).done();
        let mut after = ["sales", "lake", "pw"].map(|id| get(&other, id));
        if name == "c.env" {
            after[0]["description"] = json!("d"); // a URI has none
        }
        assert_eq!(after, before, "{name}");
    }
    let again = other.run(&["connections", "import", &world.path().join("c.json").to_string_lossy()]);
    assert!(again.err.contains("imported 0 of 3 connections"), "{again:?}");

    world.run(&["variables", "set", "limit", "42", "--description", "rows"]).done();
    world.run(&["variables", "set", "--json", "table", r#"{"value": [1, 2]}"#]).done();
    world.run(&["variables", "set", "text", "\"quoted\""]).done();
    assert!(world.run(&["variables", "set", "--json", "x", "{"]).refused().contains("not JSON"));
    let file = world.path().join("v.json").to_string_lossy().into_owned();
    world.run(&["variables", "export", &file]).done();
    other.run(&["variables", "import", &file]).done();
    let list = |world: &World| world.run(&["variables", "list", "--show-values", "-o", "json"]).json();
    let mut before = list(&world);
    before[2]["val"] = json!("\"quoted\"");
    assert_eq!(list(&other).as_array().unwrap().len(), 3);
    assert_eq!(other.run(&["variables", "get", "limit"]).done(), "42\n");
    assert_eq!(other.run(&["variables", "get", "text"]).done(), "\"quoted\"\n");
    assert_eq!(list(&other)[0]["description"], "rows");
    let refused = other.run(&["variables", "import", &file, "-a", "fail"]).refused();
    assert!(refused.starts_with("error: these variables are there already: limit, table, text"), "{refused}");
    let skipped = other.run(&["variables", "import", &file, "-a", "skip"]);
    assert!(skipped.err.starts_with("imported 0 of 3 variables"), "{skipped:?}");
    // The format of Airflow's export.
    let airflow = r#"{"af": {"conn_type": "postgres", "description": null, "login": "me", "password": "p w", "host": "h",
        "port": 5432, "schema": "s", "extra": "{\"sslmode\": \"require\"}"}}"#;
    other.run(&["connections", "import", &write(&world.path().join("af.json"), airflow)]).done();
    assert_eq!(get(&other, "af")["get_uri"], "postgres://me:p%20w@h:5432/s?sslmode=require");
    other.run(&["connections", "delete", "af"]).done();
    assert!(other.run(&["connections", "delete", "af"]).refused().starts_with("error: there is no connection `af`"));
    other.run(&["variables", "delete", "limit"]).done();
    assert!(other.run(&["variables", "delete", "limit"]).refused().starts_with("error: there is no variable `limit`"));
}

/// Starts a vault with two secrets on a port of this machine.
async fn vault() -> String {
    use axum::extract::{Path, Request};
    use axum::http::StatusCode;
    use axum::{Router, routing};
    let answer = async |Path((folder, name)): Path<(String, String)>, request: Request| {
        if request.headers().get("x-vault-token").is_none_or(|token| token != "planted-vault-token") {
            return (StatusCode::FORBIDDEN, String::new());
        }
        let data = match (folder.as_str(), name.as_str()) {
            ("connections", "uri") => json!({ "conn_uri": "x://vault?a=b" }),
            ("connections", "parts") => json!({ "conn_type": "x", "host": "parts", "extra": "{\"n\": 1}" }),
            ("connections", "broken") => json!({ "conn_uri": "hush" }),
            ("connections", "later") => return (StatusCode::SERVICE_UNAVAILABLE, String::new()),
            ("variables", "my key") => json!({ "value": "from the vault" }),
            _ => return (StatusCode::NOT_FOUND, json!({ "errors": [] }).to_string()),
        };
        (StatusCode::OK, json!({ "data": { "data": data, "metadata": { "version": 1 } } }).to_string())
    };
    let routes = Router::new().route("/v1/kv/data/{folder}/{name}", routing::get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = listener.into_std().unwrap();
        runtime.block_on(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), routes).await.unwrap();
        });
    });
    url
}

#[tokio::test]
async fn a_vault_is_asked_first_and_its_failures_are_named_without_the_token() {
    let mut world = world().await;
    let url = vault().await;
    world.run(&["connections", "add", "later", "--conn-uri", "x://database"]).done();
    world.set("ORCH_VAULT_URL", &url);
    let refused = world.run(&["connections", "get", "uri"]).refused();
    assert!(refused.contains("`vault_url` from ORCH_VAULT_URL is set, but `vault_token` is not"), "{refused}");
    world.set("ORCH_VAULT_TOKEN", "planted-vault-token");
    world.set("ORCH_VAULT_MOUNT", "kv");
    assert_eq!(
        (&get(&world, "uri")["host"], &get(&world, "uri")["extra_dejson"]),
        (&json!("vault"), &json!({ "a": "b" }))
    );
    assert_eq!(
        (&get(&world, "parts")["host"], &get(&world, "parts")["extra_dejson"]["n"]),
        (&json!("parts"), &json!(1))
    );
    assert_eq!(world.run(&["variables", "get", "my key"]).done(), "from the vault\n");
    assert_eq!(get(&world, "later")["host"], "database", "who fails is passed over");
    let refused = |ended: CommandOutput| {
        let words = ended.refused();
        assert!(!words.contains("planted") && !words.contains("hush"), "{words}");
        words
    };
    assert!(
        refused(world.run(&["connections", "get", "nowhere"])).starts_with("error: there is no connection `nowhere`")
    );
    assert!(
        refused(world.run(&["connections", "get", "broken"])).contains("the URI of connection `broken` has no `://`")
    );
    world.run(&["connections", "delete", "later"]).done();
    assert!(
        refused(world.run(&["connections", "get", "later"])).contains("it responded with status 503: try again later")
    );
    world.set("ORCH_VAULT_TOKEN", "planted-wrong-token");
    assert!(refused(world.run(&["connections", "get", "uri"])).contains("it refuses the token"));
    world.set("ORCH_VAULT_URL", "http://127.0.0.1:1");
    assert!(refused(world.run(&["connections", "get", "uri"])).contains("it does not respond"));
}

#[tokio::test]
async fn what_the_binary_brings_is_found_last_and_shown_with_where_it_is_from() {
    let mut world = world().await;
    world.set("TEST_BRINGS_CONNECTIONS", "yes");
    let list = |world: &World| world.run(&["connections", "list", "-o", "json"]).json();
    let brought = json!([{ "conn_id": "test_lake", "conn_type": "lake", "from": "the defaults of this binary" }]);
    assert_eq!(list(&world), brought);
    let shown = world.run(&["connections", "list", "--show-values", "--hide-sensitive", "-o", "json"]);
    assert!(shown.out.contains("catalog") && !shown.out.contains("hunter2"), "{shown:?}");
    let found = world.run(&["connections", "get", "test_lake", "-o", "json"]);
    assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    assert_eq!(found.json()["from"], "the defaults of this binary");
    let schema = get(&world, "test_lake")["schema"].as_str().unwrap().to_owned();
    assert!(schema.ends_with("/lake") && schema.contains(&*world.path().to_string_lossy()), "{schema}");

    world.start(&["worker", "--lease", "2s", "--paused-at-creation=false"]);
    world.start(&["scheduler"]);
    world.wait_for(&["dags", "list", "-o", "plain"], |ended| ended.out.contains("test_counting"));
    assert_eq!(world.run(&["dags", "trigger", "test_counting", "--run-id", "one", "--wait"]).code, 0);
    let said = |ended: &crate::binary::CommandOutput| ended.out.contains("1,200,000 rows, 34.5 MB");
    world.wait_for(&["tasks", "logs", "test_counting", "count_rows", "one"], said);

    // Every other source overrides the connections of the binary.
    world.run(&["connections", "add", "test_lake", "--conn-uri", "x://database"]).done();
    assert_eq!(
        (get(&world, "test_lake")["host"].as_str(), get(&world, "test_lake")["from"].as_str()),
        (Some("database"), Some("the database"))
    );
    assert_eq!(list(&world)[0]["from"], "the database");
    assert_eq!(list(&world).as_array().unwrap().len(), 1);
    world.set("ORCH_CONN_TEST_LAKE", "x://environment");
    assert_eq!(get(&world, "test_lake")["from"], "the environment");
}
