//! The protocol between a server and a query process: JSON, one frame per line.

use orch_sdk::task::Connection;
use orch_store::cluster::ClusterQuestion;
use orch_store::lake_view::{Chunk, LakeError, LakePage, Query, ResultColumn, ScanProgress, TableId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A single call of `LakeView`.
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
    /// The response to `FromProcess::Connection`, or the error of the lookup.
    Connection(Result<Connection, String>),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromProcess {
    /// Requests a connection by its id.
    Connection(String),
    Columns(Vec<ResultColumn>),
    Rows(Chunk),
    /// The end of the rows of a query.
    End {
        is_cut: bool,
        seen: ScanProgress,
    },
    /// The response to every request except a query.
    Answer(Value),
    Failed(LakeError),
}

impl From<Question> for ToProcess {
    fn from(question: Question) -> ToProcess {
        ToProcess::Question(question)
    }
}
