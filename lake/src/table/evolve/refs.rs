//! Changes of snapshot references (tags and branches). A tag stays at its snapshot; a branch moves with each commit
//! to it. Readers use the branch `main` by default.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use iceberg::spec::{MAIN_BRANCH, SnapshotRef, SnapshotReference, SnapshotRetention, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};

use crate::error::{LakeError, LakeResult};
use crate::table::At;

/// Retention of a tag or branch, and of the snapshots of a branch. The table properties contain the defaults.
#[derive(Debug, Clone, Copy, Default)]
pub struct Retention {
    max_age: Option<TimeDelta>,
    max_snapshot_age: Option<TimeDelta>,
    min_snapshots: Option<i32>,
}

impl Retention {
    /// Sets the age at which the tag or branch expires.
    #[must_use]
    pub fn max_age(mut self, age: TimeDelta) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Sets the minimum age at which the snapshots of a branch expire.
    #[must_use]
    pub fn max_snapshot_age(mut self, age: TimeDelta) -> Self {
        self.max_snapshot_age = Some(age);
        self
    }

    /// Sets the number of snapshots of a branch that are kept regardless of their age.
    #[must_use]
    pub fn min_snapshots(mut self, count: i32) -> Self {
        self.min_snapshots = Some(count);
        self
    }

    fn of_tag(self) -> SnapshotRetention {
        SnapshotRetention::Tag { max_ref_age_ms: millis(self.max_age) }
    }

    fn of_branch(self) -> SnapshotRetention {
        SnapshotRetention::branch(self.min_snapshots, millis(self.max_snapshot_age), millis(self.max_age))
    }
}

fn millis(age: Option<TimeDelta>) -> Option<i64> {
    age.map(|age| age.num_milliseconds())
}

#[derive(Debug, Clone)]
pub enum Naming {
    Tag {
        name: String,
        at: At,
        retention: Retention,
    },
    MoveTag {
        name: String,
        at: At,
    },
    Branch {
        name: String,
        at: At,
        retention: Retention,
    },
    /// Deletes a tag or branch. The next expiry removes its snapshots unless another reference needs them.
    Drop {
        name: String,
    },
    /// Moves `main` back to one of its ancestors. The discarded snapshots can be read by id until they expire.
    RollBack {
        to: At,
        from: Option<i64>,
    },
    /// Moves a branch to the newest snapshot of another branch that descends from it.
    FastForward {
        branch: String,
        to: String,
    },
}

impl Naming {
    pub(super) fn updates(&self, metadata: &TableMetadata) -> LakeResult<Vec<TableUpdate>> {
        let refs = refs(metadata)?;
        let set = |name: &str, snapshot_id: i64, retention: &SnapshotRetention| TableUpdate::SetSnapshotRef {
            ref_name: name.into(),
            reference: SnapshotReference { snapshot_id, retention: retention.clone() },
        };
        let update = match self {
            Naming::Tag { name, at, retention } => {
                is_free(&refs, name)?;
                set(name, resolve(metadata, at)?, &retention.of_tag())
            }
            Naming::Branch { name, at, retention } => {
                is_free(&refs, name)?;
                set(name, resolve(metadata, at)?, &retention.of_branch())
            }
            Naming::MoveTag { name, at } => {
                let tag = find(&refs, name)?;
                if tag.is_branch() {
                    let hint = "a branch moves by what is written to it, or by a fast-forward";
                    return Err(LakeError::input(format!("`{name}` is a branch and not a tag"), hint));
                }
                set(name, resolve(metadata, at)?, &tag.retention)
            }
            Naming::Drop { name } if name == MAIN_BRANCH => {
                return Err(LakeError::input(
                    "`main` is what readers see and stays",
                    "roll it back, or drop the table",
                ));
            }
            Naming::Drop { name } => {
                find(&refs, name)?;
                TableUpdate::RemoveSnapshotRef { ref_name: name.clone() }
            }
            Naming::RollBack { to, from } => {
                let head = find(&refs, MAIN_BRANCH)?;
                if *from != Some(head.snapshot_id) {
                    let hint = "load the table again and see whether that is to be undone too";
                    return Err(LakeError::input("`main` was written to since the table was loaded", hint));
                }
                let to = resolve(metadata, to)?;
                is_ancestor(metadata, to, head.snapshot_id, MAIN_BRANCH)?;
                set(MAIN_BRANCH, to, &head.retention)
            }
            Naming::FastForward { branch, to } => {
                let (behind, ahead) = (find(&refs, branch)?, find(&refs, to)?);
                if !behind.is_branch() {
                    let what = format!("`{branch}` is a tag and not a branch");
                    return Err(LakeError::input(what, "move it to where it is to be"));
                }
                is_ancestor(metadata, behind.snapshot_id, ahead.snapshot_id, to)?;
                set(branch, ahead.snapshot_id, &behind.retention)
            }
        };
        Ok(vec![update])
    }

    /// Requires that no involved reference has changed since the table was loaded.
    pub(super) fn requirements(&self, metadata: &TableMetadata) -> Vec<TableRequirement> {
        let is = |name: &str| TableRequirement::RefSnapshotIdMatch {
            r#ref: name.to_owned(),
            snapshot_id: metadata.snapshot_for_ref(name).map(|snapshot| snapshot.snapshot_id()),
        };
        let target = |at: &At| if let At::Ref(name) = at { Some(is(name)) } else { None };
        match self {
            Naming::Tag { name, at, .. } | Naming::MoveTag { name, at } | Naming::Branch { name, at, .. } => {
                std::iter::once(is(name)).chain(target(at)).collect()
            }
            Naming::Drop { name } => vec![is(name)],
            Naming::RollBack { to, .. } => std::iter::once(is(MAIN_BRANCH)).chain(target(to)).collect(),
            Naming::FastForward { branch, to } => vec![is(branch), is(to)],
        }
    }
}

fn resolve(metadata: &TableMetadata, at: &At) -> LakeResult<i64> {
    let missing = |what| LakeError::input(format!("the table {what}"), "list its snapshots");
    let snapshot = at.within(metadata).map_err(missing)?;
    snapshot.map(|snapshot| snapshot.snapshot_id()).ok_or_else(|| missing("is empty".into()))
}

/// Returns all tags and branches of a table by name.
pub fn refs(metadata: &TableMetadata) -> LakeResult<BTreeMap<String, SnapshotReference>> {
    // Serialized table metadata. References are read from it because the iceberg crate has no function that lists
    // them.
    #[derive(serde::Deserialize)]
    struct Written {
        #[serde(default)]
        refs: BTreeMap<String, SnapshotReference>,
    }
    let written = serde_json::to_value(metadata).and_then(serde_json::from_value::<Written>);
    Ok(written.map_err(iceberg::Error::from)?.refs)
}

/// Returns a snapshot and its ancestors, newest first.
pub(crate) fn ancestors(metadata: &TableMetadata, head: i64) -> impl Iterator<Item = &SnapshotRef> {
    std::iter::successors(metadata.snapshot_by_id(head), |snapshot| {
        snapshot.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent))
    })
}

fn find<'a>(refs: &'a BTreeMap<String, SnapshotReference>, name: &str) -> LakeResult<&'a SnapshotReference> {
    refs.get(name).ok_or_else(|| {
        let names: Vec<_> = refs.keys().map(|name| format!("`{name}`")).collect();
        LakeError::input(format!("there is no tag or branch `{name}`"), format!("there are {}", names.join(", ")))
    })
}

fn is_free(refs: &BTreeMap<String, SnapshotReference>, name: &str) -> LakeResult<()> {
    if name.is_empty() || name == MAIN_BRANCH || name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(LakeError::input(format!("`{name}` is no name for a tag or branch"), "take one with letters"));
    }
    match refs.get(name) {
        Some(_) => {
            Err(LakeError::input(format!("there is a tag or branch `{name}` already"), "move it, or take another name"))
        }
        None => Ok(()),
    }
}

fn is_ancestor(metadata: &TableMetadata, older: i64, head: i64, name: &str) -> LakeResult<()> {
    if ancestors(metadata, head).any(|snapshot| snapshot.snapshot_id() == older) {
        return Ok(());
    }
    Err(LakeError::input(
        format!("snapshot {older} is not part of the history of `{name}`"),
        "list it with `snapshots`",
    ))
}
