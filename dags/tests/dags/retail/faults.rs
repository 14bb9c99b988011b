//! External faults: each causes a clear error that names its cause, nothing is published, and after the repair the same
//! run succeeds.

use super::{assert_gold_is, full, month_of, run_the_chain, world_of};
use crate::layers::published;
use crate::shop;
use crate::world::World;
use orch::Connection;
use orch_dags::retail::spark::{NAMESPACE, SILVER_BUCKET};
use orch_dags::retail::tables::{GOLD, RAW};
use orch_test_support::Sail;
use std::time::{Duration, Instant};

/// Name of the fault, statement that causes it, the task that fails, texts in its log, and statement that repairs it.
const FAULTS: [(&str, &str, &str, &[&str], &str); 6] = [
    (
        "a table is gone",
        "rename table orders to gone",
        "ingest_orders",
        &["orders", "hint:"],
        "rename table gone to orders",
    ),
    (
        "a column is gone",
        "alter table customers change customer_state region varchar(45) not null",
        "ingest_customers",
        &["customers", "customer_state"],
        "alter table customers change region customer_state varchar(45) not null",
    ),
    (
        "a column has another type",
        "alter table order_items modify order_item_quantity varchar(9);\nupdate order_items set order_item_quantity = 'some' where order_item_id = (select * from (select min(order_item_id) from order_items) x)",
        "ingest_order_items",
        &["order_items", "order_item_quantity", "Int32"],
        "update order_items set order_item_quantity = round(order_item_subtotal / order_item_product_price) where order_item_quantity = 'some';\nalter table order_items modify order_item_quantity tinyint not null",
    ),
    (
        "a key is missing",
        "alter table products drop primary key, modify product_id int null;\nupdate products set product_id = null where product_id = 7",
        "transform_retail_data",
        &["lake://retail/product_dim", "product_id", "null"],
        "update products set product_id = 7 where product_id is null;\nalter table products modify product_id int not null primary key",
    ),
    (
        "a key is there twice",
        "alter table departments drop primary key;\ninsert into departments values (7, 'Fan Shop')",
        "transform_retail_data",
        &["lake://retail/department_dim", "department_id", "7"],
        "delete from departments where department_id = 7;\ninsert into departments values (7, 'Fan Shop');\nalter table departments add primary key (department_id)",
    ),
    (
        "an amount is no number of cents",
        "alter table products modify product_price varchar(20);\nupdate products set product_price = 'cheap' where product_id = 7",
        "ingest_products",
        &["products", "product_price"],
        "update products set product_price = '0' where product_id = 7;\nalter table products modify product_price float not null",
    ),
];

fn task(name: &str) -> String {
    if name.starts_with("ingest_") { format!("raw.{name}") } else { name.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_source_is_named_and_publishes_nothing() {
    let shop = shop::month().await;
    let world = world_of(&shop).await;
    world.good("retail_medallion", "good", &full());
    let before = snapshots(&world).await;
    let mut last = String::new();
    for (number, (what, harm, failing, words, mend)) in FAULTS.into_iter().enumerate() {
        let run = format!("bad_{number}");
        shop::run_statements(&shop, &format!("{harm};\n")).await;
        world.trigger("retail_medallion", &run, &full()).failed();
        let log = world.log("retail_medallion", &task(failing), &run);
        for word in words {
            assert!(log.contains(word), "{what}: `{word}` is not in\n{log}");
        }
        assert_eq!(snapshots(&world).await, before, "{what}: something was published");
        shop::run_statements(&shop, &format!("{mend};\n")).await;
        last = run;
    }
    // Clear the failed tasks of the same run after the repair.
    world.run(&["tasks", "clear", "retail_medallion", "--run-id", &last, "--only-failed", "--yes"]).done();
    world.wait_good("retail_medallion", &last);
    assert_gold_is(&world, &month_of(shop::MONTH.1)).await;
}

/// Nulls in the source do not prevent extraction; silver checks required values.
#[tokio::test(flavor = "multi_thread")]
async fn nulls_of_the_source_are_told_or_put_aside_and_everything_else_is_published() {
    let shop = shop::month().await;
    let world = world_of(&shop).await;
    for harm in [
        "alter table customers modify customer_email varchar(45) null",
        "update customers set customer_email = null where customer_id = 7",
        "alter table orders modify order_status varchar(45) null",
        "update orders set order_status = null where order_id = 25881",
        "alter table order_items modify order_item_subtotal float null",
        "update order_items set order_item_subtotal = null where order_item_order_id = 25880 limit 1",
    ] {
        shop::run_statements(&shop, &format!("{harm};\n")).await;
    }
    world.good("retail_medallion", "nulls", &full());
    let aside = "select order_id, order_item_subtotal is null as missing, quarantine_reason
        from retail.orders_fact_quarantine";
    let aside = world.run(&["sql", aside, "-o", "csv"]).done();
    assert_eq!(aside.lines().count(), 2, "{aside}");
    assert!(aside.contains("25880,true,") && aside.contains("order_item_subtotal"), "{aside}");
    let found = "select name, bad from asset_check where run_id = 'nulls' and outcome <> 'pass' order by 1";
    let found = world.csv(found).await;
    for name in ["customer_email", "order_status", "order_item_subtotal"] {
        assert!(found.lines().any(|line| line.starts_with(name)), "{name}: {found}");
    }
    let gold = "select (select sum(total_revenue) from retail.sales_by_state) = (select sum(order_item_subtotal)
        from retail.orders_fact) as same, (select count(*) from retail.customer_dim where customer_email is null) as n";
    assert_eq!(world.csv(gold).await, "same,n\nt,1\n");
    let raw = std::fs::read_to_string(world.path().join("data/buckets/raw-retail-data/orders.csv")).unwrap();
    assert!(raw.lines().any(|line| line.starts_with("25881,") && line.ends_with(',')), "null is nothing in CSV");
}

/// Returns the metadata locations of the lake's tables, which change with every commit.
async fn snapshots(world: &World) -> String {
    world.csv("select table_name, metadata_location from lake.iceberg_tables order by 1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_be_reached_or_lets_nobody_in_is_named() {
    let shop = shop::month().await;
    let wrong = Connection { password: Some("guessed".into()), ..shop.clone() };
    let nobody = Connection { port: Some(1), ..shop };
    for (connection, words) in [(wrong, "retail_mysql"), (nobody, "127.0.0.1:1")] {
        let world = world_of(&connection).await;
        world.run(&["dags", "trigger", "retail_medallion", "--run-id", "away"]).done();
        let log = world.wait_for(
            "the failure",
            &["tasks", "logs", "retail_medallion", "raw.ingest_orders", "away"],
            |ended| ended.err.contains("failed"),
        );
        assert!(log.err.contains(words) && !log.err.contains("guessed"), "{log:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_missing_object_of_raw_is_named_and_the_ingest_mends_it() {
    let shop = shop::month().await;
    let world = world_of(&shop).await;
    world.trigger("silver_retail_etl", "early", &full()).failed();
    let log = world.log("silver_retail_etl", "transform_retail_data", "early");
    assert!(log.contains("categories.parquet` does not exist") && log.contains("mysql_to_minio_ingestion"), "{log}");

    run_the_chain(&world, "daily");
    let before = snapshots(&world).await;
    let path = world.path().join("data/buckets/raw-retail-data/orders.parquet");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    world.trigger("silver_retail_etl", "cut", &full()).failed();
    let log = world.log("silver_retail_etl", "transform_retail_data", "cut");
    assert!(log.contains("orders.parquet` is no whole Parquet file"), "{log}");
    assert_eq!(snapshots(&world).await, before);

    world.run(&["tasks", "clear", "mysql_to_minio_ingestion", "--run-id", "daily", "--yes"]).done();
    world.wait_good("mysql_to_minio_ingestion", "daily");
    world.run(&["tasks", "clear", "silver_retail_etl", "--run-id", "cut", "--yes"]).done();
    world.wait_good("silver_retail_etl", "cut");
    world.wait_for("the loads", &["dags", "list-runs", "minio_to_postgres", "-o", "json"], |ended| {
        !ended.out.contains("running") && !ended.out.contains("queued")
    });
    assert_gold_is(&world, &month_of(shop::MONTH.1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_no_part_of_an_object() {
    let shop = shop::month().await;
    let mut world = World::new().await;
    world.set("ORCH_CONN_RETAIL_MYSQL", shop.to_uri());
    // No file may exceed 150 kB; writes beyond that fail as on a full disk.
    let mut world = world.at_work_with_files_of(150);
    world.run(&["dags", "trigger", "retail_medallion", "--run-id", "full"]).done();
    let log = world.wait_for(
        "the failure",
        &["tasks", "logs", "retail_medallion", "raw.ingest_order_items", "full"],
        |ended| ended.err.contains("failed"),
    );
    assert!(log.err.contains("order_items"), "{log:?}");
    // Only the smaller of the two objects may exist, and it must be complete. Tasks of other tables may have temporary
    // files for a short time.
    let is_object = |name: &String| {
        RAW.iter().any(|table| *name == format!("{}.csv", table.name) || *name == format!("{}.parquet", table.name))
    };
    let began = Instant::now();
    let found = loop {
        let found = std::fs::read_dir(world.path().join("data/buckets/raw-retail-data")).unwrap();
        let found: Vec<String> = found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        if found.iter().all(is_object) || began.elapsed() > Duration::from_secs(30) {
            break found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(found.iter().all(is_object) && !found.iter().any(|name| name == "order_items.csv"), "{found:?}");

    let small = world.first_worker();
    world.kill(small);
    world.start_worker();
    world.run(&["tasks", "clear", "retail_medallion", "--run-id", "full", "--only-failed", "--only-running", "--yes"]);
    world.wait_good("retail_medallion", "full");
    assert_gold_is(&world, &month_of(shop::MONTH.1)).await;
}

/// Returns a world whose shop has items that cannot have been sold. `retail_medallion` has run in it.
pub(crate) async fn world_of_a_dirty_shop() -> World {
    let shop = shop::month().await;
    for harm in [
        "alter table order_items modify order_item_subtotal float null",
        "update order_items set order_item_subtotal = null where order_item_order_id = 25880 limit 1",
        "update order_items set order_item_subtotal = -50000 where order_item_order_id = 25882 limit 1",
        "update order_items set order_item_quantity = 0 where order_item_order_id = 25885 limit 1",
        "update order_items set order_item_quantity = 100 where order_item_order_id = 25888 limit 1",
        "update order_items set order_item_product_id = 99999 where order_item_order_id = 25889 limit 1",
    ] {
        shop::run_statements(&shop, &format!("{harm};\n")).await;
    }
    let world = world_of(&shop).await;
    world.good("retail_medallion", "dirty", &full());
    let quarantined =
        world.run(&["sql", "select count(*) as n from retail.orders_fact_quarantine", "-o", "csv"]).done();
    assert_eq!(quarantined, "n\r\n3\r\n", "no amount, a negative amount, no quantity");
    world
}

/// Builds gold on an engine, and compares it with the gold that was built in this process.
pub(crate) async fn assert_gold_is_as_in_process(world: &World, engine: &str) {
    world.good("retail_master_pipeline", engine, &full());
    for model in GOLD.iter() {
        let name = model.table.name;
        assert_eq!(world.loaded_in(NAMESPACE, name).await, world.loaded(name).await, "{name} on {engine}");
    }
    let tables = published(&world.path().join("data/buckets"));
    assert_eq!(tables[&format!("{SILVER_BUCKET}/orders_fact_quarantine")].1, 3, "{engine}");
}

/// Every engine quarantines the same impossible items with the same rules, and they are in no sum.
#[tokio::test(flavor = "multi_thread")]
async fn a_dirty_shop_has_the_same_gold_in_process_and_on_engines() {
    let mut world = world_of_a_dirty_shop().await;
    assert_gold_is_as_in_process(&world, "local").await;
    let sail = Sail::start();
    world.kill(world.first_worker());
    world.set("ORCH_CONN_SPARK_DEFAULT", sail.connection());
    world.start_worker();
    assert_gold_is_as_in_process(&world, "sail").await;
}
