//! Authenticates and authorizes callers of the REST catalog. Viewers can read; changing tables requires the role
//! `op`.

use crate::audit::Caller;
use crate::refusal::{Refusal, RestResult};
use crate::router::Api;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use orch_store::token::{CALLER_HEADER, TokenOwner, TokenScope};
use orch_store::user::Role;
use std::sync::Arc;

/// A caller with permission to read.
pub(crate) struct Reader(pub(crate) Caller);

/// A caller with permission to change tables.
pub(crate) struct Writer(pub(crate) Caller);

impl Reader {
    async fn of(api: &Api, headers: &HeaderMap) -> RestResult<Reader> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let client = text(header::USER_AGENT.as_str()).unwrap_or_default().to_owned();
        let token = text(header::AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
        match api.callers.identify(text(CALLER_HEADER), token.map(str::trim)).await? {
            Some(TokenOwner { user, role, scope: TokenScope::All }) => Ok(Reader(Caller { user, role, client })),
            Some(_) => Err(Refusal::forbidden("this token is for published queries only")),
            None => Err(Refusal::no_token()),
        }
    }

    pub(crate) fn may_write(&self) -> bool {
        self.0.role >= Role::Op
    }
}

impl FromRequestParts<Arc<Api>> for Reader {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> RestResult<Reader> {
        Reader::of(api, &parts.headers).await
    }
}

impl FromRequestParts<Arc<Api>> for Writer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> RestResult<Writer> {
        let reader = Reader::of(api, &parts.headers).await?;
        if reader.may_write() {
            return Ok(Writer(reader.0));
        }
        Err(Refusal::forbidden(format!("the role `{}` reads tables; changing them needs the role `op`", reader.0.role)))
    }
}
