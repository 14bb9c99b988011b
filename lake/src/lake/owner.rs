//! A warehouse is owned by the catalog whose tables it contains.
//!
//! If two catalogs used the same warehouse folder, each would delete the other's files, which look like orphans to
//! it. The first writer therefore records its catalog in a marker file. Writers and maintenance check the marker and
//! fail if the warehouse belongs to another catalog.

use super::Lake;
use crate::boxed;
use crate::bucket::{self, Bucket};
use crate::error::{LakeError, LakeResult};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Name of the marker file in the root of the warehouse. Engines ignore files whose name starts with `_`.
const MARKER: &str = "_orch_owner.json";
/// Maximum age of a marker file check on which a commit relies. Deletions always check it.
pub(super) const CHECKED_FOR: Duration = Duration::from_mins(1);

/// Content of the marker file that records the owner of a warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Identity of the catalog: Postgres system identifier, OID of the database, and name of the catalog.
    pub catalog: String,
    pub since: DateTime<Utc>,
}

/// The result of [`Lake::adopt`], which changes the owner of a warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    pub warehouse: String,
    /// The catalog that owned the warehouse before. `None` if it had no owner.
    pub previous: Option<Owner>,
    pub owner: Owner,
}

impl Lake {
    /// Returns the recorded owner of the warehouse. `None` if it is empty or was written by an early version of orch.
    ///
    /// # Errors
    /// Returns an error if the marker file cannot be read.
    #[boxed]
    pub async fn owner(&self) -> LakeResult<Option<Owner>> {
        read(&self.bucket(self.warehouse())?).await
    }

    /// Makes the catalog of this lake the owner of the warehouse. Needed after the catalog was restored into another
    /// database. The previous owner can no longer write. A marker file that cannot be read is replaced.
    ///
    /// # Errors
    /// Returns an error if the catalog is a REST catalog, which has no identity, or the marker file cannot be
    /// written.
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

    /// Checks that the warehouse belongs to the catalog of this lake. If the warehouse has no owner yet, records this
    /// catalog.
    ///
    /// # Errors
    /// Returns an error if the warehouse belongs to another catalog.
    pub async fn check_owner(&self) -> LakeResult<()> {
        let Some(catalog) = self.catalog_identity().await? else { return Ok(()) };
        let bucket = self.bucket(self.warehouse())?;
        let owner = match read(&bucket).await? {
            Some(owner) => owner,
            None => {
                let own = Owner { catalog: catalog.clone(), since: self.now().await? };
                bucket.put_if_absent(MARKER, marker(&own)).await?;
                // The marker file is read again because another catalog may have written it first, and some servers
                // ignore the condition of a conditional write.
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

    /// Like [`Lake::check_owner`], but relies on an earlier check for up to [`CHECKED_FOR`].
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
