//! Servers that a bundle brings beside its worker, as commands of its binary. They speak without a login, so they serve this
//! machine only unless a person says otherwise.

use crate::app::Cx;
use crate::failure::{Failure, Outcome};
use crate::parts::{self, Parts, Signals};
use crate::session::Session;
use crate::{logging, secrets};
use chrono::{DateTime, Utc};
use clap::Args as _;
use orch_sdk::task::{BoxFuture, Connection, TaskResult, fatal};
use orch_store::connect;
use orch_store::hint::{Hint, Hints};
use orch_store::lake_view::FindConnection;
use orch_store::topic::{NewRecord, ProduceError, ensure_topic, produce};
use sqlx::PgPool;
use std::net::{TcpListener, ToSocketAddrs as _};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Requests that work at the same time share these; others wait.
const CONNECTIONS: u32 = 4;

type Life = dyn Fn(Serving) -> BoxFuture<TaskResult<()>> + Send + Sync;

/// A server as a command: `orch-pipelines logging-server`.
#[derive(Clone)]
pub struct BundleServer {
    name: &'static str,
    about: &'static str,
    port: u16,
    life: Arc<Life>,
}

impl BundleServer {
    /// `port`: where it listens unless the command line says otherwise. It serves until it is told to stop.
    pub fn new(
        name: &'static str,
        about: &'static str,
        port: u16,
        life: impl Fn(Serving) -> BoxFuture<TaskResult<()>> + Send + Sync + 'static,
    ) -> BundleServer {
        BundleServer { name, about, port, life: Arc::new(life) }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn command(&self) -> clap::Command {
        let usual = format!("Without `--port` it listens at port {}.", self.port);
        ServedAt::augment_args(clap::Command::new(self.name).about(self.about).after_help(usual))
    }

    pub(crate) fn serve(&self, at: &ServedAt, cx: &Cx) -> Outcome {
        let listener = at.listen(self.port)?;
        let address = listener.local_addr().map_err(Failure::io("cannot listen"))?;
        let config = cx.config_of_database()?;
        logging::start(&config)?;
        parts::block_on(async {
            // Kept: it holds the server of a standalone that does not run.
            let session = Session::open(&config).await?;
            let mut signals = Signals::hear()?;
            let name = format!("orch {}", self.name);
            let mut parts = Parts::new(&session.url, &name, 1)?;
            let serving = Serving {
                listener,
                pool: connect::pool(&session.url, &name, CONNECTIONS)?,
                hints: parts.hints(),
                find: secrets::finder(&config, &session.url)?,
                stop: parts.stop_token(),
            };
            let life = (self.life)(serving);
            parts.add(async move { life.await.map_err(|error| Failure::told(error.as_ref())) });
            eprintln!("{} is up: http://{address}", self.name);
            parts.run(&mut signals).await
        })
    }
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
    /// Serve other machines too, without a login and without https
    #[arg(long)]
    insecure: bool,
}

impl ServedAt {
    fn listen(&self, usual: u16) -> Result<TcpListener, Failure> {
        let (host, port) = (self.host.as_str(), self.port.unwrap_or(usual));
        let addresses = (host, port).to_socket_addrs().map_err(Failure::io(format!("cannot listen at {host}")))?;
        let addresses: Vec<_> = addresses.collect();
        if !self.insecure && !addresses.iter().all(|address| address.ip().is_loopback()) {
            return Err(Failure::new(format!("at `{host}` other machines could write without a login"))
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

/// What a server is given.
pub struct Serving {
    /// Does not block.
    pub listener: TcpListener,
    /// The process ends.
    pub stop: CancellationToken,
    pool: PgPool,
    hints: Hints,
    find: Arc<FindConnection>,
}

impl Serving {
    /// A connection as tasks find it.
    ///
    /// # Errors
    /// The connection is missing, or the database cannot be reached.
    pub async fn connection(&self, id: &str) -> TaskResult<Connection> {
        (self.find)(id).await
    }

    /// The time of the database.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn now(&self) -> TaskResult<DateTime<Utc>> {
        Ok(orch_store::stream::now(&mut *self.pool.acquire().await?).await?)
    }

    /// Appends to a topic of the built-in log, which is created with so many partitions when it is missing. The records are
    /// there when this returns.
    ///
    /// # Errors
    /// The database cannot be reached, or a record is too large: nothing was appended.
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
        ServedAt { host: host.into(), port: Some(0), insecure }.listen(1)
    }

    #[test]
    fn other_machines_are_served_only_when_a_person_says_so() {
        assert!(at("127.0.0.1", false).unwrap().local_addr().unwrap().ip().is_loopback());
        assert!(at("0.0.0.0", false).unwrap_err().line().contains("without a login"));
        assert!(at("0.0.0.0", true).is_ok());
    }

    #[test]
    fn a_port_that_is_taken_is_told_with_what_to_do() {
        let taken = at("127.0.0.1", false).unwrap();
        let again = ServedAt { host: "127.0.0.1".into(), port: None, insecure: false };
        let refused = again.listen(taken.local_addr().unwrap().port()).unwrap_err();
        assert!(refused.line().contains("cannot listen at 127.0.0.1:"), "{}", refused.line());
    }
}
