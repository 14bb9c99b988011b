//! Runs that replace some days of orders: backfills, increments, repeats.

use super::{assert_gold_is, full, month_of, world_of};
use crate::golden::renamed;
use crate::shop;
use crate::world::World;
use serde_json::json;

/// Builds gold from the current silver, and loads it.
fn load(world: &World, run: &str) {
    world.good("gold_retail_etl", run, &json!({}));
    world.wait_for("the load", &["dags", "list-runs", "minio_to_postgres", "-o", "json"], |ended| {
        let runs: Vec<serde_json::Value> = serde_json::from_str(&ended.out).unwrap_or_default();
        !runs.is_empty() && runs.iter().all(|run| run["state"] == "success")
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_day_by_day_is_the_month_at_once() {
    let shop = shop::month().await;
    let world = world_of(&shop).await;
    let days =
        ["backfill", "create", "--dag-id", "retail_medallion", "--from-date", "2014-01-01", "--to-date", "2014-01-31"];
    let how = ["--step", "daily", "--max-active-runs", "1", "--dag-run-conf", "{\"mode\": \"day\"}"];
    let part = ["--task-regex", "^(raw|transform)"];
    world.run(&[&days[..], &how, &part].concat()).done();
    world.run(&["backfill", "wait", "1"]).done();
    load(&world, "month");
    assert_gold_is(&world, &month_of(shop::MONTH.1)).await;

    // Rerun a day, a day with a deleted order, and a day without orders.
    shop::run_statements(
        &shop,
        "delete from order_items where order_item_order_id = 25880;\ndelete from orders where order_id = 25880;\n",
    )
    .await;
    for (run, day) in [("again", "2014-01-05"), ("less", "2014-01-01"), ("beyond", "2014-03-01")] {
        world.good("retail_medallion", run, &json!({ "mode": "day", "day": day }));
    }
    let raw = month_of(shop::MONTH.1);
    let less = crate::data::Raw {
        orders: polars::prelude::IntoLazy::lazy(raw.orders.clone())
            .filter(polars::prelude::col("order_id").neq(polars::prelude::lit(25_880)))
            .collect()
            .unwrap(),
        ..raw
    };
    assert_gold_is(&world, &less).await;
    let refused = world.trigger("retail_medallion", "none", &json!({ "mode": "day" }));
    refused.failed();
    let log = world.log("retail_medallion", "raw.ingest_orders", "none");
    assert!(log.contains("mode `day` needs a day"), "{log}");
}

/// After any kind of run, all gold tables have the new names and the same sums.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_renamed_has_the_new_name_in_all_of_gold() {
    let shop = shop::month().await;
    let world = world_of(&shop).await;
    world.good("retail_medallion", "first", &full());
    let mut raw = month_of(shop::MONTH.1);
    for (run, conf) in [
        ("incremental", json!({ "mode": "incremental" })),
        ("day", json!({ "mode": "day", "day": "2014-01-05" })),
        ("full", full()),
    ] {
        for (table, column) in [
            ("customers", "customer_lname"),
            ("products", "product_name"),
            ("categories", "category_name"),
            ("departments", "department_name"),
        ] {
            shop::run_statements(&shop, &format!("update {table} set {column} = concat('1', left({column}, 40));\n"))
                .await;
        }
        raw.customers = renamed(&raw.customers, "customer_lname");
        raw.products = renamed(&raw.products, "product_name");
        raw.categories = renamed(&raw.categories, "category_name");
        raw.departments = renamed(&raw.departments, "department_name");
        world.good("retail_medallion", run, &conf);
        assert_gold_is(&world, &raw).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_come_to_the_same_as_everything_at_once() {
    let shop = shop::month().await;
    let whole = shop::whole().await.schema.clone().unwrap();
    shop::run_statements(
        &shop,
        "delete i from order_items i join orders on order_id = order_item_order_id where order_date >= '2014-01-15';\n\
         delete from orders where order_date >= '2014-01-15';\n",
    )
    .await;
    let world = world_of(&shop).await;
    // Without known days, an incremental run reads everything.
    world.good("retail_medallion", "first", &json!({ "mode": "incremental" }));
    assert_gold_is(&world, &month_of("2014-01-15")).await;

    let rest = "order_date >= '2014-01-15' and order_date < '2014-02-01'";
    shop::run_statements(
        &shop,
        &format!(
            "insert into orders select * from {whole}.orders where {rest};\n\
             insert into order_items select i.* from {whole}.order_items i join {whole}.orders on order_id = order_item_order_id
             where {rest};\n"
        ),
    )
    .await;
    for (run, since) in [("second", "since-2014-01-14"), ("third", "since-2014-01-31")] {
        world.good("retail_medallion", run, &json!({ "mode": "incremental" }));
        let log = ["tasks", "logs", "retail_medallion", "raw.ingest_orders", run];
        world.wait_for(since, &log, |ended| ended.out.contains(since));
        assert_gold_is(&world, &month_of(shop::MONTH.1)).await;
    }
    world.good("retail_medallion", "full", &full());
    assert_gold_is(&world, &month_of(shop::MONTH.1)).await;
}
