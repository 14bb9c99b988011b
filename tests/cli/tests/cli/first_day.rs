//! Runs all code blocks of `docs/guides/first-day.md` as one shell script.

use crate::binary::command;
use orch_test_support::TestDb;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

const GUIDE: &str = include_str!("../../../../docs/guides/first-day.md");

#[tokio::test]
async fn the_first_day_goes_as_the_guide_says() {
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let db = TestDb::new(&orch_store::MIGRATOR).await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let orch = command(home.path());
    symlink(orch.get_program(), home.path().join("orch")).unwrap();
    let blocks = GUIDE.split("```bash\n").skip(1).filter_map(|rest| rest.split("```").next());
    let script = blocks
        .fold("set -euxo pipefail\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n".to_string(), |all, block| {
            all + block
        });
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).env_clear().envs(orch.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", home.path().display()));
    shell.env("DATABASE_URL", db.url()).env("METRICS_PORT", port.to_string()).stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || shell.output()).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}\n{err}");
    for told in ["3 orders", "the shop is down", "distributed", "orch_scheduler_rounds_total"] {
        assert!(out.contains(told), "{told}: {out}\n{err}");
    }
    let (before, after) = out.rsplit_once("dag_id").unwrap();
    assert!(before.contains("upgraded") || err.contains("upgraded"), "{out}\n{err}");
    assert!(after.contains("distributed") && !after.contains("upgraded"), "{after}\n{err}");
}
