//! Spark and orch write the same tables through the REST catalog of orch (files in a folder and in a bucket) and
//! through the JDBC catalog in its database. After every operation both read the same rows, from the current snapshot
//! and from older ones.

use super::TURN;
use crate::catalog::{SERVER, attached};
use crate::world::World;
use orch::Connection;
use orch_lake::bucket::Options;
use orch_lake::table::At;
use orch_lake::table::maintain::Compaction;
use orch_lake::{Lake, LakeConfig};
use orch_test_lake::rows::Rows;
use orch_test_lake::steps::{History, LEFT, Shared, lines, orch_writes};
use orch_test_lake::{MIGRATOR, S3Server, SparkCatalog, SparkSession};
use orch_test_support::PrivateServer;
use serde_json::json;

type Beside<'a> = Shared<'a, SparkCatalog<'a>>;

/// Runs a Spark statement, in which `$` is replaced by the table.
fn run(shared: &mut Beside<'_>, statement: &str) -> Rows {
    let table = format!("{}.{}", shared.reader.name, shared.name);
    shared.reader.session.run(&statement.replace('$', &table))
}

/// Calls a Spark procedure for the table.
fn call(shared: &mut Beside<'_>, procedure: &str, arguments: &str) -> Rows {
    let catalog = shared.reader.name;
    let statement = format!("call {catalog}.system.{procedure}(table => '{}'{arguments})", shared.name);
    shared.reader.session.run(&statement)
}

#[tokio::test(flavor = "multi_thread")]
async fn spark_and_orch_work_on_the_same_tables() {
    let _turn = TURN.lock().await;
    let mut world = World::new().await;
    let token = world.add_key("op", "all").await;
    let (_, address) = world.start_server(&SERVER);
    // Second installation, with files in a bucket.
    let (mut far, storage) = (World::new().await, S3Server::start().await);
    storage.make_bucket("lakehouse");
    far.keep_lake_in(&storage, true);
    let far_token = far.add_key("op", "all").await;
    let (_, far_address) = far.start_server(&SERVER);
    // JDBC does not support Unix sockets.
    let server = PrivateServer::over_tcp().await;
    let folder = tempfile::tempdir().unwrap();
    let database = Connection::from_uri("lake", &server.url()).unwrap();
    let pool = sqlx::PgPool::connect(&server.url()).await.unwrap();
    MIGRATOR.run(&pool).await.unwrap();
    let config = LakeConfig {
        catalog: pool,
        name: "orch".into(),
        warehouse: format!("file://{}", folder.path().display()),
        storage: Options::default(),
    };
    let extra = |name: &str| database.extra_field(name).and_then(|value| value.as_str()).map(str::to_owned);
    let login = database.login.clone().or_else(|| extra("user")).unwrap();
    let (host, port) = (database.host.clone().unwrap(), database.port.unwrap());
    let mut spark = SparkSession::open(&[
        ("served", json!({ "type": "rest", "uri": format!("http://{address}"), "token": token })),
        (
            "far",
            json!({
                "type": "rest", "uri": format!("http://{far_address}"), "token": far_token, "client.region": "us-east-1",
                "header.X-Iceberg-Access-Delegation": "vended-credentials", "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
            }),
        ),
        // In Spark, the name of a JDBC catalog is also its name in the database.
        (
            "orch",
            json!({
                "type": "jdbc", "uri": format!("jdbc:postgresql://{host}:{port}/orch?currentSchema=lake"), "jdbc.user": login,
                "jdbc.password": database.password.clone().unwrap_or_default(), "jdbc.schema-version": "V1",
                "warehouse": config.warehouse.clone(),
            }),
        ),
    ]);
    let lakes = [
        ("served", world.lake()),
        ("far", attached(&far_address, &far_token, &Options::default())),
        ("orch", Lake::open(config).unwrap()),
    ];
    for (name, lake) in lakes {
        let reader = &mut SparkCatalog { session: &mut spark, name };
        let mut orders = Shared { lake: &lake, reader, name: "retail.orders".parse().unwrap() };
        orch_writes(&mut orders, History::InTables).await;
        spark_continues(&mut orders).await;
        orders.name = "outside.orders".parse().unwrap();
        spark_writes(&mut orders).await;
    }
}

/// Changes the table that orch has written, with Spark.
async fn spark_continues(shared: &mut Beside<'_>) {
    run(
        shared,
        "merge into $ t using (select 7L as id union all select 8L) s on t.id = s.id when matched then update set \
        quantity = 8 when not matched then insert (id, city) values (s.id, 'Bergen')",
    );
    run(shared, "delete from $ where id = 1");
    let all = [LEFT[1], LEFT[2], LEFT[3], "7 Oslo 8 2025-01-07T10:00:00Z 7.50 -", "8 Bergen - - - -"];
    shared.check("Spark after orch", &all).await;
}

async fn spark_writes(shared: &mut Beside<'_>) {
    let namespace = format!("{}.{}", shared.reader.name, shared.name.namespace());
    run(shared, &format!("create namespace {namespace}"));
    run(
        shared,
        "create table $ (id bigint not null, city string, count int, at timestamp_ntz) using iceberg \
         partitioned by (city, bucket(2, id))",
    );
    shared.check("creation", &[]).await;
    let (one, two, three) = ("1 Oslo 10 2025-01-01T10:00:00", "2 Rome 20 2025-01-02T10:00:00", "3 - - -");
    run(
        shared,
        "insert into $ values (1, 'Oslo', 10, timestamp_ntz '2025-01-01 10:00:00'),
         (2, 'Rome', 20, timestamp_ntz '2025-01-02 10:00:00'), (3, null, null, null)",
    );
    shared.check("insert", &[one, two, three]).await;
    let first = shared.table().await.current_snapshot().unwrap().snapshot_id();

    // In the first mode data files are rewritten, in the second one rows are only marked as deleted.
    let (mut ten, mut deletes) = (11, 0);
    for mode in ["copy-on-write", "merge-on-read"] {
        let modes = ["update", "delete", "merge"].map(|what| format!("'write.{what}.mode' = '{mode}'")).join(", ");
        run(shared, &format!("alter table $ set tblproperties ({modes})"));
        run(shared, &format!("update $ set count = {ten} where id = 1"));
        let again = format!("1 Oslo {ten} 2025-01-01T10:00:00");
        shared.check(&format!("update, {mode}"), &[&again, two, three]).await;
        run(
            shared,
            "merge into $ t using (select 2L as id union all select 4L) s on t.id = s.id when matched then delete \
            when not matched then insert (id, city, count) values (s.id, 'Rome', 40)",
        );
        shared.check(&format!("merge, {mode}"), &[&again, three, "4 Rome 40 -"]).await;
        run(shared, "delete from $ where count = 40");
        run(shared, "insert into $ values (2, 'Rome', 20, timestamp_ntz '2025-01-02 10:00:00')");
        shared.check(&format!("delete, {mode}"), &[&again, two, three]).await;
        deletes = run(shared, "select * from $.delete_files").len();
        ten += 1;
    }
    assert!(deletes > 0, "rows were marked");
    let again = "1 Oslo 12 2025-01-01T10:00:00";
    run(shared, "alter table $ create tag v1");
    call(shared, "rewrite_data_files", ", options => map('rewrite-all', 'true', 'remove-dangling-deletes', 'true')");
    call(shared, "rewrite_manifests", "");
    shared.check("compaction", &[again, two, three]).await;
    assert_eq!(run(shared, "select * from $.delete_files").len(), 0);

    run(shared, "alter table $ add column note string");
    run(shared, "alter table $ rename column count to quantity");
    run(shared, "alter table $ alter column quantity type bigint");
    run(shared, "alter table $ drop column at");
    run(shared, "alter table $ drop partition field bucket(2, id)");
    run(shared, "alter table $ replace partition field city with truncate(2, city)");
    run(shared, "insert into $ values (5, 'Roma', 6000000000, 'new')");
    let (again, two, five) = ("1 Oslo 12 -", "2 Rome 20 -", "5 Roma 6000000000 new");
    shared.check("new columns and partitions", &[again, two, three, five]).await;
    let then = ["1 Oslo 12 2025-01-01T10:00:00", "2 Rome 20 2025-01-02T10:00:00", "3 - - -"];
    shared.check_at(At::Ref("v1".into()), &then).await;
    shared.check_at(At::Snapshot(first), &["1 Oslo 10 2025-01-01T10:00:00", then[1], then[2]]).await;

    // Now orch changes the table, then Spark again.
    let six = "6 Rome 6 late";
    shared.upsert(&["id"], lines("id city quantity note", &["5 Roma 51 old", six])).await;
    shared.check("upsert by orch", &[again, two, three, "5 Roma 51 old", six]).await;
    shared.compact(&Compaction::new().min_files(2)).await;
    shared.check("compaction by orch", &[again, two, three, "5 Roma 51 old", six]).await;
    run(shared, "delete from $ where city like 'Ro%' and id > 4");
    call(shared, "expire_snapshots", ", older_than => timestamp '2999-01-01 00:00:00', retain_last => 1");
    shared.check("Spark after orch", &[again, two, three]).await;
    shared.check_at(At::Ref("v1".into()), &then).await;
}
