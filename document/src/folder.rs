//! Files of one kind in a folder. Only those that changed are read; one that is broken leaves its last good version standing.

mod scan;

use crate::file::MAX_FILE_BYTES;
use orch_spec::check::FileProblem;
use scan::{FolderScan, Stamp, scan};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A file is read once more so long after it was seen to change: clocks of file systems are coarse, and it may have been
/// written again in the same moment.
const SETTLES_IN: Duration = Duration::from_secs(2);

/// Files and what is wrong with them.
pub type Broken = BTreeMap<String, Vec<FileProblem>>;

/// What a file says, by its name below the folder, its place and its bytes.
type FileParser<T> = dyn Fn(&str, &Path, &[u8]) -> Result<T, Vec<FileProblem>> + Send;

/// A file as it was read last.
pub struct CachedFile<T> {
    stamp: Stamp,
    /// When it is read once more.
    settles_at: Option<Instant>,
    bytes_hash: u64,
    pub took: Duration,
    /// What its last version without a mistake says.
    pub good: Option<T>,
    /// What is wrong with the version that is there.
    pub problems: Vec<FileProblem>,
}

pub struct Files<T> {
    folder: PathBuf,
    is_wanted: fn(&str) -> bool,
    read: Box<FileParser<T>>,
    files: BTreeMap<String, CachedFile<T>>,
    unreadable: BTreeMap<String, String>,
    is_looked_at: bool,
}

impl<T> Files<T> {
    pub fn new(
        folder: PathBuf,
        is_wanted: fn(&str) -> bool,
        read: impl Fn(&str, &Path, &[u8]) -> Result<T, Vec<FileProblem>> + Send + 'static,
    ) -> Files<T> {
        let (files, unreadable) = (BTreeMap::new(), BTreeMap::new());
        Files { folder, is_wanted, read: Box::new(read), files, unreadable, is_looked_at: false }
    }

    /// Polls the folder. `true`: it says something else than before, or this is the first poll.
    pub fn poll_changes(&mut self) -> bool {
        let FolderScan { files, unreadable } = scan(&self.folder, self.is_wanted);
        let mut is_changed = !self.is_looked_at || unreadable != self.unreadable;
        (self.is_looked_at, self.unreadable) = (true, unreadable);
        let before = self.files.len();
        // What could not be looked at is not gone.
        self.files.retain(|file, _| {
            let is_below = |folder: &String| folder.is_empty() || file.starts_with(&format!("{folder}/"));
            files.contains_key(file) || self.unreadable.keys().any(is_below)
        });
        is_changed |= self.files.len() < before;
        for (file, stamp) in files {
            let known = self.files.get(&file);
            let is_due = |known: &CachedFile<T>| known.settles_at.is_some_and(|at| Instant::now() >= at);
            if known.is_none_or(|known| known.stamp != stamp || is_due(known)) {
                let is_new = known.is_none_or(|known| known.stamp != stamp);
                let settles_at = is_new.then(|| Instant::now() + SETTLES_IN);
                is_changed |= self.take(file, stamp, settles_at);
            }
        }
        is_changed
    }

    /// By their names below the folder.
    pub fn known(&self) -> impl Iterator<Item = (&str, &CachedFile<T>)> {
        self.files.iter().map(|(file, known)| (file.as_str(), known))
    }

    /// Folders that cannot be read, by their names for people, and why.
    pub fn unreadable(&self) -> impl Iterator<Item = (String, &str)> {
        let name = |folder: &str| if folder.is_empty() { ".".into() } else { folder.into() };
        self.unreadable.iter().map(move |(folder, why)| (name(folder), why.as_str()))
    }

    /// What is wrong with files, and folders that cannot be read; `hint` is for those.
    pub fn broken(&self, hint: &str) -> Broken {
        let files = self.files.iter().filter(|(_, known)| !known.problems.is_empty());
        let mut broken: Broken = files.map(|(file, known)| (file.clone(), known.problems.clone())).collect();
        for (folder, why) in self.unreadable() {
            let problem = problem_of_file(&folder, &format!("the folder cannot be read: {why}"), hint);
            broken.insert(folder, vec![problem]);
        }
        broken
    }

    /// `true`: it says something else than before.
    fn take(&mut self, file: String, stamp: Stamp, settles_at: Option<Instant>) -> bool {
        let began = Instant::now();
        let path = self.folder.join(&file);
        let mut bytes = Vec::new();
        // One byte more than is taken, so that the reader sees that it is too long.
        let read = File::open(&path).and_then(|open| open.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes));
        let bytes_hash = hash(&bytes, read.is_ok());
        if let Some(known) = self.files.get_mut(&file)
            && known.bytes_hash == bytes_hash
        {
            (known.stamp, known.settles_at) = (stamp, settles_at);
            return false;
        }
        let said = match read {
            Ok(_) => (self.read)(&file, &path, &bytes),
            Err(error) => {
                let text = format!("the file cannot be read: {error}");
                Err(vec![problem_of_file(&file, &text, "look who may read it")])
            }
        };
        let (good, problems) = match said {
            Ok(good) => (Some(good), Vec::new()),
            Err(problems) => (self.files.remove(&file).and_then(|known| known.good), problems),
        };
        let took = began.elapsed();
        self.files.insert(file, CachedFile { stamp, settles_at, bytes_hash, took, good, problems });
        true
    }
}

/// Something that is wrong with a file as a whole. The text may end in a hint of its own.
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
