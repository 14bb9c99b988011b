//! Reads the files of one kind in a folder. Only changed files are read; a broken file keeps its last valid version.

mod scan;

use crate::file::MAX_FILE_BYTES;
use orch_spec::check::FileProblem;
use scan::{FolderScan, Stamp, scan};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Delay after which a changed file is read again. Timestamps of file systems are coarse, so a second write may have
/// the same timestamp as the first.
const SETTLES_IN: Duration = Duration::from_secs(2);

/// Timeout for reading one file. Its thread is then abandoned, and the file has an import error until it changes.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of abandoned reader threads per folder. While this many threads hang, no other changed file is read.
const MAX_ABANDONED: usize = 8;

/// Problems by file.
pub type Broken = BTreeMap<String, Vec<FileProblem>>;

/// Parses a file. The arguments are its name below the folder, its path and its bytes.
type FileParser<T> = dyn Fn(&str, &Path, &[u8]) -> Result<T, Vec<FileProblem>> + Send + Sync;

/// The content of a file; `None` if neither its bytes nor its related files have changed.
type ParsedFile<T> = Option<Result<T, Vec<FileProblem>>>;

/// Identifies the content of a file: a hash of its bytes, and the related files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Fingerprint {
    bytes_hash: u64,
    /// The files that the content depends on, for example scripts. `None` if the file does not exist.
    related: Vec<(PathBuf, Option<Stamp>)>,
}

impl Fingerprint {
    fn has_changed_files(&self) -> bool {
        self.related.iter().any(|(path, stamp)| Stamp::at(path) != *stamp)
    }
}

/// Returns the paths of files that the content of a file depends on.
type RelatedFiles = fn(&str, &Path, &[u8]) -> Vec<PathBuf>;

/// The last read version of a file.
pub struct CachedFile<T> {
    stamp: Stamp,
    /// When the file is read again.
    settles_at: Option<Instant>,
    fingerprint: Fingerprint,
    pub took: Duration,
    /// The content of its last valid version.
    pub good: Option<T>,
    /// The problems of the current version.
    pub problems: Vec<FileProblem>,
}

pub struct Files<T> {
    folder: PathBuf,
    is_wanted: fn(&str) -> bool,
    read: Arc<FileParser<T>>,
    related: RelatedFiles,
    files: BTreeMap<String, CachedFile<T>>,
    unreadable: BTreeMap<String, String>,
    is_looked_at: bool,
    timeout: Duration,
    /// Held by each thread that reads a file: more than one reference means that some threads were abandoned.
    readers: Arc<()>,
}

impl<T: Send + 'static> Files<T> {
    pub fn new(
        folder: PathBuf,
        is_wanted: fn(&str) -> bool,
        read: impl Fn(&str, &Path, &[u8]) -> Result<T, Vec<FileProblem>> + Send + Sync + 'static,
    ) -> Files<T> {
        let (files, unreadable, read, readers) = (BTreeMap::new(), BTreeMap::new(), Arc::new(read), Arc::new(()));
        Files {
            folder,
            is_wanted,
            read,
            related: |_, _, _| Vec::new(),
            files,
            unreadable,
            is_looked_at: false,
            timeout: READ_TIMEOUT,
            readers,
        }
    }

    /// Also reads a file again when a file that it depends on changes.
    #[must_use]
    pub fn with_related(self, related: RelatedFiles) -> Files<T> {
        Files { related, ..self }
    }

    /// Polls the folder. Returns whether its content has changed, or whether this is the first poll.
    pub fn poll_changes(&mut self) -> bool {
        let FolderScan { files, unreadable } = scan(&self.folder, self.is_wanted);
        let mut is_changed = !self.is_looked_at || unreadable != self.unreadable;
        (self.is_looked_at, self.unreadable) = (true, unreadable);
        let before = self.files.len();
        // Files below an unreadable folder still exist.
        self.files.retain(|file, _| {
            let is_below = |folder: &String| folder.is_empty() || file.starts_with(&format!("{folder}/"));
            files.contains_key(file) || self.unreadable.keys().any(is_below)
        });
        is_changed |= self.files.len() < before;
        for (file, stamp) in files {
            let known = self.files.get(&file);
            let is_due = |known: &CachedFile<T>| known.settles_at.is_some_and(|at| Instant::now() >= at);
            let is_new = known.is_none_or(|known| known.stamp != stamp || known.fingerprint.has_changed_files());
            if is_new || known.is_some_and(is_due) {
                let settles_at = is_new.then(|| Instant::now() + SETTLES_IN);
                is_changed |= self.take(file, stamp, settles_at);
            }
        }
        is_changed
    }

    /// Returns the files by their names below the folder.
    pub fn known(&self) -> impl Iterator<Item = (&str, &CachedFile<T>)> {
        self.files.iter().map(|(file, known)| (file.as_str(), known))
    }

    /// Returns the display names of folders that cannot be read and of links that are not followed, with the reasons.
    pub fn unreadable(&self) -> impl Iterator<Item = (String, &str)> {
        let name = |folder: &str| if folder.is_empty() { ".".into() } else { folder.into() };
        self.unreadable.iter().map(move |(folder, why)| (name(folder), why.as_str()))
    }

    /// Returns the problems of files, of folders that cannot be read and of links that are not followed. `hint` is for
    /// folders.
    pub fn broken(&self, hint: &str) -> Broken {
        let files = self.files.iter().filter(|(_, known)| !known.problems.is_empty());
        let mut broken: Broken = files.map(|(file, known)| (file.clone(), known.problems.clone())).collect();
        for (folder, why) in self.unreadable() {
            let problem = problem_of_file(&folder, why, hint);
            broken.insert(folder, vec![problem]);
        }
        broken
    }

    /// Reads a file. Returns whether its content has changed.
    fn take(&mut self, file: String, stamp: Stamp, mut settles_at: Option<Instant>) -> bool {
        let began = Instant::now();
        let known = self.files.get(&file).map(|known| known.fingerprint.clone());
        let (fingerprint, said) = match self.read_in_time(&file, known) {
            Ok((fingerprint, Some(said))) => (fingerprint, said),
            Ok((fingerprint, None)) => {
                if let Some(known) = self.files.get_mut(&file) {
                    (known.stamp, known.settles_at, known.fingerprint) = (stamp, settles_at, fingerprint);
                }
                return false;
            }
            Err(text) => {
                // A file that hangs is read again when it changes. A file that was not read because of other hanging
                // files is read once they have ended.
                settles_at = self.is_crowded().then(|| Instant::now() + SETTLES_IN);
                (Fingerprint::default(), Err(vec![problem_of_file(&file, &text, "make the file simpler, or split it")]))
            }
        };
        let (good, problems) = match said {
            Ok(good) => (Some(good), Vec::new()),
            Err(problems) => (self.files.remove(&file).and_then(|known| known.good), problems),
        };
        let took = began.elapsed();
        self.files.insert(file, CachedFile { stamp, settles_at, fingerprint, took, good, problems });
        true
    }
}

impl<T: Send + 'static> Files<T> {
    fn is_crowded(&self) -> bool {
        Arc::strong_count(&self.readers) > MAX_ABANDONED
    }

    /// Reads and parses a file on its own thread, so that a file system or parser that hangs blocks neither other files
    /// nor the exit of the process. Returns why the file could not be read in time.
    fn read_in_time(&self, file: &str, known: Option<Fingerprint>) -> Result<(Fingerprint, ParsedFile<T>), String> {
        if self.is_crowded() {
            return Err(format!("the file was not read: {MAX_ABANDONED} other files take too long"));
        }
        let (send, receive) = mpsc::sync_channel(1);
        let (read, related, guard) = (self.read.clone(), self.related, self.readers.clone());
        let (path, name) = (self.folder.join(file), file.to_owned());
        let thread = std::thread::Builder::new().name("orch-file".into());
        let spawned = thread.spawn(move || {
            // The guard is dropped before the caller is notified, and also if the parser panics.
            let said = with_guard(guard, || read_file(&*read, related, &name, &path, known.as_ref()));
            drop(send.send(said));
        });
        spawned.map_err(|error| format!("no thread can be started to read the file: {error}"))?;
        receive.recv_timeout(self.timeout).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => {
                format!("reading the file takes longer than {} s", self.timeout.as_secs_f64())
            }
            mpsc::RecvTimeoutError::Disconnected => "reading the file panicked".into(),
        })
    }
}

fn with_guard<T>(guard: Arc<()>, work: impl FnOnce() -> T) -> T {
    let done = work();
    drop(guard);
    done
}

fn read_file<T>(
    read: &FileParser<T>,
    related: RelatedFiles,
    file: &str,
    path: &Path,
    known: Option<&Fingerprint>,
) -> (Fingerprint, ParsedFile<T>) {
    let mut bytes = Vec::new();
    // Reads one byte above the limit, so that the parser detects a file that is too long.
    let opened = File::open(path).and_then(|open| open.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes));
    // Stamps are taken before the related files are read, so that the next poll notices a change in between.
    let stamped = |path: PathBuf| (Stamp::at(&path), path);
    let related = related(file, path, &bytes).into_iter().map(stamped).map(|(stamp, path)| (path, stamp)).collect();
    let fingerprint = Fingerprint { bytes_hash: hash(&bytes, opened.is_ok()), related };
    if known == Some(&fingerprint) {
        return (fingerprint, None);
    }
    let said = match opened {
        Ok(_) => read(file, path, &bytes),
        Err(error) => {
            let text = format!("the file cannot be read: {error}");
            Err(vec![problem_of_file(file, &text, "look who may read it")])
        }
    };
    (fingerprint, Some(said))
}

/// Returns a problem of a file as a whole. `text` may end with its own hint.
pub fn problem_of_file(file: &str, text: &str, usual_hint: &str) -> FileProblem {
    let (message, hint) = text.split_once("\nhint: ").unwrap_or((text, usual_hint));
    FileProblem { file: file.into(), line: 0, column: 0, message: message.into(), hint: hint.into() }
}

fn hash(bytes: &[u8], is_whole: bool) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    (bytes, is_whole).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_file_that_takes_too_long_is_an_import_error_and_the_others_are_read() {
        let folder = std::env::temp_dir().join(format!("orch-slow-file-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for name in ["a.yaml", "hangs.yaml", "panics.yaml", "z.yaml"] {
            std::fs::write(folder.join(name), name).expect("a file");
        }
        // The parser of the slow file ends with the test.
        let (open, gate) = mpsc::sync_channel::<()>(1);
        let gate = Mutex::new(gate);
        let mut files = Files::new(
            folder.clone(),
            |_| true,
            move |file, _, _| {
                assert_ne!(file, "panics.yaml");
                if file == "hangs.yaml" {
                    drop(gate.lock().map(|gate| gate.recv()));
                }
                Ok(file.to_owned())
            },
        );
        // Long enough for a panic that prints a backtrace.
        files.timeout = Duration::from_secs(3);
        assert!(files.poll_changes());
        let good: Vec<&str> = files.known().filter_map(|(_, known)| known.good.as_deref()).collect();
        assert_eq!(good, ["a.yaml", "z.yaml"]);
        let broken = files.broken("");
        assert_eq!(broken["hangs.yaml"][0].message, "reading the file takes longer than 3 s");
        assert_eq!(broken["panics.yaml"][0].message, "reading the file panicked");
        assert_eq!(Arc::strong_count(&files.readers), 2, "one thread was abandoned");
        drop(open);
        std::fs::remove_dir_all(&folder).expect("the folder exists");
    }
}
