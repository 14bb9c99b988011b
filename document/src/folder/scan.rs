//! Finds the files of a folder and detects possible changes by name, size and time. No file is opened.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Maximum number of files of a folder. Further files are not read.
const MAX_FILES: usize = 20_000;
/// Maximum depth of nested folders.
const MAX_DEPTH: usize = 16;

/// Identifies a version of a file. A file with the same stamp is not read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    modified_ns: i128,
    size: u64,
    inode: u64,
}

impl Stamp {
    /// Returns the stamp of a file. `None` if it does not exist or its metadata cannot be read.
    pub(super) fn at(path: &Path) -> Option<Stamp> {
        fs::metadata(path).ok().as_ref().map(Stamp::of)
    }

    fn of(facts: &fs::Metadata) -> Stamp {
        let modified_ns = i128::from(facts.mtime()) * 1_000_000_000 + i128::from(facts.mtime_nsec());
        Stamp { modified_ns, size: facts.size(), inode: facts.ino() }
    }
}

/// The files of a folder, and the parts that could not be read.
#[derive(Debug, Default)]
pub(super) struct FolderScan {
    /// By path below the folder.
    pub(super) files: BTreeMap<String, Stamp>,
    /// Folders that cannot be read and links that are not followed, and why.
    pub(super) unreadable: BTreeMap<String, String>,
}

/// Finds all files below a folder whose names are wanted. `""` is the folder itself. Symbolic links are only followed
/// inside the folder: a link to `/` would make each scan walk the file system of the machine, and list its files as DAG
/// files.
pub(super) fn scan(folder: &Path, is_wanted: fn(&str) -> bool) -> FolderScan {
    let mut scanning = Scanning { folder, root: PathBuf::new(), is_wanted, found: FolderScan::default() };
    match folder.canonicalize() {
        Ok(root) => scanning.root = root,
        Err(error) => return FolderScan { unreadable: [(String::new(), unreadable(&error))].into(), ..scanning.found },
    }
    scanning.scan_all();
    scanning.found
}

fn unreadable(error: &io::Error) -> String {
    format!("the folder cannot be read: {error}")
}

struct Scanning<'a> {
    folder: &'a Path,
    /// The folder with its links resolved.
    root: PathBuf,
    is_wanted: fn(&str) -> bool,
    found: FolderScan,
}

impl Scanning<'_> {
    /// Reads each folder once, by its own path before paths through links, so that a folder that links to itself is not
    /// read repeatedly.
    fn scan_all(&mut self) {
        let mut seen = HashSet::new();
        let mut open = vec![(String::new(), 0)];
        let mut links = BTreeSet::new();
        while let Some((below, depth)) = open.pop().or_else(|| links.pop_first()) {
            if fs::metadata(self.folder.join(&below)).is_ok_and(|facts| seen.insert((facts.dev(), facts.ino()))) {
                self.scan_one(&below, depth, &mut open, &mut links);
            }
        }
    }

    fn scan_one(
        &mut self,
        below: &str,
        depth: usize,
        open: &mut Vec<(String, usize)>,
        links: &mut BTreeSet<(String, usize)>,
    ) {
        let entries = match fs::read_dir(self.folder.join(below)) {
            Ok(entries) => entries,
            Err(error) => {
                self.found.unreadable.insert(below.into(), unreadable(&error));
                return;
            }
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            let path = if below.is_empty() { name.to_string() } else { format!("{below}/{name}") };
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_file() && !(self.is_wanted)(name) {
                continue;
            }
            // Follows links. A link whose target does not exist is not a file.
            let Ok(facts) = fs::metadata(entry.path()) else { continue };
            let is_link = kind.is_symlink();
            let is_file = facts.is_file() && (self.is_wanted)(name);
            if !(is_file || facts.is_dir()) {
                continue;
            }
            if is_link && let Some(why) = self.outside(&entry.path()) {
                self.found.unreadable.insert(path, why);
            } else if is_file {
                if self.found.files.len() < MAX_FILES {
                    self.found.files.insert(path, Stamp::of(&facts));
                }
            } else if depth < MAX_DEPTH {
                if is_link {
                    links.insert((path, depth + 1));
                } else {
                    open.push((path, depth + 1));
                }
            }
        }
    }

    /// Returns why a link is not followed; `None` if its target is in the folder.
    fn outside(&self, link: &Path) -> Option<String> {
        let target = link.canonicalize().ok()?;
        let hint = "copy the files into the folder, or put a dot before the name of the link";
        let is_outside = !target.starts_with(&self.root);
        is_outside.then(|| format!("the link leads out of the folder, to `{}`\nhint: {hint}", target.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_inside_the_folder_only() {
        let place = tempfile::tempdir().expect("a folder");
        let (folder, outside) = (place.path().join("dags"), place.path().join("outside"));
        fs::create_dir_all(folder.join(".data")).expect("a folder");
        fs::create_dir_all(folder.join("team")).expect("a folder");
        fs::create_dir(&outside).expect("a folder");
        for file in [folder.join("a.yaml"), folder.join(".data/b.yaml"), outside.join("secret.yaml")] {
            fs::write(file, "x").expect("a file");
        }
        let link = |target: &Path, name: &str| symlink(target, folder.join(name)).expect("a link");
        link(Path::new("/"), "machine");
        link(&outside, "team/outside");
        link(&outside.join("secret.yaml"), "secret.yaml");
        link(&outside.join("secret.yaml"), "secret.txt");
        link(Path::new("nowhere.yaml"), "dangling.yaml");
        // Kubernetes mounts a ConfigMap with such links.
        link(Path::new(".data"), "mounted");
        link(Path::new(".data/b.yaml"), "b.yaml");
        // Two links to folders above them would double the paths at each depth.
        link(Path::new(".."), "team/one");
        link(Path::new(".."), "team/two");

        let found = scan(&folder, |name| name != "secret.txt");
        assert_eq!(found.files.into_keys().collect::<Vec<_>>(), ["a.yaml", "b.yaml", "mounted/b.yaml"]);
        let unread: Vec<_> = found.unreadable.keys().map(String::as_str).collect();
        assert_eq!(unread, ["machine", "secret.yaml", "team/outside"]);
        let why = &found.unreadable["machine"];
        assert!(why.starts_with("the link leads out of the folder, to `/`\nhint: "), "{why}");
    }

    #[test]
    fn a_folder_may_be_a_link_itself() {
        let place = tempfile::tempdir().expect("a folder");
        fs::create_dir(place.path().join("checkout")).expect("a folder");
        fs::write(place.path().join("checkout/a.yaml"), "x").expect("a file");
        symlink("checkout", place.path().join("current")).expect("a link");
        let found = scan(&place.path().join("current"), |_| true);
        assert_eq!(found.files.into_keys().collect::<Vec<_>>(), ["a.yaml"]);
        assert_eq!(scan(&place.path().join("gone"), |_| true).unreadable.into_keys().collect::<Vec<_>>(), [""]);
    }
}
