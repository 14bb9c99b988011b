//! Sends alerts: claims due alerts from the outbox table, sends them and records the results. Any number of processes
//! can do this in parallel. If a process dies while sending, its lease expires and another process sends the alert
//! again with the same idempotency key (at-least-once delivery).
//!
//! Schedulers run this code, so that alerts are sent even if no worker is running.

mod command;
mod email;
mod programs;
mod webhook;

pub use programs::Programs;
pub use webhook::signature;

use crate::{
    boxed, mask,
    outside::http::Http,
    secrets::{Secrets, SecretsConfig},
};
use orch_core::alert::{AlertKind, Facts, Message, message};
use orch_core::network::Reach;
use orch_sdk::secret::Masker;
use orch_sdk::task::Connection;
use orch_store::alert::{Claimed, alert_not_sent, alert_sent, claim_alerts, gather_alerts, next_alert_in};
use orch_store::hint::{Hint, Hints};
use orch_store::{StoreError, StoreResult};
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Maximum number of alerts that are sent concurrently.
const MOST_AT_ONCE: i64 = 16;
/// Poll interval without a hint (a NOTIFY wake-up signal). Long, so that idle installations send few statements.
const POLL: Duration = Duration::from_secs(30);
/// Delay after a hint, so that hints in quick succession cause one poll.
const GATHER: Duration = Duration::from_millis(10);
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// Timeout for one delivery. Much shorter than the lease of an alert.
const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum time for finishing deliveries when this process stops. Unfinished deliveries are repeated by another
/// process.
const FAREWELL: Duration = Duration::from_secs(3);

#[derive(Debug, Clone)]
pub struct MessengerConfig {
    pub database_url: String,
    /// Configuration for looking up the notifiers' connections.
    pub secrets: SecretsConfig,
    /// Base URL of the web server for links, such as `https://orch.example.com`. If empty, links are paths.
    pub public_url: String,
    /// Programs that connections of type `command` may run.
    pub programs: Programs,
    /// Addresses to which test alerts may be sent. Alerts of DAGs are not restricted.
    pub reach: Reach,
}

impl MessengerConfig {
    pub fn new(database_url: impl Into<String>, secrets: SecretsConfig) -> Self {
        MessengerConfig {
            database_url: database_url.into(),
            secrets,
            public_url: String::new(),
            programs: Programs::default(),
            reach: Reach::default(),
        }
    }
}

/// Sends alerts until `stop` is cancelled. Retries after database outages.
#[boxed]
pub async fn send_alerts(
    config: MessengerConfig,
    cold: PgPool,
    hints: Hints,
    stop: CancellationToken,
) -> StoreResult<()> {
    let own = Connection::from_uri("database", &config.database_url).map(|own| own.secrets()).unwrap_or_default();
    mask::learn_for_good(own);
    let secrets = Secrets::beside(&config.secrets, &config.database_url, &cold)
        .map_err(|error| StoreError::corrupt(error.to_string()))?;
    let MessengerConfig { public_url, programs, reach, .. } = config;
    let http_of_tests = Http::reaching(reach.clone());
    let sender = Arc::new(Sender { secrets, http: Http::default(), http_of_tests, public_url, programs, reach });
    let mut messenger = Messenger { cold, sender };
    while !stop.is_cancelled() {
        // Armed before the poll, so that a hint during the poll is not lost.
        let hint = hints.on(Hint::Alert).notified();
        let over = async {
            stop.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        };
        let wait = tokio::select! {
            next = messenger.round(&stop) => match next {
                Ok(next) => next.unwrap_or(POLL).clamp(GATHER, POLL),
                Err(error) => {
                    tracing::debug!(%error, cause = error.source_text(), "alerts are not sent for a moment");
                    AFTER_ERROR
                }
            },
            () = over => return Ok(()),
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
            () = hint => tokio::time::sleep(GATHER).await,
        }
    }
    Ok(())
}

struct Messenger {
    cold: PgPool,
    sender: Arc<Sender>,
}

impl Messenger {
    /// Sends all due alerts. Returns the time until the next alert is due.
    async fn round(&mut self, stop: &CancellationToken) -> StoreResult<Option<Duration>> {
        loop {
            let next = next_alert_in(&mut *self.db().await?).await?;
            if next.soonest().is_none_or(|next| !next.is_zero()) || stop.is_cancelled() {
                return Ok(next.soonest());
            }
            let gathered = match next.gather {
                Some(due) if due.is_zero() => gather_alerts(&mut *self.db().await?).await?,
                _ => 0,
            };
            let claimed = claim_alerts(&mut *self.db().await?, MOST_AT_ONCE).await?;
            if claimed.is_empty() && gathered == 0 {
                return Ok(next.soonest()); // another process was faster
            }
            let mut sending = JoinSet::new();
            for alert in claimed {
                let sender = self.sender.clone();
                sending.spawn(async move { (sender.send(&alert).await, alert) });
            }
            while let Some(sent) = sending.join_next().await {
                match sent {
                    Ok((sent, alert)) => self.record(&alert, sent).await?,
                    // The alert's lease expires, and the alert is sent again.
                    Err(error) => tracing::error!(%error, "an alert could not be sent"),
                }
            }
        }
    }

    async fn record(&mut self, alert: &Claimed, sent: Result<(), String>) -> StoreResult<()> {
        for last in [false, true] {
            let recorded = match (&sent, self.db().await) {
                (_, Err(error)) => Err(error),
                (Ok(()), Ok(mut db)) => alert_sent(&mut db, alert).await,
                (Err(problem), Ok(mut db)) => {
                    tracing::warn!(alert.key, problem, tries = alert.tries, "an alert was not taken");
                    alert_not_sent(&mut db, alert, problem).await
                }
            };
            match recorded {
                Ok(()) => break,
                Err(error) if last => return Err(error),
                // Retry, because the connection may have been lost only briefly. Without a recorded result, the alert
                // is sent again.
                Err(_) => tokio::time::sleep(AFTER_ERROR).await,
            }
        }
        Ok(())
    }

    async fn db(&self) -> StoreResult<PoolConnection<Postgres>> {
        Ok(self.cold.acquire().await?)
    }
}

struct Sender {
    secrets: Secrets,
    http: Http,
    http_of_tests: Http,
    public_url: String,
    programs: Programs,
    reach: Reach,
}

impl Sender {
    /// Sends an alert through its connection. Error messages contain no secrets.
    async fn send(&self, alert: &Claimed) -> Result<(), String> {
        let notifier = &alert.notifier;
        let connection = self.secrets.connection(&notifier.connection).await.map_err(|error| format!("{error:#}"))?;
        let words = (alert.run_id.as_deref(), alert.logical_date);
        let facts = Facts { address: self.public_url.clone(), ..alert.facts.clone() };
        let message = message((&alert.key, alert.kind), notifier, &facts, words, alert.at);
        let sent = tokio::time::timeout(PATIENCE, self.tell(&connection, &message, &notifier.to)).await;
        let sent = sent.unwrap_or_else(|_| Err(format!("it took more than {} s", PATIENCE.as_secs())));
        sent.map_err(|problem| Masker::of(connection.secrets()).mask(&mask::mask(&problem)).into_owned())
    }

    async fn tell(&self, connection: &Connection, message: &Message, to: &[String]) -> Result<(), String> {
        // Users may send test alerts to any connection, including one created for this purpose, so restrict their
        // addresses.
        let (http, reach) = match message.kind {
            AlertKind::Test => (&self.http_of_tests, Some(&self.reach)),
            _ => (&self.http, None),
        };
        match connection.conn_type.as_str() {
            "slackwebhook" | "slack" => webhook::slack(http, connection, message).await,
            "http" | "https" | "webhook" => webhook::generic(http, connection, message).await,
            "smtp" | "email" => email::send(connection, message, to, reach).await,
            "command" => command::run_alert_program(&self.programs, connection, message).await,
            other => Err(format!(
                "connection `{}` is of type `{other}`, which sends no alerts\nhint: notifiers take `slackwebhook`, \
                 `webhook`, `http`, `smtp` and `command`",
                connection.id
            )),
        }
    }
}
