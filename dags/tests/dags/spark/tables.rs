//! Spark and orch on the same tables, by the catalog that orch serves and by that in its database: after every operation of either both read
//! the same, current or as it was.

use super::TURN;
use crate::world::World;
use arrow::array::RecordBatch;
use iceberg::spec::{PrimitiveType, Transform, Type};
use orch::Connection;
use orch_lake::bucket::Options;
use orch_lake::table::At;
use orch_lake::table::evolve::{Columns, Evolution, Naming, Partition, Properties, Retention};
use orch_lake::table::maintain::{Compaction, Expiry};
use orch_lake::{Batches, Change, Filter, Lake, LakeConfig, Table, TableDef, TableName};
use orch_test_lake::rows::{Rows, batch, printed, row};
use orch_test_lake::{MIGRATOR, SparkSession};
use orch_test_support::PrivateServer;
use serde_json::json;

/// A table of a catalog that both have open.
struct Shared<'a> {
    lake: &'a Lake,
    spark: &'a mut SparkSession,
    name: TableName,
    /// As Spark calls it.
    of_spark: String,
}

impl Shared<'_> {
    async fn table(&self) -> Table {
        self.lake.table(&self.name).await.unwrap()
    }

    async fn commit(&self, change: Change) -> i64 {
        change.commit(self.lake).await.unwrap().snapshot_id.unwrap_or_default()
    }

    async fn evolve(&self, evolution: impl Into<Evolution>) {
        self.lake.evolve(&self.name, evolution).await.unwrap();
    }

    /// A statement of Spark, in which `$` is the table.
    fn run(&mut self, statement: &str) -> Rows {
        self.spark.run(&statement.replace('$', &self.of_spark))
    }

    /// A procedure of Spark for the table.
    fn call(&mut self, procedure: &str, arguments: &str) -> Rows {
        let catalog = self.of_spark.split('.').next().unwrap().to_owned();
        self.run(&format!("call {catalog}.system.{procedure}(table => '{}'{arguments})", self.name))
    }

    /// Both read these rows.
    async fn check(&mut self, after: &str, expected: &[&str]) {
        let expected = sorted(expected);
        let found = self.table().await.scan().collect().await.unwrap();
        assert_eq!(printed(&found), expected, "orch, after {after}, {}", self.of_spark);
        assert_eq!(self.run("select * from $"), expected, "Spark, after {after}, {}", self.of_spark);
    }

    /// Both read these rows of an earlier state.
    async fn check_at(&mut self, at: At, expected: &[&str]) {
        let expected = sorted(expected);
        let version = match &at {
            At::Snapshot(id) => id.to_string(),
            At::Ref(name) => format!("'{name}'"),
            other => panic!("Spark is not asked for {other:?}"),
        };
        assert_eq!(self.run(&format!("select * from $ version as of {version}")), expected, "Spark at {at:?}");
        let found = self.table().await.scan().at(at.clone()).collect().await.unwrap();
        assert_eq!(printed(&found), expected, "orch at {at:?}");
    }
}

fn sorted(texts: &[&str]) -> Rows {
    let mut rows: Rows = texts.iter().map(|text| row(text)).collect();
    rows.sort();
    rows
}

fn rows(columns: &str, rows: &[&str]) -> Batches {
    let columns: Vec<_> = columns.split_whitespace().collect();
    let rows: RecordBatch = batch(&columns, &rows.iter().map(|text| row(text)).collect());
    Batches::from(rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn spark_and_orch_work_on_the_same_tables() {
    let _turn = TURN.lock().await;
    let mut world = World::new().await;
    let token = world.add_key("op", "all").await;
    let (_, address) = world.start_server(&["catalog", "--port", "0"]);
    // Java knows no sockets in folders.
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
        // Spark's name of a catalog is also the one in the database.
        (
            "orch",
            json!({
                "type": "jdbc", "uri": format!("jdbc:postgresql://{host}:{port}/orch?currentSchema=lake"), "jdbc.user": login,
                "jdbc.password": database.password.clone().unwrap_or_default(), "jdbc.schema-version": "V1",
                "warehouse": config.warehouse.clone(),
            }),
        ),
    ]);
    for (catalog, lake) in [("served", world.lake()), ("orch", Lake::open(config).unwrap())] {
        let names = |table: &str| (table.parse::<TableName>().unwrap(), format!("{catalog}.{table}"));
        let (name, of_spark) = names("retail.orders");
        orch_writes(&mut Shared { lake: &lake, spark: &mut spark, name, of_spark }).await;
        let (name, of_spark) = names("outside.orders");
        spark_writes(&mut Shared { lake: &lake, spark: &mut spark, name, of_spark }).await;
    }
}

async fn orch_writes(shared: &mut Shared<'_>) {
    const COLUMNS: &str = "id city count day at price";
    const NEW_COLUMNS: &str = "id city quantity at price note";
    let definition = TableDef::new()
        .required("id", PrimitiveType::Long)
        .optional("city", PrimitiveType::String)
        .optional("count", PrimitiveType::Int)
        .optional("day", PrimitiveType::Date)
        .optional("at", PrimitiveType::Timestamp)
        .optional("price", PrimitiveType::Decimal { precision: 10, scale: 2 })
        .key(["id"])
        .partition("city", Transform::Identity);
    shared.lake.create(&shared.name, &definition).await.unwrap();
    shared.check("creation", &[]).await;

    let oslo = "1 Oslo 10 2025-01-01 2025-01-01T10:00:00 1.50";
    let rome = "2 Rome 20 2025-01-02 2025-01-02T10:00:00 2.50";
    let nowhere = "3 - - - - -";
    let table = shared.table().await;
    let first = shared.commit(table.append(rows(COLUMNS, &[oslo, rome, nowhere])).await.unwrap()).await;
    shared.check("append", &[oslo, rome, nowhere]).await;

    let table = shared.table().await;
    let warm = "4 Rome 40 2025-01-04 2025-01-04T10:00:00 4.50";
    shared.commit(table.overwrite(Filter::eq("city", "Rome"), rows(COLUMNS, &[warm])).await.unwrap()).await;
    shared.check("overwrite", &[oslo, warm, nowhere]).await;

    shared.evolve(Properties::new().set("write.merge.mode", "copy-on-write")).await;
    let table = shared.table().await;
    let again = "1 Oslo 11 2025-01-01 2025-01-01T11:00:00 1.75";
    let five = "5 Oslo 50 2025-01-05 2025-01-05T10:00:00 5.50";
    shared.commit(table.upsert(&["id"], rows(COLUMNS, &[again, five])).await.unwrap()).await;
    shared.check("upsert, copy on write", &[again, five, warm, nowhere]).await;

    shared.evolve(Properties::new().set("write.merge.mode", "merge-on-read")).await;
    let table = shared.table().await;
    let moved = "5 Rome 51 2025-01-05 2025-01-05T11:00:00 5.75";
    shared.commit(table.upsert(&["id"], rows(COLUMNS, &[moved])).await.unwrap()).await;
    shared.check("upsert, merge on read", &[again, moved, warm, nowhere]).await;
    assert_eq!(shared.run("select count(*) from $.delete_files"), [row("1")]);

    let table = shared.table().await;
    shared.commit(table.delete(Filter::eq("id", 4_i64)).await.unwrap()).await;
    shared.check("delete", &[again, moved, nowhere]).await;
    shared.evolve(Naming::Tag { name: "audited".into(), at: At::Now, retention: Retention::default() }).await;

    let compacted = shared.lake.compact(&shared.name, &Compaction::new().min_files(2)).await.unwrap();
    assert!(compacted.deletes > 0, "{compacted:?}");
    shared.check("compaction", &[again, moved, nowhere]).await;

    let columns = Columns::new()
        .add("note", Type::Primitive(PrimitiveType::String))
        .rename("count", "quantity")
        .widen("quantity", PrimitiveType::Long)
        .widen("price", PrimitiveType::Decimal { precision: 14, scale: 2 })
        .drop("day");
    shared.evolve(columns).await;
    let (again, moved) = ("1 Oslo 11 2025-01-01T11:00:00 1.75 -", "5 Rome 51 2025-01-05T11:00:00 5.75 -");
    shared.check("new columns", &[again, moved, nowhere]).await;
    let table = shared.table().await;
    let large = "6 Rome 6000000000 2025-01-06T10:00:00 123456789012.34 hello";
    shared.commit(table.append(rows(NEW_COLUMNS, &[large])).await.unwrap()).await;
    shared.check("rows with new columns", &[again, moved, nowhere, large]).await;

    shared.evolve(Partition::none().by("id", Transform::Bucket(4)).by("at", Transform::Day)).await;
    let table = shared.table().await;
    let seven = "7 Oslo 7 2025-01-07T10:00:00 7.50 -";
    shared.commit(table.upsert(&["id"], rows(NEW_COLUMNS, &[seven])).await.unwrap()).await;
    shared.check("another partition", &[again, moved, nowhere, large, seven]).await;
    shared.lake.compact(&shared.name, &Compaction::new()).await.unwrap();
    shared.lake.merge_manifests(&shared.name).await.unwrap();
    shared.check("compaction into it", &[again, moved, nowhere, large, seven]).await;

    // Time travel sees the columns of that time.
    shared.check_at(At::Snapshot(first), &[oslo, rome, nowhere]).await;
    let then = [
        "1 Oslo 11 2025-01-01 2025-01-01T11:00:00 1.75",
        "3 - - - - -",
        "5 Rome 51 2025-01-05 2025-01-05T11:00:00 5.75",
    ];
    shared.check_at(At::Ref("audited".into()), &then).await;
    let far = chrono::DateTime::from_timestamp(4_000_000_000, 0).unwrap();
    let expired = shared.lake.expire(&shared.name, &Expiry::new().older_than(far), far).await.unwrap();
    assert!(expired.files > 0, "{expired:?}");
    shared.check("expiry", &[again, moved, nowhere, large, seven]).await;

    // Now Spark goes on.
    shared.run(
        "merge into $ t using (select 7L as id union all select 8L) s on t.id = s.id when matched then update set \
        quantity = 8 when not matched then insert (id, city) values (s.id, 'Bergen')",
    );
    shared.run("delete from $ where id = 1");
    let all = [moved, nowhere, large, "7 Oslo 8 2025-01-07T10:00:00 7.50 -", "8 Bergen - - - -"];
    shared.check("Spark after orch", &all).await;
}

async fn spark_writes(shared: &mut Shared<'_>) {
    let namespace = shared.of_spark.rsplit_once('.').unwrap().0.to_owned();
    shared.run(&format!("create namespace {namespace}"));
    shared.run(
        "create table $ (id bigint not null, city string, count int, at timestamp_ntz) using iceberg \
         partitioned by (city, bucket(2, id))",
    );
    shared.check("creation", &[]).await;
    let (one, two, three) = ("1 Oslo 10 2025-01-01T10:00:00", "2 Rome 20 2025-01-02T10:00:00", "3 - - -");
    shared.run(
        "insert into $ values (1, 'Oslo', 10, timestamp_ntz '2025-01-01 10:00:00'),
         (2, 'Rome', 20, timestamp_ntz '2025-01-02 10:00:00'), (3, null, null, null)",
    );
    shared.check("insert", &[one, two, three]).await;
    let first = shared.table().await.current_snapshot().unwrap().snapshot_id();

    // Files are written anew, then rows are only marked as deleted.
    let (mut ten, mut deletes) = (11, 0);
    for mode in ["copy-on-write", "merge-on-read"] {
        let modes = ["update", "delete", "merge"].map(|what| format!("'write.{what}.mode' = '{mode}'")).join(", ");
        shared.run(&format!("alter table $ set tblproperties ({modes})"));
        shared.run(&format!("update $ set count = {ten} where id = 1"));
        let again = format!("1 Oslo {ten} 2025-01-01T10:00:00");
        shared.check(&format!("update, {mode}"), &[&again, two, three]).await;
        shared.run(
            "merge into $ t using (select 2L as id union all select 4L) s on t.id = s.id when matched then delete \
            when not matched then insert (id, city, count) values (s.id, 'Rome', 40)",
        );
        shared.check(&format!("merge, {mode}"), &[&again, three, "4 Rome 40 -"]).await;
        shared.run("delete from $ where count = 40");
        shared.run("insert into $ values (2, 'Rome', 20, timestamp_ntz '2025-01-02 10:00:00')");
        shared.check(&format!("delete, {mode}"), &[&again, two, three]).await;
        deletes = shared.run("select * from $.delete_files").len();
        ten += 1;
    }
    assert!(deletes > 0, "rows were marked");
    let again = "1 Oslo 12 2025-01-01T10:00:00";
    shared.run("alter table $ create tag v1");
    shared.call("rewrite_data_files", ", options => map('rewrite-all', 'true', 'remove-dangling-deletes', 'true')");
    shared.call("rewrite_manifests", "");
    shared.check("compaction", &[again, two, three]).await;
    assert_eq!(shared.run("select * from $.delete_files").len(), 0);

    shared.run("alter table $ add column note string");
    shared.run("alter table $ rename column count to quantity");
    shared.run("alter table $ alter column quantity type bigint");
    shared.run("alter table $ drop column at");
    shared.run("alter table $ drop partition field bucket(2, id)");
    shared.run("alter table $ replace partition field city with truncate(2, city)");
    shared.run("insert into $ values (5, 'Roma', 6000000000, 'new')");
    let (again, two, five) = ("1 Oslo 12 -", "2 Rome 20 -", "5 Roma 6000000000 new");
    shared.check("new columns and partitions", &[again, two, three, five]).await;
    let then = ["1 Oslo 12 2025-01-01T10:00:00", "2 Rome 20 2025-01-02T10:00:00", "3 - - -"];
    shared.check_at(At::Ref("v1".into()), &then).await;
    shared.check_at(At::Snapshot(first), &["1 Oslo 10 2025-01-01T10:00:00", then[1], then[2]]).await;

    // Now orch goes on, and Spark after it.
    let table = shared.table().await;
    let six = "6 Rome 6 late";
    let changed = rows("id city quantity note", &["5 Roma 51 old", six]);
    shared.commit(table.upsert(&["id"], changed).await.unwrap()).await;
    shared.check("upsert by orch", &[again, two, three, "5 Roma 51 old", six]).await;
    shared.lake.compact(&shared.name, &Compaction::new().min_files(2)).await.unwrap();
    shared.check("compaction by orch", &[again, two, three, "5 Roma 51 old", six]).await;
    shared.run("delete from $ where city like 'Ro%' and id > 4");
    shared.call("expire_snapshots", ", older_than => timestamp '2999-01-01 00:00:00', retain_last => 1");
    shared.check("Spark after orch", &[again, two, three]).await;
    shared.check_at(At::Ref("v1".into()), &then).await;
}
