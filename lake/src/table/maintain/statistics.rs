//! Statistics of each partition, which show whether a compaction is worthwhile. Computed from metadata only.

use std::collections::HashMap;

use iceberg::spec::DataContentType;

use crate::{boxed, error::LakeResult, table::Table, table::write::partition_path};

/// Statistics of the partitions of a snapshot, sorted by partition name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    pub partitions: Vec<PartitionStatistics>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionStatistics {
    /// Folder name of the partition, such as `city=Oslo/day=2025-01-01`. Empty for an unpartitioned table.
    pub partition: String,
    pub spec_id: i32,
    pub data_files: u64,
    pub bytes: u64,
    /// Number of rows in data files. Includes rows that delete files remove.
    pub rows: u64,
    pub delete_files: u64,
    /// Number of entries in delete files. A row can have more than one entry.
    pub deletes: u64,
}

impl Table {
    /// Returns the statistics of the current snapshot.
    #[boxed]
    pub async fn statistics(&self) -> LakeResult<Statistics> {
        let live = self.live(self.current_snapshot()).await?;
        let mut partitions = HashMap::new();
        for file in live.data.iter().chain(live.deletes.iter().map(AsRef::as_ref)) {
            let data = file.data();
            let found: &mut PartitionStatistics =
                partitions.entry((file.spec_id, data.partition().clone())).or_default();
            if data.content_type() == DataContentType::Data {
                found.data_files += 1;
                found.bytes += data.file_size_in_bytes();
                found.rows += data.record_count();
            } else {
                found.delete_files += 1;
                found.deletes += data.record_count();
            }
        }
        let named = partitions.into_iter().map(|((spec_id, partition), found)| {
            let spec = self.metadata().partition_spec_by_id(spec_id);
            let name = spec.map(|spec| partition_path(spec, self.schema(), &partition));
            PartitionStatistics { partition: name.unwrap_or_default(), spec_id, ..found }
        });
        let mut partitions: Vec<_> = named.collect();
        partitions.sort_by(|a, b| (&a.partition, a.spec_id).cmp(&(&b.partition, b.spec_id)));
        Ok(Statistics { partitions })
    }
}
