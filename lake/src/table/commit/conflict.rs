//! Conflict check for commits: a change can be applied to a newer table state only if everything on which it relied
//! still holds.

use super::branch_head;
use crate::error::{LakeError, LakeResult};
use crate::table::filter::prune::Rows;
use crate::table::plan::{DeleteIndex, Live, LiveFile, Pruners};
use crate::table::{Change, File, Region, Table};
use std::collections::HashSet;

/// Table property with the isolation level. With the value `snapshot`, other writers may concurrently add rows to the
/// region that a change has read or replaced.
const ISOLATION: &str = "write.merge.isolation-level";

/// Checks whether the change can be applied to the current table state `head`.
///
/// # Errors
/// Returns `LakeError::Conflict` with the reason if it cannot.
pub(crate) async fn check(change: &Change, head: &Table) -> LakeResult<()> {
    let conflict = |why: String| Err(LakeError::conflict(change.table(), why));
    let (before, now) = (change.base.metadata(), head.metadata());
    if before.uuid() != now.uuid() {
        return conflict("it was dropped and made anew".to_owned());
    }
    if change.base_only && change.base.metadata_location() != head.metadata_location() {
        return conflict("it is no longer what this change was made of".to_owned());
    }
    if let Some((property, said)) = &change.expects
        && head.property(property) != said.as_deref()
    {
        return conflict(format!("its property `{property}` says something else now"));
    }
    if before.current_schema_id() != now.current_schema_id() && change.add.iter().any(File::is_data) {
        let fields = now.current_schema().as_struct().fields();
        let lacks =
            fields.iter().find(|field| field.required && before.current_schema().field_by_id(field.id).is_none());
        if let Some(field) = lacks {
            return conflict(format!("it requires a column `{}` now", field.name));
        }
    }
    let (base, head_snapshot) = (branch_head(before, &change.branch), branch_head(now, &change.branch));
    let same = base.map(|snapshot| snapshot.snapshot_id()) == head_snapshot.map(|snapshot| snapshot.snapshot_id());
    if same || (change.remove.is_empty() && change.points_into.is_empty() && matches!(change.region, Region::Nothing)) {
        return Ok(());
    }
    let live = head.live(head_snapshot).await?;
    if let Some(gone) = first_gone(change, &live) {
        return conflict(format!("the file `{gone}`, which is to be replaced, is gone"));
    }
    // New files are recognized by their sequence number, because the snapshots that added them may have expired.
    let seen = base.map(|snapshot| snapshot.sequence_number());
    let is_new = |file: &LiveFile| seen.is_none_or(|seen| file.sequence_number() > seen);
    let new_deletes: Vec<_> = live.deletes.iter().filter(|file| is_new(file)).cloned().collect();
    let removed: HashSet<&str> = change.remove.iter().filter(|file| file.is_data()).map(File::path).collect();
    if !new_deletes.is_empty() && !removed.is_empty() {
        let index = DeleteIndex::new(&new_deletes);
        let hit = live.data.iter().find(|file| removed.contains(file.path()) && !index.of(file).is_empty());
        if let Some(file) = hit {
            return conflict(format!("rows of the file `{}`, which is to be replaced, were deleted", file.path()));
        }
    }
    if head.property(ISOLATION) == Some("snapshot") {
        return Ok(());
    }
    let new_data: Vec<_> = live.data.into_iter().filter(is_new).collect();
    check_region(&change.region, &new_data, head).await.and_then(|hit| match hit {
        None => Ok(()),
        Some(path) => conflict(format!("rows were added to what this change replaces, in the file `{path}`")),
    })
}

fn first_gone<'a>(change: &'a Change, live: &Live) -> Option<&'a str> {
    let paths = live.data.iter().map(LiveFile::path).chain(live.deletes.iter().map(|file| file.path()));
    let paths: HashSet<&str> = paths.collect();
    let needed = change.remove.iter().map(File::path).chain(change.points_into.iter().map(String::as_str));
    needed.into_iter().find(|path| !paths.contains(path))
}

/// Returns the path of the first new file that contains rows of the region.
async fn check_region(region: &Region, new: &[LiveFile], head: &Table) -> LakeResult<Option<String>> {
    match region {
        Region::Nothing => Ok(None),
        Region::Rows(filter) => {
            let bound = filter.bind(head.schema());
            let filter = bound.map_err(|error| LakeError::conflict(head.name(), error.to_string()))?;
            let mut pruners = Pruners::new(head, &filter);
            for file in new {
                if pruners.rows(file)? != Rows::None {
                    return Ok(Some(file.path().to_owned()));
                }
            }
            Ok(None)
        }
        Region::Partitions { spec_id, values } => {
            let hit = new.iter().find(|file| file.spec_id != *spec_id || values.contains(file.data().partition()));
            Ok(hit.map(|file| file.path().to_owned()))
        }
        Region::Keys(keys) => {
            for file in new {
                if keys.touches(head, file).await? {
                    return Ok(Some(file.path().to_owned()));
                }
            }
            Ok(None)
        }
        Region::Merge(merge) => merge.first_with_key(head, new).await,
    }
}
