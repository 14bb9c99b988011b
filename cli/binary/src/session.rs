//! The database connection of a command: to the configured database, otherwise to the standalone of the data folder. If
//! that standalone is not running, the command starts its Postgres server and stops it at the end, under the same lock
//! as the standalone.

use crate::{
    boxed,
    config::Config,
    database_failure::{full_disk, unusable_database, with_reason},
    failure::Failure,
    found::Standalone,
    person,
};
use orch_cluster::{Cluster, ClusterError};
use orch_store::audit::{self, Deed};
use orch_store::{StoreError, connect, guard};
use sqlx::PgConnection;
use std::path::Path;
use std::time::{Duration, Instant};

/// Application name in `pg_stat_activity`.
const NAME: &str = "orch cli";
/// Timeout for the lock of the private server, which another command may hold briefly, and for a standalone that is
/// starting.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// An open connection to a database whose schema this binary supports.
pub struct Session {
    pub db: PgConnection,
    pub url: String,
    /// A server that was started for this command. No scheduler or worker uses it.
    private: Option<Cluster>,
}

impl Session {
    #[boxed]
    pub async fn open(config: &Config) -> Result<Session, Failure> {
        let mut session = Session::open_unchecked(config).await?;
        guard::check(&mut session.db).await?;
        Ok(session)
    }

    /// Wraps a connection that was opened and checked elsewhere.
    pub fn of(db: PgConnection, url: &str) -> Session {
        Session { db, url: url.into(), private: None }
    }

    /// Opens a session without a check of the schema.
    #[boxed]
    pub async fn open_unchecked(config: &Config) -> Result<Session, Failure> {
        let session = match &config.database_url {
            Some(url) => Session::of(named(config, url.reveal()).await?, url.reveal()),
            None => of_standalone(&config.data_dir).await?,
        };
        Ok(session)
    }

    /// Opens a session without a check of the schema. Creates an empty database if the data folder has none.
    #[boxed]
    pub async fn open_or_create(config: &Config) -> Result<Session, Failure> {
        if config.database_url.is_some() || config.data_dir.join("postgres/data").exists() {
            return Session::open_unchecked(config).await;
        }
        let cluster = open_cluster(&config.data_dir).await??;
        Session::of_private(cluster, &config.data_dir).await
    }

    async fn of_private(cluster: Cluster, data_dir: &Path) -> Result<Session, Failure> {
        let url = cluster.url();
        match connect::one(&url, NAME).await {
            Ok(db) => Ok(Session { db, url, private: Some(cluster) }),
            Err(error) if error.is_disk_full() => Err(full_disk(data_dir, &error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Records an action of the command line in the audit log.
    #[boxed]
    pub async fn did(&mut self, deed: &Deed<'_>) -> Result<(), Failure> {
        did_in(&mut self.db, deed).await
    }

    /// Splits the connection from the server, so that the connection can be shared. The server runs until the second
    /// part is dropped.
    pub fn into_parts(self) -> (PgConnection, Server) {
        (self.db, Server { url: self.url, private: self.private })
    }

    /// Returns true if the server runs only for this command.
    pub fn is_alone(&self) -> bool {
        self.private.is_some()
    }
}

pub struct Server {
    pub url: String,
    private: Option<Cluster>,
}

impl Server {
    pub async fn session(&self) -> Result<Session, Failure> {
        Ok(Session::of(connect::one(&self.url, NAME).await?, &self.url))
    }

    pub fn is_alone(&self) -> bool {
        self.private.is_some()
    }
}

/// Records an action of the command line in the audit log, in the transaction of the action.
#[boxed]
pub async fn did_in(db: &mut PgConnection, deed: &Deed<'_>) -> Result<(), Failure> {
    let name = person::name();
    Ok(audit::record(db, &Deed { actor: &name, ..deed.clone() }).await?)
}

async fn named(config: &Config, url: &str) -> Result<PgConnection, Failure> {
    connect::one(url, NAME).await.map_err(|error| unusable_database(config, &error))
}

async fn of_standalone(data_dir: &Path) -> Result<Session, Failure> {
    let began = Instant::now();
    loop {
        let left = Standalone::read(data_dir);
        let is_foreign = left.as_ref().is_some_and(|left| left.socket.is_none());
        if let Some(left) = left.filter(|left| left.is_alive() || is_foreign) {
            match connect::one(&left.url, NAME).await {
                Ok(db) => return Ok(Session::of(db, &left.url)),
                Err(error) if !is_foreign && error.is_disk_full() => return Err(full_disk(data_dir, &error)),
                // Either another process has this pid now, or the standalone is stopping.
                Err(StoreError::Unreachable(_)) if !is_foreign => {}
                Err(error) if is_foreign => {
                    return Err(Failure::new(with_reason(&format!("the database `{}`", left.url), &error))
                        .hint("name it with `--database-url` or `ORCH_DATABASE_URL`: the standalone does not store its password"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !data_dir.join("postgres/data").exists() {
            return Err(Failure::new(format!("no orch has been started in `{}`", data_dir.display()))
                .hint("start one with `orch standalone`, or name a database with `--database-url`"));
        }
        match open_cluster(data_dir).await? {
            Ok(cluster) => return Session::of_private(cluster, data_dir).await,
            Err(ClusterError::InUse { .. }) if began.elapsed() < PATIENCE => tokio::time::sleep(LOOK_AGAIN).await,
            Err(error) => return Err(error.into()),
        }
    }
}

async fn open_cluster(data_dir: &Path) -> Result<Result<Cluster, ClusterError>, Failure> {
    let data_dir = data_dir.to_owned();
    let opened = tokio::task::spawn_blocking(move || Cluster::open(&data_dir)).await;
    opened.map_err(|error| Failure::new(format!("starting the private Postgres panicked: {error}")))
}
