//! The `copy_files` task. Each file appears at its destination completely or not at all. A retry continues where the
//! failed attempt stopped: files that already exist with the same size and time are not copied again.
//!
//! Storage backends implement the trait `FilePlace`, so object stores can be added.

use super::operator::Operator;
use crate::{BoxFuture, Call, Ctx, TaskResult, fatal};
use anyhow::{Context, bail};
use orch_workers::outside::files::{check_parts, check_path, find_matches};
use serde::{Deserialize, Serialize};
use std::fs::{File, FileTimes};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// Maximum number of bytes between two checks for cancellation.
const PIECE: usize = 1 << 20;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyFiles {
    /// An absolute path. `*` and `?` match characters within one path component.
    pub from: String,
    /// Destination folder, created if it does not exist. Files keep their names.
    pub to: String,
    /// Fails the task if no file matches.
    #[serde(default)]
    pub required: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOutput {
    /// Paths of the files at the destination, in order, including files that existed already.
    pub files: Vec<String>,
    /// Number of files that this attempt copied.
    pub copied: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    pub path: String,
    pub bytes: u64,
    pub modified: SystemTime,
}

/// A storage backend with files: this machine, or an object store.
pub trait FilePlace: Send + Sync + 'static {
    /// Returns the files that match a pattern, in order. Logs a warning to `ctx` for each file that must not be read.
    fn list(&self, pattern: &str, ctx: &Ctx) -> TaskResult<Vec<FileEntry>>;

    fn find(&self, path: &str) -> TaskResult<Option<FileEntry>>;

    fn read(&self, path: &str) -> TaskResult<Box<dyn Read + Send>>;

    /// Writes all of `from` to a path, with this modification time. Atomic: readers see the complete file or none,
    /// and nothing is left behind if `from` fails.
    fn write(&self, path: &str, from: &mut dyn Read, modified: SystemTime) -> TaskResult<()>;
}

/// The files of this machine.
#[derive(Debug, Clone, Copy)]
pub struct LocalFiles;

impl FilePlace for LocalFiles {
    fn list(&self, pattern: &str, ctx: &Ctx) -> TaskResult<Vec<FileEntry>> {
        check_path(Path::new(pattern)).map_err(fatal)?;
        let found = find_matches(Path::new(pattern)).with_context(|| format!("cannot look for `{pattern}`"))?;
        for link in found.outside {
            ctx.warning(format!("`{}` is a link out of the folder of `{pattern}` and is not copied", link.display()));
        }
        let entries = found.paths.into_iter().map(|path| self.find(&path.to_string_lossy()));
        Ok(entries.collect::<TaskResult<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn find(&self, path: &str) -> TaskResult<Option<FileEntry>> {
        let facts = match std::fs::metadata(path) {
            Ok(facts) => facts,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot look at `{path}`")),
        };
        let modified = facts.modified()?;
        Ok(facts.is_file().then(|| FileEntry { path: path.into(), bytes: facts.len(), modified }))
    }

    fn read(&self, path: &str) -> TaskResult<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(path).with_context(|| format!("cannot read `{path}`"))?))
    }

    fn write(&self, path: &str, from: &mut dyn Read, modified: SystemTime) -> TaskResult<()> {
        let part = PathBuf::from(format!("{path}.orch-part"));
        let written = (|| -> TaskResult<()> {
            if let Some(folder) = Path::new(path).parent() {
                std::fs::create_dir_all(folder)?;
            }
            // Removes the partial file of an earlier attempt. A symlink at this path is removed, not followed.
            std::fs::remove_file(&part).ok();
            let mut file = File::create_new(&part)?;
            std::io::copy(from, &mut file)?;
            file.flush()?;
            file.set_times(FileTimes::new().set_modified(modified))?;
            file.sync_all()?;
            std::fs::rename(&part, path)?;
            Ok(())
        })();
        if written.is_err() {
            std::fs::remove_file(&part).ok(); // the file may not exist
        }
        written.with_context(|| format!("cannot write `{path}`"))
    }
}

#[track_caller]
pub fn copy_files<'d>(copy: CopyFiles) -> Call<'d, CopyOutput> {
    copy.call()
}

impl CopyFiles {
    pub fn new(from: &str, to: &str) -> CopyFiles {
        CopyFiles { from: from.into(), to: to.into(), required: false }
    }

    /// Fails the task if no file matches.
    #[must_use]
    pub fn required(mut self) -> CopyFiles {
        self.required = true;
        self
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Copies the matching files one by one. Blocks.
///
/// # Errors
/// Returns an error at the first file that cannot be copied. Files that were copied before are kept.
pub fn transfer(
    from: &dyn FilePlace,
    to: &dyn FilePlace,
    what: &CopyFiles,
    ctx: &Ctx,
    stop: &AtomicBool,
) -> TaskResult<CopyOutput> {
    check_parts(Path::new(&what.to)).map_err(fatal)?;
    let found = from.list(&what.from, ctx)?;
    if found.is_empty() && what.required {
        bail!("no file fits `{}`", what.from);
    }
    let mut output = CopyOutput { files: Vec::new(), copied: 0, bytes: 0 };
    for entry in found {
        let name = Path::new(&entry.path).file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| fatal(format!("`{}` has no name", entry.path)))?;
        let target = format!("{}/{name}", what.to.trim_end_matches('/'));
        let there = to.find(&target)?;
        if there.is_none_or(|there| (there.bytes, there.modified) != (entry.bytes, entry.modified)) {
            let mut source = Stoppable { from: from.read(&entry.path)?, stop };
            to.write(&target, &mut source, entry.modified)?;
            output.copied += 1;
            output.bytes += entry.bytes;
            ctx.info(format!("copied `{}` to `{target}`", entry.path));
        }
        output.files.push(target);
        ctx.progress(output.files.len() as u64, output.bytes);
    }
    Ok(output)
}

/// A reader that fails as soon as the task is stopped.
struct Stoppable<'a> {
    from: Box<dyn Read + Send>,
    stop: &'a AtomicBool,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, piece: &mut [u8]) -> std::io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("cancelled"));
        }
        let most = piece.len().min(PIECE);
        self.from.read(&mut piece[..most])
    }
}

async fn go(copy: CopyFiles, ctx: &Ctx) -> TaskResult<CopyOutput> {
    let stop = Arc::new(AtomicBool::new(false));
    // Stops the copying thread even if this future is dropped: a blocking thread cannot be cancelled and would
    // outlive its task.
    let _stopped = StopOnDrop(stop.clone());
    let told = ctx.clone();
    let stopping = stop.clone();
    let mut copying = tokio::task::spawn_blocking(move || transfer(&LocalFiles, &LocalFiles, &copy, &told, &stopping));
    tokio::select! {
        done = &mut copying => done?,
        () = ctx.cancelled() => {
            stop.store(true, Ordering::Relaxed);
            copying.await?
        }
    }
}

impl Operator for CopyFiles {
    const KIND: &'static str = "copy_files";
    type Output = CopyOutput;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<CopyOutput>> {
        Box::pin(async move { go(self, &ctx).await })
    }
}
