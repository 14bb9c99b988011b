//! airflowctl, the command line of Airflow's API, against orch: its models must accept every response. It is installed
//! once, below the target folder; without Python or the package index the test fails with the command that is missing.

use crate::binary::run;
use crate::remote::PASSWORD;
use crate::standalone::Standalone;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "apache-airflow-ctl==0.1.5";

/// Arguments, and a part of the expected output. `{orders}` and `{archive}` are replaced by the ids of an asset and of
/// an alias.
type Row = (&'static [&'static str], &'static str);

/// Commands in order: each one needs the results of the previous ones.
const DONE: &[Row] = &[
    (&["auth", "list-envs"], "\"status\": \"authenticated\""),
    (&["version"], "'airflowctl_version': '0.1.5'"),
    (&["version", "--remote"], "'git_version'"),
    (&["config", "list"], "\"name\": \"orch\""),
    (&["config", "get", "orch", "port"], "\"key\": \"port\""),
    (&["config", "lint"], "No issues found"),
    (&["jobs", "list"], "WorkerJob"),
    (&["jobs", "list", "--job-type", "SchedulerJob", "--is-alive"], "SchedulerJob"),
    (&["plugins", "list"], "[]"),
    (&["plugins", "list-import-errors"], "[]"),
    (&["providers", "list"], "[]"),
    (&["dags", "list"], "\"dag_id\": \"example_chain\""),
    (&["dags", "list", "-o", "yaml"], "dag_id: example_chain"),
    (&["dags", "list", "-o", "plain"], "example_chain"),
    (&["dags", "get", "example_chain", "-o", "table"], "dag"),
    (&["dags", "get", "example_chain"], "\"dag_id\": \"example_chain\""),
    (&["dags", "get-details", "example_chain"], "\"latest_dag_version\""),
    (&["dags", "get-details", "example_asset_consumer"], "\"asset_expression\""),
    (&["dags", "get-details", "example_params"], "\"params\""),
    (&["dags", "get-version", "example_chain", "1"], "\"version_number\": \"1\""),
    (&["dags", "list-version", "example_chain"], "\"version_number\": \"1\""),
    (&["dags", "list-import-errors"], "["),
    (&["dags", "list-warning"], "[]"),
    (&["dags", "next-execution", "example_hello"], "\"next_dagrun_run_after\""),
    (&["dags", "next-execution", "example_chain"], "No upcoming run scheduled"),
    (&["dags", "pause", "example_chain"], "Dag pause successful example_chain"),
    (&["dags", "unpause", "example_chain"], "Dag unpause successful example_chain"),
    (&["dags", "update", "example_chain", "--is-paused"], "\"is_paused\": \"True\""),
    (&["dags", "update", "example_chain", "--no-is-paused"], "\"is_paused\": \"False\""),
    // A bug of airflowctl: it splits the id into a list of letters.
    (&["dags", "get-stats", "example_chain"], "[]"),
    (&["dags", "trigger", "example_chain", "--dag-run-id", "second", "--note", "hi"], "\"note\": \"hi\""),
    (&["dags", "trigger", "example_chain", "--logical-date", "2024-01-01T00:00:00Z"], "2024-01-01T00:00:00Z"),
    (&["dagrun", "get", "example_chain", "first"], "\"state\": \"success\""),
    (&["dagrun", "list", "--limit", "10"], "\"dag_run_id\""),
    (&["dagrun", "list", "--limit", "10", "--dag-id", "example_chain", "--state", "success"], "\"first\""),
    (&["xcom", "list", "example_chain", "first", "step_3"], "\"return_value\""),
    (&["xcom", "get", "example_chain", "first", "step_3", "return_value"], "\"value\": \"3\""),
    (&["xcom", "add", "example_chain", "first", "step_3", "by-hand", "{\"a\": 1}"], "\"key\": \"by-hand\""),
    (&["xcom", "edit", "example_chain", "first", "step_3", "by-hand", "[1]"], "\"value\": [\"1\"]"),
    (&["xcom", "list", "example_chain", "first", "step_3", "--key", "by-hand"], "\"by-hand\""),
    (&["xcom", "get", "example_chain", "first", "step_3", "by-hand", "--map-index", "-1"], "\"value\": [\"1\"]"),
    (&["xcom", "delete", "example_chain", "first", "step_3", "by-hand"], "\"entity\": \"by-hand\""),
    (&["pools", "create", "--name", "small", "--slots", "3"], "\"slots\": \"3\""),
    (&["pools", "get", "small"], "\"open_slots\": \"3\""),
    (&["pools", "update", "--pool", "small", "--slots", "4", "--description", "x"], "\"slots\": \"4\""),
    (&["pools", "import", "pools.json"], "['imported']"),
    (&["pools", "import", "pools.json", "-a", "skip"], "[]"),
    (&["pools", "export", "exported.json"], "pool(s) to exported.json"),
    (&["pools", "list"], "\"name\": \"imported\""),
    (&["pools", "delete", "small"], "\"entity\": \"small\""),
    (
        &["connections", "create", "--connection-id", "sales", "--conn-type", "postgres", "--password", "hush"],
        "\"password\": \"***\"",
    ),
    (&["connections", "get", "sales"], "\"conn_type\": \"postgres\""),
    (
        &["connections", "update", "--connection-id", "sales", "--conn-type", "mysql", "--host", "db"],
        "\"conn_type\": \"mysql\"",
    ),
    (&["connections", "import", "connections.json"], "Successfully imported ['imported']"),
    (&["connections", "list"], "\"connection_id\": \"imported\""),
    (&["connections", "delete", "sales"], "\"entity\": \"sales\""),
    (&["variables", "create", "--key", "limit", "--value", "42", "--description", "rows"], "\"value\": \"42\""),
    (&["variables", "update", "--key", "limit", "--value", "43"], "\"value\": \"43\""),
    (&["variables", "get", "limit"], "\"is_encrypted\": \"True\""),
    (&["variables", "import", "variables.json"], "Import successful!"),
    // airflowctl requests pages of 50.
    (&["variables", "list"], "\"key\": \"many-059\""),
    (&["variables", "delete", "limit"], "\"entity\": \"limit\""),
    (&["assets", "list"], "\"name\": \"orders\""),
    (&["assets", "get", "{orders}"], "\"uri\": \"example://shop/orders\""),
    (&["assets", "list-by-alias"], "\"name\": \"monthly archive\""),
    (&["assets", "get-by-alias", "{archive}"], "\"name\": \"monthly archive\""),
    (&["assets", "create-event", "--asset-id", "{orders}"], "\"uri\": \"example://shop/orders\""),
    (&["assets", "get-queued-events", "{orders}"], "\"example_asset_consumer\""),
    (&["assets", "get-dag-queued-events", "example_asset_consumer", "2999-01-01T00:00:00Z"], "\"asset_id\""),
    (&["assets", "get-dag-queued-event", "example_asset_consumer", "{orders}"], "\"asset_id\""),
    // Dates without a time zone are in UTC.
    (
        &["backfill", "create", "--dag-id", "example_hello", "--from-date", "2024-01-01", "--to-date", "2024-01-03"],
        "\"from_date\": \"2024-01-01T00:00:00Z\"",
    ),
    (&["backfill", "get", "1"], "\"dag_id\": \"example_hello\""),
    (&["backfill", "list", "example_hello"], "\"to_date\": \"2024-01-03T00:00:00Z\""),
    (&["dags", "delete", "example_retry"], "\"entity\": \"example_retry\""),
];

/// Commands that orch rejects like Airflow, and at the end commands that airflowctl cannot run with any server.
const REFUSED: &[Row] = &[
    (&["dags", "get", "nothing"], "The Dag with ID: `nothing` was not found"),
    (&["dags", "trigger", "nothing"], "The Dag with ID: `nothing` was not found"),
    (&["dags", "get-import-error", "999"], "The ImportError with import_error_id: `999` was not found"),
    (&["dags", "trigger", "example_chain", "--logical-date", "2024-01-01"], "Input should have timezone info"),
    (&["pools", "get", "small"], "The Pool with name: `small` was not found"),
    (&["pools", "import", "pools.json", "-a", "fail"], "'status_code': 409"),
    (&["pools", "list", "--api-token", "nonsense"], "Invalid JWT token"),
    (&["connections", "import", "connections.json", "-a", "fail"], "'status_code': 409"),
    (&["connections", "test", "--connection-id", "c", "--conn-type", "http"], "Testing connections is disabled"),
    (&["variables", "get", "limit"], "The Variable with key: `limit` was not found"),
    (&["variables", "import", "variables.json", "-a", "fail"], "Import failed!"),
    (&["config", "get", "orch", "nothing"], "Option [orch/nothing] not found."),
    (&["assets", "get", "999999"], "The Asset with ID: `999999` was not found"),
    // orch has no sample connections.
    (&["connections", "create-defaults"], "Method Not Allowed"),
    // A bug of airflowctl: it sends an empty limit.
    (&["dagrun", "list"], "unable to parse string as an integer"),
    // A bug of airflowctl: it prints tags as if they were objects.
    (&["dags", "get-tags"], "To tabulate non-dictionary data"),
    // A bug of airflowctl: the run starts, but it cannot print the run.
    (&["assets", "materialize", "{orders}"], "has no attribute 'output'"),
    // A bug of airflowctl: it parses the dates as a backfill.
    (
        &[
            "backfill",
            "create-dry-run",
            "--dag-id",
            "example_hello",
            "--from-date",
            "2024-01-01",
            "--to-date",
            "2024-01-03",
        ],
        "Field required",
    ),
    // A bug of airflowctl: it sends POST where Airflow has PUT.
    (&["backfill", "pause", "1"], "Method Not Allowed"),
    (&["backfill", "unpause", "1"], "Method Not Allowed"),
    (&["backfill", "cancel", "1"], "Method Not Allowed"),
    // A bug of airflowctl: it requests paths that do not exist.
    (&["assets", "delete-queued-events", "{orders}"], "API route not found"),
    (&["assets", "delete-queued-event", "example_asset_consumer", "{orders}"], "API route not found"),
    (&["assets", "delete-dag-queued-events", "example_asset_consumer", "2999-01-01T00:00:00Z"], "API route not found"),
];

/// The program and its working folder. `AIRFLOW_HOME` is a subfolder, because airflowctl reads each JSON file there as
/// a server.
struct Airflowctl {
    program: PathBuf,
    home: PathBuf,
}

impl Airflowctl {
    /// Returns the exit code, and stdout followed by stderr.
    fn ask(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.home).env("AIRFLOW_HOME", self.home.join("airflow"));
        // Debug mode stores tokens in a file. Otherwise they would go to the keyring of the user who runs the tests.
        command.env("AIRFLOW_CLI_DEBUG_MODE", "true").env("AIRFLOW_CLI_API_RETRIES", "1").env("no_proxy", "*");
        command.env_remove("AIRFLOW_CLI_TOKEN").env_remove("AIRFLOW_CLI_ENVIRONMENT");
        let ended = command.output().expect("it runs");
        let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        (ended.status.code(), format!("{out}\n{err}"))
    }

    /// Returns the id of the entry with that name in a list.
    fn id(&self, list: &[&str], name: &str) -> String {
        let (_, said) = self.ask(list);
        let line = said.lines().find(|line| line.starts_with('[')).expect("a list");
        let entries: Vec<Value> = serde_json::from_str(line).expect("JSON");
        let entry = entries.iter().find(|entry| entry["name"] == name).expect("it is listed");
        entry["id"].as_str().expect("an id").to_owned()
    }
}

/// Writes the files that airflowctl imports.
fn write_files(home: &Path) {
    let many: Map<String, Value> = (0..60).map(|number| (format!("many-{number:03}"), json!("1"))).collect();
    for (name, held) in [
        ("pools.json", json!([{ "name": "imported", "slots": 2 }])),
        ("connections.json", json!({ "imported": { "conn_type": "http", "host": "example.com" } })),
        ("variables.json", Value::Object(many)),
    ] {
        std::fs::write(home.join(name), held.to_string()).expect("a file");
    }
}

#[test]
fn airflowctl_accepts_every_answer() {
    let program = orch_test_support::venv("airflowctl", &[PACKAGE]).join("airflowctl");
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let standalone = Standalone::start(home.path(), &["--admin-password", PASSWORD]);
    run(home.path(), ["dags", "trigger", "example_chain", "--run-id", "first", "--wait"]).done();
    let ctl = Airflowctl { program, home: home.path().to_owned() };
    write_files(&ctl.home);

    let sign_in = |word: &'static str, password: &'static str| {
        let to = ["--api-url", standalone.url.as_str(), "--username", "admin", "--password", password];
        let mut arguments = vec!["auth", word];
        arguments.extend(to);
        ctl.ask(&arguments)
    };
    for (word, password, wanted, expected) in [
        ("login", "wrong", 1, "Invalid credentials"),
        ("token", PASSWORD, 0, "eyJ"),
        ("login", PASSWORD, 0, "Login successful!"),
    ] {
        let (code, said) = sign_in(word, password);
        assert!(code == Some(wanted) && said.contains(expected), "{word}: {code:?}: {said}");
    }

    let (orders, archive) =
        (ctl.id(&["assets", "list"], "orders"), ctl.id(&["assets", "list-by-alias"], "monthly archive"));
    let mut wrong = Vec::new();
    for (rows, wanted) in [(DONE, 0), (REFUSED, 1)] {
        for (arguments, expected) in rows {
            let filled = arguments.iter().map(|argument| match *argument {
                "{orders}" => orders.as_str(),
                "{archive}" => archive.as_str(),
                other => other,
            });
            let (code, said) = ctl.ask(&filled.collect::<Vec<_>>());
            if code != Some(wanted) || !said.contains(expected) {
                wrong.push(format!("{arguments:?} ended with {code:?} without `{expected}`:\n{said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (_, said) = ctl.ask(&["dagrun", "list", "--limit", "10", "--dag-id", "example_asset_producer"]);
    assert!(said.contains("asset_materialization"), "the run that it could not print is there: {said}");
}
