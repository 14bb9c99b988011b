//! silver → gold: sums over `orders_fact`, under the names that the dimensions have now. Money is decimal from the source
//! to the sum, so every cent is there.

use super::schema::GOLD;
use super::silver::{Made, left, shaped};
use polars::prelude::*;

/// The silver tables that gold is made of.
pub const SOURCES: [&str; 4] = ["orders_fact", "customer_dim", "product_dim", "category_dim"];

/// All tables of the layer, in the order of `GOLD`.
pub fn gold(silver: &[Made]) -> PolarsResult<Vec<Made>> {
    let facts = named(SOURCES.map(|name| {
        let made = silver.iter().find(|made| made.table.name == name).expect("silver has all its tables");
        made.frame.clone().lazy()
    }));
    let facts = facts.collect()?;
    let made = |table: &'static super::schema::Table| {
        let sums = sums(table.name, facts.clone().lazy());
        Ok(Made { table, frame: shaped(table.name, sums).collect()? })
    };
    GOLD.iter().map(made).collect()
}

/// Facts with the names of their keys. A fact may have been read long before the dimensions, which are read whole each
/// time: of a fact only the keys count, and what they are called, and which product is of which category, the dimensions
/// say. What they no longer have has no name.
fn named([facts, customers, products, categories]: [LazyFrame; 4]) -> LazyFrame {
    let facts = facts.select(
        ["order_id", "order_date", "customer_id", "product_id", "order_item_quantity", "order_item_subtotal"].map(col),
    );
    let of = |frame: LazyFrame, key: &str, names: &[&str]| {
        frame.select([vec![col(key).alias("its_key")], names.iter().copied().map(col).collect()].concat())
    };
    let with = |facts: LazyFrame, dimension: LazyFrame, key: &str, names: &[&str]| {
        left(facts, of(dimension, key, names), key, "its_key").drop(by_name(["its_key"], true, false))
    };
    let facts = with(facts, customers, "customer_id", &["customer_fname", "customer_lname", "customer_state"]);
    let facts = with(facts, products, "product_id", &["product_name", "category_id"]);
    with(facts, categories, "category_id", &["category_name", "department_id", "department_name"])
}

fn sums(table: &str, facts: LazyFrame) -> LazyFrame {
    let date = || col("order_date").cast(DataType::Date).alias("date");
    match table {
        "orders_time_series" => facts.group_by([date()]).agg([orders(), revenue()]),
        "sales_by_customer" => {
            facts.group_by(["customer_id", "customer_fname", "customer_lname"].map(col)).agg([orders(), revenue()])
        }
        "sales_by_state" => facts.group_by([col("customer_state")]).agg([orders(), revenue()]),
        "sales_by_department" => sold(facts, ["department_id", "department_name"]),
        "sales_by_product" => sold(facts, ["product_id", "product_name"]),
        "sales_by_category" => sold(facts, ["category_id", "category_name"]),
        "sales_by_department_daily" => facts.group_by([date(), col("department_id"), col("department_name")]).agg([
            quantity(),
            revenue(),
            orders(),
        ]),
        other => unreachable!("`{other}` is no table of the gold layer"),
    }
}

fn sold(facts: LazyFrame, of: [&str; 2]) -> LazyFrame {
    facts.group_by(of.map(col)).agg([quantity(), revenue()])
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
