//! Cache of immutable table files (metadata, manifest lists and manifests) that were read or written. With it, a
//! commit onto a table that was just loaded reads only the catalog.

use crate::error::LakeResult;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use iceberg::io::FileIO;
use iceberg::spec::{Manifest, ManifestFile, ManifestList, SnapshotRef, TableMetadata, TableMetadataRef};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum total number of snapshots in cached metadata. Each takes a few hundred bytes.
const SNAPSHOTS: usize = 100_000;
/// Maximum number of entries in cached manifest lists, and maximum number of entries in cached manifests. An entry of
/// a table with many columns takes 1 to 2 KB.
const ENTRIES: usize = 20_000;

/// Maximum number of manifests read concurrently.
const READ_AT_ONCE: usize = 8;

/// Manifests, each with its entry in the manifest list.
pub(crate) type Loaded = Vec<(ManifestFile, Arc<Manifest>)>;

#[derive(Debug)]
pub(crate) struct Cache {
    metadata: LruCache<TableMetadata>,
    lists: LruCache<ManifestList>,
    manifests: LruCache<Manifest>,
}

impl Default for Cache {
    fn default() -> Self {
        Self { metadata: LruCache::new(SNAPSHOTS), lists: LruCache::new(ENTRIES), manifests: LruCache::new(ENTRIES) }
    }
}

impl Cache {
    pub(crate) async fn metadata(&self, io: &FileIO, location: &str) -> LakeResult<TableMetadataRef> {
        if let Some(metadata) = self.metadata.get(location) {
            return Ok(metadata);
        }
        Ok(self.keep_metadata(location, TableMetadata::read_from(io, location).await?))
    }

    pub(crate) fn keep_metadata(&self, location: &str, metadata: TableMetadata) -> TableMetadataRef {
        let weight = metadata.snapshots().len();
        self.metadata.keep(location, metadata, weight)
    }

    pub(crate) async fn list(
        &self,
        table: &iceberg::table::Table,
        snapshot: &SnapshotRef,
    ) -> LakeResult<Arc<ManifestList>> {
        let location = snapshot.manifest_list();
        if let Some(list) = self.lists.get(location) {
            return Ok(list);
        }
        let list = table.manifest_list_reader(snapshot).load().await?;
        let weight = list.entries().len();
        Ok(self.lists.keep(location, list, weight))
    }

    /// Returns the manifests of a snapshot. The future is boxed because the compiler cannot infer its type otherwise.
    pub(crate) fn manifests<'a>(
        &'a self,
        io: &'a FileIO,
        files: Vec<ManifestFile>,
    ) -> BoxFuture<'a, LakeResult<Loaded>> {
        let loaded = stream::iter(files).map(async |file| {
            let manifest = self.manifest(io, &file).await?;
            Ok((file, manifest))
        });
        loaded.buffered(READ_AT_ONCE).try_collect().boxed()
    }

    pub(crate) async fn manifest(&self, io: &FileIO, file: &ManifestFile) -> LakeResult<Arc<Manifest>> {
        if let Some(manifest) = self.manifests.get(&file.manifest_path) {
            return Ok(manifest);
        }
        let manifest = file.load_manifest(io).await?;
        let weight = manifest.entries().len();
        Ok(self.manifests.keep(&file.manifest_path, manifest, weight))
    }
}

/// LRU cache with a maximum total weight.
#[derive(Debug)]
struct LruCache<T> {
    limit: usize,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    items: HashMap<String, CacheEntry<T>>,
    weight: usize,
    /// Incremented with each access. The value at the last access of an item determines which items are evicted
    /// first.
    clock: u64,
}

#[derive(Debug)]
struct CacheEntry<T> {
    value: Arc<T>,
    weight: usize,
    used: u64,
}

impl<T> LruCache<T> {
    fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::new(State { items: HashMap::new(), weight: 0, clock: 0 }) }
    }

    fn get(&self, location: &str) -> Option<Arc<T>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let now = state.clock;
        let item = state.items.get_mut(location)?;
        item.used = now;
        Some(item.value.clone())
    }

    fn keep(&self, location: &str, value: T, weight: usize) -> Arc<T> {
        // Adds the fixed overhead of a cache entry.
        let weight = weight + 10;
        let value = Arc::new(value);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let item = CacheEntry { value: value.clone(), weight, used: state.clock };
        state.weight += weight;
        if let Some(before) = state.items.insert(location.to_owned(), item) {
            state.weight -= before.weight;
        }
        if state.weight > self.limit {
            state.shrink(self.limit / 2);
        }
        value
    }
}

impl<T> State<T> {
    /// Evicts the least recently used items until the total weight is at most `to`. Several are evicted at a time, so
    /// that evictions are rare.
    fn shrink(&mut self, to: usize) {
        let mut by_use: Vec<_> = self.items.iter().map(|(location, item)| (item.used, location.clone())).collect();
        by_use.sort_unstable();
        for (_, location) in by_use {
            if self.weight <= to {
                return;
            }
            if let Some(item) = self.items.remove(&location) {
                self.weight -= item.weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let kept = LruCache::new(100);
        kept.keep("old", 1, 30);
        kept.keep("used", 2, 20);
        assert!(kept.get("old").is_some());
        assert!(kept.get("used").is_some());
        kept.keep("new", 3, 30);
        assert_eq!(kept.get("new").as_deref(), Some(&3), "what was just kept stays");
        assert_eq!(kept.get("old"), None, "it was used before the others");
    }
}
