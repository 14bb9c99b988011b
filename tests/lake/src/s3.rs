//! An S3 protocol server in this process: buckets are folders of a temporary folder.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use orch_core::task::Connection;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use std::path::Path;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const ACCESS_KEY: &str = "test-key";
const SECRET_KEY: &str = "test-secret";

/// Serves until it is dropped, or its runtime is.
#[derive(Debug)]
pub struct S3Server {
    endpoint: String,
    folder: TempDir,
    _serving: JoinSet<()>,
}

impl S3Server {
    pub async fn start() -> S3Server {
        let folder = tempfile::Builder::new().prefix("orch-s3-").tempdir().expect("a temporary folder can be made");
        let files = FileSystem::new(folder.path()).expect("a folder can be served");
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            let mut sessions = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let session = server.serve_connection(TokioIo::new(stream), service.clone()).into_owned();
                sessions.spawn(async move { drop(session.await) });
            }
        });
        S3Server { endpoint, folder, _serving: serving }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Where the objects of its buckets are as files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// By the id `buckets`.
    pub fn connection(&self) -> Connection {
        let uri = format!("s3://{ACCESS_KEY}:{SECRET_KEY}@{}", self.endpoint.trim_start_matches("http://"));
        Connection::from_uri("buckets", &uri).expect("a URI")
    }
}
