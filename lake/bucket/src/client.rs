//! HTTP client for S3 servers. It uses the same reqwest as the rest of orch. The client of `object_store` would add a
//! second version of reqwest and a second TLS library.

use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::{Body, Client};
use std::error::Error;
use std::io;
use std::time::Duration;

/// Timeout for connecting to a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout for connecting to the metadata service of a cloud machine. It is short because the service, if it exists,
/// is nearby.
const METADATA_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Timeout for a complete request and response, regardless of the size of the transferred data.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);

/// Builds the HTTP clients of an object store: one for the server and, if there are no keys, one for the metadata
/// service.
#[derive(Debug)]
pub(super) struct Connector;

#[derive(Debug)]
struct Service(Client);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // `object_store` marks a client for the metadata service only by this timeout. Its options can only be read
        // as text.
        let is_metadata = options.get_config_value(&ClientConfigKey::ConnectTimeout).as_deref() == Some("1s");
        let client = Client::builder()
            .connect_timeout(if is_metadata { METADATA_CONNECT_TIMEOUT } else { CONNECT_TIMEOUT })
            .timeout(REQUEST_TIMEOUT)
            .http1_only()
            .build()
            .map_err(|error| object_store::Error::Generic { store: "S3", source: error.into() })?;
        Ok(HttpClient::new(Service(client)))
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse().map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        // A body that is held in memory can be sent again on a new connection if the server has closed an idle
        // connection.
        *request.body_mut() = Some(match body.as_bytes() {
            Some(bytes) => bytes.clone().into(),
            None => Body::wrap(body),
        });
        let response = self.0.execute(request).await.map_err(http_error)?;
        let (parts, body) = hyper::Response::<Body>::from(response).into_parts();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body.map_err(http_error))))
    }
}

/// Converts an error to the classes by which `object_store` decides about retries. The URL is removed because it may
/// contain a signature.
fn http_error(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else {
        kind_of_cause(error.source())
    };
    HttpError::new(kind, error.without_url())
}

fn kind_of_cause(mut cause: Option<&(dyn Error + 'static)>) -> HttpErrorKind {
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_closed() || error.is_incomplete_message() || error.is_body_write_aborted() {
                return HttpErrorKind::Request;
            }
            if error.is_timeout() {
                return HttpErrorKind::Timeout;
            }
        }
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::TimedOut) => return HttpErrorKind::Timeout,
            Some(
                io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            ) => return HttpErrorKind::Interrupted,
            _ => cause = error.source(),
        }
    }
    HttpErrorKind::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    /// Sends a request to a test server that handles the first connection with `serve`. Returns the class of the
    /// resulting error.
    async fn request<F: Future<Output = ()>>(serve: impl FnOnce(tokio::net::TcpStream) -> F) -> HttpErrorKind {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let uri = format!("http://{}/raw/x?X-Amz-Signature=hush", listener.local_addr().expect("an address"));
        let client = Connector.connect(&ClientOptions::new()).expect("a client");
        let request = hyper::Request::put(uri).body(b"content".to_vec().into()).expect("a request");
        let serving = async { serve(listener.accept().await.expect("a connection").0).await };
        let (response, ()) = tokio::join!(client.execute(request), serving);
        let error = response.expect_err("the server closes the connection");
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
        error.kind()
    }

    #[tokio::test]
    async fn a_broken_connection_is_an_error_that_may_be_retried() {
        let closed_early = request(|mut stream| async move {
            stream.read_exact(&mut [0; 16]).await.expect("the head of a request");
        });
        assert!(matches!(closed_early.await, HttpErrorKind::Request | HttpErrorKind::Interrupted));

        let nobody_listens =
            TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("an address");
        let client = Connector.connect(&ClientOptions::new()).expect("a client");
        let request =
            hyper::Request::get(format!("http://{nobody_listens}/raw/x")).body(vec![].into()).expect("a request");
        assert_eq!(client.execute(request).await.expect_err("no server").kind(), HttpErrorKind::Connect);
    }
}
