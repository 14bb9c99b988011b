//! Who may ask: keys are API tokens of users, by the header `X-API-Key` or as a bearer token.

use axum::http::{HeaderMap, header};
use orch_store::StoreResult;
use orch_store::token::Keys;
use orch_store::user::Role;

const KEY: &str = "x-api-key";

/// The role of the user whose key the headers carry.
pub(crate) async fn role(keys: &Keys, headers: &HeaderMap) -> StoreResult<Option<Role>> {
    let Some(key) = sent(headers) else { return Ok(None) };
    Ok(keys.owner(key).await?.map(|owner| owner.role))
}

fn sent(headers: &HeaderMap) -> Option<&str> {
    let key = headers.get(KEY).and_then(|key| key.to_str().ok());
    let bearer = || headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ");
    key.or_else(bearer).map(str::trim)
}
