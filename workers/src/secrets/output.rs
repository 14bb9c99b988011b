//! What tasks give on its way to the store and back: a secret in it is sealed there.

use super::Secrets;
use crate::mask;
use orch_store::output::{opened, sealed};
use orch_store::seal::SecretError;
use orch_store::{StoreError, StoreResult};
use serde_json::Value;
use std::borrow::Cow;
use uuid::Uuid;

impl Secrets {
    /// As it is kept, and the text of that. Without a key nothing can be sealed: it is kept as it is, and the log says so.
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

    /// As it was given.
    pub(crate) fn given(&self, run: Uuid, value: Value) -> StoreResult<Value> {
        opened(value, run, &self.keys).map_err(|error| match error {
            SecretError::Store(error) => error,
            error => StoreError::corrupt(error.to_string()),
        })
    }
}
