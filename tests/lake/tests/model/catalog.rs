//! An in-memory catalog that can fail a swap: it rejects the swap, or it loses the response after the swap.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use orch_lake::catalog::{Catalog, Located, NewTable, Properties, Swap, Swapped};
use orch_lake::{LakeError, LakeResult, TableName};

/// The failure of the next swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The swap is not done, and the caller gets an error.
    Refused,
    /// The swap is done, but the caller gets an error.
    AnswerLost,
}

#[derive(Debug, Default)]
pub(crate) struct MemoryCatalog {
    tables: Mutex<BTreeMap<TableName, String>>,
    fault: Mutex<Option<Fault>>,
}

impl MemoryCatalog {
    pub(crate) fn lose(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn tables(&self) -> std::sync::MutexGuard<'_, BTreeMap<TableName, String>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn load(&self, table: &TableName) -> LakeResult<Option<Located>> {
        Ok(self.tables().get(table).map(Located::at))
    }

    async fn create(&self, new: &NewTable<'_>) -> LakeResult<Located> {
        self.tables().insert(new.table.clone(), new.location.to_owned());
        Ok(Located::at(new.location))
    }

    async fn drop_table(&self, table: &TableName) -> LakeResult<bool> {
        Ok(self.tables().remove(table).is_some())
    }

    async fn rename(&self, from: &TableName, to: &TableName) -> LakeResult<()> {
        let mut tables = self.tables();
        if let Some(location) = tables.remove(from) {
            tables.insert(to.clone(), location);
        }
        Ok(())
    }

    async fn tables(&self, namespace: Option<&str>) -> LakeResult<Vec<TableName>> {
        let wanted = |table: &&TableName| namespace.is_none_or(|namespace| table.namespace() == namespace);
        Ok(self.tables().keys().filter(wanted).cloned().collect())
    }

    async fn namespaces(&self) -> LakeResult<BTreeMap<String, Properties>> {
        Ok(self.tables().keys().map(|table| (table.namespace().to_owned(), Properties::new())).collect())
    }

    async fn declare(&self, _: &str, _: &Properties) -> LakeResult<()> {
        Ok(())
    }

    async fn drop_namespace(&self, _: &str) -> LakeResult<bool> {
        Ok(false)
    }

    async fn swap(&self, swap: &Swap<'_>) -> LakeResult<Swapped> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        let lost = || LakeError::Catalog(sqlx::Error::PoolTimedOut);
        if fault == Some(Fault::Refused) {
            return Err(lost());
        }
        let mut tables = self.tables();
        let swapped = match tables.get_mut(swap.table) {
            Some(location) if location == swap.base => {
                swap.next.clone_into(location);
                Swapped::Done(None)
            }
            _ => Swapped::Moved,
        };
        if fault == Some(Fault::AnswerLost) { Err(lost()) } else { Ok(swapped) }
    }
}
