//! Deletes ten million old rows while clients load pages, call the API and trigger runs: over real HTTP, with real
//! processes. By default it uses 300,000 rows; `ORCH_TEST_LONG=1` uses all.

use crate::clean::register_old;
use crate::live::{Browser, free_port, web};
use crate::remote;
use crate::world::World;
use sqlx::postgres::PgConnection;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Weeks of rows, the oldest first, each named by its Monday. A reader holds the tables open while the last week is
/// deleted.
const WEEKS: [&str; 6] = ["2024-07-01", "2024-07-08", "2024-07-15", "2024-07-22", "2024-07-29", "2024-08-05"];
const END_OF_ALL_BUT_ONE: &str = "2024-08-05";
const END: &str = "2024-08-12";
const RUNS_A_WEEK: i32 = 1_000;
/// Number of requests before the cleanup, as the baseline.
const BEFORE: usize = 300;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Seconds for which the reader holds the tables open.
const READER_SECS: f64 = 5.0;

/// Phases of the test.
const QUIET: u8 = 0;
const CLEANING: u8 = 1;
const BESIDE_A_READER: u8 = 2;
const OVER: u8 = 3;

#[expect(
    clippy::disallowed_methods,
    reason = "how much is tested is said in the environment, as of the other long tests"
)]
fn is_long() -> bool {
    std::env::var_os("ORCH_TEST_LONG").is_some()
}

fn rows() -> i64 {
    if is_long() { 10_000_000 } else { 300_000 }
}

/// Inserts runs of a week with two tasks each; the first task has enough elements for `rows` rows in total.
async fn fill(db: &mut PgConnection, week: &str, rows: i64) {
    for text in [
        "insert into dag_run (id, version, ledger_format, state, run_type, ledger, counters, dag_id, run_id, run_after, created_at,
           started_at, ended_at, triggered_by)
         select (substr(uuid_of_moment(at)::text, 1, 14) || '7000-8000-000000000000')::uuid, d.version, 1, 'success', 'manual', '{5}', '{}',
           'old', 'run_' || at, at, at, at, at, 'test'
         from dag d, generate_series(1, $3::integer) n, lateral (select $1::timestamptz + n * interval '1 minute' as at) m
         where d.dag_id = 'old' and $2::bigint > 0",
        "insert into task_instance (run, attempt, map_index, task, try_no, max_tries, lease_no, state)
         select id, id, i, 0, 1, 1, 1, 'success' from dag_run, generate_series(-1, 0) i
         where dag_id = 'old' and id >= uuid_of_moment($1::timestamptz) and id < uuid_of_moment($1::timestamptz + interval '1 week')
           and $2::bigint > 0 and $3::integer > 0",
        "insert into task_instance (run, attempt, map_index, task, try_no, max_tries, lease_no, state)
         select r.id, r.id, i, 0, 1, 1, 1, 'success'
         from (select id from dag_run where id >= uuid_of_moment($1::timestamptz) order by id limit 1) r,
           generate_series(1, $2::bigint - 2 * $3::integer) i",
    ] {
        sqlx::query(text).bind(week.to_owned() + "T00:00:00Z").bind(rows).bind(RUNS_A_WEEK).execute(&mut *db).await.unwrap();
    }
}

/// Duration of a request, its index, and the phase in which it was sent.
struct Sample {
    phase: u8,
    what: usize,
    took: Duration,
}

/// Sends requests until the phase is `OVER`.
fn keep_asking(phase: &AtomicU8, samples: &Mutex<Vec<Sample>>, mut ask: impl FnMut(usize) -> usize) {
    for number in 0.. {
        let began = (phase.load(Ordering::SeqCst), Instant::now());
        if began.0 == OVER {
            return;
        }
        let what = ask(number);
        samples.lock().unwrap().push(Sample { phase: began.0, what, took: began.1.elapsed() });
    }
}

/// Returns the median of each request in a phase, in ms.
fn middles(samples: &Mutex<Vec<Sample>>, phase: u8, most: usize) -> Vec<String> {
    let samples = samples.lock().unwrap();
    let of = |what: usize| {
        let all = samples.iter().filter(|sample| sample.phase == phase && sample.what == what);
        let mut took: Vec<Duration> = all.map(|sample| sample.took).collect();
        took.sort_unstable();
        format!("{:.1}", took.get(took.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3)
    };
    (0..most).map(of).collect()
}

/// Returns the number of samples of a phase and their median, 95th and 99th percentile and maximum, in ms.
fn figures(samples: &Mutex<Vec<Sample>>, phase: u8) -> (usize, [f64; 4]) {
    let samples = samples.lock().unwrap();
    let mut took: Vec<f64> =
        samples.iter().filter(|sample| sample.phase == phase).map(|sample| sample.took.as_secs_f64() * 1e3).collect();
    took.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        took.get((took.len() * percent / 100).min(took.len().saturating_sub(1))).copied().unwrap_or(0.0)
    };
    (took.len(), [at(50), at(95), at(99), at(100)])
}

/// Returns the requested paths. Runs that are being deleted are not requested.
fn addresses(token: &str) -> Vec<String> {
    let api = format!("authorization: Bearer {token}\r\n");
    [
        ("/", ""),
        ("/dags", ""),
        ("/dags/old/runs", ""),
        ("/dags/example_hello/runs/first", ""),
        ("/approvals", ""),
        ("/runs", ""),
        ("/api/v2/dags/example_hello/dagRuns/first/taskInstances", &*api),
        ("/workers", ""),
    ]
    .map(|(path, more)| format!("GET {path} HTTP/1.1\r\n{more}"))
    .to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_old_rows_go_while_pages_are_read_and_runs_are_triggered() {
    let mut world = World::new().await;
    // The scheduler's own retention pass must not delete the old weeks before the command does.
    for setting in ["ORCH_RUN_RETENTION", "ORCH_LOG_RETENTION"] {
        world.set(setting, "36500d");
    }
    world.begin_work();
    let port = free_port();
    web(&mut world, port);
    let mut db = world.db().await;
    let many = rows();
    register_old(&mut db).await;
    for week in WEEKS {
        sqlx::query("select make_partitions($1::timestamptz)").bind(week).execute(&mut db).await.unwrap();
        fill(&mut db, week, many / WEEKS.len() as i64).await;
    }
    assert_eq!(world.run(&["dags", "trigger", "example_hello", "--run-id", "first", "--wait"]).code, 0);
    let browser = Browser::log_in(port);
    let token = remote::token(&format!("http://127.0.0.1:{port}"));
    let addresses = addresses(&token);
    let run = format!(
        "POST /api/orch/v1/dags/test_counting/trigger HTTP/1.1\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
        content-length: 2\r\n"
    );

    let phase = AtomicU8::new(QUIET);
    let (pages, runs) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let clean = |before: &str| {
        let began = Instant::now();
        world.run(&["db", "clean", "--clean-before-timestamp", before, "--tables", "dag_run", "--yes"]).done();
        began.elapsed()
    };
    let (alone, beside) = std::thread::scope(|scope| {
        // Stops the clients even if an assertion fails.
        let over = EndsAsking(&phase);
        scope.spawn(|| {
            keep_asking(&phase, &pages, |number| {
                let what = number % addresses.len();
                let answer = browser.ask(&addresses[what], "");
                assert!(answer.starts_with("HTTP/1.1 200"), "{}: {answer}", addresses[what]);
                what
            });
        });
        scope.spawn(|| {
            keep_asking(&phase, &runs, |_| {
                let answer = browser.ask(&run, "{}");
                assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"success\""), "{answer}");
                0
            });
        });
        let alone = tokio::task::block_in_place(|| {
            while pages.lock().unwrap().len() < BEFORE || runs.lock().unwrap().len() < BEFORE {
                std::thread::park_timeout(LOOK_AGAIN);
            }
            phase.store(CLEANING, Ordering::SeqCst);
            clean(END_OF_ALL_BUT_ONE)
        });
        let mut reading = JoinSet::new();
        let beside = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let tables = "lock table task_instance, attempt, output, log_chunk in access share mode";
                for text in ["begin", tables] {
                    sqlx::query(text).execute(&mut db).await.unwrap();
                }
                reading.spawn(async move {
                    sqlx::query("select pg_sleep($1)").bind(READER_SECS).execute(&mut db).await.unwrap();
                    sqlx::query("commit").execute(&mut db).await.unwrap();
                });
            });
            phase.store(BESIDE_A_READER, Ordering::SeqCst);
            clean(END)
        });
        drop(over);
        (alone, beside)
    });

    let of = |name: &str, samples: &Mutex<Vec<Sample>>| {
        let found = [QUIET, CLEANING, BESIDE_A_READER].map(|phase| figures(samples, phase));
        for ((count, [p50, p95, p99, most]), when) in found.iter().zip(["before", "meanwhile", "beside a reader"]) {
            eprintln!(
                "{name:5} {when:15} {count:5} asked: {p50:6.1} {p95:6.1} {p99:6.1} {most:6.1} ms (p50, p95, p99, slowest)"
            );
        }
        found
    };
    eprintln!(
        "{many} old rows in {} weeks: gone in {alone:.1?}, the last week beside a reader in {beside:.1?}",
        WEEKS.len()
    );
    for (phase, when) in [(QUIET, "before"), (CLEANING, "meanwhile"), (BESIDE_A_READER, "beside a reader")] {
        eprintln!("{when:15} p50 of each page: {} ms", middles(&pages, phase, addresses.len()).join(" "));
    }
    let (pages, runs) = (of("pages", &pages), of("runs", &runs));
    let mut db = world.db().await;
    let left = "select relname::text from pg_class where relkind = 'r' and relname ~ '^task_instance_2024'";
    let left: Vec<String> = sqlx::query_scalar(left).fetch_all(&mut db).await.unwrap();
    assert_eq!(left, [""; 0], "partitions of all weeks are gone");
    let moved: i64 =
        sqlx::query_scalar("select count(*) from dag_run where dag_id = 'old'").fetch_one(&mut db).await.unwrap();
    assert_eq!(moved, 0);
    assert!(alone < Duration::from_mins(1) || !is_long(), "it took {alone:?}");
    assert!(
        beside.as_secs_f64() > READER_SECS / 2.0,
        "it waited for the reader, and nobody waited behind it: {beside:?}"
    );
    // Durations are only checked in long runs, which have the machine to themselves.
    for [before, meanwhile, beside] in [pages, runs].into_iter().filter(|_| is_long()) {
        assert!(before.0 >= 50 && beside.0 >= 50, "{} and {} were asked", before.0, beside.0);
        for (count, found) in [meanwhile, beside] {
            // The cleanup takes a share of the CPUs, and may block all requests once, for at most a quarter of a
            // second.
            let limits = [3.0 * before.1[1] + 150.0, 3.0 * before.1[2] + 400.0, before.1[3] + 3_000.0];
            let is_well = found[1..].iter().zip(limits).all(|(found, limit)| *found <= limit);
            assert!(is_well || count == 0, "{found:?} of {count}, before {:?}", before.1);
        }
    }
}

/// Stops the clients, also when a test fails.
struct EndsAsking<'a>(&'a AtomicU8);

impl Drop for EndsAsking<'_> {
    fn drop(&mut self) {
        self.0.store(OVER, Ordering::SeqCst);
    }
}
