//! Backups: a restore on another server brings back all data and secrets, and a failed restore changes nothing.

use crate::binary::{command, run};
use crate::secrets;
use crate::standalone::Standalone;
use crate::world::World;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SECRET: &str = "postgres://me:s3cret-of-mine@db.example.com:5432/sales";

#[test]
fn a_standalone_is_backed_up_while_it_works_and_restored_in_an_empty_folder() {
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let standalone = Standalone::start(home.path(), &["--no-web"]);
    run(home.path(), ["dags", "trigger", "example_chain", "--run-id", "kept", "--wait"]).done();
    run(home.path(), ["connections", "add", "planted", "--conn-uri", SECRET]).done();
    run(home.path(), ["variables", "set", "colour", "blue"]).done();
    let file = home.path().join("monday.backup");
    let said = run(home.path(), ["db", "backup", path(&file)]);
    assert_eq!((said.code, said.out.trim()), (0, path(&file)), "{said:?}");
    for words in ["1 connection and 1 variable are in", "not in it, so keep it yourself: the key in", "secret.key"] {
        assert!(said.err.contains(words), "{words}: {said:?}");
    }
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "logs and hashes of passwords are in it");
    let bytes = std::fs::read(&file).unwrap();
    assert!(!bytes.windows(14).any(|part| part == b"s3cret-of-mine"), "secrets are sealed in it");
    let again = run(home.path(), ["db", "backup", path(&file)]).refused();
    assert!(again.ends_with(" is there\nhint: choose another name\n"), "{again}");
    let busy = run(home.path(), ["db", "restore", path(&file), "--yes"]).refused();
    assert!(busy.contains("this database is in use: orch ") && busy.contains("hint: stop all"), "{busy}");
    drop(standalone);

    // Another machine, with the key of the first one.
    let other = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let restored = run(other.path(), ["db", "restore", path(&file)]);
    assert_eq!(restored.code, 0, "an empty database is not asked about: {restored:?}");
    assert!(restored.err.contains("1 connection and 1 variable are restored from"), "{restored:?}");
    assert!(restored.err.contains("2 of its secrets cannot be opened with the keys that are here"), "{restored:?}");
    std::fs::copy(home.path().join("data/secret.key"), other.path().join("data/secret.key")).unwrap();
    let runs = run(other.path(), ["runs", "list", "-o", "json"]).json();
    assert_eq!((&runs[0]["run_id"], &runs[0]["state"]), (&"kept".into(), &"success".into()), "{runs}");
    assert_eq!(run(other.path(), ["variables", "get", "colour"]).done().trim(), "blue");
    let exported = run(other.path(), ["connections", "get", "planted", "-o", "json"]);
    let log = run(other.path(), ["tasks", "logs", "example_chain", "step_1", "kept"]);
    assert!(log.code == 0 && exported.code == 0, "{log:?} {exported:?}");
    // The restored installation is operational.
    let second = Standalone::start(other.path(), &["--no-web"]);
    assert_eq!(run(other.path(), ["dags", "trigger", "example_chain", "--wait"]).code, 0);
    let doctor = run(other.path(), ["doctor", "-o", "plain"]);
    assert!(!doctor.out.contains("no role"), "{doctor:?}");
    drop(second);
}

#[tokio::test]
async fn what_is_restored_takes_the_place_of_all_or_of_nothing() {
    let world = secrets::world().await;
    let colour = || world.run(&["variables", "get", "colour"]).done().trim().to_owned();
    let file = world.path().join("a.backup");
    let restore = |file: &Path| world.run(&["db", "restore", path(file), "--yes"]);
    world.run(&["variables", "set", "colour", "blue"]).done();
    world.run(&["db", "backup", path(&file)]).done();
    world.run(&["variables", "set", "colour", "red"]).done();

    let unasked = world.run(&["db", "restore", path(&file)]).refused();
    assert!(
        unasked.contains("This deletes 0 dags, 0 runs and all else of orch in this database. There is no terminal"),
        "{unasked}"
    );
    assert!(restore(&world.path().join("missing")).refused().contains("there is no file"));
    let other = world.path().join("other.backup");
    std::fs::write(&other, "no backup").unwrap();
    assert!(restore(&other).refused().contains("pg_restore` failed"));
    // The end of the file is missing, which is detected when half of it is restored.
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&other, &whole[..whole.len() - 2_000]).unwrap();
    restore(&other).refused();
    assert_eq!(colour(), "red", "what was there is there");

    let restored = restore(&file);
    assert!(restored.code == 0 && !restored.err.contains("cannot be opened"), "{restored:?}");
    assert_eq!(colour(), "blue");
    assert_eq!(world.run(&["db", "check"]).code, 0);
    let aside = "select count(*) from pg_namespace where nspname like 'orch_aside%'";
    let left: i64 = sqlx::query_scalar(aside).fetch_one(&mut world.db().await).await.unwrap();
    assert_eq!(left, 0, "what was replaced is gone");
}

#[tokio::test]
async fn what_pipelines_made_in_schemas_of_their_own_is_named_and_goes_along_when_asked_for() {
    let world = secrets::world().await;
    let mut db = world.db().await;
    let made = "create schema \"the marts\"; create table \"the marts\".sales (euros int);
        insert into \"the marts\".sales values (1), (2); create schema other; create table other.kept (n int); create schema empty";
    sqlx::raw_sql(made).execute(&mut db).await.unwrap();
    let backup = |name: &str, more: &[&str]| {
        let file = world.path().join(name);
        let ended = world.run(&[&["db", "backup", path(&file)], more].concat());
        (file, ended)
    };
    let (_, plain) = backup("plain", &[]);
    let left = "nor what is not orch's in this database, the schemas `other` (1 table, 0.0 MB), `the marts` (1 table, 0.0 MB): \
        `--all-schemas` takes them along";
    assert!(plain.code == 0 && plain.err.contains(left), "{plain:?}");
    let (_, missing) = backup("missing", &["--schema", "mart"]);
    let refused = missing.refused();
    assert!(refused.contains("nothing is in a schema `mart` of pipelines\nhint: there are `other` "), "{refused}");
    let (file, with) = backup("with", &["--schema", "the marts"]);
    assert!(
        with.err.contains("so are the schemas `the marts` (1 table, ") && with.err.contains("the schemas `other` ("),
        "{with:?}"
    );

    sqlx::raw_sql("delete from \"the marts\".sales; insert into other.kept values (7)").execute(&mut db).await.unwrap();
    let unasked = world.run(&["db", "restore", path(&file)]).refused();
    assert!(
        unasked.contains("of orch in this database, and the schema `the marts`. There is no terminal"),
        "{unasked}"
    );
    let restored = world.run(&["db", "restore", path(&file), "--yes"]);
    assert!(restored.err.contains("the schemas `the marts` (1 table, 0.0 MB) are restored"), "{restored:?}");
    assert!(restored.err.contains("left as it is: the schemas `other` ("), "{restored:?}");
    let found: (i64, i64) =
        sqlx::query_as("select (select sum(euros) from \"the marts\".sales), (select count(*) from other.kept)")
            .fetch_one(&mut db)
            .await
            .unwrap();
    assert_eq!(found, (3, 1), "what was in it is as it was, the rest as it is");
    let (_, all) = backup("all", &["--all-schemas"]);
    assert!(all.code == 0 && !all.err.contains("nor what is not orch's"), "{all:?}");
}

/// Returns what all users of this machine can see of its processes: the pid of the parent, and the command line.
fn command_lines() -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        // The process has ended meanwhile.
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let Ok(status) = std::fs::read_to_string(entry.path().join("status")) else { continue };
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")?.parse().ok()).unwrap_or(0);
        found.push((parent, String::from_utf8_lossy(&line).replace('\0', " ")));
    }
    found
}

/// Starts a command with the password in its environment and watches all processes until the command has started
/// `program` (if `is_enough`) or has ended. Returns true if it started `program`.
fn watch(world: &World, password: &str, arguments: &[&str], program: &str, is_enough: bool) -> (Child, bool) {
    let url = format!("{}&password={password}", world.url());
    let mut command = command(world.path());
    command.env("ORCH_DATABASE_URL", url).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut is_seen = false;
    loop {
        let lines = command_lines();
        let shown = lines.iter().find(|(_, line)| line.contains(password));
        assert!(shown.is_none(), "the password is in the list of processes: {shown:?}");
        is_seen |= lines.iter().any(|(parent, line)| {
            *parent == child.id() && line.split(' ').next().is_some_and(|name| name.ends_with(program))
        });
        if (is_seen && is_enough) || child.try_wait().unwrap().is_some() {
            return (child, is_seen);
        }
    }
}

#[tokio::test]
async fn the_password_is_never_in_the_list_of_processes() {
    let world = World::new().await;
    let password = format!("hidden{}", std::process::id());
    let mut db = world.db().await;
    // Both programs wait for this table lock while the processes are watched.
    for text in ["begin", "lock table favorite in access exclusive mode"] {
        sqlx::query(text).execute(&mut db).await.unwrap();
    }
    let file = world.path().join("a.backup");
    let (mut backup, is_seen) = watch(&world, &password, &["db", "backup", path(&file)], "pg_dump", true);
    assert!(is_seen, "pg_dump was at work");
    let count = "select count(*) from favorite";
    let (mut shell, is_seen) = watch(&world, &password, &["db", "shell", "--", "-X", "-c", count], "psql", true);
    assert!(is_seen, "psql was at work");
    sqlx::query("rollback").execute(&mut db).await.unwrap();
    assert!(backup.wait().unwrap().success() && shell.wait().unwrap().success());
    drop(db);
    let (mut restore, is_seen) =
        watch(&world, &password, &["db", "restore", path(&file), "--yes"], "pg_restore", false);
    assert!(restore.wait().unwrap().success());
    assert!(is_seen, "pg_restore was at work");
}

#[tokio::test]
async fn a_backup_of_a_newer_orch_is_refused_before_anything_is_touched() {
    let world = World::new().await;
    let file = world.path().join("newer.backup");
    world.sql("update schema_guard set version = 9000, min_binary = 9000").await;
    let url = world.url();
    let dumped = Command::new("pg_dump").args(["--format=custom", "--file", path(&file), "--dbname", &url]).output();
    assert!(dumped.as_ref().unwrap().status.success(), "{dumped:?}");
    let refused = world.run(&["db", "restore", path(&file), "--yes"]).refused();
    assert!(refused.starts_with("error: the backup is of schema version 9000, this binary knows "), "{refused}");
    let version: i32 =
        sqlx::query_scalar("select version from schema_guard").fetch_one(&mut world.db().await).await.unwrap();
    assert_eq!(version, 9000);
}

#[tokio::test]
async fn a_backup_that_is_too_old_to_be_brought_up_is_refused_before_anything_is_touched() {
    let world = World::new().await;
    let file = world.path().join("older.backup");
    world.sql("update schema_guard set version = 23").await;
    let url = world.url();
    let dumped = Command::new("pg_dump").args(["--format=custom", "--file", path(&file), "--dbname", &url]).output();
    assert!(dumped.as_ref().unwrap().status.success(), "{dumped:?}");
    let told = "error: the database schema is version 23, this binary needs ";
    for arguments in [&["db", "restore", path(&file), "--yes"][..], &["db", "migrate"], &["dags", "list"]] {
        let refused = world.run(arguments).refused();
        assert!(
            refused.starts_with(told) && refused.contains("hint: bring the database up with the orch of commit"),
            "{refused}"
        );
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
