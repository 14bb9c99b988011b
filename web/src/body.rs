//! Reading bodies as a whole, with a limit.

use axum::body::{Body, Bytes, to_bytes};
use http_body_util::LengthLimitError;
use orch_store::bounded::TooManyBytes;
use std::error::Error as _;

/// Maximum size of a response that a command reads, and of one from a server of the bundle.
pub const MAX_RESPONSE_BYTES: usize = 256 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body has {0}")]
    TooLarge(TooManyBytes),
    #[error("the body broke off: {0}")]
    Broken(axum::Error),
}

pub(crate) async fn read_body(body: Body, max_bytes: usize) -> Result<Bytes, BodyError> {
    #[expect(clippy::disallowed_methods, reason = "callers have a limit for what they read")]
    let read = to_bytes(body, max_bytes).await;
    read.map_err(|error| match error.source() {
        Some(source) if source.is::<LengthLimitError>() => BodyError::TooLarge(TooManyBytes { max_bytes }),
        _ => BodyError::Broken(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit() {
        assert_eq!(read_body(Body::from("abcd"), 4).await.unwrap(), "abcd");
        let error = read_body(Body::from("abcde"), 4).await.unwrap_err();
        assert_eq!(error.to_string(), "the body has more than 4 bytes");
    }
}
