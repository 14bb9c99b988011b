//! silver → gold: sums over `orders_fact` by its keys, under the names that the dimensions have now. Money is decimal from the
//! source to the sum, so every cent is there.

use super::schema::{GOLD, Table};
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

/// Facts that are joined and summed up at once.
const PART_ROWS: usize = 1 << 19;

/// All tables of the layer, in the order of `GOLD`.
pub fn gold(silver: &[TableFrame]) -> PolarsResult<Vec<TableFrame>> {
    gold_by_parts(silver, PART_ROWS)
}

/// The same, with about so many facts in a part.
pub fn gold_by_parts(silver: &[TableFrame], part_rows: usize) -> PolarsResult<Vec<TableFrame>> {
    let [facts, customers, products, categories] = SOURCES.map(|(name, columns)| {
        let made = silver.iter().find(|made| made.table.name == name).expect("silver has all its tables");
        made.frame.clone().lazy().select(columns.iter().copied().map(col).collect::<Vec<_>>())
    });
    let facts = facts.collect()?;
    let parts = i32::try_from(facts.height().div_ceil(part_rows).max(1)).unwrap_or(i32::MAX);
    let mut sums: Vec<Option<DataFrame>> = vec![None; GOLD.len()];
    for part in 0..parts {
        // An order is in one part with all its items: the numbers of orders can be added up.
        let part_of_order = (col("order_id") % lit(parts)).fill_null(lit(0));
        let of_part = facts.clone().lazy().filter(part_of_order.eq(lit(part)));
        let of_part = attach(of_part, &customers, "customer_id", &["customer_state"]);
        let of_part = attach(of_part, &products, "product_id", &["category_id"]);
        let of_part = attach(of_part, &categories, "category_id", &["department_id"]);
        let of_part = of_part.with_column(col("order_date").cast(DataType::Date).alias("date")).collect()?;
        for (table, sums) in GOLD.iter().zip(&mut sums) {
            let (keys, summed) = summed(table);
            let more = of_part.clone().lazy().group_by(&keys).agg(summed).collect()?;
            *sums = Some(match sums.take() {
                None => more,
                Some(before) => added_up(before.vstack(&more)?, &keys)?,
            });
        }
    }
    let departments = categories.clone().unique(Some(by_name(["department_id"], true, false)), UniqueKeepStrategy::Any);
    let named = GOLD.iter().zip(sums).map(|(table, sums)| {
        let sums = sums.expect("there is always a part").lazy();
        let rows = match table.name {
            "sales_by_customer" => attach(sums, &customers, "customer_id", &["customer_fname", "customer_lname"]),
            "sales_by_department" | "sales_by_department_daily" => {
                attach(sums, &departments, "department_id", &["department_name"])
            }
            "sales_by_product" => attach(sums, &products, "product_id", &["product_name"]),
            "sales_by_category" => attach(sums, &categories, "category_id", &["category_name"]),
            _ => sums,
        };
        Ok(TableFrame { table, frame: shaped(table.name, rows).collect()? })
    });
    named.collect()
}

/// By what a table sums up the facts, and which sums it has.
fn summed(table: &Table) -> (Vec<Expr>, Vec<Expr>) {
    let (keys, sums): (&[&str], Vec<Expr>) = match table.name {
        "orders_time_series" => (&["date"], vec![orders(), revenue()]),
        "sales_by_customer" => (&["customer_id"], vec![orders(), revenue()]),
        "sales_by_state" => (&["customer_state"], vec![orders(), revenue()]),
        "sales_by_department" => (&["department_id"], vec![quantity(), revenue()]),
        "sales_by_product" => (&["product_id"], vec![quantity(), revenue()]),
        "sales_by_category" => (&["category_id"], vec![quantity(), revenue()]),
        "sales_by_department_daily" => (&["date", "department_id"], vec![quantity(), revenue(), orders()]),
        other => unreachable!("`{other}` is no table of the gold layer"),
    };
    (keys.iter().copied().map(col).collect(), sums)
}

/// The sums of several parts as those of all of them.
fn added_up(parts: DataFrame, keys: &[Expr]) -> PolarsResult<DataFrame> {
    parts.lazy().group_by(keys).agg([all().as_expr().sum()]).collect()
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
