//! Identifies callers: by the header of the web server, or by an API token in the header `X-API-Key` or as a bearer
//! token.

use axum::http::{HeaderMap, header};
use orch_store::StoreResult;
use orch_store::token::{CALLER_HEADER, Callers};
use orch_store::user::Role;

const KEY: &str = "x-api-key";

/// Returns the role of the caller, or `None` if it cannot be identified.
pub(crate) async fn role(callers: &Callers, headers: &HeaderMap) -> StoreResult<Option<Role>> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let bearer = || text(header::AUTHORIZATION.as_str())?.strip_prefix("Bearer ");
    let token = text(KEY).or_else(bearer).map(str::trim);
    Ok(callers.identify(text(CALLER_HEADER), token).await?.map(|owner| owner.role))
}
