//! Numeric overflow is an error and never returns a wrong number.

use crate::world::{World, world};
use orch_store::lake_view::LakeError;

const MOST: &str = "9223372036854775807";

#[tokio::test]
async fn whole_numbers_that_do_not_fit_are_refused() {
    let world = World::with_orders().await;
    for sql in [
        // Constants, which are computed before the query runs.
        format!("select {MOST} + 1"),
        format!("select -{MOST} - 2"),
        format!("select {MOST} * 2"),
        "select -(cast(-9223372036854775808 as bigint))".into(),
        "select cast(-9223372036854775808 as bigint) / -1".into(),
        "select abs(cast(-9223372036854775808 as bigint))".into(),
        format!("select cast({MOST} as int)"),
        "select cast(1e30 as bigint)".into(),
        "select cast(127 as tinyint) + cast(1 as tinyint)".into(),
        "select cast(0 as int unsigned) - cast(1 as int unsigned)".into(),
        // Columns.
        format!("select id + {MOST} from retail.orders order by 1"),
        format!("select id from retail.orders where id * {MOST} > 1"),
        format!("select -(id - {MOST} - 1) from retail.orders where id = 0"),
        format!("select count(*) from retail.orders group by id * {MOST}"),
        format!("select count(*) from retail.orders a join retail.orders b on a.id * {MOST} = b.id"),
        format!("select max(id) over (order by id * {MOST}) from retail.orders"),
        format!("select id from retail.orders where id in (select b.id * {MOST} from retail.orders b)"),
        // Sums over all rows, groups, distinct values and windows.
        format!("select sum(id + {MOST} - 899) from retail.orders"),
        format!("select state, sum(id + {MOST} - 899) from retail.orders group by 1"),
        format!("select sum(distinct id + {MOST} - 899) from retail.orders"),
        format!("select sum(id + {MOST} - 899) over (order by id rows 2 preceding) from retail.orders"),
        "select sum(cast(x as bigint unsigned)) from (values (18446744073709551615), (1)) t(x)".into(),
        "select sum(cast('9' || repeat('0', 37) as decimal(38, 0))) from retail.orders".into(),
    ] {
        let error = world.refused(&sql).await;
        assert!(matches!(error, LakeError::Refused(_)), "{sql}: {error:?}");
    }
    let error = world.refused(&format!("select {MOST} + 1")).await.to_string();
    assert!(error.contains("does not fit its type") && error.contains("\nhint: "), "{error}");
}

#[tokio::test]
async fn numbers_that_fit_are_computed_as_ever() {
    let world = world().await;
    for (sql, row) in [
        (format!("select {MOST} - 1 + 1"), MOST),
        ("select -9223372036854775808".into(), "-9223372036854775808"),
        (format!("select sum(x) from (values ({MOST}), (-{MOST}), (5)) t(x)"), "5"),
        (format!("select sum(x) from (values (1, {MOST}), (1, 7), (1, -{MOST})) t(g, x) group by g"), "7"),
        ("select sum(distinct x) from (values (3), (3), (4)) t(x)".into(), "7"),
        ("select sum(x) from (values (1)) t(x) where x > 1".into(), "null"),
        ("select 7 / 2 + 7 % 2 - 1 * 2".into(), "2"),
        ("select (select max(b.value) from generate_series(1, 3) b where b.value = a.value + 1) from generate_series(1, 1) a".into(), "2"),
        ("select date '2026-11-21' + interval '1 day'".into(), "2026-11-22 00:00:00"),
        ("select 0.1 + 0.2".into(), "0.3"),
    ] {
        let lines = world.lines(&sql).await;
        assert!(lines == [row] || lines == [row.trim_end_matches(" 00:00:00")], "{sql}: {lines:?}");
    }
    let sums = "select value, sum(value) over (order by value rows 1 preceding) from generate_series(1, 4) order by 1";
    assert_eq!(world.lines(sums).await, ["1 1", "2 3", "3 5", "4 7"]);
    let answer = world.ask("select value + 1, -value from generate_series(1, 1)").await.expect("an answer");
    let names: Vec<_> = answer.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names.len(), 2);
    assert!(names[0].contains(" + ") && names[1].contains('-'), "{names:?}");
}
