//! Trino and orch on the same tables, through the catalog of orch, with files in a bucket. After every operation both
//! read the same rows, from the current snapshot and from older ones.

use crate::catalog::{SERVER, attached};
use crate::world::World;
use orch_lake::bucket::Options;
use orch_lake::table::At;
use orch_lake::table::maintain::Compaction;
use orch_test_lake::rows::Rows;
use orch_test_lake::steps::{History, LEFT, Shared, lines, orch_writes};
use orch_test_lake::{S3Server, TrinoSession};
use orch_test_support::Trino;

/// Runs a Trino statement, in which `$` is replaced by the table.
fn run(shared: &mut Shared<'_, TrinoSession>, statement: &str) -> Rows {
    shared.reader.run(&statement.replace('$', &shared.name.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn trino_and_orch_work_on_the_same_tables() {
    let storage = S3Server::start().await;
    storage.make_bucket("lakehouse");
    let mut world = World::new().await;
    world.keep_lake_in(&storage, true);
    let token = world.add_key("op", "all").await;
    let (_, address) = world.start_server(&SERVER);
    let uri = format!("http://{address}");
    let keys = storage.connection();
    // Uses the settings of the guide.
    let server = Trino::start(&[
        ("connector.name", "iceberg"),
        ("iceberg.catalog.type", "rest"),
        ("iceberg.rest-catalog.uri", &uri),
        ("iceberg.rest-catalog.security", "OAUTH2"),
        ("iceberg.rest-catalog.oauth2.token", &token),
        ("fs.native-s3.enabled", "true"),
        ("s3.endpoint", storage.endpoint()),
        ("s3.region", "us-east-1"),
        ("s3.path-style-access", "true"),
        ("s3.aws-access-key", keys.login.as_deref().unwrap()),
        ("s3.aws-secret-key", keys.password.as_deref().unwrap()),
    ])
    .await;
    let mut trino = TrinoSession::open(&server);
    let lake = attached(&address, &token, &Options::default());

    let mut orders = Shared { lake: &lake, reader: &mut trino, name: "retail.orders".parse().unwrap() };
    orch_writes(&mut orders, History::InTables).await;
    run(
        &mut orders,
        "merge into $ t using (values 7, 8) s(id) on t.id = s.id when matched then update set quantity = 8 \
         when not matched then insert (id, city) values (s.id, 'Bergen')",
    );
    run(&mut orders, "delete from $ where id = 1");
    let all = [LEFT[1], LEFT[2], LEFT[3], "7 Oslo 8 2025-01-07T10:00:00Z 7.50 -", "8 Bergen - - - -"];
    orders.check("Trino after orch", &all).await;

    orders.name = "outside.orders".parse().unwrap();
    trino_writes(&mut orders).await;
}

async fn trino_writes(shared: &mut Shared<'_, TrinoSession>) {
    run(shared, "create schema outside");
    run(
        shared,
        "create table $ (id bigint not null, city varchar, count integer, at timestamp(6)) \
         with (partitioning = array['city', 'bucket(id, 2)'])",
    );
    shared.check("creation", &[]).await;
    let (one, two, three) = ("1 Oslo 10 2025-01-01T10:00:00", "2 Rome 20 2025-01-02T10:00:00", "3 - - -");
    run(
        shared,
        "insert into $ values (1, 'Oslo', 10, timestamp '2025-01-01 10:00:00'),
         (2, 'Rome', 20, timestamp '2025-01-02 10:00:00'), (3, null, null, null)",
    );
    shared.check("insert", &[one, two, three]).await;
    let first = shared.table().await.current_snapshot().unwrap().snapshot_id();

    run(shared, "update $ set count = 11 where id = 1");
    let again = "1 Oslo 11 2025-01-01T10:00:00";
    shared.check("update", &[again, two, three]).await;
    run(
        shared,
        "merge into $ t using (values 2, 4) s(id) on t.id = s.id when matched then delete \
         when not matched then insert (id, city, count) values (s.id, 'Rome', 40)",
    );
    shared.check("merge", &[again, three, "4 Rome 40 -"]).await;
    run(shared, "delete from $ where count = 40");
    shared.check("delete", &[again, three]).await;
    run(shared, "alter table $ execute optimize");
    shared.check("compaction", &[again, three]).await;

    for change in [
        "add column note varchar",
        "rename column count to quantity",
        "alter column quantity set data type bigint",
        "drop column at",
        "set properties partitioning = array['truncate(city, 2)']",
    ] {
        run(shared, &format!("alter table $ {change}"));
    }
    run(shared, "insert into $ values (5, 'Roma', 6000000000, 'new')");
    let (again, five) = ("1 Oslo 11 -", "5 Roma 6000000000 new");
    shared.check("new columns and partitions", &[again, three, five]).await;
    shared.check_at(At::Snapshot(first), &[one, two, three]).await;

    // Now orch changes the table, then Trino reads it.
    let (old, six) = ("5 Roma 51 old", "6 Rome 6 late");
    shared.upsert(&["id"], lines("id city quantity note", &[old, six])).await;
    shared.check("upsert by orch", &[again, three, old, six]).await;
    shared.compact(&Compaction::new().min_files(2)).await;
    shared.check("compaction by orch", &[again, three, old, six]).await;
    run(shared, "delete from $ where city like 'Ro%' and id > 4");
    run(shared, "set session orch.expire_snapshots_min_retention = '0s'");
    run(shared, "alter table $ execute expire_snapshots(retention_threshold => '0d')");
    shared.check("Trino after orch", &[again, three]).await;
    run(shared, "drop table $");
    assert!(shared.lake.find(&shared.name).await.unwrap().is_none());
}
