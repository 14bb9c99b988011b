//! The cost of many open pages: 500 followers of a live log and of its run, 50 of which read almost nothing, while
//! chains run as in the row without followers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::http::{Browser, between};
use super::process::{self, Processes};
use super::server::PASSWORD;
use super::{Bench, Figure, api, latency, pause, stats};

const FOLLOWERS: usize = 500;
const SLOW: usize = 50;
const OF_ONE_USER: usize = 50;
/// Number of page requests that are measured meanwhile.
const PAGES: usize = 40;

#[derive(Default)]
struct FollowerCounters {
    bytes: AtomicU64,
    opened: AtomicUsize,
    lines: AtomicU64,
    ended: AtomicUsize,
}

pub(crate) fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let repetitions = bench.times(15, 5);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(8_192).max(soft), hard)?;
    bench.fresh()?;
    let alone = stats::median(&latency::chain_gaps(bench, "chain100", repetitions)?);

    let server = bench.running()?;
    let pid = server.pid();
    let seconds = 60 + 2 * repetitions;
    let talk = server.api.trigger("talk", &json!({ "seconds": seconds }))?;
    let mut browser = Browser::log_in(&server.url, PASSWORD)?;
    let run = format!("/dags/talk/runs/{}", api::encode(&talk.run_id));
    let log =
        pause::until("waiting for the task that talks", Duration::from_millis(50), Duration::from_secs(20), || {
            let page = browser.text(&format!("{run}/tasks/talk"))?;
            Ok(page
                .contains("attempt=")
                .then(|| between(&page, "data-live=\"", "\"").map(|path| path.replace("&#38;", "&"))))
        })??;
    process::forget_peak(pid)?;
    let heard = Arc::new(FollowerCounters::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut followers = JoinSet::new();
    // The number of streams per user is limited.
    let people = (0..FOLLOWERS / OF_ONE_USER).map(|number| person(bench, number)).collect::<Result<Vec<_>>>()?;
    for number in 0..FOLLOWERS {
        let path = if number % 2 == 0 { log.clone() } else { format!("{run}/events") };
        let (host, cookie, heard) = (browser.host().to_owned(), people[number % people.len()].clone(), heard.clone());
        let slow = number % (FOLLOWERS / SLOW) == 0;
        followers.spawn_on(async move { follow(&host, &path, &cookie, slow, &heard).await }, runtime.handle());
    }
    pause::until("waiting for the followers", Duration::from_millis(50), Duration::from_secs(30), || {
        Ok((heard.opened.load(Ordering::Relaxed) == FOLLOWERS).then_some(()))
    })?;
    let before = heard.lines.load(Ordering::Relaxed);
    let beside = stats::median(&latency::chain_gaps(bench, "chain100", repetitions)?);
    let mut took = Vec::new();
    browser.reconnect()?;
    for _ in 0..PAGES {
        took.push(browser.get("/")?.took_ms);
    }
    let lines = heard.lines.load(Ordering::Relaxed) - before;
    ensure!(lines > 0, "the followers heard no line");
    ensure!(heard.ended.load(Ordering::Relaxed) == 0, "{} streams ended", heard.ended.load(Ordering::Relaxed));
    let peak = Processes::of(pid)?.peak_mb()?;
    drop(followers);
    drop(runtime);
    bench.stop()?;
    Ok(vec![
        Figure::new("followers500_gap_p50_ms", beside, repetitions)
            .with("without_followers_ms", alone)
            .with("events_heard", lines)
            .with("home_p95_ms", stats::percentile(&took, 0.95)),
        // All roles run in this process; the web role alone needs less memory.
        Figure::new("followers500_rss_mb", peak, 1).with("mb_read", heard.bytes.load(Ordering::Relaxed) / 1_000_000),
    ])
}

/// Creates a viewer, logs in and returns the session cookie.
fn person(bench: &mut Bench, number: usize) -> Result<String> {
    let name = format!("follower{number}");
    let words = ["users", "create", "-u", &name, "-r", "viewer", "--use-random-password"];
    let made = bench.data().command(&words)?.output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let password = String::from_utf8(made.stdout)?;
    Ok(Browser::log_in_as(&name, &bench.running()?.url, password.trim())?.cookie().to_owned())
}

/// Reads an event stream, immediately or very slowly.
async fn follow(host: &str, path: &str, cookie: &str, slow: bool, heard: &FollowerCounters) -> Result<()> {
    let mut stream = TcpStream::connect(host).await?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\ncookie: {cookie}\r\naccept: text/event-stream\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut buffer = vec![0; 64 * 1024];
    let first = stream.read(&mut buffer).await?;
    ensure!(buffer[..first].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..first.min(300)]));
    heard.opened.fetch_add(1, Ordering::Relaxed);
    loop {
        let most = if slow { 64 } else { buffer.len() };
        let read = stream.read(&mut buffer[..most]).await.context("a stream broke")?;
        if read == 0 {
            heard.ended.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        heard.bytes.fetch_add(read as u64, Ordering::Relaxed);
        let events = buffer[..read].windows(7).filter(|window| window == b"event: ").count();
        heard.lines.fetch_add(events as u64, Ordering::Relaxed);
        if slow {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }
}
