//! Published queries over a month of three million trips. Requests are sent at a fixed rate, independent of the
//! responses.

use crate::place::{catalog, folder, lake_called};
use crate::taxi;
use anyhow::{Context, Result, ensure};
use orch_bench::process::Processes;
use orch_bench::{Bench, Figure, pause, percentile};
use orch_dags::common::nyc::month::Month;
use sqlx::{Connection as _, PgConnection};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

pub(crate) const KEY: &str = "orch_bench_serving";
/// Catalog name that `standalone` uses.
pub(crate) const LAKE: &str = "orch";
/// Number of clients, each with one connection: more than are ever busy at the same time.
const CLIENTS: usize = 32;
/// All requests of the first load are identical.
const CACHED_PER_S: usize = 200;
const DISTINCT_PER_S: usize = 20;

pub(crate) fn load(bench: &mut Bench) -> Result<Vec<Figure>> {
    let (seconds, trips) = (bench.times(20, 3), bench.times(3_000_000, 100_000) as u64);
    let (url, files, warehouse) = (catalog(bench)?, folder(bench, "serving")?, bench.data().data().join("lake"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let lake = lake_called(LAKE, &url, &warehouse).await?;
        taxi::one_month(&lake, &files, Month::parse(taxi::MONTH)?, trips).await?;
        add_key(&url, "serving").await
    })?;
    let server = Server::start(bench, "serving")?;

    let first_day = "2025-02-03T00:00:00".parse::<chrono::NaiveDateTime>()?;
    let recent = |minute: usize| {
        let at = first_day + chrono::Duration::minutes(minute as i64);
        format!("/api/v1/trips/recent?as_of={}&hours_back=6&limit=100", at.format("%Y-%m-%dT%H:%M:%S"))
    };
    let page = |offset: usize| {
        let day = 3 + offset % 20;
        format!("/api/v1/trips?start_date=2025-02-{day:02}&end_date=2025-02-{day:02}&limit=100&offset={offset}")
    };
    server.ask(&recent(0))?;
    let cached = server.requests(CACHED_PER_S, seconds * CACHED_PER_S, |_| recent(0))?;
    let distinct = server.requests(DISTINCT_PER_S, seconds * DISTINCT_PER_S, |number| {
        if number % 2 == 0 { recent(number + 1) } else { page(number) }
    })?;
    let peak = Processes::of(server.child.id())?.peak_mb()?;
    let figure = |name, took: &[f64], rate: usize| {
        let (p50, worst) = (percentile(took, 0.5), percentile(took, 1.0));
        let figure =
            Figure::new(name, percentile(took, 0.95), took.len()).with("requests_per_s", rate).with("rows", trips);
        figure.with("p50_ms", p50).with("worst_ms", worst)
    };
    Ok(vec![
        figure("serving_cached_p95_ms", &cached, CACHED_PER_S),
        figure("serving_distinct_p95_ms", &distinct, DISTINCT_PER_S),
        Figure::new("serving_rss_mb", peak, 1).with("rows", trips),
    ])
}

pub(crate) async fn add_key(url: &str, scope: &str) -> Result<()> {
    let mut db = PgConnection::connect(url).await?;
    let add = "insert into api_token (token_hash, user_name, name, generation, created_at, scope)
        select sha256(convert_to($1, 'utf8')), name, 'the bench', generation, now(), $2 from api_user where role = 'admin' limit 1
        on conflict (token_hash) do update set scope = excluded.scope";
    let added = sqlx::query(add).bind(KEY).bind(scope).execute(&mut db).await?;
    ensure!(added.rows_affected() == 1, "there is no admin");
    Ok(())
}

/// A server of the bundle on the running installation: `serving` or `catalog`.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(bench: &Bench, name: &str) -> Result<Server> {
        let mut command = bench.data().command(&[name, "--port", "0"])?;
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(child.stderr.take().context("its errors")?);
        let mut server = Server { child, address: String::new() };
        let mut all = String::new();
        while server.address.is_empty() {
            let from = all.len();
            ensure!(said.read_line(&mut all)? > 0, "`{name}` ended:\n{all}");
            if let Some((_, address)) = all[from..].split_once(" is up: ") {
                address.trim_end().clone_into(&mut server.address);
            }
        }
        server.child.stderr = Some(said.into_inner());
        Ok(server)
    }

    fn ask(&self, path: &str) -> Result<()> {
        ask(&agent(), &format!("{}{path}", self.address))
    }

    /// Sends `count` requests at this rate. Returns the milliseconds from the scheduled time of each request to its
    /// response.
    fn requests(&self, per_second: usize, count: usize, path: impl Fn(usize) -> String + Sync) -> Result<Vec<f64>> {
        let start = Instant::now() + Duration::from_millis(100);
        let client = |first: usize| -> Result<Vec<f64>> {
            let agent = agent();
            let mut took = Vec::with_capacity(count / CLIENTS + 1);
            for number in (first..count).step_by(CLIENTS) {
                let due = start + Duration::from_secs_f64(number as f64 / per_second as f64);
                pause::pause(due.saturating_duration_since(Instant::now()))?;
                ask(&agent, &format!("{}{}", self.address, path(number)))?;
                took.push(due.elapsed().as_secs_f64() * 1e3);
            }
            Ok(took)
        };
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|first| scope.spawn(move || client(first))).collect();
            let mut took = Vec::with_capacity(count);
            for client in clients {
                took.extend(client.join().map_err(|_| anyhow::anyhow!("a client of the bench panicked"))??);
            }
            Ok(took)
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("a server cannot be stopped: {error}");
        }
    }
}

pub(crate) fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
    config.timeout_global(Some(Duration::from_secs(30))).build().into()
}

fn ask(agent: &ureq::Agent, url: &str) -> Result<()> {
    let mut answer = agent.get(url).header("x-api-key", KEY).call().with_context(|| url.to_owned())?;
    let text = answer.body_mut().read_to_string()?;
    ensure!(answer.status() == 200, "{url}: {} {text}", answer.status());
    Ok(())
}
