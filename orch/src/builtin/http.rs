//! The `http` task: sends one request, retries it while the server is busy, and returns the response.

use super::field::{FieldInputs, FieldValue};
use super::operator::Operator;
use crate::{BoxFuture, Call, Ctx, TaskResult, fatal};
use anyhow::bail;
use orch_workers::outside::http::{Address, Ask, Http, HttpReply, NoAnswer, anywhere, below, refusal};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// First delay between attempts, doubled each time. Used if the server sends no `Retry-After`.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Maximum delay. If the next delay is longer, by backoff or `Retry-After`, the attempt fails and the task's own
/// retries apply.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);
/// Maximum number of characters of an error response that the error message shows.
const SHOWN: usize = 500;

/// An HTTP request. `I` is `()`, or [`FieldInputs`] if the body is the output of another task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest<I = ()> {
    /// If set, `url` is a path below the connection's URL, and the connection's login and headers are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    pub url: String,
    #[serde(default = "get")]
    pub method: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Sent as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Timeout of each request, in milliseconds.
    #[serde(default = "half_a_minute")]
    pub timeout_ms: u64,
    /// Number of retries if the server is busy or does not respond.
    #[serde(default = "three")]
    pub again: u32,
    /// Maximum size of the response. A larger response fails the task.
    #[serde(default = "megabyte")]
    pub most_bytes: u64,
    #[doc(hidden)]
    #[serde(skip)]
    pub inputs: I,
}

fn get() -> String {
    "GET".into()
}

fn half_a_minute() -> u64 {
    30_000
}

fn three() -> u32 {
    3
}

fn megabyte() -> u64 {
    1 << 20
}

/// The response of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpOutput {
    pub status: u16,
    /// Header names are in lower case.
    pub headers: BTreeMap<String, String>,
    /// Parsed as JSON if the body is valid JSON, else a string.
    pub body: Value,
}

/// Sends a request and returns the response. Retries after 429 and 503; after other 5xx statuses and without a
/// response it retries only idempotent methods (not POST or PATCH). Honors `Retry-After`. Statuses from 400 fail the
/// task.
#[track_caller]
pub fn http<'d, I: Into<FieldInputs<'d>>>(request: HttpRequest<I>) -> Call<'d, HttpOutput> {
    request.call()
}

impl HttpRequest {
    /// Creates a request to a complete URL.
    pub fn to(method: &str, url: &str) -> HttpRequest {
        HttpRequest {
            connection: None,
            url: url.into(),
            method: method.into(),
            headers: BTreeMap::new(),
            body: None,
            timeout_ms: half_a_minute(),
            again: three(),
            most_bytes: megabyte(),
            inputs: (),
        }
    }

    /// Creates a request to a path below a connection's URL.
    pub fn below(connection: &str, method: &str, path: &str) -> HttpRequest {
        HttpRequest { connection: Some(connection.into()), ..HttpRequest::to(method, path) }
    }
}

impl<I> HttpRequest<I> {
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Sends a body as JSON: a constant, or the output of another task.
    ///
    /// # Panics
    /// Panics if the constant cannot be serialized as JSON.
    #[must_use]
    pub fn json<V: FieldValue<I>>(self, body: V) -> HttpRequest<V::Inputs> {
        let (mut request, inputs) = self.replace_inputs(());
        let (body, inputs) = body.assign("body".into(), inputs);
        request.body = Some(body);
        request.replace_inputs(inputs).0
    }

    /// Sets the timeout of one request.
    #[must_use]
    pub fn patience(mut self, limit: Duration) -> Self {
        self.timeout_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Sets the number of retries. Default: 3.
    #[must_use]
    pub fn again(mut self, times: u32) -> Self {
        self.again = times;
        self
    }

    #[must_use]
    pub fn most_bytes(mut self, bytes: u64) -> Self {
        self.most_bytes = bytes;
        self
    }

    /// Returns the call of the request, to be added to a DAG.
    #[track_caller]
    pub fn call<'d>(self) -> Call<'d, HttpOutput>
    where
        I: Into<FieldInputs<'d>>,
    {
        let (request, inputs) = self.replace_inputs(());
        FieldInputs::call(inputs.into(), request)
    }

    /// Replaces the inputs, and returns the former ones.
    fn replace_inputs<J>(self, inputs: J) -> (HttpRequest<J>, I) {
        let HttpRequest { connection, url, method, headers, body, timeout_ms, again, most_bytes, inputs: former } =
            self;
        (HttpRequest { connection, url, method, headers, body, timeout_ms, again, most_bytes, inputs }, former)
    }
}

impl HttpRequest {
    fn ask(&self, address: &Address) -> Ask {
        Ask {
            method: self.method.clone(),
            address: address.clone(),
            body: self.body.as_ref().map(|body| body.to_string().into_bytes()),
            timeout: Duration::from_millis(self.timeout_ms),
            most_bytes: self.most_bytes,
        }
    }

    /// Returns the output. `Ok(Err(…))` means that a retry may succeed: it holds the reason and the delay that the
    /// server asks for.
    fn judge(
        &self,
        url: &str,
        answer: Result<HttpReply, NoAnswer>,
    ) -> TaskResult<Result<HttpOutput, (String, Option<Duration>)>> {
        let is_harmless = !matches!(self.method.to_uppercase().as_str(), "POST" | "PATCH");
        let told = match answer {
            Ok(told) => told,
            Err(error @ (NoAnswer::BadRequest(_) | NoAnswer::TooLong(_))) => return Err(fatal(error.message(url))),
            Err(error) if is_harmless => return Ok(Err((error.message(url), None))),
            Err(error) => bail!("{}", error.message(url)),
        };
        let text = String::from_utf8_lossy(&told.body);
        let shown = &text[..text.floor_char_boundary(SHOWN)];
        let problem = refusal(url, told.status, shown);
        match told.status {
            429 | 503 => Ok(Err((problem, retry_after(&told)))),
            500.. if is_harmless => Ok(Err((problem, retry_after(&told)))),
            408 | 425 | 500.. => bail!("{problem}"),
            400.. => Err(fatal(problem)),
            status => {
                let body = serde_json::from_slice(&told.body).unwrap_or_else(|_| Value::from(text.as_ref()));
                Ok(Ok(HttpOutput { status, headers: told.headers, body }))
            }
        }
    }
}

/// Returns the delay in seconds. Dates in `Retry-After` are ignored.
fn retry_after(told: &HttpReply) -> Option<Duration> {
    told.headers.get("retry-after")?.trim().parse().ok().map(Duration::from_secs)
}

async fn go(request: HttpRequest, ctx: &Ctx) -> TaskResult<HttpOutput> {
    let mut address = match &request.connection {
        Some(id) => below(&ctx.connection(id).await?, &request.url)?,
        None => anywhere(&request.url)?,
    };
    address.headers.extend(request.headers.clone());
    if request.body.is_some() {
        address.headers.entry("Content-Type".into()).or_insert_with(|| "application/json".into());
    }
    let client = Http::default();
    let mut pause = FIRST_PAUSE;
    for left in (0..=request.again).rev() {
        let answer = tokio::select! {
            answer = client.ask(request.ask(&address)) => answer,
            () = ctx.cancelled() => bail!("cancelled"),
        };
        let (problem, wait) = match request.judge(&address.url, answer)? {
            Ok(output) => return Ok(output),
            Err(busy) => busy,
        };
        let wait = wait.unwrap_or(pause);
        if left == 0 || wait > LONGEST_PAUSE {
            bail!("{problem}");
        }
        let reason = problem.rsplit_once("\nhint: ").map_or(problem.as_str(), |(reason, _)| reason);
        ctx.warning(format!("{reason}; the request is repeated in {wait:?}"));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = ctx.cancelled() => bail!("cancelled"),
        }
        pause *= 2;
    }
    bail!("it was not asked")
}

impl Operator for HttpRequest {
    const KIND: &'static str = "http";
    type Output = HttpOutput;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<HttpOutput>> {
        Box::pin(async move { go(self, &ctx).await })
    }
}
