//! HTTP servers of a bundle. Each is a command of its binary; some also run in the worker of a standalone behind its
//! web server.
//!
//! They speak plain HTTP, so they listen only on the local machine by default.

use crate::{
    app::Cx,
    boxed,
    config::{Config, MetricsFlags},
    failure::{Failure, Outcome},
    files,
    parts::{self, Parts, Signals},
    requests::{RequestTally, counted},
    roles, secrets,
    session::Session,
};
use axum::Router;
use axum::middleware::map_request;
use axum::serve::Listener;
use chrono::{DateTime, Utc};
use clap::Args as _;
use orch_http::read_to_the_end;
use orch_sdk::task::{BoxFuture, Connection, TaskResult, fatal};
use orch_store::connect;
use orch_store::hint::{Hint, Hints};
use orch_store::lake_view::{FindConnection, LakeDoor};
use orch_store::topic::{NewRecord, ProduceError, ensure_topic, produce};
use sqlx::PgPool;
use std::net::{TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

/// Size of the pool. Concurrent requests share it, and further ones wait.
const CONNECTIONS: u32 = 4;

type Build = dyn Fn(Serving) -> BoxFuture<TaskResult<Router>> + Send + Sync;

/// A server that is a command, such as `orch-pipelines logging-server`.
#[derive(Clone)]
pub struct BundleServer {
    name: &'static str,
    about: &'static str,
    port: u16,
    is_behind_web: bool,
    build: Arc<Build>,
}

impl BundleServer {
    /// Creates a server with a default `port`. `build` returns its router.
    pub fn new(
        name: &'static str,
        about: &'static str,
        port: u16,
        build: impl Fn(Serving) -> BoxFuture<TaskResult<Router>> + Send + Sync + 'static,
    ) -> BundleServer {
        BundleServer { name, about, port, is_behind_web: false, build: Arc::new(build) }
    }

    /// Also serves it under its name at the web server, for example as `/serving`. The web server authenticates users.
    #[must_use]
    pub fn behind_web(self) -> BundleServer {
        BundleServer { is_behind_web: true, ..self }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn command(&self) -> clap::Command {
        // `augment_args` sets the doc comment of `ServedAt` as the description, so `about` must follow it.
        let command = ServedAt::augment_args(clap::Command::new(self.name)).about(self.about);
        command.after_help(format!("Default port: {}", self.port))
    }

    pub(crate) fn serve(&self, at: &ServedAt, cx: &Cx) -> Outcome {
        let listener = at.listen(self.port)?;
        let address = listener.local_addr().map_err(Failure::io("cannot listen"))?;
        let config = cx.config_of_database_with(|given| at.metrics.add_to(given))?;
        roles::start_process(&config)?;
        parts::block_on(async {
            // The session must stay alive, because it owns the Postgres server of a standalone that is not running.
            let session = Session::open(&config).await?;
            let mut signals = Signals::hear()?;
            let mut parts = Parts::new(&session.url, &self.title(), 1)?;
            let listener = tokio::net::TcpListener::from_std(listener).map_err(Failure::io("cannot listen"))?;
            let (pool, tally) = (self.pool(&session.url)?, Arc::new(RequestTally::default()));
            let told = tally.clone();
            parts.add_metrics_of((self.name, pool.clone()), &config, move |text| told.tell(text)).await?;
            let build = self.build(&config, (&session.url, pool, parts.hints()), false)?;
            let stop = parts.stop_token();
            parts.add(async move {
                let app = build.await.map(|app| counted(app, tally));
                serve(listener, app, stop).await.map_err(|error| Failure::from_error(error.as_ref()))
            });
            eprintln!("{} is up: http://{address}", self.name);
            parts.run_until_ended(&mut signals).await
        })
    }

    fn title(&self) -> String {
        format!("orch {}", self.name)
    }

    fn pool(&self, url: &str) -> Result<PgPool, Failure> {
        Ok(connect::pool(url, &self.title(), CONNECTIONS)?)
    }

    fn build(
        &self,
        config: &Config,
        (url, pool, hints): (&str, PgPool, Hints),
        is_behind_web: bool,
    ) -> Result<BoxFuture<TaskResult<Router>>, Failure> {
        let find = secrets::server_finder(config, url)?;
        let lake = secrets::lake(config, url)?;
        // A missing folder is reported as an import error and must not prevent the start.
        let named = config.endpoints_folder.clone().or_else(|| config.dags_folder.clone());
        let endpoints = named.or_else(|| Some(files::usual(config)).filter(|usual| usual.is_dir()));
        let (gives_keys, has_examples) = (config.give_keys, config.examples);
        Ok((self.build)(Serving { is_behind_web, gives_keys, has_examples, pool, hints, find, lake, endpoints }))
    }

    /// Serves the web server on a Unix socket in this folder, until the process stops. Failures are logged and do not
    /// stop other parts.
    pub(crate) fn add_behind_web(
        &self,
        parts: &mut Parts,
        (config, url): (&Config, &str),
        folder: &Path,
    ) -> Result<(), Failure> {
        if !self.is_behind_web {
            return Ok(());
        }
        let (name, socket, stop) = (self.name, socket(folder, self.name), parts.stop_token());
        let build = self.build(config, (url, self.pool(url)?, parts.hints()), true)?;
        parts.add(async move {
            let served = async {
                let app = build.await?;
                // Remove the socket of a previous worker, which keeps its open connections.
                if let Err(error) = std::fs::remove_file(&socket)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    return Err(error.into());
                }
                serve(UnixListener::bind(&socket)?, Ok(app), stop.clone()).await
            };
            if let Err(error) = served.await {
                tracing::error!(error = format!("{error:#}"), server = name, "the server is not behind the web server");
            }
            stop.cancelled().await;
            Ok(())
        });
        Ok(())
    }
}

/// Returns the path of the Unix socket of a server that is behind the web server.
pub fn socket(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.sock"))
}

async fn serve<L>(listener: L, app: TaskResult<Router>, stop: CancellationToken) -> TaskResult<()>
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let app = app?.layer(map_request(async |request| read_to_the_end(request)));
    Ok(axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await?)
}

/// Where a server listens.
#[derive(Debug, clap::Args)]
pub(crate) struct ServedAt {
    /// Address of this machine to listen at
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// Port to listen at; 0 is a free one
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Serve other machines too, without https
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    metrics: MetricsFlags,
}

impl ServedAt {
    fn listen(&self, usual: u16) -> Result<TcpListener, Failure> {
        let (host, port) = (self.host.as_str(), self.port.unwrap_or(usual));
        let addresses = (host, port).to_socket_addrs().map_err(Failure::io(format!("cannot listen at {host}")))?;
        let addresses: Vec<_> = addresses.collect();
        if !self.insecure && !addresses.iter().all(|address| address.ip().is_loopback()) {
            return Err(Failure::new(format!("at `{host}` other machines would be served over plain http"))
                .hint("listen at 127.0.0.1; `--insecure` serves them all the same, for networks where all machines are trusted"));
        }
        let listener = TcpListener::bind(addresses.as_slice()).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        listener.map_err(|error| {
            Failure::new(format!("cannot listen at {host}:{port}: {error}"))
                .hint("choose another `--port`, or `--port 0` for a free one")
        })
    }
}

pub struct Serving {
    /// True if only the web server of this installation can connect.
    pub is_behind_web: bool,
    /// True if clients of the catalog may get credentials of the storage.
    pub gives_keys: bool,
    /// True if the server also serves the examples of its binary.
    pub has_examples: bool,
    pool: PgPool,
    hints: Hints,
    find: Arc<FindConnection>,
    lake: LakeDoor,
    endpoints: Option<PathBuf>,
}

impl Serving {
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Returns the sender of hints, which wake up schedulers and other processes.
    pub fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Returns access to the lake of this binary, whose queries run in separate processes.
    pub fn lake(&self) -> &LakeDoor {
        &self.lake
    }

    /// Returns the folder of published queries, if there is one.
    pub fn endpoints_folder(&self) -> Option<PathBuf> {
        self.endpoints.clone()
    }

    /// Returns a connection in the same way as tasks find it.
    ///
    /// # Errors
    /// Fails if the connection does not exist or the database cannot be reached.
    #[boxed]
    pub async fn connection(&self, id: &str) -> TaskResult<Connection> {
        (self.find)(id).await
    }

    /// Returns a function that looks up connections as tasks do and can be used after the start of the server.
    pub fn finder(&self) -> Arc<FindConnection> {
        self.find.clone()
    }

    /// Returns the current time of the database.
    ///
    /// # Errors
    /// Fails if the database cannot be reached.
    #[boxed]
    pub async fn now(&self) -> TaskResult<DateTime<Utc>> {
        Ok(orch_store::stream::now(&mut *self.pool.acquire().await?).await?)
    }

    /// Appends records to a topic of the built-in log in one transaction. Creates the topic with this number of
    /// partitions if it does not exist.
    ///
    /// # Errors
    /// Fails without appending anything if the database cannot be reached or a record is too large.
    #[boxed]
    pub async fn produce(&self, topic: &str, partitions: i16, records: &[NewRecord]) -> TaskResult<()> {
        let mut tx = self.pool.begin().await?;
        let mut produced = produce(&mut tx, topic, records).await;
        if let Err(ProduceError::NoSuchTopic(_)) = &produced {
            ensure_topic(&mut tx, topic, partitions).await?;
            produced = produce(&mut tx, topic, records).await;
        }
        match produced {
            Ok(_) => {}
            Err(ProduceError::Store(error)) => return Err(error.into()),
            Err(wrong) => return Err(fatal(wrong.to_string())),
        }
        tx.commit().await?;
        self.hints.give(Hint::Topic);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, insecure: bool) -> Result<TcpListener, Failure> {
        ServedAt { host: host.into(), port: Some(0), insecure, metrics: MetricsFlags::default() }.listen(1)
    }

    #[test]
    fn other_machines_are_served_only_when_a_person_says_so() {
        assert!(at("127.0.0.1", false).unwrap().local_addr().unwrap().ip().is_loopback());
        assert!(at("0.0.0.0", false).unwrap_err().line().contains("over plain http"));
        assert!(at("0.0.0.0", true).is_ok());
    }

    #[test]
    fn a_port_that_is_taken_is_told_with_what_to_do() {
        let taken = at("127.0.0.1", false).unwrap();
        let again =
            ServedAt { host: "127.0.0.1".into(), port: None, insecure: false, metrics: MetricsFlags::default() };
        let refused = again.listen(taken.local_addr().unwrap().port()).unwrap_err();
        assert!(refused.line().contains("cannot listen at 127.0.0.1:"), "{}", refused.line());
    }
}
