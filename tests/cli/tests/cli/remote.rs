//! Commands over the API must have the same output, exit codes and hints as with a database; and errors of the
//! connection.

pub(crate) mod alerts;
mod changes;
mod instances;
mod nouns;
mod versions;

use crate::binary::{CommandOutput, command, plain, run};
use crate::standalone::{Standalone, db_of};
use sqlx::postgres::PgConnection;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A standalone, and a client in another folder with a token for it.
struct World {
    home: TempDir,
    elsewhere: TempDir,
    standalone: Standalone,
    token: String,
}

impl World {
    fn new() -> World {
        World::with_settings("")
    }

    /// Writes `settings` to the settings file, which the server and local commands read.
    fn with_settings(settings: &str) -> World {
        let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
        std::fs::create_dir(home.path().join("data")).unwrap();
        std::fs::write(home.path().join("data/orch.toml"), settings).unwrap();
        let standalone = Standalone::start(home.path(), &["--admin-password", PASSWORD]);
        let token = token(&standalone.url);
        World { home, elsewhere: tempfile::tempdir().unwrap(), standalone, token }
    }

    /// Starts a standalone with a folder of DAG files (name, content). Also returns the folder.
    fn with_dag_files(files: &[(&str, &str)]) -> (World, PathBuf) {
        let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
        let folder = home.path().join("dag-files");
        std::fs::create_dir(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let arguments = ["--admin-password", PASSWORD, "--dags-folder", folder.to_str().unwrap()];
        let standalone = Standalone::start(home.path(), &arguments);
        let token = token(&standalone.url);
        (World { home, elsewhere: tempfile::tempdir().unwrap(), standalone, token }, folder)
    }

    /// Runs a command with a database connection.
    fn local(&self, arguments: &[&str]) -> CommandOutput {
        run(self.home.path(), arguments)
    }

    /// Runs a command over the API, from a folder without a database.
    fn remote(&self, arguments: &[&str]) -> CommandOutput {
        self.with_token(&self.token, arguments)
    }

    fn with_token(&self, token: &str, arguments: &[&str]) -> CommandOutput {
        let mut command = command(self.elsewhere.path());
        command.env("ORCH_API_URL", &self.standalone.url).env("ORCH_API_TOKEN", token).args(arguments);
        let ended = CommandOutput::of(&command.output().unwrap());
        assert!(!format!("{ended:?}").contains(token), "{arguments:?} shows the token");
        ended
    }

    async fn db(&self) -> PgConnection {
        db_of(self.home.path()).await
    }

    /// Asserts that both have the same result, except elapsed times.
    #[track_caller]
    fn both(&self, arguments: &[&str]) -> CommandOutput {
        let (local, remote) = (self.local(arguments), self.remote(arguments));
        assert_eq!(local, remote, "{arguments:?}");
        remote
    }
}

/// Requests a token of the admin with `POST /auth/token`.
pub(crate) fn token(url: &str) -> String {
    token_of(url, "admin")
}

/// Requests a token of a user with the same password.
pub(crate) fn token_of(url: &str, name: &str) -> String {
    let host = url.strip_prefix("http://").unwrap();
    let body = format!("{{\"username\": \"{name}\", \"password\": \"{PASSWORD}\"}}");
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "POST /auth/token HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
        Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body: serde_json::Value = serde_json::from_str(&answer[answer.find('{').unwrap()..]).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

/// Starts a server that is not orch: it sends one response and returns the request that it received.
fn stranger(answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        let asked: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        stream.write_all(answer.as_bytes()).unwrap();
        asked.join("\n")
    });
    (url, asked)
}

#[test]
fn commands_say_the_same_over_the_api() {
    let world = World::new();
    let trigger = ["dags", "trigger", "example_chain", "--run-id", "far", "--conf", "{\"a\": [1]}", "--wait"];
    let ended = world.remote(&trigger);
    assert_eq!(
        (ended.code, plain(&ended.err).as_str()),
        (0, "run `far` of dag `example_chain` ended: success after <duration>\n"),
        "{ended:?}"
    );
    assert!(ended.out.contains("example_chain | far        | success | "), "{ended:?}");
    assert_eq!(world.both(&trigger).code, 2, "its name is taken");
    let dated = ["dags", "trigger", "example_hello", "--logical-date", "2026-02-03T04:05:06.5+01:00", "-o", "json"];
    let dated = world.remote(&dated).json();
    assert_eq!(dated[0]["logical_date"], "2026-02-03T03:05:06.500000+00:00");
    assert_eq!(world.both(&["dags", "trigger", "example_hello", "-l", "2026-02-03T03:05:06.5"]).code, 2);
    assert_eq!(world.both(&["runs", "wait", "example_hello", "2026-02-03T03:05:06.5"]).code, 0);
    let failed = world.remote(&["dags", "trigger", "broken", "--run-id", "bad", "--wait", "-o", "json"]).failed();
    assert!(failed.err.ends_with("`orch tasks states-for-dag-run test_failing bad`\n"), "{failed:?}");
    assert_eq!(world.remote(&["dags", "trigger", "example_fan", "--run-id", "wide", "--wait"]).code, 0);

    world.both(&["dags", "list"]).done();
    world
        .both(&["dags", "list", "--tags", "test", "--columns", "dag_id,tags,schedule,registered_at", "-o", "yaml"])
        .done();
    world.both(&["dags", "list", "--paused", "true", "-o", "plain"]).done();
    assert_eq!(world.both(&["dags", "state", "example_chain", "far"]).done(), "success, {\"a\":[1]}\n");
    assert_eq!(world.both(&["dags", "list-runs", "example_chain", "-o", "json"]).json().as_array().unwrap().len(), 1);
    world.both(&["dags", "list-runs", "example_hello", "--state", "failed"]).done();
    assert!(world.both(&["runs", "list", "--limit", "2", "--no-backfill"]).err.starts_with("there are more runs"));
    world.both(&["runs", "list", "--dag-id", "broken", "--start-date", "2026-01-01", "-o", "json"]).done();
    world.both(&["tasks", "states-for-dag-run", "test_failing", "bad", "-o", "json"]).done();
    assert!(world.both(&["tasks", "states-for-dag-run", "example_fan", "wide", "-o", "json"]).json()[7].is_object());
    assert_eq!(world.both(&["tasks", "state", "example_chain", "step_3", "far"]).done(), "success\n");
    assert_eq!(
        world.both(&["tasks", "state", "example_fan", "double", "wide", "--map-index", "2"]).done(),
        "success\n"
    );
    assert_eq!(world.both(&["runs", "wait", "far"]).code, 0);
    assert_eq!(world.both(&["runs", "wait", "test_failing", "bad"]).code, 1);
    world.both(&["tasks", "list", "example_chain"]).done();
    world.both(&["tasks", "list", "example_fan", "-o", "json"]).done();
    world.both(&["dags", "details", "example_params", "-o", "json"]).done();
    let details = world.both(&["dags", "details", "example_chain", "-o", "json"]).json();
    assert_eq!((&details["runs_success"], &details["is_paused"]), (&1.into(), &false.into()));
}

#[test]
fn mistakes_have_the_same_hints_over_the_api() {
    let world = World::new();
    world.remote(&["dags", "trigger", "example_chain", "--run-id", "far", "--wait"]).done();
    world.remote(&["dags", "trigger", "example_fan", "--run-id", "wide", "--wait"]).done();
    world.local(&["dags", "pause", "example_hello"]).done();
    for mistake in [
        &["dags", "state", "example_chian", "far"][..],
        &["dags", "state", "zzz", "far"],
        &["dags", "state", "no such/name", "far"],
        &["dags", "state", "example_chain", "fra"],
        &["dags", "state", "example_chain", "2001-02-03"],
        &["dags", "state", "example_chain", "a b"],
        &["dags", "trigger", "example_chian"],
        &["dags", "trigger", "example_hello", "--wait"],
        &["dags", "trigger", "example_params", "--conf", "{\"limit\": -1}"],
        &["dags", "trigger", "example_params", "--conf", "{\"limit\": \"x\"}"],
        &["dags", "trigger", "example_chain", "--conf", "[1]"],
        &["tasks", "state", "example_chain", "stepp_3", "far"],
        &["tasks", "state", "example_chain", "step_3", "far", "--map-index", "1"],
        &["tasks", "state", "example_fan", "double", "wide"],
        &["tasks", "state", "example_fan", "double", "wide", "--map-index", "99999"],
        &["runs", "wait", "nobody"],
        &["runs", "wait", "nothing", "nobody"],
    ] {
        world.both(mistake).refused();
    }
    let waited =
        world.remote(&["dags", "trigger", "test_lingering", "--run-id", "long", "--wait", "--timeout", "100ms"]);
    assert_eq!(
        waited.refused(),
        "error: run `long` is running after 0 s\nhint: it is still running: wait again with `orch runs wait test_lingering long`\n"
    );
    let paused = world.remote(&["dags", "trigger", "example_hello"]);
    assert_eq!((paused.code, paused.err.lines().count()), (0, 1), "{paused:?}");
}

#[test]
fn what_the_api_does_not_know_needs_the_database() {
    let world = World::new();
    for asked in ["users create-token -u ada --name ci", "doctor", "db check", "dags reserialize", "jobs check"] {
        let words: Vec<&str> = asked.split(' ').collect();
        let name = match words[..] {
            [one] => one.to_owned(),
            [one, two, ..] => format!("{one} {two}"),
            [] => unreachable!("a command has words"),
        };
        let expected = format!(
            "error: `orch {name}` needs the database: it cannot be done over the API\n\
            hint: leave out what ORCH_API_URL says and name the database with `--database-url`\n"
        );
        assert_eq!(world.remote(&words).refused(), expected, "{asked}");
    }
    // A flag overrides the environment; two flags that contradict each other are an error.
    let url = "postgres://nobody@127.0.0.1:1/none";
    let database = world.remote(&["dags", "list", "--database-url", url]).refused();
    assert!(database.starts_with("error: the database `postgres://nobody@127.0.0.1:1/none`"), "{database}");
    let both = run(world.elsewhere.path(), ["dags", "list", "--database-url", url, "--api-url", "http://127.0.0.1:1"]);
    assert_eq!(
        both.refused(),
        "error: both a database and an API are named\nhint: leave `--database-url` or `--api-url` out\n"
    );
}

#[test]
fn a_server_that_cannot_be_asked_is_one_clear_error() {
    let world = World::new();
    let url = &world.standalone.url;
    for (given, why) in [("wrong", "does not accept the token: Invalid JWT token"), ("", "asks for a token")] {
        let refused = match given {
            "" => run(world.elsewhere.path(), ["dags", "list", "--api-url", url]),
            given => run(world.elsewhere.path(), ["dags", "list", "--api-url", url, "--token", given]),
        };
        let refused = refused.refused();
        let start = format!("error: `{url}` {why}\nhint: create a token on the page `{url}/account`, or with ");
        assert!(refused.contains(&start) && !refused.contains("password"), "{refused}");
        assert!(refused.ends_with("and put it into ORCH_API_TOKEN\n"), "{refused}");
    }
    let ask = |url: &str| world.with_token("geheim", &["dags", "list", "--api-url", url]);
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    assert_eq!(
        ask(&nobody).refused(),
        format!(
            "error: the server `{nobody}` cannot be reached: Connection refused (os error 111)\n\
            hint: check that `orch web` or `orch standalone` runs there, and the address in `--api-url` or ORCH_API_URL\n"
        )
    );
    for answer in [
        "HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>",
        "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ] {
        let (url, asked) = stranger(answer);
        let refused = ask(&url).refused();
        let code = &answer[9..12];
        assert_eq!(
            refused,
            format!(
                "error: `{url}` answers, but not as an orch server does (HTTP {code})\n\
                hint: name the address at which `orch web` or `orch standalone` listens, such as `http://host:8080`\n"
            )
        );
        assert!(asked.join().unwrap().starts_with("GET /api/v2/dags?"), "one request, and no other is followed");
    }
    let (url, asked) = stranger("SSH-2.0-OpenSSH\r\n");
    let refused = ask(&url).refused();
    assert!(refused.starts_with(&format!("error: the server `{url}` cannot be reached: ")), "{refused}");
    asked.join().unwrap();
    assert_eq!(
        ask("host:8080").refused(),
        "error: api_url `host:8080` is not the address of a server\nhint: write it as `http://host:8080` or `https://host`\n"
    );
    assert!(!ask("http://me:hidden@host").refused().contains("hidden"));
    let listed = world.remote(&["config", "list", "-o", "json"]).json();
    let row = listed.as_array().unwrap().iter().find(|row| row["key"] == "api_token").unwrap();
    assert_eq!(row["value"], "***");
}

#[test]
fn connections_and_variables_are_kept_over_the_api_and_no_secret_comes_back() {
    let world = World::new();
    let uri = "postgres://me:hush1@db:5432/shop?api_key=hush2&sslmode=require";
    world.remote(&["connections", "add", "sales", "--conn-uri", uri]).done();
    assert!(world.both(&["connections", "add", "sales", "--conn-uri", "x://h"]).refused().contains("`sales` already"));
    world.remote(&["variables", "set", "limit", "42", "--description", "rows"]).done();
    world.remote(&["variables", "set", "limit", "43"]).done();
    world.remote(&["variables", "set", "api_token", "hush3"]).done();
    let connection = world.local(&["connections", "get", "sales", "--show-values", "-o", "json"]).json();
    assert_eq!((&connection["password"], &connection["extra_dejson"]["api_key"]), (&"hush1".into(), &"hush2".into()));
    assert_eq!(world.local(&["variables", "get", "api_token"]).done(), "hush3\n");
    for arguments in [
        &["connections", "list"][..],
        &["connections", "list", "-o", "json"],
        &["connections", "get", "sales", "-o", "json"],
        &["variables", "list"],
        &["variables", "list", "--show-values", "--hide-sensitive", "-o", "json"],
        &["variables", "get", "limit"],
    ] {
        world.both(arguments).done();
    }
    let shown = world.remote(&["connections", "list", "--show-values", "-o", "json"]).json();
    assert_eq!((&shown[0]["host"], &shown[0]["password"]), (&"db".into(), &"***".into()));
    let shown = world.remote(&["variables", "list", "--show-values", "-o", "json"]).json();
    assert_eq!(
        (&shown[0]["val"], &shown[1]["val"], &shown[1]["description"]),
        (&"***".into(), &"43".into(), &"rows".into())
    );
    assert_eq!(
        world.remote(&["variables", "get", "api_token"]).refused(),
        "error: the value of variable `api_token` is not given over the API\nhint: it is a secret: ask where its database is\n"
    );
    world.remote(&["variables", "set", "warehouse", "postgres://me:hush5@h/db"]).done();
    let refused = world.remote(&["variables", "get", "warehouse"]).refused();
    assert!(refused.starts_with("error: the value of variable `warehouse` is not given over the API\n"), "{refused}");
    assert_eq!(world.local(&["variables", "get", "warehouse"]).done(), "postgres://me:hush5@h/db\n");
    for missing in [
        &["connections", "get", "nowhere"][..],
        &["connections", "delete", "nowhere"],
        &["variables", "get", "nothing"],
        &["variables", "delete", "nothing"],
    ] {
        world.both(missing).refused();
    }
    let file = world.elsewhere.path().join("c.json");
    std::fs::write(&file, "{\"sales\": \"x://other\", \"new\": \"y://me:hush4@h\"}").unwrap();
    let file = file.to_string_lossy().into_owned();
    let imported = world.remote(&["connections", "import", &file]);
    assert!(imported.err.contains("imported 1 of 2 connections") && imported.err.contains("sales"), "{imported:?}");
    world.remote(&["connections", "import", &file, "--overwrite"]).done();
    assert_eq!(world.local(&["connections", "get", "sales", "-o", "json"]).json()["host"], "other");
    let file = world.elsewhere.path().join("v.json");
    std::fs::write(&file, "{\"limit\": 1, \"new\": {\"value\": [1], \"description\": \"d\"}}").unwrap();
    let file = file.to_string_lossy().into_owned();
    assert!(world.remote(&["variables", "import", &file, "-a", "fail"]).refused().contains("there already: limit"));
    assert!(world.remote(&["variables", "import", &file, "-a", "skip"]).err.contains("1 of 2 variables"));
    assert_eq!(world.local(&["variables", "get", "new"]).done(), "[1]\n");
    world.remote(&["variables", "delete", "limit"]).done();
    world.remote(&["connections", "delete", "sales"]).done();
    let asked = world.remote(&["connections", "export", "-"]).refused();
    assert!(asked.starts_with("error: `orch connections export` needs the database"), "{asked}");
}
