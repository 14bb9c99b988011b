//! Approvals of a task in a DAG file that take a week: real processes, a killed worker, a new version of the file,
//! responses over HTTP, and defaults for users who did not respond.

use crate::binary::{CommandOutput, command};
use crate::live::{free_port, web};
use crate::remote::{PASSWORD, token_of};
use crate::world::World;
use sqlx::PgConnection;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const FILE: &str = "dag_id: asking
tasks:
  approved:
    approval: {subject: 'Publish {{ run.run_id }}?', body: For all., timeout: 7d, defaults: [Reject]}
    on_awaiting_input: [team]
  publish: {bash: echo published, after: [approved]}
";
const ASKS_EVE: &str = "dag_id: asks_eve
tasks:
  named: {approval: {subject: 'Will you, Eve?', assigned_users: [eve]}}
";
const HOUR: i64 = 3_600;

/// Moves the timestamps of all waiting tasks into the past, as if time had passed.
async fn pass(db: &mut PgConnection, seconds: i64) {
    for text in [
        "update waiting set give_up_at = give_up_at - $1 * interval '1 s', wake_at = wake_at - $1 * interval '1 s'",
        "update approval set give_up_at = give_up_at - $1 * interval '1 s', asked_at = asked_at - $1 * interval '1 s'",
    ] {
        sqlx::query(text).bind(seconds).execute(&mut *db).await.unwrap();
    }
    let hint = format!("- {}", orch_store::hint::Hint::Due as u8);
    sqlx::query("select pg_notify('orch', $1)").bind(hint).execute(db).await.unwrap();
}

async fn number(db: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(db).await.unwrap()
}

const RUNNING: &str = "select count(*) from task_instance t join dag_run r on r.id = t.run
    where r.dag_id = 'asking' and t.state in ('running', 'restarting')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_waits_a_week_through_restarts_and_a_new_version_without_a_slot() {
    let mut world = World::new().await;
    let folder = world.path().join("files");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("asking.yaml"), FILE).unwrap();
    std::fs::write(folder.join("asks_eve.yaml"), ASKS_EVE).unwrap();
    for viewer in ["eve", "vic"] {
        let made = ["users", "create", "-u", viewer, "-r", "viewer"];
        assert_eq!(world.run_with(PASSWORD.as_bytes(), &made).code, 0);
    }
    let folder_text = folder.to_str().unwrap().to_string();
    let worker =
        ["worker", "--lease", "2s", "--slots", "1", "--paused-at-creation=false", "--dags-folder", &folder_text];
    let pid = world.start(&worker);
    let scheduler = world.start(&["scheduler"]);
    let port = free_port();
    web(&mut world, port);
    world.wait_for(&["dags", "list", "-o", "plain"], |ended| ended.out.contains("asking"));
    for run in ["yes", "no", "late"] {
        assert_eq!(world.run(&["dags", "trigger", "asking", "--run-id", run]).code, 0);
    }
    let open = ["approvals", "list", "-o", "json"];
    let asked = |ended: &CommandOutput| ended.out.matches("\"Publish ").count();
    world.wait_for(&open, |ended| asked(ended) == 3);
    let state = world.run(&["tasks", "state", "asking", "approved", "yes"]).out;
    assert_eq!(state.trim(), "awaiting_input");
    let why = world.run(&["tasks", "why", "asking", "approved", "yes"]).out;
    assert!(why.contains("It waits for an answer to 'Publish yes?', until "), "{why}");
    let mut db = world.db().await;
    assert_eq!(number(&mut db, RUNNING).await, 0);
    let other = world.run(&["dags", "trigger", "example_chain", "--run-id", "free", "--wait"]);
    assert_eq!(other.code, 0, "the one slot is free: {other:?}");

    // All processes stop, the file changes, and all but an hour of the week passes.
    world.kill(pid);
    world.kill(scheduler);
    pass(&mut db, 7 * 24 * HOUR - HOUR).await;
    std::fs::write(folder.join("asking.yaml"), format!("{FILE}  new: {{bash: echo new}}\n")).unwrap();
    world.start(&worker);
    world.start(&["scheduler"]);
    world.wait_for(&["tasks", "list", "asking"], |ended| ended.out.contains("new"));
    assert_eq!(asked(&world.run(&open)), 3);
    assert_eq!(number(&mut db, RUNNING).await, 0);

    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_mins(1), "the web server does not come: {}", world.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let url = format!("http://127.0.0.1:{port}");
    let by = |name: &str, arguments: &[&str]| {
        let mut command = command(world.path());
        command.env("ORCH_API_URL", &url).env("ORCH_API_TOKEN", token_of(&url, name));
        CommandOutput::of(&command.args(arguments).output().unwrap())
    };
    let remote = |arguments: &[&str]| by("admin", arguments);
    assert_eq!(asked(&remote(&open)), 3);
    let refused = remote(&["approvals", "answer", "asking", "approved", "yes", "Perhaps"]);
    assert!(refused.err.contains("`Perhaps` is no option"), "{refused:?}");
    let done = remote(&["approvals", "answer", "asking", "approved", "yes", "Approve"]);
    assert_eq!((done.code, done.err.trim()), (0, "task `approved` of run `yes` continues with: Approve"));
    let no = by("eve", &["approvals", "answer", "asking", "approved", "no", "Approve"]);
    assert!(no.code != 0 && no.err.contains("`eve` may not start runs"), "a viewer whom nobody named: {no:?}");
    let late = remote(&["approvals", "answer", "asking", "approved", "yes", "Reject"]);
    assert!(late.err.contains("`admin` has answered it already"), "{late:?}");
    let done = world.run(&["approvals", "answer", "asking", "approved", "no", "Reject"]);
    assert_eq!(done.code, 0, "{done:?}");
    let ended = |run: &str| world.run(&["tasks", "state", "asking", "publish", run]).out.trim().to_string();
    let wait = |run: &str, state: &str| {
        world.wait_for(&["tasks", "state", "asking", "publish", run], |ended| ended.out.trim() == state);
    };
    wait("yes", "success");
    wait("no", "skipped");
    assert_eq!(ended("late"), "none", "its time is not over");
    assert_eq!(asked(&remote(&open)), 1);

    // Only the named user may respond, even though she is a viewer; no other role may.
    assert_eq!(world.run(&["dags", "trigger", "asks_eve", "--run-id", "r"]).code, 0);
    world.wait_for(&open, |ended| ended.out.contains("Will you, Eve?"));
    for name in ["vic", "admin"] {
        let no = by(name, &["approvals", "answer", "asks_eve", "named", "r", "Approve"]);
        assert!(no.code != 0 && no.err.contains(&format!("`{name}` is not asked: one of eve is")), "{no:?}");
    }
    let done = by("eve", &["approvals", "answer", "asks_eve", "named", "r", "Approve"]);
    assert_eq!((done.code, done.err.trim()), (0, "task `named` of run `r` continues with: Approve"));

    pass(&mut db, 2 * HOUR).await;
    wait("late", "skipped");
    let gave = "select count(*) from output o join dag_run r on r.id = o.run where r.run_id = 'late'
        and o.value -> 'chosen_options' ->> 0 = 'Reject' and (o.value ->> 'timed_out')::boolean";
    assert_eq!(number(&mut db, gave).await, 1);
    assert_eq!(number(&mut db, "select count(*) from audit where event = 'answer_approval'").await, 3);
    let told = "select count(*) from alert where kind = 'task_awaiting_input' and dag_id = 'asking'";
    assert_eq!(number(&mut db, told).await, 3, "once for each question, whoever began anew");
    assert_eq!(asked(&world.run(&["approvals", "list", "--all", "-o", "json"])), 3);
    assert_eq!(number(&mut db, "select count(*) from attempt").await, 0, "nobody tried twice");
}
