//! A consumer of librdkafka that signals new events and stores the last error.

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

/// Maximum number of events that `hear` drains.
const MOST_SAID: usize = 32;

pub(super) type Consumer = BaseConsumer<KafkaErrorContext>;

/// Closes its consumer on a blocking thread, because the connections of a consumer are closed one after the other.
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

    /// Returns the signal for new events in the queue.
    pub(super) fn wakes(&self) -> Arc<Notify> {
        self.woken.clone()
    }

    /// Returns librdkafka's message for the last error of a connection.
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

/// Drains events from librdkafka's queue. Must not be called for a consumer that reads, because it also drops records.
pub(super) fn hear(consumer: &Consumer) {
    for _ in 0..MOST_SAID {
        drop(consumer.poll(Duration::ZERO));
    }
}

/// Receives the log lines and errors of librdkafka.
#[derive(Debug, Default)]
pub(super) struct KafkaErrorContext {
    trouble: Mutex<Option<(Option<RDKafkaErrorCode>, String)>>,
}

impl KafkaErrorContext {
    fn last(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone().map(|(_, reason)| reason)
    }

    /// Returns the message of the cluster if it rejected the account.
    pub(super) fn denial(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trouble.filter(|(code, _)| *code == Some(RDKafkaErrorCode::Authentication)).map(|(_, reason)| reason)
    }
}

impl ClientContext for KafkaErrorContext {
    /// Logs at level `debug`, because calls also return these errors and their callers record them.
    fn log(&self, level: RDKafkaLogLevel, part: &str, line: &str) {
        tracing::debug!(kafka.level = ?level, kafka.part = part, "librdkafka: {line}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "librdkafka: {reason}");
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        // `AllBrokersDown` only follows the error of the last broker, which has the reason.
        let code = error.rdkafka_error_code();
        if trouble.is_none() || code != Some(RDKafkaErrorCode::AllBrokersDown) {
            *trouble = Some((code, reason.into()));
        }
    }
}

impl ConsumerContext for KafkaErrorContext {}
