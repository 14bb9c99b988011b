//! The environment of a measurement, stored with each result.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::Result;
use chrono::Utc;
use serde_json::{Value, json};
use sqlx::Connection as _;

use super::server::{DataDir, Server};

pub(crate) type Settings = BTreeMap<&'static str, Value>;

pub(crate) fn of_machine(data: &DataDir, quick: bool) -> Settings {
    #[expect(clippy::disallowed_methods, reason = "the date is for a reader of the file")]
    let date = Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let load = load();
    if load > cpus as f64 / 4.0 {
        eprintln!("the machine is busy already (load {load}): figures will be worse than they could be");
    }
    BTreeMap::from([
        ("load", json!(load)),
        ("date", json!(date)),
        ("cpus", json!(cpus)),
        ("cpu", json!(cpu_model())),
        ("profile", json!(profile)),
        ("revision", json!(revision())),
        ("filesystem", json!(filesystem(data))),
        ("quick", json!(quick)),
    ])
}

/// Reads the version and settings of the server.
pub(crate) fn of_server(server: &Server) -> Result<Settings> {
    let words = ["server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers"];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut db = orch_store::connect::one(&server.database_url, "orch bench").await?;
        let mut settings = Settings::new();
        for word in words {
            let value: String = sqlx::query_scalar("select current_setting($1)").bind(word).fetch_one(&mut db).await?;
            settings.insert(if word == "server_version" { "postgres" } else { word }, json!(value));
        }
        db.close().await?;
        Ok(settings)
    })
}

/// Returns the load average of the last minute.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// Returns the commit of the build, marked with `+` if files differ from it.
fn revision() -> String {
    let git = |arguments: &[&str]| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(revision) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".into() };
    // The results are in a file of the repository, which always changes.
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ":!bench/results.json"]);
    if changed.is_some_and(|files| !files.is_empty()) { format!("{revision}+") } else { revision }
}

/// Returns the type of the file system, which shows if commits reach a disk.
fn filesystem(data: &DataDir) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let folder = data.root().canonicalize().unwrap_or_else(|_| data.root().to_owned());
    let of_folder = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        folder.starts_with(point).then_some((point.len(), kind))
    });
    of_folder.max().map_or_else(|| "unknown".into(), |(_, kind)| kind.to_owned())
}
