//! The tables `connection` and `variable`, opened with the keys that are known here.

use super::{Backend, BackendError, Found};
use crate::patience::patiently;
use orch_core::task::{BoxFuture, Connection};
use orch_store::seal::{Keyring, SecretError};
use orch_store::{connection, variable};
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

    fn connection(&self, id: &str) -> BoxFuture<Found<Connection>> {
        let (pool, keys, id) = (self.pool.clone(), self.keys.clone(), id.to_string());
        Box::pin(async move {
            let get = || async {
                let mut db = pool.acquire().await?;
                connection::get_connection(&mut db, &id).await
            };
            let row = patiently(get).await.map_err(SecretError::from)?;
            Ok(row.map(|row| row.open(&keys)).transpose()?)
        })
    }

    fn variable(&self, key: &str) -> BoxFuture<Found<String>> {
        let (pool, keys, key) = (self.pool.clone(), self.keys.clone(), key.to_string());
        Box::pin(async move {
            let get = || async {
                let mut db = pool.acquire().await?;
                variable::get_variable(&mut db, &key).await
            };
            let row = patiently(get).await.map_err(SecretError::from)?;
            Ok(row.map(|row| row.open(&keys)).transpose()?)
        })
    }
}
