//! An in-process S3 protocol server whose buckets are subfolders of a temporary folder. It can delay and reject
//! requests.

use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use orch_sdk::task::Connection;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse};
use s3s_fs::FileSystem;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const ACCESS_KEY: &str = "test-key";
const SECRET_KEY: &str = "test-secret";

/// Response of an overloaded server.
const SLOW_DOWN: &str = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/// A server that runs until it or its runtime is dropped.
#[derive(Debug)]
pub struct S3Server {
    endpoint: String,
    folder: TempDir,
    behaviour: Arc<Mutex<Behaviour>>,
    _serving: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Behaviour {
    delay: Duration,
    refused_percent: u64,
    requests: u64,
    refused: u64,
}

impl Behaviour {
    /// Counts a request, and returns its delay and whether it is rejected. Rejections look random but are the same in
    /// every test.
    fn meet(&mut self) -> (Duration, bool) {
        self.requests += 1;
        let refused = mixed(self.requests) % 100 < self.refused_percent;
        self.refused += u64::from(refused);
        (self.delay, refused)
    }
}

impl S3Server {
    pub async fn start() -> S3Server {
        S3Server::start_for(ACCESS_KEY, SECRET_KEY).await
    }

    /// Starts a server with these keys.
    pub async fn start_for(access_key: &str, secret_key: &str) -> S3Server {
        let folder = tempfile::Builder::new().prefix("orch-s3-").tempdir().expect("a temporary folder can be made");
        let files = FileSystem::new(folder.path()).expect("a folder can be served");
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(access_key, secret_key));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let behaviour = Arc::new(Mutex::new(Behaviour::default()));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, service, behaviour.clone()));
        S3Server { endpoint, folder, behaviour, _serving: serving }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the folder that contains the buckets.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns a connection with the id `buckets`.
    pub fn connection(&self) -> Connection {
        let uri = format!("s3://{ACCESS_KEY}:{SECRET_KEY}@{}", self.endpoint.trim_start_matches("http://"));
        Connection::from_uri("buckets", &uri).expect("a URI")
    }

    /// Creates a bucket without using the protocol.
    pub fn make_bucket(&self, name: &str) {
        std::fs::create_dir(self.folder().join(name)).expect("buckets are folders");
    }

    /// Delays each later request by this time before it is processed.
    pub fn delay(&self, delay: Duration) {
        self.behaviour().delay = delay;
    }

    /// Rejects `percent` of later requests with status 503.
    pub fn refuse(&self, percent: u64) {
        self.behaviour().refused_percent = percent;
    }

    /// Returns the number of requests, including rejected ones.
    pub fn requests(&self) -> u64 {
        self.behaviour().requests
    }

    /// Returns the number of rejected requests.
    pub fn refused(&self) -> u64 {
        self.behaviour().refused
    }

    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(listener: TcpListener, service: S3Service, behaviour: Arc<Mutex<Behaviour>>) {
    let server = Builder::new(TokioExecutor::new());
    let mut sessions = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (service, behaviour) = (service.clone(), behaviour.clone());
        let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
            let met = behaviour.lock().unwrap_or_else(PoisonError::into_inner).meet();
            let service = service.clone();
            async move {
                let (delay, refused) = met;
                tokio::time::sleep(delay).await;
                if refused { Ok(slow_down()) } else { service.call(request.map(Body::from)).await }
            }
        });
        let session = server.serve_connection(TokioIo::new(stream), answer).into_owned();
        sessions.spawn(async move { drop(session.await) });
    }
}

/// `SplitMix64`: maps consecutive numbers to numbers that look random.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn slow_down() -> HttpResponse {
    let mut answer = HttpResponse::new(Body::from(SLOW_DOWN.to_owned()));
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer
}
