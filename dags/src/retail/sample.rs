//! Generated sample data that resembles the retail source, for users without a MySQL server (`sample://retail`).
//!
//! The data has the row counts and typical defects of such a database: orders over a year, most of the revenue from a
//! few products, orders without items, customers who never order, categories without a department, zip codes that start
//! with 0, streets with commas, quotation marks in names. The same seed gives the same rows on every machine; `scale`
//! multiplies them.

pub(crate) mod shop;
mod words;

use super::days::Days;
use arrow::array::{ArrayRef, Decimal128Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::error::ArrowError;
use orch_lake::TableSpec;
use shop::{Order, OrderItem, Shop};
use std::sync::Arc;

/// Rows per batch, as in all readers.
const BATCH: usize = orch_lake::batches::BATCH_ROWS;

/// Seed and size of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub seed: u64,
    /// Factor for the number of customers, orders and items.
    pub scale: u32,
}

impl Default for Sample {
    fn default() -> Self {
        Sample { seed: 1, scale: 1 }
    }
}

impl Sample {
    /// Returns the rows of a table in batches, generated on demand. `days` restricts orders and items by order date.
    pub fn rows(
        &self,
        table: &'static TableSpec,
        days: Days,
    ) -> Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send> {
        let shop = Shop::new(*self);
        match table.name {
            "departments" => once(table, departments()),
            "categories" => once(table, categories()),
            "products" => once(table, products(&shop)),
            "customers" => chunks(table, shop.customers(), |rows| {
                vec![
                    ints(rows, |c| c.id),
                    texts(rows, |c| c.first),
                    texts(rows, |c| c.last),
                    texts(rows, |_| MASKED),
                    texts(rows, |_| MASKED),
                    texts(rows, |c| &c.street),
                    texts(rows, |c| c.town.0),
                    texts(rows, |c| c.town.1),
                    texts(rows, |c| c.town.2),
                ]
            }),
            "orders" => chunks(
                table,
                shop.orders().map(|(order, _)| order).filter(move |o| days.contain(o.date)),
                |rows: &[Order]| {
                    let times =
                        rows.iter().map(|o| o.date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros());
                    vec![
                        ints(rows, |o| o.id),
                        Arc::new(TimestampMicrosecondArray::from_iter_values(times)),
                        ints(rows, |o| o.customer),
                        texts(rows, |o| o.status),
                    ]
                },
            ),
            _ => chunks(table, shop.items().filter(move |item| days.contain(item.date)), |rows: &[OrderItem]| {
                vec![
                    ints(rows, |i| i.id),
                    ints(rows, |i| i.order),
                    ints(rows, |i| i.product),
                    ints(rows, |i| i.quantity),
                    cents(rows, |i| i.price * i64::from(i.quantity)),
                    cents(rows, |i| i.price),
                ]
            }),
        }
    }
}

/// Placeholder for email addresses and passwords.
const MASKED: &str = "*********";

fn departments() -> Vec<ArrayRef> {
    let rows = &words::DEPARTMENTS;
    vec![ints(rows, |d| d.0), texts(rows, |d| d.1)]
}

fn categories() -> Vec<ArrayRef> {
    let rows: Vec<_> = (1..).zip(&*words::CATEGORIES).collect();
    vec![ints(&rows, |c| c.0), ints(&rows, |c| c.1.0), texts(&rows, |c| c.1.1)]
}

fn products(shop: &Shop) -> Vec<ArrayRef> {
    let rows = shop.products();
    let images: Vec<String> =
        rows.iter().map(|p| format!("http://images.example.com/{}", p.name.replace([' ', '"'], "+"))).collect();
    let images = StringArray::from_iter_values(images);
    vec![
        ints(rows, |p| p.id),
        ints(rows, |p| p.category),
        texts(rows, |p| &p.name),
        texts(rows, |_| ""),
        cents(rows, |p| p.price),
        Arc::new(images),
    ]
}

fn once(
    table: &'static TableSpec,
    columns: Vec<ArrayRef>,
) -> Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send> {
    Box::new(std::iter::once(RecordBatch::try_new(table.schema(), columns)))
}

/// Splits rows into batches. A table without rows yields one empty batch.
fn chunks<T: Send + 'static>(
    table: &'static TableSpec,
    mut rows: impl Iterator<Item = T> + Send + 'static,
    columns: fn(&[T]) -> Vec<ArrayRef>,
) -> Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send> {
    let mut first = true;
    Box::new(std::iter::from_fn(move || {
        let chunk: Vec<T> = rows.by_ref().take(BATCH).collect();
        let is_any = !chunk.is_empty() || std::mem::take(&mut first);
        first = false;
        is_any.then(|| RecordBatch::try_new(table.schema(), columns(&chunk)))
    }))
}

fn ints<T>(rows: &[T], of: impl Fn(&T) -> i32) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(rows.iter().map(of)))
}

fn texts<'a, T>(rows: &'a [T], of: impl Fn(&'a T) -> &'a str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(of)))
}

fn cents<T>(rows: &[T], of: impl Fn(&T) -> i64) -> ArrayRef {
    let values = rows.iter().map(|row| i128::from(of(row)));
    let array = Decimal128Array::from_iter_values(values).with_precision_and_scale(12, 2);
    Arc::new(array.expect("the precision of money is one that arrow knows"))
}

#[cfg(test)]
mod tests {
    use super::super::tables::RAW;
    use super::*;
    use arrow::array::AsArray as _;
    use arrow::datatypes::{Decimal128Type, Int32Type};
    use std::collections::HashSet;

    fn all(sample: Sample, name: &str, days: Days) -> RecordBatch {
        let table = RAW.iter().find(|table| table.name == name).expect("a table of the source");
        let batches: Vec<_> = sample.rows(table, days).map(|batch| batch.expect("rows")).collect();
        arrow::compute::concat_batches(&table.schema(), &batches).expect("one schema")
    }

    fn column(batch: &RecordBatch, name: &str) -> Vec<i32> {
        batch.column_by_name(name).expect(name).as_primitive::<Int32Type>().values().to_vec()
    }

    #[test]
    fn it_has_the_size_of_the_real_one() {
        let counts = ["departments", "categories", "products", "customers", "orders", "order_items"]
            .map(|name| all(Sample::default(), name, Days::all()).num_rows());
        assert_eq!(counts, [6, 58, 1_345, 12_435, 68_883, 172_198]);
    }

    #[test]
    fn it_has_the_habits_of_the_real_one() {
        let [customers, orders, items, products] =
            ["customers", "orders", "order_items", "products"].map(|name| all(Sample::default(), name, Days::all()));
        let buyers: HashSet<i32> = column(&orders, "order_customer_id").into_iter().collect();
        let never = column(&customers, "customer_id").iter().filter(|id| !buyers.contains(id)).count();
        assert!((30..150).contains(&never), "{never} customers never order");
        let filled: HashSet<i32> = column(&items, "order_item_order_id").into_iter().collect();
        assert_eq!(orders.num_rows() - filled.len(), 11_452, "orders without items");
        assert_eq!(column(&items, "order_item_product_id").into_iter().collect::<HashSet<_>>().len(), 100);
        assert_eq!(column(&products, "product_category_id").iter().filter(|id| **id > 58).count(), 24);
        let zips = customers.column_by_name("customer_zipcode").expect("zip codes").as_string::<i32>();
        assert!(zips.iter().flatten().filter(|zip| zip.starts_with('0')).count() > 4_000);
        let revenue: i128 = items.column(4).as_primitive::<Decimal128Type>().values().iter().sum::<i128>() / 100;
        assert!((30_000_000..40_000_000).contains(&revenue), "{revenue}");
    }

    #[test]
    fn a_seed_is_a_shop_and_days_are_a_part_of_it() {
        let one = Sample::default();
        assert_eq!(all(one, "order_items", Days::all()), all(one, "order_items", Days::all()));
        assert_ne!(all(one, "orders", Days::all()), all(Sample { seed: 2, ..one }, "orders", Days::all()));
        let day = |text: &str| text.parse().expect("a day");
        let (from, until) = (day("2014-01-01"), day("2014-01-08"));
        let week = Days { from: Some(from), until: Some(until) };
        let orders: HashSet<i32> = column(&all(one, "orders", week), "order_id").into_iter().collect();
        let items = column(&all(one, "order_items", week), "order_item_order_id");
        assert!((900..1_800).contains(&orders.len()), "{} orders in a week", orders.len());
        assert!(items.iter().all(|order| orders.contains(order)));
        let nothing = Days { from: Some(until), until: Some(until) };
        assert_eq!(all(one, "orders", nothing).num_rows(), 0);
    }

    #[test]
    fn scale_gives_more_of_the_same() {
        let orders = all(Sample { seed: 1, scale: 3 }, "orders", Days::all());
        assert_eq!(orders.num_rows(), 3 * 68_883);
    }
}
