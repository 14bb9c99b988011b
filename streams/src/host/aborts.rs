//! Records aborts of the Kafka client library in the database before they end the process.

use crate::topic::kafka::AbortListener;
use anyhow::anyhow;
use orch_sdk::task::fatal;
use orch_store::stream::record_kafka_abort;
use sqlx::PgPool;
use tokio::sync::watch;

/// Number of aborts within 24 hours after which all streams of the connection wait for a manual restart, because
/// repeated aborts would also stop other streams of the worker.
const ABORTS_OF_STOP: i64 = 2;

/// An abort of the Kafka client library. It ends this process as soon as all stream hosts have returned.
#[derive(Debug, Clone)]
pub(crate) struct KafkaAbort {
    /// Id of the connection whose client aborted.
    pub(crate) connection: String,
    /// Number of aborts of this connection in the last 24 hours, including this one.
    aborts: i64,
}

impl KafkaAbort {
    pub(super) fn is_repeated(&self) -> bool {
        self.aborts >= ABORTS_OF_STOP
    }

    /// Builds the error with which streams of the connection stop. It is fatal if the abort is repeated.
    pub(super) fn error(&self, stream: &str) -> anyhow::Error {
        let KafkaAbort { connection, aborts: many } = self;
        let cause = "a broker sent a response that the client cannot process";
        if self.is_repeated() {
            fatal(format!(
                "the Kafka client aborted the worker {many} times in 24 hours while it was connected to `{connection}`: {cause}\n\
                 hint: check that all addresses of the connection are Kafka brokers, then run `orch streams restart {stream}`"
            ))
        } else {
            anyhow!("the Kafka client aborted the worker while it was connected to `{connection}`: {cause}")
        }
    }
}

/// Waits for an abort, records it and reports it to the stream hosts. The process ends when the hosts have dropped
/// their receivers.
pub(crate) async fn record_aborts(pool: PgPool, report: watch::Sender<Option<KafkaAbort>>) {
    match AbortListener::install() {
        Ok(Some(mut listener)) => {
            let connection = listener.next().await;
            let recorded = async { record_kafka_abort(&mut *pool.acquire().await?, &connection).await };
            match recorded.await {
                Ok(aborts) => {
                    tracing::error!(
                        connection,
                        aborts,
                        "the Kafka client aborts this process: a broker sent a response that it cannot process"
                    );
                    report.send_replace(Some(KafkaAbort { connection, aborts }));
                    report.closed().await;
                }
                Err(error) => tracing::error!(%error, connection, "an abort of the Kafka client could not be recorded"),
            }
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "aborts of the Kafka client are not attributed to a connection"),
    }
    std::future::pending::<()>().await;
}
