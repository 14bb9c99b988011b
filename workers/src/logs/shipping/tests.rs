//! Tests that ship logs to a real Postgres that is unreachable, slow, or rejects lines.

use super::*;
use crate::logs::END_BYTES;
use orch_sdk::task::LogLevel;
use orch_store::log::{LogCursor, read};
use orch_store::step::Lease;
use orch_store::{MIGRATOR, connect};
use orch_test_support::TestDb;
use orch_test_support::proxy::{Network, Proxy};
use orch_test_support::rng::Rng;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use tokio::task::JoinSet;

/// Timeout of test waits. Longer than any step of these tests takes.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Creates a database that has the partitions of the current week.
async fn database() -> TestDb {
    let database = TestDb::new(&MIGRATOR).await;
    sqlx::query("select make_partitions(now())").execute(&mut database.connect().await).await.expect("partitions");
    database
}

fn attempt(shipper: &Shipper) -> (Lease, Arc<AttemptLog>) {
    let lease = Lease { run: Uuid::now_v7(), task: 0, map_index: -1, attempt: Uuid::now_v7(), lease_no: 1 };
    (lease, AttemptLog::new(lease, shipper.clone()))
}

fn line(text: &str) -> LogLine {
    LogLine::from_body(LogLevel::Info, text, Map::new())
}

/// Returns the stored lines of an attempt's log.
async fn stored(db: &mut PgConnection, lease: &Lease) -> Vec<String> {
    let (mut from, mut lines) = (LogCursor::START, Vec::new());
    loop {
        let chunks = read(db, lease.run, lease.attempt, from, 4 * 1024 * 1024).await.expect("it is read");
        let Some(last) = chunks.last() else { return lines };
        from = last.place();
        for chunk in &chunks {
            let parsed = chunk.body.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            lines.extend(parsed.map(|line| line["event"].as_str().expect("a text").to_string()));
        }
    }
}

/// Waits until all lines are stored, except for `held_back` bytes.
async fn shipped(budget: &ByteBudget, held_back: usize) {
    let everything = async {
        while budget.used() > held_back {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, everything).await.expect("the database takes lines again");
}

/// 64 tasks write 2 MB each while the database is unreachable, which is twice the budget. Asserts that memory stays
/// within the budget and that each log reports how many lines it lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_costs_bounded_memory_and_each_log_counts_the_lines_that_were_lost() {
    let database = database().await;
    let proxy = Proxy::start(&database.url(), Rng::new(1)).await;
    proxy.set(Network::Silent);
    let (shipper, shipping) = shipping(connect::cold(&proxy.url(), "test", 2).expect("the URL parses"));
    let (budget, stop) = (shipper.budget.clone(), CancellationToken::new());
    let mut work = JoinSet::new();
    work.spawn(shipping.ship_until_stopped(stop.clone()));

    let logs: Vec<_> = (0..64).map(|_| attempt(&shipper)).collect();
    let text = "x".repeat(1_000);
    for _ in 0..2_000 {
        for (_, log) in &logs {
            log.say(&line(&text));
        }
        assert!(budget.used() <= MAX_UNSENT_BYTES, "{} bytes", budget.used());
        tokio::task::yield_now().await;
    }
    assert!(budget.used() > MAX_UNSENT_BYTES / 2);
    for (_, log) in &logs[32..] {
        log.close(Some(&line("it failed")));
    }
    assert!(budget.used() <= MAX_UNSENT_BYTES + 32 * 1_024, "{} bytes", budget.used());
    proxy.set(Network::Good);
    // Each open log holds back its last lines, in case they are the end of the log.
    shipped(&budget, 32 * END_BYTES).await;
    for (_, log) in &logs[..32] {
        log.say(&line("it continues"));
        log.close(Some(&line("it went well")));
    }
    stop.cancel();
    work.join_all().await;
    assert_eq!(budget.used(), 0);

    let mut db = database.connect().await;
    for (log, (lease, _)) in logs.iter().enumerate() {
        let lines = stored(&mut db, lease).await;
        let said = lines.iter().filter(|line| **line == text).count();
        let lost = lines
            .iter()
            .filter_map(|line| line.strip_suffix(" lines were lost here: the database did not take them in time"));
        let lost: usize = lost.map(|many| many.parse::<usize>().expect("a number")).sum();
        assert_eq!(said + lost, 2_000, "log {log}: {said} lines were stored, {lost} were lost");
        assert!((600..1_600).contains(&said), "log {log} has its share: {said} lines");
        let end = if log < 32 { &["it continues", "it went well"][..] } else { &["it failed"][..] };
        assert!(lines.ends_with(&end.iter().map(ToString::to_string).collect::<Vec<_>>()), "log {log} ends otherwise");
    }
}

/// Asserts that statements are halved until the database accepts them. The database times out for statements above 300
/// kB and rejects one line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_are_halved_until_the_database_takes_them() {
    let database = database().await;
    let mut db = database.connect().await;
    let refuse = "create function refuse() returns trigger language plpgsql as $$ begin
            if (select sum(octet_length(body)) from sent) > 300000 then
                raise exception 'too slow' using errcode = 'query_canceled';
            end if;
            if exists (select from sent where body like '%poison%') then
                raise exception 'refused' using errcode = 'data_exception';
            end if;
            return null;
        end $$;
        create trigger refuse after insert on log_chunk referencing new table as sent
            for each statement execute function refuse();";
    sqlx::raw_sql(refuse).execute(&mut db).await.expect("a trigger");
    let (shipper, shipping) = shipping(connect::cold(&database.url(), "test", 2).expect("the URL parses"));
    let (chatty, log) = attempt(&shipper);
    let text = "x".repeat(1_000);
    for _ in 0..2_000 {
        log.say(&line(&text));
    }
    let (refused, log) = attempt(&shipper);
    log.say(&line("poison"));
    log.say(&line("lost with it"));
    log.close(None);
    let (quiet, log) = attempt(&shipper);
    log.say(&line("hello"));

    let (budget, stop) = (shipper.budget.clone(), CancellationToken::new());
    let mut work = JoinSet::new();
    work.spawn(shipping.ship_until_stopped(stop.clone()));
    shipped(&budget, 0).await;
    stop.cancel();
    work.join_all().await;
    let lines = stored(&mut db, &chatty).await;
    assert!(lines.len() == 2_000 && lines.iter().all(|line| *line == text), "{} lines", lines.len());
    assert_eq!(stored(&mut db, &refused).await, ["2 lines were lost here: the database refused them"]);
    assert_eq!(stored(&mut db, &quiet).await, ["hello"]);
}
