//! What a group of processes has in memory, by looking now and then: no privilege is needed for that, and the limit holds
//! for all that the group starts. Where there is no `/proc` nobody looks.

use nix::unistd::Pid;
use std::path::Path;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(250);
const KB_PER_MB: u64 = 1024;

/// Returns when the group has more than `most_mb`: how much.
pub(super) async fn more_than(group: Option<Pid>, most_mb: u32) -> u64 {
    let Some(group) = group else { return std::future::pending().await };
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // Some thousand small reads on a busy machine.
        let used = tokio::task::spawn_blocking(move || group_kb(Path::new("/proc"), group.as_raw())).await;
        let used_mb = used.unwrap_or(0) / KB_PER_MB;
        if used_mb > u64::from(most_mb) {
            return used_mb;
        }
    }
}

/// What is resident and not shared with others' files counts.
fn group_kb(proc: &Path, group: i32) -> u64 {
    let Ok(entries) = std::fs::read_dir(proc) else { return 0 };
    let is_process = |name: &str| name.bytes().all(|b| b.is_ascii_digit());
    let processes = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_process));
    // One that has ended meanwhile has no memory.
    processes.filter_map(|entry| private_kb(&entry.path(), group)).sum()
}

fn private_kb(process: &Path, group: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    if group_of(&stat)? != group {
        return None;
    }
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    Some(field("RssAnon:")? + field("RssShmem:").unwrap_or(0))
}

/// The third word behind the name, which may hold anything, also brackets.
fn group_of(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_hides_no_group() {
        assert_eq!(group_of("7 (a) b (c) S 1 4242 9 0 -1"), Some(4242));
        assert_eq!(group_of("nonsense"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_memory_of_ones_own_group_is_seen() {
        let group = nix::unistd::getpgrp().as_raw();
        let before = group_kb(Path::new("/proc"), group);
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = group_kb(Path::new("/proc"), group);
        assert!(after >= before + 60 * 1024, "{before} kB, with 64 MB more {after} kB");
        drop(held);
    }
}
