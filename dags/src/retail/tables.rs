//! All tables and buckets of the retail pipelines. Raw is declared here; each table of silver and gold is a file of
//! `sql/`.

use crate::common::model::{Model, models, sql_files};
use orch::{TaskResult, fatal};
use orch_lake::table::spec::{Column, Decimal, Timestamp};
use orch_lake::{TableSpec, columns};
use std::sync::LazyLock;

pub const NAMESPACE: &str = "retail";
pub const RAW_BUCKET: &str = "raw-retail-data";
pub const SILVER_BUCKET: &str = "silver-retail-data";
pub const GOLD_BUCKET: &str = "gold-retail-data";

type Money = Decimal<12, 2>;

/// The tables of the shop, as stored in the bucket of raw data.
pub static RAW: [TableSpec; 6] = [
    raw(
        "categories",
        &["category_id"],
        columns! { category_id: i32, category_department_id: i32, category_name: String },
    ),
    raw(
        "customers",
        &["customer_id"],
        columns! {
            customer_id: i32, customer_fname: String, customer_lname: String, customer_email: String,
            customer_password: String, customer_street: String, customer_city: String, customer_state: String,
            customer_zipcode: String,
        },
    ),
    raw("departments", &["department_id"], columns! { department_id: i32, department_name: String }),
    raw(
        "order_items",
        &["order_item_id"],
        columns! {
            order_item_id: i32, order_item_order_id: i32, order_item_product_id: i32, order_item_quantity: i32,
            order_item_subtotal: Money, order_item_product_price: Money,
        },
    ),
    raw(
        "orders",
        &["order_id"],
        columns! { order_id: i32, order_date: Timestamp, order_customer_id: i32, order_status: String },
    ),
    raw(
        "products",
        &["product_id"],
        columns! {
            product_id: i32, product_category_id: i32, product_name: String, product_description: String,
            product_price: Money, product_image: String,
        },
    ),
];

const fn raw(name: &'static str, key: &'static [&'static str], columns: &'static [Column]) -> TableSpec {
    TableSpec::new(NAMESPACE, name, key, columns)
}

pub(super) fn raw_table(name: &str) -> TaskResult<&'static TableSpec> {
    RAW.iter().find(|table| table.name == name).ok_or_else(|| fatal(format!("the shop has no table `{name}`")))
}

/// Cleaned and joined tables: dimensions, and one row for each item of an order.
pub static SILVER: LazyLock<Vec<Model>> = LazyLock::new(|| {
    let files = sql_files!["customer_dim", "department_dim", "category_dim", "product_dim", "orders_fact"];
    models(NAMESPACE, &RAW, files).expect("a test reads these files")
});

/// Sums over `orders_fact`: orders in every state count, orders without items do not. A new file needs one line here.
pub static GOLD: LazyLock<Vec<Model>> = LazyLock::new(|| {
    let files = sql_files![
        "orders_time_series",
        "sales_by_customer",
        "sales_by_product",
        "sales_by_category",
        "sales_by_department",
        "sales_by_department_daily",
        "sales_by_state",
    ];
    models(NAMESPACE, &silver(), files).expect("a test reads these files")
});

pub fn silver() -> Vec<TableSpec> {
    SILVER.iter().map(|model| model.table).collect()
}

/// Returns the tables of silver and gold, which are in the lake and in Postgres.
pub fn lake() -> impl Iterator<Item = TableSpec> {
    SILVER.iter().chain(GOLD.iter()).map(|model| model.table)
}

/// Returns the URI of an object as an asset.
pub fn object_uri(bucket: &str, table: &str) -> String {
    format!("bucket://{bucket}/{table}")
}

pub fn postgres_uri(namespace: &str, table: &str) -> String {
    format!("postgres://{namespace}/{table}")
}
