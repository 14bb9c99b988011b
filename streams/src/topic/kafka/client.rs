//! A consumer of librdkafka with what orch needs of it: when something came, and what went wrong last.

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

/// One event each.
const MOST_SAID: usize = 32;

pub(super) type Consumer = BaseConsumer<KafkaErrorContext>;

/// Closes itself on a thread that may block: the connections of a consumer are closed one after the other.
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

    /// Told when something comes into the queue.
    pub(super) fn wakes(&self) -> Arc<Notify> {
        self.woken.clone()
    }

    /// The last error of a connection, in librdkafka's words.
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

/// Takes what librdkafka has to say out of its queue. Of a consumer that reads, records would go with it.
pub(super) fn hear(consumer: &Consumer) {
    for _ in 0..MOST_SAID {
        drop(consumer.poll(Duration::ZERO));
    }
}

/// What librdkafka told.
#[derive(Debug, Default)]
pub(super) struct KafkaErrorContext {
    trouble: Mutex<Option<(Option<RDKafkaErrorCode>, String)>>,
}

impl KafkaErrorContext {
    fn last(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone().map(|(_, reason)| reason)
    }

    /// The cluster refused the account, in its words.
    pub(super) fn denial(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trouble.filter(|(code, _)| *code == Some(RDKafkaErrorCode::Authentication)).map(|(_, reason)| reason)
    }
}

impl ClientContext for KafkaErrorContext {
    /// Its errors come back as errors of calls too, and are recorded there.
    fn log(&self, level: RDKafkaLogLevel, part: &str, line: &str) {
        tracing::debug!(kafka.level = ?level, kafka.part = part, "librdkafka: {line}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "librdkafka: {reason}");
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        // That all brokers are gone follows from what was said about the last of them.
        let code = error.rdkafka_error_code();
        if trouble.is_none() || code != Some(RDKafkaErrorCode::AllBrokersDown) {
            *trouble = Some((code, reason.into()));
        }
    }
}

impl ConsumerContext for KafkaErrorContext {}
