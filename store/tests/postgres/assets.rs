//! Assets: registration, events that exist only for successful attempts, and runs that are triggered exactly once.

use crate::fixture::{Hands, chain, dag, database, number, one, register, trigger};
use orch_spec::DagSpec;
use orch_spec::asset::{AssetEvent, LineageEdge};
use orch_spec::state::TaskState;
use orch_store::StoreError;
use orch_store::asset::{
    ASSETS, NewEvent, QueueFilter, add_event, begin_triggered_runs, by, dags_to_ask, distribute, edges_of_asset,
    list_queued, mark_stale, runs_of_events, stale_assets, triggering_events, uses_of,
};
use orch_store::connect;
use orch_store::dag::{dag_dependencies, pause, unpause};
use orch_store::list::Search;
use orch_store::locks::Locks;
use orch_store::run::RunRow;
use orch_store::step::{Claimed, EndedTry, Mode, NextTry, Stepper, Touched, WorkerStep};
use orch_store::version::Versions;
use orch_test_support::TestDb;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use uuid::Uuid;

const LONG: Duration = Duration::from_mins(5);

fn consumer(dag_id: &str, schedule: &Value) -> Arc<DagSpec> {
    dag(json!({ "dag_id": dag_id, "schedule": schedule, "max_active_runs": 1_000_000,
        "tasks": [{ "task_id": "t", "kind": "rust" }] }))
}

fn producer(retries: u32) -> Arc<DagSpec> {
    dag(json!({ "dag_id": "producer", "max_active_runs": 1000,
        "tasks": [{ "task_id": "t", "kind": "rust", "outlets": ["a"], "retries": retries },
            { "task_id": "u", "kind": "rust", "after": ["t"] }] }))
}

fn ended(claimed: &Claimed, state: TaskState, uris: &[&str]) -> EndedTry {
    let touched = Touched {
        dag_id: "producer".into(),
        run_id: "r".into(),
        task_id: "t".into(),
        events: uris.iter().map(|uri| AssetEvent::of(*uri).extra(json!({ "rows": 3 })).rows(3)).collect(),
        edges: vec![LineageEdge { from: "raw".into(), to: "a".into(), rows: Some(3) }],
    };
    EndedTry { touched: Some(Box::new(touched)), ..EndedTry::new(claimed.lease, state) }
}

/// Records asset events that no task produced, as the API does.
async fn say(db: &mut PgConnection, uris: &str) {
    for word in uris.split_whitespace() {
        let (uri, key) = word.split_once('/').map_or((word, None), |(uri, key)| (uri, Some(key.to_string())));
        let asset: i32 =
            sqlx::query_scalar("select id from asset where uri = $1").bind(uri).fetch_one(&mut *db).await.expect(uri);
        let new = NewEvent { asset, partition_key: key, extra: json!({}) };
        add_event(db, &new).await.expect("it is said").expect("the asset is known");
    }
}

/// Runs one round of a scheduler and returns the triggered runs.
async fn round(db: &mut PgConnection, versions: &mut Versions) -> Result<Vec<RunRow>, StoreError> {
    distribute(db, 100).await?;
    let mut runs = Vec::new();
    for dag_id in dags_to_ask(db, 100).await? {
        runs.extend(begin_triggered_runs(db, Locks::begin(), versions, &dag_id).await?);
    }
    Ok(runs)
}

/// Records asset events, runs one scheduler round, and checks how many events each triggered run consumed.
async fn check(db: &mut PgConnection, uris: &str, expected: &[usize]) {
    say(db, uris).await;
    let runs = round(db, &mut Versions::default()).await.expect("a round");
    let mut consumed = Vec::new();
    for run in &runs {
        consumed.push(triggering_events(db, run.id).await.expect("events").len());
    }
    assert_eq!(consumed, expected, "after `{uris}`");
}

#[tokio::test]
async fn a_registration_knows_where_assets_are_named() {
    let database = database().await;
    let mut db = one(&database).await;
    let words =
        json!({ "uri": "a", "name": "sales", "group": "gold", "extra": { "owner": "me" }, "fresh_within_ms": 1000 });
    let spec = |outlets: Value| {
        dag(
            json!({ "dag_id": "p", "tasks": [{ "task_id": "t", "kind": "rust", "outlets": outlets, "inlets": ["b"] }] }),
        )
    };
    let both = [spec(json!([words, { "alias": "x" }])), consumer("c", &json!({ "assets": [{ "uri": "a" }] }))];
    register(&mut db, &both).await;
    let by_uri = Search::default().by(by::URI.ascending());
    let found = ASSETS.rows(&mut db, &by_uri).await.unwrap();
    let words = |f: &[orch_store::asset::AssetRow]| -> Vec<String> {
        f.iter().map(|a| format!("{} {} {} {} {:?}", a.uri, a.name, a.group_name, a.extra, a.fresh_within_ms)).collect()
    };
    assert_eq!(words(&found), ["a sales gold {\"owner\":\"me\"} Some(1000)", "b b asset {} None"]);
    let uses = uses_of(&mut db, &[found[0].id, found[1].id]).await.unwrap();
    let places: Vec<String> = uses.iter().map(|u| format!("{} {} {}", u.role, u.dag_id, u.task_id)).collect();
    assert_eq!(places, ["outlet p t", "schedule c ", "inlet p t"]);

    // Registering an unchanged DAG changes nothing. Registering a changed DAG replaces its rows.
    register(&mut db, &both).await;
    assert_eq!(number(&mut db, "select count(*) from asset_use").await, 4);
    register(&mut db, &[spec(json!(["c"])), both[1].clone()]).await;
    let found = ASSETS.rows(&mut db, &by_uri).await.unwrap();
    assert_eq!(words(&found), ["a a asset {} None", "b b asset {} None", "c c asset {} None"]);
    register(&mut db, &[consumer("c", &json!("manual"))]).await;
    let found = ASSETS.rows(&mut db, &by_uri.and(by::ONLY_ACTIVE.holds())).await.unwrap();
    assert_eq!(found.iter().map(|a| a.uri.as_str()).collect::<Vec<_>>(), ["b", "c"]);
}

#[tokio::test]
async fn dags_that_start_others_or_wait_for_them_are_listed() {
    let database = database().await;
    let mut db = one(&database).await;
    let task = |id: &str, kind: &str, config: Value| json!({ "task_id": id, "kind": kind, "config": config });
    let run = json!({ "kind": "run", "config": { "dag_id": "orders", "which": { "run_id": "r" } } });
    let until = json!({ "kind": "any", "config": { "of": [{ "kind": "file", "config": { "path": "/x" } }, run] } });
    let report = |tasks: Value| dag(json!({ "dag_id": "report", "tasks": tasks }));
    let all = report(json!([
        task("again", "trigger_dag", json!({ "dag_id": "mail" })),
        task("mail", "trigger_dag", json!({ "dag_id": "mail", "wait": true })),
        task("stock", "wait_for_dag", json!({ "dag_id": "stock" })),
        task("any", "wait", json!({ "until": until })),
        task("work", "rust", json!({ "dag_id": "nothing" })),
        { "task_id": "empty", "kind": "rust" },
    ]));
    register(&mut db, &[all, chain("mail", 1)]).await;
    let listed = async |db: &mut PgConnection| -> Vec<String> {
        let found = dag_dependencies(db, 100).await.unwrap();
        found.iter().map(|d| format!("{} {} {}", d.dag_id, d.role, d.other)).collect()
    };
    assert_eq!(listed(&mut db).await, ["report trigger mail", "report wait orders", "report wait stock"]);
    // Only the newest version of a DAG determines its assets.
    register(&mut db, &[report(json!([task("stock", "wait_for_dag", json!({ "dag_id": "stock" }))]))]).await;
    assert_eq!(listed(&mut db).await, ["report wait stock"]);
}

#[tokio::test]
async fn an_event_is_there_exactly_if_the_success_is() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[producer(1)]).await[0].version_id;
    let mut versions = Versions::default();
    let mut hands = Hands::new(&database, &[version], LONG).await;
    let events = "select count(*) from asset_event";

    // A failure or a retry records no event.
    let run = trigger(&mut db, &mut versions, "producer").await;
    let claimed = hands.claim(1).await.remove(0);
    let attempt = Uuid::now_v7();
    let next = NextTry { attempt, wake_in_ms: 0, version, queue: 1, priority: 1, wait: None };
    let retry = EndedTry { next: Some(next), ..ended(&claimed, TaskState::UpForRetry, &["a"]) };
    assert!(hands.record(retry).await);
    assert_eq!(number(&mut db, events).await, 0);
    let again = hands.claim(1).await.remove(0);
    // A success under the old lease is rejected.
    assert!(!hands.record(ended(&claimed, TaskState::Success, &["a"])).await);
    assert_eq!(number(&mut db, events).await, 0);
    // Recording the success twice stores both events only once.
    assert!(hands.record(ended(&again, TaskState::Success, &["a", "new"])).await);
    assert!(!hands.record(ended(&again, TaskState::Success, &["a", "new"])).await);
    assert_eq!(number(&mut db, events).await, 2);
    assert_eq!(number(&mut db, "select count(*) from lineage").await, 1);
    let event: (String, Option<i64>, Uuid, i32) =
        sqlx::query_as("select extra::text, rows, source_run, source_map_index from asset_event order by id limit 1")
            .fetch_one(&mut db)
            .await
            .unwrap();
    assert_eq!(event, ("{\"rows\":3}".into(), Some(3), run.id, -1));
    // Events of an unregistered asset have no asset id until distribution registers the asset.
    assert_eq!(number(&mut db, "select count(*) from asset_event where asset is null").await, 1);
    assert_eq!(distribute(&mut db, 10).await.unwrap(), 2);
    assert_eq!(distribute(&mut db, 10).await.unwrap(), 0);
    assert_eq!(number(&mut db, "select count(*) from asset_event e join asset a on a.id = e.asset").await, 2);
    let edges = edges_of_asset(&mut db, "a", 10).await.unwrap();
    assert_eq!((edges.len(), edges[0].from_uri.as_str(), edges[0].rows), (1, "raw", Some(3)));
}

#[tokio::test]
async fn a_step_that_moves_and_keeps_writes_the_events_or_is_taken_back_with_them() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[producer(0)]).await[0].version_id;
    let mut versions = Versions::default();
    let mut hands = Hands::new(&database, &[version], LONG).await;
    let mut stepper = Stepper::default();
    let events = "select count(*) from asset_event";
    let run = trigger(&mut db, &mut versions, "producer").await;
    let claimed = hands.claim(1).await.remove(0);

    let mut lost = ended(&claimed, TaskState::Success, &["a"]);
    lost.lease.lease_no += 1;
    let strict = |ended: EndedTry| WorkerStep { ended: vec![ended], mode: Mode::Strict, ..WorkerStep::default() };
    let refused = stepper.send(&mut hands.db, &strict(lost), hands.worker).await;
    assert!(matches!(refused, Err(StoreError::FenceLost)), "{refused:?}");
    assert_eq!(number(&mut db, events).await, 0);

    let loaded = versions.get(&mut db, version).await.unwrap();
    let ledger = orch_store::instance::ledger(&mut db, &mut versions, run.id).await.unwrap().unwrap().run;
    let end = ended(&claimed, TaskState::Success, &["a"]);
    let event = end.event().expect("it is over");
    let (to, effects) =
        orch_core::transition::fold(&loaded.plan, &ledger, &[event], &orch_core::run::Elements::default()).unwrap();
    let mut step = strict(end);
    let keep = orch_store::refold::Keep { room: 1, queues: &loaded.queues };
    let at = orch_store::step::RunAt { run: run.id, rev: 0, run_type: orch_spec::state::RunType::Manual };
    orch_store::refold::carry_out(&mut step, &loaded, at, to, effects, keep);
    assert_eq!(step.keep.len(), 1);
    // A step with an outdated revision records only the outcome and its event.
    let reply = stepper.send(&mut hands.db, &step, hands.worker).await.unwrap();
    assert_eq!((reply.moved.len(), number(&mut db, events).await), (1, 1));
    let twice = stepper.send(&mut hands.db, &step, hands.worker).await;
    assert!(matches!(twice, Err(StoreError::FenceLost)), "{twice:?}");
    assert_eq!(number(&mut db, events).await, 1);

    // The step lost a race, because another process has advanced the run. The success and its event are recorded
    // anyway.
    let other = trigger(&mut db, &mut versions, "producer").await;
    let claimed = hands.claim(1).await.remove(0);
    let ledger = orch_store::instance::ledger(&mut db, &mut versions, other.id).await.unwrap().unwrap().run;
    let mut step = strict(ended(&claimed, TaskState::Success, &["a"]));
    step.moves = vec![orch_store::step::Move { run: other.id, rev: 7, to: ledger }];
    let reply = stepper.send(&mut hands.db, &step, hands.worker).await.unwrap();
    assert_eq!((reply.moved.len(), number(&mut db, events).await), (0, 2));
}

#[tokio::test]
async fn conditions_begin_runs_with_all_that_came_since_the_last() {
    let database = database().await;
    let mut db = one(&database).await;
    register(&mut db, &[consumer("c", &json!({ "assets": [{ "uri": "a" }, { "uri": "b" }] }))]).await;
    check(&mut db, "a", &[]).await;
    check(&mut db, "a", &[]).await;
    let queued = list_queued(&mut db, &QueueFilter::default()).await.unwrap();
    assert_eq!((queued.len(), queued[0].events), (1, 2));
    check(&mut db, "b", &[3]).await;
    check(&mut db, "b", &[]).await;
    check(&mut db, "", &[]).await;
    check(&mut db, "a", &[2]).await;
    assert_eq!(number(&mut db, "select count(*) from asset_queue").await, 0);
    let run: (String, bool, bool, String) = sqlx::query_as(
        "select run_id, logical_date is null, interval_start is null, triggered_by from dag_run order by id desc limit 1",
    )
    .fetch_one(&mut db)
    .await
    .unwrap();
    assert!(run.0.starts_with("asset_triggered__") && run.1 && run.2 && run.3 == "asset", "{run:?}");
    let last = runs_of_events(&mut db, &[4, 5]).await.unwrap();
    assert_eq!(last.iter().map(|r| (r.event, r.triggering)).collect::<Vec<_>>(), [(4, false), (5, true)]);
}

#[tokio::test]
async fn aliases_and_either_or() {
    let database = database().await;
    let mut db = one(&database).await;
    let tree = json!({ "assets": { "any": [{ "alias": "daily" }, { "asset": { "uri": "b" } }] } });
    register(&mut db, &[consumer("c", &tree), consumer("d", &json!({ "assets": [{ "uri": "z" }] }))]).await;
    check(&mut db, "b b", &[2]).await;
    // A task updates an unregistered asset through an alias. DAGs that are scheduled by the asset itself are triggered
    // too.
    let through = "insert into asset_event (uri, alias) values ('y', 'daily'), ('z', 'daily')";
    sqlx::query(through).execute(&mut db).await.unwrap();
    check(&mut db, "", &[2, 1]).await;
    assert_eq!(number(&mut db, "select count(*) from asset_alias_asset").await, 2);
    check(&mut db, "y", &[]).await;
}

#[tokio::test]
async fn a_paused_dag_keeps_what_is_queued_and_takes_it_all_at_once() {
    let database = database().await;
    let mut db = one(&database).await;
    register(&mut db, &[consumer("c", &json!({ "assets": [{ "uri": "a" }, { "uri": "b" }] }))]).await;
    pause(&mut db, &Locks::begin(), &["c".into()]).await.unwrap();
    check(&mut db, "a b a", &[]).await;
    assert_eq!(dags_to_ask(&mut db, 10).await.unwrap(), [] as [String; 0]);
    unpause(&mut db, Locks::begin(), &["c".into()]).await.unwrap();
    check(&mut db, "", &[3]).await;
}

#[tokio::test]
async fn a_full_dag_gathers_events_until_it_has_room() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = json!({ "dag_id": "c", "schedule": { "assets": [{ "uri": "a" }] }, "max_active_runs": 1,
        "tasks": [{ "task_id": "t", "kind": "rust" }] });
    let version = register(&mut db, &[dag(spec)]).await[0].version_id;
    check(&mut db, "a", &[1]).await;
    check(&mut db, "a", &[]).await;
    check(&mut db, "a", &[]).await;
    Hands::new(&database, &[version], LONG).await.work_off().await;
    check(&mut db, "", &[2]).await;
}

#[tokio::test]
async fn each_partition_has_a_run_of_its_own() {
    let database = database().await;
    let mut db = one(&database).await;
    let partitioned = json!({ "asset_partitions": [{ "uri": "a" }, { "uri": "b" }] });
    register(&mut db, &[consumer("p", &partitioned), consumer("all", &json!({ "assets": [{ "uri": "b" }] }))]).await;
    check(&mut db, "a/mon a/tue a", &[]).await;
    check(&mut db, "b/tue", &[1, 2]).await;
    let keys: Vec<(String, Option<String>)> =
        sqlx::query_as("select dag_id, partition_key from dag_run order by dag_id").fetch_all(&mut db).await.unwrap();
    assert_eq!(keys, [("all".into(), None), ("p".into(), Some("tue".into()))]);
    check(&mut db, "b/mon b/wed a/wed", &[2, 2, 2]).await;
}

#[tokio::test]
async fn what_a_dag_waits_for_no_more_is_dropped() {
    let database = database().await;
    let mut db = one(&database).await;
    register(&mut db, &[consumer("c", &json!({ "assets": [{ "uri": "a" }, { "uri": "b" }] }))]).await;
    check(&mut db, "a", &[]).await;
    register(&mut db, &[consumer("c", &json!({ "assets": [{ "uri": "b" }, { "uri": "z" }] }))]).await;
    assert_eq!(number(&mut db, "select count(*) from asset_queue").await, 0);
    check(&mut db, "b", &[]).await;
    // The events that are already queued satisfy the new condition.
    register(&mut db, &[consumer("c", &json!({ "assets": [{ "uri": "b" }] }))]).await;
    check(&mut db, "", &[1]).await;
}

#[tokio::test]
async fn what_is_promised_and_does_not_come_is_stale() {
    let database = database().await;
    let mut db = one(&database).await;
    let promise = json!({ "uri": "a", "fresh_within_ms": 3_600_000 });
    register(&mut db, &[consumer("c", &json!({ "assets": { "asset": promise } }))]).await;
    assert_eq!(mark_stale(&mut db, 10).await.unwrap(), []);
    sqlx::query(
        "update asset set created_at = created_at - interval '2 hours', fresh_until = fresh_until - interval '2 hours'",
    )
    .execute(&mut db)
    .await
    .unwrap();
    assert_eq!(mark_stale(&mut db, 10).await.unwrap().len(), 1);
    assert_eq!(mark_stale(&mut db, 10).await.unwrap(), [], "it is said once");
    assert_eq!(stale_assets(&mut db, 10).await.unwrap()[0].uri, "a");
    check(&mut db, "a", &[1]).await;
    assert_eq!(stale_assets(&mut db, 10).await.unwrap(), []);
    assert_eq!(
        number(&mut db, "select count(*) from asset where fresh_until > now() + interval '59 minutes'").await,
        1
    );
}

/// Runs scheduler rounds on connections that are cut at random times, until `enough` is set and no event is left to
/// process.
async fn scheduler(database: &TestDb, enough: &AtomicBool) {
    let mut versions = Versions::default();
    loop {
        let Ok(mut db) = connect::one(&database.url(), "asset scheduler").await else { continue };
        loop {
            let done = enough.load(Ordering::Acquire);
            match round(&mut db, &mut versions).await {
                Err(_) => break,
                Ok(runs) if done && runs.is_empty() => return,
                Ok(_) => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn schedulers_that_are_killed_at_any_line_lose_and_double_no_event() {
    const EVENTS: i64 = 400;
    let database = Arc::new(database().await);
    let mut db = one(&database).await;
    let specs = [
        consumer("any", &json!({ "assets": { "any": [{ "asset": { "uri": "a" } }, { "asset": { "uri": "b" } }] } })),
        consumer("both", &json!({ "assets": [{ "uri": "a" }, { "uri": "b" }] })),
        consumer("parts", &json!({ "asset_partitions": [{ "uri": "a" }] })),
    ];
    register(&mut db, &specs).await;
    let enough = Arc::new(AtomicBool::new(false));
    let mut schedulers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (database, enough) = (database.clone(), enough.clone());
        schedulers.spawn(async move { scheduler(&database, &enough).await });
    }
    let mut killed = 0;
    for said in 0..EVENTS {
        let uri = if said % 3 == 0 { "b" } else { "a" };
        say(&mut db, &format!("{uri}/{}", said % 7)).await;
        if said % 5 == 0 {
            let kill = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
                and application_name = 'asset scheduler' and state <> 'idle' order by random() limit 1";
            killed += sqlx::query(kill).execute(&mut db).await.unwrap().rows_affected();
        }
    }
    assert!(killed > 5, "only {killed} transactions were cut");
    say(&mut db, "a/0 b/0").await;
    enough.store(true, Ordering::Release);
    while let Some(ended) = schedulers.join_next().await {
        ended.expect("no panic");
    }
    assert_eq!(number(&mut db, "select count(*) from asset_event where not distributed").await, 0);
    assert_eq!(number(&mut db, "select count(*) from asset_queue where dag_id <> 'both'").await, 0);
    let twice = "select count(*) from (select 1 from dag_run_event c join dag_run r on r.id = c.run
        group by r.dag_id, c.event having count(*) > 1) x";
    assert_eq!(number(&mut db, twice).await, 0);
    for (dag_id, left) in [("any", EVENTS + 2), ("both", EVENTS + 2)] {
        let taken: i64 = sqlx::query_scalar(
            "select count(*) + (select count(*) from asset_queue q where q.dag_id = $1)
            from dag_run_event c join dag_run r on r.id = c.run where r.dag_id = $1",
        )
        .bind(dag_id)
        .fetch_one(&mut db)
        .await
        .unwrap();
        assert_eq!(taken, left, "{dag_id}");
    }
    let strangers =
        "select count(*) from dag_run r join dag_run_event c on c.run = r.id join asset_event e on e.id = c.event
        where r.dag_id = 'parts' and (r.partition_key is distinct from e.partition_key or e.uri <> 'a')";
    assert_eq!(number(&mut db, strangers).await, 0);
    let empty = "select count(*) from dag_run r where not exists (select from dag_run_event c where c.run = r.id)";
    assert_eq!(number(&mut db, empty).await, 0);
}
