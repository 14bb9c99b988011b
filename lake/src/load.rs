//! Into Postgres: rows are copied into a staging table, and replace or join those of the target in the same
//! transaction. Readers see the old rows until it commits and the new ones after, and are never kept waiting.
//!
//! The target keeps its identity: nothing is renamed, so views on it, grants, indexes and triggers stay
//! (docs/DECISIONS.md). A ledger in its schema (`orch_load`) makes a load that was done be done once, whoever repeats
//! it.

mod database;
mod encode;
mod follow;
mod ledger;
mod refusal;
mod shared;
mod stage;
mod target;
mod trial;
mod types;

use crate::{batches::Batches, boxed};
use orch_sdk::task::{Connection, Ctx, TaskResult};
use serde::{Deserialize, Serialize};

pub use crate::source::postgres::{Session, connect};
pub use database::{CREATE_DATABASE, ensure_database};
pub use follow::{Claim, Follower, Offsets, Put, TableBatch};
pub use ledger::Once;
pub use refusal::RowsRefused;
pub(crate) use types::quoted;

/// Where rows go, and how.
#[derive(Debug, Clone)]
pub struct Load {
    schema: String,
    table: String,
    key: Vec<String>,
    version: Option<String>,
    views: Vec<String>,
    once: Option<Once>,
    most_ahead: usize,
}

/// Of the table, while they are compared: 100 MB.
const MOST_AHEAD: usize = 7 << 19;

/// What a load did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// With the schema.
    pub table: String,
    /// Rows that were read.
    pub rows: u64,
    /// Rows of the target that were added or changed.
    pub written: u64,
    /// Bytes that were sent.
    pub bytes: u64,
    /// It had been done before; nothing was read or written now.
    pub was_loaded: bool,
}

impl Load {
    /// A table, made with its schema if it is not there, typed by the rows that come.
    pub fn into(schema: &str, table: &str) -> Load {
        Load {
            schema: schema.into(),
            table: table.into(),
            key: Vec::new(),
            version: None,
            views: Vec::new(),
            once: None,
            most_ahead: MOST_AHEAD,
        }
    }

    /// The primary key; two rows with the same one are an error of the source.
    #[must_use]
    pub fn key<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Load {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// For [`Load::upsert`]: of two rows with one key the one that has more in this column stays, in whatever order
    /// they come.
    #[must_use]
    pub fn version(mut self, column: &str) -> Load {
        self.version = Some(column.into());
        self
    }

    /// A view by this name shows the table: for those who know it by another name.
    #[must_use]
    pub fn alias(mut self, view: &str) -> Load {
        self.views.push(view.into());
        self
    }

    /// The load of this try is done once: a worker that takes the try over, or did not hear that the load was
    /// committed, finds it done; one that was taken for lost writes nothing any more. A retry and a cleared task load
    /// again.
    #[must_use]
    pub fn once_in(self, ctx: &Ctx) -> Load {
        self.once(Once::of(ctx))
    }

    /// Done once for whatever the key names: a run, a snapshot, a file with its date.
    #[must_use]
    pub fn once(mut self, once: Once) -> Load {
        self.once = Some(once);
        self
    }

    /// For [`Load::replace`]: rows that come in another order than those of the table are found among so many of them at most (3.7 million).
    /// The others are sent, and the server compares them.
    #[must_use]
    pub fn most_ahead(mut self, rows: usize) -> Load {
        self.most_ahead = rows.max(1);
        self
    }

    /// All rows of the table become these.
    ///
    /// # Errors
    /// The source breaks, a row does not fit, or the server refuses: then the table is as it was.
    #[boxed]
    pub async fn replace(&self, connection: &Connection, batches: Batches) -> TaskResult<Loaded> {
        stage::load(self, connection, batches, stage::LoadMode::Replace).await
    }

    /// Rows join the table; one whose key is there takes its place, unless that has a newer [`Load::version`].
    ///
    /// # Errors
    /// As [`Load::replace`]; and there must be a key.
    #[boxed]
    pub async fn upsert(&self, connection: &Connection, batches: Batches) -> TaskResult<Loaded> {
        stage::load(self, connection, batches, stage::LoadMode::Upsert).await
    }

    /// As it is written in statements.
    fn name(&self) -> String {
        format!("{}.{}", types::quoted(&self.schema), types::quoted(&self.table))
    }
}
