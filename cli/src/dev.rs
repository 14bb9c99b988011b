//! `orch dev`: a standalone whose worker is the binary of a project. The project's files are watched; when one changes it is
//! built, and if it builds, its worker takes over: the one before retires, which cuts no run short (`orch_workers`). Database,
//! scheduler and web stay as they are: they load no code of users.
//!
//! What does not build, or does not come to work, changes nothing: whoever is at work goes on.

mod cargo;
mod watched;

pub(crate) use cargo::Project;

use crate::staff::{Staff, WorkerEnvironment};
use orch_binary::failure::Failure;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use watched::{Files, Watch};

/// Files have no event that works everywhere.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// In the data folder: the next build replaces the original.
const COPIES: &str = "dev";

/// Builds and runs the project until `stop`; then its workers end, too.
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

/// Returns the watched files of the project as they are now.
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
