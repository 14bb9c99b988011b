//! Memory of process families, measured by polling: that needs no privileges, and the limit applies to all descendants
//! of a task. Anonymous memory and mapped shared memory count, each page once. Without `/proc` there is no limit.

use crate::family;
use nix::unistd::Pid;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Poll interval. A limit may be exceeded for this long; a process allocates about 100 MB in this time.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const KB_PER_MB: u64 = 1024;

tokio::task_local! {
    /// The limit for programs that the task function being polled starts.
    pub(crate) static LIMIT: Arc<Limit>;
}

/// Memory limit for the programs of a task function.
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

/// Returns the reason once a family uses more memory than its task function may. Never returns without a limit.
pub(crate) async fn exceeded(root: Option<Pid>) -> String {
    let Ok(limit) = LIMIT.try_with(Arc::clone) else { return std::future::pending().await };
    let used_mb = more_than(root, limit.most_mb).await;
    limit.was_exceeded.store(true, Ordering::Relaxed);
    cause(used_mb, limit.most_mb)
}

pub(crate) fn cause(used_mb: u64, most_mb: u32) -> String {
    format!("its processes had {used_mb} MB in memory, more than its `memory_mb` of {most_mb}")
}

/// Waits until a family uses more than `most_mb`, and returns its memory in MB.
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

/// Returns the memory of a family in kB, without mapped files. Exact only above `most_kb`.
fn family_kb(root: Pid, most_kb: u64) -> u64 {
    let all: Vec<Pid> = family::descendants(root).into_iter().chain([root]).collect();
    // Counts a page once for each process that maps it. A process that has ended meanwhile counts nothing.
    let resident = all.iter().filter_map(|process| resident_kb(*process)).sum();
    if resident <= most_kb {
        return resident;
    }
    // The kernel walks the page tables for these numbers: about 10 ms per GB.
    all.iter().filter_map(|process| proportional_kb(*process).or_else(|| resident_kb(*process))).sum()
}

fn resident_kb(process: Pid) -> Option<u64> {
    sum_of(process, "status", ["RssAnon:", "RssShmem:"])
}

/// Like `resident_kb`, but a page that n processes map counts 1/n. `None` if the kernel does not report it.
fn proportional_kb(process: Pid) -> Option<u64> {
    sum_of(process, "smaps_rollup", ["Pss_Anon:", "Pss_Shmem:"])
}

/// Returns the sum of two fields in kB of a file below `/proc/<pid>`.
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
