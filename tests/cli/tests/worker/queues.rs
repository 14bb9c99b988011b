//! Queues: a task names one, and a worker serves one or more.

use crate::world::World;
use orch::prelude::*;
use orch_store::instance::{InstanceFilter, list_instances};
use orch_store::locks::Locks;
use orch_store::run::{cancel_run, get_run};
use orch_store::version::Versions;
use orch_store::why::why;
use sqlx::PgConnection;
use std::time::{Duration, Instant};

#[task]
async fn step() -> TaskResult<()> {
    Ok(())
}

/// Returns the successful tasks with the names of their workers.
async fn who_ran(db: &mut PgConnection) -> Vec<(i16, String)> {
    let sql = "select t.task, w.name from task_instance t join worker w on w.id = t.worker where t.state = 'success'
        order by t.task";
    sqlx::query_as(sql).fetch_all(db).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_serves_several_queues_and_one_that_nobody_serves_is_named() {
    let queued = dag("queued").unpaused().build(|d| {
        for queue in ["default", "gpu", "large", "tape"] {
            d.add(step().id(queue).queue(queue));
        }
    });
    let world = World::with(vec![queued], 2, |config| {
        let queues: &[&str] = if config.name == "w0" { &["default"] } else { &["gpu", "large"] };
        config.queues = queues.iter().map(ToString::to_string).collect();
    })
    .await;
    let run_id = world.trigger("queued", None).await;
    let mut db = world.db.connect().await;
    let began = Instant::now();
    let done = loop {
        let done = who_ran(&mut db).await;
        if done.len() == 3 {
            break done;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{done:?} {}", world.dump().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(done, [(0, "w0"), (1, "w1"), (2, "w1")].map(|(task, worker)| (task, worker.to_string())));

    let mut versions = Versions::default();
    let run = get_run(&mut db, "queued", &run_id).await.unwrap().unwrap();
    let filter = InstanceFilter { task_ids: Some(vec!["tape".into()]), ..InstanceFilter::default() };
    let tape = list_instances(&mut db, &mut versions, run.id, &filter, 1).await.unwrap().unwrap().remove(0);
    let reasons = why(&mut db, &mut versions, &run, &tape).await.unwrap();
    let words: Vec<String> = reasons.iter().map(|one| one.reason.words()).collect();
    assert_eq!(words, ["No living worker serves the queue 'tape'."]);
    cancel_run(&mut db, &Locks::begin().runs(), &mut versions, run.id).await.unwrap();
    drop(db);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_ready_for_another_queue_is_left_to_its_workers() {
    const LENGTH: i16 = 30;
    let alternating = dag("alternating").unpaused().build(|d| {
        let queue = |number| if number % 2 == 0 { "default" } else { "gpu" };
        let mut last = d.add(step().id("t00").queue("default"));
        for number in 1..LENGTH {
            last = d.add(step().id(format!("t{number:02}")).queue(queue(number)).after(last));
        }
    });
    let world = World::with(vec![alternating], 2, |config| {
        config.queues = vec![if config.name == "w0" { "default".into() } else { "gpu".into() }];
    })
    .await;
    let run_id = world.trigger("alternating", None).await;
    assert_eq!(world.end_of("alternating", &run_id).await, "success");
    let mut db = world.db.connect().await;
    let ran = who_ran(&mut db).await;
    let meant: Vec<(i16, String)> = (0..LENGTH).map(|number| (number, format!("w{}", number % 2))).collect();
    assert_eq!(ran, meant);
    drop(db);
    world.end().await;
}
