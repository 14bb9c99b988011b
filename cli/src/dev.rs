//! `orch dev`: a standalone whose worker is the binary of a project. When a watched file of the project changes, the
//! project is built, and the worker of the new binary takes over. The previous worker retires, which interrupts no run
//! (`orch_workers`). Database, scheduler and web server keep running, because they load no code of users.
//!
//! If a build fails, or its worker does not start, the current worker continues.

mod cargo;
mod watched;

pub(crate) use cargo::Project;

use crate::staff::{Staff, WorkerEnvironment};
use orch_binary::failure::Failure;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use watched::{Files, Watch};

/// Poll interval. No notification of file changes works on every file system.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Folder in the data folder with copies of the binary, because the next build overwrites the original.
const COPIES: &str = "dev";

/// Builds and runs the project until `stop`, then stops its workers.
pub(crate) async fn run_project(
    project: Project,
    place: WorkerEnvironment,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let mut staff = Staff::new(project.name.clone(), place).with_copies(COPIES)?;
    let mut watch = Watch::default();
    while !stop.is_cancelled() {
        if let Some(changed) = watch.poll_changes(scan(&project).await?) {
            tokio::select! {
                done = build(&project, &mut staff, &changed) => done?,
                () = stop.cancelled() => break,
            }
            watch.adopt_lock_files(&scan(&project).await?);
        }
        staff.look_after().await?;
        tokio::select! { () = tokio::time::sleep(LOOK_AGAIN) => {}, () = stop.cancelled() => {} }
    }
    staff.stop().await;
    Ok(())
}

/// Returns the current state of the watched files.
async fn scan(project: &Project) -> Result<Files, Failure> {
    let folders = project.watched.clone();
    let scanned = tokio::task::spawn_blocking(move || Files::of(&folders)).await;
    scanned.map_err(|error| Failure::new(format!("reading the files of the project panicked: {error}")))
}

async fn build(project: &Project, staff: &mut Staff, changed: &[PathBuf]) -> Result<(), Failure> {
    let began = Instant::now();
    match changed {
        [] => eprintln!("building `{}`", project.name),
        [one] => eprintln!("{} changed: building", project.relative_path(one)),
        [one, rest @ ..] => eprintln!("{} and {} more changed: building", project.relative_path(one), rest.len()),
    }
    match project.build().await? {
        Some(binary) => staff.take_over(&binary, began).await,
        None => {
            let who =
                staff.at_work().map_or_else(|| "no worker is running".into(), |name| format!("{name} stays at work"));
            eprintln!("it does not build: {who}; save again to build again");
            Ok(())
        }
    }
}
