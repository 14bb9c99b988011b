//! Which files are there, and whether they may have changed: names, sizes and times, nothing is opened.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// More than anybody has; a folder that goes round in circles through links ends here.
const MOST_FILES: usize = 20_000;
const MOST_DEPTH: usize = 16;

/// A file that looks the same is not read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    modified_ns: i128,
    size: u64,
    inode: u64,
}

impl Stamp {
    fn of(facts: &fs::Metadata) -> Stamp {
        let modified_ns = i128::from(facts.mtime()) * 1_000_000_000 + i128::from(facts.mtime_nsec());
        Stamp { modified_ns, size: facts.size(), inode: facts.ino() }
    }
}

/// What a look gave.
#[derive(Debug, Default)]
pub(super) struct FolderScan {
    /// By path below the folder.
    pub(super) files: BTreeMap<String, Stamp>,
    /// Folders that cannot be read, and why.
    pub(super) unreadable: BTreeMap<String, String>,
}

/// All files below a folder whose names are wanted. `""` is the folder itself.
pub(super) fn scan(folder: &Path, is_wanted: fn(&str) -> bool) -> FolderScan {
    let mut seen = FolderScan::default();
    let mut open = vec![(String::new(), 0)];
    while let Some((below, depth)) = open.pop() {
        let entries = match fs::read_dir(folder.join(&below)) {
            Ok(entries) => entries,
            Err(error) => {
                seen.unreadable.insert(below, error.to_string());
                continue;
            }
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            let path = if below.is_empty() { name.to_string() } else { format!("{below}/{name}") };
            let kind = entry.file_type().ok();
            if kind.is_some_and(|kind| kind.is_dir())
                || (kind.is_some_and(|kind| kind.is_symlink()) && entry.path().is_dir())
            {
                if depth < MOST_DEPTH {
                    open.push((path, depth + 1));
                }
            } else if is_wanted(name)
                && seen.files.len() < MOST_FILES
                && let Ok(facts) = fs::metadata(entry.path())
                && facts.is_file()
            {
                seen.files.insert(path, Stamp::of(&facts));
            }
        }
    }
    seen
}
