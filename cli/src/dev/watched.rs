//! The source files of a project, and whether they have changed and are stable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Maximum number of watched files, more than any project with handwritten sources has.
const MOST_FILES: usize = 20_000;
/// Maximum depth of nested folders.
const DEEPEST: usize = 32;
/// The lock file, which cargo itself writes during builds.
const LOCK_FILE: &str = "Cargo.lock";
/// Watched files of a package outside `src`.
const BESIDE: [&str; 4] = ["Cargo.toml", LOCK_FILE, "build.rs", ".cargo/config.toml"];

/// Modification time and size in bytes of each file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Files(BTreeMap<PathBuf, (SystemTime, u64)>);

impl Files {
    /// Scans the packages in these folders. Files that cannot be read are skipped.
    pub(crate) fn of(packages: &[PathBuf]) -> Files {
        let mut found = BTreeMap::new();
        for package in packages {
            for name in BESIDE {
                add(&package.join(name), &mut found);
            }
            walk(&package.join("src"), DEEPEST, &mut found);
        }
        Files(found)
    }

    fn changed(&self, since: &Files) -> Vec<PathBuf> {
        let all = self.0.keys().chain(since.0.keys().filter(|path| !self.0.contains_key(*path)));
        all.filter(|path| self.0.get(*path) != since.0.get(*path)).cloned().collect()
    }
}

fn add(path: &Path, found: &mut BTreeMap<PathBuf, (SystemTime, u64)>) {
    if let Ok(facts) = path.metadata()
        && facts.is_file()
        && let Ok(modified) = facts.modified()
        && found.len() < MOST_FILES
    {
        found.insert(path.to_owned(), (modified, facts.len()));
    }
}

/// Adds the files of a folder. Skips hidden files, and files that editors create temporarily while they save.
fn walk(folder: &Path, depth: usize, found: &mut BTreeMap<PathBuf, (SystemTime, u64)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(['.', '#']) || name.ends_with('~') {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => walk(&entry.path(), depth - 1, found),
            Ok(_) => add(&entry.path(), found),
            Err(_) => {}
        }
    }
}

fn is_lock_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == LOCK_FILE)
}

/// Detects changes. Several files that are saved together trigger only one build.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    built: Option<Files>,
    last: Option<Files>,
}

impl Watch {
    /// Returns the files that changed since the last build, once two polls have seen the same state. The first poll
    /// returns an empty list, which triggers the first build.
    pub(crate) fn poll_changes(&mut self, now: Files) -> Option<Vec<PathBuf>> {
        let Some(built) = &self.built else {
            self.built = Some(now);
            return Some(Vec::new());
        };
        let is_at_rest = self.last.as_ref() == Some(&now);
        if *built == now || !is_at_rest {
            self.last = Some(now);
            return None;
        }
        let changed = now.changed(built);
        self.built = Some(now);
        Some(changed)
    }

    /// Records the state of the lock files after a build as built. Cargo completes the lock file of a new project
    /// during its first build; without this call, that change would trigger a second build.
    pub(crate) fn adopt_lock_files(&mut self, now: &Files) {
        let Some(built) = &mut self.built else { return };
        built.0.retain(|path, _| !is_lock_file(path));
        built.0.extend(now.0.iter().filter(|(path, _)| is_lock_file(path)).map(|(path, facts)| (path.clone(), *facts)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn files(text: &str) -> Files {
        let file = |word: &str| {
            let (name, time) = word.split_once(':').unwrap();
            (PathBuf::from(name), (SystemTime::UNIX_EPOCH + Duration::from_secs(time.parse().unwrap()), 1))
        };
        Files(text.split_whitespace().map(file).collect())
    }

    #[test]
    fn what_changed_is_built_once_it_rests() {
        let mut watch = Watch::default();
        let mut look = |text: &str| {
            let changed = watch.poll_changes(files(text))?;
            Some(changed.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(look("a:1 b:1").as_deref(), Some(""), "nothing was built yet");
        assert_eq!(look("a:1 b:1"), None);
        assert_eq!(look("a:2 b:1"), None, "it may go on");
        assert_eq!(look("a:2 b:2"), None, "it does");
        assert_eq!(look("a:2 b:2").as_deref(), Some("a b"));
        assert_eq!(look("a:2 b:2"), None, "built is built");
        assert_eq!(look("a:2 c:3"), None);
        assert_eq!(look("a:2 c:3").as_deref(), Some("c b"), "one is new, one is gone");
        assert_eq!(look("a:3 c:3"), None);
        assert_eq!(look("a:2 c:3"), None, "it was put back");
        assert_eq!(look("a:2 c:3"), None);
    }

    #[test]
    fn a_lock_file_that_cargo_wrote_during_a_build_starts_no_other_build() {
        let mut watch = Watch::default();
        assert_eq!(watch.poll_changes(files("p/Cargo.lock:1 p/src/main.rs:1")), Some(Vec::new()));
        // During the build, cargo wrote the lock file and the user saved a source file.
        watch.adopt_lock_files(&files("p/Cargo.lock:2 p/src/main.rs:2"));
        for _ in 0..3 {
            assert_eq!(watch.poll_changes(files("p/Cargo.lock:2 p/src/main.rs:1")), None);
        }
        assert_eq!(watch.poll_changes(files("p/Cargo.lock:2 p/src/main.rs:2")), None);
        let saved = watch.poll_changes(files("p/Cargo.lock:2 p/src/main.rs:2"));
        assert_eq!(saved, Some(vec![PathBuf::from("p/src/main.rs")]), "a source file is built");
        watch.adopt_lock_files(&files("p/Cargo.lock:2 p/src/main.rs:2"));
        assert_eq!(watch.poll_changes(files("p/Cargo.lock:3 p/src/main.rs:2")), None);
        let updated = watch.poll_changes(files("p/Cargo.lock:3 p/src/main.rs:2"));
        assert_eq!(updated, Some(vec![PathBuf::from("p/Cargo.lock")]), "`cargo update` starts a build");
    }

    #[test]
    fn sources_are_watched_and_what_tasks_write_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        ["Cargo.toml", "src/main.rs", "src/sql/a.sql", "src/.main.rs.swp", "src/main.rs~", "target/debug/x", "out.csv"]
            .into_iter()
            .for_each(write);
        let found = Files::of(&[folder.path().to_owned()]);
        let names: Vec<_> = found.0.keys().map(|path| path.strip_prefix(folder.path()).unwrap().to_owned()).collect();
        assert_eq!(names, ["Cargo.toml", "src/main.rs", "src/sql/a.sql"].map(PathBuf::from));
    }
}
