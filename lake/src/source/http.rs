//! HTTP requests and downloads with retries. Transient errors are retried with exponential backoff and jitter, and
//! never earlier than `Retry-After` requests; permanent errors fail immediately.

pub(crate) mod patience;

use crate::{
    boxed,
    bucket::{Bucket, Upload},
};
use anyhow::Context;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use orch_sdk::task::{Connection, Ctx, TaskResult, fatal};
use orch_store::bounded::Collected;
use patience::{Patience, Turn};
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time without receiving a byte in the middle of a response.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of a response that is held in memory: 64 MiB.
const MOST_BYTES: usize = 64 << 20;

/// HTTP client for one server. Clones share connections and the rate limit.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    base: String,
    headers: HeaderMap,
    account: Option<(String, Option<String>)>,
    patience: Patience,
    pace: Option<Arc<Pace>>,
    /// Timeout for a whole response.
    within: Option<Duration>,
}

/// Rate limiter that assigns evenly spaced start times to requests.
#[derive(Debug)]
struct Pace {
    between: Duration,
    next: Mutex<Instant>,
}

impl Http {
    /// Creates a client for absolute URLs, without credentials.
    ///
    /// # Errors
    /// Returns an error if the TLS root certificates of this machine cannot be loaded.
    pub fn new() -> TaskResult<Http> {
        let client = Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).no_proxy();
        Ok(Http {
            client: client.build().context("no HTTP client can be made")?,
            base: String::new(),
            headers: HeaderMap::new(),
            account: None,
            patience: Patience::default(),
            pace: None,
            within: None,
        })
    }

    /// Creates a client whose request paths are relative to the URL of an Airflow connection. The host may include a
    /// URL scheme; otherwise the field `schema` contains it. Login and password are sent with HTTP basic
    /// authentication. Each string in `extra` is sent as a header.
    ///
    /// # Errors
    /// Returns a fatal error if the connection has no host or contains an invalid header.
    pub fn of(connection: &Connection) -> TaskResult<Http> {
        let id = &connection.id;
        let host = connection.host.as_deref().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| fatal(format!("connection `{id}` has no host")))?;
        let scheme = match connection.schema.as_deref() {
            Some(schema) if !schema.is_empty() => schema,
            _ if connection.conn_type == "https" => "https",
            _ => "http",
        };
        let host = if host.contains("://") { host.to_string() } else { format!("{scheme}://{host}") };
        let base = match connection.port {
            Some(port) => format!("{}:{port}", host.trim_end_matches('/')),
            None => host.trim_end_matches('/').to_string(),
        };
        let mut http = Http { base, ..Http::new()? };
        for (name, value) in connection.extra.iter().filter_map(|(name, value)| Some((name, value.as_str()?))) {
            let parsed = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value));
            let (Ok(name), Ok(mut value)) = parsed else {
                return Err(fatal(format!("the extra `{name}` of connection `{id}` is no header")));
            };
            value.set_sensitive(true);
            http.headers.insert(name, value);
        }
        http.account = connection.login.clone().map(|login| (login, connection.password.clone()));
        // Redirects are not followed because they could send the credentials to another host.
        let client = Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).no_proxy();
        http.client =
            client.redirect(reqwest::redirect::Policy::none()).build().context("no HTTP client can be made")?;
        Ok(http)
    }

    /// Sets the maximum number of retries. Default: 5.
    #[must_use]
    pub fn again(mut self, times: u32) -> Http {
        self.patience.times = times;
        self
    }

    /// Sets the delay before the first retry. Default: 500 ms.
    #[must_use]
    pub fn pause(mut self, first: Duration) -> Http {
        self.patience.first = first;
        self
    }

    /// Limits the request rate. All clones of this client share the limit.
    #[must_use]
    pub fn pace(mut self, requests: u32, within: Duration) -> Http {
        let pace = Pace { between: within / requests.max(1), next: Mutex::new(Instant::now()) };
        self.pace = Some(Arc::new(pace));
        self
    }

    /// Sets a timeout for the complete response. By default there is none: a request fails only after 30 s without
    /// data.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Http {
        self.within = Some(time);
        self
    }

    /// Sends a GET request and parses the response as JSON.
    ///
    /// # Errors
    /// Returns an error if the request fails or the response is not the expected JSON.
    pub async fn json<T: DeserializeOwned>(&self, ctx: &Ctx, path: &str) -> TaskResult<T> {
        let (bytes, address) = (self.bytes(ctx, path).await?, self.redacted_address(path));
        serde_json::from_slice(&bytes).map_err(|error| {
            fatal(format!(
                "the answer of `{address}` is not what was expected: line {}, {}",
                error.line(),
                kind(&error)
            ))
        })
    }

    /// Sends a GET request and returns the complete response body.
    ///
    /// # Errors
    /// Returns an error if the request fails or the body is larger than 64 MiB.
    #[boxed]
    pub async fn bytes(&self, ctx: &Ctx, path: &str) -> TaskResult<Bytes> {
        let mut whole = Collected::new(MOST_BYTES);
        let mut pieces = self.get(ctx, path).await?;
        while let Some(piece) = pieces.try_next().await? {
            whole.extend(&piece).map_err(|error| {
                fatal(format!("`{}` answers {error}: download it into a bucket", self.redacted_address(path)))
            })?;
        }
        Ok(whole.into_vec().into())
    }

    /// Downloads a resource into a bucket and returns its size in bytes. The object becomes visible only when the
    /// download is complete.
    ///
    /// # Errors
    /// Returns the same errors as [`Http::get`], or an error if the object cannot be written.
    #[boxed]
    pub async fn download(&self, ctx: &Ctx, path: &str, bucket: &Bucket, key: &str) -> TaskResult<u64> {
        let mut pieces = self.get(ctx, path).await?;
        let mut upload: Upload = bucket.upload(key)?;
        loop {
            match pieces.try_next().await {
                Ok(Some(piece)) => upload.write(piece).await?,
                Ok(None) => return Ok(upload.finish().await?),
                Err(error) => {
                    upload.abort().await;
                    return Err(error);
                }
            }
            ctx.progress(0, upload.bytes());
        }
    }

    /// Sends a GET request and streams the response. If the connection breaks, the download resumes where it stopped,
    /// provided that the server supports range requests and the resource has not changed. Otherwise the stream fails.
    ///
    /// # Errors
    /// Returns an error if the server rejects the request or all retries failed.
    #[boxed]
    pub async fn get(&self, ctx: &Ctx, path: &str) -> TaskResult<BoxStream<'static, TaskResult<Bytes>>> {
        Ok(self.pieces(ctx, path, self.ask(ctx, path, None).await?))
    }

    /// Like [`Http::get`], but returns `None` if the server responds with 404 or 410.
    ///
    /// # Errors
    /// Same errors as [`Http::get`].
    #[boxed]
    pub async fn get_if_there(
        &self,
        ctx: &Ctx,
        path: &str,
    ) -> TaskResult<Option<BoxStream<'static, TaskResult<Bytes>>>> {
        match self.ask(ctx, path, None).await {
            Ok(first) => Ok(Some(self.pieces(ctx, path, first))),
            Err(NoAnswer::NotThere(_)) => Ok(None),
            Err(NoAnswer::Failed(error)) => Err(error),
        }
    }

    fn pieces(&self, ctx: &Ctx, path: &str, first: Response) -> BoxStream<'static, TaskResult<Bytes>> {
        let state =
            Download { http: self.clone(), ctx: ctx.clone(), path: path.into(), mark: mark(&first), at: 0, again: 0 };
        let pieces = futures::stream::try_unfold((state, Some(first)), |(mut state, response)| async move {
            let Some(mut response) = response else { return Ok(None) };
            loop {
                let piece = tokio::select! {
                    biased;
                    () = state.ctx.cancelled() => anyhow::bail!("cancelled after {} bytes", state.at),
                    piece = response.chunk() => piece,
                };
                match piece {
                    Ok(None) => return Ok(None),
                    Ok(Some(piece)) => {
                        state.at += piece.len() as u64;
                        return Ok(Some((piece, (state, Some(response)))));
                    }
                    Err(error) => response = state.resumed(error).await?,
                }
            }
        });
        pieces.boxed()
    }

    fn address(&self, path: &str) -> String {
        if self.base.is_empty() { path.into() } else { format!("{}/{}", self.base, path.trim_start_matches('/')) }
    }

    /// Returns a URL that is safe to show in messages. The query is removed because it may contain API keys; user and
    /// password are removed too.
    pub fn redacted_address(&self, path: &str) -> String {
        redact(&self.address(path))
    }

    async fn ask(&self, ctx: &Ctx, path: &str, from: Option<(&HeaderValue, u64)>) -> Result<Response, NoAnswer> {
        let mut asked = 0;
        loop {
            self.turn(ctx).await?;
            let mut request = self.client.get(self.address(path)).headers(self.headers.clone());
            if let Some((login, password)) = &self.account {
                request = request.basic_auth(login, password.as_ref());
            }
            if let Some(time) = self.within {
                request = request.timeout(time);
            }
            if let Some((mark, at)) = from {
                request = request.header(RANGE, format!("bytes={at}-")).header(IF_RANGE, mark);
            }
            let answer = tokio::select! {
                () = ctx.cancelled() => return Err(anyhow::anyhow!("cancelled").into()),
                answer = request.send() => answer,
            };
            let turn = match answer {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                    self.patience.after_status(response.status().as_u16(), after, asked, &self.redacted_address(path))
                }
                // The message of this error contains the URL with its query, which may contain secrets.
                Err(error) if error.is_builder() => {
                    let problem = error.without_url();
                    return Err(fatal(format!("`{}` is no address: {problem}", self.redacted_address(path))).into());
                }
                Err(error) => self.patience.after_silence(error.without_url(), asked, &self.redacted_address(path)),
            };
            match turn {
                Turn::GiveUp(error) => return Err(error.into()),
                Turn::NotThere(error) => return Err(NoAnswer::NotThere(error)),
                Turn::Again(pause, why) => {
                    ctx.warning(format!("{why}: asking again in {:.1} s", pause.as_secs_f64()));
                    wait(ctx, pause).await?;
                }
            }
            asked += 1;
        }
    }

    async fn turn(&self, ctx: &Ctx) -> TaskResult<()> {
        let Some(pace) = &self.pace else { return Ok(()) };
        let mine = {
            let mut next = pace.next.lock().await;
            let mine = (*next).max(Instant::now());
            *next = mine + pace.between;
            mine
        };
        wait(ctx, mine.saturating_duration_since(Instant::now())).await
    }
}

fn redact(address: &str) -> String {
    let address = address.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match address.find("://") {
        Some(end) => address.split_at(end + 3),
        None => ("", address),
    };
    // The user info of a URL ends at the first `/` or `\`. An `@` in the path is not part of it.
    let (authority, path) = rest.split_at(rest.find(['/', '\\']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // If a password contains an unescaped `/`, `?` or `#`, its first part is parsed as the port.
    let port = host.rsplit_once(':').filter(|_| !host.ends_with(']')).map(|(_, port)| port);
    if port.is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return format!("{scheme}…");
    }
    format!("{scheme}{host}{path}")
}

async fn wait(ctx: &Ctx, pause: Duration) -> TaskResult<()> {
    tokio::select! {
        () = ctx.cancelled() => anyhow::bail!("cancelled"),
        () = tokio::time::sleep(pause) => Ok(()),
    }
}

/// Returns the strong `ETag` of a response for use in `If-Range`. A weak tag does not guarantee that the content is
/// identical.
fn mark(response: &Response) -> Option<HeaderValue> {
    response.headers().get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")).cloned()
}

fn kind(error: &serde_json::Error) -> &'static str {
    if error.is_data() { "a field is missing or has another type" } else { "it is no JSON" }
}

enum NoAnswer {
    NotThere(anyhow::Error),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for NoAnswer {
    fn from(error: anyhow::Error) -> Self {
        NoAnswer::Failed(error)
    }
}

impl From<NoAnswer> for anyhow::Error {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::NotThere(error) | NoAnswer::Failed(error) => error,
        }
    }
}

struct Download {
    http: Http,
    ctx: Ctx,
    path: String,
    mark: Option<HeaderValue>,
    at: u64,
    again: u32,
}

impl Download {
    /// Requests the rest of a response whose connection broke.
    async fn resumed(&mut self, error: reqwest::Error) -> TaskResult<Response> {
        let shown = self.http.redacted_address(&self.path);
        let broke = format!("`{shown}` broke off after {} bytes", self.at);
        let error = anyhow::Error::new(error.without_url()).context(broke.clone());
        let Some(mark) = self.mark.clone() else { return Err(error) };
        if self.again >= self.http.patience.times {
            return Err(error);
        }
        self.again += 1;
        self.ctx.warning(format!("{broke}: going on there"));
        let response = self.http.ask(&self.ctx, &self.path, Some((&mark, self.at))).await?;
        let begins = format!("bytes {}-", self.at);
        let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        if response.status() == StatusCode::PARTIAL_CONTENT && range.is_some_and(|range| range.starts_with(&begins)) {
            return Ok(response);
        }
        Err(error.context("the server cannot resume the download, or the file has changed"))
    }
}

/// Returns the JSON array at a JSON pointer such as `/data/items`. An empty pointer selects the response itself.
///
/// # Errors
/// Returns an error if the value does not exist or is not an array.
pub fn rows<'v>(answer: &'v Value, pointer: &str) -> TaskResult<&'v Vec<Value>> {
    let found = answer.pointer(pointer).and_then(Value::as_array);
    found.ok_or_else(|| fatal(format!("the answer has no list at `{pointer}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_messages_have_no_secrets() {
        let http = Http::new().expect("a client");
        for (address, redacted) in [
            ("https://example.com/a?key=secret", "https://example.com/a"),
            ("https://user:secret@example.com:8080/a/b#secret", "https://example.com:8080/a/b"),
            ("https://secret@example.com", "https://example.com"),
            ("https://user:se@cret@example.com/a", "https://example.com/a"),
            ("https://user:secret@[::1]:80/a", "https://[::1]:80/a"),
            ("https://[::1]/a", "https://[::1]/a"),
            ("https://example.com/mail/user@example.com", "https://example.com/mail/user@example.com"),
            ("user:secret@example.com/a", "example.com/a"),
            ("https://user:secret/x@example.com/a", "https://…"),
            ("https://user:secret?x@example.com/a", "https://…"),
        ] {
            assert_eq!(http.redacted_address(address), redacted, "{address}");
        }
        let below = Http { base: "http://user:secret@example.com/api".into(), ..http };
        assert_eq!(below.redacted_address("/a?key=secret"), "http://example.com/api/a");
    }
}
