//! Parses addresses of buckets in URLs and connections.

use super::client::Connector;
use super::create::Maker;
use super::{Bucket, Error, Result};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, RetryConfig};
use orch_sdk::task::Connection;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Maximum number of retries for rejected requests (503, 429, broken connections). With 12 retries, a commit of a
/// hundred requests succeeds even if the server rejects 40 % of them. If the server is down, requests fail after a
/// few seconds.
const RETRIES: usize = 12;
const RETRY_FOR: Duration = Duration::from_secs(30);
/// Minimum and maximum of the randomized backoff, which grows with each retry.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Options to access an S3 server. Local folders need none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// URL of the server, such as `http://localhost:9000`. `None` selects AWS.
    pub endpoint: Option<String>,
    /// AWS region. Default: `us-east-1`.
    pub region: Option<String>,
    /// Access key id. `None` uses the credentials of the machine's role, as on AWS.
    pub access_key: Option<String>,
    pub secret_key: Option<String>,
    pub session_token: Option<String>,
    /// Use virtual-hosted URLs, `bucket.host/key`, instead of `host/bucket/key`.
    pub virtual_host: bool,
}

/// The buckets of a connection: subfolders of a local folder, or buckets on a server. Each is found by its name.
#[derive(Debug, Clone)]
pub struct Buckets {
    base: String,
    options: Options,
}

impl Options {
    /// Reads the options from a connection with Airflow's fields. Login and password are the access keys; `extra` may
    /// contain `endpoint_url`, `region_name`, `aws_session_token` and `addressing_style`. If the connection has a
    /// host, it is the endpoint, with `http` as the default scheme.
    pub fn of(connection: &Connection) -> Options {
        let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let extra = |name: &str| connection.extra_field(name).and_then(Value::as_str).map(String::from);
        let endpoint = extra("endpoint_url").or_else(|| {
            let host = text(&connection.host)?;
            let host = if host.contains("://") { host } else { format!("http://{host}") };
            Some(match connection.port {
                Some(port) => format!("{}:{port}", host.trim_end_matches('/')),
                None => host,
            })
        });
        Options {
            endpoint,
            region: extra("region_name"),
            access_key: text(&connection.login).or_else(|| extra("aws_access_key_id")),
            secret_key: text(&connection.password).or_else(|| extra("aws_secret_access_key")),
            session_token: extra("aws_session_token"),
            virtual_host: extra("addressing_style").as_deref() == Some("virtual"),
        }
    }

    pub(super) fn s3(&self, bucket: &str) -> object_store::Result<AmazonS3> {
        let backoff = BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: LONGEST_PAUSE, base: 2.0 };
        let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_FOR };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(self.region.as_deref().unwrap_or("us-east-1"))
            .with_virtual_hosted_style_request(self.virtual_host)
            .with_http_connector(Connector)
            .with_retry(retry);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        if let (Some(access_key), Some(secret_key)) = (&self.access_key, &self.secret_key) {
            builder = builder.with_access_key_id(access_key).with_secret_access_key(secret_key);
        }
        if let Some(token) = &self.session_token {
            builder = builder.with_token(token);
        }
        builder.build()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mask = |secret: &Option<String>| secret.as_ref().map(|_| "***");
        f.debug_struct("Options")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key", &self.access_key)
            .field("secret_key", &mask(&self.secret_key))
            .field("session_token", &mask(&self.session_token))
            .field("virtual_host", &self.virtual_host)
            .finish()
    }
}

impl Buckets {
    /// Returns the buckets of a connection. For `file:///data/buckets`, each subfolder is a bucket. For
    /// `s3://key:secret@host:9000`, they are the buckets of the server. If the URL contains a bucket name
    /// (`…/shared`), they are the folders in that bucket.
    ///
    /// # Errors
    /// Returns an error if the connection has another type or names no folder.
    pub fn of(connection: &Connection) -> Result<Buckets> {
        let id = &connection.id;
        let schema = connection.schema.as_deref().unwrap_or_default().trim_matches('/');
        let base = match connection.conn_type.as_str() {
            "file" => match connection.extra_field("path").and_then(Value::as_str).unwrap_or(schema) {
                "" => {
                    let text = format!("connection `{id}` names no folder\nhint: write `file:///folder`");
                    return Err(Error::BadAddress(text));
                }
                path => format!("file:///{}", path.trim_matches('/')),
            },
            "s3" | "aws" | "minio" => format!("s3://{schema}").trim_end_matches('/').to_string(),
            other => {
                let text = format!("connection `{id}` is of type `{other}`\nhint: buckets are of type `file` or `s3`");
                return Err(Error::BadAddress(text));
            }
        };
        Ok(Buckets { base, options: Options::of(connection) })
    }

    /// Returns the bucket with this name. It need not exist yet.
    ///
    /// # Errors
    /// Returns an error if the name is invalid.
    pub fn bucket(&self, name: &str) -> Result<Bucket> {
        open(&self.url_of(name), &self.options)
    }

    pub fn url_of(&self, name: &str) -> String {
        let base = if self.base == "s3:" { "s3:/" } else { self.base.as_str() };
        format!("{base}/{name}")
    }

    pub fn options(&self) -> &Options {
        &self.options
    }
}

pub(super) fn open(url: &str, options: &Options) -> Result<Bucket> {
    let bad = |problem: &str| {
        let hint = "hint: write `file:///folder` or `s3://bucket/prefix`";
        Error::BadAddress(format!("`{url}` {problem}\n{hint}"))
    };
    let trimmed = url.trim_end_matches('/');
    let (scheme, rest) = trimmed.split_once("://").ok_or_else(|| bad("is no URL of a bucket"))?;
    let parsed = |text: &str| Path::parse(text).map_err(|_| bad("has a part that is empty, `.` or `..`"));
    match scheme {
        "file" => {
            let path = rest.strip_prefix('/').filter(|path| !path.is_empty());
            let path = path.ok_or_else(|| bad("is no absolute path of a folder"))?;
            Ok(Bucket {
                url: trimmed.into(),
                root: parsed(path)?,
                store: Arc::new(LocalFileSystem::new()),
                maker: Maker::Folder(format!("/{path}").into()),
            })
        }
        // `s3a` is the URL scheme that Hadoop uses for S3.
        "s3" | "s3a" => {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() || bucket.contains(['@', ':', '?']) {
                return Err(bad("names no bucket"));
            }
            let store = options.s3(bucket).map_err(|source| Error::of("open", trimmed.into(), source))?;
            let store = Arc::new(store);
            Ok(Bucket {
                url: trimmed.into(),
                root: parsed(prefix)?,
                store: store.clone(),
                maker: Maker::Server {
                    store,
                    bucket: bucket.into(),
                    region: options.region.as_deref().map(Into::into),
                },
            })
        }
        _ => Err(bad("is no URL of a bucket")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(uri: &str) -> String {
        Buckets::of(&Connection::from_uri("buckets", uri).expect("a URI")).expect("buckets").url_of("raw")
    }

    fn endpoint(uri: &str) -> Option<String> {
        Options::of(&Connection::from_uri("buckets", uri).expect("a URI")).endpoint
    }

    #[test]
    fn buckets_are_folders_or_those_of_a_server() {
        assert_eq!(base("file:///data/buckets"), "file:///data/buckets/raw");
        assert_eq!(base("s3://"), "s3://raw");
        assert_eq!(base("s3://key:secret@localhost:9000"), "s3://raw");
        assert_eq!(base("aws://key:secret@/shared"), "s3://shared/raw");
        for wrong in ["mysql://h/db", "file://"] {
            let connection = Connection::from_uri("buckets", wrong).expect("a URI");
            let told = Buckets::of(&connection).expect_err("it is wrong").to_string();
            assert!(told.contains("connection `buckets`") && told.contains("hint:"), "{told}");
        }
    }

    #[test]
    fn an_endpoint_stands_in_host_or_extra() {
        assert_eq!(endpoint("s3://key:secret@localhost:9000").as_deref(), Some("http://localhost:9000"));
        assert_eq!(endpoint("s3://https://key:secret@store.test").as_deref(), Some("https://store.test"));
        assert_eq!(endpoint("aws://k:s@/?endpoint_url=http%3A%2F%2Fm%3A9000").as_deref(), Some("http://m:9000"));
        assert_eq!(endpoint("s3://key:secret@/"), None);
    }

    #[test]
    fn what_is_no_address_of_a_bucket_is_refused() {
        for wrong in ["raw", "file://raw", "file:///", "s3://", "s3://k:s@raw", "http://h/raw", "file:///a/../b"] {
            let told = Bucket::open(wrong, &Options::default()).expect_err("it is wrong").to_string();
            assert!(told.contains(wrong.trim_end_matches('/')) && told.contains("hint:"), "{told}");
        }
    }

    #[test]
    fn a_key_cannot_lead_out_of_its_bucket() {
        let bucket = Bucket::open("file:///data/raw", &Options::default()).expect("a folder");
        for wrong in ["../silver/x", "a/../../x", "a//b", "./x"] {
            assert!(matches!(bucket.path(wrong), Err(Error::BadKey { .. })), "{wrong}");
        }
        assert_eq!(bucket.key_of("file:///data/raw/a/b"), Some("a/b"));
        assert_eq!(bucket.key_of("file:///data/raw-2/a"), None);
    }

    #[test]
    fn keys_of_a_store_are_not_printed() {
        let connection = Connection::from_uri("b", "s3://key:hush@h/?aws_session_token=hush").expect("a URI");
        let bucket = Buckets::of(&connection).expect("buckets").bucket("raw").expect("a bucket");
        assert!(!format!("{:?} {bucket:?}", Options::of(&connection)).contains("hush"));
    }
}
