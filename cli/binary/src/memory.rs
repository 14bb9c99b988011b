//! Returns unused memory to the operating system. glibc keeps freed memory in arenas that few threads share: after a
//! start or a peak, it was half of the memory of an idle process (docs/DECISIONS.md).

use std::time::Duration;

/// Interval between checks. It is short, so that memory that one task has freed is available for the next one.
const EVERY: Duration = Duration::from_millis(500);
/// Change of the process size since the last trim that triggers the next one. A process that has shrunk is past a peak,
/// and glibc returns little of that memory by itself.
const WORTH_BYTES: u64 = 8 << 20;

/// Allocations of at least this size get their own mapping, which is returned when it is freed. By default, glibc
/// raises this threshold up to 32 MB once such an allocation is freed; from then on, columns of a million rows would
/// fragment the arenas.
const OWN_MAPPING_BYTES: i32 = 2 << 20;

/// Configures the allocator. Server processes call this first.
pub(crate) fn set_up() {
    glibc::map_pieces_of(OWN_MAPPING_BYTES);
}

/// Trims the heap periodically, as long as the process lives.
pub(crate) async fn give_back() {
    let mut left = 0;
    loop {
        tokio::time::sleep(EVERY).await;
        if resident_bytes().is_some_and(|now| now.abs_diff(left) > WORTH_BYTES) {
            // Trimming locks all arenas one after the other, which takes some milliseconds after a peak.
            tokio::task::spawn_blocking(glibc::trim).await.ok();
            left = resident_bytes().unwrap_or_default();
        }
    }
}

fn resident_bytes() -> Option<u64> {
    status_bytes("self", "VmRSS:")
}

/// Returns a size from the status of a process in bytes. `None` if there is no `/proc`, as on macOS.
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
        // SAFETY: `malloc_trim` has no pointer arguments and may be called from any thread at any time.
        unsafe { malloc_trim(0) };
    }

    pub(super) fn map_pieces_of(bytes: i32) {
        // SAFETY: glibc validates the value, which applies only to later allocations.
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

    /// A single test, because a second one would run concurrently and change the measured memory.
    #[test]
    fn what_was_freed_between_what_lives_is_given_back() {
        set_up();
        let large = || vec![1_u8; 9 << 20];
        drop(large());
        // A small allocation after each large one would keep the end of an arena in use.
        let (large, small): (Vec<_>, Vec<_>) = (0..8).map(|_| (large(), vec![1_u8; 2048])).unzip();
        let before = resident();
        drop(large);
        let after = resident();
        assert!(after + 60_000_000 < before, "{before} bytes became {after}");
        drop(small);

        // Free all small allocations but the last ten, so that the heap cannot shrink at its end.
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
