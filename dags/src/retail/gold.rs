//! silver → gold: sums over `orders_fact` by its keys, under the names that the dimensions have now. Money is decimal from the
//! source to the sum, so every cent is there.

use super::schema::GOLD;
use super::silver::{TableFrame, left, shaped};
use polars::prelude::*;

/// The silver tables that gold is made of, and what it reads of each.
pub const SOURCES: [(&str, &[&str]); 4] = [
    (
        "orders_fact",
        &["order_id", "order_date", "customer_id", "product_id", "order_item_quantity", "order_item_subtotal"],
    ),
    ("customer_dim", &["customer_id", "customer_fname", "customer_lname", "customer_state"]),
    ("product_dim", &["product_id", "product_name", "category_id"]),
    ("category_dim", &["category_id", "category_name", "department_id", "department_name"]),
];

/// All tables of the layer, in the order of `GOLD`.
pub fn gold(silver: &[TableFrame]) -> PolarsResult<Vec<TableFrame>> {
    let [facts, customers, products, categories] = SOURCES.map(|(name, columns)| {
        let made = silver.iter().find(|made| made.table.name == name).expect("silver has all its tables");
        made.frame.clone().lazy().select(columns.iter().copied().map(col).collect::<Vec<_>>())
    });
    let facts = attach(facts, &customers, "customer_id", &["customer_state"]);
    let facts = attach(facts, &products, "product_id", &["category_id"]);
    let facts = attach(facts, &categories, "category_id", &["department_id"]);
    let facts = facts.with_column(col("order_date").cast(DataType::Date).alias("date")).collect()?.lazy();
    let departments = categories.clone().unique(Some(by_name(["department_id"], true, false)), UniqueKeepStrategy::Any);
    let made = |table: &'static super::schema::Table| {
        let by = |keys: &[&str]| facts.clone().group_by(keys.iter().copied().map(col).collect::<Vec<_>>());
        let sums = match table.name {
            "orders_time_series" => by(&["date"]).agg([orders(), revenue()]),
            "sales_by_customer" => {
                let sums = by(&["customer_id"]).agg([orders(), revenue()]);
                attach(sums, &customers, "customer_id", &["customer_fname", "customer_lname"])
            }
            "sales_by_state" => by(&["customer_state"]).agg([orders(), revenue()]),
            "sales_by_department" => {
                let sums = by(&["department_id"]).agg([quantity(), revenue()]);
                attach(sums, &departments, "department_id", &["department_name"])
            }
            "sales_by_product" => {
                let sums = by(&["product_id"]).agg([quantity(), revenue()]);
                attach(sums, &products, "product_id", &["product_name"])
            }
            "sales_by_category" => {
                let sums = by(&["category_id"]).agg([quantity(), revenue()]);
                attach(sums, &categories, "category_id", &["category_name"])
            }
            "sales_by_department_daily" => {
                let sums = by(&["date", "department_id"]).agg([quantity(), revenue(), orders()]);
                attach(sums, &departments, "department_id", &["department_name"])
            }
            other => unreachable!("`{other}` is no table of the gold layer"),
        };
        Ok(TableFrame { table, frame: shaped(table.name, sums).collect()? })
    };
    GOLD.iter().map(made).collect()
}

/// Adds columns of a dimension, as it is now, by its key. Facts may be older than the dimensions, so only their keys count. Where the
/// dimension no longer has the key, the columns are null.
fn attach(rows: LazyFrame, dimension: &LazyFrame, key: &str, columns: &[&str]) -> LazyFrame {
    let named = [vec![col(key).alias("its_key")], columns.iter().copied().map(col).collect()].concat();
    left(rows, dimension.clone().select(named), key, "its_key").drop(by_name(["its_key"], true, false))
}

fn orders() -> Expr {
    col("order_id").n_unique().alias("total_orders")
}

fn quantity() -> Expr {
    col("order_item_quantity").cast(DataType::Int64).sum().alias("total_quantity")
}

fn revenue() -> Expr {
    col("order_item_subtotal").sum().alias("total_revenue")
}
