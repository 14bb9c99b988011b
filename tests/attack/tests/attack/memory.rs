//! Resident memory of a server and its child processes.

use orch_test_support::attack::status_mb;
use std::fs;
use std::time::Duration;

const BUNDLE: &str = "orch-bundle-under-attack";
/// Command of a process that runs one query and exits.
const QUERY: &str = "answer-queries";
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessTree {
    pub(crate) server: u32,
}

impl ProcessTree {
    /// Returns the resident memory in MB without file-backed pages: the system can drop them at any time, and the first
    /// use of any code adds some.
    pub(crate) fn resident_mb(self) -> u64 {
        self.pids().into_iter().filter_map(|pid| status_mb(pid, "RssAnon:")).sum()
    }

    /// Returns the bundle process of the server.
    pub(crate) fn bundle(self) -> Option<u32> {
        let command = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        self.pids().into_iter().find(|pid| {
            let command = command(*pid);
            command.contains(BUNDLE) && !command.contains(QUERY)
        })
    }

    fn pids(self) -> Vec<u32> {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let all: Vec<(u32, u32)> = entries
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
                let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
                Some((pid, parent.trim().parse().ok()?))
            })
            .collect();
        let mut tree = vec![self.server];
        let mut next = 0;
        while let Some(parent) = tree.get(next).copied() {
            tree.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| pid));
            next += 1;
        }
        tree
    }

    /// Returns the result of `work`, and the peak memory in MB while it ran.
    pub(crate) async fn peak_during<T>(self, work: impl Future<Output = T>) -> (T, u64) {
        let mut peak = self.resident_mb();
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return (done, peak.max(self.resident_mb())),
                () = tokio::time::sleep(SAMPLE_EVERY) => peak = peak.max(self.resident_mb()),
            }
        }
    }
}
