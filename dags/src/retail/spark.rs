//! The retail pipelines as jobs of an engine: the same tables by one statement each, on Spark where one is set up. Raw and
//! silver are CSV objects, gold is Parquet, in buckets of their own.

pub mod dags;
mod tasks;

use super::schema::{GOLD, SILVER, Table};

/// The document's buckets.
pub const RAW_BUCKET: &str = "spark-raw-retail-data";
pub const SILVER_BUCKET: &str = "spark-silver-retail-data";
pub const GOLD_BUCKET: &str = "spark-gold-retail-data";
/// The schema in Postgres: `retail` has the tables of the lake.
pub const NAMESPACE: &str = "retail_spark";

/// The silver tables in the order in which they are made: a statement reads those before it.
pub fn silver() -> impl Iterator<Item = (&'static Table, &'static str)> {
    SILVER.iter().map(|table| (table, statement(table.name)))
}

pub fn gold() -> impl Iterator<Item = (&'static Table, &'static str)> {
    GOLD.iter().map(|table| (table, statement(table.name)))
}

fn statement(table: &str) -> &'static str {
    match table {
        "customer_dim" => include_str!("sql/customer_dim.sql"),
        "department_dim" => include_str!("sql/department_dim.sql"),
        "category_dim" => include_str!("sql/category_dim.sql"),
        "product_dim" => include_str!("sql/product_dim.sql"),
        "orders_fact" => include_str!("sql/orders_fact.sql"),
        "orders_time_series" => include_str!("sql/orders_time_series.sql"),
        "sales_by_customer" => include_str!("sql/sales_by_customer.sql"),
        "sales_by_department" => include_str!("sql/sales_by_department.sql"),
        "sales_by_product" => include_str!("sql/sales_by_product.sql"),
        "sales_by_category" => include_str!("sql/sales_by_category.sql"),
        "sales_by_department_daily" => include_str!("sql/sales_by_department_daily.sql"),
        "sales_by_state" => include_str!("sql/sales_by_state.sql"),
        other => unreachable!("`{other}` is no table of the layers"),
    }
}
