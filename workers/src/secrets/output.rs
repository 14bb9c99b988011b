//! Encrypts secrets in task outputs before they are stored, and decrypts them when they are read.

use super::Secrets;
use crate::mask;
use orch_store::output::{opened, sealed};
use orch_store::seal::SecretError;
use orch_store::{StoreError, StoreResult};
use serde_json::Value;
use std::borrow::Cow;
use uuid::Uuid;

impl Secrets {
    /// Returns the stored form of a value, and its JSON text. Without an encryption key, secrets are stored in plain
    /// text and a warning is logged.
    pub(crate) fn kept<'a>(&self, run: Uuid, value: &'a Value) -> StoreResult<(Cow<'a, Value>, String)> {
        let text = value.to_string();
        let Some(masker) = mask::masker() else { return Ok((Cow::Borrowed(value), text)) };
        match sealed(value, &text, run, &masker, &self.keys) {
            Ok(Some(sealed)) => {
                let text = sealed.to_string();
                Ok((Cow::Owned(sealed), text))
            }
            Ok(None) => Ok((Cow::Borrowed(value), text)),
            Err(SecretError::NoKey { .. }) => {
                tracing::warn!("an output holds a secret, and no key is known here to seal it: set `ORCH_SECRET_KEY`");
                Ok((Cow::Borrowed(value), text))
            }
            Err(SecretError::Store(error)) => Err(error),
            Err(error) => Err(StoreError::corrupt(error.to_string())),
        }
    }

    /// Returns the original value of a stored value.
    pub(crate) fn given(&self, run: Uuid, value: Value) -> StoreResult<Value> {
        opened(value, run, &self.keys).map_err(|error| match error {
            SecretError::Store(error) => error,
            error => StoreError::corrupt(error.to_string()),
        })
    }
}
