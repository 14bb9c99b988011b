//! Cleanup of old rows by the command, by psql and by the scheduler, also if processes are killed.

use crate::binary::{CommandOutput, command};
use crate::live::{Browser, free_port, web};
use crate::world::World;
use orch_spec::DagSpec;
use orch_store::registry::{NewBundle, register_bundle};
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Runs of one DAG in August 2024.
const OLD_RUNS: &str = "insert into dag_run (id, version, ledger_format, state, run_type, ledger, counters, dag_id, run_id, run_after, triggered_by)
    select (substr(uuid_of_moment('2024-08-05 00:00+00'::timestamptz + n * interval '1 hour')::text, 1, 14) || '7000-8000-000000000000')::uuid,
      d.version, 1, 'success', 'manual', '{5}', '{}', 'old', 'run_' || n, '2024-08-05', 'test'
    from dag d, generate_series(1, 10) n where d.dag_id = 'old'";
const OLD_TASKS: &str = "insert into task_instance (run, attempt, map_index, task, try_no, max_tries, lease_no, state)
    select id, id, -1, 0, 1, 1, 1, 'success' from dag_run where dag_id = 'old'";

/// Registers the DAG `old` with one task. No worker runs it.
pub(crate) async fn register_old(db: &mut PgConnection) {
    let spec: DagSpec =
        serde_json::from_value(json!({ "dag_id": "old", "tasks": [{ "task_id": "t", "kind": "rust" }] })).unwrap();
    let bundle = NewBundle { name: "test".into(), dags: vec![Arc::new(spec)] };
    register_bundle(db, &bundle, false).await.unwrap();
}

async fn with_old_runs() -> World {
    let world = World::new().await;
    let mut db = world.db().await;
    register_old(&mut db).await;
    sqlx::query("select make_partitions('2024-08-05')").execute(&mut db).await.unwrap();
    for text in [OLD_RUNS, OLD_TASKS] {
        assert_eq!(sqlx::query(text).execute(&mut db).await.unwrap().rows_affected(), 10);
    }
    world
}

fn rows_of(listed: &Value, table: &str) -> i64 {
    listed.as_array().unwrap().iter().filter(|row| row["table"] == table).filter_map(|row| row["rows"].as_i64()).sum()
}

#[tokio::test]
async fn old_rows_are_counted_cleaned_exported_and_dropped() {
    let world = with_old_runs().await;
    let clean = ["db", "clean", "--clean-before-timestamp", "2024-08-05T05:00", "-o", "json"];
    let with = |more: &[&'static str]| [&clean[..], more].concat();
    let counted = world.run(&with(&["--dry-run"])).json();
    assert_eq!([rows_of(&counted, "dag_run"), rows_of(&counted, "task_instance")], [4, 4], "{counted}");
    assert!(world.run(&clean).refused().contains("agree with `--yes`"));
    assert!(world.run(&with(&["-t", "xcom", "-y"])).err.contains("go with their run: name `dag_run`"));
    let none = world.run(&with(&["--exclude-dag-ids", "old,other", "-y"])).json();
    assert_eq!(none, json!([]));
    let cleaned = world.run(&with(&["--batch-size", "3", "-y"])).json();
    assert_eq!([rows_of(&cleaned, "dag_run"), rows_of(&cleaned, "task_instance")], [4, 4], "{cleaned}");
    let whole = ["db", "clean", "--clean-before-timestamp", "2024-09-01", "--tables", "dag_run", "-y", "-o", "json"];
    let cleaned = world.run(&whole).json();
    let of_week = cleaned.as_array().unwrap().iter().find(|row| row["table"] == "task_instance").unwrap();
    assert_eq!((&of_week["week"], &of_week["how"]), (&json!("2024-08-05"), &json!("archived")));

    let folder = world.path().join("export");
    let path = folder.to_string_lossy().into_owned();
    let exported =
        world.run(&["db", "export-archived", "--output-path", &path, "--drop-archives", "-y", "-o", "json"]).json();
    let of_tasks = |table: &Value| table.as_str().unwrap().starts_with("archived__task_instance");
    let rows: i64 = exported
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| of_tasks(&row["table"]))
        .filter_map(|row| row["rows"].as_i64())
        .sum();
    assert_eq!(rows, 10, "{exported}");
    for row in exported.as_array().unwrap() {
        let manifest = std::path::Path::new(row["folder"].as_str().unwrap()).join("manifest.json");
        let manifest: Value = serde_json::from_str(&std::fs::read_to_string(manifest).unwrap()).unwrap();
        assert_eq!(manifest["rows"], row["rows"]);
    }
    assert!(world.run(&["db", "drop-archived", "-y"]).err.contains("nothing is archived"));
    let mut db = world.db().await;
    let deeds: i64 =
        sqlx::query_scalar("select count(*) from audit where event = 'clean_db'").fetch_one(&mut db).await.unwrap();
    assert_eq!(deeds, 3, "who cleaned is in the audit log");
}

#[tokio::test]
async fn without_an_archive_rows_go_for_good() {
    let world = with_old_runs().await;
    world.run(&["db", "clean", "--clean-before-timestamp", "2024-08-06", "--skip-archive", "--yes"]).done();
    assert!(world.run(&["db", "drop-archived", "-y"]).err.contains("nothing is archived"));
    let mut db = world.db().await;
    let left: i64 = sqlx::query_scalar("select count(*) from dag_run").fetch_one(&mut db).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_scheduler_rolls_old_logs_over_and_a_command_reads_them() {
    let mut world = with_old_runs().await;
    let said = r#"insert into log_chunk (run, attempt, lease_no, seq, lines, body)
        select id, id, 1, 0, 1, '{"event":"from long ago","level":"info","timestamp":"2024-08-05T00:00:00Z"}' from dag_run"#;
    world.sql(said).await;
    let logs = ["tasks", "logs", "old", "t", "run_3"];
    let before = world.run(&logs).done();
    assert_eq!(before, "2024-08-05T00:00:00Z INFO    from long ago\n");
    let archive = world.path().join("archive").to_string_lossy().into_owned();
    for (name, value) in
        [("ORCH_ARCHIVE", archive.as_str()), ("ORCH_LOG_RETENTION", "1d"), ("ORCH_RUN_RETENTION", "36500d")]
    {
        world.set(name, value);
    }
    world.start(&["scheduler"]);
    let recalled = world.wait_for(&logs, |ended| ended.err.contains("it was read from the archive"));
    assert_eq!(recalled.done(), before);
    assert!(world.path().join("archive/logs/2024w32").is_dir());
    // Without an archive in the settings, the message names the setting to use.
    world.sql("delete from recalled_log").await;
    world.set("ORCH_ARCHIVE", "");
    let refused = world.run(&logs).refused();
    assert!(refused.contains("name the archive with `ORCH_ARCHIVE`"), "{refused}");
}

/// Counts the rows in tables, in archived tables, and in files of dropped tables.
async fn where_rows_are(world: &World, archive: &Path, table: &str) -> [i64; 3] {
    let mut db = world.db().await;
    let text = "select relname::text from pg_class where relkind = 'r' and relname ~ ('^archived__' || $1 || '(_\\d{4}w\\d{2})?__')";
    let archived: Vec<String> = sqlx::query_scalar(text).bind(table).fetch_all(&mut db).await.unwrap();
    let mut rows = [0; 3];
    for (place, name) in [(0, table)].into_iter().chain(archived.iter().map(|name| (1, name.as_str()))) {
        let text = sqlx::AssertSqlSafe(format!("select count(*) from {name}"));
        rows[place] += sqlx::query_scalar::<_, i64>(text).fetch_one(&mut db).await.unwrap();
    }
    for folder in std::fs::read_dir(archive.join("tables")).into_iter().flatten() {
        let folder = folder.unwrap();
        let name = folder.file_name().to_string_lossy().into_owned();
        let is_of =
            name.starts_with(&format!("archived__{table}_2")) || name.starts_with(&format!("archived__{table}__"));
        if is_of && !archived.contains(&name) {
            let manifest = std::fs::read_to_string(folder.path().join("manifest.json")).unwrap();
            rows[2] += serde_json::from_str::<Value>(&manifest).unwrap()["rows"].as_i64().unwrap();
        }
    }
    rows
}

#[tokio::test]
async fn a_scheduler_that_is_killed_while_it_archives_is_followed_by_one_that_goes_on() {
    let mut world = with_old_runs().await;
    let archive = world.path().join("archive");
    world.set("ORCH_ARCHIVE", archive.to_string_lossy());
    world.set("ORCH_RUN_RETENTION", "1d");
    world.set("ORCH_LOG_RETENTION", "1d");
    let mut db = world.db().await;
    let (mut kills, mut millis) = (0, 0);
    loop {
        // Clears the time of the last retention pass, so that the next scheduler starts one immediately instead of
        // within the hour.
        sqlx::query("delete from duty where name = 'retention'").execute(&mut db).await.unwrap();
        let scheduler = world.start(&["scheduler"]);
        let begun = "select exists (select from pg_stat_activity where application_name = 'orch scheduler retire')
            or exists (select from retirement where retry_at is null)";
        while !sqlx::query_scalar::<_, bool>(begun).fetch_one(&mut db).await.unwrap() {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(millis)).await;
        world.kill(scheduler);
        for table in ["dag_run", "task_instance"] {
            let rows = where_rows_are(&world, &archive, table).await;
            assert_eq!(rows.iter().sum::<i64>(), 10, "{table} after {millis} ms: {rows:?}");
        }
        let done = "select exists (select from retirement where done_at is not null)";
        if sqlx::query_scalar::<_, bool>(done).fetch_one(&mut db).await.unwrap() {
            break;
        }
        (kills, millis) = (kills + 1, millis + 10);
    }
    assert!(kills > 2, "only {kills} were killed");
    assert_eq!(where_rows_are(&world, &archive, "task_instance").await, [0, 0, 10]);
}

#[tokio::test]
async fn an_archive_that_is_down_is_seen_and_nothing_goes_until_it_is_there_again() {
    let mut world = with_old_runs().await;
    let archive = world.path().join("archive");
    std::fs::write(&archive, "no folder").unwrap();
    world.set("ORCH_ARCHIVE", archive.to_string_lossy());
    world.set("ORCH_RUN_RETENTION", "1d");
    let scheduler = world.start(&["scheduler"]);
    let doctor = ["doctor", "-o", "json"];
    let seen = world.wait_for(&doctor, |ended| ended.out.contains("1 try failed in "));
    let found: Value = serde_json::from_str(&seen.failed().out).unwrap();
    let retention = found.as_array().unwrap().iter().find(|row| row["check"] == "retention").unwrap();
    assert_eq!(retention["result"], "wrong");
    assert!(retention["found"].as_str().unwrap().contains("of the archive: Not a directory"), "{retention}");
    assert_eq!(where_rows_are(&world, Path::new("/nowhere"), "task_instance").await.iter().sum::<i64>(), 10);

    let port = free_port();
    web(&mut world, port);
    let browser = Browser::log_in(port);
    let home = browser.get("/");
    assert!(home.contains("Old rows cannot be removed") && home.contains("of the archive: Not a directory"), "{home}");
    let workers = browser.get("/workers");
    assert!(workers.contains("nothing was dropped, and the disk fills; tried again at "), "{workers}");
    let ready = browser.get("/readyz");
    assert!(ready.contains(r#""retention":{"#) && ready.contains(r#""healthy":false"#), "{ready}");
    assert!(!ready.contains("Not a directory"), "strangers learn no places: {ready}");

    world.kill(scheduler);
    std::fs::remove_file(&archive).unwrap();
    world.sql("update retirement set retry_at = now()").await;
    world.start(&["scheduler"]);
    world.wait_for(&doctor, |ended| ended.out.contains("cleaned ") && !ended.out.contains("failed in "));
    assert_eq!(where_rows_are(&world, &archive, "task_instance").await, [0, 0, 10]);
    assert!(!browser.get("/").contains("Old rows cannot be removed"));
}

#[tokio::test]
async fn a_shell_opens_at_the_database_without_showing_the_password() {
    let world = World::new().await;
    let ask = |sql: &str| {
        let mut shell = command(world.path());
        shell.env("ORCH_DATABASE_URL", world.url()).args(["db", "shell", "--", "-X", "-A", "-t", "-c", sql]);
        CommandOutput::of(&shell.output().unwrap())
    };
    assert_eq!(ask("select count(*) from dag_run").done(), "0\n");
    assert_eq!(ask("select nonsense").code, 1);
}

#[tokio::test]
async fn parts_that_live_are_found_by_their_kind() {
    let mut world = World::new().await;
    let check = |world: &World, more: &[&str]| world.run(&[&["jobs", "check"], more].concat());
    assert_eq!(check(&world, &[]).failed().err, "No alive jobs found.\n");
    world.start(&["scheduler"]);
    let scheduler = ["jobs", "check", "--job-type", "SchedulerJob", "--local"];
    world.wait_for(&scheduler, |ended| ended.code == 0 && ended.err == "Found one alive job.\n");
    assert_eq!(check(&world, &["--job-type", "WorkerJob"]).code, 1);
    assert_eq!(check(&world, &["--hostname", "elsewhere"]).code, 1);
    world.start(&["scheduler"]);
    let all = ["jobs", "check", "--limit", "0"];
    world.wait_for(&all, |ended| ended.code == 1 && ended.err.contains("Found 2 alive jobs. Expected only one."));
    assert_eq!(check(&world, &["--limit", "0", "--allow-multiple"]).err, "Found 2 alive jobs.\n");
    assert!(check(&world, &["--allow-multiple"]).refused().contains("name a larger `--limit`"));
}

#[tokio::test]
async fn teams_are_refused_with_what_does_their_work() {
    let world = World::new().await;
    let refused = world.run(&["teams", "create", "sales"]).refused();
    assert!(refused.contains("there are no teams") && refused.contains("hint: an orch for each team"), "{refused}");
}

#[tokio::test]
async fn an_archive_that_this_binary_cannot_open_is_refused_at_the_start() {
    let mut world = World::new().await;
    world.set("ORCH_ARCHIVE", "s3://old/things");
    let refused = world.run(&["scheduler"]).refused();
    assert!(
        refused.contains("knows no archive like `s3://old/things`") && refused.contains("hint: name a folder"),
        "{refused}"
    );
}
