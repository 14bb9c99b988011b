//! Gives unused memory back to the system. glibc keeps what threads have freed, in an arena for each few threads: after a start or
//! a peak, half of an idle process was such memory (docs/DECISIONS.md).

use std::time::Duration;

/// The time between two checks. It is short, so that a task gets back what the task before it has freed.
const EVERY: Duration = Duration::from_millis(500);
/// Memory is given back once the process has grown or shrunk by this much since the last time. After it has shrunk, a peak is over, and
/// glibc returns little of that by itself.
const WORTH_BYTES: u64 = 8 << 20;

/// An allocation of at least this size gets its own mapping, which is returned when it is freed. glibc would raise this limit to 32 MB
/// once such an allocation is freed; from then on, columns of a million rows would lie in the arenas and leave holes there.
const OWN_MAPPING_BYTES: i32 = 2 << 20;

/// A server process calls this first.
pub(crate) fn set_up() {
    glibc::map_pieces_of(OWN_MAPPING_BYTES);
}

/// Runs for as long as the process lives.
pub(crate) async fn give_back() {
    let mut left = 0;
    loop {
        tokio::time::sleep(EVERY).await;
        if resident_bytes().is_some_and(|now| now.abs_diff(left) > WORTH_BYTES) {
            // Trimming takes the locks of all arenas one after the other. After a peak that takes some milliseconds.
            tokio::task::spawn_blocking(glibc::trim).await.ok();
            left = resident_bytes().unwrap_or_default();
        }
    }
}

fn resident_bytes() -> Option<u64> {
    status_bytes("self", "VmRSS:")
}

/// Returns a value of a process's status. `None` if there is no `/proc`, as on macOS.
pub(crate) fn status_bytes(pid: &str, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "calls of glibc without a safe form")]
mod glibc {
    use nix::libc::{M_MMAP_THRESHOLD, malloc_trim, mallopt};

    pub(super) fn trim() {
        // SAFETY: no arguments to get wrong, and it may be called from any thread at any time.
        unsafe { malloc_trim(0) };
    }

    pub(super) fn map_pieces_of(bytes: i32) {
        // SAFETY: a number glibc checks itself, for pieces that are asked for from now on.
        unsafe { mallopt(M_MMAP_THRESHOLD, bytes) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod glibc {
    pub(super) fn trim() {}

    pub(super) fn map_pieces_of(_: i32) {}
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    fn resident() -> u64 {
        resident_bytes().expect("there is a /proc")
    }

    /// One test, since a second one beside it would be seen in its figures.
    #[test]
    fn what_was_freed_between_what_lives_is_given_back() {
        set_up();
        let large = || vec![1_u8; 9 << 20];
        drop(large());
        // A small piece after each large one: in an arena they would hold its end up.
        let (large, small): (Vec<_>, Vec<_>) = (0..8).map(|_| (large(), vec![1_u8; 2048])).unzip();
        let before = resident();
        drop(large);
        let after = resident();
        assert!(after + 60_000_000 < before, "{before} bytes became {after}");
        drop(small);

        // Small pieces, every other one kept: the heap cannot shrink at its end.
        let mut pieces: Vec<Option<Vec<u8>>> = (0..40_000).map(|_| Some(vec![1; 2048])).collect();
        let kept = pieces.split_off(39_990);
        drop(pieces);
        let before = resident();
        glibc::trim();
        let after = resident();
        assert!(after + 40_000_000 < before, "{before} bytes became {after}");
        drop(kept);
    }
}
