//! What queries take of a process at most, whatever they ask for. Measured in a process of its own.

use crate::world::world;
use orch_store::lake_view::QueryLimits;
use std::process::Command;
use std::time::Duration;

/// Given to the process that runs the queries, beside the name of its test.
const CHILD: &str = "with-memory-of-its-own";
const ALL_ASKED: &str = "all were asked";
/// What is promised for all queries of a process.
const MOST_MB: u64 = 512;

const QUERIES: [&str; 8] = [
    "select lpad('a', 1000000000, 'b') as a, lpad('a', 1000000000, 'b') as b",
    "select repeat('a', 1000000) from generate_series(1, 1000000)",
    "select repeat('a', value) || repeat('b', value) from generate_series(1, 1000000)",
    "select array_agg(value) from generate_series(1, 100000000)",
    "select string_agg(repeat('x', 1000), ',') from generate_series(1, 10000000)",
    "select value, string_agg(repeat('x', 100000), ',') over () from generate_series(1, 1000)",
    "select value from generate_series(1, 100000000) order by -value",
    "select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b where a.value * b.value = 7",
];

#[tokio::test]
async fn no_query_takes_more_memory_than_is_promised() {
    if std::env::args().any(|argument| argument == CHILD) {
        return ask_all().await;
    }
    let this = concat!(module_path!(), "::no_query_takes_more_memory_than_is_promised");
    let this = this.split_once("::").expect("a module of the test").1;
    let child = Command::new(std::env::current_exe().expect("the test has a binary"))
        .args(["--exact", this, CHILD, "--nocapture"])
        .output()
        .expect("the test can be run again");
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains(ALL_ASKED), "{}: {said}", child.status);
}

async fn ask_all() {
    let world = world().await;
    let limits = QueryLimits { time: Duration::from_secs(3), ..QueryLimits::default() };
    let before = peak_mb();
    for sql in QUERIES {
        let ended = world.ask_within(sql, limits).await.map(|answer| answer.rows.len());
        let grown = peak_mb() - before;
        eprintln!("{sql}: {ended:?}, {grown} MB");
        assert!(grown <= MOST_MB, "{sql}: {grown} MB");
    }
    eprintln!("{ALL_ASKED}");
}

/// The most that was ever resident.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is a /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it says so");
    let kilobytes = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
    kilobytes >> 10
}
