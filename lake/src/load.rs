//! Loads rows into Postgres: rows are copied into a staging table, and replace or extend the target's rows in the same
//! transaction. Readers see the old rows until it commits and the new ones after, and are never blocked.
//!
//! The target is never renamed or recreated, so views, grants, indexes and triggers remain (docs/DECISIONS.md). A
//! ledger in its schema (`orch_load`) makes loads idempotent.

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

/// Default maximum number of table rows held during a comparison, about 100 MB.
const MOST_AHEAD: usize = 7 << 19;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Name with the schema.
    pub table: String,
    pub rows: u64,
    /// Number of target rows added or changed.
    pub written: u64,
    /// Number of bytes sent.
    pub bytes: u64,
    /// True if the load was done before; nothing was read or written this time.
    pub was_loaded: bool,
}

impl Load {
    /// Creates a load into a table. If the table or schema does not exist, it is created with the types of the rows.
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

    /// Sets the primary key. Two rows with the same key are an error of the source.
    #[must_use]
    pub fn key<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Load {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the version column for [`Load::upsert`]: of two rows with the same key, the one with the greater version is
    /// kept, regardless of the order of arrival.
    #[must_use]
    pub fn version(mut self, column: &str) -> Load {
        self.version = Some(column.into());
        self
    }

    /// Adds a view with this name, for users who refer to the table by another name.
    #[must_use]
    pub fn alias(mut self, view: &str) -> Load {
        self.views.push(view.into());
        self
    }

    /// Makes the load idempotent for this attempt: a worker that takes over the attempt, or did not receive the
    /// response to its commit, finds the load done; a worker that was considered lost can no longer write. A retry and
    /// a cleared task load again.
    #[must_use]
    pub fn once_in(self, ctx: &Ctx) -> Load {
        self.once(Once::of(ctx))
    }

    /// Makes the load idempotent for a key such as a run, a snapshot, or a file with its date.
    #[must_use]
    pub fn once(mut self, once: Once) -> Load {
        self.once = Some(once);
        self
    }

    /// Sets the maximum number of table rows held by [`Load::replace`] to match rows that arrive in another order than
    /// the table's. Default: 3.7 million. Rows without a match are sent, and the server compares them.
    #[must_use]
    pub fn most_ahead(mut self, rows: usize) -> Load {
        self.most_ahead = rows.max(1);
        self
    }

    /// Replaces all rows of the table.
    ///
    /// # Errors
    /// The source fails, a row does not fit, or the server rejects it. The table is then unchanged.
    #[boxed]
    pub async fn replace(&self, connection: &Connection, batches: Batches) -> TaskResult<Loaded> {
        stage::load(self, connection, batches, stage::LoadMode::Replace).await
    }

    /// Adds rows to the table. A row replaces the one with the same key unless that has a newer [`Load::version`].
    ///
    /// # Errors
    /// Same errors as [`Load::replace`], or the load has no key.
    #[boxed]
    pub async fn upsert(&self, connection: &Connection, batches: Batches) -> TaskResult<Loaded> {
        stage::load(self, connection, batches, stage::LoadMode::Upsert).await
    }

    /// Returns the quoted name of the table.
    fn name(&self) -> String {
        format!("{}.{}", types::quoted(&self.schema), types::quoted(&self.table))
    }
}
