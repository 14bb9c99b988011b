//! What a server and a query process say to each other: JSON, a line each.

use orch_sdk::task::Connection;
use orch_store::cluster::ClusterQuestion;
use orch_store::lake_view::{Chunk, LakeError, LakePage, Query, ResultColumn, ScanProgress, TableId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One call of `LakeView`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Question {
    Place,
    Tables,
    Table(TableId),
    Snapshots(TableId, LakePage),
    Files(TableId, Option<i64>, LakePage),
    Partitions(TableId, LakePage),
    Sources(Vec<Query>),
    Query(Query),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToProcess {
    Question(Question),
    Cluster(Connection, ClusterQuestion),
    /// The answer to `FromProcess::Connection`, or the error of the lookup.
    Connection(Result<Connection, String>),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromProcess {
    /// Asks for a connection by its id.
    Connection(String),
    Columns(Vec<ResultColumn>),
    Rows(Chunk),
    /// The rows of a query have ended.
    End {
        is_cut: bool,
        seen: ScanProgress,
    },
    /// The answer to every question but a query.
    Answer(Value),
    Failed(LakeError),
}

impl From<Question> for ToProcess {
    fn from(question: Question) -> ToProcess {
        ToProcess::Question(question)
    }
}
