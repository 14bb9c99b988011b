//! Every table of the retail pipelines. Raw is declared here; each table of silver and gold is a file of `sql/`.

use crate::common::model::{Model, models, sql_files};
use orch_lake::table::spec::{Decimal, Timestamp};
use orch_lake::{TableSpec, columns};
use std::sync::LazyLock;

/// The namespace of the tables, in the lake and in Postgres.
pub const NAMESPACE: &str = "retail";

type Money = Decimal<12, 2>;

/// The tables of the shop, as they are in the bucket of raw data.
pub static RAW: [TableSpec; 6] = [
    raw(
        "categories",
        &["category_id"],
        columns! {
            category_id: i32, category_department_id: i32, category_name: String,
        },
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
        columns! {
            order_id: i32, order_date: Timestamp, order_customer_id: i32, order_status: String,
        },
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

const fn raw(
    name: &'static str,
    key: &'static [&'static str],
    columns: &'static [orch_lake::table::spec::Column],
) -> TableSpec {
    TableSpec::new(NAMESPACE, name, key, columns)
}

/// Cleaned and joined: dimensions, and one row for each item of an order.
pub static SILVER: LazyLock<Vec<Model>> = LazyLock::new(|| {
    let files = sql_files!["customer_dim", "department_dim", "category_dim", "product_dim", "orders_fact"];
    models(NAMESPACE, &RAW, files).expect("a test reads these files")
});

/// Sums over `orders_fact`: orders in every state count, orders without items do not. A new file needs one line here.
pub static GOLD: LazyLock<Vec<Model>> = LazyLock::new(|| {
    let files = sql_files![
        "orders_time_series",
        "sales_by_customer",
        "sales_by_department",
        "sales_by_product",
        "sales_by_category",
        "sales_by_department_daily",
        "sales_by_state",
    ];
    models(NAMESPACE, &silver(), files).expect("a test reads these files")
});

/// The tables of silver.
pub fn silver() -> Vec<TableSpec> {
    SILVER.iter().map(|model| model.table).collect()
}

/// The tables of silver and gold, which are in the lake and in Postgres.
pub fn lake() -> impl Iterator<Item = TableSpec> {
    SILVER.iter().chain(GOLD.iter()).map(|model| model.table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_lake::table::spec::Kind;

    #[test]
    fn passwords_stay_in_raw_and_money_is_exact() {
        for table in lake() {
            assert!(!table.key.is_empty(), "{}", table.name);
            for column in table.columns {
                assert!(!column.name.contains("password"), "{}.{}", table.name, column.name);
                let is_money = ["revenue", "subtotal", "price"].iter().any(|word| column.name.ends_with(word));
                assert_eq!(is_money, column.kind == Kind::Decimal(12, 2), "{}.{}", table.name, column.name);
            }
        }
    }
}
