//! Records that a person appends to a topic.

use crate::{Actor, boxed};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::topic::{NewRecord, Placed, ProduceError, produce, refuse_captured};
use serde_json::json;
use sqlx::PgConnection;

/// For streams and those who follow the topic.
pub const PRODUCED: Hint = Hint::Topic;

const PRODUCE: &str = "produce_records";

/// Appends all of them, or none. The audit log names the topic and how many, not what is in them.
#[boxed]
pub async fn append(
    tx: &mut PgConnection,
    actor: &Actor,
    topic: &str,
    records: &[NewRecord],
) -> Result<Vec<Placed>, ProduceError> {
    // Before the records: their partitions are locked from there on.
    let extra = json!({ "topic": topic, "records": records.len() });
    actor.did(tx, Deed { event: PRODUCE, extra: Some(extra), ..Deed::default() }).await?;
    produce(tx, topic, records).await
}

/// Records in the audit log that a user appends to a topic of a cluster, by the connection that leads there.
///
/// # Errors
/// A capture writes the topic through this connection.
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
