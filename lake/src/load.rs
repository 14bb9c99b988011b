//! Loads rows into a Postgres table. Rows are copied into a staging table, and replace or extend the rows of the
//! target in the same transaction. Readers are never blocked; they see the old rows until the commit and the new rows
//! after it.
//!
//! The target table is never renamed or recreated, so its views, grants, indexes and triggers remain
//! (docs/DECISIONS.md). The table `orch_load` in the target's schema records completed loads, which makes them
//! idempotent.

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

/// Default maximum number of existing rows that are held in memory while rows are compared, about 100 MB.
const MOST_AHEAD: usize = 7 << 19;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Table name with its schema.
    pub table: String,
    pub rows: u64,
    /// Number of rows added to or changed in the target.
    pub written: u64,
    /// Number of bytes sent to the database.
    pub bytes: u64,
    /// True if an earlier load with the same idempotency key was already committed. In this case nothing was read or
    /// written.
    pub was_loaded: bool,
}

impl Load {
    /// Creates a load into a table. If the schema or table does not exist, the load creates it with the column types
    /// of the rows.
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

    /// Sets the primary key. Two incoming rows with the same key are an error.
    #[must_use]
    pub fn key<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Load {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the version column for [`Load::upsert`]. Of two rows with the same key, the one with the greater version
    /// is kept, regardless of the order of arrival.
    #[must_use]
    pub fn version(mut self, column: &str) -> Load {
        self.version = Some(column.into());
        self
    }

    /// Also creates a view of the table with this name, for users who know the table by another name.
    #[must_use]
    pub fn alias(mut self, view: &str) -> Load {
        self.views.push(view.into());
        self
    }

    /// Makes the load idempotent for this task attempt. If a worker takes over the attempt, or did not receive the
    /// response to its commit, it finds that the load was already done. A worker that was declared lost can no longer
    /// write. A retry of the task, or a cleared task, loads again.
    #[must_use]
    pub fn once_in(self, ctx: &Ctx) -> Load {
        self.once(Once::of(ctx))
    }

    /// Makes the load idempotent for a key such as a run id, a snapshot id, or a file name with its date.
    #[must_use]
    pub fn once(mut self, once: Once) -> Load {
        self.once = Some(once);
        self
    }

    /// Sets the maximum number of existing rows that [`Load::replace`] holds in memory to match incoming rows that
    /// arrive in a different order. Default: 3.7 million. An incoming row without a match is sent, and the server
    /// compares it.
    #[must_use]
    pub fn most_ahead(mut self, rows: usize) -> Load {
        self.most_ahead = rows.max(1);
        self
    }

    /// Replaces all rows of the table. If it fails, the table is unchanged.
    ///
    /// # Errors
    /// Returns an error if the source fails, a row does not fit, or the server rejects a row.
    #[boxed]
    pub async fn replace(&self, connection: &Connection, batches: Batches) -> TaskResult<Loaded> {
        stage::load(self, connection, batches, stage::LoadMode::Replace).await
    }

    /// Upserts rows: an incoming row is added, or replaces the row with the same key unless that row has a newer
    /// [`Load::version`].
    ///
    /// # Errors
    /// Returns the same errors as [`Load::replace`], and an error if the load has no key.
    #[boxed]
    pub async fn upsert(&self, connection: &Connection, batches: Batches) -> TaskResult<Loaded> {
        stage::load(self, connection, batches, stage::LoadMode::Upsert).await
    }

    /// Returns the quoted name of the table.
    fn name(&self) -> String {
        format!("{}.{}", types::quoted(&self.schema), types::quoted(&self.table))
    }
}
