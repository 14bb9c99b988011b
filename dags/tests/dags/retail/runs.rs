//! Whole runs: on real servers, on the built-in defaults, repeated, with a killed worker, and two concurrent runs.

use super::{assert_gold_is, assert_gold_is_golden, full, month_of, run_the_chain, world_of};
use crate::dashboards::the_shop_is_golden;
use crate::golden::{assert_golden, golden_tables};
use crate::shop;
use crate::standalone::Standalone;
use crate::world::World;
use orch_dags::common::model::Model;
use orch_dags::retail::sample::Sample;
use orch_dags::retail::tables::{GOLD, RAW, SILVER};
use orch_test_lake::S3Server;
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn mysql_to_s3_to_postgres_is_golden_and_a_second_run_changes_nothing() {
    let server = S3Server::start().await;
    let mut world = World::new().await;
    world.set("ORCH_CONN_RETAIL_MYSQL", shop::whole().await.to_uri());
    world.set("ORCH_CONN_BUCKETS", server.connection().to_uri());
    let mut world = world.at_work();
    for run in ["first", "second"] {
        world.good("retail_medallion", run, &full());
        assert_gold_is_golden(&world).await;
    }
    let daily = "select date(order_date) as date, sum(order_item_subtotal) as revenue from retail.order_fact
        where order_status in ('COMPLETE', 'CLOSED') group by 1 order by 1";
    assert_golden("daily_revenue_complete_closed", &world.csv(daily).await);
    let best = "select customer_id, customer_fname, customer_lname, total_revenue from retail.sales_by_customer
        order by total_revenue desc, customer_id limit 10";
    assert_golden("top10_customers", &world.csv(best).await);

    the_shop_is_golden(&mut world).await;

    // The documented objects exist, and only raw contains passwords.
    let object = |bucket: &str, name: &str| std::fs::read_to_string(server.folder().join(bucket).join(name)).unwrap();
    let tables = |models: &[Model]| models.iter().map(|model| model.table).collect::<Vec<_>>();
    for (bucket, tables) in [
        ("raw-retail-data", RAW.to_vec()),
        ("silver-retail-data", tables(&SILVER)),
        ("gold-retail-data", tables(&GOLD)),
    ] {
        for table in &tables {
            let text = object(bucket, &format!("{}.csv", table.name));
            let columns: Vec<&str> = table.column_names().collect();
            assert_eq!(text.lines().next().unwrap(), columns.join(","), "{}", table.name);
        }
    }
    assert!(object("raw-retail-data", "customers.csv").lines().any(|line| line.ends_with(",Caguas,PR,00725")));
    for name in golden_tables() {
        assert_golden(name, &object("gold-retail-data", &format!("{name}.csv")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_at_every_stage_leaves_golden_tables() {
    killed_at_every_stage(World::new().await).await;
}

/// Runs the pipeline, kills the worker at every stage, and returns the world.
pub(crate) async fn killed_at_every_stage(mut world: World) -> World {
    world.set("ORCH_CONN_RETAIL_MYSQL", shop::whole().await.to_uri());
    let mut world = world.at_work();
    let mut worker = world.first_worker();
    world.run(&["dags", "trigger", "retail_medallion", "--run-id", "shaken"]).done();
    for stage in
        ["raw.ingest_order_items", "transform_retail_data", "generate_gold_tables", "postgres.load_gold_sales_by_state"]
    {
        let states = ["tasks", "state", "retail_medallion", stage, "shaken"];
        let seen = world.wait_for(stage, &states, |ended| ["running\n", "success\n"].contains(&ended.out.as_str()));
        world.kill(worker);
        worker = world.start_worker();
        assert_ne!(seen.out, "", "{stage}");
    }
    world.wait_good("retail_medallion", "shaken");
    assert_gold_is_golden(&world).await;
    let facts: i64 =
        sqlx::query_scalar("select count(*) from retail.orders_fact").fetch_one(&mut world.db().await).await.unwrap();
    assert_eq!(facts, 172_198);
    world
}

/// A load compares its rows with the rows of the table. If it is killed during that, nothing has changed, and the next
/// attempt writes the differences.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_while_it_compares_leaves_the_table_as_it_was() {
    const WRONG: &str = "select count(*) from retail.orders_fact where product_name = 'wrong'";
    let mut world = world_of(shop::whole().await).await;
    world.good("retail_medallion", "first", &full());
    let (mut db, mut looks) = (world.db().await, world.db().await);
    sqlx::query("update retail.orders_fact set product_name = 'wrong' where order_id % 3 = 0")
        .execute(&mut db)
        .await
        .unwrap();
    let wrong: i64 = sqlx::query_scalar(WRONG).fetch_one(&mut db).await.unwrap();
    assert!(wrong > 50_000, "{wrong}");

    let worker = world.first_worker();
    world.run(&["dags", "trigger", "retail_medallion", "--run-id", "second"]).done();
    // A separate session reads the table (`COPY TO`) while the other one writes rows.
    let reads =
        "select exists (select from pg_stat_progress_copy where datname = current_database() and command = 'COPY TO'
        and tuples_processed > 10000)";
    let began = Instant::now();
    while !sqlx::query_scalar::<_, bool>(reads).fetch_one(&mut looks).await.unwrap() {
        assert!(began.elapsed() < Duration::from_mins(2), "no load compares");
    }
    world.kill(worker);
    assert_eq!(sqlx::query_scalar::<_, i64>(WRONG).fetch_one(&mut db).await.unwrap(), wrong);
    world.start_worker();
    world.wait_good("retail_medallion", "second");
    assert_eq!(sqlx::query_scalar::<_, i64>(WRONG).fetch_one(&mut db).await.unwrap(), 0);
    assert_gold_is_golden(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_dags_that_follow_each_other_are_golden_too() {
    let world = world_of(shop::whole().await).await;
    run_the_chain(&world, "daily");
    assert_gold_is_golden(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_on_the_same_tables_are_one_after_the_other() {
    let shop = shop::month().await;
    let world = world_of(&shop).await;
    for run in ["one", "other", "third"] {
        world.run(&["dags", "trigger", "retail_medallion", "--run-id", run]).done();
    }
    for run in ["one", "other", "third"] {
        world.wait_good("retail_medallion", run);
    }
    assert_gold_is(&world, &month_of(shop::MONTH.1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_brings_all_that_it_takes() {
    let standalone = Standalone::start();
    for dag in ["retail_medallion", "etl_minio_postgres"] {
        standalone.run(&["dags", "trigger", dag, "--run-id", "click", "--wait"]).done();
    }
    let data = standalone.home.path().join("data");
    let found: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(data.join("standalone.json")).unwrap()).unwrap();
    let (quantity, amounts) = warehouse(found["url"].as_str().unwrap()).await;
    let items = RAW.iter().find(|table| table.name == "order_items").unwrap();
    let rows: usize = Sample::default()
        .rows(items, orch_dags::retail::days::Days::all())
        .map(|batch| {
            let batch = batch.unwrap();
            let column = batch.column_by_name("order_item_quantity").unwrap();
            let column = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int32Type>(column);
            column.values().iter().map(|quantity| *quantity as usize).sum::<usize>()
        })
        .sum();
    assert_eq!(quantity, rows as i64);
    assert_eq!(amounts, ["110.00000000000001", "220.00000000000003", "330"]);
    assert!(data.join("buckets/gold-retail-data/sales_by_state.csv").exists());
}

/// Returns the contents of the database that was loaded next to the database of orch.
async fn warehouse(metadata: &str) -> (i64, Vec<String>) {
    let url = metadata.replace("/orch?", "/warehouse?");
    let mut db = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
    let quantity = sqlx::query_scalar("select sum(total_quantity)::bigint from retail.sales_by_product");
    let quantity = quantity.fetch_one(&mut db).await.unwrap();
    let amounts = sqlx::query_scalar("select amount::text from transactions order by id");
    (quantity, amounts.fetch_all(&mut db).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_pipeline_reads_the_file_that_lies_there() {
    let world = World::new().await.at_work();
    world.good("etl_minio_postgres", "sample", &json!({}));
    assert_eq!(
        world.csv("select * from transactions order by id").await,
        "id,name,amount\n1,Alice,110.00000000000001\n2,Bob,220.00000000000003\n3,Charlie,330\n"
    );
    let file = world.path().join("data/buckets/raw-data/sample_data.csv");
    std::fs::write(&file, "id,name,amount\n7,\"Dora, the first\",10\n").unwrap();
    world.good("etl_minio_postgres", "own", &json!({}));
    assert_eq!(world.csv("select * from transactions").await, "id,name,amount\n7,\"Dora, the first\",11\n");

    // An invalid line leaves the table unchanged, and the error message has its line number.
    std::fs::write(&file, "id,name,amount\n1,Alice,100\n2,Bob,many\n").unwrap();
    world.trigger("etl_minio_postgres", "broken", &json!({})).failed();
    let log = world.log("etl_minio_postgres", "minio_to_postgres", "broken");
    assert!(log.contains("sample_data.csv`, line 3: column `amount`"), "{log}");
    assert_eq!(world.csv("select count(*) from transactions").await, "count\n1\n");
}
