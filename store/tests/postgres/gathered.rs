//! Mapped elements that end within a short time are reported in one alert. Each end is in exactly one alert, and
//! concurrent writers do not block each other.

use crate::alerts::ended;
use crate::fixture::{Hands, dag, database, number, one, register, trigger};
use orch_core::alert::AlertState;
use orch_spec::DagSpec;
use orch_spec::state::TaskState;
use orch_store::alert::{
    ALERTS, AlertRow, alert_not_sent, alert_sent, alerts_of_run, by, claim_alerts, gather_alerts, next_alert_in,
};
use orch_store::list::Search;
use orch_store::locks::Locks;
use orch_store::run::RunRow;
use orch_store::step::Claimed;
use orch_store::version::Versions;
use orch_store::worker::reap;
use orch_test_support::TestDb;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use std::time::Duration;

const LEASE: Duration = Duration::from_mins(1);

/// Creates a DAG in which `each` is mapped over `elements` elements, and `last` keeps the run from finishing.
fn mapped(elements: usize, notifier: &Value) -> Arc<DagSpec> {
    let list: Vec<usize> = (0..elements).collect();
    let each = json!({ "task_id": "each", "kind": "rust", "map": { "each": { "value": list } }, "on_lost": "fail",
        "callbacks": { "on_failure": [notifier] } });
    let last = json!({ "task_id": "last", "kind": "rust" });
    dag(json!({ "dag_id": "many", "tasks": [each, last], "max_active_tasks": 1_000 }))
}

struct World {
    database: TestDb,
    db: PgConnection,
    spec: Arc<DagSpec>,
    run: RunRow,
    hands: Hands,
    /// Elements that were claimed and have not ended.
    held: Vec<Claimed>,
}

impl World {
    async fn new(elements: usize, notifier: &Value) -> World {
        let database = database().await;
        let mut db = one(&database).await;
        let spec = mapped(elements, notifier);
        let version = register(&mut db, std::slice::from_ref(&spec)).await[0].version_id;
        let run = trigger(&mut db, &mut Versions::default(), "many").await;
        let hands = Hands::new(&database, &[version], LEASE).await;
        World { database, db, spec, run, hands, held: Vec::new() }
    }

    /// Ends `many` claimed elements as failed.
    async fn fail(&mut self, many: usize) {
        for _ in 0..many {
            if self.held.is_empty() {
                self.held = self.hands.claim(100).await;
                self.held.retain(|one| one.lease.map_index >= 0);
            }
            let one = self.held.remove(0);
            assert!(self.hands.record(ended(&self.spec, &one, TaskState::Failed)).await);
        }
        self.hands.fold(self.run.id).await;
    }

    async fn pass(&mut self, seconds: i32) {
        for text in [
            "update alert_part set at = at - $1 * interval '1 second'",
            "update alert set at = at - $1 * interval '1 second', ended_at = ended_at - $1 * interval '1 second'",
        ] {
            sqlx::query(text).bind(seconds).execute(&mut self.db).await.expect("the database answers");
        }
    }

    async fn all(&mut self) -> Vec<AlertRow> {
        let mut all = ALERTS.rows(&mut self.db, &Search::default()).await.expect("the database answers");
        all.reverse();
        all
    }

    async fn send_all(&mut self) {
        for claimed in claim_alerts(&mut self.db, 100).await.expect("the database answers") {
            alert_sent(&mut self.db, &claimed).await.expect("the database answers");
        }
    }
}

#[tokio::test]
async fn elements_of_which_one_cannot_be_read_are_told_all_the_same() {
    let mut world = World::new(5, &json!({ "connection": "ops" })).await;
    world.fail(3).await;
    sqlx::query("update alert_part set facts = '[7]' where map_index = 0").execute(&mut world.db).await.unwrap();
    world.pass(10).await;
    assert_eq!(gather_alerts(&mut world.db).await.unwrap(), 1);
    let told = claim_alerts(&mut world.db, 10).await.unwrap().remove(0).facts.elements.expect("several");
    assert_eq!((told.count, told.first), (3, vec![1, 2]));

    sqlx::query("update alert set state = 'sent', ended_at = now()").execute(&mut world.db).await.unwrap();
    world.fail(1).await;
    sqlx::query("update alert_part set facts = '[7]' where alert is null").execute(&mut world.db).await.unwrap();
    world.pass(3_600).await;
    assert_eq!(gather_alerts(&mut world.db).await.unwrap(), 1);
    assert_eq!(claim_alerts(&mut world.db, 10).await.unwrap(), [], "nothing of it can be read: it is given up");
    assert_eq!(gather_alerts(&mut world.db).await.unwrap(), 0);
}

#[tokio::test]
async fn elements_that_fail_near_each_other_are_one_message_and_later_ones_the_next() {
    let mut world = World::new(12, &json!({ "connection": "ops" })).await;
    world.fail(7).await;
    assert_eq!(number(&mut world.db, "select count(*) from alert").await, 0);
    let next = next_alert_in(&mut world.db).await.unwrap();
    assert!(next.send.is_none() && next.gather.is_some_and(|wait| wait > Duration::from_secs(5)), "{next:?}");
    assert_eq!(gather_alerts(&mut world.db).await.unwrap(), 0, "more may come");
    world.pass(10).await;
    assert_eq!(next_alert_in(&mut world.db).await.unwrap().gather, Some(Duration::ZERO));
    assert_eq!(gather_alerts(&mut world.db).await.unwrap(), 1);
    let first = world.all().await.remove(0);
    let elements = first.facts.elements.clone().expect("several");
    assert_eq!((elements.count, elements.first, first.facts.map_index), (7, vec![0, 1, 2, 3, 4], None));
    assert_eq!((first.run_id.as_deref(), first.state), (Some(world.run.run_id.as_str()), AlertState::Waiting));

    // While an alert is being sent, it does not change. Elements that end in the meantime are reported in the next
    // alert.
    world.fail(2).await;
    world.pass(3_600).await;
    assert_eq!(gather_alerts(&mut world.db).await.unwrap(), 0);
    assert_eq!(next_alert_in(&mut world.db).await.unwrap().gather, None);
    let claimed = claim_alerts(&mut world.db, 10).await.unwrap().remove(0);
    assert_eq!(claimed.facts, first.facts);
    alert_not_sent(&mut world.db, &claimed, "no answer").await.unwrap();
    assert_eq!(gather_alerts(&mut world.db).await.unwrap(), 0, "it is sent again");
    sqlx::query("update alert set due_at = now()").execute(&mut world.db).await.unwrap();
    world.send_all().await;
    assert_eq!(gather_alerts(&mut world.db).await.unwrap(), 0, "not so soon after it");
    world.pass(20).await;
    assert_eq!(gather_alerts(&mut world.db).await.unwrap(), 1);
    world.send_all().await;

    // If only one element ended, an ordinary alert is sent, after a longer pause.
    world.fail(1).await;
    world.pass(15).await;
    assert_eq!(gather_alerts(&mut world.db).await.unwrap(), 0, "two messages were sent: the pause has doubled twice");
    world.pass(3_600).await;
    assert_eq!(gather_alerts(&mut world.db).await.unwrap(), 1);
    let counts: Vec<i64> = world.all().await.iter().map(|row| row.facts.count()).collect();
    assert_eq!(counts, [7, 2, 1]);
    let alone = world.all().await.remove(2);
    assert_eq!((alone.facts.map_index, alone.facts.elements), (Some(9), None));
    assert_eq!(alerts_of_run(&mut world.db, world.run.id, Some("each")).await.unwrap(), (3, 1));
    assert_eq!(alerts_of_run(&mut world.db, world.run.id, Some("last")).await.unwrap(), (0, 0));
    let of_task = Search::default().and(by::TASK_ID.is("each")).and(by::RUN.is(world.run.id));
    assert_eq!(ALERTS.count(&mut world.db, &of_task).await.unwrap(), 3);

    // A finished run gets no further alerts.
    world.send_all().await;
    world.fail(2).await;
    assert_eq!(gather_alerts(&mut world.db).await.unwrap(), 0);
    sqlx::query("update dag_run set state = 'failed', ended_at = now()").execute(&mut world.db).await.unwrap();
    assert_eq!(gather_alerts(&mut world.db).await.unwrap(), 1);
    assert_eq!(world.all().await[3].facts.count(), 2);
}

#[tokio::test]
async fn whoever_wants_each_is_told_of_each_and_an_end_that_does_not_count_tells_nobody() {
    let mut world = World::new(3, &json!({ "connection": "ops", "each": true })).await;
    world.fail(2).await;
    assert_eq!(number(&mut world.db, "select count(*) from alert where state = 'waiting'").await, 2);
    assert_eq!(number(&mut world.db, "select count(*) from alert_part").await, 0);

    let mut world = World::new(2, &json!({ "connection": "ops" })).await;
    let claimed = world.hands.claim(100).await;
    let mut stranger = ended(&world.spec, &claimed[0], TaskState::Failed);
    stranger.lease.lease_no += 1;
    assert!(!world.hands.record(stranger).await);
    assert_eq!(number(&mut world.db, "select count(*) from alert_part").await, 0);
    // An instance that fails because its worker was lost is reported like any other failure.
    sqlx::query("update worker set expires_at = now() - interval '1 second'").execute(&mut world.db).await.unwrap();
    reap(&mut world.db, &Locks::begin().runs(), &mut Versions::default()).await.unwrap();
    assert_eq!(number(&mut world.db, "select count(*) from alert_part where map_index in (0, 1)").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_is_in_exactly_one_alert_whoever_gathers() {
    const ELEMENTS: usize = 200;
    let mut world = World::new(ELEMENTS, &json!({ "connection": "ops" })).await;
    let mut gatherers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut db = one(&world.database).await;
        gatherers.spawn(async move {
            loop {
                // The three tasks use `skip locked`, so they do not wait for each other.
                let passes = "update alert set at = at - interval '1 hour', ended_at = ended_at - interval '1 hour'
                    where id = any(array(select id from alert for update skip locked))";
                sqlx::query(passes).execute(&mut db).await.unwrap();
                gather_alerts(&mut db).await.unwrap();
                for claimed in claim_alerts(&mut db, 100).await.unwrap() {
                    alert_sent(&mut db, &claimed).await.unwrap();
                }
                if number(&mut db, "select count(*) from alert_part where alert is not null").await == ELEMENTS as i64 {
                    return;
                }
                let passes = "update alert_part set at = at - interval '1 hour'
                    where id = any(array(select id from alert_part where alert is null for update skip locked))";
                sqlx::query(passes).execute(&mut db).await.unwrap();
            }
        });
    }
    world.fail(ELEMENTS).await;
    while let Some(ended) = gatherers.join_next().await {
        ended.unwrap();
    }
    let rows = ALERTS.rows(&mut world.db, &Search::default()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.facts.count()).sum::<i64>(), ELEMENTS as i64);
    let wrong = "select count(*) from alert a where a.gather is not null
        and (select count(*) from alert_part p where p.alert = a.id) <> coalesce((a.facts -> 'elements' ->> 'count')::bigint, 1)";
    assert_eq!(number(&mut world.db, wrong).await, 0, "each says how many it tells of");
    assert!(rows.len() < ELEMENTS, "{} alerts of {ELEMENTS} ends", rows.len());
    eprintln!("{} alerts of {ELEMENTS} ends", rows.len());
}
