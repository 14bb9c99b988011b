//! Shared state of all requests: database pools, cached versions, hints to other processes, and authentication.

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

/// Maximum age of the cached numbers, which every page shows.
const PULSE_REMEMBERED: TimeDelta = TimeDelta::seconds(1);

/// Shared state of the process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App(Arc<Inner>);

/// The state that clones of an [`App`] share.
#[derive(Debug)]
pub struct Inner {
    pub(crate) config: WebConfig,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) hints: Hints,
    pub(crate) versions: Versions,
    pub(crate) auth: Auth,
    pub(crate) health: Health,
    pub(crate) limits: Limits,
    pub(crate) ends: Ends,
    pub(crate) live: Live,
    pub(crate) queries: Queries,
    pub(crate) dashboards: Dashboards,
    pub(crate) known_names: KnownNames,
    /// Pool for short queries about single objects.
    pub(crate) hot: PgPool,
    /// Connection of a single caller, which is used before the pools.
    own: Option<Arc<Mutex<PgConnection>>>,
    /// Pool for lists.
    pub(crate) pages: PgPool,
    /// Cancelled when the server stops. Responses without an end must watch it.
    pub(crate) stopping: CancellationToken,
    pulse: Mutex<Option<(DateTime<Utc>, Pulse)>>,
}

impl App {
    /// Creates the state without connecting, so that the server starts and can report its state even if the database is
    /// unavailable.
    pub fn new(config: WebConfig, hints: Hints) -> WebResult<App> {
        let hot = connect::hot_pool(&config.database_url, "orch web", config.hot_connections)?;
        let pages = connect::pool(&config.database_url, "orch web pages", config.page_connections)?;
        Ok(App::on((None, hot, pages), config, hints))
    }

    /// Creates the state for a single caller with sequential requests, for which one connection is usually enough.
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

    /// Opens a connection before the first request needs one.
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

    /// Returns the numbers that every page shows, queried at most once a second. `None` if the database is unavailable.
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

    /// Makes the log of an attempt readable if it was archived.
    pub(crate) async fn recalled(&self, run: Uuid, attempt: Uuid) -> StoreResult<Option<OldLog>> {
        let mut db = self.pages().await?;
        Ok(OldLog::of(recall(&mut db, &self.config.archive, run, attempt, self.config.clock.now()).await?))
    }

    /// Runs the work in a transaction, which is rolled back if the work fails.
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

    /// Returns whether the user of a long response may still receive it. Called at least once a second with the headers
    /// of the request, so that the response ends after a logout or when the user is deleted.
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
