//! Memory and CPU time of a process and its children, with Postgres counted separately. Reads `/proc`, so Linux only.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Unit of times in `/proc`; the same on every Linux that orch supports.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub struct Processes {
    orch: Vec<u32>,
    postgres: Vec<u32>,
}

impl Processes {
    /// Finds a process and all its descendants.
    pub fn of(pid: u32) -> Result<Self> {
        let mut children: BTreeMap<u32, Vec<(u32, String)>> = BTreeMap::new();
        let entries = Path::new("/proc").read_dir().context("this row needs /proc")?;
        for entry in entries.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // The process has ended meanwhile, so it does not belong to the idle installation.
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            if let Some((name, parent)) = name_and_parent(&stat) {
                children.entry(parent).or_default().push((pid, name.to_owned()));
            }
        }
        let mut found = Processes { orch: vec![pid], postgres: Vec::new() };
        let mut open = vec![(pid, false)];
        while let Some((parent, in_postgres)) = open.pop() {
            for (pid, name) in children.get(&parent).into_iter().flatten() {
                let is_postgres = in_postgres || name == "postgres";
                if is_postgres { &mut found.postgres } else { &mut found.orch }.push(*pid);
                open.push((*pid, is_postgres));
            }
        }
        Ok(found)
    }

    /// Returns the resident memory of orch without Postgres.
    pub fn rss_mb(&self) -> Result<f64> {
        self.orch.iter().map(|pid| status_mb(*pid, "VmRSS:")).sum()
    }

    /// Returns the peak resident memory of orch since the last [`forget_peak`].
    pub fn peak_mb(&self) -> Result<f64> {
        self.orch.iter().map(|pid| status_mb(*pid, "VmHWM:")).sum()
    }

    /// Returns the CPU time so far, of orch and of Postgres.
    pub fn cpu_seconds(&self) -> (f64, f64) {
        let sum = |pids: &[u32]| pids.iter().map(|pid| cpu_seconds(*pid)).sum::<f64>();
        (sum(&self.orch), sum(&self.postgres))
    }
}

/// Returns the peak resident memory of one process, without its children.
pub fn peak_of(pid: u32) -> Result<f64> {
    status_mb(pid, "VmHWM:")
}

/// Resets the peak resident memory of a process.
pub fn forget_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    std::fs::write(&path, "5").with_context(|| format!("cannot write `{path}`"))
}

fn name_and_parent(stat: &str) -> Option<(&str, u32)> {
    let (start, rest) = stat.rsplit_once(')')?;
    let (_, name) = start.split_once('(')?;
    let parent = rest.split_whitespace().nth(1)?.parse().ok()?;
    Some((name, parent))
}

fn status_mb(pid: u32, field: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let Some(kilobytes) = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()) else {
        bail!("`{path}` does not say {field}");
    };
    Ok(kilobytes / 1024.0)
}

/// Returns the CPU time of all threads. `schedstat` is more precise but does not count threads that have ended.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // User and system time: fields 14 and 15 of the file.
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u32>().ok());
    f64::from(ticks.sum::<u32>()) / TICKS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        assert_eq!(name_and_parent("7 (a) b) S 42 7 7"), Some(("a) b", 42)));
        assert_eq!(name_and_parent("garbage"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory_and_time() {
        let processes = Processes::of(std::process::id()).unwrap();
        assert!(processes.rss_mb().unwrap() > 0.1);
        assert!(processes.peak_mb().unwrap() >= processes.rss_mb().unwrap() * 0.5);
        let end = std::time::Instant::now() + std::time::Duration::from_millis(50);
        while std::time::Instant::now() < end {
            std::hint::black_box(0);
        }
        assert!(processes.cpu_seconds().0 > 0.0);
    }
}
