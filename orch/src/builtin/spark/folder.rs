//! A folder per attempt for Spark's configuration, readable only by the worker's user. It is deleted with the
//! attempt; folders of killed workers are deleted by a later attempt.

use crate::TaskResult;
use anyhow::Context as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PREFIX: &str = "orch-spark-";
/// Lock file that the worker holds while it needs the folder.
const LOCK: &str = "lock";
/// Minimum age of a folder that can be swept. A younger one may not be locked yet.
const YOUNG: Duration = Duration::from_mins(1);

pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    pub(super) fn make(attempt: &str) -> TaskResult<Folder> {
        let all = std::env::temp_dir();
        sweep(&all);
        let path = all.join(format!("{PREFIX}{attempt}"));
        // Removes the folder of a worker that was lost while it ran this attempt.
        fs::remove_dir_all(&path).ok();
        let problem = || format!("cannot make the folder `{}`", path.display());
        DirBuilder::new().mode(0o700).create(&path).with_context(problem)?;
        let lock = File::create(path.join(LOCK)).and_then(|lock| lock.lock().map(|()| lock)).with_context(problem)?;
        Ok(Folder { path, _lock: lock })
    }

    /// Writes a file and returns its path.
    pub(super) fn write(&self, name: &str, content: &str) -> TaskResult<String> {
        let path = self.path.join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(content.as_bytes()));
        written.with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(path.display().to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).ok(); // a later attempt sweeps it
    }
}

/// Removes the folders whose workers no longer run.
fn sweep(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let is_young =
            || entry.metadata().and_then(|of| of.modified()).is_ok_and(|at| at.elapsed().is_ok_and(|age| age < YOUNG));
        if is_ours && !is_young() && File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}
