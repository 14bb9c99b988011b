//! Condition on files on the worker's machine.

use crate::outside::files::{check_path, find_matches};
use orch_sdk::task::{BoxFuture, Condition, ConditionResult, Eyes, fatal};
use orch_sdk::wait::{FileWait, read};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Maximum value of `stable_ms`, because a poke occupies a slot of the watcher for this time.
const MOST_STABLE: Duration = Duration::from_secs(10);
/// Maximum number of files in the result of a condition.
const MOST_FILES: usize = 1_000;

pub(super) struct Files;

impl Condition for Files {
    fn kind(&self) -> &'static str {
        FileWait::KIND
    }

    fn check(&self, config: &Value) -> Result<(), String> {
        let wait: FileWait = read(config)?;
        check_path(Path::new(&wait.path))?;
        if Duration::from_millis(wait.stable_ms) > MOST_STABLE {
            return Err(format!("it looks twice within {MOST_STABLE:?} at most: ask for a `min_age` instead"));
        }
        Ok(())
    }

    fn poke(&self, config: Value, _eyes: Arc<dyn Eyes>) -> BoxFuture<ConditionResult> {
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

/// Returns the paths and sizes of the matching files, sorted by path.
async fn found(wait: FileWait) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    Ok(tokio::task::spawn_blocking(move || search(&wait)).await??)
}

fn search(wait: &FileWait) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for path in find_matches(Path::new(&wait.path))?.paths {
        let facts = match std::fs::metadata(&path) {
            Ok(facts) => facts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // A modification time in the future counts as an age of zero.
        let age = facts.modified()?.elapsed().unwrap_or_default();
        if age >= Duration::from_millis(wait.min_age_ms) && facts.len() >= wait.min_bytes {
            found.push((path, facts.len()));
        }
    }
    found.truncate(MOST_FILES);
    Ok(found)
}
