//! The files of a snapshot, with what decides which deletes apply to which data.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::metadata_columns::RESERVED_FIELD_ID_DELETE_FILE_PATH;
use iceberg::spec::{DataContentType, DataFile, ManifestContentType, PrimitiveLiteral, SnapshotRef, Struct};
use iceberg::table::Table;

use crate::error::LakeResult;

/// Manifests that are read at once.
const MANIFESTS_AT_ONCE: usize = 8;

/// A file that a snapshot holds.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub file: DataFile,
    pub spec_id: i32,
    /// Deletes apply to what is older.
    pub sequence: i64,
}

/// The files of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub data: Vec<Entry>,
    pub deletes: Vec<Entry>,
}

/// Reads all manifests of a snapshot: no data file is opened.
pub(crate) async fn read(table: &Table, snapshot: &SnapshotRef) -> LakeResult<Entries> {
    let list = table.manifest_list_reader(snapshot).load().await?;
    let manifests = futures::stream::iter(list.consume_entries()).map(|manifest| async move {
        let read = manifest.load_manifest(table.file_io()).await?;
        let alive = read.entries().iter().filter(|entry| entry.is_alive()).map(|entry| Entry {
            file: entry.data_file().clone(),
            spec_id: manifest.partition_spec_id,
            sequence: entry.sequence_number().unwrap_or(manifest.sequence_number),
        });
        Ok::<_, iceberg::Error>((manifest.content, alive.collect::<Vec<_>>()))
    });
    let mut entries = Entries::default();
    let mut manifests = manifests.buffered(MANIFESTS_AT_ONCE);
    while let Some((content, alive)) = manifests.try_next().await? {
        match content {
            ManifestContentType::Data => entries.data.extend(alive),
            ManifestContentType::Deletes => entries.deletes.extend(alive),
        }
    }
    Ok(entries)
}

/// Finds the deletes that may apply to a data file, as the specification says.
#[derive(Debug)]
pub(crate) struct Deletes {
    of_partition: HashMap<(i32, Struct), Vec<Arc<Entry>>>,
    everywhere: Vec<Arc<Entry>>,
}

impl Deletes {
    pub(crate) fn new(deletes: &[Entry]) -> Self {
        let (mut of_partition, mut everywhere) = (HashMap::<_, Vec<_>>::new(), Vec::new());
        for delete in deletes {
            let delete = Arc::new(delete.clone());
            let equality = delete.file.content_type() == DataContentType::EqualityDeletes;
            if equality && delete.file.partition().fields().is_empty() {
                everywhere.push(delete);
            } else {
                let partition = (delete.spec_id, delete.file.partition().clone());
                of_partition.entry(partition).or_default().push(delete);
            }
        }
        Self { of_partition, everywhere }
    }

    pub(crate) fn of(&self, data: &Entry) -> impl Iterator<Item = &Arc<Entry>> {
        let partition = (data.spec_id, data.file.partition().clone());
        let of_partition = self.of_partition.get(&partition).into_iter().flatten();
        of_partition.chain(&self.everywhere).filter(move |delete| applies(delete, data))
    }
}

/// Whether a delete of the same partition (or of all) may delete rows of a data file.
pub(crate) fn applies(delete: &Entry, data: &Entry) -> bool {
    if delete.file.content_type() == DataContentType::EqualityDeletes {
        return delete.sequence > data.sequence;
    }
    delete.sequence >= data.sequence && may_name(&delete.file, data.file.file_path())
}

/// Whether a file of position deletes may have rows about a path: by the one it says, or by its smallest and largest.
fn may_name(delete: &DataFile, path: &str) -> bool {
    if let Some(only) = delete.referenced_data_file() {
        return only == path;
    }
    let id = RESERVED_FIELD_ID_DELETE_FILE_PATH;
    let text = |bound: &iceberg::spec::Datum| match bound.literal() {
        PrimitiveLiteral::String(text) => Some(text.clone()),
        _ => None,
    };
    let lower = delete.lower_bounds().get(&id).and_then(text);
    let upper = delete.upper_bounds().get(&id).and_then(text);
    // Bounds may be cut: the lower one is still smaller then, and the upper one larger or a beginning.
    lower.is_none_or(|lower| *lower <= *path) && upper.is_none_or(|upper| *upper >= *path || path.starts_with(&upper))
}
