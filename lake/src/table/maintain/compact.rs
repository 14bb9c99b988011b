//! Compaction merges small files, applies deletes, and rewrites files that have an older partition spec.
//!
//! Rewritten files keep the sequence number of the snapshot that was read. Equality deletes that are committed during
//! the compaction therefore still apply to them. Position deletes do not, because they refer to the old files; in
//! this case the commit conflicts and the compaction is repeated.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher as _};

use iceberg::spec::Operation;
use orch_sdk::task::Ctx;
use serde::{Deserialize, Serialize};

use super::compact_plan::{Candidate, Compaction, plan};
use super::{signed, until_committed};
use crate::{
    boxed,
    error::LakeResult,
    lake::Lake,
    table::plan::{DeleteIndex, PlannedFile},
    table::write::{Options, Writer},
    table::{Change, File, Table, TableName},
};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// Number of data files that were replaced.
    pub files_before: u64,
    pub bytes_before: u64,
    /// Number of data files that were written.
    pub files_after: u64,
    pub bytes_after: u64,
    /// Number of delete files that were removed.
    pub deletes: u64,
}

struct Planned {
    files: Vec<PlannedFile>,
    /// Groups of indexes of data files. The files of a group are rewritten together.
    bins: Vec<Vec<usize>>,
    /// Delete files that no longer apply to any data file.
    dangling: Vec<File>,
}

impl Table {
    /// Compacts the table where it is worthwhile. The returned change is empty if there is nothing to rewrite.
    #[boxed]
    pub async fn compact(&self, asked: &Compaction) -> LakeResult<Change> {
        let mut change = Change::new(self, Operation::Replace);
        let planned = self.plan_compaction(asked).await?;
        for bin in &planned.bins {
            let read: Vec<PlannedFile> = bin.iter().map(|&index| planned.files[index].clone()).collect();
            let rows = self.read_files(&read, None)?;
            change.add.extend(Writer::new(self)?.write_all(rows).await?);
            change.remove.extend(bin.iter().map(|&index| planned.files[index].file.file()));
        }
        change.remove.extend(planned.dangling);
        change.sequence_number = self.current_snapshot().map(|snapshot| snapshot.sequence_number());
        Ok(change)
    }

    /// Returns true if there is anything to compact. Reads only metadata.
    pub(super) async fn needs_compaction(&self, asked: &Compaction) -> LakeResult<bool> {
        let planned = self.plan_compaction(asked).await?;
        Ok(!planned.bins.is_empty() || !planned.dangling.is_empty())
    }

    /// Returns the total number of bytes that a compaction will read, over all its commits. Reads only metadata.
    #[boxed]
    pub async fn bytes_to_compact(&self, asked: &Compaction) -> LakeResult<u64> {
        let Planned { files, bins, .. } = self.plan_compaction(&asked.clone().max_bytes(u64::MAX)).await?;
        Ok(bins.iter().flatten().map(|&index| files[index].file.data().file_size_in_bytes()).sum())
    }

    async fn plan_compaction(&self, asked: &Compaction) -> LakeResult<Planned> {
        let live = self.live(self.current_snapshot()).await?;
        let index = DeleteIndex::new(&live.deletes);
        let files = live.data.into_iter().map(|file| PlannedFile { deletes: index.of(&file), whole: true, file });
        let files: Vec<PlannedFile> = files.collect();
        let candidates: Vec<Candidate> =
            files.iter().enumerate().map(|(index, file)| self.candidate(index, file)).collect();
        let target = Options::of(self.metadata())?.target_file_bytes as u64;
        let bins = plan(&candidates, asked, target);
        let rewritten: HashSet<usize> = bins.iter().flatten().copied().collect();
        let stays = files.iter().enumerate().filter(|(index, _)| !rewritten.contains(index));
        let needed: HashSet<&str> = stays.flat_map(|(_, file)| &file.deletes).map(|delete| delete.path()).collect();
        let dangling = live.deletes.iter().filter(|delete| !needed.contains(delete.path()));
        let dangling = dangling.map(|delete| delete.file()).collect();
        Ok(Planned { files, bins, dangling })
    }

    fn candidate(&self, index: usize, planned: &PlannedFile) -> Candidate {
        let (file, data) = (&planned.file, planned.file.data());
        let current = file.spec_id == self.metadata().default_partition_spec_id();
        let is_split = !self.metadata().default_partition_spec().is_unpartitioned();
        Candidate {
            index,
            share_key: if current && is_split { hash(data.partition()) } else { hash(data.file_path()) },
            partition: current.then(|| data.partition().clone()),
            bytes: data.file_size_in_bytes(),
            rows: data.record_count(),
            deletes: planned.deletes.len(),
            deleted_rows: planned.deletes.iter().map(|delete| delete.data().record_count()).sum(),
        }
    }
}

/// Hash that assigns files to shares. It is stable within one build of the binary. Tasks that run different builds
/// may put a file into two shares; one of the two commits then conflicts and is retried.
fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

impl Lake {
    /// Compacts a table with repeated commits until nothing is worth compacting.
    #[boxed]
    pub async fn compact(&self, name: &TableName, asked: &Compaction) -> LakeResult<Compacted> {
        self.compact_by(name, asked, None).await
    }

    /// Like [`Lake::compact`], but also records the task in the snapshots.
    pub(super) async fn compact_by(
        &self,
        name: &TableName,
        asked: &Compaction,
        by: Option<&Ctx>,
    ) -> LakeResult<Compacted> {
        let mut all = Compacted::default();
        loop {
            let done = until_committed(self, name, asked.tries, |base: Table| async move {
                let change = signed(base.compact(asked).await?, by);
                let told = Compacted::of(&change);
                Ok((!change.is_empty()).then_some((change, told)))
            });
            let Some((_, _, told)) = done.await? else { return Ok(all) };
            all.add(told);
            // Stops if a round does not reduce the number of files, for example because the target size cannot be
            // reached.
            if told.files_after >= told.files_before && told.deletes == 0 {
                return Ok(all);
            }
        }
    }
}

impl Compacted {
    fn of(change: &Change) -> Self {
        let mut told = Self::default();
        for file in &change.remove {
            if file.is_data() {
                told.files_before += 1;
                told.bytes_before += file.data.file_size_in_bytes();
            } else {
                told.deletes += 1;
            }
        }
        told.files_after = change.add.len() as u64;
        told.bytes_after = change.add.iter().map(|file| file.data.file_size_in_bytes()).sum();
        told
    }

    pub fn add(&mut self, other: Self) {
        self.files_before += other.files_before;
        self.bytes_before += other.bytes_before;
        self.files_after += other.files_after;
        self.bytes_after += other.bytes_after;
        self.deletes += other.deletes;
    }
}
