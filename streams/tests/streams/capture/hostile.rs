//! Hostile values in a captured table: each row is in the mirror with its values, or its change is quarantined.

use super::source::Source;
use super::{Shop, capture, mysql, shop};
use crate::hostile::{Rows, check, fields, lake_rows, postgres_rows, records, table};
use crate::world::{COMMIT, SOURCE, WAREHOUSE, World, named};
use mysql_async::prelude::Queryable as _;
use orch_store::stream::{StreamRow, get_stream};
use orch_streams::{Changes, Stream};
use orch_test_support::rng::Rng;
use std::collections::BTreeSet;

/// SQL expressions of one column: values that a mirror can keep, then values that it cannot keep.
type Values = (&'static [&'static str], &'static [&'static str]);

const IN_POSTGRES: [Values; 5] = [
    (&["'Oslo'", "null", "''", "'a/b'", "repeat('\u{e5}', 300)"], &[]),
    (&["1", "-5", "null", "2147483647"], &["2147483648", "9223372036854775807"]),
    (&["0.5", "-1e308", "null", "0", "'NaN'", "'Infinity'"], &[]),
    (&["'2026-11-30 00:00:00+00'", "'0001-01-01 00:00:00+00'", "null", "'infinity'", "'-infinity'"], &[]),
    (&["12.34", "-0.5", "null", "99999999.99", "'NaN'"], &["'Infinity'", "123456789012.5", "0.125", "1e100"]),
];
const IN_MARIADB: [Values; 5] = [
    (&["'Oslo'", "null", "''", "'a/b'"], &["concat('a', char(0), 'b')"]),
    (&["1", "5", "null", "2147483647"], &["2147483648", "18446744073709551615"]),
    (&["0.5", "-1e308", "null", "0"], &[]),
    (&["'2026-11-30 00:00:00'", "'2026-11-30 00:00:30.25'", "null", "'0000-00-00 00:00:00'"], &[]),
    (&["12.34", "-0.5", "null", "99999999.99"], &["123456789012.5", "0.125"]),
];

/// Returns rows as SQL, and the ids of rows that a mirror can keep.
fn rows(rng: &mut Rng, columns: &[Values; 5]) -> (Vec<String>, BTreeSet<i64>) {
    let (mut rows, mut good) = (Vec::new(), BTreeSet::new());
    for id in 0..records() {
        let mut is_good = true;
        let mut cells = vec![id.to_string()];
        for (kept, refused) in columns {
            let is_refused = !refused.is_empty() && rng.one_in(4);
            is_good &= !is_refused;
            cells.push((*rng.pick(if is_refused { refused } else { kept })).to_owned());
        }
        if rng.one_in(200) && is_good {
            cells[1] = "repeat('x', 900000)".into();
        }
        rows.push(format!("({})", cells.join(", ")));
        good.extend(is_good.then_some(id));
    }
    (rows, good)
}

fn mirror() -> Stream {
    Stream::new("mirror").topic(format!("{SOURCE}.item")).commit_every(COMMIT).changes(Changes::of(fields()))
}

async fn until_mirrored(world: &World, many: i64) -> StreamRow {
    let find = async |world: &World| {
        let row = get_stream(&mut world.db().await, "mirror").await.unwrap()?;
        (row.records == many || row.waits_for_restart || row.failures > 0).then_some(row)
    };
    let row = world.until_so(find).await;
    assert_eq!((row.records, row.failures), (many, 0), "{:?}", row.error);
    row
}

/// Half of the rows are in the snapshot, the others are inserted later, and then each third row gets values that the
/// mirror can keep.
async fn captured<S: Source>(shop: &Shop<S>, mirror: Stream, columns: &[Values; 5]) -> BTreeSet<i64> {
    let (rows, mut good) = rows(&mut Rng::new(0xbad), columns);
    let insert = async |rows: &[String]| {
        for part in rows.chunks(50) {
            shop.run_statements(&format!("insert into item values {}", part.join(", "))).await;
        }
    };
    let (before, after) = rows.split_at(rows.len() / 2);
    insert(before).await;
    let host = shop.world.host_of(vec![capture(S::capture(&["item"])), mirror]);
    shop.until_following().await;
    insert(after).await;
    until_mirrored(&shop.world, records()).await;
    shop.run_statements("update item set city = 'Bergen', n = id, x = 0.25, at = null, amount = 1.25 where id % 3 = 0")
        .await;
    let healed: BTreeSet<i64> = (0..records()).filter(|id| id % 3 == 0).collect();
    until_mirrored(&shop.world, records() + i64::try_from(healed.len()).unwrap()).await;
    host.end().await;
    good.extend(healed);
    good
}

/// `reported` contains the JSON of the quarantined records: of a change, or of its row.
fn check_mirror(source: &[String], rows: &Rows, reported: &[String], good: &BTreeSet<i64>) {
    let id = |json: &String| -> i64 {
        let (_, id) = json.split_once("\"id\":").unwrap_or_else(|| panic!("no id: {json}"));
        id[..id.find(|c: char| !c.is_ascii_digit()).unwrap()].parse().unwrap()
    };
    let quarantined: BTreeSet<i64> = reported.iter().map(id).filter(|id| id % 3 != 0).collect();
    assert!(good.is_disjoint(&quarantined), "the mirror can keep them: {:?}", good.intersection(&quarantined));
    let values: Vec<Vec<u8>> = source.iter().map(|json| json.clone().into_bytes()).collect();
    check(&values, rows, &quarantined);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_values_of_postgres_are_in_the_lake_or_quarantined() {
    let shop = shop(
        "create table item (id bigint primary key, city text, n bigint, x double precision, at timestamptz, amount numeric)",
    )
    .await;
    let good = captured(&shop, mirror().mirror(named("test.mirror"), table(), &["id"]), &IN_POSTGRES).await;
    let mut db = shop.source.session().await;
    sqlx::raw_sql("set time zone 'UTC'").execute(&mut db).await.unwrap();
    // The mirror has null for an infinite time and for NaN of a decimal.
    let sql = "select row_to_json(known)::text from (select id, city, n, x, case when isfinite(at) then at end as at,
        nullif(amount, 'NaN') as amount from item) known order by id";
    let source: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut db).await.unwrap();
    let reported = shop.world.lines("test.mirror_quarantine", &["value"]).await;
    check_mirror(&source, &lake_rows(&shop.world, "test.mirror").await, &reported, &good);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_values_of_mariadb_are_in_postgres_or_quarantined() {
    let shop = mysql::own_shop(
        "create table item (id bigint primary key, city longtext character set utf8mb4, n bigint unsigned, x double,
            at timestamp(6) null, amount decimal(30, 10))",
    )
    .await;
    shop.run_statements("set global sql_mode = ''; set global time_zone = '+00:00'").await;
    let good = captured(&shop, mirror().mirror_postgres(WAREHOUSE, "mart.mirror", &["id"]), &IN_MARIADB).await;
    let at = "date_format(nullif(at, '0000-00-00 00:00:00'), '%Y-%m-%dT%H:%i:%s.%fZ')";
    let json = format!("json_object('id', id, 'city', city, 'n', n, 'x', x, 'at', {at}, 'amount', amount)");
    let sql = format!("select {json} from item order by id");
    let source: Vec<String> = shop.source.session().await.query(sql).await.unwrap();
    let reported: Vec<String> = sqlx::query_scalar("select value from mart.mirror_quarantine")
        .fetch_all(&mut shop.world.db().await)
        .await
        .unwrap();
    check_mirror(&source, &postgres_rows(&shop.world, "mart.mirror").await, &reported, &good);
}
