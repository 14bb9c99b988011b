//! Tables in an external catalog: the Iceberg reference server, over HTTP.

use crate::world::{by_state, definition, many, named, orders, rows_of};
use chrono::DateTime;
use iceberg::spec::{PrimitiveType, Type};
use orch_lake::bucket::Options;
use orch_lake::catalog::Properties;
use orch_lake::table::CommitStep;
use orch_lake::table::evolve::{Columns, Properties as TableProperties};
use orch_lake::table::maintain::{Expiry, Upkeep};
use orch_lake::{Filter, Lake, LakeError, Table, TableName};
use orch_sdk::task::{Connection, Ctx, TaskError};
use orch_store::MIGRATOR;
use orch_store::completion::CompletionStep as _;
use orch_test_support::{IcebergCatalog, TestDb};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

fn lake_at(address: &str) -> Lake {
    let connection = Connection::parse("lake", &format!("iceberg://{address}")).expect("a URI of a connection");
    Lake::of(&connection, &Options::default()).expect("it leads to a catalog")
}

async fn appended(table: &Table, rows: &[(i64, &str, i32, i128)]) -> Table {
    let change = table.append(orders(rows)).await.expect("files are written");
    change.commit(table.lake()).await.expect("the commit succeeds").table
}

#[tokio::test]
async fn tables_of_another_catalog_are_made_written_and_kept_up() {
    let server = IcebergCatalog::start().await;
    let lake = lake_at(&server.address());
    let name = named("prod.retail.orders");
    assert!(lake.find(&name).await.unwrap().is_none(), "there is no namespace yet");
    let table = lake.ensure(&name, &by_state().property("owner", "shop")).await.unwrap();
    assert_eq!((table.key(), table.property("owner")), (vec!["id".to_owned()], Some("shop")));
    assert!(table.metadata().location().starts_with(&format!("{}", server.warehouse().display())));

    let table = appended(&table, &[(1, "CA", 1, 100), (2, "NY", 2, 200)]).await;
    let upserted = table.upsert(&["id"], orders(&[(2, "NY", 3, 250), (3, "TX", 3, 300)])).await.unwrap();
    let table = upserted.commit(&lake).await.unwrap().table;
    let table = table.delete(Filter::eq("state", "CA")).await.unwrap().commit(&lake).await.unwrap().table;
    let expected = ["2 NY 1970-01-04 2.50", "3 TX 1970-01-04 3.00"];
    assert_eq!(rows_of(&table).await, expected);

    lake.evolve(&name, Columns::new().add("note", Type::Primitive(PrimitiveType::String))).await.unwrap();
    let table = lake.evolve(&name, TableProperties::new().set("owner", "another")).await.unwrap();
    assert_eq!(table.property("owner"), Some("another"));
    let later = DateTime::from_timestamp(4_000_000_000, 0).unwrap();
    let upkeep = Upkeep {
        compaction: table.usual_compaction().ok(),
        merge_manifests: true,
        expiry: Some(Expiry::new().older_than(later).keep_last(1)),
        orphans: None,
    };
    lake.keep_up(&name, &upkeep, None, later).await.unwrap();

    // Another process sees the same state.
    let other = lake_at(&server.address());
    let table = other.table(&name).await.unwrap();
    assert_eq!(table.metadata().snapshots().len(), 1);
    assert_eq!(rows_of(&table).await, ["2 NY 1970-01-04 2.50 -", "3 TX 1970-01-04 3.00 -"]);

    let moved = named("archive.old_orders");
    lake.rename(&name, &moved).await.unwrap();
    assert_eq!(lake.tables(None).await.unwrap(), std::slice::from_ref(&moved));
    assert!(matches!(lake.rename(&name, &moved).await, Err(LakeError::NoTable { .. })));
    assert!(matches!(lake.create(&moved, &definition()).await, Err(LakeError::TableExists { .. })));
    assert!(lake.drop(&moved).await.unwrap() && !lake.drop(&moved).await.unwrap());
}

#[tokio::test]
async fn namespaces_of_another_catalog_are_declared_and_dropped() {
    let server = IcebergCatalog::start().await;
    let lake = lake_at(&server.address());
    let catalog = lake.catalog();
    let owner = |name: &str| Properties::from([("owner".to_owned(), name.to_owned())]);
    catalog.declare("prod.retail", &owner("shop")).await.unwrap();
    catalog.declare("prod.retail", &owner("another")).await.unwrap();
    let found = catalog.namespaces().await.unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["prod", "prod.retail"]);
    assert_eq!(found["prod.retail"]["owner"], "another");
    for number in 0..3 {
        lake.create(&named(&format!("prod.retail.t{number}")), &definition()).await.unwrap();
    }
    let tables = lake.tables(Some("prod.retail")).await.unwrap();
    assert_eq!(tables.iter().map(TableName::name).collect::<Vec<_>>(), ["t0", "t1", "t2"]);
    let refused = catalog.drop_namespace("prod.retail").await.unwrap_err();
    assert!(refused.to_string().contains("`prod.retail` is not empty"), "{refused}");
    for table in &tables {
        assert!(lake.purge(table).await.unwrap());
    }
    assert!(catalog.drop_namespace("prod.retail").await.unwrap());
    assert!(!catalog.drop_namespace("prod.retail").await.unwrap());
    assert!(lake.tables(Some("prod.retail")).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_a_task_leaves_to_commit_is_there_once_for_its_try() {
    let server = IcebergCatalog::start().await;
    let lake = lake_at(&server.address());
    let name = named("retail.orders");
    let table = lake.create(&name, &definition()).await.unwrap();
    let (ctx, home) = (Ctx::test(), TestDb::new(&MIGRATOR).await);
    // One step with two changes of the table. The outcome is recorded in a database that is not the catalog.
    let step = async |of_try: Option<&str>| {
        let changes =
            [table.append(orders(&[(1, "CA", 1, 100)])).await, table.append(orders(&[(2, "NY", 2, 200)])).await];
        let changes = changes.map(|change| {
            let change = change.unwrap().by(&ctx);
            of_try.into_iter().fold(change, |change, attempt| change.property("orch.attempt", attempt))
        });
        CommitStep::new(&lake, changes.into())
    };
    let rows = async || rows_of(&lake.table(&name).await.unwrap()).await.len();
    let mut first = step(None).await;
    first.prepare().await.unwrap();
    assert_eq!(rows().await, 2);
    let mut tx = home.pool().begin().await.unwrap();
    first.run(&mut tx).await.unwrap();
    // The transaction is rolled back and the step prepared again. Then the worker is lost, and another worker repeats
    // everything.
    tx.rollback().await.unwrap();
    first.prepare().await.unwrap();
    step(None).await.prepare().await.unwrap();
    assert_eq!(rows().await, 2);
    // A different try adds the rows again.
    step(Some("cleared")).await.prepare().await.unwrap();
    assert_eq!((rows().await, lake.table(&name).await.unwrap().metadata().snapshots().len()), (4, 4));
    // The rows that the change relied on have changed, so the error must lead to a retry.
    let deleting = table.refresh().await.unwrap().delete(Filter::eq("state", "CA")).await.unwrap().by(&ctx);
    appended(&table.refresh().await.unwrap(), &[(3, "CA", 1, 100)]).await;
    let mut late = CommitStep::new(&lake, vec![deleting.property("orch.attempt", "late")]);
    let error = late.prepare().await.unwrap_err();
    assert!(!matches!(TaskError::from(error), TaskError::Fatal { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_another_catalog_lose_nothing() {
    let server = IcebergCatalog::start().await;
    let lake = lake_at(&server.address());
    let name = named("retail.orders");
    lake.create(&name, &definition()).await.unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..16 {
        let (lake, name) = (lake_at(&server.address()), name.clone());
        writers.spawn(async move {
            for round in 0..2 {
                appended(&lake.table(&name).await.unwrap(), &[(writer * 10 + round, "CA", 1, 1)]).await;
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let table = lake.table(&name).await.unwrap();
    assert_eq!((rows_of(&table).await.len(), table.metadata().snapshots().len()), (32, 32));
}

/// A proxy that counts commits. It can lose their responses, so that the client sees a broken connection, or reject
/// the commits.
struct Losing {
    address: String,
    to_commits: Arc<ToCommits>,
    _handing_on: JoinSet<()>,
}

#[derive(Debug, Default)]
struct ToCommits {
    /// Number of responses that are still to be lost.
    losses: AtomicU32,
    is_refused: AtomicBool,
    count: AtomicU32,
}

impl Losing {
    async fn before(server: String) -> Losing {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let to_commits = Arc::new(ToCommits::default());
        let mut handing_on = JoinSet::new();
        let shared = to_commits.clone();
        handing_on.spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.expect("the server answers");
                clients.spawn(hand_on(client, server, shared.clone()));
            }
        });
        Losing { address, to_commits, _handing_on: handing_on }
    }

    fn lose(&self, answers: u32) {
        self.to_commits.losses.store(answers, Ordering::Relaxed);
    }

    /// Returns the number of responses still to be lost, and the number of commits sent.
    fn seen(&self) -> (u32, u32) {
        (self.to_commits.losses.load(Ordering::Relaxed), self.to_commits.count.load(Ordering::Relaxed))
    }
}

async fn hand_on(mut client: TcpStream, mut server: TcpStream, to_commits: Arc<ToCommits>) {
    let (mut sent, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut is_commit = false;
    loop {
        tokio::select! {
            read = client.read(&mut sent) => {
                let count = read.unwrap_or(0);
                if String::from_utf8_lossy(&sent[..count]).contains("assert-table-uuid") {
                    is_commit = true;
                    to_commits.count.fetch_add(1, Ordering::Relaxed);
                    if to_commits.is_refused.load(Ordering::Relaxed) {
                        client.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.ok();
                        return;
                    }
                }
                if count == 0 || server.write_all(&sent[..count]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let count = read.unwrap_or(0);
                let one_less = |left: u32| left.checked_sub(1);
                let lost = || to_commits.losses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
                let is_lost = is_commit && lost().is_ok();
                if count == 0 || is_lost || client.write_all(&answered[..count]).await.is_err() {
                    return;
                }
                is_commit = false;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_on_the_way_is_found() {
    let server = IcebergCatalog::start().await;
    let losing = Losing::before(server.address()).await;
    let lake = lake_at(&losing.address);
    let mut table = lake.create(&named("retail.orders"), &definition()).await.unwrap();
    for round in 0..5 {
        losing.lose(1);
        let change = table.append(many(round * 10, 10)).await.unwrap();
        let committed = change.commit(&lake).await.unwrap();
        assert_eq!(losing.seen().0, 0, "an answer was lost");
        assert!(committed.retries == 1 && !committed.already);
        table = committed.table;
    }
    assert_eq!((rows_of(&table).await.len(), table.metadata().snapshots().len()), (50, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_one_step_change_in_one_commit() {
    let server = IcebergCatalog::start().await;
    let losing = Losing::before(server.address()).await;
    let lake = lake_at(&losing.address);
    let ctx = Ctx::test();
    let mut tables = Vec::new();
    for name in ["retail.orders", "retail.returns"] {
        tables.push(lake.create(&named(name), &definition()).await.unwrap());
    }
    let step = async |of_try: &str| {
        let mut changes = Vec::new();
        for table in &tables {
            for rows in [&[(1, "CA", 1, 100)], &[(2, "NY", 2, 200)]] {
                changes.push(table.append(orders(rows)).await.unwrap().by(&ctx).property("orch.attempt", of_try));
            }
        }
        CommitStep::new(&lake, changes)
    };
    let found = async || {
        let mut found = Vec::new();
        for table in &tables {
            let table = table.refresh().await.unwrap();
            found.push((rows_of(&table).await.len(), table.metadata().snapshots().len()));
        }
        found
    };
    // The step changes two tables. The response is lost, and the retry finds that the commit was done.
    losing.lose(1);
    let mut first = step("first").await;
    first.prepare().await.unwrap();
    assert_eq!(losing.seen(), (0, 1));
    first.prepare().await.unwrap();
    step("first").await.prepare().await.unwrap();
    assert_eq!((found().await, losing.seen()), (vec![(2, 2); 2], (0, 1)));
    // Other writers commit to one of the tables all the time. The step is rebased on their commits, and both tables
    // contain it once.
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let lake = lake_at(&server.address());
        writers.spawn(async move {
            for round in 0..4 {
                appended(&lake.table(&named("retail.returns")).await.unwrap(), &[(10 * writer + round, "TX", 1, 1)])
                    .await;
            }
        });
    }
    step("second").await.prepare().await.unwrap();
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    assert_eq!(found().await, [(4, 4), (20, 20)]);
    // The rows that one of the changes relied on have changed, so neither is committed.
    let deleting = tables[1].refresh().await.unwrap().delete(Filter::eq("state", "CA")).await.unwrap().by(&ctx);
    appended(&tables[1].refresh().await.unwrap(), &[(3, "CA", 1, 100)]).await;
    let append = tables[0].append(orders(&[(4, "CA", 1, 100)])).await.unwrap().by(&ctx);
    CommitStep::new(&lake, vec![append, deleting]).prepare().await.unwrap_err();
    assert_eq!(found().await, [(4, 4), (21, 21)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_the_catalog_refuses_is_not_sent_again() {
    let server = IcebergCatalog::start().await;
    let losing = Losing::before(server.address()).await;
    let lake = lake_at(&losing.address);
    let mut tables = Vec::new();
    for name in ["retail.orders", "retail.returns"] {
        tables.push(lake.create(&named(name), &definition()).await.unwrap());
    }
    losing.to_commits.is_refused.store(true, Ordering::Relaxed);
    let error = tables[0].append(many(0, 10)).await.unwrap().commit(&lake).await.unwrap_err();
    assert!(error.is_fatal() && error.to_string().contains("answers 403"), "{error}");
    let mut changes = Vec::new();
    for table in &tables {
        changes.push(table.append(many(0, 10)).await.unwrap());
    }
    CommitStep::new(&lake, changes).prepare().await.unwrap_err();
    assert_eq!(losing.seen(), (0, 2));
}

#[tokio::test]
async fn a_catalog_that_is_not_there_is_named() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = lake_at(&closed.to_string()).tables(None).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("the catalog at `http://{closed}/` does not answer")), "{error}");
    assert!(!error.is_fatal());
    let server = IcebergCatalog::start().await;
    let error = lake_at(&format!("{}/elsewhere", server.address())).tables(None).await.unwrap_err();
    assert!(error.is_fatal() && error.to_string().contains("connection `lake`"), "{error}");
}
