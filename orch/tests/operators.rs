//! Operators with real processes, a real Postgres, and a web server in the test.

use orch::prelude::*;
use orch::{Connection, LogLevel, MemoryHost, Resumed, RunFacts, TaskError, TriggerOutput, TryFacts, WaitEnd};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

fn causes(error: &TaskError) -> String {
    error.to_string()
}

// ---------------------------------------------------------------------------------------------------- python

#[tokio::test]
async fn a_script_gives_its_last_line_as_json() {
    let script = "import sys, os, json\nprint('working')\n\
        print(json.dumps({'args': sys.argv[1:], 'who': os.environ['WHO'], 'dag': os.environ['ORCH_DAG_ID']}))";
    let wish = Python::script(script).arg("a b").arg("$HOME; rm").env("WHO", "me");
    let done = python(wish).run_alone(Ctx::test()).await.expect("it ends well");
    assert_eq!(done.value, json!({ "args": ["a b", "$HOME; rm"], "who": "me", "dag": "test" }));
    let plain = python(Python::script("print('no json')")).run_alone(Ctx::test()).await.expect("it ends well");
    assert_eq!((plain.last_line.as_str(), plain.value), ("no json", Value::Null));
}

#[tokio::test]
async fn the_exit_code_of_a_script_decides_and_errors_are_logged() {
    let host = MemoryHost::new();
    let failed = python(Python::script("raise ValueError('as it says')")).run_alone(host.ctx()).await;
    assert_eq!(failed.expect_err("it failed").to_string(), "exit code 1: ValueError: as it says");
    assert!(host.logs().iter().any(|l| l.level == LogLevel::Warning && l.message.contains("as it says")));
    let skipped = python(Python::script("raise SystemExit(99)")).run_alone(Ctx::test()).await;
    assert!(matches!(skipped, Err(TaskError::Skipped { .. })));
    let none = python(Python::script("").venv("/no/such")).run_alone(Ctx::test()).await.expect_err("there is none");
    assert!(causes(&none).contains("the virtual environment `/no/such` has no `bin/python`"), "{none}");
}

#[tokio::test]
async fn a_file_runs_in_its_virtual_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir_all(path("venv/bin")).expect("folders");
    let interpreter = "#!/bin/sh\necho venv\nexec python3 \"$@\"\n";
    std::fs::write(path("venv/bin/python"), interpreter).expect("a file");
    std::fs::set_permissions(path("venv/bin/python"), std::fs::Permissions::from_mode(0o755)).expect("rights");
    std::fs::write(path("task.py"), "import sys\nprint(len(sys.argv))").expect("a file");
    let host = MemoryHost::new();
    let wish = Python::file(&path("task.py")).venv(&path("venv")).arg("x");
    let done = python(wish).run_alone(host.ctx()).await.expect("it ends well");
    assert_eq!(done.value, json!(2));
    assert_eq!(host.logs()[0].message, "venv");
}

#[tokio::test]
async fn a_cancelled_script_ends() {
    let host = MemoryHost::new();
    let mut running = JoinSet::new();
    let script = "import time\nprint('begun')\ntime.sleep(60)";
    running.spawn(python(Python::script(script)).run_alone(host.ctx()));
    while host.logs().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    host.cancel();
    let ended = running.join_next().await.expect("it runs").expect("no panic");
    assert_eq!(ended, Err(TaskError::retryable("cancelled")));
}

// ---------------------------------------------------------------------------------------------------- http

/// Sends the next response for each request, and records the requests.
fn server(answers: Vec<&'static str>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let mut text = Vec::new();
            let mut piece = [0; 4096];
            loop {
                let read = stream.read(&mut piece).expect("a request");
                text.extend_from_slice(&piece[..read]);
                let said = String::from_utf8_lossy(&text).to_lowercase();
                let Some(head) = said.find("\r\n\r\n") else { continue };
                let length = said.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
                if text.len() >= head + 4 + length || read == 0 {
                    break;
                }
            }
            kept.lock().expect("no panic").push(String::from_utf8_lossy(&text).into_owned());
            stream.write_all(answer.as_bytes()).expect("it listens");
        }
    });
    (address, asked)
}

const OK: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{\"rows\":7}";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy";
const BROKEN: &str = "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
const REFUSED: &str = "HTTP/1.1 422 No\r\nContent-Length: 7\r\nConnection: close\r\n\r\nno such";

#[tokio::test]
async fn a_request_below_a_connection_is_sent_with_its_account() {
    let (address, asked) = server(vec![OK]);
    let port = address.rsplit_once(':').expect("a port").1.parse().expect("a number");
    let connection = Connection {
        id: "api".into(),
        conn_type: "http".into(),
        host: Some("127.0.0.1".into()),
        port: Some(port),
        login: Some("me".into()),
        password: Some("open".into()),
        ..Connection::default()
    };
    let host = MemoryHost::new().with_connection(connection);
    let wish = HttpRequest::below("api", "POST", "/v1/rows?x=1").json(json!({ "day": "mon" })).header("X-Team", "data");
    let done = http(wish).run_alone(host.ctx()).await.expect("it answers");
    assert_eq!(
        (done.status, done.body, done.headers["content-type"].as_str()),
        (200, json!({ "rows": 7 }), "application/json")
    );
    let asked = asked.lock().expect("no panic")[0].to_lowercase();
    assert!(asked.starts_with("post /v1/rows?x=1 http/1.1"), "{asked}");
    for part in
        ["authorization: basic bwu6b3blbg==", "x-team: data", "content-type: application/json", "{\"day\":\"mon\"}"]
    {
        assert!(asked.contains(part), "{part} in {asked}");
    }
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_one_that_refuses_is_not() {
    let (address, asked) = server(vec![BUSY, BROKEN, OK]);
    let done = http(HttpRequest::to("GET", &address)).run_alone(Ctx::test()).await;
    assert_eq!(done.map(|output| output.status), Ok(200));
    assert_eq!(asked.lock().expect("no panic").len(), 3);

    let (address, asked) = server(vec![REFUSED, OK]);
    let refused = http(HttpRequest::to("GET", &address)).run_alone(Ctx::test()).await.expect_err("refused");
    let expected = format!(
        "`{address}` responded with status 422: no such\nhint: compare the request with the documentation of that server"
    );
    assert_eq!(refused, TaskError::fatal(expected));
    assert_eq!(asked.lock().expect("no panic").len(), 1);

    // The server may have processed the first POST, so a retry could execute it twice.
    let (address, asked) = server(vec![BROKEN, OK]);
    let failed = http(HttpRequest::to("POST", &address)).run_alone(Ctx::test()).await;
    assert!(matches!(failed, Err(TaskError::Retryable { .. })), "{failed:?}");
    assert_eq!(asked.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn what_is_too_long_or_nowhere_is_told() {
    let (address, _) = server(vec![OK]);
    let long = http(HttpRequest::to("GET", &address).most_bytes(5)).run_alone(Ctx::test()).await.expect_err("too long");
    let expected = format!("the response of `{address}` has more than 5 bytes\nhint: request less data");
    assert_eq!(long, TaskError::fatal(expected));
    let nowhere = http(HttpRequest::to("GET", "/v1")).run_alone(Ctx::test()).await.expect_err("no address");
    assert!(causes(&nowhere).contains("name a connection"), "{nowhere}");
    let silent = HttpRequest::to("GET", "http://127.0.0.1:1/").again(0);
    let silent = http(silent).run_alone(Ctx::test()).await;
    assert!(matches!(silent, Err(TaskError::Retryable { .. })), "{silent:?}");
}

// ---------------------------------------------------------------------------------------------------- sql

/// A connection to the test server.
async fn with_postgres() -> MemoryHost {
    let url = orch_test_support::postgres().await.url();
    MemoryHost::new().with_connection(Connection::from_uri("db", &url).expect("a URI"))
}

#[tokio::test]
async fn a_statement_gives_its_rows_in_the_types_of_json() {
    let host = with_postgres().await;
    let statement = "select n, n::text || $2 as word, n % 2 = 0 as even, 1.50::numeric as money, null as nothing,
        array[n, n] as list, '{\"a\": 1}'::jsonb as json, $1::timestamptz as at
        from generate_series(1, 5) n order by n desc -- the end";
    let wish = Sql::new("db", statement).param("2026-03-01T00:00:00Z").param("'; drop table x").most_rows(2);
    let done = sql(wish.clone()).run_alone(host.ctx()).await.expect("rows");
    assert_eq!(done.columns, ["n", "word", "even", "money", "nothing", "list", "json", "at"]);
    assert_eq!((done.rows.len(), done.more), (2, true));
    let first = &done.rows[0];
    assert_eq!((&first["n"], &first["word"], &first["even"]), (&json!(5), &json!("5'; drop table x"), &json!(false)));
    assert_eq!((&first["money"], &first["list"], &first["json"]), (&json!(1.5), &json!([5, 5]), &json!({ "a": 1 })));
    assert!(first["nothing"].is_null() && first["at"].as_str().is_some_and(|at| at.starts_with("2026-03-01")));
    let all = sql(wish.most_rows(9)).run_alone(host.ctx()).await.expect("rows");
    assert_eq!((all.rows.len(), all.more, all.affected), (5, false, 5));
    let nothing = sql(Sql::new("db", "set search_path = public")).run_alone(host.ctx()).await.expect("it is done");
    assert!(nothing.rows.is_empty() && nothing.columns.is_empty());
}

#[tokio::test]
async fn a_with_that_modifies_data_returns_its_rows() {
    let host = with_postgres().await;
    let ask = |statement: &str| sql(Sql::new("db", statement)).run_alone(host.ctx());
    ask("drop table if exists orders_with").await.expect("a table may be gone");
    ask("create table orders_with (id int)").await.expect("a table");
    let added = "with added as (insert into orders_with values (1), (2) returning id) -- both
        select count(*) as many from added;";
    assert_eq!(ask(added).await.expect("rows").rows, [json!({ "many": 2 })]);
    let moved = "with gone as (delete from orders_with returning id) insert into orders_with select id + 1 from gone returning id";
    assert_eq!(ask(moved).await.expect("rows").affected, 2);
    ask("drop table orders_with").await.expect("the table is gone");
}

#[tokio::test]
async fn the_rows_of_a_statement_have_a_maximum_of_bytes() {
    let host = with_postgres().await;
    let wish = Sql::new("db", "select repeat('x', 1 << 24) from generate_series(1, $1)");
    let error = sql(wish.param(5)).run_alone(host.ctx()).await.expect_err("80 MB");
    assert!(matches!(error, TaskError::Fatal { .. }) && causes(&error).contains("returns more than 64 MB"), "{error}");
}

#[tokio::test]
async fn what_the_server_refuses_is_not_tried_again() {
    let host = with_postgres().await;
    for (wish, problem) in [
        (Sql::new("db", "select * from no_such_table"), "no_such_table"),
        (Sql::new("db", "selct 1"), "syntax error"),
        (Sql::new("db", "select 1; select 2"), "has 2 statements, not one"),
        (
            Sql::new("db", "select 1 from (with x as (delete from pg_class returning 1) select 1) y"),
            "must be at the top level",
        ),
        (Sql::new("db", "select $1::int"), "takes 1 params, but 0 are given"),
        (Sql::new("db", "select $1::int").param("x"), "param $1 must be a `int4`"),
        (Sql::new("db", "select $1::numeric").param("1"), "write `$1::text::numeric`"),
        (Sql::new("none", "select 1"), "there is no connection `none`"),
    ] {
        let error = sql(wish).run_alone(host.ctx()).await.expect_err("it is refused");
        assert!(matches!(error, TaskError::Fatal { .. }) && causes(&error).contains(problem), "{problem}: {error:?}");
    }
    let slow = Sql::new("db", "select pg_sleep(60)").statement_timeout(Duration::from_millis(50));
    let slow = sql(slow).run_alone(host.ctx()).await.expect_err("too slow");
    assert!(matches!(slow, TaskError::Retryable { .. }) && causes(&slow).contains("statement timeout"), "{slow:?}");
}

#[tokio::test]
async fn a_cancelled_statement_ends_on_the_server_too() {
    let host = with_postgres().await;
    let mut running = JoinSet::new();
    running.spawn(sql(Sql::new("db", "select pg_sleep(61)")).run_alone(host.ctx()));
    let busy = "select count(*) as many from pg_stat_activity where query like '%pg_sleep(61)%' and state = 'active'
        and pid <> pg_backend_pid()";
    let many = || async {
        let found = sql(Sql::new("db", busy)).run_alone(with_postgres().await.ctx()).await.expect("a count");
        found.rows[0]["many"].as_i64().expect("a number")
    };
    while many().await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    host.cancel();
    let ended = running.join_next().await.expect("it runs").expect("no panic");
    assert_eq!(ended.map(drop), Err(TaskError::retryable("cancelled")));
    let gone = async {
        while many().await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the server stopped it");
}

// ---------------------------------------------------------------------------------------------------- container

/// A fake `docker` command that records its arguments.
fn runtime(folder: &std::path::Path, run: &str) -> String {
    let path = folder.join("runtime");
    let log = folder.join("told").display().to_string();
    let script = format!("#!/bin/sh\necho \"$@\" >> {log}\nif [ \"$1\" = run ]; then {run}; fi\n");
    std::fs::write(&path, script).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("rights");
    path.display().to_string()
}

fn told(folder: &std::path::Path) -> Vec<String> {
    std::fs::read_to_string(folder.join("told")).unwrap_or_default().lines().map(String::from).collect()
}

#[tokio::test]
async fn a_container_has_the_name_of_its_try_and_shows_no_value() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = runtime(folder.path(), "echo \"token is $TOKEN\"");
    let wish = Container::image("alpine:3")
        .command(["echo", "$HOME; x"])
        .env("TOKEN", "planted")
        .mount_read_only("/data", "/in")
        .memory_mb(64)
        .runtime(&runtime);
    let done = container(wish).run_alone(Ctx::test()).await.expect("it ends well");
    assert_eq!(done.last_line, "token is planted");
    let name = "orch-00000000000000000000000000000000";
    let told = told(folder.path());
    assert_eq!(told.first(), Some(&format!("rm --force {name}")), "a lost worker's is removed first");
    assert_eq!(told.last(), Some(&format!("rm --force {name}")));
    let run = &told[1];
    assert!(run.starts_with(&format!("run --rm --name {name} --env ORCH_DAG_ID ")), "{run}");
    assert!(run.ends_with("--env TOKEN --volume /data:/in:ro --memory 64m -- alpine:3 echo $HOME; x"), "{run}");
    assert!(!run.contains("planted"), "{run}");
}

#[tokio::test]
async fn a_cancelled_container_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = runtime(folder.path(), "echo begun; sleep 60");
    let host = MemoryHost::new();
    let mut running = JoinSet::new();
    running.spawn(container(Container::image("alpine").runtime(&runtime)).run_alone(host.ctx()));
    while host.logs().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    host.cancel();
    let ended = running.join_next().await.expect("it runs").expect("no panic");
    assert_eq!(ended.map(drop), Err(TaskError::retryable("cancelled")));
    assert!(told(folder.path()).last().is_some_and(|line| line.starts_with("rm --force orch-")));
    let none = container(Container::image("--privileged")).run_alone(Ctx::test()).await.expect_err("no image");
    assert_eq!(none, TaskError::fatal("`--privileged` is no image"));
}

// ---------------------------------------------------------------------------------------------------- spark

/// Attempts in tests share one id, and therefore the folder of their Spark configuration, so these tests run one at a
/// time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A folder with a `spark-submit` that records its arguments and properties, then runs `and_then`.
fn spark_home(folder: &std::path::Path, and_then: &str) -> Connection {
    let program = folder.join("bin/spark-submit");
    std::fs::create_dir_all(folder.join("bin")).expect("folders");
    let told = folder.join("told").display().to_string();
    let script =
        format!("#!/bin/sh\necho \"$@\" >> {told}\ncat \"$2\" >> {told}\nstat -c %a \"$2\" >> {told}\n{and_then}\n");
    std::fs::write(&program, script).expect("a file");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("rights");
    let home = json!({ "conn_type": "spark", "host": "local[2]", "extra": { "spark-home": folder } });
    Connection::parse("spark_default", &home.to_string()).expect("a connection")
}

#[tokio::test]
async fn an_application_is_told_everything_in_a_file_of_its_own() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let host = MemoryHost::new().with_connection(spark_home(folder.path(), "echo '{\"rows\": 3}'"));
    let wish =
        Spark { executor_memory: Some("1g".into()), jars: vec!["a.jar".into()], ..Spark::application("/job.py") };
    let wish = wish.conf("spark.secret", "planted").arg("a b").name("etl");
    let done = spark(wish).run_alone(host.ctx()).await.expect("it ends well");
    assert_eq!(done.value, json!({ "rows": 3 }));
    let told = told(folder.path());
    let path = told[0].strip_prefix("--properties-file ").and_then(|rest| rest.strip_suffix(" /job.py a b"));
    assert!(!std::path::Path::new(path.expect("the file comes first")).exists(), "it goes with the try");
    for line in ["spark.app.name=etl", "spark.executor.memory=1g", "spark.jars=a.jar", "spark.master=local[2]", "600"] {
        assert!(told.iter().any(|told| told == line), "{line}: {told:?}");
    }
    assert!(told.contains(&"spark.secret=planted".to_owned()) && !told[0].contains("planted"), "{told:?}");
}

#[tokio::test]
async fn beside_a_connect_server_python_runs_the_application_and_the_token_is_on_no_command_line() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let python = folder.path().join("python");
    let told_to = folder.path().join("told");
    let script = format!(
        "#!/bin/sh\necho \"$@\" \"$SPARK_REMOTE\" > {0}\ncat \"$ORCH_SPARK_CONF\" >> {0}\nstat -c %a \"$ORCH_SPARK_CONF\" >> {0}\necho 7\n",
        told_to.display()
    );
    std::fs::write(&python, script).expect("a file");
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).expect("rights");
    let connection = json!({
        "conn_type": "spark_connect", "host": "127.0.0.1", "port": port, "password": "planted",
        "extra": { "conf": { "spark.pyspark.python": python, "spark.sql.ansi.enabled": true } },
    });
    let connection = Connection::parse("spark_default", &connection.to_string()).expect("a connection");
    let host = MemoryHost::new().with_connection(connection);
    let done = spark(Spark::application("/job.py").arg("a b").conf("spark.x", "y")).run_alone(host.ctx()).await;
    assert_eq!(done.expect("it ends well").value, json!(7));
    let told = told(folder.path()).join("\n");
    assert!(told.starts_with(&format!("/job.py a b sc://127.0.0.1:{port}/;token=planted\n")), "{told}");
    for said in [r#""spark.sql.ansi.enabled":"true""#, r#""spark.x":"y""#, "}600"] {
        assert!(told.contains(said), "{said}: {told}");
    }
    assert!(host.logs().iter().all(|line| !line.message.contains("planted")));
    let wish = Spark { jars: vec!["a.jar".into()], ..Spark::application("/job.py") };
    let refused = spark(wish).run_alone(host.ctx()).await.expect_err("a server has its own jars");
    assert!(causes(&refused).contains("`jars` is an option of `spark-submit`"), "{refused}");
}

#[tokio::test]
async fn what_spark_says_is_progress_a_log_or_the_error() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let says = "printf '\\r[Stage 1:>   (0 + 2) / 4]\\r[Stage 1:==> (4 + 0) / 4]\\r\\r' >&2\n\
        echo '26/11/23 07:30:01 WARN Utils: no address' >&2\n\
        printf 'Traceback (most recent call last):\\n  File \"x\", line 1\\nValueError: no such table\\n' >&2\n\
        echo '26/11/23 07:30:02 INFO ShutdownHookManager: called' >&2\nexit 1";
    let host = MemoryHost::new().with_connection(spark_home(folder.path(), says));
    let failed = spark(Spark::application("/job.py")).run_alone(host.ctx()).await.expect_err("it fails");
    assert_eq!(causes(&failed), "exit code 1: ValueError: no such table");
    let logs = host.logs();
    let level = |text: &str| logs.iter().find(|line| line.message.contains(text)).map(|line| line.level);
    assert_eq!(level("stage 1: 0 of 4 tasks done"), Some(LogLevel::Info));
    assert_eq!(level("stage 1: 4 of 4 tasks done"), Some(LogLevel::Info));
    assert_eq!(level("no address"), Some(LogLevel::Warning));
    assert_eq!(level("ShutdownHookManager"), Some(LogLevel::Info));
    assert!(logs.iter().all(|line| !line.message.is_empty() && !line.message.contains("[Stage")));
}

#[tokio::test]
async fn a_driver_elsewhere_is_ended_through_its_master() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let master = format!("spark://{}", listener.local_addr().expect("it is bound"));
    let says =
        "case \"$3\" in --kill) ;; *) echo 'submitted as driver-20261123073001-0004, state RUNNING'; sleep 60;; esac";
    let mut connection = spark_home(folder.path(), says);
    connection.host = Some(master);
    connection.extra.insert("deploy-mode".into(), json!("cluster"));
    let host = MemoryHost::new().with_connection(connection);
    let mut running = JoinSet::new();
    running.spawn(spark(Spark::application("/job.jar")).run_alone(host.ctx()));
    while !host.logs().iter().any(|line| line.message.contains("RUNNING")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    host.cancel();
    let ended = running.join_next().await.expect("it runs").expect("no panic");
    assert_eq!(ended.map(drop), Err(TaskError::retryable("cancelled")));
    assert!(told(folder.path()).iter().any(|line| line.ends_with("--kill driver-20261123073001-0004")));
}

#[tokio::test]
async fn what_is_missing_for_spark_is_named() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let of = |host: &str, home: &str| {
        let text = json!({ "conn_type": "spark", "host": host, "extra": { "spark-home": home } }).to_string();
        MemoryHost::new().with_connection(Connection::parse("spark_default", &text).expect("a connection"))
    };
    for (host, expected) in [
        (
            of("local", &folder.path().display().to_string()),
            "/bin/spark-submit`\nhint: install it on the worker, `pip install",
        ),
        (of("spark://127.0.0.1:1", "/"), "the Spark master `spark://127.0.0.1:1` does not answer"),
    ] {
        let failed = spark_sql(SparkSql { sql: "select 1".into(), ..SparkSql::default() }).run_alone(host.ctx()).await;
        let failed = failed.expect_err("it cannot run");
        assert!(causes(&failed).contains(expected), "{failed}");
    }
}

// ---------------------------------------------------------------------------------------------------- other DAGs

fn resumed(end: WaitEnd) -> TryFacts {
    TryFacts { resumed: Some(Resumed { end, carried: Value::Null }), ..TryFacts::test() }
}

#[tokio::test]
async fn a_triggered_run_is_waited_for_without_a_slot() {
    let host = MemoryHost::new();
    let wish = TriggerDag::dag("other").conf(json!({ "day": "mon" })).run_id("r1");
    let done = trigger_dag(wish.clone()).run_alone(host.ctx()).await.expect("it is started");
    assert_eq!(done, TriggerOutput { dag_id: "other".into(), run_id: "r1".into(), state: None });
    assert_eq!(host.triggered()[0].conf, Some(json!({ "day": "mon" })));

    let waits = trigger_dag(wish.clone().and_wait()).run_alone(host.ctx()).await.expect_err("it waits");
    let TaskError::Deferred { deferral } = waits else { panic!("{waits:?}") };
    assert_eq!((deferral.until.kind.as_str(), &deferral.until.config["which"]), ("run", &json!({ "run_id": "r1" })));
    let ended =
        |state: &str| WaitEnd::Met(json!({ "dag_id": "other", "run_id": "r1", "state": state, "ended_at": null }));
    let go_on = |end| trigger_dag(wish.clone().and_wait()).run_alone(host.ctx_for(RunFacts::test(), resumed(end)));
    assert_eq!(go_on(ended("success")).await.map(|output| output.state), Ok(Some("success".into())));
    assert_eq!(go_on(ended("failed")).await, Err(TaskError::retryable("run `r1` of dag `other` ended as failed")));
    assert_eq!(host.triggered().len(), 2, "who goes on starts nothing");
}

#[tokio::test]
async fn the_run_of_another_dag_is_found_by_the_own_date() {
    let date = "2026-03-02T00:00:00Z".parse().expect("a date");
    let run = RunFacts { logical_date: Some(date), run_after: date, ..RunFacts::test() };
    let which = |other: OtherDag, run: RunFacts| async {
        match wait_for_dag(other).run_alone(MemoryHost::new().ctx_for(run, TryFacts::test())).await {
            Err(TaskError::Deferred { deferral }) => deferral.until.config["which"].clone(),
            other => panic!("{other:?}"),
        }
    };
    let at = |text: &str| json!({ "logical_date": text });
    assert_eq!(which(OtherDag::dag("x"), run.clone()).await, at("2026-03-02T00:00:00Z"));
    assert_eq!(which(OtherDag::dag("x").earlier(hours(1)), run.clone()).await, at("2026-03-01T23:00:00Z"));
    let fresh = which(OtherDag::dag("x").within(hours(24)), run).await;
    assert_eq!(fresh, json!({ "ended_since": "2026-03-01T00:00:00Z" }));
    let none = wait_for_dag(OtherDag::dag("x")).run_alone(Ctx::test()).await.expect_err("it has no date");
    assert!(matches!(none, TaskError::Fatal { .. }), "{none:?}");
}

#[tokio::test]
async fn in_a_test_a_wait_is_over_as_scripted() {
    let waiting = || {
        dag("waiting").build(|d| {
            let there = d.add(wait_for("there", wait::file("/in/x").timeout(hours(1))));
            let later = d.add(wait_for("later", wait::after(mins(5))).after(there));
            d.add(shell("true").id("end").after(later));
        })
    };
    let run = waiting().test().met("there", ["/in/x"]).run().await;
    assert_eq!(run.outcome(), orch::RunState::Success);
    assert_eq!(run.output::<Vec<String>>("there"), Some(vec!["/in/x".to_string()]));
    assert_eq!(run.took(), mins(5));
    let run = waiting().test().times_out("there").run().await;
    assert_eq!(run.state("there"), orch::TaskState::Failed);
    assert_eq!(run.errors, ["there: what it waited for was not there in time"]);
}

// ---------------------------------------------------------------------------------------------------- files

#[tokio::test]
async fn files_are_copied_whole_and_only_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir_all(path("in")).expect("a folder");
    for name in ["a.csv", "b.csv", "c.txt"] {
        std::fs::write(path(&format!("in/{name}")), name.repeat(1000)).expect("a file");
    }
    let wish = CopyFiles::new(&path("in/*.csv"), &path("out/deep"));
    let done = copy_files(wish.clone()).run_alone(Ctx::test()).await.expect("copies");
    assert_eq!((done.copied, done.bytes), (2, 10_000));
    assert_eq!(done.files, [path("out/deep/a.csv"), path("out/deep/b.csv")]);
    let copy = std::fs::read_to_string(path("out/deep/b.csv")).expect("it is there");
    assert_eq!(copy, "b.csv".repeat(1000));
    // One file was removed and one changed; existing copies stay.
    std::fs::write(path("in/b.csv"), "new").expect("a file");
    let again = copy_files(wish).run_alone(Ctx::test()).await.expect("copies");
    assert_eq!((again.copied, again.files.len()), (1, 2));
    let left: Vec<_> = std::fs::read_dir(path("out/deep")).expect("a folder").collect();
    assert_eq!(left.len(), 2, "nothing half is left");
    let none = copy_files(CopyFiles::new(&path("in/*.xml"), &path("out")).required()).run_alone(Ctx::test()).await;
    assert!(matches!(none, Err(TaskError::Retryable { .. })), "{none:?}");
}

#[tokio::test]
async fn files_are_copied_from_their_folder_into_theirs_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    for name in ["in", "out", "secrets"] {
        std::fs::create_dir(path(name)).expect("a folder");
    }
    std::fs::write(path("in/a.csv"), "a").expect("a file");
    std::fs::write(path("secrets/key.csv"), "key").expect("a file");
    std::os::unix::fs::symlink(path("secrets/key.csv"), path("in/b.csv")).expect("a link");
    // Writing through the symlink would overwrite the key.
    std::os::unix::fs::symlink(path("secrets/key.csv"), path("out/a.csv.orch-part")).expect("a link");

    let copy = |from: &str, to: &str| copy_files(CopyFiles::new(&path(from), &path(to))).run_alone(Ctx::test());
    let done = copy("in/*.csv", "out").await.expect("copies");
    assert_eq!(done.files, [path("out/a.csv")]);
    assert_eq!(std::fs::read_to_string(path("secrets/key.csv")).expect("a file"), "key");
    for (from, to) in [("in/../secrets/*.csv", "out"), ("in/*.csv", "out/../secrets")] {
        let refused = copy(from, to).await;
        assert!(matches!(&refused, Err(TaskError::Fatal { causes }) if causes[0].contains("part `..`")), "{refused:?}");
    }
    copy("in/b.csv", "out").await.expect_err("a link out of its folder");
}
