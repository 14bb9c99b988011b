//! Commits are atomic and applied once, even if a process dies or a response is lost. They can also be part of a
//! larger transaction.

use crate::world::{named, open, orders, rows_of, world};
use async_trait::async_trait;
use orch_lake::bucket::Options;
use orch_lake::catalog::{Catalog, Located, NewTable, PgCatalog, Properties, Swap, Swapped};
use orch_lake::table::CommitStep;
use orch_lake::{Lake, LakeError, LakeResult, TableName};
use orch_sdk::task::{Ctx, MemoryHost, TaskError};
use orch_store::completion::Outdated;
use orch_store::identity::identity;
use orch_store::{CompletionStep, MIGRATOR};
use orch_test_support::{Durability, TestDb, private_server};
use sqlx::{Connection as _, PgConnection};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::task::JoinSet;

#[tokio::test]
async fn eight_writers_append_at_once_and_each_row_is_there_once() {
    let world = world().await;
    world.orders().await;
    let mut writers = JoinSet::new();
    for writer in 0..8_i64 {
        // Each writer behaves like a separate process: only Postgres and the folder are shared.
        let lake = open(&world.db, &world.folder);
        writers.spawn(async move {
            for round in 0..4 {
                let table = lake.table(&named("retail.orders")).await.unwrap();
                let change = table.append(orders(&[(writer * 10 + round, "CA", 1, 1)])).await.unwrap();
                change.commit(&lake).await.unwrap();
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let table = world.lake.table(&named("retail.orders")).await.unwrap();
    assert_eq!(rows_of(&table).await.len(), 32);
    assert_eq!(table.snapshots().len(), 32);
    let snapshot = table.current_snapshot().unwrap();
    assert_eq!(snapshot.summary().additional_properties["total-records"], "32");
    assert_eq!(snapshot.sequence_number(), 32);
    assert_eq!(world.files("-m0.avro"), 32, "what lost a race was cleaned up");
}

/// A catalog that loses responses, so that the caller sees a broken connection.
#[derive(Debug)]
struct Lossy {
    inner: PgCatalog,
    losses: AtomicU32,
    /// True if the statement is executed before its response is lost.
    done: bool,
}

#[async_trait]
impl Catalog for Lossy {
    fn name(&self) -> &str {
        self.inner.name()
    }
    async fn load(&self, table: &TableName) -> LakeResult<Option<Located>> {
        self.inner.load(table).await
    }
    async fn create(&self, new: &NewTable<'_>) -> LakeResult<Located> {
        self.inner.create(new).await
    }
    async fn drop_table(&self, table: &TableName) -> LakeResult<bool> {
        self.inner.drop_table(table).await
    }
    async fn rename(&self, from: &TableName, to: &TableName) -> LakeResult<()> {
        self.inner.rename(from, to).await
    }
    async fn tables(&self, namespace: Option<&str>) -> LakeResult<Vec<TableName>> {
        self.inner.tables(namespace).await
    }
    async fn namespaces(&self) -> LakeResult<BTreeMap<String, Properties>> {
        self.inner.namespaces().await
    }
    async fn declare(&self, namespace: &str, properties: &Properties) -> LakeResult<()> {
        self.inner.declare(namespace, properties).await
    }
    async fn drop_namespace(&self, namespace: &str) -> LakeResult<bool> {
        self.inner.drop_namespace(namespace).await
    }
    async fn swap(&self, swap: &Swap<'_>) -> LakeResult<Swapped> {
        if self.losses.load(Ordering::Relaxed) == 0 {
            return self.inner.swap(swap).await;
        }
        self.losses.fetch_sub(1, Ordering::Relaxed);
        if self.done {
            self.inner.swap(swap).await?;
        }
        Err(LakeError::Catalog(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into())))
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_and_not_made_twice() {
    for done in [true, false] {
        let world = world().await;
        world.orders().await;
        let inner = PgCatalog::new(world.db.pool(), "orch");
        let lossy = Arc::new(Lossy { inner, losses: AtomicU32::new(2), done });
        let lake = Lake::with_catalog(lossy, Options::default(), world.lake.warehouse()).unwrap();
        let table = lake.table(&named("retail.orders")).await.unwrap();
        let committed = table.append(orders(&[(1, "CA", 1, 1)])).await.unwrap().commit(&lake).await.unwrap();
        assert!(committed.retries > 0 && committed.snapshot_id.is_some());
        assert_eq!(committed.table.snapshots().len(), 1, "done before the answer was lost: {done}");
        assert_eq!(world.rows("retail.orders").await.len(), 1);
    }
}

#[tokio::test]
async fn a_key_commits_once_however_often_it_is_tried() {
    let world = world().await;
    let table = world.orders().await;
    for round in 0..3 {
        // Each try writes its files again, based on the state that it finds.
        let base = if round == 1 { table.clone() } else { table.refresh().await.unwrap() };
        let change = base.append(orders(&[(1, "CA", 1, 1)])).await.unwrap().once("2024-05-01/orders");
        let committed = change.commit(&world.lake).await.unwrap();
        assert_eq!(committed.already, round > 0);
        // Another writer commits in between.
        let other = committed.table.append(orders(&[(10 + round, "CA", 1, 1)])).await.unwrap();
        other.commit(&world.lake).await.unwrap();
    }
    assert_eq!(world.rows("retail.orders").await.len(), 4);
}

#[tokio::test]
async fn a_commit_in_a_transaction_is_there_exactly_if_the_rest_is() {
    let world = world().await;
    let table = world.orders().await;
    let others = world.table("retail.customers", crate::world::definition()).await;
    let pool = world.db.pool();
    sqlx::query("create table public.offsets (topic text primary key, next bigint)").execute(&pool).await.unwrap();
    let one = table.append(orders(&[(1, "CA", 1, 1)])).await.unwrap();
    let two = others.append(orders(&[(2, "CA", 1, 1), (3, "CA", 1, 1)])).await.unwrap();
    let mut step = CommitStep::new(&world.lake, vec![one, two]);
    assert_eq!(step.name(), "commit `retail.customers`, `retail.orders`");
    for keep in [false, true] {
        step.prepare().await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        sqlx::query("insert into public.offsets values ('t', 42)").execute(&mut *transaction).await.unwrap();
        step.run(&mut transaction).await.unwrap();
        let seen = world.rows("retail.orders").await.len();
        assert_eq!(seen, 0, "nobody sees it before the transaction is committed");
        if keep {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        let expected = if keep { (1, 1, 2) } else { (0, 0, 0) };
        let offsets: i64 = sqlx::query_scalar("select count(*) from public.offsets").fetch_one(&pool).await.unwrap();
        let rows = (world.rows("retail.orders").await.len(), world.rows("retail.customers").await.len());
        assert_eq!((offsets, rows.0, rows.1), expected);
    }
}

#[tokio::test]
async fn a_step_is_laid_onto_what_others_committed_meanwhile() {
    let world = world().await;
    let table = world.orders().await;
    let pool = world.db.pool();
    let mut step = table.append(orders(&[(1, "CA", 1, 1)])).await.unwrap().step(&world.lake);
    step.prepare().await.unwrap();
    table.append(orders(&[(2, "CA", 1, 1)])).await.unwrap().commit(&world.lake).await.unwrap();
    let mut transaction = pool.begin().await.unwrap();
    let error = step.run(&mut transaction).await.unwrap_err();
    assert!(error.downcast_ref::<Outdated>().is_some(), "{error:#}");
    transaction.rollback().await.unwrap();
    // The second iteration simulates a retry after a commit whose response was lost.
    for _ in 0..2 {
        step.prepare().await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        step.run(&mut transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
    // A newly opened lake reads the files, not the cache of this process.
    let table = open(&world.db, &world.folder).table(&named("retail.orders")).await.unwrap();
    assert_eq!(rows_of(&table).await.len(), 2);
    assert_eq!(world.files("-m0.avro"), 2, "what was staged in vain is removed");
}

#[tokio::test]
async fn a_step_that_contradicts_what_others_committed_meanwhile_is_a_conflict() {
    let world = world().await;
    let table = world.orders().await;
    let table = table.append(orders(&[(1, "CA", 1, 1)])).await.unwrap().commit(&world.lake).await.unwrap().table;
    let mut step = table.upsert(&[], orders(&[(1, "CA", 1, 2)])).await.unwrap().step(&world.lake);
    step.prepare().await.unwrap();
    table.upsert(&[], orders(&[(1, "CA", 1, 3)])).await.unwrap().commit(&world.lake).await.unwrap();
    let mut transaction = world.db.pool().begin().await.unwrap();
    step.run(&mut transaction).await.unwrap_err();
    transaction.rollback().await.unwrap();
    let error = step.prepare().await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(LakeError::Conflict { .. })), "{error:#}");
    assert_eq!(world.rows("retail.orders").await, ["1 CA 1970-01-02 0.03"]);
}

#[tokio::test]
async fn several_changes_of_one_table_are_committed_by_one_step() {
    let world = world().await;
    let table = world.orders().await;
    let pool = world.db.pool();
    let one = table.append(orders(&[(1, "CA", 1, 1)])).await.unwrap();
    let other = table.append(orders(&[(2, "CA", 1, 1)])).await.unwrap();
    let mut step = CommitStep::new(&world.lake, vec![one, other]);
    assert_eq!(step.name(), "commit `retail.orders`");
    for keep in [false, true] {
        step.prepare().await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        step.run(&mut transaction).await.unwrap();
        if keep {
            transaction.commit().await.unwrap();
        }
    }
    assert_eq!(world.rows("retail.orders").await.len(), 2);
    assert_eq!(world.files("-m0.avro"), 2, "what was rolled back was of use again");
}

#[tokio::test]
async fn two_steps_that_change_one_table_are_told_to_be_one() {
    let world = world().await;
    let table = world.orders().await;
    let mut one = table.append(orders(&[(1, "CA", 1, 1)])).await.unwrap().step(&world.lake);
    let mut other = table.append(orders(&[(2, "CA", 1, 1)])).await.unwrap().step(&world.lake);
    one.prepare().await.unwrap();
    other.prepare().await.unwrap();
    let mut transaction = world.db.pool().begin().await.unwrap();
    one.run(&mut transaction).await.unwrap();
    other.run(&mut transaction).await.unwrap_err();
    transaction.rollback().await.unwrap();
    let error = other.prepare().await.unwrap_err().to_string();
    assert!(error.contains("`retail.orders`") && error.contains("into one step"), "{error}");
}

#[tokio::test]
async fn a_catalog_in_another_database_than_the_outcome_is_refused_with_its_reason() {
    let (world, other) = (world().await, TestDb::new(&MIGRATOR).await);
    let table = world.orders().await;
    let mut step = table.append(orders(&[(1, "CA", 1, 1)])).await.unwrap().step(&world.lake);
    step.prepare().await.unwrap();
    let mut transaction = other.pool().begin().await.unwrap();
    step.run(&mut transaction).await.unwrap_err();
    transaction.rollback().await.unwrap();
    let error = step.prepare().await.unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("`retail.orders`") && text.contains("hint: put the catalog into the metadata database"),
        "{text}"
    );
    assert!(matches!(TaskError::from(error), TaskError::Fatal { .. }), "no other try could end otherwise");
    assert!(world.rows("retail.orders").await.is_empty());
}

#[tokio::test]
async fn a_catalog_in_another_database_is_refused_before_work_begins() {
    let (world, beside) = (world().await, TestDb::new(&MIGRATOR).await);
    let server = private_server(Durability::None).await;
    let mut elsewhere = PgConnection::connect(&server.url()).await.unwrap();
    for db in [&mut beside.connect().await, &mut elsewhere] {
        let home = identity(db).await.unwrap();
        let error = world.lake.check_home(&MemoryHost::new().with_home(&home).ctx(), "lake").await.unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("connection `lake` leads to another database")
                && text.contains("hint: put the catalog into the metadata database"),
            "{text}"
        );
        assert!(matches!(TaskError::from(error), TaskError::Fatal { .. }), "no other try could end otherwise");
    }
    // The identity must not depend on the user, the session or the time zone.
    let mut db = world.db.connect().await;
    sqlx::raw_sql("set time zone 'Asia/Tokyo'; set role orch_lake").execute(&mut db).await.unwrap();
    let home = identity(&mut db).await.unwrap();
    world.lake.check_home(&MemoryHost::new().with_home(&home).ctx(), "lake").await.unwrap();
    world.lake.check_home(&Ctx::test(), "lake").await.unwrap();
}

#[tokio::test]
async fn many_small_manifests_are_merged() {
    let world = world().await;
    let definition = crate::world::definition().property("commit.manifest.min-count-to-merge", "5");
    let mut table = world.table("retail.orders", definition).await;
    for id in 0..12 {
        table = table.append(orders(&[(id, "CA", 1, 1)])).await.unwrap().commit(&world.lake).await.unwrap().table;
    }
    let snapshot = table.current_snapshot().unwrap();
    let list = table.iceberg().manifest_list_reader(snapshot).load().await.unwrap();
    assert!(list.entries().len() <= 5, "{} manifests", list.entries().len());
    assert_eq!(rows_of(&table).await.len(), 12);
    // Merged manifests still keep the files apart: a delete finds an early file.
    let change = table.delete(orch_lake::Filter::eq("id", 0)).await.unwrap();
    let table = change.commit(&world.lake).await.unwrap().table;
    assert_eq!(rows_of(&table).await.len(), 11);
}

#[tokio::test]
async fn snapshots_say_which_task_made_them() {
    let world = world().await;
    let table = world.orders().await;
    let ctx = orch_sdk::task::Ctx::test();
    let change = table.append(orders(&[(1, "CA", 1, 1)])).await.unwrap().by(&ctx).property("orch.rows", "1");
    let table = change.commit(&world.lake).await.unwrap().table;
    let said = &table.current_snapshot().unwrap().summary().additional_properties;
    assert_eq!(said["orch.dag_id"], ctx.dag_id());
    assert_eq!(said["orch.attempt"], ctx.attempt().to_string());
    assert_eq!(said["orch.rows"], "1");
}

#[tokio::test]
async fn a_branch_is_written_beside_what_readers_see() {
    let world = world().await;
    let table = world.orders().await;
    let table = table.append(orders(&[(1, "CA", 1, 1)])).await.unwrap().commit(&world.lake).await.unwrap().table;
    let change = table.append(orders(&[(2, "CA", 1, 1)])).await.unwrap().onto("audit");
    let table = change.commit(&world.lake).await.unwrap().table;
    assert_eq!(table.count().await.unwrap(), 1);
    let audit = orch_lake::table::At::Ref("audit".into());
    assert_eq!(table.scan().at(audit).count().await.unwrap(), 2);
}

#[tokio::test]
async fn the_catalog_is_the_layout_that_others_read() {
    let world = world().await;
    let table = world.orders().await;
    let table = table.append(orders(&[(1, "CA", 1, 1)])).await.unwrap().commit(&world.lake).await.unwrap().table;
    let row: (String, String, String, String, String, String) = sqlx::query_as(
        "select catalog_name, table_namespace, table_name, metadata_location, previous_metadata_location, iceberg_type
         from lake.iceberg_tables",
    )
    .fetch_one(&world.db.pool())
    .await
    .unwrap();
    assert_eq!((row.0.as_str(), row.1.as_str(), row.2.as_str(), row.5.as_str()), ("orch", "retail", "orders", "TABLE"));
    assert_eq!(row.3, table.metadata_location());
    assert!(row.4.contains("/retail/orders/metadata/00000-"), "{}", row.4);
    let (from, to) = (named("retail.orders"), named("retail.sales"));
    world.lake.rename(&from, &to).await.unwrap();
    assert!(world.lake.find(&from).await.unwrap().is_none());
    assert_eq!(world.lake.tables(Some("retail")).await.unwrap(), std::slice::from_ref(&to));
    assert_eq!(world.lake.catalog().namespaces().await.unwrap().keys().collect::<Vec<_>>(), ["retail"]);
    let error = world.lake.rename(&from, &to).await.unwrap_err();
    assert!(matches!(error, LakeError::NoTable { .. }), "{error}");
    let anew = world.orders().await;
    assert_ne!(anew.metadata().location(), table.metadata().location(), "a renamed table keeps its folder for itself");
    let taken = crate::world::definition().location(table.metadata().location());
    let error = world.lake.create(&named("retail.other"), &taken).await.unwrap_err().to_string();
    assert!(error.starts_with("the files of table `retail.sales` are in `file://"), "{error}");
    let error = world.lake.rename(&from, &to).await.unwrap_err();
    assert!(matches!(error, LakeError::TableExists { .. }), "{error}");
    assert!(world.lake.purge(&to).await.unwrap());
    assert!(!world.lake.purge(&to).await.unwrap());
    assert_eq!(world.files("parquet"), 0);
}
