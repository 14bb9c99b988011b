//! The API for commands, in the same process: the same router, without a network and without a login. Whoever can open
//! the database may do everything that the server may.

use crate::auth::{Caller, Role};
use crate::body::{MAX_RESPONSE_BYTES, read_body};
use crate::refusal::{Cause, Refusal};
use crate::routes::router;
use crate::state::App;
use crate::{WebConfig, WebError, WebResult};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use orch_spec::state::TriggeredBy;
use orch_store::hint::Hints;
use serde_json::Value;
use sqlx::PgConnection;
use std::ops::DerefMut;
use std::sync::Arc;
use tower::ServiceExt as _;

#[derive(Debug)]
pub struct InProcessApi {
    app: App,
    router: Router,
    caller: Caller,
}

impl InProcessApi {
    /// Returns an API whose actions are recorded under `name`. `db` is used before any other connection is opened.
    pub fn new(config: WebConfig, name: &str, db: PgConnection) -> WebResult<InProcessApi> {
        let app = App::for_one_caller(config, Hints::new(), db)?;
        Ok(InProcessApi {
            router: router(&app),
            app,
            caller: Caller { name: name.into(), role: Role::Admin, through: TriggeredBy::Cli },
        })
    }

    /// Returns a database connection, for queries that the API does not support.
    pub async fn connection(&self) -> WebResult<impl DerefMut<Target = PgConnection>> {
        Ok(self.app.hot().await?)
    }

    /// Sends a request and returns the status and the body of the response. Hints to other processes are sent before
    /// this returns.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> WebResult<(u16, String)> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/{path}"))
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .extension(self.caller.clone())
            .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))
            .map_err(|error| WebError::Here(error.to_string()))?;
        let Ok(response) = self.router.clone().oneshot(request).await;
        let (mut parts, body) = response.into_parts();
        if let Some(Cause { error, .. }) = parts.extensions.remove() {
            return Err(match Arc::try_unwrap(error) {
                Ok(Refusal::Store(error)) => WebError::Store(error),
                Ok(error) => WebError::Here(error.to_string()),
                Err(error) => WebError::Here(error.to_string()),
            });
        }
        let read = read_body(body, MAX_RESPONSE_BYTES).await;
        let bytes = read.map_err(|error| WebError::Here(format!("cannot read the response of `{path}`: {error}")))?;
        self.app.hints.tell_now(&mut *self.app.hot().await?).await?;
        Ok((parts.status.as_u16(), String::from_utf8_lossy(&bytes).into_owned()))
    }
}
