//! Mirrors of a captured table that need values which the records lack: large values that an update did not change, and
//! the default of a new column.

use super::source::Source as _;
use super::{Shop, capture, shop};
use crate::world::{COMMIT, SOURCE, World, named};
use arrow::datatypes::{DataType, Field, Schema};
use iceberg::spec::PrimitiveType;
use orch_lake::TableDef;
use orch_store::stream::{StreamRow, get_stream};
use orch_streams::{Capture, Changes, Start, Stream};

/// A change contains a large value only if it changed.
const ITEMS: &str = "create table item (id integer primary key, n integer not null, note text);
    alter table item alter note set storage external;";

fn captured() -> Stream {
    capture(Capture::postgres(SOURCE).tables(["item"]))
}

/// A mirror with these columns and `id`.
fn mirror(columns: &[(&str, DataType, PrimitiveType)]) -> Stream {
    let id = Field::new("id", DataType::Int64, true);
    let others = columns.iter().map(|(name, of, _)| Field::new(*name, of.clone(), true));
    let row = Schema::new(std::iter::once(id).chain(others).collect::<Vec<_>>());
    let table = TableDef::new().required("id", PrimitiveType::Long);
    let table = columns.iter().fold(table, |table, (name, _, of)| table.optional(name, of.clone()));
    let stream = Stream::new("mirror").topic(format!("{SOURCE}.item")).commit_every(COMMIT);
    stream.changes(Changes::of(row)).mirror(named("test.mirror"), table, &["id"])
}

async fn until_mirror(shop: &Shop, holds: impl Fn(&StreamRow) -> bool) -> StreamRow {
    let find = async |world: &World| get_stream(&mut world.db().await, "mirror").await.unwrap().filter(&holds);
    shop.world.until_so(find).await
}

/// A mirror that starts at the latest record has no earlier value, so it reports the row.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_not_known_is_reported_with_its_row() {
    let shop = shop(ITEMS).await;
    shop.run_statements("insert into item select id, id, repeat(md5(id::text), 300) from generate_series(1, 40) id")
        .await;
    let host = shop.host(&captured());
    shop.until_records(40).await;
    host.end().await;
    let mirror = mirror(&[("n", DataType::Int32, PrimitiveType::Int), ("note", DataType::Utf8, PrimitiveType::String)]);
    let host = shop.world.host_of(vec![captured(), mirror.start(Start::Latest)]);
    until_mirror(&shop, |row| row.topic_identity.is_some()).await;
    shop.run_statements("update item set n = n + 100 where id <= 5").await;
    shop.run_statements("update item set n = 6, note = 'short' where id = 6").await;
    let row = until_mirror(&shop, |row| row.records >= 6).await;
    host.end().await;
    assert_eq!((row.quarantined, row.failures), (5, 0), "{:?}", row.error);
    let rows = shop.world.lines("test.mirror", &["id", "n", "note"]).await;
    assert_eq!(rows, ["1 101 -", "2 102 -", "3 103 -", "4 104 -", "5 105 -", "6 6 short"]);
    let reported = shop.world.lines("test.mirror_quarantine", &["quarantine_reason", "value"]).await;
    let names_it = |line: &String| line.contains("null in note") && line.contains("REPLICA IDENTITY FULL");
    assert!(reported.len() == 5 && reported.iter().all(names_it), "{reported:?}");
}

/// The guide's procedure: name the column, then let the capture take a new snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_has_its_default_after_a_new_snapshot() {
    let shop = shop(ITEMS).await;
    shop.run_statements("insert into item select id, id from generate_series(1, 10) id").await;
    let n = ("n", DataType::Int32, PrimitiveType::Int);
    let host = shop.world.host_of(vec![captured(), mirror(std::slice::from_ref(&n))]);
    until_mirror(&shop, |row| row.records >= 10).await;
    shop.run_statements("alter table item add price integer not null default 7, drop note").await;
    shop.run_statements("insert into item (id, n, price) select id, id, 9 from generate_series(11, 20) id").await;
    let row = until_mirror(&shop, |row| row.quarantined >= 10).await;
    assert_eq!(row.failures, 0, "{:?}", row.error);
    host.end().await;

    let price = ("price", DataType::Int32, PrimitiveType::Int);
    let host = shop.world.host_of(vec![captured(), mirror(&[n, price])]);
    until_mirror(&shop, |row| row.is_leased).await;
    shop.reset().await;
    shop.until_snapshot(2).await;
    let expected: Vec<String> = {
        let sql = "select concat_ws(' ', id, n, price) from item";
        let mut rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut shop.source.session().await).await.unwrap();
        rows.sort();
        rows
    };
    let is_equal = async |world: &World| {
        let rows = world.lines("test.mirror", &["id", "n", "price"]).await;
        (rows == expected).then_some(())
    };
    shop.world.until_so(is_equal).await;
    host.end().await;
}
