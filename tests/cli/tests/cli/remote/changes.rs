//! Commands that change data: same output, exit code and audit log with a database and over the API.

use super::World;
use crate::binary::{CommandOutput, plain};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use std::fs;

/// A change and its inverse, so that it can be made in both ways.
const CHANGES: [[&str; 2]; 11] = [
    ["pools set mysql 4 shop --include-deferred", "pools delete mysql"],
    ["pools set default_pool 64 smaller", "pools set default_pool -1 larger"],
    ["variables set limit 9 --description many", "variables delete limit"],
    ["connections add shop --conn-type http --conn-host db", "connections delete shop"],
    ["dags pause example_hello", "dags unpause example_hello"],
    ["dags pause example_.* --treat-dag-id-as-regex --yes", "dags unpause example_.* --treat-dag-id-as-regex --yes"],
    ["dags presets example_chain --save nightly --conf {\"a\":1}", "dags presets example_chain --delete nightly"],
    ["tasks mark example_chain step_9 far failed --yes", "tasks mark example_chain step_9 far success --yes"],
    ["tasks clear example_chain -i far -t ^step_8$ --downstream --yes -o json", "runs wait far"],
    ["tasks clear ^example_ch --dag-regex -t step_10 --yes", "runs wait far"],
    ["tasks clear example_chain -s 2020-01-01 --run-on-latest-version --yes", "runs wait far"],
];

type AuditedChange = (String, Option<String>, Option<String>, Option<String>, Option<Value>);

/// Returns the audit rows since the last call.
async fn written(db: &mut PgConnection, since: &mut i64) -> Vec<AuditedChange> {
    let text = "select event, dag_id, run_id, task_id, extra from audit where id > $1 order by id";
    let rows = sqlx::query_as(text).bind(*since).fetch_all(&mut *db).await.unwrap();
    *since = sqlx::query_scalar("select max(id) from audit").fetch_one(db).await.unwrap();
    rows
}

#[tokio::test]
async fn changes_are_told_and_written_down_the_same_both_ways() {
    let world = World::new();
    let mut db = world.db().await;
    world.local(&["dags", "trigger", "example_chain", "--run-id", "far", "--wait"]).done();
    let mut since = 0;
    written(&mut db, &mut since).await;
    for [change, back] in CHANGES {
        let words = |line: &'static str| line.split(' ').collect::<Vec<_>>();
        let both = |way: &dyn Fn(&[&str]) -> CommandOutput| [way(&words(change)), way(&words(back))].map(timeless);
        let local = (both(&|words| world.local(words)), written(&mut db, &mut since).await);
        let remote = (both(&|words| world.remote(words)), written(&mut db, &mut since).await);
        assert_eq!(local, remote, "{change}");
        assert!(local.0.iter().all(|ended| ended.code == 0) && !local.1.is_empty(), "{change}: {local:?}");
    }
}

fn timeless(ended: CommandOutput) -> CommandOutput {
    CommandOutput { err: plain(&ended.err), ..ended }
}

/// Starts orch with two paused DAGs that have two versions each. On version 1, each DAG has two finished and two queued
/// runs. Version 2 of `more` adds the task `tell`; version 2 of `other` replaces `say` with `tell`.
fn with_two_versions() -> World {
    let file = |dag_id: &str, tasks: &str| format!("dag_id: {dag_id}\ntasks:\n{tasks}");
    let (say, tell) = ("  say: {bash: echo hello}\n", "  tell: {bash: echo hello}\n");
    let (world, folder) =
        World::with_dag_files(&[("more.yaml", &file("more", say)), ("other.yaml", &file("other", say))]);
    for dag_id in ["more", "other"] {
        world.until(&["dags", "unpause", dag_id], |ended| ended.code == 0);
        for run in ["over-a", "over-b"] {
            world.local(&["dags", "trigger", dag_id, "--run-id", run, "--wait"]).done();
        }
        world.local(&["dags", "pause", dag_id]).done();
        for run in ["waits-a", "waits-b"] {
            world.local(&["dags", "trigger", dag_id, "--run-id", run]).done();
        }
    }
    fs::write(folder.join("more.yaml"), file("more", &format!("{say}{tell}"))).unwrap();
    fs::write(folder.join("other.yaml"), file("other", tell)).unwrap();
    for dag_id in ["more", "other"] {
        world.until(&["dags", "export", dag_id], |ended| ended.out.contains("tell"));
    }
    world
}

#[tokio::test]
async fn runs_come_to_another_version_the_same_both_ways() {
    let world = with_two_versions();
    let mut db = world.db().await;
    let mut since = 0;
    written(&mut db, &mut since).await;
    let gone = "task `say` is not finished and not in the other version";
    for (change, said, changes) in [
        ("runs move more waits-", "run `waits-N` continues in version 2 (was 1)\n".to_owned(), 1),
        (
            "tasks clear other --run-on-latest-version --yes -i over-",
            format!("run `over-N` stays in its own version: {gone}\n1 task instance cleared\n"),
            1,
        ),
        // The clear and the move are two audit rows.
        ("tasks clear more --run-on-latest-version --yes -i over-", "1 task instance cleared\n".to_owned(), 2),
    ] {
        // Each way uses a separate run.
        let told = |way: &dyn Fn(&[&str]) -> CommandOutput, nth: &str| {
            let line = format!("{change}{nth}");
            let ended = way(&line.split(' ').collect::<Vec<_>>());
            let text = |text: &str| text.replace(&format!("-{nth}"), "-N");
            (ended.code, text(&ended.out), text(&ended.err))
        };
        let deeds = |rows: Vec<AuditedChange>| rows.into_iter().map(|row| (row.0, row.1, row.4)).collect::<Vec<_>>();
        let local = (told(&|words| world.local(words), "a"), deeds(written(&mut db, &mut since).await));
        let remote = (told(&|words| world.remote(words), "b"), deeds(written(&mut db, &mut since).await));
        assert_eq!(local, remote, "{change}");
        assert_eq!((local.0.0, local.0.2, local.1.len()), (0, said, changes), "{change}");
    }
    let same = world.both(&["runs", "move", "more", "waits-a"]);
    assert_eq!((same.code, same.err.as_str()), (0, "run `waits-a` is of version 2 already, the newest\n"));
    let refused = |dag_id: &str, run: &str| world.both(&["runs", "move", dag_id, run]).refused();
    assert!(refused("other", "waits-a").starts_with(&format!(
        "error: run `waits-a` cannot continue in the newest version: {gone}\nhint: start a worker with the old version"
    )));
    world.local(&["tasks", "mark", "other", "say", "over-a", "success", "--yes"]).done();
    world.local(&["runs", "wait", "other", "over-a", "--timeout", "30s"]).done();
    assert_eq!(
        refused("other", "over-a"),
        "error: run `over-a` is over: success\n\
        hint: clear what shall run again: `orch tasks clear other --run-id over-a`\n"
    );
    for (dag_id, run) in [("more", "nothing"), ("nothing", "over-a")] {
        refused(dag_id, run);
    }
}
