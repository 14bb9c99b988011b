//! Errors of requests, and their conversion to HTTP responses.
//!
//! The formats are Airflow's: `{"detail": …}` with a text, a list of problems or an object. Responses never contain
//! internal errors: these are logged with the request id, which is also in the response.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use orch_store::StoreError;
use orch_store::seal::SecretError;
use orch_store::user::Role;
use orch_wire::Problem;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// `Retry-After` of most temporary errors.
const AWHILE: Duration = Duration::from_secs(2);
/// `Retry-After` if the database is unavailable. It may be back by then.
const MOMENT: Duration = Duration::from_secs(1);
/// `Retry-After` for a full disk, or a database without free memory or connections, which takes longer to recover.
const SHORT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The request cannot be fulfilled. The text is shown to the caller.
    #[error("{text}")]
    Plain { status: StatusCode, text: Cow<'static, str> },
    #[error("the request has fields that are wrong")]
    Invalid(Vec<Problem>),
    /// A temporary error. A retry may succeed.
    #[error("{text}")]
    Later { status: StatusCode, text: String },
    /// An object with this name already exists.
    #[error("{0}")]
    Taken(String),
    #[error("{0}")]
    NotLoggedIn(&'static str),
    #[error("Forbidden")]
    Forbidden,
    /// The route requires a higher role than the caller has.
    #[error(
        "user `{user}` has the role {has}, and this needs the role {needed}\nhint: ask an admin for it: `orch users set-role -u {user} -r {needed}`"
    )]
    RoleTooLow { user: Arc<str>, has: Role, needed: Role },
    #[error("too many failed logins")]
    TooManyLogins { retry_after: Duration },
    #[error("too many requests")]
    TooMany { retry_after: Duration },
    #[error("API route not found")]
    NoSuchRoute,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Broken(String),
    /// The server of a connection cannot be used. The reason may contain addresses and reveal open ports.
    #[error("a connection failed: {0}")]
    ConnectionFailed(String),
}

/// The only message about failed connections for callers below admin.
pub(crate) const CONNECTION_FAILED: &str =
    "a connection that this request uses failed\nhint: an administrator and the log of the server have the reason";

/// Cause of an internal error. It is attached to the response and logged by the code that knows the route.
#[derive(Debug, Clone)]
pub(crate) struct Cause {
    pub request_id: String,
    pub error: Arc<Refusal>,
}

/// Reason of a failed connection. It is attached to the response, logged, and shown to the caller by the code that
/// knows the caller's role.
#[derive(Debug, Clone)]
pub(crate) struct FailureReason(pub Arc<str>);

/// The error message in a response, which pages render as HTML.
#[derive(Debug, Clone)]
pub(crate) struct RefusalText(pub Arc<str>);

impl Refusal {
    pub(crate) fn plain(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::Plain { status, text: text.into() }
    }

    pub(crate) fn not_found(text: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::plain(StatusCode::NOT_FOUND, text)
    }

    pub(crate) fn bad_request(text: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::plain(StatusCode::BAD_REQUEST, text)
    }
}

impl From<SecretError> for Refusal {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Store(error) => Refusal::Store(error),
            // The key is not configured on this server. The message contains a hint for the user.
            other => Refusal::plain(StatusCode::CONFLICT, other.to_string().replace("\nhint", "; hint")),
        }
    }
}

impl From<orch_wire::Invalid> for Refusal {
    fn from(orch_wire::Invalid(problems): orch_wire::Invalid) -> Self {
        Refusal::Invalid(problems)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Refusal::Invalid(vec![problem])
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let said = RefusalText(self.words().into());
        let mut response = self.into_json();
        response.extensions_mut().insert(said);
        response
    }
}

impl Refusal {
    /// Returns whether the message tells the caller what to do.
    pub(crate) fn is_told(&self) -> bool {
        match self {
            Refusal::Plain { .. } | Refusal::Later { .. } | Refusal::ConnectionFailed(_) => true,
            Refusal::Store(error) => matches!(error, StoreError::OtherVersion | StoreError::TooManyBytes(_)),
            _ => false,
        }
    }

    /// Like [`words`](Refusal::words), with the reason of a failed connection for admins.
    pub(crate) fn words_for(&self, is_admin: bool) -> String {
        match self {
            Refusal::ConnectionFailed(reason) if is_admin => reason.clone(),
            other => other.words(),
        }
    }

    /// Returns the message for users, without internal details.
    pub(crate) fn words(&self) -> String {
        match self {
            Refusal::Invalid(problems) => problems.iter().map(|p| p.msg.as_str()).collect::<Vec<_>>().join("; "),
            Refusal::Store(
                error @ (StoreError::Unreachable(_) | StoreError::TryAgain(_) | StoreError::Schema { .. }),
            ) => match error.shortage() {
                Some(shortage) => format!("{shortage}: nothing was changed; try again when an admin has made room"),
                None => "the database cannot be used at the moment: try again".into(),
            },
            Refusal::Store(StoreError::Archive(_)) => "it is in the archive, which cannot be read at the moment".into(),
            Refusal::Store(error @ StoreError::OtherVersion) => error.to_string().replace("\nhint", "; hint"),
            Refusal::Store(StoreError::TooManyBytes(error)) => {
                format!("the rows have {error}: ask for fewer with `limit`")
            }
            Refusal::Store(_) | Refusal::Broken(_) => "something broke inside the server".into(),
            Refusal::ConnectionFailed(_) => CONNECTION_FAILED.into(),
            Refusal::TooManyLogins { retry_after } => {
                format!("too many failed logins: try again in {} min", retry_after.as_secs().div_ceil(60))
            }
            Refusal::TooMany { .. } => "too many requests: slow down, or ask for more at once".into(),
            other => other.to_string(),
        }
    }

    fn into_json(self) -> Response {
        match self {
            Refusal::Plain { status, text } => detail(status, &json!(text)),
            Refusal::Later { status, text } => retry(detail(status, &json!(text)), AWHILE),
            Refusal::ConnectionFailed(reason) => {
                let mut response = connection_failed(CONNECTION_FAILED);
                response.extensions_mut().insert(FailureReason(reason.into()));
                response
            }
            Refusal::Invalid(problems) => detail(StatusCode::UNPROCESSABLE_ENTITY, &json!(problems)),
            Refusal::Taken(message) => {
                let taken = json!({ "reason": "Unique constraint violation", "statement": "hidden",
                    "orig_error": "hidden", "message": message });
                detail(StatusCode::CONFLICT, &taken)
            }
            Refusal::NotLoggedIn(text) => {
                let mut response = detail(StatusCode::UNAUTHORIZED, &json!(text));
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                response
            }
            Refusal::Forbidden => detail(StatusCode::FORBIDDEN, &json!("Forbidden")),
            Refusal::RoleTooLow { .. } => detail(StatusCode::FORBIDDEN, &json!(self.to_string())),
            Refusal::TooManyLogins { retry_after } => {
                retry(detail(StatusCode::TOO_MANY_REQUESTS, &json!(self.words())), retry_after)
            }
            Refusal::TooMany { retry_after } => {
                retry(detail(StatusCode::TOO_MANY_REQUESTS, &json!(self.words())), retry_after)
            }
            Refusal::NoSuchRoute => {
                (StatusCode::NOT_FOUND, Json(json!({ "error": "API route not found" }))).into_response()
            }
            Refusal::Store(
                ref error @ (StoreError::Unreachable(_) | StoreError::TryAgain(_) | StoreError::Schema { .. }),
            ) => {
                let after = if error.shortage().is_some() { SHORT } else { MOMENT };
                retry(failed(StatusCode::SERVICE_UNAVAILABLE, &self.words(), self), after)
            }
            Refusal::Store(StoreError::Archive(_)) => {
                retry(failed(StatusCode::SERVICE_UNAVAILABLE, &self.words(), self), SHORT)
            }
            Refusal::Store(StoreError::OtherVersion) => detail(StatusCode::CONFLICT, &json!(self.words())),
            Refusal::Store(StoreError::TooManyBytes(_)) => detail(StatusCode::PAYLOAD_TOO_LARGE, &json!(self.words())),
            Refusal::Store(_) | Refusal::Broken(_) => {
                failed(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", self)
            }
        }
    }
}

/// Returns the response to an admin whose request needs a failed connection.
pub(crate) fn with_reason(reason: &FailureReason) -> Response {
    let mut response = connection_failed(&reason.0);
    response.extensions_mut().insert(RefusalText(reason.0.clone()));
    response.extensions_mut().insert(reason.clone());
    response
}

fn connection_failed(text: &str) -> Response {
    retry(detail(StatusCode::SERVICE_UNAVAILABLE, &json!(text)), AWHILE)
}

fn detail(status: StatusCode, detail: &Value) -> Response {
    (status, Json(json!({ "detail": detail }))).into_response()
}

#[expect(clippy::cast_possible_truncation, reason = "a float too large for it becomes the largest whole number")]
fn retry(mut response: Response, after: Duration) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64));
    response
}

fn failed(status: StatusCode, text: &str, error: Refusal) -> Response {
    let mut request_id = Uuid::new_v4().simple().to_string();
    request_id.truncate(16);
    let body = Json(json!({ "detail": text, "request_id": request_id }));
    let mut response = (status, body).into_response();
    response.extensions_mut().insert(Cause { request_id, error: Arc::new(error) });
    response
}
