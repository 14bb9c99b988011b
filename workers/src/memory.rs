//! Memory of process families, measured by polling. Polling needs no privileges, and the limit applies to all
//! descendants of a task together. Counts anonymous memory and mapped shared memory, each page once. Without `/proc`,
//! there is no limit.

use crate::family;
use nix::unistd::Pid;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Poll interval. A family may exceed its limit for this long; a process can allocate about 100 MB in this time.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const KB_PER_MB: u64 = 1024;

tokio::task_local! {
    /// Memory limit for programs that the currently polled task function starts.
    pub(crate) static LIMIT: Arc<Limit>;
}

/// Memory limit for all programs of a task function.
#[derive(Debug)]
pub(crate) struct Limit {
    most_mb: u32,
    was_exceeded: AtomicBool,
}

impl Limit {
    pub(crate) fn new(most_mb: u32) -> Arc<Limit> {
        Arc::new(Limit { most_mb, was_exceeded: AtomicBool::new(false) })
    }

    pub(crate) fn was_exceeded(&self) -> bool {
        self.was_exceeded.load(Ordering::Relaxed)
    }
}

/// Waits until a family exceeds the memory limit of its task function, and returns the reason. Without a limit, waits
/// forever.
pub(crate) async fn exceeded(root: Option<Pid>) -> String {
    let Ok(limit) = LIMIT.try_with(Arc::clone) else { return std::future::pending().await };
    let used_mb = more_than(root, limit.most_mb).await;
    limit.was_exceeded.store(true, Ordering::Relaxed);
    cause(used_mb, limit.most_mb)
}

pub(crate) fn cause(used_mb: u64, most_mb: u32) -> String {
    format!("its processes had {used_mb} MB in memory, more than its `memory_mb` of {most_mb}")
}

/// Waits until a family uses more than `most_mb`, and returns its memory use in MB.
pub(crate) async fn more_than(root: Option<Pid>, most_mb: u32) -> u64 {
    let Some(root) = root else { return std::future::pending().await };
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let most_kb = u64::from(most_mb) * KB_PER_MB;
        let used = tokio::task::spawn_blocking(move || family_kb(root, most_kb)).await;
        let used_mb = used.unwrap_or(0) / KB_PER_MB;
        if used_mb > u64::from(most_mb) {
            return used_mb;
        }
    }
}

/// Returns the memory use of a family in kB, without mapped files. Only exact if it is above `most_kb`.
fn family_kb(root: Pid, most_kb: u64) -> u64 {
    let all: Vec<Pid> = family::descendants(root).into_iter().chain([root]).collect();
    // This sum counts a shared page once per process, so it is an upper bound. Processes that have ended count as 0.
    let resident = all.iter().filter_map(|process| resident_kb(*process)).sum();
    if resident <= most_kb {
        return resident;
    }
    // The exact measurement is slow: the kernel walks the page tables, which takes about 10 ms per GB.
    all.iter().filter_map(|process| proportional_kb(*process).or_else(|| resident_kb(*process))).sum()
}

fn resident_kb(process: Pid) -> Option<u64> {
    sum_of(process, "status", ["RssAnon:", "RssShmem:"])
}

/// Like `resident_kb`, but a page that n processes map counts 1/n. Returns `None` if the kernel does not report it.
fn proportional_kb(process: Pid) -> Option<u64> {
    sum_of(process, "smaps_rollup", ["Pss_Anon:", "Pss_Shmem:"])
}

/// Returns the sum of two fields, in kB, of a file in `/proc/<pid>`.
fn sum_of(process: Pid, file: &str, fields: [&str; 2]) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    Some(field(fields[0])? + field(fields[1]).unwrap_or(0))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_this_process_is_seen() {
        let root = nix::unistd::getpid();
        let before = family_kb(root, u64::MAX);
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = family_kb(root, u64::MAX);
        assert!(after >= before + 48 * 1024, "{before} kB, with 64 MB more {after} kB");
        let exact = family_kb(root, 0);
        assert!(exact >= 48 * 1024, "{exact} kB of {after} kB");
        drop(held);
    }
}
