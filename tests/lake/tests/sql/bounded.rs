//! What a query builds is bounded: a value, a batch, its constants, its depth.

use crate::world::world;
use orch_store::lake_view::{LakeError, MOST_SQL_BYTES, QueryLimits};
use std::process::Command;
use std::time::Duration;

#[tokio::test]
async fn a_function_does_not_begin_what_would_become_too_large() {
    let world = world().await;
    for call in [
        "lpad('a', 1000000000, 'b')",
        "rpad('a', 1000000000)",
        "repeat('ab', 1000000000)",
        "repeat(repeat(repeat('a', 1000), 1000), 1000)",
        "replace(repeat('a', 1000000), 'a', repeat('b', 1000000))",
        "regexp_replace(repeat('a', 1000000), 'a', repeat('b', 1000), 'g')",
        "array_repeat(array_repeat('a', 10000), 10000)",
        "array_resize([1], 1000000000, 2)",
        "range(1, 10000000000)",
        "generate_series(1, 1000000000)",
        "generate_series(timestamp '2000-01-01', timestamp '2026-01-01', interval '1 second')",
        "array_to_string(range(1, 1000000), repeat('a', 1000))",
        "repeat('a', 10000000) || repeat('a', 10000000)",
        "concat(repeat('a', 10000000), repeat('a', 10000000))",
        "levenshtein(repeat('a', 1000000), repeat('b', 1000000))",
    ] {
        for sql in [format!("select length(cast({call} as varchar))"), format!("select {call} as a, {call} as b")] {
            let error = world.refused(&sql).await;
            let is_told = matches!(&error, LakeError::TooDear(text) if text.contains("\nhint: "));
            assert!(is_told || sql.contains("length"), "{sql}: {error}");
        }
    }
    // Of columns, row by row, and of a constant in each row of many.
    for sql in [
        "select max(length(lpad('', value * 1000000, 'x'))) from generate_series(1, 100)",
        "select count(*) from generate_series(1, 1000000) where length(repeat(value || 'x', 100000)) > 5",
        "with recursive x as (select 'aaaaaaaaaa' as a union all select a || a from x) select max(length(a)) from x",
        "select count(*) from generate_series(1, 10) where regexp_like('a', value || 'a{1000}')",
    ] {
        let error = world.refused(sql).await;
        assert!(matches!(error, LakeError::TooDear(_)), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn functions_within_their_bounds_answer_as_ever() {
    let world = world().await;
    for (sql, line) in [
        ("select length(lpad('a', 1000000, 'b'))", "1000000"),
        ("select lpad('7', 3, '0') || '-' || rpad('x', 2, 'y')", "007-xy"),
        ("select 'a' || null", "null"),
        ("select cast(1 as varchar) || 'b' || cast(2 as varchar)", "1b2"),
        ("select concat('a', null, 'b'), concat_ws('-', 'a', 'b')", "ab a-b"),
        ("select replace('banana', 'an', 'x'), translate('abc', 'ab', 'xy')", "bxxa xyc"),
        ("select regexp_replace('banana', 'a(n)', '<\\1>', 'g')", "b<n><n>a"),
        ("select [1, 2] || [3]", "[1,2,3]"),
        ("select array_to_string(range(1, 4), ',')", "1,2,3"),
        ("select sum(length(repeat('x', value))) from generate_series(1, 5000)", "12502500"),
        // What may become too large is computed in parts, and is not.
        ("select sum(length(replace(repeat('ab', value), 'a', 'xyz'))) from generate_series(1, 2500)", "12505000"),
        ("select max(length(value || repeat('a', 100000))) from generate_series(1, 3000)", "100004"),
        ("select count(*) from generate_series(1, 100) where (value || '') like '1%'", "12"),
        ("select named_struct('a', 1, 'b', 'x')", "{\"a\":1,\"b\":\"x\"}"),
    ] {
        assert_eq!(world.lines(sql).await, [line], "{sql}");
    }
}

#[tokio::test]
async fn queries_at_the_bound_of_their_depth_are_planned_and_run() {
    let world = world().await;
    let chain = |first: &str, next: &str, times: usize| format!("{first}{}", next.repeat(times));
    let limits = QueryLimits { time: Duration::from_mins(2), ..QueryLimits::default() };
    for (sql, cell) in [
        (chain("select 1", "+1", 390), 391),
        (chain("select value from generate_series(1, 1) where value = 0", " or value = 1", 125), 1),
        (chain("select count(*) from (select 1", " union all select 1", 190) + ")", 191),
    ] {
        let answer = world.ask_within(&sql, limits).await.unwrap_or_else(|error| panic!("{sql:.80}: {error}"));
        assert_eq!(answer.rows, [[cell]], "{sql:.80}");
    }
}

/// Given to the process that runs the queries, beside the name of its test.
const CHILD: &str = "in-a-process-of-its-own";

/// What a query is made of: a head, an opening piece many times, a middle, a closing piece as many times, and a tail.
const KINDS: [[&str; 5]; 46] = [
    ["select 1", "+1", "", "", ""],
    ["select 1", "*1", "", "", ""],
    ["select 1", "%1", "", "", ""],
    ["select 1", "<<1", "", "", ""],
    ["select 'a'", "||'a'", "", "", ""],
    ["select true", " or true", "", "", ""],
    ["select true", " and 1=1", "", "", ""],
    ["select true", "=true", "", "", ""],
    ["select 1", " union all select 1", "", "", ""],
    ["select 1", " union select 1", "", "", ""],
    ["select 1", " intersect select 1", "", "", ""],
    ["select 1", " except select 2", "", "", ""],
    ["select ", "not ", "true", "", ""],
    ["select ", "- ", "1", "", ""],
    ["select ", "(", "1", ")", ""],
    ["select * from ", "(", "generate_series(1, 1)", ")", ""],
    ["", "(", "select 1", ")", ""],
    ["select ", "case when true then ", "1", " end", ""],
    ["select ", "abs(", "1", ")", ""],
    ["select ", "lower(", "'a'", ")", ""],
    ["select ", "cast(", "1", " as bigint)", ""],
    ["select ", "[", "1", "]", ""],
    ["select ", "struct(", "1", ")", ""],
    ["select ", "{a:", "1", "}", ""],
    ["select cast(null as ", "struct<a ", "int", ">", ")"],
    ["select * from ", "(select * from ", "generate_series(1, 1)", ") x", ""],
    ["select ", "(select ", "1", ")", ""],
    ["select ", "exists (select ", "1", ")", ""],
    ["select 1 where 1 in ", "(select 1 where 1 in ", "(1)", ")", ""],
    ["select ", "with_a(select ", "1", ")", ""],
    ["", "with a as (", "select 1", ") select 1", ""],
    ["select ", "sum(", "1", ") over ()", ""],
    ["select 1 in (1", ", 1", "", "", ")"],
    ["select 1", "::bigint", "", "", ""],
    ["select [1]", "[1]", "", "", ""],
    ["select x", ".y", "", "", ""],
    ["select 1 from generate_series(1, 1)", " cross join generate_series(1, 1)", "", "", ""],
    ["select 1 from generate_series(1, 1)", " natural join generate_series(1, 1)", "", "", ""],
    ["select 1 from generate_series(1, 1)", ", generate_series(1, 1)", "", "", ""],
    ["select case 1", " when 1 then 1", "", "", " end"],
    ["select concat('a'", ", 'a'", "", "", ")"],
    ["values (1)", ", (1)", "", "", ""],
    ["select 1", ", 1", "", "", ""],
    ["select 1", " is null", "", "", ""],
    ["select 'a'", " like 'a'", "", "", ""],
    ["select sum(1) over ()", " + sum(1) over ()", "", "", ""],
];

#[tokio::test]
async fn no_text_overflows_a_stack_however_long_its_chains_are() {
    if std::env::args().any(|argument| argument == CHILD) {
        return ask_all_kinds().await;
    }
    let this = concat!(module_path!(), "::no_text_overflows_a_stack_however_long_its_chains_are");
    let this = this.split_once("::").expect("a module of the test").1;
    let child = Command::new(std::env::current_exe().expect("the test has a binary"))
        .args(["--exact", this, CHILD, "--nocapture"])
        .output()
        .expect("the test can be run again");
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains(ALL_ASKED), "{}: {said}", child.status);
}

const ALL_ASKED: &str = "all kinds were asked";

/// Whether it answers or refuses does not matter here, only that it does, and that the next one is answered, too.
async fn ask_all_kinds() {
    let world = world().await;
    let limits = QueryLimits { time: Duration::from_secs(20), ..QueryLimits::default() };
    for [head, open, middle, close, tail] in KINDS {
        let most = (MOST_SQL_BYTES - 200) / (open.len() + close.len());
        for times in [40, 2_000, most] {
            let sql = format!("{head}{}{middle}{}{tail}", open.repeat(times), close.repeat(times));
            if sql.len() <= MOST_SQL_BYTES {
                eprintln!("{open}{close} {times} times: {:?}", world.ask_within(&sql, limits).await.map(|_| ()));
            }
        }
    }
    assert_eq!(world.lines("select 1").await, ["1"]);
    eprintln!("{ALL_ASKED}");
}
