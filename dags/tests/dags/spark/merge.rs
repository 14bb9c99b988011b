//! `lake_merge` leaves large tables to Spark.

use super::{with_spark, world_with_spark};
use crate::merge::{definition, expected, filled};
use crate::upkeep::rows;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn spark_merges_the_largest_tables() {
    let (_turn, mut world, worker, connection) = world_with_spark().await;
    let lake = world.lake();
    let old = [("Oslo", 0..40), ("Rome", 40..80)];
    let new = [("Kyiv", 30..50), ("Lima", 90..100)];
    let from = filled(&lake, "staging.orders", definition(), &new).await;
    let twice = filled(&lake, "staging.twice", definition(), &[("Bern", 1..3), ("Cork", 2..4)]).await;
    let modes = ["copy-on-write", "merge-on-read"];
    let mut tables = vec![];
    for mode in modes {
        let definition = definition().property("write.merge.mode", mode);
        tables.push(filled(&lake, &format!("retail.{}", mode.replace('-', "_")), definition, &old).await);
    }

    with_spark(&mut world, worker, connection);
    let conf = |from: &orch_lake::TableName, into: &orch_lake::TableName| json!({ "from": from.to_string(), "into": into.to_string(), "spark_from_bytes": 1 });
    for (into, mode) in tables.iter().zip(modes) {
        world.good("lake_merge", mode, &conf(&from, into));
        assert_eq!(rows(&lake, into).await, expected(&[&old[..], &new[..]].concat()), "{mode}");
        let table = lake.table(into).await.unwrap();
        assert_eq!(table.snapshots().len(), old.len() + 1);
        let last = &table.current_snapshot().unwrap().summary().additional_properties;
        assert_eq!(last.get("engine-name").map(String::as_str), Some("spark"), "{last:?}");
        let deletes = last["total-position-deletes"].as_str();
        assert_eq!(deletes, if mode == "merge-on-read" { "20" } else { "0" });
    }
    let said = world.run(&["tasks", "logs", "lake_merge", "divide_merge", modes[0]]).done();
    assert!(said.contains("bytes are merged by Spark"), "{said}");
    let before = lake.table(&tables[0]).await.unwrap();
    world
        .run(&["dags", "trigger", "lake_merge", "--run-id", "twice", "--conf", &conf(&twice, &tables[0]).to_string()])
        .done();
    let logs = ["tasks", "logs", "lake_merge", "merge_share", "twice", "--map-index", "0"];
    world.wait_for("the refusal", &logs, |ended| {
        ended.out.contains("the new rows have a key (id) twice, or one that is null")
    });
    assert_eq!(lake.table(&tables[0]).await.unwrap().metadata_location(), before.metadata_location());
}
