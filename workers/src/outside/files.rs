//! Finds local files by path patterns.
//!
//! Paths often come from templates, and files from other users, so neither may lead outside of the intended folder:
//! `..` is rejected, and a symbolic link is followed only to files in its own folder.

use orch_sdk::pattern::fits;
use std::io;
use std::path::{Component, Path, PathBuf};

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// Matching paths, sorted. A path without a pattern is returned without checking that it exists.
    pub paths: Vec<PathBuf>,
    /// Symbolic links that match the pattern but lead out of its folder.
    pub outside: Vec<PathBuf>,
}

/// Checks a path that may contain patterns.
///
/// # Errors
/// Returns a message if the path is relative, or has a part `..`.
pub fn check_path(path: &Path) -> Result<(), String> {
    if !path.is_absolute() {
        return Err(format!("`{}` is not an absolute path", path.display()));
    }
    check_parts(path)
}

/// Checks that no part of a path is `..`.
///
/// # Errors
/// Returns a message if a part is `..`.
pub fn check_parts(path: &Path) -> Result<(), String> {
    if path.components().all(|part| part != Component::ParentDir) {
        return Ok(());
    }
    let hint = "name the folder itself; a template may have inserted the part";
    Err(format!("`{}` has a part `..`\nhint: {hint}", path.display()))
}

/// Finds the paths that match a pattern. Links must stay within the pattern's folder: the path before the first `*` or
/// `?`, or the parent folder if there is no wildcard.
///
/// # Errors
/// Fails if [`check_path`] rejects the path, the path is a link out of its folder, or a folder cannot be read.
pub fn find_matches(pattern: &Path) -> io::Result<Matches> {
    check_path(pattern).map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
    let is_plain = |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?']);
    let mut folder: PathBuf = pattern.components().take_while(is_plain).collect();
    let has_pattern = folder != pattern.components().collect::<PathBuf>();
    if !has_pattern {
        folder.pop();
    }
    let is_outside = |path: &PathBuf| match (folder.canonicalize(), path.canonicalize()) {
        (Ok(folder), Ok(target)) => !target.starts_with(folder),
        // The path does not exist, or opening it later reports the error.
        _ => false,
    };
    let (outside, paths): (Vec<_>, Vec<_>) = fitting(pattern)?.into_iter().partition(is_outside);
    match outside.first() {
        Some(link) if !has_pattern => {
            let (link, folder) = (link.display(), folder.display());
            Err(io::Error::other(format!("`{link}` is a link out of `{folder}`\nhint: name the file that it leads to")))
        }
        _ => Ok(Matches { paths, outside }),
    }
}

/// Returns the paths that match a pattern. Expands the pattern folder by folder.
fn fitting(pattern: &Path) -> io::Result<Vec<PathBuf>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_match_is_outside_of_the_folder() {
        let place = tempfile::tempdir().expect("a folder");
        let root = place.path().canonicalize().expect("a path");
        for folder in ["in/a", "other"] {
            std::fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        for file in ["in/1.csv", "in/a/2.csv", "other/secret.csv"] {
            std::fs::write(root.join(file), "x").expect("a file");
        }
        symlink("1.csv", root.join("in/latest.csv")).expect("a link");
        symlink("../other/secret.csv", root.join("in/stolen.csv")).expect("a link");
        symlink("../other", root.join("in/b")).expect("a link");
        symlink("in", root.join("current")).expect("a link");
        let paths = |names: &[&str]| names.iter().map(|name| root.join(name)).collect::<Vec<_>>();

        let flat = find_matches(&root.join("in/*.csv")).expect("a pattern");
        assert_eq!(flat.paths, paths(&["in/1.csv", "in/latest.csv"]));
        assert_eq!(flat.outside, paths(&["in/stolen.csv"]));
        let deep = find_matches(&root.join("in/*/*.csv")).expect("a pattern");
        assert_eq!((deep.paths, deep.outside), (paths(&["in/a/2.csv"]), paths(&["in/b/secret.csv"])));
        // The folder in the pattern may itself be a link.
        let current = find_matches(&root.join("current/*.csv")).expect("a pattern");
        assert_eq!(current.paths, paths(&["current/1.csv", "current/latest.csv"]));

        for path in ["in/latest.csv", "in/missing.csv", "missing/x.csv"] {
            assert_eq!(find_matches(&root.join(path)).expect("a path").paths, paths(&[path]));
        }
        let refused = find_matches(&root.join("in/stolen.csv")).expect_err("a link out of the folder").to_string();
        assert!(refused.contains("stolen.csv` is a link out of `"), "{refused}");
        let refused = find_matches(&root.join("in/../other/*.csv")).expect_err("a part `..`").to_string();
        assert!(refused.contains("other/*.csv` has a part `..`\nhint: "), "{refused}");
        assert!(find_matches(Path::new("in/*.csv")).is_err());
    }
}
