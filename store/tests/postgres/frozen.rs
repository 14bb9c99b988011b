//! A process that freezes inside a transaction blocks other processes only for a short time.

use crate::fixture::{chain, database, hot, one, register, trigger};
use orch_store::connect::{HOT_IDLE_IN_TRANSACTION, cold};
use orch_store::locks::Locks;
use orch_store::version::Versions;
use orch_store::{StoreError, run_lock};
use orch_test_support::TestDb;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::time::{Duration, Instant};

#[tokio::test]
async fn the_lock_of_a_worker_that_is_frozen_in_a_fold_is_free_soon() {
    let db = database().await;
    let worker = hot(&db).await;
    free_soon(&db, worker).await;
}

#[tokio::test]
async fn the_lock_of_a_scheduler_that_is_frozen_in_a_fold_is_free_soon() {
    let db = database().await;
    let pool = cold(&db.url(), "a scheduler", 1).expect("the URL is right");
    free_soon(&db, pool.acquire().await.expect("it connects").detach()).await;
}

/// Checks that a lock of the frozen session is released within `HOT_IDLE_IN_TRANSACTION` plus one second.
async fn free_soon(db: &TestDb, mut frozen: PgConnection) {
    let mut other = one(db).await;
    register(&mut other, &[chain("frozen", 1)]).await;
    let run = trigger(&mut other, &mut Versions::default(), "frozen").await.id;

    let mut fold = frozen.begin().await.expect("it begins");
    run_lock::lock(&mut fold, &Locks::begin().runs(), run).await.expect("the run is locked").expect("the run exists");
    // The process freezes here.
    let began = Instant::now();
    let mut tx = other.begin().await.expect("it begins");
    run_lock::lock(&mut tx, &Locks::begin().runs(), run).await.expect("the run is locked").expect("the run exists");
    assert!(began.elapsed() < HOT_IDLE_IN_TRANSACTION + Duration::from_secs(1), "{:?}", began.elapsed());

    let late = run_lock::lock(&mut fold, &Locks::begin().runs(), run).await.expect_err("it was ended");
    assert!(matches!(late, StoreError::Unreachable(_)), "{late:?}");
}
