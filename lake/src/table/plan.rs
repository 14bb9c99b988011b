//! Plans reads: determines the live files of a snapshot, the deletes that apply to each, and which files can contain
//! rows that match a filter.

use super::filter::Bound;
use super::filter::prune::{Pruner, Rows, order};
use super::{File, Filter, Table};
use crate::{boxed, error::LakeResult};
use iceberg::expr::Bind as _;
use iceberg::metadata_columns::RESERVED_FIELD_ID_DELETE_FILE_PATH;
use iceberg::scan::{FileScanTask, FileScanTaskDeleteFile};
use iceberg::spec::{
    DataContentType, DataFile, Datum, ManifestEntryRef, PrimitiveLiteral, Schema, SchemaRef, SnapshotRef, Struct,
};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct LiveFile {
    pub entry: ManifestEntryRef,
    pub spec_id: i32,
}

/// The files that must be opened for a read or a rewrite.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub files: Vec<PlannedFile>,
}

#[derive(Debug, Clone)]
pub struct PlannedFile {
    pub file: LiveFile,
    /// Position and equality delete files that may delete rows of this data file.
    pub deletes: Vec<Arc<LiveFile>>,
    /// True if all rows of the file match the filter.
    pub whole: bool,
}

/// All live files of a snapshot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    pub(crate) data: Vec<LiveFile>,
    pub(crate) deletes: Vec<Arc<LiveFile>>,
}

impl LiveFile {
    pub fn data(&self) -> &DataFile {
        self.entry.data_file()
    }

    pub fn path(&self) -> &str {
        self.entry.file_path()
    }

    pub fn file(&self) -> File {
        File { data: self.data().clone(), spec_id: self.spec_id }
    }

    pub fn sequence_number(&self) -> i64 {
        self.entry.sequence_number().unwrap_or_default()
    }
}

impl Table {
    /// Returns the data files that can contain rows that match the filter, with the delete files that apply to them.
    #[boxed]
    pub async fn plan(&self, filter: &Filter) -> LakeResult<Plan> {
        self.plan_at(self.current_snapshot(), self.schema(), filter).await
    }

    pub(crate) async fn plan_at(
        &self,
        snapshot: Option<&SnapshotRef>,
        schema: &Schema,
        filter: &Filter,
    ) -> LakeResult<Plan> {
        let filter = filter.bind(schema)?;
        let live = self.live(snapshot).await?;
        let index = DeleteIndex::new(&live.deletes);
        let mut pruners = Pruners::new(self, &filter);
        let mut files = vec![];
        for file in live.data {
            match pruners.rows(&file)? {
                Rows::None => {}
                rows => files.push(PlannedFile { deletes: index.of(&file), whole: rows == Rows::All, file }),
            }
        }
        let deletes = files.iter().flat_map(|file| &file.deletes).map(|delete| delete.path());
        self.check_read(files.iter().map(|file| file.file.path()).chain(deletes))?;
        Ok(Plan { files })
    }

    pub(crate) async fn live(&self, snapshot: Option<&SnapshotRef>) -> LakeResult<Live> {
        let Some(snapshot) = snapshot else { return Ok(Live::default()) };
        let cache = self.lake().cache();
        self.check_read([snapshot.manifest_list()])?;
        let list = cache.list(self.iceberg(), snapshot).await?;
        self.check_read(list.entries().iter().map(|manifest| manifest.manifest_path.as_str()))?;
        let mut live = Live::default();
        for (file, manifest) in cache.manifests(self.lake().io(), list.entries().to_vec()).await? {
            let spec_id = file.partition_spec_id;
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                let file = LiveFile { entry: entry.clone(), spec_id };
                match entry.content_type() {
                    DataContentType::Data => live.data.push(file),
                    _ => live.deletes.push(Arc::new(file)),
                }
            }
        }
        Ok(live)
    }
}

impl PlannedFile {
    /// Converts a planned file to a task for iceberg's reader.
    pub(crate) fn task(
        &self,
        schema: &SchemaRef,
        field_ids: &[i32],
        filter: Option<&Bound>,
    ) -> LakeResult<FileScanTask> {
        let data = self.file.data();
        let deletes = self.deletes.iter().map(|delete| {
            FileScanTaskDeleteFile::builder()
                .with_file_path(delete.path().to_owned())
                .with_file_size_in_bytes(delete.data().file_size_in_bytes())
                .with_file_type(delete.data().content_type())
                .with_partition_spec_id(delete.spec_id)
                .with_equality_ids(delete.data().equality_ids())
                .build()
        });
        let predicate = match filter {
            Some(filter) if !self.whole => Some(filter.predicate().bind(schema.clone(), true)?),
            _ => None,
        };
        Ok(FileScanTask::builder()
            .with_file_size_in_bytes(data.file_size_in_bytes())
            .with_start(0)
            .with_length(data.file_size_in_bytes())
            .with_record_count(Some(data.record_count()))
            .with_data_file_path(data.file_path().to_owned())
            .with_data_file_format(data.file_format())
            .with_schema(schema.clone())
            .with_project_field_ids(field_ids.to_vec())
            .with_predicate(predicate)
            .with_deletes(deletes.collect())
            .with_case_sensitive(true)
            .build())
    }
}

/// A filter compiled for each partition spec, by spec id.
pub(crate) struct Pruners<'a> {
    table: &'a Table,
    filter: &'a Bound,
    by_spec: HashMap<i32, Pruner>,
}

impl<'a> Pruners<'a> {
    pub(crate) fn new(table: &'a Table, filter: &'a Bound) -> Self {
        Self { table, filter, by_spec: HashMap::new() }
    }

    pub(crate) fn rows(&mut self, file: &LiveFile) -> LakeResult<Rows> {
        if !self.by_spec.contains_key(&file.spec_id) {
            let Some(spec) = self.table.metadata().partition_spec_by_id(file.spec_id) else {
                return Ok(Rows::Maybe);
            };
            self.by_spec.insert(file.spec_id, Pruner::new(self.filter, spec)?);
        }
        Ok(self.by_spec[&file.spec_id].rows(file.data()))
    }
}

/// Finds the delete files that can apply to a data file.
pub(crate) struct DeleteIndex {
    by_partition: HashMap<(i32, Struct), Vec<Arc<LiveFile>>>,
    /// Equality delete files with an unpartitioned spec, which apply to all partitions.
    global: Vec<Arc<LiveFile>>,
}

impl DeleteIndex {
    pub(crate) fn new(deletes: &[Arc<LiveFile>]) -> Self {
        let mut index = Self { by_partition: HashMap::new(), global: vec![] };
        for delete in deletes {
            let data = delete.data();
            if data.content_type() == DataContentType::EqualityDeletes && data.partition().fields().is_empty() {
                index.global.push(delete.clone());
            } else {
                let partition = (delete.spec_id, data.partition().clone());
                index.by_partition.entry(partition).or_default().push(delete.clone());
            }
        }
        index
    }

    pub(crate) fn of(&self, file: &LiveFile) -> Vec<Arc<LiveFile>> {
        let near = self.by_partition.get(&(file.spec_id, file.data().partition().clone()));
        let candidates = near.into_iter().flatten().chain(&self.global);
        candidates.filter(|delete| applies(delete, file)).cloned().collect()
    }
}

/// Returns true if a delete file applies to a data file. Compares sequence numbers and, for position deletes, the
/// bounds of the data file paths that the delete file contains.
fn applies(delete: &LiveFile, file: &LiveFile) -> bool {
    let data = delete.data();
    if data.content_type() == DataContentType::EqualityDeletes {
        return delete.sequence_number() > file.sequence_number();
    }
    if delete.sequence_number() < file.sequence_number() {
        return false;
    }
    if let Some(path) = data.referenced_data_file() {
        return path == file.path();
    }
    let path = PrimitiveLiteral::String(file.path().to_owned());
    let beyond = |bounds: &HashMap<i32, Datum>, side| {
        let bound = bounds.get(&RESERVED_FIELD_ID_DELETE_FILE_PATH);
        bound.is_some_and(|bound| order(&path, bound.literal()) == Some(side))
    };
    !beyond(data.lower_bounds(), Ordering::Less) && !beyond(data.upper_bounds(), Ordering::Greater)
}
