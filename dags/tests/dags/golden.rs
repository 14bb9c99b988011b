//! The SQL transformations alone, compared with results that DuckDB computed from the same files.

use crate::data::{self, Made, Raw, gold, silver};
use orch_dags::retail::tables::GOLD;
use polars::prelude::*;
use std::sync::LazyLock;

pub(crate) static RAW: LazyLock<Raw> = LazyLock::new(data::raw);
pub(crate) static SILVER: LazyLock<Vec<Made>> = LazyLock::new(|| silver(&RAW));

fn made<'m>(layer: &'m [Made], name: &str) -> &'m DataFrame {
    &layer.iter().find(|made| made.model.table.name == name).unwrap().frame
}

/// Returns a frame as CSV text, which preserves every value exactly.
pub(crate) fn csv(mut frame: DataFrame) -> String {
    let mut text = Vec::new();
    CsvWriter::new(&mut text).finish(&mut frame).unwrap();
    String::from_utf8(text).unwrap()
}

/// Returns the gold tables that have a golden file in `tests/data/golden`.
pub(crate) fn golden_tables() -> impl Iterator<Item = &'static str> {
    GOLD.iter().map(|model| model.table.name).filter(|name| data::exists(&format!("golden/{name}.csv")))
}

/// Compares line by line, so that a failure shows the first difference.
#[track_caller]
pub(crate) fn assert_golden(name: &str, found: &str) {
    let golden = data::text(&format!("golden/{name}.csv"));
    for (number, (found, golden)) in found.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, golden, "line {} of `{name}`", number + 1);
    }
    assert_eq!(found.lines().count(), golden.lines().count(), "lines of `{name}`");
}

#[test]
fn gold_is_golden_to_the_cent() {
    let layer = gold(&SILVER);
    assert!(golden_tables().count() >= 7);
    for name in golden_tables() {
        assert_golden(name, &csv(made(&layer, name).clone()));
    }
    let best = made(&layer, "sales_by_customer").clone().lazy().sort(
        ["total_revenue", "customer_id"],
        SortMultipleOptions::default().with_order_descending_multi([true, false]),
    );
    let best = best.select(["customer_id", "customer_fname", "customer_lname", "total_revenue"].map(col)).limit(10);
    assert_golden("top10_customers", &csv(best.collect().unwrap()));
}

/// Facts that were extracted before a dimension row was renamed, moved or deleted.
#[test]
fn gold_has_the_names_of_the_dimensions_and_loses_no_cent() {
    let mut raw = RAW.clone();
    raw.customers = raw.customers.clone().lazy().filter(col("customer_id").neq(lit(7))).collect().unwrap();
    raw.departments = renamed(&raw.departments, "department_name");
    raw.products = renamed(&raw.products, "product_name");
    let mut layer = silver(&raw);
    layer.last_mut().unwrap().frame = made(&SILVER, "orders_fact").clone();
    let (now, before) = (gold(&layer), gold(&SILVER));
    for name in ["sales_by_department", "sales_by_product", "sales_by_customer", "sales_by_department_daily"] {
        let (now, before) = (made(&now, name), made(&before, name));
        assert_eq!(now.height(), before.height(), "{name}");
        assert_eq!(now.column("total_revenue").unwrap(), before.column("total_revenue").unwrap(), "{name}");
    }
    let names = made(&now, "sales_by_department").column("department_name").unwrap().clone();
    assert!(names.str().unwrap().iter().flatten().all(|name| name.starts_with('1')), "{names:?}");
    let gone = made(&now, "sales_by_customer").clone().lazy().filter(col("customer_id").eq(lit(7))).collect().unwrap();
    assert_eq!((gone.height(), gone.column("customer_lname").unwrap().null_count()), (1, 1));
}

/// Renames all values of a column like `concat('1', left(name, 40))` does.
pub(crate) fn renamed(frame: &DataFrame, column: &str) -> DataFrame {
    let name = (lit("1") + col(column).str().slice(lit(0), lit(40))).alias(column);
    frame.clone().lazy().with_column(name).collect().unwrap()
}

#[test]
fn what_others_would_ask_of_silver_is_golden_too() {
    let facts = made(&SILVER, "orders_fact").clone().lazy();
    let done = col("order_status").eq(lit("COMPLETE")).or(col("order_status").eq(lit("CLOSED")));
    let daily = facts
        .filter(done)
        .group_by([col("order_date").cast(DataType::Date).alias("date")])
        .agg([col("order_item_subtotal").sum().cast(DataType::Decimal(12, 2)).alias("revenue")])
        .sort(["date"], SortMultipleOptions::default());
    assert_golden("daily_revenue_complete_closed", &csv(daily.collect().unwrap()));
    let statuses = RAW
        .orders
        .clone()
        .lazy()
        .group_by([col("order_status")])
        .agg([len().alias("n")])
        .sort(["order_status"], SortMultipleOptions::default());
    assert_golden("order_count_by_status", &csv(statuses.collect().unwrap()));
}

#[test]
fn the_facts_about_the_data_are_those_of_the_layers() {
    let facts = data::text("golden/retail_facts.csv");
    let fact = |name: &str| -> i64 {
        let line = facts.lines().find(|line| line.starts_with(&format!("{name},"))).unwrap();
        line.rsplit_once(',').unwrap().1.parse().unwrap()
    };
    let nulls = |table: &str, column: &str| made(&SILVER, table).column(column).unwrap().null_count() as i64;
    let rows = |frame: &DataFrame| frame.height() as i64;
    let quantity = made(&SILVER, "orders_fact").column("order_item_quantity").unwrap();
    let zips = made(&SILVER, "customer_dim").column("customer_zipcode").unwrap();
    let leading = zips.str().unwrap().iter().flatten().filter(|zip| zip.starts_with('0')).count();
    for (name, found) in [
        ("rows_departments", rows(&RAW.departments)),
        ("rows_categories", rows(made(&SILVER, "category_dim"))),
        ("rows_products", rows(made(&SILVER, "product_dim"))),
        ("rows_customers", rows(made(&SILVER, "customer_dim"))),
        ("rows_orders", rows(&RAW.orders)),
        ("rows_order_items", rows(&RAW.order_items)),
        ("rows_order_fact_spark_variant", rows(made(&SILVER, "orders_fact"))),
        ("products_without_category", nulls("product_dim", "category_id")),
        ("categories_without_department", nulls("category_dim", "department_id")),
        ("fact_rows_with_null_department", nulls("orders_fact", "department_id")),
        ("customers_zip_with_leading_zero", leading as i64),
        ("total_quantity", quantity.as_materialized_series().cast(&DataType::Int64).unwrap().sum().unwrap()),
    ] {
        assert_eq!(found, fact(name), "{name}");
    }
}

#[test]
fn an_item_without_its_order_is_not_sold_and_one_of_an_unknown_product_is() {
    let mut raw = RAW.clone();
    raw.orders = raw.orders.clone().lazy().filter(col("order_id").neq(lit(2))).collect().unwrap();
    raw.products = raw.products.clone().lazy().filter(col("product_id").neq(lit(957))).collect().unwrap();
    let layer = silver(&raw);
    let facts = made(&layer, "orders_fact");
    assert_eq!(facts.height(), 172_198 - 3, "order 2 has three items");
    let unknown = facts.clone().lazy().filter(col("product_id").eq(lit(957))).collect().unwrap();
    assert_eq!(unknown.column("product_name").unwrap().null_count(), unknown.height());
    assert_eq!(unknown.height(), 13_729);
}
