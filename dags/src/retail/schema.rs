//! Every table of the retail pipelines, with the types of its columns, in one place: what is read from MySQL, what lies in
//! the lake and what is loaded into Postgres are all made of these lists.

use arrow::datatypes::{DataType as Arrow, Field, Schema, TimeUnit as ArrowUnit};
use polars::prelude::{DataType, PlSmallStr, Schema as FrameSchema, TimeUnit};

/// Money has two decimals everywhere; ten digits before them are more than any sum here comes to.
pub const MONEY: (usize, usize) = (12, 2);

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetailColumnType {
    Int,
    Long,
    Text,
    Money,
    /// A moment without a zone, as MySQL's `datetime`.
    Time,
    Day,
}

/// Whether a value may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Null {
    Never,
    Allowed,
}

#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    pub kind: RetailColumnType,
    pub null: Null,
}

/// A table and what identifies a row of it.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub name: &'static str,
    pub doc: &'static str,
    pub key: &'static [&'static str],
    /// Its files are kept apart by the month of this column.
    pub by_month: Option<&'static str>,
    pub columns: &'static [Column],
}

const fn column(name: &'static str, kind: RetailColumnType) -> Column {
    Column { name, kind, null: Null::Never }
}

const fn int(name: &'static str) -> Column {
    column(name, RetailColumnType::Int)
}

const fn long(name: &'static str) -> Column {
    column(name, RetailColumnType::Long)
}

const fn text(name: &'static str) -> Column {
    column(name, RetailColumnType::Text)
}

const fn money(name: &'static str) -> Column {
    column(name, RetailColumnType::Money)
}

impl Column {
    const fn or_null(self) -> Column {
        Column { null: Null::Allowed, ..self }
    }
}

const fn table(name: &'static str, doc: &'static str, key: &'static [&'static str], of: &'static [Column]) -> Table {
    Table { name, doc, key, by_month: None, columns: of }
}

const DATE: Column = column("date", RetailColumnType::Day);
const ORDER_DATE: Column = column("order_date", RetailColumnType::Time);
/// Of what was sold; a product without a category was sold, too.
const CATEGORY: [Column; 2] = [int("category_id").or_null(), text("category_name").or_null()];
const DEPARTMENT: [Column; 2] = [int("department_id").or_null(), text("department_name").or_null()];
const SOLD: [Column; 2] = [long("total_quantity"), money("total_revenue")];
const EARNED: [Column; 2] = [long("total_orders"), money("total_revenue")];

/// The source, table by table, as it lies in the bucket of raw data. Passwords never leave it.
pub static RAW: [Table; 6] = [
    table(
        "categories",
        "",
        &["category_id"],
        &[int("category_id"), int("category_department_id"), text("category_name")],
    ),
    table(
        "customers",
        "",
        &["customer_id"],
        &[
            int("customer_id"),
            text("customer_fname"),
            text("customer_lname"),
            text("customer_email"),
            text("customer_password"),
            text("customer_street"),
            text("customer_city"),
            text("customer_state"),
            text("customer_zipcode"),
        ],
    ),
    table("departments", "", &["department_id"], &[int("department_id"), text("department_name")]),
    table(
        "order_items",
        "",
        &["order_item_id"],
        &[
            int("order_item_id"),
            int("order_item_order_id"),
            int("order_item_product_id"),
            int("order_item_quantity"),
            money("order_item_subtotal"),
            money("order_item_product_price"),
        ],
    ),
    table("orders", "", &["order_id"], &[int("order_id"), ORDER_DATE, int("order_customer_id"), text("order_status")]),
    table(
        "products",
        "",
        &["product_id"],
        &[
            int("product_id"),
            int("product_category_id"),
            text("product_name"),
            text("product_description"),
            money("product_price"),
            text("product_image"),
        ],
    ),
];

/// Cleaned and joined: what gold and people who ask questions of their own read.
pub static SILVER: [Table; 5] = [
    table(
        "customer_dim",
        "Customers, without their passwords",
        &["customer_id"],
        &[
            int("customer_id"),
            text("customer_fname").or_null(),
            text("customer_lname").or_null(),
            text("customer_email").or_null(),
            text("customer_street").or_null(),
            text("customer_city").or_null(),
            text("customer_state").or_null(),
            text("customer_zipcode").or_null(),
        ],
    ),
    table(
        "department_dim",
        "Departments",
        &["department_id"],
        &[int("department_id"), text("department_name").or_null()],
    ),
    table(
        "category_dim",
        "Categories with their departments, where there is one",
        &["category_id"],
        &[int("category_id"), text("category_name").or_null(), DEPARTMENT[0], DEPARTMENT[1]],
    ),
    table(
        "product_dim",
        "Products with their categories, where there is one",
        &["product_id"],
        &[
            int("product_id"),
            text("product_name").or_null(),
            CATEGORY[0],
            CATEGORY[1],
            money("product_price").or_null(),
        ],
    ),
    Table {
        by_month: Some("order_date"),
        ..table(
            "orders_fact",
            "One row for each item of an order",
            &["order_item_id"],
            &[
                int("order_item_id"),
                int("order_id"),
                ORDER_DATE,
                text("order_status").or_null(),
                int("customer_id"),
                text("customer_fname").or_null(),
                text("customer_lname").or_null(),
                text("customer_state").or_null(),
                int("product_id"),
                text("product_name").or_null(),
                CATEGORY[0],
                CATEGORY[1],
                DEPARTMENT[0],
                DEPARTMENT[1],
                int("order_item_quantity"),
                money("order_item_subtotal"),
                money("order_item_product_price"),
            ],
        )
    },
];

/// Sums over `orders_fact`: orders in every state are in them, orders without items are not.
pub static GOLD: [Table; 7] = [
    table("orders_time_series", "Orders and revenue of each day", &["date"], &[DATE, EARNED[0], EARNED[1]]),
    table(
        "sales_by_customer",
        "Orders and revenue of each customer who ordered",
        &["customer_id"],
        &[int("customer_id"), text("customer_fname").or_null(), text("customer_lname").or_null(), EARNED[0], EARNED[1]],
    ),
    table(
        "sales_by_department",
        "What each department sold in all",
        &["department_id"],
        &[DEPARTMENT[0], DEPARTMENT[1], SOLD[0], SOLD[1]],
    ),
    table(
        "sales_by_product",
        "What was sold of each product",
        &["product_id"],
        &[int("product_id"), text("product_name").or_null(), SOLD[0], SOLD[1]],
    ),
    table(
        "sales_by_category",
        "What was sold of each category",
        &["category_id"],
        &[CATEGORY[0], CATEGORY[1], SOLD[0], SOLD[1]],
    ),
    table(
        "sales_by_department_daily",
        "What each department sold on each day",
        &["date", "department_id"],
        &[DATE, DEPARTMENT[0], DEPARTMENT[1], SOLD[0], SOLD[1], long("total_orders")],
    ),
    table(
        "sales_by_state",
        "Orders and revenue of each state that customers live in",
        &["customer_state"],
        &[text("customer_state").or_null(), EARNED[0], EARNED[1]],
    ),
];

/// A table of the source, by its name.
pub fn raw(name: &str) -> Option<&'static Table> {
    RAW.iter().find(|table| table.name == name)
}

/// A table of the lake, by its name.
pub fn lake(name: &str) -> Option<&'static Table> {
    SILVER.iter().chain(&GOLD).find(|table| table.name == name)
}

impl RetailColumnType {
    pub fn arrow(self) -> Arrow {
        match self {
            RetailColumnType::Int => Arrow::Int32,
            RetailColumnType::Long => Arrow::Int64,
            RetailColumnType::Text => Arrow::Utf8,
            RetailColumnType::Money => Arrow::Decimal128(MONEY.0 as u8, MONEY.1 as i8),
            RetailColumnType::Time => Arrow::Timestamp(ArrowUnit::Microsecond, None),
            RetailColumnType::Day => Arrow::Date32,
        }
    }

    pub fn frame(self) -> DataType {
        match self {
            RetailColumnType::Int => DataType::Int32,
            RetailColumnType::Long => DataType::Int64,
            RetailColumnType::Text => DataType::String,
            RetailColumnType::Money => DataType::Decimal(MONEY.0, MONEY.1),
            RetailColumnType::Time => DataType::Datetime(TimeUnit::Microseconds, None),
            RetailColumnType::Day => DataType::Date,
        }
    }
}

impl Table {
    /// The key, if it is never null: then others may rely on it.
    pub fn required_key(&self) -> Option<&'static [&'static str]> {
        let required = |key: &&str| self.columns.iter().any(|c| c.name == *key && c.null == Null::Never);
        self.key.iter().all(required).then_some(self.key)
    }

    pub fn arrow(&self) -> Schema {
        let field = |c: &Column| Field::new(c.name, c.kind.arrow(), c.null == Null::Allowed);
        Schema::new(self.columns.iter().map(field).collect::<Vec<_>>())
    }

    /// The same with nulls wherever the source may have them: what may be missing is judged after it was read.
    pub fn arrow_or_null(&self) -> Schema {
        let field = |c: &Column| Field::new(c.name, c.kind.arrow(), true);
        Schema::new(self.columns.iter().map(field).collect::<Vec<_>>())
    }

    pub fn frame(&self) -> FrameSchema {
        self.columns.iter().map(|c| (PlSmallStr::from_static(c.name), c.kind.frame())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_partitions_are_columns() {
        for table in RAW.iter().chain(&SILVER).chain(&GOLD) {
            let has = |name: &str| table.columns.iter().any(|column| column.name == name);
            assert!(!table.key.is_empty() && table.key.iter().copied().all(has), "{}", table.name);
            assert!(table.by_month.is_none_or(has), "{}", table.name);
        }
    }

    #[test]
    fn passwords_are_in_raw_and_nowhere_else() {
        let holds = |tables: &[Table]| tables.iter().flat_map(|t| t.columns).any(|c| c.name.contains("password"));
        assert!(holds(&RAW) && !holds(&SILVER) && !holds(&GOLD));
    }

    #[test]
    fn zip_codes_are_text_and_money_is_exact() {
        for column in RAW.iter().chain(&SILVER).chain(&GOLD).flat_map(|table| table.columns) {
            let text = column.name.ends_with("zipcode");
            let money = ["revenue", "subtotal", "price"].iter().any(|word| column.name.ends_with(word));
            assert!(!text || column.kind == RetailColumnType::Text, "{}", column.name);
            assert_eq!(money, column.kind == RetailColumnType::Money, "{}", column.name);
        }
    }
}
