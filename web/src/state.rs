//! What every request may use: connections, known versions, hints to the other processes, who may log in.

use crate::auth::{Auth, Role};
use crate::dashboards::Dashboards;
use crate::ends::Ends;
use crate::health::Health;
use crate::known_names::KnownNames;
use crate::limit::Limits;
use crate::live::Live;
use crate::old_log::OldLog;
use crate::queries::Queries;
use crate::refusal::Refusal;
use crate::{WebConfig, WebResult};
use axum::http::HeaderMap;
use chrono::{DateTime, TimeDelta, Utc};
use orch_store::hint::Hints;
use orch_store::overview::{Pulse, pulse};
use orch_store::rollover::recall;
use orch_store::version::Versions;
use orch_store::{StoreError, StoreResult, connect};
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Every page shows these numbers.
const PULSE_REMEMBERED: TimeDelta = TimeDelta::seconds(1);

/// Cheap to clone; one for each process.
#[derive(Debug, Clone)]
pub struct App(Arc<Inner>);

/// What an `App` shares between its clones.
#[derive(Debug)]
pub struct Inner {
    pub(crate) config: WebConfig,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) hints: Hints,
    pub(crate) versions: Versions,
    pub(crate) auth: Auth,
    pub(crate) health: Health,
    pub(crate) limits: Limits,
    /// Who waits for the end of which run.
    pub(crate) ends: Ends,
    pub(crate) live: Live,
    pub(crate) queries: Queries,
    pub(crate) dashboards: Dashboards,
    pub(crate) known_names: KnownNames,
    /// Small questions about single things.
    pub(crate) hot: PgPool,
    /// Of the one caller: taken before one of the pools.
    own: Option<Arc<Mutex<PgConnection>>>,
    /// Lists.
    pub(crate) pages: PgPool,
    /// Cancelled when the server ends: answers that never end by themselves look at it.
    pub(crate) stopping: CancellationToken,
    pulse: Mutex<Option<(DateTime<Utc>, Pulse)>>,
}

impl App {
    /// Connects when first needed: a server whose database is away starts all the same, and says so.
    pub fn new(config: WebConfig, hints: Hints) -> WebResult<App> {
        let hot = connect::hot_pool(&config.database_url, "orch web", config.hot_connections)?;
        let pages = connect::pool(&config.database_url, "orch web pages", config.page_connections)?;
        Ok(App::on((None, hot, pages), config, hints))
    }

    /// For one caller who asks one thing after the other: mostly their own connection is enough.
    pub(crate) fn for_one_caller(config: WebConfig, hints: Hints, own: PgConnection) -> WebResult<App> {
        let pool = connect::pool(&config.database_url, "orch cli", config.hot_connections)?;
        Ok(App::on((Some(own), pool.clone(), pool), config, hints))
    }

    fn on((own, hot, pages): (Option<PgConnection>, PgPool, PgPool), config: WebConfig, hints: Hints) -> App {
        let (auth, health) = (Auth::new(config.clock.clone()), Health::default());
        let (limits, started_at) = (Limits::new(config.rate_limit), config.clock.now());
        App(Arc::new(Inner {
            config,
            started_at,
            limits,
            hints,
            versions: Versions::default(),
            auth,
            health,
            ends: Ends::default(),
            live: Live::default(),
            queries: Queries::default(),
            dashboards: Dashboards::default(),
            known_names: KnownNames::default(),
            own: own.map(|db| Arc::new(Mutex::new(db))),
            hot,
            pages,
            stopping: CancellationToken::new(),
            pulse: Mutex::default(),
        }))
    }

    /// Opens a connection before the first request needs it.
    pub(crate) async fn warm_up(&self) {
        if let Err(error) = self.hot().await {
            tracing::warn!(
                error = error.in_full(),
                "no connection to the database yet; requests are refused until there is one"
            );
        }
    }

    pub(crate) async fn close(&self) {
        self.queries.end().await;
        self.hot.close().await;
        self.pages.close().await;
    }
}

impl Inner {
    pub(crate) async fn hot(&self) -> StoreResult<Lent> {
        self.lent(&self.hot).await
    }

    async fn lent(&self, pool: &PgPool) -> StoreResult<Lent> {
        match self.own.as_ref().and_then(|own| own.clone().try_lock_owned().ok()) {
            Some(own) => Ok(Lent::Own(own)),
            None => Ok(Lent::Pooled(pool.acquire().await?)),
        }
    }

    /// How the parts are; asked at most once a second however many pages are drawn. `None`: the database is away.
    pub(crate) async fn pulse(&self) -> Option<Pulse> {
        let now = self.config.clock.now();
        let mut last = self.pulse.lock().await;
        if let Some((at, pulse)) = &*last
            && (TimeDelta::zero()..PULSE_REMEMBERED).contains(&(now - *at))
        {
            return Some(*pulse);
        }
        let found = async { pulse(&mut *self.pages().await?).await };
        let found: StoreResult<Pulse> = found.await;
        let found = found.inspect_err(|error| tracing::warn!(%error, "the parts could not be counted")).ok()?;
        *last = Some((now, found));
        Some(found)
    }

    /// Makes the log of a try readable if it is old.
    pub(crate) async fn recalled(&self, run: Uuid, attempt: Uuid) -> StoreResult<Option<OldLog>> {
        let mut db = self.pages().await?;
        Ok(OldLog::of(recall(&mut db, &self.config.archive, run, attempt, self.config.clock.now()).await?))
    }

    /// All of the work is done, or none.
    pub(crate) async fn in_transaction<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut db = self.pages().await?;
        let mut tx = db.begin().await.map_err(StoreError::from)?;
        let done = work(&mut tx).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(done)
    }

    /// Whether whoever opened an answer that goes on for long may still see it: asked at least once a second while it
    /// goes on, of the headers it was opened with. Ends streams after a logout, and with their user.
    pub(crate) async fn may_still(&self, headers: &HeaderMap, role: Role) -> bool {
        let session = self.auth.session(&self.hot, headers, self.config.cookie()).await;
        let caller = match session {
            Ok(session) => Ok(session.caller),
            Err(_) => self.auth.caller(&self.hot, headers).await,
        };
        caller.is_ok_and(|caller| caller.role >= role)
    }

    pub(crate) async fn pages(&self) -> StoreResult<Lent> {
        self.lent(&self.pages).await
    }
}

/// A connection for a while.
pub(crate) enum Lent {
    Pooled(PoolConnection<Postgres>),
    Own(OwnedMutexGuard<PgConnection>),
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match self {
            Lent::Pooled(db) => db,
            Lent::Own(db) => db,
        }
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match self {
            Lent::Pooled(db) => db,
            Lent::Own(db) => db,
        }
    }
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
