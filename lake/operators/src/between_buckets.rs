//! Objects from one bucket to another, each whole or not at all. A try that follows a failed one copies what is
//! missing.

use crate::rows::ObjectLocation;
use anyhow::bail;
use futures::{StreamExt, TryStreamExt};
use orch::{BoxFuture, Call, Ctx, Operator, TaskResult, fatal};
use orch_lake::bucket::{Bucket, Entry};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Which objects, and where to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketToBucket {
    /// Its key may be a pattern.
    pub from: ObjectLocation,
    /// Its key is put before the names of the objects; one that has a slash at its end, or is empty, is a folder.
    pub to: ObjectLocation,
    /// Nothing to copy fails the task.
    #[serde(default)]
    pub required: bool,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Where the objects are now, in order.
    pub objects: Vec<String>,
    /// Copied now, not found there.
    pub copied: u64,
    pub bytes: u64,
}

/// Copies objects. One that is there with the same size and is no older than its source, to the second as servers tell it, is
/// left.
#[track_caller]
pub fn bucket_to_bucket<'d>(from: ObjectLocation, to: ObjectLocation) -> Call<'d, Copied> {
    BucketToBucket { from, to, required: false }.call()
}

async fn go(transfer: BucketToBucket, ctx: &Ctx) -> TaskResult<Copied> {
    let (from, to) = (transfer.from.bucket(ctx).await?, transfer.to.bucket(ctx).await?);
    to.ensure().await?;
    let found = from.fitting(&transfer.from.key).await?;
    if found.is_empty() && transfer.required {
        bail!("no object fits `{}`", from.location(&transfer.from.key));
    }
    let found: Vec<(Entry, String)> = found
        .into_iter()
        .map(|entry| {
            let key = target(&transfer.to.key, &entry.key);
            (entry, key)
        })
        .collect();
    ensure_one_source(&found, &from, &to)?;
    let mut output = Copied { objects: Vec::new(), copied: 0, bytes: 0 };
    for (entry, key) in found {
        let there = to.find(&key).await?;
        if there
            .as_ref()
            .is_none_or(|there| there.bytes != entry.bytes || there.modified.timestamp() < entry.modified.timestamp())
        {
            output.bytes += copy(ctx, &from, &entry, &to, &key).await?;
            output.copied += 1;
            let how = if there.is_some() { "copied over another object" } else { "copied" };
            ctx.info(format!("{how}: `{}` to `{}`", from.location(&entry.key), to.location(&key)));
        }
        output.objects.push(to.location(&key));
        ctx.progress(output.objects.len() as u64, output.bytes);
    }
    Ok(output)
}

/// Fails if two objects would be copied to one key, where the second would replace the first.
fn ensure_one_source(found: &[(Entry, String)], from: &Bucket, to: &Bucket) -> TaskResult<()> {
    let mut sources: HashMap<&str, &str> = HashMap::new();
    for (entry, key) in found {
        if let Some(other) = sources.insert(key, &entry.key) {
            return Err(fatal(format!(
                "`{}` and `{}` would both be copied to `{}`\n\
                 hint: copy them with two tasks, to two folders",
                from.location(other),
                from.location(&entry.key),
                to.location(key)
            )));
        }
    }
    Ok(())
}

/// `day/a.csv` below `in/` is `in/a.csv`; a key that is no folder is the new name.
fn target(to: &str, key: &str) -> String {
    if !to.is_empty() && !to.ends_with('/') {
        return to.into();
    }
    format!("{to}{}", key.rsplit('/').next().unwrap_or(key))
}

async fn copy(ctx: &Ctx, from: &Bucket, entry: &Entry, to: &Bucket, key: &str) -> TaskResult<u64> {
    let pieces = from.read(&entry.key).await?;
    let told = ctx.clone();
    let pieces = pieces.map_err(anyhow::Error::from).and_then(move |piece| {
        let cancelled = told.is_cancelled();
        async move {
            anyhow::ensure!(!cancelled, "cancelled");
            Ok(piece)
        }
    });
    to.put_stream(key, pieces.boxed()).await
}

impl Operator for BucketToBucket {
    const KIND: &'static str = "bucket_to_bucket";
    type Output = Copied;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<Copied>> {
        Box::pin(async move { go(self, &ctx).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_keep_their_names_in_folders() {
        for (to, key, expected) in
            [("", "day/a.csv", "a.csv"), ("in/", "day/a.csv", "in/a.csv"), ("in/b.csv", "a.csv", "in/b.csv")]
        {
            assert_eq!(target(to, key), expected);
        }
    }
}
