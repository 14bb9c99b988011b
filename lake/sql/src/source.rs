//! Opens the lake of a binary with its connections at first use, and reopens it when the connections change.

use crate::error::chain;
use crate::view::{SqlLake, SqlLimits};
use orch_lake::Lake;
use orch_sdk::task::Connection;
use orch_store::lake_view::{FindConnection, LakeError, LakeResult, LakeSource, LakeView};
use std::sync::{Arc, Mutex, PoisonError};

/// An open lake, and its location in the form that is shown to users.
pub struct Opened {
    pub lake: Lake,
    pub place: String,
}

type CachedLake = Option<(Vec<Connection>, Arc<SqlLake>)>;

/// Returns the lake source that is passed to `Binary::lake`. `open` is called with the connections `ids`, in this
/// order, and runs on the threads of the lake.
pub fn source<F>(limits: SqlLimits, ids: &'static [&'static str], open: F) -> LakeSource
where
    F: Fn(&[Connection]) -> anyhow::Result<Opened> + Clone + Send + Sync + 'static,
{
    let kept: Arc<Mutex<CachedLake>> = Arc::default();
    LakeSource::new(move |find| {
        let (kept, open) = (kept.clone(), open.clone());
        Box::pin(async move {
            let connections = found(&*find, ids).await?;
            if let Some(lake) = known(&kept, &connections) {
                return Ok(lake);
            }
            let from = connections.clone();
            let opened = SqlLake::open(limits, async move { open(&from) }).await?;
            let lake: Arc<dyn LakeView> = opened.clone();
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((connections, opened));
            Ok(lake)
        })
    })
}

fn known(kept: &Mutex<CachedLake>, connections: &[Connection]) -> Option<Arc<dyn LakeView>> {
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, lake) = kept.as_ref().filter(|(known, _)| known == connections)?;
    let lake: Arc<dyn LakeView> = lake.clone();
    Some(lake)
}

async fn found(find: &FindConnection, ids: &[&str]) -> LakeResult<Vec<Connection>> {
    let mut connections = Vec::with_capacity(ids.len());
    for id in ids {
        let found = find(id).await;
        connections.push(found.map_err(|error| LakeError::NotFound(chain(error.as_ref())))?);
    }
    Ok(connections)
}
