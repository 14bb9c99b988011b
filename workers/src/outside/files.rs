//! Files of this machine, by patterns in their paths.

use orch_sdk::pattern::fits;
use std::io;
use std::path::{Path, PathBuf};

/// The paths that fit a pattern, folder by folder; a path without one is itself.
pub fn fitting(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for folder in found {
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?.file_name();
                if fits(&name, &entry.to_string_lossy()) {
                    next.push(folder.join(entry));
                }
            }
        }
        next.sort();
        found = next;
    }
    Ok(found)
}
