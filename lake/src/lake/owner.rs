//! The owner of a warehouse: the catalog whose tables are in it.
//!
//! Two catalogs with one warehouse folder would delete each other's files, since the files of one look like orphans to
//! the other. The first writer of a warehouse records its catalog in a marker file. Writers and maintenance check the
//! marker and fail if the warehouse belongs to another catalog.

use super::Lake;
use crate::boxed;
use crate::bucket::{self, Bucket};
use crate::error::{LakeError, LakeResult};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The marker file, in the root of the warehouse. Engines ignore files whose names start with `_`.
const MARKER: &str = "_orch_owner.json";
/// Time after which commits check the marker again. Deletions always check it.
pub(super) const CHECKED_FOR: Duration = Duration::from_mins(1);

/// The content of the marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The identity of the catalog: the Postgres system identifier, the OID of the database, and the catalog's name.
    pub catalog: String,
    pub since: DateTime<Utc>,
}

/// The result of [`Lake::adopt`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    pub warehouse: String,
    /// `None` if the warehouse had no owner.
    pub previous: Option<Owner>,
    pub owner: Owner,
}

impl Lake {
    /// Returns the recorded owner of the warehouse. `None` if nothing was written to it yet, or an earlier version of
    /// orch wrote it.
    ///
    /// # Errors
    /// The marker cannot be read.
    #[boxed]
    pub async fn owner(&self) -> LakeResult<Option<Owner>> {
        read(&self.bucket(self.warehouse())?).await
    }

    /// Makes the catalog of this lake the owner of the warehouse, after a restore into another database. A previous
    /// owner can no longer write. An unreadable marker is replaced.
    ///
    /// # Errors
    /// The catalog is served over HTTP and has no identity, or the marker cannot be written.
    #[boxed]
    pub async fn adopt(&self) -> LakeResult<Adopted> {
        let Some(catalog) = self.catalog_identity().await? else {
            let what = "a catalog over HTTP decides itself who writes to its warehouse";
            return Err(LakeError::input(what, "change the owner there"));
        };
        let bucket = self.bucket(self.warehouse())?;
        let previous = match read(&bucket).await {
            Err(LakeError::Input { .. }) => None,
            previous => previous?,
        };
        let owner = match previous.clone().filter(|owner| owner.catalog == catalog) {
            Some(owner) => owner,
            None => Owner { catalog, since: self.now().await? },
        };
        bucket.put(MARKER, marker(&owner)).await?;
        Ok(Adopted { warehouse: self.warehouse().to_owned(), previous, owner })
    }

    /// Checks that the warehouse belongs to the catalog of this lake. A warehouse without an owner gets this one.
    ///
    /// # Errors
    /// The warehouse belongs to another catalog.
    pub async fn check_owner(&self) -> LakeResult<()> {
        let Some(catalog) = self.catalog_identity().await? else { return Ok(()) };
        let bucket = self.bucket(self.warehouse())?;
        let owner = match read(&bucket).await? {
            Some(owner) => owner,
            None => {
                let own = Owner { catalog: catalog.clone(), since: self.now().await? };
                bucket.put_if_absent(MARKER, marker(&own)).await?;
                // Read again: another catalog may have written the marker first, and some servers ignore the condition.
                read(&bucket).await?.unwrap_or(own)
            }
        };
        if owner.catalog == catalog {
            return Ok(());
        }
        let what = format!(
            "the warehouse `{}` belongs to catalog `{}` since {}, and this lake has catalog `{catalog}`",
            self.warehouse(),
            owner.catalog,
            owner.since.to_rfc3339()
        );
        Err(LakeError::input(
            what,
            "give this installation a warehouse of its own; if its database was restored or moved and no other installation \
             writes to the warehouse, run `orch lake adopt`",
        ))
    }

    /// Like [`Lake::check_owner`], at most once in [`CHECKED_FOR`].
    pub(crate) async fn check_owner_of_commit(&self) -> LakeResult<()> {
        if self.was_owner_checked() {
            return Ok(());
        }
        self.check_owner().await?;
        self.set_owner_checked();
        Ok(())
    }
}

fn marker(owner: &Owner) -> Vec<u8> {
    serde_json::to_vec_pretty(owner).unwrap_or_default()
}

async fn read(bucket: &Bucket) -> LakeResult<Option<Owner>> {
    let bytes = match bucket.get(MARKER).await {
        Ok(bytes) => bytes,
        Err(bucket::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let owner = serde_json::from_slice(&bytes).map_err(|error| {
        let what = format!("`{}` does not name the owner of the warehouse: {error}", bucket.location(MARKER));
        LakeError::input(what, "take the warehouse over with `orch lake adopt`")
    });
    owner.map(Some)
}
