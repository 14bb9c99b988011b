//! Invalid input: one error that names the cause and the fix, exit code 2, nothing on standard output.

use crate::binary::run;
use crate::world::World;
use orch_store::database_url::with_login;
use sqlx::AssertSqlSafe;
use std::path::Path;

/// Arguments and the complete message.
const OFFLINE: [(&[&str], &str); 8] = [
    (
        &["cron", "next", "61 * * * *"],
        "error: cron `61 * * * *`: minute `61` is not valid\nhint: the minute must be from 0 to 59\n",
    ),
    (
        &["cron", "next", "@dayly"],
        "error: cron `@dayly` is not a preset\nhint: did you mean `@daily`? presets are @hourly, @daily",
    ),
    (
        &["cron", "next", "@daily", "--tz", "Europe/Berln"],
        "error: timezone `Europe/Berln` is not known\nhint: did you mean `Europe/Berlin`?\n",
    ),
    (
        &["cron", "next", "@daily", "--after", "tomorrow"],
        "error: invalid value 'tomorrow' for '--after <MOMENT>': not a date: write `2026-01-31`",
    ),
    (
        &["dags", "list"],
        "error: no orch has been started in `/nonexistent/data`\n\
        hint: start one with `orch standalone`, or name a database with `--database-url`\n",
    ),
    (&["dags", "lst"], "error: unrecognized subcommand 'lst'\n\n  tip: "),
    (&["dags", "list", "-o", "xml"], "error: invalid value 'xml' for '--output <FORMAT>'"),
    (
        &["scheduler"],
        "error: no database is named\nhint: name one with `--database-url` or `ORCH_DATABASE_URL`; `orch standalone` brings its own\n",
    ),
];

#[test]
fn what_no_server_is_needed_for_is_refused_with_the_way_out() {
    for (arguments, expected) in OFFLINE {
        let said = run(Path::new("/nonexistent"), arguments).refused();
        assert!(said.starts_with(expected), "{arguments:?} says:\n{said}");
    }
}

const ONLINE: [(&[&str], &str); 14] = [
    (
        &["dags", "trigger", "exmaple_chain"],
        "error: dag `exmaple_chain` is not registered\nhint: did you mean `example_chain`? list all with `orch dags list`\n",
    ),
    (&["dags", "trigger", "../etc"], "error: dag id \"../etc\" has the character '/': use letters, digits and `_.-`\n"),
    (&["dags", "trigger", ""], "error: dag id is empty\n"),
    (
        &["dags", "trigger", "example_chain", "--conf", "{a: 1}"],
        "error: the conf is not JSON: key must be a string at line 1 column 2\n\
        hint: write a JSON object, for example '{\"table\": \"orders\"}'\n",
    ),
    (
        &["dags", "trigger", "example_chain", "--conf", "[1]"],
        "error: the conf is a list, not an object\nhint: write a JSON object",
    ),
    (
        &["dags", "trigger", "example_chain", "--conf", "{\"a\": \"\\u0000\"}"],
        "error: `a` of the conf has a NUL character\nhint: remove it: Postgres stores no NUL\n",
    ),
    (&["dags", "trigger", "example_chain", "--conf", "{\"a\": \"\\ud800\"}"], "error: the conf is not JSON: "),
    (
        &["dags", "trigger", "example_params", "--conf", "{\"region\": \"asai\", \"limit\": \"many\"}"],
        "error: the conf does not fit the params of the dag: `limit` is a string, not an integer; `region` is \"asai\", \
        not one of \"europe\", \"america\", \"asia\"\n",
    ),
    (
        &["dags", "trigger", "example_params", "--conf", "{\"regions\": \"asia\"}"],
        "error: the conf does not fit the params of the dag: `regions` is not known\nhint: did you mean `region`?\n",
    ),
    (
        &["dags", "trigger", "example_chain", "--conf", "@/nonexistent.json"],
        "error: cannot read `/nonexistent.json`: No such file or directory (os error 2)\nhint: correct the path after `@`\n",
    ),
    (
        &["dags", "trigger", "example_chain", "--run-id", "a b"],
        "error: invalid value 'a b' for '--run-id <RUN_ID>': run id \"a b\" has the character ' '",
    ),
    (
        &["dags", "state", "example_chain", "nightly"],
        "error: dag `example_chain` has no run `nightly`\nhint: list its runs with `orch dags list-runs example_chain`\n",
    ),
    (&["runs", "wait", "nightly"], "error: there is no run `nightly`\nhint: list runs with `orch runs list`\n"),
    (
        &["dags", "pause", "(", "--treat-dag-id-as-regex"],
        "error: `(` is not a regular expression: found open group without closing ')'\n\
         hint: write one for the whole id, for example `example_.*`\n",
    ),
];

#[tokio::test]
async fn what_a_server_is_asked_wrongly_is_refused_with_the_way_out() {
    let world = World::at_work().await;
    for (arguments, expected) in ONLINE {
        let said = world.run(arguments).refused();
        assert!(said.starts_with(expected), "{arguments:?} says:\n{said}");
    }
    world.run(&["dags", "trigger", "example_chain", "--run-id", "nightly-1", "--logical-date", "2026-01-01"]).done();
    let near = world.run(&["dags", "state", "example_chain", "nigthly-1"]).refused();
    assert_eq!(near, "error: dag `example_chain` has no run `nigthly-1`\nhint: did you mean `nightly-1`?\n");
    let dated = world.run(&["dags", "trigger", "example_chain", "--logical-date", "2026-01-01"]).refused();
    assert!(
        dated.starts_with("error: dag `example_chain` has a run for `<time>` already\nhint: choose another"),
        "{dated}"
    );
    let task = world.run(&["tasks", "state", "example_chain", "stp_1", "nightly-1"]).refused();
    assert_eq!(task, "error: dag `example_chain` has no task `stp_1`\nhint: did you mean `step_1`?\n");
    // The run can also be selected by its date.
    assert_eq!(world.run(&["dags", "state", "example_chain", "2026-01-01"]).code, 0);
}

#[tokio::test]
async fn a_conf_may_have_a_megabyte_and_no_more() {
    let world = World::at_work().await;
    let conf = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    let trigger = ["dags", "trigger", "example_chain", "--conf", "-"];
    assert_eq!(world.run_with(conf(1 << 20).as_bytes(), &trigger).code, 0);
    let large = world.run_with(conf((1 << 20) + 1).as_bytes(), &trigger).refused();
    assert_eq!(
        large,
        "error: standard input has more than 1048576 bytes (1 MB)\n\
        hint: put the data into a file or a table and name that in the conf\n"
    );
    let file = world.path().join("conf.json");
    std::fs::write(&file, b"{\"a\": \"\xff\"}").unwrap();
    let told = world.run(&["dags", "trigger", "example_chain", "--conf", &format!("@{}", file.display())]).refused();
    assert_eq!(told, "error: `<path>` is no UTF-8\nhint: save it as UTF-8\n");
}

#[tokio::test]
async fn a_database_that_is_not_there_or_not_ready_is_named() {
    let home = tempfile::tempdir().unwrap();
    let gone = run(home.path(), ["dags", "list", "--database-url", "postgres://me:pw@127.0.0.1:1/orch"]).refused();
    assert!(
        gone.starts_with(
            "warning: other users of this machine can read the flag of `database_url` in the process list\n"
        ),
        "{gone}"
    );
    let named = "\nerror: the database `postgres://me:***@127.0.0.1:1/orch` (from --database-url) cannot be reached: ";
    assert!(gone.contains(named), "{gone}");
    assert!(gone.contains("\nhint: start the Postgres server at `127.0.0.1:1`, or name another one"), "{gone}");
    let quiet = run(home.path(), ["dags", "list", "--database-url", "postgres://me@127.0.0.1:1/orch"]).refused();
    assert!(quiet.starts_with("error: the database `"), "no password, no warning: {quiet}");
    let wrong = run(home.path(), ["dags", "list", "--database-url", "no url"]).refused();
    assert!(wrong.contains("hint: orch needs `postgres://user:password@host:5432/database`"), "{wrong}");
    let checked = run(home.path(), ["db", "check", "--database-url", "postgres://me@127.0.0.1:1/orch"]).failed();
    assert!(checked.err.starts_with("error: the database `"), "{checked:?}");
}

#[tokio::test]
async fn a_database_that_refuses_is_not_one_that_cannot_be_reached() {
    let world = World::new().await;
    let database = world.url();
    let (path, query) = database.split_once('?').unwrap();
    let nowhere = format!("{path}_nowhere?{query}");
    let refused = world.run_at(&["--database-url", &nowhere], &["dags", "list"]).refused();
    assert!(refused.contains(" (from --database-url) refused the connection: database \""), "{refused}");
    assert!(
        refused.contains("_nowhere\" does not exist (SQLSTATE 3D000)\nhint: create the database with "),
        "{refused}"
    );
    assert_eq!(refused.matches("does not exist").count(), 1, "{refused}");
    assert!(!refused.contains("at line") && !refused.contains("reached"), "{refused}");

    // Roles belong to the server, which other tests share, so the name must be unique.
    let reader = format!("reader_cli_{}", std::process::id());
    let mut db = world.db().await;
    sqlx::raw_sql(AssertSqlSafe(format!("create role {reader} login"))).execute(&mut db).await.unwrap();
    let url = with_login(&world.url(), &reader, None);
    let refused = world.run_at(&["--database-url", &url], &["dags", "list"]).refused();
    sqlx::raw_sql(AssertSqlSafe(format!("drop role {reader}"))).execute(&mut db).await.unwrap();
    let lacks = format!("error: the login `{reader}` lacks the privilege SELECT on the table `schema_guard`");
    assert!(refused.starts_with(&lacks), "{refused}");
    let grant = format!("`grant select on all tables in schema \"public\" to \"{reader}\"`");
    assert!(refused.contains(&grant) && !refused.contains("migrate"), "{refused}");
}
