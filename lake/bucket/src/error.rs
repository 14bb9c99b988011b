//! Errors of buckets. Callers can distinguish missing objects, objects that already exist, and other errors. The
//! latter contain the failed operation, the location and the cause.

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no object `{location}`")]
    NotFound { location: String },
    #[error("there is an object `{location}` already")]
    Exists { location: String },
    #[error(
        "cannot {verb} `{location}`: the store refuses these keys\n\
         hint: look at login and password of its connection, and at what they may do"
    )]
    Denied { verb: &'static str, location: String },
    #[error("cannot {verb} `{location}`")]
    Failed { verb: &'static str, location: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("`{key}` is no key of an object in `{bucket}`\nhint: parts with `/` between them, none empty, `.` or `..`")]
    BadKey { key: String, bucket: String },
    #[error("{0}")]
    BadAddress(String),
}

impl Error {
    pub(super) fn of(verb: &'static str, location: String, source: object_store::Error) -> Error {
        match source {
            object_store::Error::NotFound { .. } => Error::NotFound { location },
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
                Error::Exists { location }
            }
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                Error::Denied { verb, location }
            }
            // For list requests, `object_store` reports the missing bucket only in the error message.
            object_store::Error::Generic { source, .. } if source.to_string().contains("NoSuchBucket") => {
                Error::NotFound { location }
            }
            object_store::Error::Generic { source, .. } if source.to_string().contains("403 Forbidden") => {
                Error::Denied { verb, location }
            }
            other => Error::Failed { verb, location, source: Box::new(other) },
        }
    }

    /// Returns true if a retry cannot succeed, because a name, a URL or the credentials are wrong.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Error::BadKey { .. } | Error::BadAddress(_) | Error::Denied { .. })
    }
}
