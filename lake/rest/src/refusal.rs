//! Error responses of the REST protocol. The response names the exception that clients raise.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use orch_lake::{LakeError, TableName};
use orch_store::{Policy, StoreError};
use serde_json::json;

#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    exception: &'static str,
    message: String,
}

pub(crate) type RestResult<T = Response> = Result<T, Refusal>;

impl Refusal {
    fn new(status: StatusCode, exception: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, exception, message: message.into() }
    }

    pub(crate) fn input(message: impl Into<String>) -> Refusal {
        Self::new(StatusCode::BAD_REQUEST, "BadRequestException", message)
    }

    pub(crate) fn no_token() -> Refusal {
        let message = "a token is missing, or it has ended: make one on your account's page";
        Self::new(StatusCode::UNAUTHORIZED, "NotAuthorizedException", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Refusal {
        Self::new(StatusCode::FORBIDDEN, "ForbiddenException", message)
    }

    pub(crate) fn no_namespace(namespace: &str) -> Refusal {
        let message = format!("Namespace does not exist: {namespace}");
        Self::new(StatusCode::NOT_FOUND, "NoSuchNamespaceException", message)
    }

    pub(crate) fn no_table(name: &TableName) -> Refusal {
        Self::new(StatusCode::NOT_FOUND, "NoSuchTableException", format!("Table does not exist: {name}"))
    }

    pub(crate) fn no_view(name: &TableName) -> Refusal {
        Self::new(StatusCode::NOT_FOUND, "NoSuchViewException", format!("View does not exist: {name}"))
    }

    pub(crate) fn no_file(location: &str) -> Refusal {
        Self::new(
            StatusCode::NOT_FOUND,
            "NotFoundException",
            format!("Failed to open input stream for file: {location}"),
        )
    }

    pub(crate) fn exists(message: impl Into<String>) -> Refusal {
        Self::new(StatusCode::CONFLICT, "AlreadyExistsException", message)
    }

    pub(crate) fn not_empty(namespace: &str) -> Refusal {
        let message = format!("Namespace {namespace} is not empty");
        Self::new(StatusCode::CONFLICT, "NamespaceNotEmptyException", message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Refusal {
        Self::new(StatusCode::CONFLICT, "CommitFailedException", message)
    }

    /// The outcome of the commit is unknown, so the client must check the table before it retries.
    pub(crate) fn unknown(error: &anyhow::Error) -> Refusal {
        tracing::warn!(error = format!("{error:#}"), "whether a commit from outside was done is not known");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "CommitStateUnknownException",
            "the database did not say whether the commit was done",
        )
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Refusal {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", message)
    }

    fn broken(error: &anyhow::Error) -> Refusal {
        tracing::error!(error = format!("{error:#}"), "the catalog did not answer");
        Self::unavailable("the catalog cannot answer; the log of the server says why")
    }
}

impl From<LakeError> for Refusal {
    fn from(error: LakeError) -> Refusal {
        match error {
            LakeError::NoTable { table, .. } => Refusal::no_table(&table),
            LakeError::TableExists { table } => Refusal::exists(format!("Table already exists: {table}")),
            LakeError::Conflict { why, .. } => Refusal::conflict(in_their_words(&why)),
            LakeError::Input { what, hint } => Refusal::input(format!("{what}; {hint}")),
            LakeError::Iceberg(error) if is_input(&error) => {
                Refusal::new(StatusCode::BAD_REQUEST, "IllegalArgumentException", error.message())
            }
            LakeError::Catalog(error) => error.into(),
            error => Refusal::broken(&error.into()),
        }
    }
}

/// Translates messages about failed requirements. Clients search for messages other than those of the `iceberg`
/// crate.
fn in_their_words(why: &str) -> &str {
    const WORDS: [(&str, &str); 6] = [
        ("Requirement failed: Table UUID does not match", "Requirement failed: UUID does not match"),
        ("Requirement failed: Current schema id does not match", "Requirement failed: current schema changed"),
        (
            "Requirement failed: Default partition spec id does not match",
            "Requirement failed: default partition spec changed",
        ),
        ("Requirement failed: Default sort order id does not match", "Requirement failed: default sort order changed"),
        (
            "Requirement failed: Last assigned field id does not match",
            "Requirement failed: last assigned field id changed",
        ),
        (
            "Requirement failed: Last assigned partition id does not match",
            "Requirement failed: last assigned partition id changed",
        ),
    ];
    WORDS.iter().find(|(crates, _)| *crates == why).map_or(why, |(_, theirs)| theirs)
}

/// Returns true if the error is the client's fault: the request contradicts itself or the table.
fn is_input(error: &iceberg::Error) -> bool {
    use iceberg::ErrorKind::{DataInvalid, FeatureUnsupported, PreconditionFailed};
    matches!(error.kind(), DataInvalid | FeatureUnsupported | PreconditionFailed)
}

impl From<iceberg::Error> for Refusal {
    fn from(error: iceberg::Error) -> Refusal {
        LakeError::from(error).into()
    }
}

impl From<sqlx::Error> for Refusal {
    /// A value that the database cannot store, such as a string with NUL, is a client error.
    fn from(error: sqlx::Error) -> Refusal {
        match error.as_database_error() {
            Some(refused) if refused.code().is_some_and(|code| Policy::of(&code) == Policy::Isolate) => {
                Refusal::input(format!("the database cannot store a value of this request: {}", refused.message()))
            }
            _ => Refusal::broken(&error.into()),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        match error {
            StoreError::Sql(error) => error.into(),
            error => Refusal::broken(&error.into()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refusal { status, exception, message } = self;
        let body = json!({ "error": { "message": message, "type": exception, "code": status.as_u16() } });
        (status, Json(body)).into_response()
    }
}
