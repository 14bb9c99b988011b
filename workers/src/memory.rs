//! What a family of processes has in memory, read now and then: no privilege is needed for that, and the limit holds for
//! everything that descends from the task. Where there is no `/proc` no limit is kept.

use crate::family;
use nix::unistd::Pid;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What grows faster than the limit in this time is seen when it is there; a process takes some 100 MB in it.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const KB_PER_MB: u64 = 1024;

tokio::task_local! {
    /// The limit for programs that the body that is being polled starts.
    pub(crate) static LIMIT: Arc<Limit>;
}

/// How much the programs of a body may have in memory.
#[derive(Debug)]
pub(crate) struct Limit {
    most_mb: u32,
    was_exceeded: AtomicBool,
}

impl Limit {
    pub(crate) fn new(most_mb: u32) -> Arc<Limit> {
        Arc::new(Limit { most_mb, was_exceeded: AtomicBool::new(false) })
    }

    /// Whether it ended a program.
    pub(crate) fn was_exceeded(&self) -> bool {
        self.was_exceeded.load(Ordering::Relaxed)
    }
}

/// Returns why, when a family has more in memory than the limit of its body. Without a limit it never returns.
pub(crate) async fn exceeded(root: Option<Pid>) -> String {
    let Ok(limit) = LIMIT.try_with(Arc::clone) else { return std::future::pending().await };
    let used_mb = more_than(root, limit.most_mb).await;
    limit.was_exceeded.store(true, Ordering::Relaxed);
    cause(used_mb, limit.most_mb)
}

pub(crate) fn cause(used_mb: u64, most_mb: u32) -> String {
    format!("its processes had {used_mb} MB in memory, more than its `memory_mb` of {most_mb}")
}

/// Returns when the family has more than `most_mb`: how much.
pub(crate) async fn more_than(root: Option<Pid>, most_mb: u32) -> u64 {
    let Some(root) = root else { return std::future::pending().await };
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // A few small reads for each process.
        let used = tokio::task::spawn_blocking(move || family_kb(root)).await;
        let used_mb = used.unwrap_or(0) / KB_PER_MB;
        if used_mb > u64::from(most_mb) {
            return used_mb;
        }
    }
}

/// What is resident and not shared with others' files counts.
fn family_kb(root: Pid) -> u64 {
    let all = family::descendants(root).into_iter().chain([root]);
    // One that has ended meanwhile has no memory.
    all.filter_map(private_kb).sum()
}

fn private_kb(process: Pid) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    Some(field("RssAnon:")? + field("RssShmem:").unwrap_or(0))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_this_process_is_seen() {
        let root = nix::unistd::getpid();
        let before = family_kb(root);
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = family_kb(root);
        assert!(after >= before + 48 * 1024, "{before} kB, with 64 MB more {after} kB");
        drop(held);
    }
}
