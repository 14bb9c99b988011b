//! silver → gold: sums over `orders_fact`. Money is decimal from the source to the sum, so every cent is there.

use super::schema::GOLD;
use super::silver::{Made, shaped};
use polars::prelude::*;

/// All tables of the layer, in the order of `GOLD`.
pub fn gold(orders_fact: &DataFrame) -> PolarsResult<Vec<Made>> {
    let made = |table: &'static super::schema::Table| {
        let sums = sums(table.name, orders_fact.clone().lazy());
        Ok(Made { table, frame: shaped(table.name, sums).collect()? })
    };
    GOLD.iter().map(made).collect()
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
