//! Process families: a process (the root) and all its descendants, as listed by the kernel.
//!
//! A process that left the root's process group or session is also found while the root is alive and a subreaper,
//! because orphans become its children. If the root was killed, its descendants are found by a marker in their
//! environment. If the kernel keeps no list of children (not Linux, or built without it), only process groups are
//! killed.

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::fs::{read, read_dir, read_to_string};

/// Environment variable with the unique marker of a family. Descendants inherit it unless they clear their environment.
pub(crate) const MARK: &str = "ORCH_FAMILY";
/// Maximum number of rounds, each of which kills all processes that it finds. Stops killing a family that forks faster.
const MOST_ROUNDS: usize = 1_000;

/// Returns the running descendants of a process, without the process itself.
pub(crate) fn descendants(root: Pid) -> Vec<Pid> {
    let (mut found, mut next) = (Vec::new(), 0);
    found.extend(children(root));
    while let Some(&process) = found.get(next) {
        found.extend(children(process));
        next += 1;
    }
    found.retain(|process| is_alive(*process));
    found
}

/// Sends a signal to every descendant of a process.
pub(crate) fn signal(root: Pid, signal: Signal) {
    for process in descendants(root) {
        kill(process, signal).ok(); // the process may have ended meanwhile
    }
}

/// Kills every descendant of a process that adopts orphans, until none is left.
pub(crate) fn kill_descendants(root: Pid) {
    kill_until_none(|| descendants(root));
}

fn kill_until_none(find: impl Fn() -> Vec<Pid>) {
    for _ in 0..MOST_ROUNDS {
        let living = find();
        if living.is_empty() {
            return;
        }
        for process in living {
            kill(process, Signal::SIGKILL).ok(); // the process may have ended meanwhile
        }
        std::thread::yield_now();
    }
    tracing::warn!("processes of a task start others faster than they can be killed");
}

/// Kills a child of this process, its process group and all its descendants. The child must not have been waited for,
/// because its PID could then belong to another process.
pub(crate) fn kill_all(root: Pid) {
    // A stopped process cannot fork, but still adopts the orphans of killed descendants.
    kill(root, Signal::SIGSTOP).ok();
    kill_descendants(root);
    killpg(root, Signal::SIGKILL).ok();
    kill(root, Signal::SIGKILL).ok();
}

/// Kills all processes with this marker in their environment, until none is left. Needed after the root of a family was
/// killed, because the kernel then no longer lists its descendants.
pub(crate) fn kill_marked(mark: &str) {
    let entry = format!("{MARK}={mark}");
    kill_until_none(|| marked(entry.as_bytes()));
}

fn marked(entry: &[u8]) -> Vec<Pid> {
    let Ok(processes) = read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|process| process.file_name().to_str()?.parse().ok().map(Pid::from_raw));
    let has_entry = |environment: Vec<u8>| environment.split(|byte| *byte == 0).any(|variable| variable == entry);
    // The kernel reports an empty environment for a process that has ended.
    pids.filter(|pid| read(format!("/proc/{pid}/environ")).is_ok_and(has_entry)).collect()
}

fn children(process: Pid) -> Vec<Pid> {
    let Ok(threads) = read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .map(Pid::from_raw)
        .collect()
}

/// Returns true if the process exists and is not a zombie.
fn is_alive(process: Pid) -> bool {
    read_to_string(format!("/proc/{process}/stat"))
        .ok()
        .and_then(|stat| state_of(&stat))
        .is_some_and(|state| !"ZX".contains(state))
}

/// Returns the first word after the process name. The name may contain any characters, including parentheses.
fn state_of(stat: &str) -> Option<char> {
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_hides_no_state() {
        assert_eq!(state_of("7 (a) b (c) Z 1 4242 9 0 -1"), Some('Z'));
        assert_eq!(state_of("nonsense"), None);
    }
}
