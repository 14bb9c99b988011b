//! Random hostile values through every input of an installation. No process may end, every request must get a response
//! in time that is not a server error, memory must stay within a budget, and tasks of another DAG must keep their pace.

mod chain;
mod doors;
mod values;

use crate::client::{JSON, Login, send};
use crate::installation::Installation;
use doors::{Case, Doors, TARGET, dag_file, stream_file};
use orch_test_support::rng::Rng;
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use values::Values;

/// Seed of `make test`. Long runs use a random seed and print it; `TORTURE_SEED` overrides it.
const USUAL_SEED: u64 = 58;
/// Number of cases per round. A third of them are files, which the installation reads before the next round starts.
const ROUND: usize = 120;
const FILES: usize = ROUND / 6;
/// Budget for the memory of the server, its bundle and their queries, beyond what they have before the first hostile value.
const MAX_RISE_MB: u64 = 256;
/// Maximum median gap between two tasks of the chain, as a multiple of the median with ordinary values.
const MAX_RATIO: f64 = 1.5;
/// The limit for `make test`, where each median is of a few hundred gaps and builds may run at the same time.
const MAX_RATIO_OF_SHORT_TESTS: f64 = 3.0;

#[expect(clippy::disallowed_methods, reason = "tests have no other settings, and each long run uses another seed")]
fn settings() -> (usize, u64, f64) {
    let is_long = std::env::var_os("ORCH_TEST_LONG").is_some();
    let asked = std::env::var("TORTURE_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    let chosen = if is_long { now.as_nanos() as u64 % 1_000_000 } else { USUAL_SEED };
    let seed = asked.unwrap_or(chosen);
    if is_long { (10_000, seed, MAX_RATIO) } else { (1_000, seed, MAX_RATIO_OF_SHORT_TESTS) }
}

struct Phase<'a> {
    installation: &'a Installation,
    login: &'a Login,
    doors: &'a Doors,
    values: Values,
    /// Requests without a response, or with a server error.
    failures: Vec<String>,
}

impl Phase<'_> {
    /// Sends requests, two at a time.
    async fn send_all(&mut self, cases: Vec<Case>) {
        let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let sender = async || {
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                let failure = match send(self.installation.address, &case.bytes).await {
                    Ok(reply) if reply.status == 401 && !case.is_login => "the login was lost".into(),
                    Ok(reply) if reply.status < 500 => continue,
                    Ok(reply) => format!("{} {}", reply.status, reply.body.chars().take(300).collect::<String>()),
                    Err(why) => why,
                };
                failures.lock().unwrap().push(format!("{}\n  {failure}", case.label));
            }
        };
        // Two senders keep both cores of a small machine busy.
        tokio::join!(sender(), sender());
        self.failures.append(&mut failures.into_inner().unwrap());
    }

    async fn run(&mut self, cases: usize) {
        let kind = if self.values.are_hostile { "hostile" } else { "ordinary" };
        for round in 0..cases.div_ceil(ROUND) {
            for slot in 0..FILES {
                for (name, bytes) in [dag_file(slot, &mut self.values), stream_file(slot, &mut self.values)] {
                    self.installation.put(&name, bytes);
                }
            }
            // The folder is read in the order of the names, so these files come last.
            let sentinel = format!("zz_{kind}_{round}");
            let dag = json!({ "dag_id": sentinel, "tasks": { "a": { "value": 1 } } });
            self.installation.put("zz.json", dag.to_string());
            let table = format!("hostile.{sentinel}");
            let stream = json!({ "topic": "zz", "fields": { "n": "number" }, "table": table });
            let file = format!("{sentinel}.stream.yaml");
            self.installation.put(&file, stream.to_string());
            let numbers = 0..ROUND - 2 * FILES;
            let requests = numbers.map(|number| self.doors.request(number, &mut self.values)).collect();
            self.send_all(requests).await;
            self.installation.until_registered(&sentinel, self.login).await;
            let path = format!("/api/orch/v1/streams/{sentinel}");
            let is_read = self.installation.eventually(&path, async || {
                let reply = self.installation.get(&path, self.login).await;
                if reply.status == 200 { Ok(()) } else { Err(format!("{reply:?}")) }
            });
            is_read.await;
            std::fs::remove_file(self.installation.dags_folder().join(&file)).unwrap();
            // A hostile file can be a valid DAG, so its runs are triggered here.
            let triggers = (0..FILES).map(|slot| {
                let path = format!("/api/v2/dags/file_{slot}/dagRuns");
                self.doors.case("POST", &path, JSON, br#"{"logical_date":null}"#)
            });
            self.send_all(triggers.collect()).await;
        }
    }
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_values_harm_nothing_but_their_own_request() {
    let (cases, seed, max_ratio) = settings();
    eprintln!("seed {seed}: {cases} cases");
    let mut installation = Installation::start().await;
    let login = installation.log_in("admin").await;
    chain::register(&installation, &login).await;
    let doors = Doors::open(&installation, &login).await;
    let processes = installation.processes();
    let bundle = processes.bundle().expect("the bundle runs");

    let mut medians = Vec::new();
    let mut before = 0;
    for are_hostile in [false, true] {
        let rng = Rng::new(seed).part(if are_hostile { "hostile" } else { "ordinary" });
        let values = Values { rng, are_hostile };
        let mut phase =
            Phase { installation: &installation, login: &login, doors: &doors, values, failures: Vec::new() };
        let stop = AtomicBool::new(false);
        let work = async {
            phase.run(cases).await;
            stop.store(true, Ordering::SeqCst);
        };
        let began = std::time::Instant::now();
        let both = async { tokio::join!(work, chain::gaps(&installation, &login, &stop)).1 };
        let (gaps, peak) = processes.peak_during(both).await;
        eprintln!(
            "hostile {are_hostile}: {:?}, {} gaps, median {:.1} ms, p95 {:.1} ms, peak {peak} MB",
            began.elapsed(),
            gaps.len(),
            median(&gaps),
            gaps[gaps.len() * 95 / 100],
        );
        let failures = phase.failures;
        assert!(failures.is_empty(), "seed {seed}: {} failures:\n{}", failures.len(), failures.join("\n"));
        medians.push(median(&gaps));
        if are_hostile {
            assert!(peak <= before + MAX_RISE_MB, "seed {seed}: {before} MB rose to {peak} MB");
        }
        before = processes.resident_mb();
    }
    // Runs with hostile params must finish like others. Runs for a future date are excluded.
    let open =
        "select count(*) from dag_run where dag_id = $1 and state in ('queued', 'running') and run_after <= now()";
    let ended = installation.eventually("the runs with hostile params end", async || {
        let mut db = installation.db.connect().await;
        let count: i64 = sqlx::query_scalar(open).bind(TARGET).fetch_one(&mut db).await.unwrap();
        if count == 0 { Ok(()) } else { Err(format!("{count} runs are left")) }
    });
    ended.await;
    installation.assert_alive();
    assert_eq!(processes.bundle(), Some(bundle), "seed {seed}: the bundle ended:\n{}", installation.said());
    assert!(medians[0] > 0.0, "the chain takes time");
    let ratio = medians[1] / medians[0];
    assert!(
        ratio <= max_ratio,
        "seed {seed}: the median gap of the chain grew from {:.1} to {:.1} ms",
        medians[0],
        medians[1]
    );
}
