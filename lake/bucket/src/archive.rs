//! The archive: a bucket to which old logs and rows are moved. Opens the `s3://…` URL in `ORCH_ARCHIVE` with the
//! credentials of the connection `archive`.

use crate::{Bucket, Error, Options};
use orch_sdk::task::BoxFuture;
use orch_store::archive::{Archive, ArchiveError, ArchiveResult, ArchiveSource};
use std::sync::Arc;

/// Id of the connection to the archive's server. It has Airflow's connection type `aws`.
pub const ARCHIVE: &str = "archive";

/// Returns the archive source that is passed to `Binary::archive`.
pub fn archives() -> ArchiveSource {
    ArchiveSource::new(|url, find| {
        Box::pin(async move {
            let connection = find(ARCHIVE).await.map_err(|error| {
                ArchiveError(format!(
                    "`{url}` needs the connection `{ARCHIVE}`: {error}\nhint: add one with `orch connections add {ARCHIVE} \
                     --conn-type aws`; without keys the role of the machine is asked for some"
                ))
            })?;
            let bucket = Bucket::open(&url, &Options::of(&connection)).map_err(wrong)?;
            let archive: Arc<dyn Archive> = Arc::new(InBucket { bucket });
            Ok(archive)
        })
    })
}

struct InBucket {
    bucket: Bucket,
}

impl Archive for InBucket {
    fn place(&self) -> String {
        self.bucket.url().into()
    }

    fn put(&self, key: String, content: Vec<u8>) -> BoxFuture<ArchiveResult<()>> {
        let bucket = self.bucket.clone();
        Box::pin(async move { bucket.put(&key, content).await.map_err(wrong) })
    }

    fn get(&self, key: String) -> BoxFuture<ArchiveResult<Vec<u8>>> {
        let bucket = self.bucket.clone();
        Box::pin(async move { Ok(bucket.get(&key).await.map_err(wrong)?.into()) })
    }

    fn list(&self, folder: String) -> BoxFuture<ArchiveResult<Vec<String>>> {
        let bucket = self.bucket.clone();
        Box::pin(async move {
            let entries = bucket.list_all(&folder).await.map_err(wrong)?;
            Ok(entries.into_iter().map(|entry| entry.key).collect())
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` gives")]
fn wrong(error: Error) -> ArchiveError {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    ArchiveError(text)
}
