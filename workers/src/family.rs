//! A process and everything that descends from it, as the kernel lists it. A process that left its group or its session
//! is found too, as long as the root is alive and a subreaper: orphans are then its children. If the root was killed, its
//! descendants are found by a mark in their environment.
//!
//! Where the kernel keeps no list of children (not Linux, or built without it) only process groups are left.

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::fs::{read, read_dir, read_to_string};

/// Environment variable with the mark of a family, which is unique. Descendants inherit it unless one of them clears its environment.
pub(crate) const MARK: &str = "ORCH_FAMILY";
/// A family that forks faster than it is killed is given up after so many rounds; each round kills all it finds.
const MOST_ROUNDS: usize = 1_000;

/// Descendants of the root that still run, without the root.
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

/// Sends a signal to every descendant.
pub(crate) fn signal(root: Pid, signal: Signal) {
    for process in descendants(root) {
        kill(process, signal).ok(); // it may have ended meanwhile
    }
}

/// Kills every descendant of a process that adopts orphans, until there is none.
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
            kill(process, Signal::SIGKILL).ok(); // it may have ended meanwhile
        }
        std::thread::yield_now();
    }
    tracing::warn!("processes of a task start others faster than they can be killed");
}

/// Kills a child of this process, its group and everything that descends from it. The child must not have been waited
/// for, else its number may belong to another process.
pub(crate) fn kill_all(root: Pid) {
    // Nothing new comes from a stopped process, and it still adopts the orphans of those that are killed.
    kill(root, Signal::SIGSTOP).ok();
    kill_descendants(root);
    killpg(root, Signal::SIGKILL).ok();
    kill(root, Signal::SIGKILL).ok();
}

/// Kills all processes with this mark in their environment, until there is none. For descendants of a root that was killed: the
/// kernel does not list them any more.
pub(crate) fn kill_marked(mark: &str) {
    let entry = format!("{MARK}={mark}");
    kill_until_none(|| marked(entry.as_bytes()));
}

fn marked(entry: &[u8]) -> Vec<Pid> {
    let Ok(processes) = read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|process| process.file_name().to_str()?.parse().ok().map(Pid::from_raw));
    let has_entry = |environment: Vec<u8>| environment.split(|byte| *byte == 0).any(|variable| variable == entry);
    // The environment of a process that has ended is empty.
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

/// Whether it is there and more than an exit code that was not asked for.
fn is_alive(process: Pid) -> bool {
    read_to_string(format!("/proc/{process}/stat"))
        .ok()
        .and_then(|stat| state_of(&stat))
        .is_some_and(|state| !"ZX".contains(state))
}

/// The first word after the name, which may hold anything, also brackets.
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
