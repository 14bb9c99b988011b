//! The data behind the lake pages.

use crate::world::{World, commit, named, orders};
use orch_store::lake_view::{FileKind, LakeError, LakePage, LakeView as _, TableId};

const ALL: LakePage = LakePage { skip: 0, most: 1_000 };

fn id() -> TableId {
    TableId::new("retail", "orders")
}

#[tokio::test]
async fn tables_snapshots_files_and_partitions_are_listed() {
    let world = World::with_orders().await;
    let table = world.lake.table(&named("retail.orders")).await.expect("it is there");
    commit(&world.lake, &table, orders(900..930)).await;
    let tables = world.sql.tables().await.expect("a list");
    assert_eq!(tables.len(), 1);
    let (row, totals) = (&tables[0], tables[0].totals);
    assert_eq!((row.id.to_string().as_str(), row.snapshots, row.problem.as_deref()), ("retail.orders", 2, None));
    assert_eq!((totals.rows, totals.files, totals.delete_files), (930, 6, 0));
    assert!(totals.bytes > 1_000, "{totals:?}");
    let by = row.last.as_ref().and_then(|last| last.made_by.clone()).expect("a run made it");
    assert_eq!((by.dag_id.as_str(), by.run_id.as_str(), by.task_id.as_deref()), ("shop", "r1", Some("load")));

    let whole = world.sql.table(id()).await.expect("a table");
    assert_eq!(whole.key, ["id"]);
    assert_eq!(whole.asset_uri, "lake://retail/orders");
    let columns: Vec<_> = whole.columns.iter().map(|c| (c.name.as_str(), c.data_type.as_str(), c.required)).collect();
    assert_eq!(
        columns,
        [("id", "long", true), ("state", "string", false), ("day", "date", false), ("amount", "decimal(10, 2)", false)]
    );
    assert_eq!(
        (whole.partitioned_by[0].column.as_str(), whole.partitioned_by[0].transform.as_str()),
        ("state", "identity")
    );

    let snapshots = world.sql.snapshots(id(), ALL).await.expect("a list");
    let told: Vec<_> = snapshots.iter().map(|one| (one.added_rows, one.totals.rows, one.is_current)).collect();
    assert_eq!(told, [(30, 930, true), (900, 900, false)]);
    let older = world.sql.snapshots(id(), LakePage { skip: 1, most: 1 }).await.expect("a page");
    assert_eq!(older, snapshots[1..]);

    let files = world.sql.files(id(), None, ALL).await.expect("a list");
    assert_eq!((files.len(), files.iter().map(|file| file.rows).sum::<u64>()), (6, 930));
    let first = files.iter().find(|file| file.partition == "state=CA" && file.rows == 300).expect("the first of CA");
    let range = first.columns.iter().find(|column| column.name == "id").expect("its ids");
    assert_eq!(first.kind, FileKind::Data);
    assert_eq!((range.least.as_deref(), range.greatest.as_deref(), range.nulls), (Some("0"), Some("897"), Some(0)));
    let of_first = world.sql.files(id(), Some(snapshots[1].id), ALL).await.expect("a list");
    assert_eq!(of_first.len(), 3);

    let partitions = world.sql.partitions(id(), ALL).await.expect("a list");
    let told: Vec<_> =
        partitions.iter().map(|one| (one.partition.as_str(), one.totals.rows, one.totals.files)).collect();
    assert_eq!(told, [("state=CA", 310, 2), ("state=NY", 310, 2), ("state=TX", 310, 2)]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::with_orders().await;
    for error in [
        world.sql.table(TableId::new("retail", "none")).await.err(),
        world.sql.table(TableId::new("", "")).await.err(),
        world.sql.snapshots(TableId::new("none", "orders"), ALL).await.err(),
        world.sql.files(id(), Some(5), ALL).await.err(),
    ] {
        assert!(matches!(error, Some(LakeError::NotFound(_))), "{error:?}");
    }
}

#[tokio::test]
async fn a_table_whose_metadata_is_lost_hides_no_other() {
    let world = World::with_orders().await;
    let lost = world.lake.create(&named("retail.lost"), &crate::world::definition()).await.expect("it is made");
    let path = lost.metadata_location().strip_prefix("file://").expect("a file");
    std::fs::remove_file(path).expect("it is there");
    let tables = world.sql.tables().await.expect("a list");
    let told: Vec<_> =
        tables.iter().map(|row| (row.id.name.as_str(), row.problem.is_some(), row.totals.rows)).collect();
    assert_eq!(told, [("lost", true, 0), ("orders", false, 900)]);
    assert_eq!(world.lines("select count(*) from retail.orders").await, ["900"]);
    assert!(matches!(world.refused("select * from retail.lost").await, LakeError::Unavailable(_)));
    assert!(world.folder.path().exists());
}
