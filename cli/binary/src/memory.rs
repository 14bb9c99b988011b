//! Gives memory back that nobody uses. glibc keeps what many threads freed, each in an arena of its own: after a start or
//! a peak half of an idle process was such memory (docs/DECISIONS.md).

use std::time::Duration;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);
/// So much more than after the last time is worth the faults of taking it again.
const WORTH_BYTES: u64 = 8 << 20;

/// Looks for as long as the process lives.
pub(crate) async fn give_back() {
    let mut left = 0;
    loop {
        tokio::time::sleep(EVERY).await;
        if resident_bytes().is_some_and(|now| now > left + WORTH_BYTES) {
            // It takes the locks of all arenas one after the other, some milliseconds after a peak.
            tokio::task::spawn_blocking(trim).await.ok();
            left = resident_bytes().unwrap_or(u64::MAX / 2);
        }
    }
}

fn resident_bytes() -> Option<u64> {
    status_bytes("self", "VmRSS:")
}

/// What a line of a process's status says. `None` where there is no `/proc`, as on macOS.
pub(crate) fn status_bytes(pid: &str, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a call of glibc without a safe form")]
fn trim() {
    // SAFETY: no arguments to get wrong, and it may be called from any thread at any time.
    unsafe { nix::libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_between_what_lives_is_given_back() {
        // Small pieces, every other one kept: the heap cannot shrink at its end.
        let mut pieces: Vec<Option<Vec<u8>>> = (0..40_000).map(|_| Some(vec![1; 2048])).collect();
        let kept = pieces.split_off(39_990);
        drop(pieces);
        let before = resident_bytes().expect("there is a /proc");
        trim();
        let after = resident_bytes().expect("there is a /proc");
        assert!(after + 40_000_000 < before, "{before} bytes became {after}");
        drop(kept);
    }
}
