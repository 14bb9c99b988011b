//! Commands that query a server and change its data.

use crate::binary::{CommandOutput, plain};
use crate::remote::{PASSWORD, token_of};
use crate::world::World;
use orch_store::guard::SCHEMA_VERSION;
use orch_test_support::proxy::Proxy;
use orch_test_support::rng::Rng;
use orch_test_support::{Durability, private_server};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[tokio::test]
async fn a_run_is_triggered_waited_for_and_looked_at() {
    let world = World::at_work().await;
    let trigger = ["dags", "trigger", "example_chain", "--run-id", "first", "--conf", "{\"a\": 1}", "--wait"];
    let ended = world.run(&trigger);
    assert_eq!(
        (ended.code, plain(&ended.err).as_str()),
        (0, "run `first` of dag `example_chain` ended: success after <duration>\n")
    );
    assert!(ended.out.contains("example_chain | first      | success | "), "{ended:?}");

    assert_eq!(world.run(&["dags", "state", "example_chain", "first"]).done(), "success, {\"a\":1}\n");
    assert_eq!(world.run(&["tasks", "state", "example_chain", "step_3", "first"]).done(), "success\n");
    let states = world.run(&["tasks", "states-for-dag-run", "example_chain", "first", "-o", "json"]).json();
    assert_eq!(states.as_array().unwrap().len(), 10);
    assert_eq!((&states[9]["task_id"], &states[9]["state"]), (&"step_10".into(), &"success".into()));
    let runs = world.run(&["dags", "list-runs", "example_chain", "-o", "json"]).json();
    assert_eq!((&runs[0]["run_id"], &runs[0]["state"]), (&"first".into(), &"success".into()));
    assert_eq!(world.run(&["runs", "wait", "first"]).code, 0);

    let again = world.run(&trigger).refused();
    assert_eq!(
        again,
        "error: dag `example_chain` has a run `first` already\nhint: choose another `--run-id`, or leave it out\n"
    );
}

#[tokio::test]
async fn a_run_that_fails_is_exit_code_one_and_its_log_says_why() {
    let world = World::at_work().await;
    let ended = world.run(&["dags", "trigger", "broken", "--run-id", "bad", "--wait", "-o", "json"]).failed();
    assert_eq!(
        plain(&ended.err),
        "run `bad` of dag `test_failing` ended: failed after <duration>\n\
        task `fail` failed: the source is empty\n\
        see its tasks with `orch tasks states-for-dag-run test_failing bad`\n"
    );
    let row: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&row[0]["dag_id"], &row[0]["state"]), (&"test_failing".into(), &"failed".into()));
    let log = world.wait_for(&["tasks", "logs", "test_failing", "fail", "bad"], |ended| !ended.out.is_empty());
    assert_eq!(plain(&log.out), "<time> WARNING this will not end well\n<time> ERROR   the source is empty\n");
    assert_eq!(log.err, "try 1 failed (retryable): the source is empty\n");
    let none = world.run(&["tasks", "logs", "test_failing", "say", "bad"]).refused();
    assert!(none.starts_with("error: task `say` has no try in run `bad`\nhint: "), "{none}");
    let why = world.run(&["tasks", "why", "test_failing", "say", "bad", "-o", "json"]).json();
    let reason = "task `fail` failed: the source is empty";
    assert_eq!(why, json!([{ "dependency": "Upstream", "reason": reason, "in_the_way": "" }]));
    assert_eq!(world.run(&["runs", "wait", "test_failing", "bad"]).code, 1);

    // The cleared tasks fail again, in the same run.
    let cleared =
        world.run(&["tasks", "clear", "test_failing", "--run-id", "bad", "--only-failed", "--yes", "-o", "plain"]);
    assert_eq!(cleared.err, "2 task instances cleared\n");
    assert!(cleared.out.contains("test_failing  bad     fail     -1         failed"), "{cleared:?}");
    assert_eq!(world.run(&["runs", "wait", "test_failing", "bad", "--timeout", "30s"]).code, 1);
    let second =
        world.wait_for(&["tasks", "logs", "test_failing", "fail", "bad"], |ended| ended.err.starts_with("try 2"));
    assert_eq!(second.err, "try 2 failed (retryable): the source is empty\n");
}

#[tokio::test]
async fn elements_of_a_mapped_task_have_states_and_logs_of_their_own() {
    let world = World::at_work().await;
    assert_eq!(world.run(&["dags", "trigger", "example_fan", "--run-id", "fan", "--wait"]).code, 0);
    assert_eq!(world.run(&["tasks", "state", "example_fan", "double", "fan", "--map-index", "3"]).done(), "success\n");
    let refused = world.run(&["tasks", "state", "example_fan", "double", "fan"]).refused();
    assert_eq!(
        refused,
        "error: task `double` is mapped: it has 20 elements in this run\nhint: name one with `--map-index 0`\n"
    );
    let refused = world.run(&["tasks", "state", "example_fan", "double", "fan", "--map-index", "20"]).refused();
    assert_eq!(refused, "error: task `double` has no element 20\nhint: its elements are 0 to 19\n");
    let refused = world.run(&["tasks", "state", "example_fan", "sum", "fan", "--map-index", "0"]).refused();
    assert_eq!(refused, "error: task `sum` is not mapped in this run\nhint: leave `--map-index` out\n");
}

#[tokio::test]
async fn a_paused_dag_keeps_its_runs_until_it_is_unpaused() {
    let world = World::at_work().await;
    let refused = world.run(&["dags", "trigger", "test_scheduled", "--wait"]).refused();
    assert_eq!(
        refused,
        "error: dag `test_scheduled` is paused: its run would not begin\n\
        hint: unpause it with `orch dags unpause test_scheduled`, or leave `--wait` out\n"
    );
    let waiting = world.run(&["dags", "trigger", "test_scheduled", "--run-id", "later", "-o", "json"]);
    assert_eq!(waiting.err, "dag `test_scheduled` is paused: the run waits for `orch dags unpause test_scheduled`\n");
    assert_eq!(waiting.json()[0]["state"], "queued");
    let unpaused = world.run(&["dags", "unpause", "test_scheduled", "-o", "json"]).json();
    assert_eq!(unpaused, serde_json::json!([{ "dag_id": "test_scheduled", "is_paused": false }]));
    assert_eq!(world.run(&["runs", "wait", "test_scheduled", "later", "--timeout", "30s"]).code, 0);

    let paused = world.run(&["dags", "pause", "test_.*", "--treat-dag-id-as-regex", "--yes", "-o", "plain"]).done();
    let all = world.run(&["dags", "list", "--tags", "test", "--columns", "dag_id", "-o", "plain"]).done();
    assert_eq!(paused.lines().count(), all.lines().count(), "{paused}");
    let listed = world.run(&["dags", "list", "--paused", "true", "--columns", "dag_id", "-o", "plain"]).done();
    assert_eq!(listed, all);
}

#[tokio::test]
async fn a_process_that_starts_before_its_database_waits_for_it() {
    let mut server = private_server(Durability::None).await;
    let mut world = World::new().await;
    world.set("ORCH_DATABASE_URL", server.url());
    server.stop().await;
    let impatient = world.start(&["scheduler", "--database-wait", "300ms"]);
    assert_eq!(world.wait_for_end(impatient), Some(2));
    let said = world.said();
    assert!(said.contains("error: the database `postgres://") && said.contains(" cannot be reached: "), "{said}");
    assert!(said.contains("hint: start the Postgres server at "), "{said}");
    let scheduler = world.start(&["scheduler"]);
    world.wait_until_said("waiting up to 60 s for the database").await;
    server.start().await;
    // The database has no schema, which is reported as an error instead of waiting longer.
    world.wait_until_said("the database is there after").await;
    assert_eq!(world.wait_for_end(scheduler), Some(2));
    assert!(world.said().contains("orch db migrate"), "{}", world.said());
}

/// Forwards connections to a port. Closes the second one when it opens, and the third one when the fifth opens.
async fn cut_connections(listener: TcpListener, port: u16) {
    let (mut forwarding, mut handles) = (JoinSet::new(), Vec::new());
    while let Ok((mut client, _)) = listener.accept().await {
        let number = handles.len() + 1;
        handles.push(forwarding.spawn(async move {
            if number == 2 {
                return;
            }
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
        }));
        if number == 5 {
            handles[2].abort();
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_during_the_start_does_not_end_the_process() {
    let mut world = World::new().await;
    let proxy = Proxy::start(&world.url(), Rng::new(1)).await;
    let options: PgConnectOptions = proxy.url().parse().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let own = listener.local_addr().unwrap().port();
    world.set("ORCH_DATABASE_URL", proxy.url().replace(&format!(":{}/", options.get_port()), &format!(":{own}/")));
    let mut cutting = JoinSet::new();
    cutting.spawn(cut_connections(listener, options.get_port()));
    let scheduler = world.start(&["scheduler"]);
    let mut db = world.db().await;
    let began = Instant::now();
    loop {
        let up: bool = sqlx::query_scalar("select exists (select from process)").fetch_one(&mut db).await.unwrap();
        if up {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "the scheduler is not up: {}", world.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let words = "the connection was lost during the start: connecting again";
    assert_eq!(world.said().matches(words).count(), 2, "{}", world.said());
    world.stop(scheduler);
    cutting.shutdown().await;
}

#[tokio::test]
async fn a_run_that_never_ends_is_cancelled() {
    let world = World::at_work().await;
    world.run(&["dags", "trigger", "test_lingering", "--run-id", "long"]).done();
    let refused = world.run(&["runs", "wait", "long", "--timeout", "100ms"]).refused();
    assert_eq!(
        refused,
        "error: run `long` is running after 0 s\nhint: it is still running: wait again with `orch runs wait test_lingering long`\n"
    );
    let refused = world.run(&["dags", "delete", "test_lingering", "--yes"]).refused();
    assert!(refused.starts_with("error: dag `test_lingering` has running runs\nhint: "), "{refused}");
    let cancelled = world.run(&["runs", "cancel", "test_lingering", "long"]);
    assert_eq!(
        (cancelled.code, cancelled.err.as_str()),
        (0, "run `long` is failed; what it was running is being stopped\n")
    );
    assert_eq!(world.run(&["dags", "state", "test_lingering", "long"]).done(), "failed\n");
    let again = world.run(&["runs", "cancel", "long"]);
    assert_eq!((again.code, again.err.as_str()), (0, "run `long` is over already: failed\n"));
    let deleted = world.run(&["dags", "delete", "test_lingering", "--yes"]);
    assert_eq!((deleted.code, deleted.err.as_str()), (0, "deleted dag `test_lingering` with 1 run\n"));
}

#[tokio::test]
async fn a_dag_shows_its_structure_and_its_next_runs() {
    let world = World::at_work().await;
    assert_eq!(world.run(&["tasks", "list", "test_failing"]).done(), "fail\nsay\n");
    let tasks = world.run(&["tasks", "list", "example_fan", "-o", "json"]).json();
    assert_eq!((&tasks[1]["task_id"], &tasks[1]["mapped"]), (&"double".into(), &true.into()));
    let details = world.run(&["dags", "details", "example_params", "-o", "json"]).json();
    assert_eq!(details["params"]["limit"]["maximum"], 10_000);
    let next = world.run(&["dags", "next-execution", "test_scheduled", "-n", "2"]);
    assert_eq!(plain(&next.out), "<time>\n<time>\n");
    assert!(next.out.lines().all(|line| line.contains("T00:00:00") || line.contains("T01:00:00")), "{next:?}");
    let never = world.run(&["dags", "next-execution", "example_chain"]);
    assert_eq!((never.code, never.out.as_str()), (0, ""));
    assert_eq!(never.err, "dag `example_chain` has no next run: it runs only by hand\n");
    let file = world.path().join("graph.dot");
    world.run(&["dags", "show", "example_diamond", "--save", file.to_str().unwrap()]).done();
    assert!(std::fs::read_to_string(file).unwrap().starts_with("digraph \"example_diamond\""));
    let yaml = world.run(&["dags", "list", "--columns", "dag_id,is_paused", "--tags", "test", "-o", "yaml"]).done();
    assert!(yaml.starts_with("- dag_id: test_children\n  is_paused: false\n- dag_id: "), "{yaml}");
}

#[tokio::test]
async fn the_doctor_finds_a_system_well_and_one_without_workers_not() {
    let world = World::at_work().await;
    world.wait_for(&["doctor"], |ended| ended.code == 0);
    let alone = World::new().await;
    let findings = alone.run(&["doctor", "-o", "json"]).failed();
    let listed: serde_json::Value = serde_json::from_str(&findings.out).unwrap();
    let wrong: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["result"] == "wrong")
        .map(|row| row["check"].as_str().unwrap())
        .collect();
    assert_eq!(wrong, ["partitions", "workers", "schedulers"]);
    let stopped = "insert into stream (name, bundle, version, spec, is_paused, failures, error, failed_at, retry_at)
        values ('orders', 'shop', '1', '{}', false, 3, 'offset 7 is gone', now(), 'infinity')";
    sqlx::query(stopped).execute(&mut alone.db().await).await.unwrap();
    let streams = alone.run(&["doctor", "-o", "json"]).failed().out;
    assert!(streams.contains("`orders` waits for a restart: offset 7 is gone"), "{streams}");
    let empty = alone.run(&["dags", "list"]);
    assert_eq!((empty.code, empty.out.as_str()), (0, ""));
    assert!(empty.err.starts_with("no dags: a worker registers"), "{empty:?}");
}

#[tokio::test]
async fn a_schema_is_made_checked_and_emptied() {
    let world = World::at_work().await;
    assert_eq!(world.run(&["db", "check"]).code, 0);
    assert_eq!(world.run(&["db", "migrate"]).err, format!("the schema is at version {SCHEMA_VERSION}\n"));
    let refused = world.run(&["db", "reset", "--yes"]).refused();
    assert!(refused.ends_with("is at work\nhint: stop all orch processes first\n"), "{refused}");
    let alone = World::new().await;
    let refused = alone.run(&["db", "reset"]).refused();
    assert!(refused.ends_with("There is no terminal to ask at\nhint: agree with `--yes`\n"), "{refused}");
    assert_eq!(alone.run(&["db", "reset", "--yes"]).err, format!("the schema is empty, at version {SCHEMA_VERSION}\n"));
    assert_eq!(alone.run(&["dags", "list", "-o", "json"]).done(), "[]\n");
}

#[tokio::test]
async fn the_doctor_names_what_does_not_follow_from_the_history() {
    let world = World::at_work().await;
    let listed = world.run(&["dags", "list", "-o", "json"]).json();
    let ids = listed.as_array().unwrap().iter().map(|dag| dag["dag_id"].as_str().unwrap().to_owned());
    let examples: Vec<String> = ids.filter(|id| id.starts_with("example_")).collect();
    for id in examples.iter().map(String::as_str).chain(["broken"]) {
        world.run(&["dags", "trigger", id, "--run-id", "one"]).done();
    }
    // `example_approval` waits for approvals, which stay open.
    for id in examples.iter().filter(|id| *id != "example_approval") {
        assert!(world.run(&["runs", "wait", id, "one"]).code < 2);
    }
    assert_eq!(world.run(&["runs", "wait", "broken", "one"]).code, 1);
    world.run(&["dags", "trigger", "test_lingering", "--run-id", "one"]).done();
    let healthy = world.run(&["doctor", "--verify-history"]);
    assert_eq!((healthy.code, healthy.out.as_str()), (0, ""), "{healthy:?}");
    assert!(healthy.err.starts_with("all that is stored follows from what happened\n"), "{healthy:?}");
    assert!(healthy.err.ends_with(" runs verified\n"), "all of them replayed: {healthy:?}");
    world.run(&["runs", "cancel", "test_lingering", "one"]).done();
    world.run(&["tasks", "clear", "broken", "--run-id", "one", "--only-failed", "--yes"]).done();
    assert_eq!(world.run(&["runs", "wait", "broken", "one"]).code, 1);
    assert_eq!(world.run(&["doctor", "--verify-history"]).code, 0);

    world.sql("update task_instance set state = 'success' where run = (select id from dag_run where dag_id = 'test_failing') and task = 0").await;
    let ended = world.run(&["doctor", "--verify-history", "--dag-id", "broken", "--json"]).failed();
    assert_eq!(ended.err, "1 difference in 1 of 1 run\n");
    let found: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        found,
        serde_json::json!([{ "dag_id": "test_failing", "run_id": "one", "task_id": "fail", "map_index": -1, "what": "state",
            "stored": "row success", "follows": "ledger failed" }])
    );
    assert_eq!(world.run(&["doctor", "--verify-history", "--since", "2999-01-01"]).code, 0);
    assert_eq!(world.run(&["doctor", "--since", "2999-01-01"]).code, 2);
}

#[tokio::test]
async fn a_scheduler_and_a_worker_report_that_they_are_ready() {
    let mut world = World::new().await;
    world.start(&["scheduler"]);
    world.start(&["worker", "--name", "loader", "--slots", "7", "--queues", "mysql,default"]);
    world.wait_until_said("orch scheduler is up on ").await;
    world.wait_until_said("orch worker `loader` is up with 7 slots for queues mysql, default\n").await;
}

#[tokio::test]
async fn processes_that_were_killed_do_not_count_as_alive() {
    let mut world = World::at_work().await;
    let found = |ended: &CommandOutput, check: &str| {
        let rows: Value = serde_json::from_str(&ended.out).unwrap();
        rows.as_array().unwrap().iter().find(|row| row["check"] == check).unwrap()["found"].as_str().unwrap().to_owned()
    };
    let doctor = world.run(&["doctor", "-o", "json"]);
    assert!(found(&doctor, "workers").starts_with("1 alive"), "{doctor:?}");
    // Without a scheduler, the state of a dead worker stays `running`.
    for pid in world.pids() {
        world.kill(pid);
    }
    world.wait_for(&["doctor", "-o", "json"], |ended| {
        found(ended, "workers") == "0 alive, 0 of 0 slots busy, 1 lost lately"
    });
    let mut db = world.db().await;
    sqlx::query("update process set heartbeat_at = now() - interval '31 seconds'").execute(&mut db).await.unwrap();
    assert_eq!(found(&world.run(&["doctor", "-o", "json"]), "schedulers"), "0 alive");
    let top = world.run(&["top", "--once"]).done();
    for role in ["scheduler", "worker"] {
        let line = top.lines().find(|line| line.starts_with(role)).unwrap();
        assert!(line.contains("silent"), "{top}");
    }
}

#[tokio::test]
async fn the_output_of_a_task_is_printed() {
    let world = World::at_work().await;
    world.run(&["dags", "trigger", "example_map", "--run-id", "one", "--wait"]).done();
    world.run(&["dags", "trigger", "example_chain", "--run-id", "one", "--wait"]).done();
    assert_eq!(world.run(&["tasks", "output", "example_chain", "step_3", "one"]).done(), "3\n");
    let none = world.run(&["tasks", "output", "example_chain", "step_3", "one", "--key", "rows"]).refused();
    assert_eq!(
        none,
        "error: task `step_3` has no output `rows` in run `one`\n\
        hint: name one of its outputs with `--key`: return_value\n"
    );
    let whole = world.run(&["tasks", "output", "example_chain", "step_33", "one"]).refused();
    assert!(whole.contains("did you mean"), "{whole}");
}

#[tokio::test]
async fn users_and_default_connections_are_listed_over_the_api() {
    let mut world = World::new().await;
    world.set("TEST_BRINGS_CONNECTIONS", "1");
    let url = world.serve(PASSWORD).await;
    world.set("ORCH_API_TOKEN", token_of(&url, "admin"));
    for list in [["users", "list", "-o", "json"], ["connections", "list", "-o", "json"]] {
        let local = world.run(&list).json();
        assert_eq!(world.run_at(&["--api-url", &url], &list).json(), local);
        assert_eq!(local.as_array().unwrap().len(), 1, "{local}");
    }
}
