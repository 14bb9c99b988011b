//! Looks up connections and variables in the database tables `connection` and `variable`, and decrypts them with the
//! keys of this process.

use super::{Backend, BackendError, BackendResult};
use crate::patience::patiently;
use orch_sdk::task::{BoxFuture, Connection};
use orch_store::connection::open;
use orch_store::kept::{self, CONNECTION, Record, Table, VARIABLE};
use orch_store::seal::{Keyring, SecretError};
use sqlx::PgPool;

pub(super) struct Metadata {
    pool: PgPool,
    keys: Keyring,
}

impl Metadata {
    pub(super) fn new(pool: PgPool, keys: Keyring) -> Self {
        Metadata { pool, keys }
    }
}

impl Metadata {
    fn record(&self, table: &'static Table, name: &str) -> BoxFuture<BackendResult<Record>> {
        let (pool, name) = (self.pool.clone(), name.to_string());
        Box::pin(async move {
            let get = || async { kept::get(&mut *pool.acquire().await?, table, &name).await };
            Ok(patiently(get).await.map_err(SecretError::from)?)
        })
    }
}

impl From<SecretError> for BackendError {
    fn from(error: SecretError) -> Self {
        let passes = matches!(&error, SecretError::Store(error) if error.passes());
        BackendError { problem: error.to_string(), passes }
    }
}

impl Backend for Metadata {
    fn name(&self) -> String {
        "the database".into()
    }

    fn is_changed_by_users(&self) -> bool {
        true
    }

    fn connection(&self, id: &str) -> BoxFuture<BackendResult<Connection>> {
        let (record, keys) = (self.record(&CONNECTION, id), self.keys.clone());
        Box::pin(async move { Ok(record.await?.map(|record| open(&record, &keys)).transpose()?) })
    }

    fn variable(&self, key: &str) -> BoxFuture<BackendResult<String>> {
        let (record, keys) = (self.record(&VARIABLE, key), self.keys.clone());
        Box::pin(async move { Ok(record.await?.map(|record| record.open("value", &keys)).transpose()?.flatten()) })
    }
}
