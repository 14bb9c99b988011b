//! Six tables in a bucket, committed by one step. The server may be slow or reject requests, and the transaction
//! sends no requests to it.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use crate::world::{by_state, named, orders};
use futures::future::join_all;
use orch_lake::bucket::Options;
use orch_lake::table::CommitStep;
use orch_lake::{Change, Filter, Lake, LakeConfig};
use orch_store::{CompletionStep, MIGRATOR};
use orch_test_lake::S3Server;
use orch_test_support::TestDb;
use std::time::{Duration, Instant};

const TABLES: [&str; 6] = ["shop.a", "shop.b", "shop.c", "shop.d", "shop.e", "shop.f"];

/// Maximum median duration of twenty transactions. Each writes six rows of the catalog, which takes about 3 ms on a
/// quiet machine; the benchmark limit is 20 ms. Ten times that limit tolerates other load on the machine.
const TRANSACTION: Duration = Duration::from_millis(200);

struct World {
    db: TestDb,
    server: S3Server,
}

impl World {
    async fn start() -> World {
        let world = World { db: TestDb::new(&MIGRATOR).await, server: S3Server::start().await };
        world.server.make_bucket("lake");
        let lake = world.lake();
        for name in TABLES {
            let table = lake.create(&named(name), &by_state()).await.unwrap();
            table.append(orders(&[(1, "CA", 1, 1), (2, "TX", 1, 1)])).await.unwrap().commit(&lake).await.unwrap();
        }
        world
    }

    /// Opens the lake as on a newly started worker, with an empty cache.
    fn lake(&self) -> Lake {
        let storage = Options::of(&self.server.connection());
        let warehouse = "s3://lake/warehouse".to_owned();
        Lake::open(LakeConfig { catalog: self.db.pool(), name: "orch".into(), warehouse, storage }).unwrap()
    }

    /// Prepares a change of each table that adds rows and replaces some.
    async fn changes(&self, lake: &Lake) -> Vec<Change> {
        let write = TABLES.map(async |name| {
            let table = lake.table(&named(name)).await.unwrap();
            table.overwrite(Filter::eq("state", "TX"), orders(&[(3, "TX", 2, 5), (4, "TX", 2, 5)])).await.unwrap()
        });
        join_all(write).await
    }

    async fn assert_committed(&self) {
        for name in TABLES {
            let table = self.lake().table(&named(name)).await.unwrap();
            assert_eq!((table.count().await.unwrap(), table.snapshots().len()), (3, 2), "{name}");
        }
    }
}

/// Publishes the step, and returns the duration of the transaction.
async fn publish(step: &mut CommitStep, world: &World) -> Duration {
    let asked = world.server.requests();
    let began = Instant::now();
    let mut transaction = world.db.pool().begin().await.unwrap();
    step.run(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let took = began.elapsed();
    assert_eq!(world.server.requests(), asked, "the transaction waits for no server");
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_tables_on_a_slow_server_are_staged_together_and_published_without_it() {
    let world = World::start().await;
    let lake = world.lake();
    let changes = world.changes(&lake).await;
    // The delay is long enough that a busy machine does not change the result; the benchmark allows 3 s at 150 ms.
    let delay = Duration::from_millis(400);
    world.server.delay(delay);
    // Another worker than the one that wrote the files stages them, so its cache is empty.
    let mut step = CommitStep::new(&world.lake(), changes);
    let (began, asked) = (Instant::now(), world.server.requests());
    step.prepare().await.unwrap();
    let staged = began.elapsed();
    let asked = world.server.requests() - asked;
    assert!(u32::try_from(asked).unwrap() * delay > 2 * staged, "they overlap: {asked}, {staged:?}");
    publish(&mut step, &world).await;
    world.server.delay(Duration::ZERO);
    world.assert_committed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_transaction_of_six_tables_is_short() {
    let world = World::start().await;
    let lake = world.lake();
    let mut took = vec![];
    for _ in 0..20 {
        let mut step = CommitStep::new(&lake, world.changes(&lake).await);
        step.prepare().await.unwrap();
        took.push(publish(&mut step, &world).await);
    }
    took.sort_unstable();
    assert!(took[10] <= TRANSACTION, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_tables_are_committed_though_the_server_refuses_40_percent_of_all_requests() {
    let world = World::start().await;
    world.server.refuse(40);
    let before = world.server.requests();
    let lake = world.lake();
    let changes = world.changes(&lake).await;
    let mut step = CommitStep::new(&lake, changes);
    step.prepare().await.unwrap();
    publish(&mut step, &world).await;
    let (refused, all) = (world.server.refused(), world.server.requests() - before);
    assert!(refused * 100 > all * 30, "{refused} of {all}");
    world.server.refuse(0);
    world.assert_committed().await;
}
