//! Records that users append to a topic.

use crate::{Actor, boxed};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::topic::{NewRecord, Placed, ProduceError, produce, refuse_captured};
use serde_json::json;
use sqlx::PgConnection;

/// Hint for streams, and for clients that follow the topic.
pub const PRODUCED: Hint = Hint::Topic;

const PRODUCE: &str = "produce_records";

/// Appends all records or none. The audit log contains the topic and the number of records, not their content.
#[boxed]
pub async fn append(
    tx: &mut PgConnection,
    actor: &Actor,
    topic: &str,
    records: &[NewRecord],
) -> Result<Vec<Placed>, ProduceError> {
    // The audit record comes first because `produce` locks the partitions until the end of the transaction.
    let extra = json!({ "topic": topic, "records": records.len() });
    actor.did(tx, Deed { event: PRODUCE, extra: Some(extra), ..Deed::default() }).await?;
    produce(tx, topic, records).await
}

/// Records in the audit log that a user appends to a topic of a Kafka cluster through a connection. Rejects a topic
/// that a capture writes through this connection.
#[boxed]
pub async fn note_append_at(
    tx: &mut PgConnection,
    actor: &Actor,
    (connection, topic): (&str, &str),
    records: usize,
) -> Result<(), ProduceError> {
    refuse_captured(tx, topic, Some(connection)).await?;
    let extra = json!({ "connection": connection, "topic": topic, "records": records });
    Ok(actor.did(tx, Deed { event: PRODUCE, extra: Some(extra), ..Deed::default() }).await?)
}
