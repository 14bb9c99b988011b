//! Merges in independent shares must have the same result as one upsert.

use crate::world::{Order, World, by_state, definition, many, named, orders, rows_of, world};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use futures::future::try_join_all;
use iceberg::spec::PrimitiveType;
use orch_lake::table::{Merge, MergedShare};
use orch_lake::{Change, Filter, LakeError, LakeResult, Table, TableDef};
use std::sync::Arc;

async fn appended(world: &World, mut table: Table, batches: &[RecordBatch]) -> Table {
    for batch in batches {
        let change = table.append(batch.clone()).await.expect("the rows are written");
        table = change.commit(&world.lake).await.expect("no other writer is there").table;
    }
    table
}

/// Returns orders with these ids, and values that no other function creates.
fn changed(ids: impl Iterator<Item = i64>) -> RecordBatch {
    let rows: Vec<Order<'_>> = ids.map(|id| (id, "WA", 1, 7)).collect();
    orders(&rows)
}

/// Creates a table with overlapping files, one file beyond their key range, and deletes.
async fn target(world: &World, name: &str, definition: TableDef) -> Table {
    let table = world.table(name, definition).await;
    let odd = (1..200).step_by(2).map(|id| (id, "TX", 2, i128::from(id))).collect::<Vec<Order<'_>>>();
    let even = (0..200).step_by(2).map(|id| (id, "CA", 3, i128::from(id))).collect::<Vec<Order<'_>>>();
    let table = appended(world, table, &[orders(&odd), orders(&even), many(200, 100), many(400, 100)]).await;
    let deleted = table.delete(Filter::is_in("id", [3_i64, 150, 210])).await.expect("it is written");
    deleted.commit(&world.lake).await.expect("no other writer is there").table
}

/// Creates a table of new rows. Some keys are before the first key of the target, between its files, or beyond its
/// last.
async fn source(world: &World, batches: &[RecordBatch]) -> Table {
    appended(world, world.table("staging.orders", definition()).await, batches).await
}

fn news() -> [RecordBatch; 4] {
    [changed(-5..3), changed((100..250).step_by(3)), changed((101..330).step_by(3)), changed(490..520)]
}

/// Returns the results of all shares after a round trip through JSON, as tasks of several processes pass them to the
/// committing task.
async fn written(merge: &Merge, of: u32) -> LakeResult<Vec<MergedShare>> {
    let shares = try_join_all((0..of).map(|number| merge.share(number))).await?;
    let texts = shares.iter().map(|share| serde_json::to_value(share).expect("it is JSON"));
    Ok(texts.map(|text| serde_json::from_value(text).expect("it is a share")).collect())
}

async fn merged(into: &Table, from: &Table, key: &[String], of: u32) -> LakeResult<(Change, u64, u64)> {
    let merge = Merge::new(into, from, key)?.in_shares(of);
    let shares = written(&merge, of).await?;
    let sum = |count: fn(&MergedShare) -> u64| shares.iter().map(count).sum();
    Ok((merge.change(&shares).await?, sum(|share| share.rows), sum(|share| share.replaced)))
}

#[tokio::test]
async fn shares_leave_what_one_upsert_leaves() {
    for definition in [definition(), by_state(), definition().sorted(["day"])] {
        for mode in ["by-cost", "copy-on-write", "merge-on-read"] {
            let world = world().await;
            let definition = definition.clone().property("write.merge.mode", mode);
            let from = source(&world, &news()).await;
            let one = target(&world, "retail.one", definition.clone()).await;
            let count = one.count().await.unwrap();
            let upsert = one.upsert(&[], from.scan().stream().await.unwrap()).await.unwrap();
            let one = upsert.commit(&world.lake).await.unwrap().table;
            let expected = rows_of(&one).await;
            for of in [1, 2, 3, 16] {
                let name = format!("retail.by_{of}");
                let into = target(&world, &name, definition.clone()).await;
                let (change, rows, replaced) = merged(&into, &from, &[], of).await.unwrap();
                let committed = change.commit(&world.lake).await.unwrap();
                let said = format!("{mode}, {of} shares, {definition:?}");
                assert_eq!(rows_of(&committed.table).await, expected, "{said}");
                assert_eq!(committed.table.snapshots().len(), into.snapshots().len() + 1, "all of it in one: {said}");
                assert_eq!(rows, from.count().await.unwrap(), "{said}");
                assert_eq!(count - replaced + rows, expected.len() as u64, "{said}");
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_has_no_key_is_not_touched() {
    let world = world().await;
    let from = source(&world, &[changed(205..206), changed(-100..0)]).await;
    let into = target(&world, "retail.orders", definition().property("write.merge.mode", "copy-on-write")).await;
    let (change, ..) = merged(&into, &from, &["id".into()], 4).await.unwrap();
    assert_eq!(
        (change.remove.len(), change.added_rows()),
        (1, 397),
        "296 of the file that is written anew, and all new ones"
    );
    let merge = Merge::new(&into, &from, &[]).unwrap();
    let all: u64 = into.statistics().await.unwrap().partitions.iter().map(|partition| partition.bytes).sum();
    let new: u64 = from.statistics().await.unwrap().partitions.iter().map(|partition| partition.bytes).sum();
    let bytes = merge.bytes().await.unwrap();
    assert!(bytes > new && bytes < new + all, "{bytes} of {new} and {all}");
}

#[tokio::test]
async fn an_empty_table_takes_all_and_an_empty_one_changes_nothing() {
    let world = world().await;
    let (empty, from) = (world.orders().await, source(&world, &news()).await);
    let before = empty.as_of(None).unwrap();
    let (change, rows, replaced) = merged(&before, &from, &[], 4).await.unwrap();
    assert_eq!(replaced, 0);
    let into = change.commit(&world.lake).await.unwrap().table;
    assert_eq!((into.count().await.unwrap(), rows_of(&into).await), (rows, rows_of(&from).await));
    let nothing = world.table("staging.nothing", definition()).await;
    let (change, ..) = merged(&into, &nothing, &[], 4).await.unwrap();
    assert!(change.is_empty());
    // At the state before the first snapshot, the rows added since then conflict with the merge.
    let (change, ..) = merged(&into.as_of(None).unwrap(), &from, &[], 2).await.unwrap();
    let error = change.commit(&world.lake).await.unwrap_err().to_string();
    assert!(error.contains("rows were added to what this change replaces"), "{error}");
}

#[tokio::test]
async fn what_others_commit_in_the_meantime_stays_or_is_a_conflict() {
    let world = world().await;
    let from = source(&world, &news()).await;
    let pinned = from.current_snapshot().unwrap().snapshot_id();
    let name = named("retail.orders");
    target(&world, "retail.orders", definition()).await;
    for (others, of) in [(vec![8, 201, 900], 3), (vec![8, 201, 491], 3), (vec![8, 201, -5], 1)] {
        let into = world.lake.table(&name).await.unwrap();
        let then = into.current_snapshot().unwrap().snapshot_id();
        appended(&world, into, &[changed(others.iter().copied())]).await;
        // Another task reads the pinned snapshots much later.
        appended(&world, world.lake.table(from.name()).await.unwrap(), &[changed(1000..1001)]).await;
        let into = world.lake.table(&name).await.unwrap().as_of(Some(then)).unwrap();
        let from = world.lake.table(from.name()).await.unwrap().as_of(Some(pinned)).unwrap();
        let (change, ..) = merged(&into, &from, &[], of).await.unwrap();
        let done = change.commit(&world.lake).await;
        if others.contains(&900) {
            let table = done.unwrap().table;
            assert_eq!(table.scan().filter(Filter::is_in("id", [8_i64, 201, 900])).count().await.unwrap(), 5);
            assert_eq!(table.scan().filter(Filter::eq("id", 1000)).count().await.unwrap(), 0, "not pinned");
        } else {
            let error = done.unwrap_err();
            assert!(matches!(&error, LakeError::Conflict { .. }), "{error}");
            assert!(error.to_string().contains("rows were added to what this change replaces"), "{error}");
        }
    }
    let missing = from.as_of(Some(7)).unwrap_err().to_string();
    assert!(missing.contains("has no snapshot 7"), "{missing}");
}

#[tokio::test]
async fn a_key_that_is_there_twice_or_null_is_refused_by_its_share() {
    let world = world().await;
    let into = target(&world, "retail.orders", definition()).await;
    // Duplicate keys: beyond all keys of the target, within its files, and across two files of the new rows.
    for (number, twice) in [vec![7000, 7000], vec![120, 120], vec![110]].into_iter().enumerate() {
        let name = format!("staging.twice_{number}");
        let new = [changed(100..115), changed(twice.into_iter())];
        let from = appended(&world, world.table(&name, definition()).await, &new).await;
        for of in [1, 2, 5] {
            let error = merged(&into, &from, &[], of).await.unwrap_err().to_string();
            assert!(error.starts_with("two rows have the same key (id)"), "{name}, {of}: {error}");
        }
    }
    let optional = TableDef::new().optional("id", PrimitiveType::Long);
    let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(120), None, Some(9000)]));
    let nulls = RecordBatch::try_from_iter([("id", column)]).unwrap();
    let from = appended(&world, world.table("staging.nulls", optional.clone()).await, &[nulls, ids(200..400)]).await;
    let into = appended(&world, world.table("retail.bare", optional).await, &[ids(0..150), ids(150..300)]).await;
    for of in [1, 2, 5] {
        let error = merged(&into, &from, &["id".into()], of).await.unwrap_err().to_string();
        assert!(error.starts_with("column `id` of the key is null in row 2"), "{of}: {error}");
    }
}

fn ids(ids: std::ops::Range<i64>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    RecordBatch::try_from_iter([("id", column)]).expect("one column")
}

#[tokio::test]
async fn tables_that_do_not_fit_are_named() {
    let world = world().await;
    let into = world.orders().await;
    let table = async |name: &str, definition: TableDef| world.table(name, definition).await;
    let of = |into: &Table, from: &Table, key: &[&str]| {
        let key: Vec<String> = key.iter().map(ToString::to_string).collect();
        Merge::new(into, from, &key).map(|_| ()).unwrap_err().to_string()
    };
    assert!(of(&into, &into, &[]).starts_with("table `retail.orders` cannot be merged into itself"));
    let bare = table("retail.bare", TableDef::new().required("id", PrimitiveType::Long)).await;
    assert!(of(&bare, &into, &[]).starts_with("table `retail.bare` has no key"));
    assert!(of(&into, &bare, &["nowhere"]).contains("`nowhere`"));
    let text = table("staging.text", TableDef::new().required("id", PrimitiveType::String)).await;
    let error = of(&into, &text, &[]);
    assert!(
        error.starts_with("column `id` of the key is long in `retail.orders` and string in `staging.text`"),
        "{error}"
    );
    let more = definition().optional("note", PrimitiveType::String);
    let more = table("staging.more", more).await;
    let error = of(&into, &more, &[]);
    assert!(error.starts_with("table `retail.orders` has no column `note`, which `staging.more` has"), "{error}");
    let other = table("staging.other", TableDef::new().required("day", PrimitiveType::Date)).await;
    assert!(of(&into, &other, &[]).contains("`id`"), "the key is not among its columns");
}

#[tokio::test]
async fn spark_is_asked_for_the_same() {
    let world = world().await;
    let from = world.table("staging.or`ders", TableDef::new().required("id", PrimitiveType::Long)).await;
    let from = appended(&world, from, &[ids(1..3)]).await;
    let snapshot = from.current_snapshot().unwrap().snapshot_id();
    let into = world.table("retail.it's", definition().optional("a`b", PrimitiveType::Long)).await;
    let [check, merge] = Merge::new(&into, &from, &[]).unwrap().spark_statements("orch");
    let from = format!("orch.`staging`.`or``ders` version as of {snapshot}");
    assert_eq!(
        check,
        format!(
            "select assert_true(count(*) = count(distinct `id`) and count_if(`id` is null) = 0, 'the new rows have a key (id) \
             twice, or one that is null') from {from}"
        )
    );
    assert_eq!(
        merge,
        format!(
            "merge into orch.`retail`.`it's` t using (select * from {from}) s on t.`id` = s.`id` when matched then update set \
             t.`id` = s.`id`, t.`state` = null, t.`day` = null, t.`amount` = null, t.`a``b` = null when not matched then insert \
             (`id`, `state`, `day`, `amount`, `a``b`) values (s.`id`, null, null, null, null)"
        )
    );
}
