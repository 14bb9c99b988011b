//! Errors that prevent a web server from starting. Errors of single requests are `Refusal`s.

use orch_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum WebError {
    #[error(
        "https cannot be served: {0}\nhint: `--ssl-cert` and `--ssl-key` take files in PEM: the certificate with its chain, and its key"
    )]
    Tls(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Here(String),
    #[error("a password cannot be hashed: {0}")]
    Hash(argon2::password_hash::Error),
    #[error(
        "the stored key that signs tokens is damaged\nhint: delete the row `{0}` of the table `setting`; everybody logs in again"
    )]
    Key(&'static str),
}

pub type WebResult<T> = Result<T, WebError>;
