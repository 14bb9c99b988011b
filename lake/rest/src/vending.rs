//! Issues temporary storage credentials that are limited to the folder of one table and expire after one hour. They
//! are obtained with the STS request `AssumeRole` and a session policy.

mod signature;

use crate::refusal::{Refusal, RestResult};
use chrono::{DateTime, Utc};
use orch_lake::bucket::Options;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use signature::Signer;
use std::time::Duration;

/// Lifetime of the credentials.
const VALID_FOR: Duration = Duration::from_hours(1);
/// Timeout for a request to STS.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_RESPONSE_BYTES: usize = 64 << 10;
/// Maximum length of a session name. STS accepts 2 to 64 characters.
const MAX_SESSION_CHARS: usize = 64;
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The role that is assumed to obtain storage credentials for a table.
#[derive(Debug, Clone)]
pub struct AssumedRole {
    /// ARN of the role, such as `arn:aws:iam::123456789012:role/lake`. Servers like MinIO ignore it.
    pub arn: String,
    /// URL of the STS server. `None` uses the endpoint of the storage. If the storage has no endpoint, AWS STS in its
    /// region is used.
    pub endpoint: Option<String>,
}

/// Storage credentials that are sent to a client.
pub(crate) struct TableKeys {
    pub(crate) access_key: String,
    secret_key: String,
    session_token: Option<String>,
    /// Expiry in milliseconds since the Unix epoch. `None` if the credentials do not expire.
    pub(crate) expires_at_ms: Option<i64>,
}

impl TableKeys {
    /// Returns the storage credentials of orch itself. `None` if the storage needs none.
    pub(crate) fn of_storage(storage: &Options) -> Option<TableKeys> {
        Some(TableKeys {
            access_key: storage.access_key.clone()?,
            secret_key: storage.secret_key.clone()?,
            session_token: storage.session_token.clone(),
            expires_at_ms: None,
        })
    }

    /// Returns the properties in which Iceberg clients expect storage credentials.
    pub(crate) fn config(self) -> impl Iterator<Item = (String, Value)> {
        let config = [
            ("s3.access-key-id", Some(json!(self.access_key))),
            ("s3.secret-access-key", Some(json!(self.secret_key))),
            ("s3.session-token", self.session_token.map(Value::from)),
            ("s3.session-token-expires-at-ms", self.expires_at_ms.map(|at| json!(at.to_string()))),
        ];
        config.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)))
    }
}

impl AssumedRole {
    /// Requests credentials for the folder of a table from STS. `user` appears in the access log of the storage.
    ///
    /// # Errors
    /// Returns an error if the table is not in a bucket, orch itself has no storage credentials, or STS rejects the
    /// request.
    pub(crate) async fn assume(
        &self,
        storage: &Options,
        user: &str,
        location: &str,
        now: DateTime<Utc>,
    ) -> RestResult<TableKeys> {
        let policy = policy(location).ok_or_else(|| Refusal::input(format!("`{location}` is not in a bucket")))?;
        let own = TableKeys::of_storage(storage).ok_or_else(|| failed("orch has no keys of the storage itself"))?;
        let region = storage.region.as_deref().unwrap_or("us-east-1");
        let endpoint = self.endpoint.clone().or_else(|| storage.endpoint.clone());
        let endpoint = endpoint.unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com"));
        let endpoint = endpoint.trim_end_matches('/');
        let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
        let fields = [
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", &self.arn),
            ("RoleSessionName", &session_name(user)),
            ("DurationSeconds", &VALID_FOR.as_secs().to_string()),
            ("Policy", &policy.to_string()),
        ];
        let fields = fields.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, ENCODED)));
        let body = fields.join("&");
        let signer = Signer { access_key: &own.access_key, secret_key: &own.secret_key, region, service: "sts" };
        let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(|error| failed(&error))?;
        let mut request = client.post(format!("{endpoint}/"));
        for (name, value) in signer.headers(host, &body, own.session_token.as_deref(), now) {
            request = request.header(name, value);
        }
        let mut response = request.body(body).send().await.map_err(|error| failed(&error))?;
        let (status, mut text) = (response.status(), Vec::new());
        while let Some(piece) = response.chunk().await.map_err(|error| failed(&error))? {
            text.extend_from_slice(&piece);
            if text.len() > MAX_RESPONSE_BYTES {
                return Err(failed("the response of STS is too long"));
            }
        }
        let text = String::from_utf8_lossy(&text);
        if !status.is_success() {
            let message = element(&text, "Message").filter(|message| !message.is_empty());
            let message = message.map(|message| format!(": {message}")).unwrap_or_default();
            return Err(failed(format!("STS at `{endpoint}` responded with {status}{message}")));
        }
        keys(&text).ok_or_else(|| failed("the response of STS has no keys"))
    }
}

/// Logs the reason of a failure instead of returning it, because it may contain addresses and role names that clients
/// must not see.
fn failed(why: impl std::fmt::Display) -> Refusal {
    tracing::error!(%why, "no keys for a table");
    Refusal::unavailable("the storage gave no keys for the table; the log of the server has the reason")
}

fn keys(text: &str) -> Option<TableKeys> {
    let text_of = |name: &str| element(text, name).map(str::to_owned);
    let expires_at = DateTime::parse_from_rfc3339(element(text, "Expiration")?).ok()?;
    Some(TableKeys {
        access_key: text_of("AccessKeyId")?,
        secret_key: text_of("SecretAccessKey")?,
        session_token: Some(text_of("SessionToken")?),
        expires_at_ms: Some(expires_at.timestamp_millis()),
    })
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim())
}

fn session_name(user: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "=,.@-_".contains(c) { c } else { '_' };
    format!("orch-{user}").chars().map(allowed).take(MAX_SESSION_CHARS).collect()
}

/// Returns a policy that allows reading, writing and listing below the location of a table. `None` if the location is
/// not in a bucket or is the root of a bucket.
fn policy(location: &str) -> Option<Value> {
    let (scheme, rest) = location.split_once("://")?;
    let (bucket, key) = rest.trim_end_matches('/').split_once('/')?;
    if !["s3", "s3a", "s3n"].contains(&scheme) || bucket.is_empty() || key.is_empty() {
        return None;
    }
    let below = format!("{}/*", literal(key));
    let bucket = format!("arn:aws:s3:::{}", literal(bucket));
    let objects =
        ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"];
    Some(json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": objects, "Resource": [format!("{bucket}/{below}")] },
        { "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [&bucket],
          "Condition": { "StringLike": { "s3:prefix": [&below] } } },
        { "Effect": "Allow", "Action": ["s3:GetBucketLocation"], "Resource": [&bucket] },
    ] }))
}

/// Escapes characters that are wildcards or variables in AWS policies.
fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |text, c| {
        if "*?$".contains(c) { text + "${" + &String::from(c) + "}" } else { text + &String::from(c) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_for_the_folder_of_one_table() {
        let allowed = |location: &str| Some(policy(location)?["Statement"][0]["Resource"][0].as_str()?.to_owned());
        assert_eq!(allowed("s3://lake/wh/orders/").as_deref(), Some("arn:aws:s3:::lake/wh/orders/*"));
        assert_eq!(allowed("s3a://lake/wh/or*ders?$x").as_deref(), Some("arn:aws:s3:::lake/wh/or${*}ders${?}${$}x/*"));
        let listed = policy("s3://lake/wh/orders").map(|policy| policy["Statement"][1]["Condition"].clone());
        assert_eq!(listed, Some(json!({ "StringLike": { "s3:prefix": ["wh/orders/*"] } })));
        for location in ["s3://lake", "s3://lake/", "s3:///orders", "file:///data/orders", "/data/orders", ""] {
            assert_eq!(allowed(location), None, "{location}");
        }
    }

    #[test]
    fn a_user_is_in_the_name_of_the_session() {
        assert_eq!(session_name("ann@example.com"), "orch-ann@example.com");
        assert_eq!(session_name("a b/ü"), "orch-a_b__");
        assert_eq!(session_name(&"x".repeat(100)).len(), MAX_SESSION_CHARS);
    }
}
