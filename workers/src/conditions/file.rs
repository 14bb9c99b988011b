//! Files of the machine on which the worker runs.

use orch_core::task::{BoxFuture, Condition, Eyes, Look, fatal};
use orch_core::wait::{FileWait, read};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A look holds a place of the watcher so long at most.
const MOST_STABLE: Duration = Duration::from_secs(10);
/// Files that fit a pattern; more are as good.
const MOST_FILES: usize = 1_000;

pub(super) struct Files;

impl Condition for Files {
    fn kind(&self) -> &'static str {
        FileWait::KIND
    }

    fn check(&self, config: &Value) -> Result<(), String> {
        let wait: FileWait = read(config)?;
        if !Path::new(&wait.path).is_absolute() {
            return Err(format!("`{}` is no absolute path", wait.path));
        }
        if Duration::from_millis(wait.stable_ms) > MOST_STABLE {
            return Err(format!("it looks twice within {MOST_STABLE:?} at most: ask for a `min_age` instead"));
        }
        Ok(())
    }

    fn look(&self, config: Value, _eyes: Arc<dyn Eyes>) -> BoxFuture<Look> {
        Box::pin(async move {
            let wait: FileWait = read(&config).map_err(fatal)?;
            let stable = Duration::from_millis(wait.stable_ms);
            let first = found(wait.clone()).await?;
            if stable.is_zero() || first.is_empty() {
                return Ok(paths(first));
            }
            tokio::time::sleep(stable).await;
            let second = found(wait).await?;
            Ok(paths(second.into_iter().filter(|file| first.contains(file)).collect()))
        })
    }
}

fn paths(files: Vec<(PathBuf, u64)>) -> Option<Value> {
    let paths: Vec<Value> = files.into_iter().map(|(path, _)| path.to_string_lossy().into()).collect();
    (!paths.is_empty()).then(|| paths.into())
}

/// Paths and sizes of what is there, in order.
async fn found(wait: FileWait) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    Ok(tokio::task::spawn_blocking(move || search(&wait)).await??)
}

fn search(wait: &FileWait) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for path in fitting(Path::new(&wait.path))? {
        let facts = match std::fs::metadata(&path) {
            Ok(facts) => facts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // A file from the future was not written long ago.
        let age = facts.modified()?.elapsed().unwrap_or_default();
        if age >= Duration::from_millis(wait.min_age_ms) && facts.len() >= wait.min_bytes {
            found.push((path, facts.len()));
        }
    }
    found.truncate(MOST_FILES);
    Ok(found)
}

/// The paths that fit a pattern, folder by folder; a path without one is itself.
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
                if fits(name.as_bytes(), entry.to_string_lossy().as_bytes()) {
                    next.push(folder.join(entry));
                }
            }
        }
        next.sort();
        found = next;
    }
    Ok(found)
}

/// `*` is any letters, `?` is one. A name that begins with a dot is meant only by a pattern that does.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                // The star takes one letter more.
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        let check = |pattern: &str, name: &str| fits(pattern.as_bytes(), name.as_bytes());
        for (pattern, name) in
            [("*.csv", "a.csv"), ("a*b*c", "axxbyyc"), ("?.csv", "a.csv"), ("*", "x"), (".h*", ".hidden"), ("a**", "a")]
        {
            assert!(check(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.csv", "a.txt"), ("a*b", "ac"), ("?", "ab"), ("*", ".hidden"), ("a?", "a")] {
            assert!(!check(pattern, name), "{pattern} {name}");
        }
    }
}
