//! A librdkafka consumer that signals new events and stores the last error.

use super::settings::Settings;
use orch_sdk::task::TaskResult;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Maximum number of events that one call of `hear` drains.
const MOST_SAID: usize = 32;

pub(super) type Consumer = BaseConsumer<KafkaErrorContext>;

/// A consumer that is closed on a blocking thread when dropped, because its connections are closed one after the other.
pub(super) struct Client {
    consumer: Option<Arc<Consumer>>,
    woken: Arc<Notify>,
}

impl Client {
    pub(super) fn open(settings: &Settings) -> TaskResult<Client> {
        let mut consumer: Consumer = settings.consumer(KafkaErrorContext::default())?;
        let woken = Arc::new(Notify::new());
        let wakes = woken.clone();
        consumer.set_nonempty_callback(move || wakes.notify_one());
        Ok(Client { consumer: Some(Arc::new(consumer)), woken })
    }

    pub(super) fn share(&self) -> Arc<Consumer> {
        self.consumer.clone().expect("only `drop` takes it away")
    }

    /// Returns the signal that is notified of new events in the queue.
    pub(super) fn wakes(&self) -> Arc<Notify> {
        self.woken.clone()
    }

    /// Returns librdkafka's message for the most recent connection error.
    pub(super) fn trouble(&self) -> Option<String> {
        self.share().context().last()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let consumer = self.consumer.take();
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(consumer)));
        }
    }
}

/// Drains events from librdkafka's queue. Must not be called for a consumer that reads records, because it would drop
/// them.
pub(super) fn hear(consumer: &Consumer) {
    for _ in 0..MOST_SAID {
        drop(consumer.poll(Duration::ZERO));
    }
}

/// Callback object that receives the log lines and errors of librdkafka.
#[derive(Debug, Default)]
pub(super) struct KafkaErrorContext {
    trouble: Mutex<Option<(Option<RDKafkaErrorCode>, String)>>,
}

impl KafkaErrorContext {
    fn last(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone().map(|(_, reason)| reason)
    }

    /// Returns the cluster's message if it rejected the credentials of the account.
    pub(super) fn denial(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trouble.filter(|(code, _)| *code == Some(RDKafkaErrorCode::Authentication)).map(|(_, reason)| reason)
    }
}

impl ClientContext for KafkaErrorContext {
    /// Log at level `debug` only: calls also return these errors, and their callers record them.
    fn log(&self, level: RDKafkaLogLevel, part: &str, line: &str) {
        tracing::debug!(kafka.level = ?level, kafka.part = part, "librdkafka: {line}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "librdkafka: {reason}");
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        // `AllBrokersDown` follows the error of the last broker, which contains the actual reason. Keep that error.
        let code = error.rdkafka_error_code();
        if trouble.is_none() || code != Some(RDKafkaErrorCode::AllBrokersDown) {
            *trouble = Some((code, reason.into()));
        }
    }
}

impl ConsumerContext for KafkaErrorContext {}
