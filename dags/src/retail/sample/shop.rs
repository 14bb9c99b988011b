//! Generates the rows of the sample shop: customers, products and orders.

use super::Sample;
use super::words;
use crate::common::dice::Dice;
use chrono::{Days, NaiveDate};

const PRODUCTS: i32 = 1_345;
const PER_CATEGORY: i32 = 24;
const CUSTOMERS: u32 = 12_435;
/// Interval of customer ids that never order anything: every id that is a multiple of this number.
const NEVER: u32 = 414;
const ORDERS: u32 = 68_883;
const ORDERS_WITH_ITEMS: u32 = 57_431;
const ITEMS: u32 = 172_198;
const MOST_ITEMS: u32 = 5;
const DAYS: u32 = 364;
/// Price in cents above which only one piece is bought at a time.
const DEAR: i64 = 12_000;
/// Number of items per 1,000 that are not best-sellers.
const OTHERS: u32 = 161;

#[derive(Debug, Clone)]
pub(super) struct Product {
    pub(super) id: i32,
    pub(super) category: i32,
    pub(super) name: String,
    pub(super) price: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Customer {
    pub(super) id: i32,
    pub(super) first: &'static str,
    pub(super) last: &'static str,
    pub(super) street: String,
    /// City, state, zip code.
    pub(super) town: (&'static str, &'static str, &'static str),
}

#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) id: i32,
    pub(super) date: NaiveDate,
    pub(super) customer: i32,
    pub(super) status: &'static str,
}

#[derive(Debug, Clone)]
pub(super) struct OrderItem {
    pub(super) id: i32,
    pub(super) order: i32,
    pub(super) date: NaiveDate,
    pub(super) product: i32,
    pub(super) quantity: i32,
    pub(super) price: i64,
}

/// A product that is bought, with its price in cents and its relative frequency.
#[derive(Debug, Clone, Copy)]
struct Offer {
    product: i32,
    price: i64,
    weight: u32,
}

pub(super) struct Shop {
    sample: Sample,
    products: Vec<Product>,
    /// Best-sellers. All other products that are bought at all are in `others`.
    best: Vec<Offer>,
    others: Vec<Offer>,
}

impl Shop {
    pub(super) fn new(sample: Sample) -> Shop {
        let products = products(sample.seed);
        let offer = |product: i32, weight| Offer { product, price: products[product as usize - 1].price, weight };
        let best = words::BEST_SELLERS.iter().map(|(product, _, weight)| offer(*product, *weight)).collect::<Vec<_>>();
        // Three products from each of about 30 categories.
        let categories = (1..=48).filter(|category| category % 3 != 0 || *category == 48);
        let candidates = categories.flat_map(|category| (10..13).map(move |n| (category - 1) * PER_CATEGORY + n));
        let others = candidates.take(100 - best.len()).map(|product| offer(product, 1)).collect();
        Shop { sample, products, best, others }
    }

    pub(super) fn products(&self) -> &[Product] {
        &self.products
    }

    pub(super) fn customers(&self) -> impl Iterator<Item = Customer> + Send + 'static {
        let mut dice = Dice::new(self.sample.seed, "customers");
        (1..=CUSTOMERS * self.sample.scale).map(move |id| Customer {
            id: id as i32,
            first: dice.pick::<&str>(&words::FIRST_NAMES),
            last: dice.pick::<&str>(&words::LAST_NAMES),
            street: street(&mut dice, id),
            town: dice.weighted(&words::TOWNS, |town| town.1).0,
        })
    }

    /// Returns the orders by ascending id and date, each with its number of items.
    pub(super) fn orders(&self) -> impl Iterator<Item = (Order, u32)> + Send + 'static {
        let Sample { seed, scale } = self.sample;
        let (mut dice, mut sizes) = (Dice::new(seed, "orders"), Dice::new(seed, "sizes"));
        let calendar = Calendar::new(seed, ORDERS * scale);
        let mut left =
            RemainingOrders { orders: ORDERS * scale, filled: ORDERS_WITH_ITEMS * scale, items: ITEMS * scale };
        (1..=ORDERS * scale).map(move |id| {
            let status = dice.weighted(&words::STATUSES, |status| status.1).0;
            let order =
                Order { id: id as i32, date: calendar.date(id), customer: buyer(&mut dice, CUSTOMERS * scale), status };
            (order, left.take(&mut sizes))
        })
    }

    pub(super) fn items(&self) -> impl Iterator<Item = OrderItem> + Send + 'static {
        let mut dice = Dice::new(self.sample.seed, "items");
        let (best, others) = (self.best.clone(), self.others.clone());
        let lines =
            self.orders().flat_map(|(order, items)| std::iter::repeat_n((order.id, order.date), items as usize));
        (1..).zip(lines).map(move |(id, (order, date))| {
            let offer =
                if dice.below(1_000) < OTHERS { *dice.pick(&others) } else { *dice.weighted(&best, |o| o.weight) };
            let quantity = if offer.price > DEAR { 1 } else { dice.between(1, 5) as i32 };
            OrderItem { id, order, date, product: offer.product, quantity, price: offer.price }
        })
    }
}

fn products(seed: u64) -> Vec<Product> {
    let mut dice = Dice::new(seed, "products");
    let product = |id: i32| {
        let category = (id - 1) / PER_CATEGORY + 1;
        let thing = words::THINGS[(category as usize - 1) % words::THINGS.len()];
        let name = match id % 40 {
            0 => format!("{} {thing} {}\"", dice.pick(&words::MAKERS), dice.between(10, 60)),
            _ => format!("{} {} {thing}", dice.pick(&words::MAKERS), dice.pick(&words::QUALITIES)),
        };
        let price = match id % 190 {
            0 => 0, // seven products are free
            _ => i64::from(dice.between(8, 200)) * 100 - 1,
        };
        // The products of one category refer to a category that does not exist.
        let category = if category == 55 { 59 } else { category };
        let price = words::BEST_SELLERS.iter().find(|best| best.0 == id).map_or(price, |best| best.1);
        Product { id, category, name, price }
    };
    (1..=PRODUCTS).map(product).collect()
}

fn street(dice: &mut Dice, customer: u32) -> String {
    let number = dice.between(100, 9_999);
    let (first, second, kind) =
        (dice.pick(&words::QUALITIES), dice.pick(&words::STREET_NAMES), dice.pick(&words::STREET_KINDS));
    if customer.is_multiple_of(128) {
        format!("{number} {first} {second} {kind}, No. {}", dice.between(1, 90))
    } else {
        format!("{number} {first} {second} {kind}")
    }
}

fn buyer(dice: &mut Dice, customers: u32) -> i32 {
    let id = dice.between(1, customers);
    (if id.is_multiple_of(NEVER) { id - 1 } else { id }) as i32
}

/// Totals that the remaining orders must reach, so that the row counts are exact.
struct RemainingOrders {
    orders: u32,
    filled: u32,
    items: u32,
}

impl RemainingOrders {
    /// Returns the number of items of the next order.
    fn take(&mut self, dice: &mut Dice) -> u32 {
        let is_filled = dice.below(self.orders) < self.filled;
        self.orders -= 1;
        if !is_filled {
            return 0;
        }
        self.filled -= 1;
        let least = self.items.saturating_sub(self.filled * MOST_ITEMS).max(1);
        let most = (self.items - self.filled).min(MOST_ITEMS);
        let items = dice.between(1, MOST_ITEMS).clamp(least, most);
        self.items -= items;
        items
    }
}

/// Distributes orders over the days; some days are busier than others.
struct Calendar {
    /// Number of the last order of each day.
    ends: Vec<u32>,
}

impl Calendar {
    fn new(seed: u64, orders: u32) -> Calendar {
        let mut dice = Dice::new(seed, "days");
        let weights: Vec<u64> = (0..DAYS).map(|_| u64::from(dice.between(60, 140))).collect();
        let all: u64 = weights.iter().sum();
        let mut so_far = 0;
        let ends = weights.iter().map(|weight| {
            so_far += weight;
            (u64::from(orders) * so_far / all) as u32
        });
        Calendar { ends: ends.collect() }
    }

    fn date(&self, order: u32) -> NaiveDate {
        let day = self.ends.partition_point(|end| *end < order);
        NaiveDate::from_ymd_opt(2013, 7, 25).expect("a day") + Days::new(day as u64)
    }
}
