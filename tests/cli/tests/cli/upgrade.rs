//! The previous release was killed with 205 runs in flight (tests/upgrade). This release starts on its database and
//! finishes them: no run is lost, and no task has its effect twice.

use crate::binary::{command, run};
use crate::standalone::Standalone;
use orch_test_support::{Receiver, TestDb, previous};
use sqlx::PgConnection;
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

/// Takes half a minute on this machine if nothing else runs.
const PATIENCE: Duration = Duration::from_mins(4);

/// The DAGs, the number of their runs, and the effects of each finished run.
const RUNS: [(&str, usize, &[&str]); 9] = [
    ("upgrade_queue", 40, &["hold", "last"]),
    ("upgrade_work", 50, &["first", "hold", "last"]),
    ("upgrade_retry", 30, &["flaky", "last"]),
    ("upgrade_sensor", 25, &["last"]),
    ("upgrade_map", 15, &["each 0", "each 1", "each 2", "each 3", "each 4", "last"]),
    ("upgrade_pool", 25, &["narrow"]),
    ("upgrade_approval", 12, &["last"]),
    ("upgrade_producer", 5, &["hold"]),
    ("upgrade_over", 10, &["only"]),
];

/// Counts of unfinished work.
const LEFT: [(&str, &str); 5] = [
    ("runs", "select count(*) from dag_run where dag_id like 'upgrade%' and state in ('queued', 'running')"),
    ("backfills", "select count(*) from backfill where completed_at is null"),
    ("events", "select (select count(*) from asset_queue) + (select count(*) from asset_event where not distributed)"),
    ("due", "select count(*) from asset_due"),
    ("alerts", "select count(*) from alert where state = 'waiting'"),
];

/// Expected counts after the upgrade.
const AFTER: [(&str, i64, &str); 10] = [
    (
        "well",
        235,
        "select count(*) from dag_run where dag_id like 'upgrade%' and dag_id <> 'upgrade_consumer' and state = 'success'",
    ),
    ("failed before", 4, "select count(*) from dag_run where dag_id = 'upgrade_failed' and state = 'failed'"),
    (
        "others",
        0,
        "select count(*) from dag_run where dag_id not in ('upgrade_failed', 'example_hello') and state <> 'success'",
    ),
    ("dates", 20, "select count(*) from backfill_run where state = 'success'"),
    // Attempts that another worker has taken over, once each.
    ("lost tries", 92, "select count(*) from task_instance where lost_no = 1"),
    ("lost twice", 0, "select count(*) from task_instance where lost_no > 1"),
    ("retries", 30, "select count(*) from attempt where try_no = 1"),
    ("consumed", 7, "select count(distinct event) from dag_run_event"),
    ("consumed twice", 0, "select count(*) - count(distinct event) from dag_run_event"),
    ("parked", 0, "select count(*) from parked_run"),
];

async fn number(db: &mut PgConnection, text: &'static str) -> i64 {
    sqlx::query_scalar(text).fetch_one(db).await.unwrap()
}

async fn run_ids(db: &mut PgConnection, dag_id: &str) -> BTreeSet<String> {
    let ids = sqlx::query_scalar("select run_id from dag_run where dag_id = $1").bind(dag_id).fetch_all(db).await;
    ids.unwrap().into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_in_flight_go_through_an_upgrade_and_none_is_lost_or_done_twice() {
    let (database, receiver) = (TestDb::of_the_previous_release().await, Receiver::http().await);
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    fs::write(home.path().join("effects"), previous::EFFECTS).unwrap();
    let mut db = database.connect().await;
    let in_flight = number(&mut db, LEFT[0].1).await;
    assert!(in_flight >= 200, "{in_flight}");

    let chat = format!(r#"{{"conn_type": "webhook", "host": "http://127.0.0.1:{}"}}"#, receiver.port());
    let mut command = command(home.path());
    command.env("ORCH_CONN_UPGRADE_CHAT", chat).env("ORCH_DATABASE_URL", database.url());
    // The age of the fixture must not matter.
    let kept = ["--run-retention", "36500d", "--log-retention", "36500d"];
    let _standalone = Standalone::start_by(command, &[&["--dags-folder", previous::DAGS], &kept[..]].concat());
    let say = |arguments: &[&str]| run(home.path(), arguments).done();
    say(&["dags", "unpause", "upgrade_consumer"]);
    say(&["dags", "trigger", "upgrade_signal", "--run-id", "go"]);
    for number in 0..12 {
        say(&["approvals", "answer", "upgrade_approval", "asked", &format!("run{number}"), "Approve"]);
    }

    let began = Instant::now();
    loop {
        let mut left = Vec::new();
        for (what, text) in LEFT {
            left.push((what, number(&mut db, text).await));
        }
        if left.iter().all(|(_, count)| *count == 0) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "these are not over: {left:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    eprintln!("{in_flight} runs were over after {:?}", began.elapsed());

    for (what, expected, text) in AFTER {
        assert_eq!(number(&mut db, text).await, expected, "{what}: {text}");
    }
    let mut expected: Vec<String> = Vec::new();
    for (dag, runs, tasks) in RUNS {
        expected.extend((0..runs).flat_map(|run| tasks.iter().map(move |task| format!("{dag} run{run} {task}"))));
    }
    expected.extend(
        ["upgrade_producer done1 hold", "upgrade_producer done2 hold", "upgrade_signal go only"].map(String::from),
    );
    expected
        .extend(run_ids(&mut db, "upgrade_backfill").await.iter().map(|run| format!("upgrade_backfill {run} hold")));
    expected
        .extend(run_ids(&mut db, "upgrade_consumer").await.iter().map(|run| format!("upgrade_consumer {run} only")));
    expected.sort();
    let effects = fs::read_to_string(home.path().join("effects")).unwrap();
    let mut effects: Vec<&str> = effects.lines().collect();
    effects.sort_unstable();
    assert_eq!(effects, expected, "each effect once, over before and after");

    // Alerts that were pending before the kill are sent after it, and none is sent twice.
    let letters = receiver.letters();
    let keys: BTreeSet<&str> = letters.iter().map(|letter| letter.head["idempotency-key"].as_str()).collect();
    assert_eq!((letters.len(), keys.len()), (56, 56));
    assert_eq!(number(&mut db, "select count(*) from alert where state = 'sent'").await, 56);

    let verified = run(home.path(), ["doctor", "--verify-history"]);
    assert_eq!((verified.code, verified.out.as_str()), (0, ""), "{verified:?}");
}
