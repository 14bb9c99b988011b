//! What must hold of each table before anybody sees it. A row without its key stops the task; one of the facts without what
//! is summed up, or with an amount that cannot be, is put aside with the reason; what is only strange is told.

use super::schema::{Column, Null, RetailColumnType, Table};
use super::tasks::{RAW_BUCKET, object_uri, table_uri};
use orch_lake::contract::{Contract, Policy};

/// More of one product in one order is a mistake.
const MOST_OF_A_PRODUCT: i64 = 1_000;

/// Of a table of the lake.
pub fn contract(table: &Table) -> Contract {
    let (keys, others): (Vec<&Column>, Vec<&Column>) = table
        .columns
        .iter()
        .filter(|column| column.null == Null::Never)
        .partition(|column| table.key.contains(&column.name));
    let names = |columns: Vec<&Column>| columns.into_iter().map(|column| column.name).collect::<Vec<_>>();
    let contract = Contract::of(table_uri(table.name))
        .key(table.key.iter().copied())
        .schema(&table.arrow())
        .not_null(names(keys))
        .unique(table.key.iter().copied())
        .not_null(names(others))
        .or(if table.name == "orders_fact" { Policy::Quarantine } else { Policy::Fail })
        .not_null(described_by(table.name).iter().copied())
        .or(Policy::Warn);
    match table.name {
        "orders_fact" => contract
            .between("order_item_quantity", 1, MOST_OF_A_PRODUCT)
            .or(Policy::Quarantine)
            .at_least("order_item_subtotal", "0.00")
            .or(Policy::Quarantine)
            .references(["customer_id"], "customer_dim")
            .references(["product_id"], "product_dim")
            .or(Policy::Warn),
        _ => table
            .columns
            .iter()
            .filter(|column| column.kind == RetailColumnType::Money)
            .fold(contract, |contract, column| contract.at_least(column.name, "0.00").or(Policy::Warn)),
    }
}

/// A row without these is still useful, but the check warns.
fn described_by(table: &str) -> &'static [&'static str] {
    match table {
        "customer_dim" => &["customer_fname", "customer_lname", "customer_email", "customer_state"],
        "department_dim" => &["department_name"],
        "category_dim" => &["category_name"],
        "product_dim" => &["product_name", "product_price"],
        "orders_fact" => &["order_status"],
        _ => &[],
    }
}

/// Of the items as they came: one whose order did not come is not sold yet, and somebody should know.
pub fn order_items() -> Contract {
    Contract::of(object_uri(RAW_BUCKET, "order_items"))
        .key(["order_item_id"])
        .references(["order_item_order_id"], "orders")
        .or(Policy::Warn)
}
