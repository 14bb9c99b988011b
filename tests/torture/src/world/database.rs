//! The server of a world's database: the one that all tests share, or a private one that can be killed.

use orch_cluster::Settings;
use orch_store::{MIGRATOR, connect, guard};
use orch_test_support::{PrivateServer, TestDb};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::str::FromStr;
use std::time::Duration;

/// Enough for twenty schedulers with a few connections each.
const MAX_CONNECTIONS: u16 = 300;

#[derive(Debug)]
pub(super) enum Database {
    Shared(TestDb),
    Private(PrivateServer),
}

impl Database {
    pub(super) async fn shared() -> Database {
        Database::Shared(TestDb::new(&MIGRATOR).await)
    }

    /// A killed process loses no committed data, so commits need not wait for the disk.
    pub(super) async fn empty() -> Database {
        let settings = Settings::without_durability().max_connections(MAX_CONNECTIONS);
        Database::Private(PrivateServer::with(settings).await)
    }

    pub(super) async fn private() -> Database {
        let database = Database::empty().await;
        let mut db = connect::one(&database.url(), "torture").await.expect("the server answers");
        guard::migrate(&mut db).await.expect("the migrations apply");
        database
    }

    pub(super) fn url(&self) -> String {
        match self {
            Database::Shared(database) => database.url(),
            Database::Private(server) => server.url(),
        }
    }

    /// Returns a pool for the supervisor that bypasses every proxy.
    pub(super) fn pool(&self) -> PgPool {
        let options = PgConnectOptions::from_str(&self.url()).expect("our own URL parses").application_name("torture");
        PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(5)).connect_lazy_with(options)
    }

    pub(super) async fn crash(&mut self, down: Duration) {
        let Database::Private(server) = self else { panic!("the server of all tests is not to be killed") };
        server.kill_9().await;
        tokio::time::sleep(down).await;
        server.start().await;
    }
}
