//! A capture without a snapshot: mirrors copy the table, and apply the changes since the mark to the copy.

use super::scenes::{update, writers};
use super::source::Source as _;
use super::{Dice, Shop, capture, lines, shop};
use crate::world::{COMMIT, Host, SOURCE, named};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use iceberg::spec::PrimitiveType;
use orch_lake::TableDef;
use orch_store::stream::{get_stream, restart_stream};
use orch_streams::{Capture, Changes, OP, Stream};
use orch_test_support::PrivateServer;

/// A record contains a large value only if it changed.
const ITEMS: &str = "create table item (id integer primary key, n integer not null, note text);
    alter table item alter note set storage external;";

fn capture_of_items(partitions: i16) -> Stream {
    capture(Capture::postgres(SOURCE).tables(["item"]).partitions(partitions).snapshot_by_mirrors())
}

fn follow(name: &str) -> Stream {
    let row = [("id", DataType::Int64), ("n", DataType::Int32), ("note", DataType::Utf8)];
    let row = Schema::new(row.map(|(name, of)| Field::new(name, of, true)).to_vec());
    Stream::new(name).topic(format!("{SOURCE}.item")).commit_every(COMMIT).changes(Changes::of(row))
}

fn columns(table: TableDef) -> TableDef {
    table.optional("n", PrimitiveType::Int).optional("note", PrimitiveType::String)
}

fn mirror() -> Stream {
    let table = columns(TableDef::new().required("id", PrimitiveType::Long));
    follow("mirror").mirror(named("test.mirror"), table, &["id"])
}

impl Shop {
    fn start(&self, partitions: i16) -> Host {
        self.world.host_of(vec![capture_of_items(partitions), mirror().snapshot_from(SOURCE, "item")])
    }

    /// Returns the rows of the source in the format of the lake's rows.
    async fn items(&self) -> Vec<String> {
        let sql = "select concat_ws(' ', id, n, coalesce(note, '-')) from item";
        let mut items: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut self.source.session().await).await.unwrap();
        items.sort();
        items
    }

    async fn until_mirrored(&self) {
        let items = self.items().await;
        let is_it = async |world: &crate::world::World| {
            let rows = world.lines("test.mirror", &["id", "n", "note"]).await;
            (rows == items).then_some(())
        };
        self.world.until_so(is_it).await;
    }
}

/// Some statements change the key of a row, and most changes lack the large value.
fn statement(dice: &mut Dice, writer: u64) -> String {
    let mut own = || dice.below(400) * 2 + writer;
    let (id, other) = (own(), own());
    let n = dice.below(1_000);
    match dice.below(8) {
        0 => format!("delete from item where id = {id}"),
        1 | 2 => format!(
            "insert into item values ({id}, {n}, repeat('{n}', 2000)) on conflict (id) do update set n = excluded.n, note = excluded.note"
        ),
        3 | 4 => PrivateServer::move_key(id, other),
        _ => update(id, n),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_and_the_changes_make_the_table_whatever_breaks() {
    a_copy_and_changes_make_the_table(&shop(ITEMS).await, 1).await;
}

/// A row with a new key moves to another partition, out of order with its earlier changes, so changes contain whole
/// rows.
#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_copied_table_are_spread_over_partitions() {
    let items = format!("{ITEMS} alter table item replica identity full;");
    a_copy_and_changes_make_the_table(&shop(&items).await, 2).await;
}

/// Others write continuously; sessions break, processes end, the slot is lost and the capture restarts.
async fn a_copy_and_changes_make_the_table(shop: &Shop, partitions: i16) {
    shop.run_statements("insert into item select id, 0, repeat(id::text, 2000) from generate_series(0, 599) id").await;
    let (writers, stop) = writers(shop, statement).await;
    let (mut dice, mut orch) = (Dice(0x5eed), shop.world.db().await);
    let mut hosts = vec![shop.start(partitions), shop.start(partitions)];
    for turn in 0..12 {
        shop.until_snapshot(1 + turn / 4).await;
        let told = shop.world.row().await.unwrap().records;
        match dice.below(4) {
            0 => shop.source.cut().await,
            1 => {
                restart_stream(&mut orch, "mirror").await.unwrap();
                shop.world.steered();
            }
            2 => {
                let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and application_name like 'orch%'";
                sqlx::raw_sql(cut).execute(&mut orch).await.unwrap();
            }
            _ => {
                hosts.remove(0).end().await;
                hosts.push(shop.start(partitions));
            }
        }
        shop.world.try_again().await;
        shop.until_records(told + 100).await;
        if turn % 4 == 3 && turn < 11 {
            // The changes of that time are lost, and the next copy contains their result.
            hosts.remove(0).end().await;
            hosts.remove(0).end().await;
            shop.drop_slot().await;
            hosts = vec![shop.start(partitions), shop.start(partitions)];
            shop.failure(|error| error.contains("is gone from the server")).await;
            shop.reset().await;
        }
    }
    stop.cancel();
    assert!(writers.join_all().await.into_iter().all(|many| many > 100), "they wrote all the time");
    shop.world.try_again().await;
    shop.until_mirrored().await;
    let row = get_stream(&mut orch, "mirror").await.unwrap().unwrap();
    assert_eq!(row.quarantined, 0, "{row:?}");
    let told = shop.told("item").await;
    assert!(told.iter().all(|one| one.op != "r"), "no row went through the topic");
    assert_eq!(told.iter().filter(|one| one.op == "m").count(), 3, "a mark for each snapshot");
    for host in hosts {
        host.end().await;
    }
}

/// The copy and the topic have the same values.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_the_values_that_records_would_tell() {
    let shop = shop(
        "alter database orch set datestyle = 'German'; alter database orch set intervalstyle = 'iso_8601';
        alter database orch set timezone = 'Asia/Kolkata'; set timezone = 'UTC';
        create type mood as enum ('fine', 'bad');
        create table every (id bigint primary key, small smallint, number integer, part real, double double precision, loose numeric,
            exact numeric(8,2), yes boolean, note text, code char(5), at timestamp, instant timestamptz, moment timestamptz, day date,
            clock time, bytes bytea, coded bytea, document jsonb, tags text[], who uuid, spirit mood, span interval);
        insert into every values (1, -2, 3, 0.1, 1e300, 3.14159, 12.50, true, E'tab\\tnew\\nline\\\\ \"x\"', 'ab', '2026-11-23 01:02:03.5',
            '2026-11-23 01:02:03+02', '2026-11-23 01:02:03.25+02', '2026-11-23', '12:30:00.000001', '\\x00ff', '\\x00ff', '{\"a\": 1}',
            array['a', 'b,c'], '6f1e7a3c-0000-0000-0000-000000000000', 'fine', '1 year 2 days');
        insert into every (id, part, double, loose, exact, instant, at, day, note) values
            (2, '-Infinity', 'Infinity', 'NaN', 'NaN', 'infinity', '-infinity', 'infinity', ''), (3, null, null, null, null, null, null, null, '\\N');",
    )
    .await;
    let at = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let columns = [
        ("id", DataType::Int64),
        ("small", DataType::Int32),
        ("number", DataType::Int64),
        ("part", DataType::Float32),
        ("double", DataType::Float64),
        ("loose", DataType::Decimal128(12, 5)),
        ("exact", DataType::Decimal128(8, 2)),
        ("yes", DataType::Boolean),
        ("at", at(None)),
        ("instant", at(Some("+00:00"))),
        ("day", DataType::Date32),
        ("clock", DataType::Time64(TimeUnit::Microsecond)),
        ("bytes", DataType::Binary),
    ];
    let texts = ["note", "code", "moment", "coded", "document", "tags", "who", "spirit", "span", "missing"];
    let texts = texts.map(|name| (name, DataType::Utf8));
    let all = [&columns[..], &texts[..]].concat();
    let row = Schema::new(all.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect::<Vec<_>>());
    let mirror = |name: &str, topics: &str| {
        let table = TableDef::of(&row).unwrap().key(["id"]);
        let stream =
            Stream::new(name).topic(format!("{topics}.every")).commit_every(COMMIT).changes(Changes::of(row.clone()));
        stream.mirror(named(&format!("test.{name}")), table, &["id"])
    };
    let every = || Capture::postgres(SOURCE).tables(["every"]);
    let host = shop.world.host_of(vec![
        capture(every().topics("copied").snapshot_by_mirrors()),
        Stream::new("told").capture(every().topics("told")).commit_every(COMMIT),
        mirror("by_copy", "copied").snapshot_from(SOURCE, "public.every"),
        mirror("by_topic", "told"),
    ]);
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let rows = async |table: &str| {
        let whole = async |world: &crate::world::World| {
            let lines = world.lines(table, &names).await;
            (lines.len() == 3).then_some(lines)
        };
        shop.world.until_so(whole).await
    };
    let (copied, told) = (rows("test.by_copy").await, rows("test.by_topic").await);
    assert_eq!(copied, told);
    assert!(copied[0].contains(" 3.14159 12.50 true ") && copied[0].contains("2026-11-22T23:02:03.25Z"), "{copied:?}");
    host.end().await;
}

/// Streams that append all changes ignore the mark. Mirrors that cannot copy the table report an error, also for a
/// column that the copy cannot provide.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_is_for_mirrors_that_know_the_table() {
    let shop = shop(ITEMS).await;
    shop.run_statements("insert into item values (1, 1, 'there')").await;
    let trail = columns(TableDef::new().optional("id", PrimitiveType::Long).optional(OP, PrimitiveType::String));
    let trail = follow("trail").append(named("test.trail"), trail);
    let table = TableDef::new().required("id", PrimitiveType::Long);
    let row = Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("n", DataType::Binary, true)]);
    let unfit = Stream::new("unfit").topic(format!("{SOURCE}.item")).commit_every(COMMIT).changes(Changes::of(row));
    let unfit = unfit.mirror(named("test.unfit"), table.optional("n", PrimitiveType::Binary), &["id"]);
    let host = shop.world.host_of(vec![capture_of_items(1), trail, mirror(), unfit.snapshot_from(SOURCE, "item")]);
    let failure = async |name: &str| {
        let failed = async |world: &crate::world::World| {
            get_stream(&mut world.db().await, name).await.unwrap().and_then(|row| row.error)
        };
        shop.world.until_so(failed).await
    };
    let (mirror, unfit) = (failure("mirror").await, failure("unfit").await);
    assert!(mirror.contains("declare it with `.snapshot_from(…)`"), "{mirror}");
    assert!(unfit.contains("cannot cast type integer to bytea"), "{unfit}");
    shop.until_following().await;
    shop.run_statements("insert into item values (2, 2, 'new')").await;
    let kept = async |world: &crate::world::World| {
        let lines = world.lines("test.trail", &["id", "n", "note", OP]).await;
        (!lines.is_empty()).then_some(lines)
    };
    assert_eq!(shop.world.until_so(kept).await, ["2 2 new c"]);
    let trail = get_stream(&mut shop.world.db().await, "trail").await.unwrap().unwrap();
    assert_eq!((trail.records, trail.quarantined), (2, 0));
    assert_eq!(lines(&shop.told("item").await)[0], "m - null");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_of_some_rows_is_not_copied() {
    let shop = shop(ITEMS).await;
    shop.run_statements("create publication orch_readings for table item where (id > 1)").await;
    let host = shop.world.host_of(vec![capture_of_items(1)]);
    let error = shop.failure(|error| error.contains("only some rows of table `public.item`")).await;
    assert!(error.contains("take `where` out of the publication"), "{error}");
    shop.run_statements("alter publication orch_readings set table item").await;
    shop.until_following().await;
    host.end().await;
}
