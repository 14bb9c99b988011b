//! raw → silver, as functions of frames: cleaned dimensions, and one fact table at the grain of an order's item.

use super::schema::{SILVER, Table, lake};
use polars::prelude::*;

/// The six tables of the source, whole or a window of order dates of them.
#[derive(Debug, Clone)]
pub struct Raw {
    pub categories: DataFrame,
    pub customers: DataFrame,
    pub departments: DataFrame,
    pub order_items: DataFrame,
    pub orders: DataFrame,
    pub products: DataFrame,
}

/// A table and what belongs into it.
#[derive(Debug, Clone)]
pub struct TableFrame {
    pub table: &'static Table,
    pub frame: DataFrame,
}

impl Raw {
    /// # Errors
    /// The first error of `frame`, which is asked for each table by its name.
    pub fn from_tables<E>(mut frame: impl FnMut(&'static str) -> Result<DataFrame, E>) -> Result<Raw, E> {
        Ok(Raw {
            categories: frame("categories")?,
            customers: frame("customers")?,
            departments: frame("departments")?,
            order_items: frame("order_items")?,
            orders: frame("orders")?,
            products: frame("products")?,
        })
    }
}

/// The layer: its dimensions, in the order of `SILVER`, and the facts that follow them there.
#[derive(Debug)]
pub struct Silver {
    pub dimensions: Vec<TableFrame>,
    pub facts: OrderFacts,
}

impl Silver {
    /// # Errors
    /// A column is missing or has another type.
    pub fn of(raw: Raw) -> PolarsResult<Silver> {
        let customers = customer_dim(raw.customers.lazy()).collect()?;
        let departments = department_dim(raw.departments.lazy()).collect()?;
        let categories = category_dim(raw.categories.lazy(), departments.clone().lazy()).collect()?;
        let products = product_dim(raw.products.lazy(), categories.clone().lazy()).collect()?;
        let facts = OrderFacts {
            items: by_key(raw.order_items)?,
            orders: raw.orders,
            dimensions: [&customers, &products, &categories].map(DataFrame::clone),
            next: 0,
        };
        let frames = [customers, departments, categories, products];
        let dimensions = SILVER.iter().zip(frames).map(|(table, frame)| TableFrame { table, frame }).collect();
        Ok(Silver { dimensions, facts })
    }
}

/// All tables of the layer, in the order of `SILVER`.
///
/// # Errors
/// As [`Silver::of`].
pub fn silver(raw: &Raw) -> PolarsResult<Vec<TableFrame>> {
    let Silver { mut dimensions, facts } = Silver::of(raw.clone())?;
    let frame = facts.reduce(|all, lot| all?.vstack(&lot?)).expect("the facts have a lot");
    dimensions.push(TableFrame { table: &SILVER[dimensions.len()], frame: frame? });
    Ok(dimensions)
}

/// Items that become facts at once. A fact is three times as wide as its item.
const LOT: usize = 1 << 17;

/// The facts by their key, in lots. There is always one, if only with the columns.
#[derive(Debug)]
pub struct OrderFacts {
    /// By their key.
    items: DataFrame,
    orders: DataFrame,
    /// Customers, products, categories.
    dimensions: [DataFrame; 3],
    /// The first item of the next lot.
    next: usize,
}

impl Iterator for OrderFacts {
    type Item = PolarsResult<DataFrame>;

    fn next(&mut self) -> Option<PolarsResult<DataFrame>> {
        let begin = self.next;
        self.next = begin + LOT;
        let is_over = begin > 0 && begin >= self.items.height();
        (!is_over).then(|| self.lot(self.items.slice(i64::try_from(begin).unwrap_or(i64::MAX), LOT)))
    }
}

impl OrderFacts {
    fn lot(&self, items: DataFrame) -> PolarsResult<DataFrame> {
        // Items that were sold together have neighbouring numbers, as their orders have: the rest need not be joined.
        let ids = items.column("order_item_order_id")?.i32()?;
        let orders = match ids.min().zip(ids.max()) {
            Some((first, last)) => {
                let id = || col("order_id");
                self.orders.clone().lazy().filter(id().gt_eq(lit(first)).and(id().lt_eq(lit(last))))
            }
            None => self.orders.clear().lazy(),
        };
        orders_fact(items.lazy(), orders, self.dimensions.each_ref().map(|frame| frame.clone().lazy())).collect()
    }
}

/// As the source mostly gives them already.
fn by_key(items: DataFrame) -> PolarsResult<DataFrame> {
    let is_in_order = items.column("order_item_id")?.i32()?.iter().is_sorted();
    if is_in_order { Ok(items) } else { items.sort(["order_item_id"], SortMultipleOptions::default()) }
}

/// The password stays behind; names lose the blanks around them.
pub fn customer_dim(customers: LazyFrame) -> LazyFrame {
    let trimmed = |name| col(name).str().strip_chars(lit(Null {}));
    shaped("customer_dim", customers.with_columns([trimmed("customer_fname"), trimmed("customer_lname")]))
}

pub fn department_dim(departments: LazyFrame) -> LazyFrame {
    shaped("department_dim", departments)
}

/// A category whose department is not there keeps its row, without one.
pub fn category_dim(categories: LazyFrame, department_dim: LazyFrame) -> LazyFrame {
    shaped("category_dim", left(categories, department_dim, "category_department_id", "department_id"))
}

/// A product whose category is not there keeps its row, without one.
pub fn product_dim(products: LazyFrame, category_dim: LazyFrame) -> LazyFrame {
    shaped("product_dim", left(products, category_dim, "product_category_id", "category_id"))
}

/// An item belongs to an order, and that to a customer, or it is not here; its product may be unknown.
pub fn orders_fact(
    items: LazyFrame,
    orders: LazyFrame,
    [customers, products, categories]: [LazyFrame; 3],
) -> LazyFrame {
    let customers = customers.select(["customer_id", "customer_fname", "customer_lname", "customer_state"].map(col));
    let products = products.select(["product_id", "product_name", "category_id", "category_name"].map(col));
    let departments =
        categories.select([col("category_id").alias("department_of"), col("department_id"), col("department_name")]);
    let orders = inner(orders, customers, "order_customer_id", "customer_id");
    let facts = inner(items, orders, "order_item_order_id", "order_id");
    let facts = left(facts, products, "order_item_product_id", "product_id").drop(by_name(["product_id"], true, false));
    let facts = left(facts, departments, "category_id", "department_of");
    shaped("orders_fact", facts.rename(["order_item_product_id"], ["product_id"], true))
}

/// The columns of the table with their types, in order, and its rows by key: the same input is the same frame.
pub(super) fn shaped(table: &str, frame: LazyFrame) -> LazyFrame {
    let table = lake(table).expect("the layers name their own tables");
    let columns: Vec<Expr> = table.columns.iter().map(|c| col(c.name).strict_cast(c.kind.frame())).collect();
    let by: Vec<Expr> = table.key.iter().copied().map(col).collect();
    frame.select(columns).sort_by_exprs(by, SortMultipleOptions::default())
}

pub(super) fn left(one: LazyFrame, other: LazyFrame, key: &str, other_key: &str) -> LazyFrame {
    join(one, other, key, other_key, JoinType::Left)
}

fn inner(one: LazyFrame, other: LazyFrame, key: &str, other_key: &str) -> LazyFrame {
    join(one, other, key, other_key, JoinType::Inner)
}

/// Keeps both keys: which of them is missing tells whether there was a match.
fn join(one: LazyFrame, other: LazyFrame, key: &str, other_key: &str, how: JoinType) -> LazyFrame {
    let how = JoinArgs::new(how).with_coalesce(JoinCoalesce::KeepColumns);
    one.join(other, [col(key)], [col(other_key)], how)
}
