//! HTTP client of an Iceberg REST catalog: URLs, authentication and retries.

use super::message::{Config, Failed, Page, Token};
use crate::error::{LakeError, LakeResult};
use crate::source::http::patience::Patience;
use orch_sdk::task::{Connection, TaskResult, fatal};
use orch_store::bounded::Collected;
use reqwest::{Method, RequestBuilder, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OnceCell};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time without receiving a byte in the middle of a response.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of a response in bytes. Sufficient for the metadata of a table with half a million snapshots.
const MOST_BYTES: usize = 256 << 20;
const PATIENCE: Patience = Patience { times: 3, first: Duration::from_millis(200) };
/// Tokens are renewed this long before they expire.
const EARLY: Duration = Duration::from_secs(30);
/// Maximum lifetime of a token, even if the server allows a longer one.
const TOKEN_LIFE: Duration = Duration::from_hours(1);
/// Default separator between the parts of a namespace in URLs.
const SEPARATOR: &str = "\u{1f}";
const PAGE: &str = "1000";
/// Header that requests storage credentials from servers that issue them.
const DELEGATION: (&str, &str) = ("x-iceberg-access-delegation", "vended-credentials");
/// Maximum number of characters of a server's error message that are shown.
const MOST_SAID: usize = 300;

#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    id: String,
    warehouse: String,
    access: Access,
    setup: OnceCell<Setup>,
}

/// Configuration that the server sends to clients.
#[derive(Debug)]
struct Setup {
    prefix: String,
    separator: String,
    endpoints: HashSet<String>,
}

enum Access {
    Open,
    Token(String),
    /// Client credentials, which are exchanged for a token.
    Account(Box<Account>),
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Access::Open => "open",
            Access::Token(_) => "by a token",
            Access::Account(_) => "by an account",
        })
    }
}

struct Account {
    client_id: String,
    client_secret: String,
    scope: String,
    server: Url,
    token: Mutex<Option<(String, Instant)>>,
}

pub(super) struct Request {
    method: Method,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(super) fn new(method: Method, path: &[&str]) -> Request {
        let path = path.iter().map(|&part| part.to_owned()).collect();
        Request { method, path, query: Vec::new(), body: None }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Request {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn with(mut self, body: &impl Serialize) -> LakeResult<Request> {
        self.body = Some(serde_json::to_vec(body).map_err(iceberg::Error::from)?);
        Ok(self)
    }

    /// Returns true if the request is idempotent.
    fn is_safe(&self) -> bool {
        self.method == Method::GET
    }
}

#[derive(Debug)]
pub(super) struct CatalogResponse {
    pub(super) status: u16,
    body: Vec<u8>,
}

impl CatalogResponse {
    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Client {
    pub(super) fn of(connection: &Connection) -> TaskResult<Client> {
        let id = &connection.id;
        let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let extra = |name: &str| connection.extra_field(name).and_then(Value::as_str).map(str::to_owned);
        let base = base_of(connection)?;
        let access = match (extra("token"), text(&connection.login), text(&connection.password)) {
            (Some(token), ..) => Access::Token(token),
            (None, Some(client_id), Some(client_secret)) => {
                let server = match extra("oauth2_server_uri") {
                    Some(uri) => Url::parse(&uri)
                        .map_err(|_| fatal(format!("`oauth2_server_uri` of connection `{id}` is no URL")))?,
                    None => below(&base, ["v1", "oauth", "tokens"]),
                };
                let scope = extra("scope").unwrap_or_else(|| "catalog".into());
                let token = Mutex::default();
                Access::Account(Box::new(Account { client_id, client_secret, scope, server, token }))
            }
            _ => Access::Open,
        };
        // Redirects are not followed because they could send the credentials to another host.
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()?;
        let warehouse = extra("warehouse").unwrap_or_default();
        Ok(Client { http, base, id: id.clone(), warehouse, access, setup: OnceCell::new() })
    }

    pub(super) fn warehouse(&self) -> &str {
        &self.warehouse
    }

    /// Returns true if the server advertises this endpoint.
    pub(super) async fn has(&self, endpoint: &str) -> LakeResult<bool> {
        Ok(self.setup().await?.endpoints.contains(endpoint))
    }

    /// Encodes a namespace as a path segment of a URL.
    pub(super) async fn joined(&self, namespace: &str) -> LakeResult<String> {
        Ok(namespace.replace('.', &self.setup().await?.separator))
    }

    async fn setup(&self) -> LakeResult<&Setup> {
        self.setup.get_or_try_init(|| self.ask_setup()).await
    }

    async fn ask_setup(&self) -> LakeResult<Setup> {
        let mut request = Request::new(Method::GET, &["v1", "config"]);
        if !self.warehouse.is_empty() {
            request = request.query("warehouse", &self.warehouse);
        }
        let answer = self.ask_at(&request, "").await?;
        if matches!(answer.status, 400 | 404) {
            let what = format!(
                "`{}` of connection `{}` is not the address of an Iceberg REST catalog, or the catalog does not know the warehouse{}",
                self.base,
                self.id,
                refusal_message(&answer)
            );
            let hint = "write the address below which it has `/v1/config`, and the `warehouse` as it calls it";
            return Err(LakeError::input(what, hint));
        }
        if !answer.is_good() {
            return Err(self.refused(&answer));
        }
        let config: Config = self.read(&answer, || "its settings".into())?;
        let mut told = config.defaults;
        told.extend(config.overrides);
        let mut take = |name: &str| told.remove(name).flatten();
        let separator = take("namespace-separator").map(|text| unescaped(&text));
        Ok(Setup {
            prefix: take("prefix").unwrap_or_default(),
            separator: separator.unwrap_or_else(|| SEPARATOR.into()),
            endpoints: config.endpoints.into_iter().collect(),
        })
    }

    pub(super) async fn ask(&self, request: &Request) -> LakeResult<CatalogResponse> {
        let prefix = &self.setup().await?.prefix;
        self.ask_at(request, &format!("v1/{prefix}")).await
    }

    /// Sends a request. Returns `None` for status 404, and an error if the server rejects the request with another
    /// status.
    pub(super) async fn find(&self, request: &Request) -> LakeResult<Option<CatalogResponse>> {
        let answer = self.ask(request).await?;
        match answer.status {
            404 => Ok(None),
            _ if answer.is_good() => Ok(Some(answer)),
            _ => Err(self.refused(&answer)),
        }
    }

    /// Requests all pages of a list.
    pub(super) async fn pages<P: DeserializeOwned + Page>(&self, mut request: Request) -> LakeResult<Vec<P>> {
        let fixed = request.query.len();
        let (mut pages, mut token) = (Vec::new(), String::new());
        loop {
            request.query.truncate(fixed);
            request = request.query("pageToken", &token).query("pageSize", PAGE);
            // The namespace was dropped while its pages were read, so there are no more entries.
            let Some(answer) = self.find(&request).await? else { return Ok(pages) };
            let page: P = self.read(&answer, || "a list".into())?;
            let next = page.next().filter(|next| !next.is_empty() && *next != token).map(str::to_owned);
            pages.push(page);
            match next {
                Some(next) => token = next,
                None => return Ok(pages),
            }
        }
    }

    pub(super) fn read<T: DeserializeOwned>(
        &self,
        answer: &CatalogResponse,
        what: impl Fn() -> String,
    ) -> LakeResult<T> {
        serde_json::from_slice(&answer.body)
            .map_err(|error| self.unanswered(format!("tells of {} in a way that is not understood: {error}", what())))
    }

    /// Converts an error response to an error.
    pub(super) fn refused(&self, answer: &CatalogResponse) -> LakeError {
        let (status, said) = (answer.status, refusal_message(answer));
        if status >= 500 || status == 429 {
            return self.unanswered(format!("answers {status}{said}"));
        }
        let hint = match status {
            401 | 403 => format!("look at the login, the password and the token of connection `{}`", self.id),
            300..=399 => "write the address where it is now: a request with secrets follows no redirect".into(),
            _ => "the catalog decides what it takes: see what its documentation says".into(),
        };
        LakeError::input(format!("the catalog at `{}` answers {status}{said}", self.base), hint)
    }

    fn unanswered(&self, why: String) -> LakeError {
        LakeError::Unanswered { address: self.base.to_string(), why }
    }

    /// Sends a request. Retries it if it is idempotent, or if the server has certainly not processed it.
    async fn ask_at(&self, request: &Request, prefix: &str) -> LakeResult<CatalogResponse> {
        let mut url = below(&self.base, prefix.split('/').chain(request.path.iter().map(String::as_str)));
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let mut asked = 0;
        loop {
            let answer = self.ask_once(request, &url).await?;
            let may_pass = match &answer {
                Ok(answer) if answer.status == 401 && asked == 0 => self.forget_token().await,
                Ok(answer) if matches!(answer.status, 429 | 503) => true,
                Ok(answer) if answer.status >= 500 => request.is_safe(),
                Ok(_) => false,
                Err(error) => error.is_connect() || request.is_safe(),
            };
            if !may_pass || asked == PATIENCE.times {
                return answer.map_err(|error| self.unanswered(format!("does not answer: {}", reason(&error))));
            }
            tokio::time::sleep(PATIENCE.next(asked)).await;
            asked += 1;
        }
    }

    async fn ask_once(&self, request: &Request, url: &Url) -> LakeResult<Result<CatalogResponse, reqwest::Error>> {
        let mut sent = self.http.request(request.method.clone(), url.clone()).header(DELEGATION.0, DELEGATION.1);
        if let Some(body) = &request.body {
            sent = sent.header("content-type", "application/json").body(body.clone());
        }
        sent = match &self.access {
            Access::Open => sent,
            Access::Token(token) => sent.bearer_auth(token),
            Access::Account(account) => sent.bearer_auth(self.token_of(account).await?),
        };
        Ok(match whole(sent).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => return Err(self.unanswered(format!("answers more than {} MB", MOST_BYTES >> 20))),
            Err(error) => Err(error),
        })
    }

    async fn token_of(&self, account: &Account) -> LakeResult<String> {
        let mut held = account.token.lock().await;
        if let Some((token, until)) = &*held
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &account.client_id),
            ("client_secret", &account.client_secret),
            ("scope", &account.scope),
        ];
        let sent = self.http.post(account.server.clone()).form(&form);
        let answer = match whole(sent).await {
            Ok(Some(answer)) if answer.is_good() => answer,
            Ok(Some(answer)) if answer.status < 500 => return Err(self.refused(&answer)),
            Ok(_) => return Err(self.unanswered("gives no token".into())),
            Err(error) => return Err(self.unanswered(format!("gives no token: {}", reason(&error)))),
        };
        let told: Token = self.read(&answer, || "a token".into())?;
        let life = told.expires_in.map_or(TOKEN_LIFE, Duration::from_secs).min(TOKEN_LIFE).saturating_sub(EARLY);
        *held = Some((told.access_token.clone(), Instant::now() + life));
        Ok(told.access_token)
    }

    /// Discards the cached token. Returns true if a new token can be fetched.
    async fn forget_token(&self) -> bool {
        match &self.access {
            Access::Account(account) => account.token.lock().await.take().is_some(),
            Access::Open | Access::Token(_) => false,
        }
    }
}

/// Reads the complete response body. Returns `None` if it is too large.
async fn whole(sent: RequestBuilder) -> Result<Option<CatalogResponse>, reqwest::Error> {
    let mut answer = sent.send().await?;
    let (status, mut body) = (answer.status().as_u16(), Collected::new(MOST_BYTES));
    while let Some(piece) = answer.chunk().await? {
        if body.extend(&piece).is_err() {
            return Ok(None);
        }
    }
    Ok(Some(CatalogResponse { status, body: body.into_vec() }))
}

/// Extracts the error message from a response.
fn refusal_message(answer: &CatalogResponse) -> String {
    let said = serde_json::from_slice::<Failed>(&answer.body).map(|failed| failed.error.message);
    let said: String = said.unwrap_or_default().chars().filter(|c| !c.is_control()).take(MOST_SAID).collect();
    if said.is_empty() { said } else { format!(": {said}") }
}

/// Formats a network error without the URL, because its query may contain a secret.
fn reason(error: &reqwest::Error) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(deeper) = source.source() {
        source = deeper;
    }
    if error.is_timeout() { "it took too long".into() } else { source.to_string() }
}

fn base_of(connection: &Connection) -> TaskResult<Url> {
    let id = &connection.id;
    let address = connection.http_address();
    let text = address
        .ok_or_else(|| fatal(format!("connection `{id}` has no host\nhint: write the address of the catalog")))?;
    match Url::parse(&text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => Err(fatal(format!(
            "the host of connection `{id}` has an account in it\nhint: write client id and secret as login and password"
        ))),
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => Err(fatal(format!(
            "the host of connection `{id}` is not the address of a catalog\nhint: write `https://catalog.example.com/path`"
        ))),
    }
}

fn below<'a>(base: &Url, path: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    // This fails only for URLs without a path hierarchy. HTTP URLs always have one.
    if let Ok(mut parts) = url.path_segments_mut() {
        parts.pop_if_empty().extend(path.into_iter().filter(|part| !part.is_empty()));
    }
    url
}

/// Decodes percent-encoded characters such as `%1F`.
fn unescaped(text: &str) -> String {
    url::form_urlencoded::parse(format!("s={text}").as_bytes()).map(|(_, value)| value.into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(uri: &str) -> TaskResult<Client> {
        Client::of(&Connection::parse("lake", uri)?)
    }

    #[test]
    fn the_address_is_that_of_the_connection() {
        let base = |uri: &str| client(uri).map(|client| client.base.to_string()).map_err(|error| error.to_string());
        assert_eq!(base("iceberg://polaris:8181/api/catalog").unwrap(), "http://polaris:8181/api/catalog");
        assert_eq!(base("iceberg://polaris").unwrap(), "http://polaris/");
        let whole = r#"{"conn_type": "iceberg", "host": "https://lake.example.com/iceberg"}"#;
        assert_eq!(base(whole).unwrap(), "https://lake.example.com/iceberg");
        let other = r#"{"conn_type": "iceberg", "host": "thrift://hive:9083"}"#;
        assert!(base(other).unwrap_err().contains("is not the address of a catalog"));
        assert!(base("iceberg://").unwrap_err().contains("has no host"));
    }

    #[test]
    fn names_are_escaped_in_paths() {
        let client = client("iceberg://polaris:8181/api").unwrap();
        let url = below(&client.base, ["v1", "a", "", "namespaces", "prod\u{1f}retail", "tables", "a b?c"]);
        assert_eq!(url.path(), "/api/v1/a/namespaces/prod%1Fretail/tables/a%20b%3Fc");
        assert_eq!(unescaped("%1F"), "\u{1f}");
    }

    #[test]
    fn no_secret_is_in_what_is_logged() {
        let client = client("iceberg://id:hush@polaris").unwrap();
        assert!(!format!("{client:?}").contains("hush"));
    }
}
