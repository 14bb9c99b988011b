//! The worker of the bundle beside a standalone. It starts when its binary exists, restarts after it has exited, and is
//! replaced when the binary was rebuilt. Its failures do not stop the standalone.

use crate::staff::{Staff, WorkerEnvironment};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use orch_binary::beside::{Beside, Facts, facts};
use orch_binary::failure::Failure;
use orch_web::BundleState;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;

/// Poll interval for the binary and the progress of its build, because no notification of file changes works on every
/// file system. The exit of a worker is notified (`Staff::has_changed`).
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Extension of a file beside the binary that exists while it is built. It contains `<pid> <built> <all>`, counted in
/// crates.
const PROGRESS: &str = "building";

/// Runs workers until `stop`, then stops them.
pub(crate) async fn run_worker(
    beside: Beside,
    place: WorkerEnvironment,
    state: Sender<BundleState>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let mut staff = Staff::new(beside.name(), place);
    let say = |now: BundleState| {
        state.send_if_modified(|said| {
            let is_news = *said != now;
            *said = now;
            is_news
        });
    };
    while !stop.is_cancelled() {
        let found = facts(&beside.path).ok();
        if let Some(found) = found.filter(|found| should_start(&staff, *found)) {
            say(BundleState::Starting { name: beside.name() });
            tokio::select! {
                started = staff.take_over(&beside.path, Instant::now()) => tell(started),
                () = stop.cancelled() => break,
            }
            tracing::debug!(?found, bundle = %beside.path.display(), "the bundle was started");
        }
        tell(staff.look_after().await);
        say(state_of(&beside, &staff, found));
        tokio::select! {
            () = staff.has_changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = stop.cancelled() => {}
        }
    }
    staff.stop().await;
    Ok(())
}

/// Returns true for a new binary, and for one that could not be started before. `Staff` itself restarts a binary that
/// has exited.
fn should_start(staff: &Staff, found: Facts) -> bool {
    staff.is_new(found) || (staff.at_work().is_none() && staff.last_end().is_none())
}

fn tell(done: Result<(), Failure>) {
    if let Err(failure) = done {
        tracing::warn!(failure = failure.line(), "the worker of the bundle could not be started; it is tried again");
    }
}

fn state_of(beside: &Beside, staff: &Staff, found: Option<Facts>) -> BundleState {
    let name = beside.name();
    if staff.at_work().is_some() {
        return BundleState::AtWork;
    }
    if let Some(percent) = percent_built(&beside.path) {
        return BundleState::Building { name, percent };
    }
    match (staff.last_end(), found) {
        (Some(how), _) => BundleState::Ended { name, how: how.into() },
        (None, Some(_)) => BundleState::Starting { name },
        (None, None) if beside.is_named => BundleState::Missing { path: beside.path.display().to_string() },
        (None, None) => BundleState::None,
    }
}

/// Returns the progress of the build in percent. `None` if no build is running.
fn percent_built(binary: &Path) -> Option<u8> {
    let note = std::fs::read_to_string(binary.with_extension(PROGRESS)).ok()?;
    let mut words = note.split_whitespace();
    let (pid, built, all) = (words.next()?.parse().ok()?, number(words.next()?)?, number(words.next()?)?);
    kill(Pid::from_raw(pid), None).ok()?;
    u8::try_from((built * 100).checked_div(all)?.min(99)).ok()
}

fn number(text: &str) -> Option<u64> {
    text.parse::<u32>().ok().map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_says_how_far_it_is_while_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("orch-pipelines");
        let note = |text: &str| std::fs::write(binary.with_extension(PROGRESS), text).unwrap();
        assert_eq!(percent_built(&binary), None);
        let own = std::process::id();
        note(&format!("{own} 361 722"));
        assert_eq!(percent_built(&binary), Some(50));
        note(&format!("{own} 722 722"));
        assert_eq!(percent_built(&binary), Some(99), "it is not there yet");
        for broken in [format!("{own} 0 0"), format!("{own} 3"), "x".into(), String::new(), "2000000000 1 2".into()] {
            note(&broken);
            assert_eq!(percent_built(&binary), None, "{broken}");
        }
    }
}
