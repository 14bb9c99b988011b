//! What a table is made of, partition by partition: what says whether compaction is worth it. No data file is opened.

use std::collections::HashMap;

use iceberg::spec::DataContentType;

use crate::{boxed, error::LakeResult, table::Table, table::write::partition_path};

/// The partitions of a snapshot, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    pub partitions: Vec<PartitionStatistics>,
}

/// What is in a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionStatistics {
    /// As its folder is called: `city=Oslo/day=2025-01-01`; empty for a table that has none.
    pub partition: String,
    /// Which of the table's partition specs it is of.
    pub spec_id: i32,
    pub data_files: u64,
    pub bytes: u64,
    /// With those that deletes take away.
    pub rows: u64,
    pub delete_files: u64,
    /// Rows that delete files name; some may be named twice.
    pub deletes: u64,
}

impl Table {
    /// What the current snapshot is made of.
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
