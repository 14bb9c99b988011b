//! Deeply nested queries must not exhaust the stack.

use crate::world::world;
use orch_store::lake_view::{MOST_SQL_BYTES, QueryLimits};
use std::process::Command;
use std::time::Duration;

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

/// Argument of the child process that runs the queries, next to the name of its test.
const CHILD: &str = "in-a-process-of-its-own";

/// Parts of a query: head, opening part (repeated), middle, closing part (repeated as often), and tail.
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

/// Each query may succeed or be rejected, but it must return, and the next query must succeed.
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
