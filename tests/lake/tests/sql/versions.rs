//! Tables at earlier states: by snapshot, time, branch or tag. Also the metadata tables.

use crate::world::{World, commit, named, orders};
use arrow::array::RecordBatch;
use iceberg::spec::{PrimitiveType, Type};
use orch_lake::Filter;
use orch_lake::table::evolve::Columns;
use orch_store::lake_view::LakeError;

#[tokio::test]
async fn a_table_is_seen_as_it_was() {
    let world = World::with_orders().await;
    let table = world.lake.table(&named("retail.orders")).await.expect("it is there");
    let first = table.current_snapshot().expect("there is one").clone();
    let table = commit(&world.lake, &table, orders(900..1_000)).await;
    let second = table.current_snapshot().expect("there is one").clone();
    let (id, next) = (first.snapshot_id(), second.snapshot_id());
    let before = first.timestamp().expect("a time").to_rfc3339();
    for (from, rows) in [
        ("retail.orders".to_string(), "1000"),
        (format!("retail.orders for version as of {id}"), "900"),
        (format!("retail.orders version as of {next}"), "1000"),
        (format!("retail.orders for timestamp as of '{before}'"), "900"),
        ("retail.orders for timestamp as of '2999-01-01'".into(), "1000"),
        ("retail.orders for version as of 'main'".into(), "1000"),
        ("retail.\"orders@main\"".into(), "1000"),
    ] {
        assert_eq!(world.lines(&format!("select count(*) from {from}")).await, [rows], "{from}");
    }
    let both = format!(
        "select orders.state, count(*) from retail.orders left join retail.orders for version as of {id} as old \
         on orders.id = old.id where old.id is null group by 1 order by 1"
    );
    assert_eq!(world.lines(&both).await, ["CA 34", "NY 33", "TX 33"]);
    let named_again = format!("select max(orders.id) from retail.orders for version as of {id}");
    assert_eq!(world.lines(&named_again).await, ["899"]);
}

#[tokio::test]
async fn a_version_that_is_not_there_is_told_with_where_to_look() {
    let world = World::with_orders().await;
    for (from, words) in [
        ("retail.orders for version as of 5", "no snapshot 5"),
        ("retail.orders for timestamp as of '1999-01-01'", "no state of 1999-01-01"),
        ("retail.\"orders@audit\"", "no branch or tag `audit`"),
    ] {
        let error = world.refused(&format!("select * from {from}")).await;
        let text = error.to_string();
        assert!(matches!(error, LakeError::NotFound(_)) && text.contains(words), "{from}: {text}");
        assert!(text.contains("\nhint: select snapshot_id, committed_at from retail.\"orders$snapshots\""), "{text}");
    }
    let error = world.refused("select * from retail.orders for timestamp as of 'soon'").await.to_string();
    assert!(error.contains("`soon` is no time"), "{error}");
}

#[tokio::test]
async fn what_is_known_about_a_table_can_be_asked() {
    let world = World::with_orders().await;
    let table = world.lake.table(&named("retail.orders")).await.expect("it is there");
    commit(&world.lake, &table, orders(900..930)).await;
    let snapshots = "select operation, added_rows, total_rows, is_current, dag_id, run_id, task_id \
                     from retail.\"orders$snapshots\" order by total_rows";
    assert_eq!(world.lines(snapshots).await, ["append 900 900 false shop r1 load", "append 30 930 true shop r1 load"]);
    let files = "select partition, kind, count(*), sum(rows) from retail.\"orders$files\" group by 1, 2 order by 1";
    assert_eq!(world.lines(files).await, ["state=CA data 2 310", "state=NY data 2 310", "state=TX data 2 310"]);
    assert_eq!(world.lines("select max(rows) from retail.\"orders$partitions\"").await, ["310"]);
    assert_eq!(world.lines("select name, kind from retail.\"orders$refs\"").await, ["main branch"]);
}

#[tokio::test]
async fn nulls_are_counted_by_column_and_snapshot() {
    let world = World::with_orders().await;
    let name = named("retail.orders");
    let columns = Columns::new().add("note", Type::Primitive(PrimitiveType::String));
    let table = world.lake.evolve(&name, columns).await.expect("a column can be added");
    // Files written before the column was added have only nulls in it.
    commit(&world.lake, &table, orders(900..930)).await;
    let lines = ["id 0 900", "note 900 900", "id 0 930", "note 930 930"];
    let asked = "select column_name, nulls, rows from retail.\"orders$nulls\" where column_name in ('id', 'note') \
                 order by rows, column_name";
    assert_eq!(world.lines(asked).await, lines);
    // The metadata of a snapshot covers this snapshot and its ancestors.
    let first = table.current_snapshot().expect("there is one").snapshot_id();
    let then = format!("select count(distinct snapshot_id) from retail.\"orders$nulls\" for version as of {first}");
    assert_eq!(world.lines(&then).await, ["1"]);
}

#[tokio::test]
async fn a_column_that_was_just_added_or_renamed_is_there_before_anything_is_written() {
    let world = World::with_orders().await;
    let name = named("retail.orders");
    let columns = Columns::new()
        .add("note", Type::Primitive(PrimitiveType::String))
        .rename("state", "region")
        .widen("amount", PrimitiveType::Decimal { precision: 12, scale: 2 });
    let table = world.lake.evolve(&name, columns).await.expect("columns can be added");
    assert_eq!(world.lines("select * from retail.orders where id = 4").await, ["4 NY 2013-10-22 0.04 null"]);
    assert_eq!(world.lines("select count(*) from retail.orders where note is null").await, ["900"]);
    assert!(world.lines("select id from retail.orders where note = 'late' or region = 'WA'").await.is_empty());
    assert_eq!(world.lines("select count(*) from retail.orders where region = 'NY' and amount < 1").await, ["33"]);
    let plan = format!("{:?}", world.lines("explain select note from retail.orders where region = 'NY'").await);
    assert!(plan.contains("files=1/3"), "files are still chosen: {plan}");

    let read = table.scan().filter(Filter::is_null("note")).columns(["region", "note"]).collect().await.expect("read");
    assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 900);
    assert_eq!(table.scan().filter(Filter::eq("note", "late")).count().await.expect("counted"), 0);

    let more = orders(900..903).project(&[0, 2, 3]).expect("three columns");
    commit(&world.lake, &table, more).await;
    assert_eq!(world.lines("select count(*), count(region) from retail.orders").await, ["903 900"]);
}
