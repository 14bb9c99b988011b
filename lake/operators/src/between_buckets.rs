//! Copies objects between buckets. Each object appears completely or not at all, and a retry copies only the missing
//! ones.

use crate::rows::ObjectLocation;
use anyhow::bail;
use futures::{StreamExt, TryStreamExt};
use orch::{BoxFuture, Call, Ctx, Operator, TaskResult, fatal};
use orch_lake::bucket::{Bucket, Entry};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketToBucket {
    /// The key may be a pattern.
    pub from: ObjectLocation,
    /// A folder if the key is empty or ends with a slash. Otherwise the key of the copied object.
    pub to: ObjectLocation,
    /// Fails the task if no object matches.
    #[serde(default)]
    pub required: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Locations of the objects at the target, in order.
    pub objects: Vec<String>,
    /// Number of objects that this attempt copied, without those that existed already.
    pub copied: u64,
    pub bytes: u64,
}

/// Copies objects. Skips an object whose target has the same size and is not older than the source, with a resolution
/// of one second.
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

/// Fails if two objects have the same target key, because the second copy would overwrite the first.
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

/// Returns the target key: in the folder `in/`, `day/a.csv` becomes `in/a.csv`. If `to` is not a folder, it is the
/// new key.
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
