//! Who asks, and what they may do. Viewers read; changing tables needs the role `op`.

use crate::refusal::{Refusal, RestResult};
use crate::router::Api;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use orch_store::token::{TokenOwner, TokenScope};
use orch_store::user::Role;
use std::sync::Arc;

/// The web server says by it who is logged in there. Believed only where nothing else can connect.
const ROLE: HeaderName = HeaderName::from_static("x-orch-role");

/// A caller who may read.
pub(crate) struct Reader {
    role: Role,
    /// The client, as it calls itself.
    pub(crate) client: String,
}

/// A caller who may change tables.
pub(crate) struct Writer(pub(crate) Reader);

impl Reader {
    async fn of(api: &Api, headers: &HeaderMap) -> RestResult<Reader> {
        let text = |name: HeaderName| headers.get(name)?.to_str().ok();
        let client = text(header::USER_AGENT).unwrap_or_default().to_owned();
        if api.is_behind_web
            && let Some(role) = text(ROLE)
        {
            let role = role.parse().map_err(Refusal::input)?;
            return Ok(Reader { role, client });
        }
        let token = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let owner = match token {
            Some(token) => api.keys.owner(token.trim()).await?,
            None => None,
        };
        match owner {
            Some(TokenOwner { role, scope: TokenScope::All, .. }) => Ok(Reader { role, client }),
            Some(_) => Err(Refusal::forbidden("this token is for published queries only")),
            None => Err(Refusal::no_token()),
        }
    }

    pub(crate) fn may_write(&self) -> bool {
        self.role >= Role::Op
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
            return Ok(Writer(reader));
        }
        Err(Refusal::forbidden(format!("the role `{}` reads tables; changing them needs the role `op`", reader.role)))
    }
}
