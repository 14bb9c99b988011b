//! The pipeline on mirrored tables, which change data capture maintains from the binlog of the source.

use super::assert_gold_is_golden;
use crate::shop;
use crate::world::World;
use orch_dags::retail::tables::RAW;
use serde_json::json;

/// Corrupts the source before the streams start.
const DAMAGE: &str = "create table lost as select * from order_items where order_item_id % 100 = 0;
delete from order_items where order_item_id % 100 = 0;
create table said as select order_id, order_status from orders where order_id <= 500;
update orders set order_status = 'WRONG' where order_id <= 500;
";
/// Repairs the source while the streams run, and changes the key of an item and changes it back.
const REPAIR: &str = "insert into order_items select * from lost;
update orders join said on orders.order_id = said.order_id set orders.order_status = said.order_status;
update order_items set order_item_id = -1 where order_item_id = 1;
update order_items set order_item_id = 1 where order_item_id = -1;
";

#[tokio::test(flavor = "multi_thread")]
async fn gold_is_golden_by_the_changes_of_the_source() {
    let (server, connection) = shop::whole_with_changes().await;
    server.run_statements(&connection, DAMAGE).await;
    let mut world = World::new().await;
    world.set("ORCH_CONN_RETAIL_MYSQL", connection.to_uri());
    let world = world.at_work();
    let streams: Vec<String> = RAW.iter().map(|table| format!("retail_{}", table.name)).collect();
    world.wait_for("the streams", &["streams", "list"], |ended| ended.out.contains("retail_orders"));
    // Until a user resumes the streams, nothing is read from the source, and the pipeline reports that.
    let missing = world.trigger("retail_medallion", "early", &json!({ "source": "changes" }));
    assert_ne!(missing.code, 0, "{missing:?}");
    world.run(&["streams", "resume", "retail-mysql-connector"]).done();
    for stream in &streams {
        world.run(&["streams", "resume", stream]).done();
    }
    for (stream, records) in [("retail_order_items", 170_477), ("retail_orders", 68_883)] {
        assert_eq!(world.streamed(stream, records).await, 0);
    }
    server.run_statements(&connection, REPAIR).await;
    for (stream, records) in [
        ("retail_order_items", 172_198 + 4),
        ("retail_orders", 68_883 + 500),
        ("retail_customers", 12_435),
        ("retail_products", 1_345),
        ("retail_categories", 58),
        ("retail_departments", 6),
    ] {
        assert_eq!(world.streamed(stream, records).await, 0, "{stream}");
    }
    world.good("retail_medallion", "changes", &json!({ "source": "changes" }));
    assert_gold_is_golden(&world).await;
    let sql = "select count(*) from information_schema.columns where table_schema = 'retail_cdc' and column_name like '%password%'";
    assert_eq!(world.run(&["sql", sql, "-o", "csv"]).done().lines().nth(1), Some("0"));
}
