//! The word lists of the sample shop, from `words.txt`.

use std::sync::LazyLock;

const TEXT: &str = include_str!("words.txt");

pub(super) type Words = LazyLock<Vec<&'static str>>;

/// IDs and names. IDs start at 2.
pub(super) static DEPARTMENTS: LazyLock<Vec<(i32, &str)>> =
    LazyLock::new(|| rows("departments").map(|[id, name]| (number(id), name)).collect());
/// Department and name of each category. IDs start at 1.
pub(super) static CATEGORIES: LazyLock<Vec<(i32, &str)>> =
    LazyLock::new(|| rows("categories").map(|[department, name]| (number(department), name)).collect());
/// Product, price in cents, and relative frequency of purchase.
pub(super) static BEST_SELLERS: LazyLock<Vec<(i32, i64, u32)>> = LazyLock::new(|| {
    rows("best_sellers").map(|[product, price, bought]| (number(product), number(price), number(bought))).collect()
});
pub(super) static STATUSES: LazyLock<Vec<(&str, u32)>> =
    LazyLock::new(|| rows("statuses").map(|[status, orders]| (status, number(orders))).collect());
/// City, state and zip code.
type Town = (&'static str, &'static str, &'static str);

/// Towns with their number of customers, out of 12,000.
pub(super) static TOWNS: LazyLock<Vec<(Town, u32)>> = LazyLock::new(|| {
    rows("towns").map(|[city, state, zip, customers]| ((city, state, zip), number(customers))).collect()
});
pub(super) static MAKERS: Words = LazyLock::new(|| words("makers"));
pub(super) static QUALITIES: Words = LazyLock::new(|| words("qualities"));
pub(super) static THINGS: Words = LazyLock::new(|| words("things"));
pub(super) static FIRST_NAMES: Words = LazyLock::new(|| words("first_names"));
pub(super) static LAST_NAMES: Words = LazyLock::new(|| words("last_names"));
pub(super) static STREET_NAMES: Words = LazyLock::new(|| words("street_names"));
pub(super) static STREET_KINDS: Words = LazyLock::new(|| words("street_kinds"));

fn lines(section: &str) -> impl Iterator<Item = &'static str> {
    let all = TEXT.lines().skip_while(move |line| line.trim_matches(['[', ']']) != section).skip(1);
    all.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with('#'))
}

fn words(section: &str) -> Vec<&'static str> {
    lines(section).collect()
}

fn rows<const N: usize>(section: &str) -> impl Iterator<Item = [&'static str; N]> {
    lines(section).map(|line| {
        let fields: Vec<&str> = line.split('|').collect();
        fields.try_into().expect("each line of a section has the same fields")
    })
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("a test reads every number of the file")
}
