//! Ten million old rows go in seconds, and whoever claims or reads meanwhile does not notice. An ordinary test has a
//! million; `ORCH_TEST_LONG=1` has them all.

use crate::fixture::{Hands, chain, database, one, register, trigger};
use crate::old::{MONDAY, NEXT_MONDAY, at, old_runs};
use orch_core::state::TaskState;
use orch_store::clean::{Cleaned, Goes, Table, Wish, clean};
use orch_store::run::{RunFilter, list_runs};
use orch_store::version::Versions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MILLION: i64 = 1_000_000;

#[expect(
    clippy::disallowed_methods,
    reason = "how much is tested is said in the environment, as of the other long tests"
)]
fn rows() -> i64 {
    if std::env::var_os("ORCH_TEST_LONG").is_some() { 10 * MILLION } else { MILLION }
}

/// The slowest, and the one that all but one in a hundred are faster than.
fn slowest(mut took: Vec<Duration>) -> (Duration, Duration) {
    took.sort_unstable();
    (took[took.len() - 1], took[took.len() * 99 / 100])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_old_rows_go_in_seconds_and_nobody_waits() {
    let database = database().await;
    let mut db = one(&database).await;
    let mut versions = Versions::default();
    sqlx::query("set statement_timeout = 0").execute(&mut db).await.unwrap();
    let many = rows();
    for week in [MONDAY, NEXT_MONDAY] {
        old_runs(&mut db, "old", week, 1_000).await;
        // All of the week's first run: as many elements of a mapped task.
        let text = "insert into task_instance (run, attempt, map_index, task, try_no, max_tries, lease_no, state)
            select r.id, r.id, i, 1, 1, 1, 1, 'success'
            from (select id from dag_run where id >= uuid_of_moment($1) order by id limit 1) r, generate_series(0, $2 / 2 - 1) i";
        sqlx::query(text).bind(at(week)).bind(many).execute(&mut db).await.unwrap();
    }
    let registered = register(&mut db, &[chain("new", 1)]).await;
    let offers: Vec<i32> = registered.iter().map(|one| one.version_id).collect();
    let mut hands = Hands::new(&database, &offers, Duration::from_mins(5)).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let (over, url) = (is_over.clone(), database.url());
    let cleaning = async {
        let mut db = orch_store::connect::one(&url, "test").await.unwrap();
        let wish = Wish::of(&[Table::DagRun], at("2024-09-01T00:00:00Z"), Goes::Archived, "test");
        let mut weeks = 0;
        let began = Instant::now();
        clean(&mut db, &wish, &mut |done: &Cleaned| weeks += u32::from(done.how == "archived" && done.week.is_some()))
            .await
            .unwrap();
        over.store(true, Ordering::Relaxed);
        (began.elapsed(), weeks)
    };
    let working = async {
        let (mut claims, mut pages) = (Vec::new(), Vec::new());
        // Some before, so that plans are made and pages are read.
        for round in 0.. {
            if is_over.load(Ordering::Relaxed) && round > 200 {
                break;
            }
            trigger(&mut db, &mut versions, "new").await;
            let began = Instant::now();
            let claimed = hands.claim(1).await;
            claims.push(began.elapsed());
            assert!(hands.end(claimed[0].lease, TaskState::Success).await);
            let began = Instant::now();
            list_runs(&mut db, &RunFilter::default(), 50).await.unwrap();
            pages.push(began.elapsed());
        }
        (slowest(claims), slowest(pages))
    };
    let ((took, weeks), (claims, pages)) = tokio::join!(cleaning, working);
    eprintln!("{many} old rows: gone in {took:.1?}; claims (slowest, p99) {claims:.1?}, pages {pages:.1?}");
    assert!(weeks >= 2, "task instances of two weeks were cut off");
    assert!(took < Duration::from_secs(15), "it took {took:?}");
    // A lock is asked for a quarter of a second at most; nobody waits longer than that, and nearly nobody at all.
    assert!(claims.0 < Duration::from_secs(1) && pages.0 < Duration::from_secs(1), "{claims:?} {pages:?}");
    assert!(claims.1 < Duration::from_millis(250) && pages.1 < Duration::from_millis(250), "{claims:?} {pages:?}");
}
