//! Removes rows in batches: deletes them, or moves them into an archived table in the statement that deletes them.

use super::record::{Mark, RowDisposal, mark, mark_more};
use super::table::Table;
use super::{CleanRequest, Goes, LOCK_TIMEOUT, Tell};
use crate::StoreResult;
use sqlx::AssertSqlSafe;
use sqlx::Connection;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{Arguments as _, Postgres};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Moves or deletes rows, and records the number of rows per table.
pub(super) struct Mover<'a> {
    wish: &'a CleanRequest,
    stamp: &'a str,
    notes: BTreeMap<&'static str, Note>,
}

/// Progress of cleaning one table.
struct Note {
    /// Id of the record in the table `cleanup`.
    id: i64,
    rows: i64,
    told: i64,
}

impl<'a> Mover<'a> {
    pub(super) fn new(wish: &'a CleanRequest, stamp: &'a str) -> Mover<'a> {
        Mover { wish, stamp, notes: BTreeMap::new() }
    }

    /// Returns the suffix of the names of archived tables.
    pub(super) fn stamp(&self) -> &'a str {
        self.stamp
    }

    fn archived(&self, table: &str) -> String {
        archived(table, self.stamp)
    }

    /// Creates the records and archived tables before any row is removed. If the process is killed in between, an empty
    /// table remains.
    pub(super) async fn prepare(&mut self, db: &mut PgConnection, tables: &[&'static str]) -> StoreResult<()> {
        for &table in tables {
            if self.notes.contains_key(table) {
                continue;
            }
            let archived = self.archived(table);
            let is_kept = self.wish.goes == Goes::Archived;
            let note = Mark {
                actor: &self.wish.actor,
                table,
                week: None,
                how: RowDisposal::of(self.wish.goes),
                rows: Some(0),
                place: is_kept.then_some(&*archived),
            };
            let mut tx = db.begin().await?;
            if is_kept {
                let text = format!("create table {archived} (like {table})");
                sqlx::query(AssertSqlSafe(text)).execute(&mut *tx).await?;
            }
            let id = mark(&mut tx, &note).await?;
            tx.commit().await?;
            self.notes.insert(table, Note { id, rows: 0, told: 0 });
        }
        Ok(())
    }

    /// Removes the rows of these runs from partitions.
    pub(super) async fn of_runs(
        &mut self,
        db: &mut PgConnection,
        leaves: &[(&'static str, String)],
        runs: &[Uuid],
    ) -> StoreResult<()> {
        for (parent, leaf) in leaves {
            self.rows_of(db, parent, leaf, "run", runs).await?;
        }
        Ok(())
    }

    /// Removes the rows of these runs from one table, which is `of` or a partition of `of`.
    pub(super) async fn rows_of(
        &mut self,
        db: &mut PgConnection,
        of: &'static str,
        table: &str,
        column: &str,
        runs: &[Uuid],
    ) -> StoreResult<()> {
        let text = self.text(of, &format!("delete from {table} where {column} = any($1)"));
        self.send(db, of, sqlx::query(AssertSqlSafe(text)).bind(runs)).await.map(drop)
    }

    /// Returns a statement that executes `delete`, or moves the rows that `delete` returns into the archived table.
    fn text(&self, of: &str, delete: &str) -> String {
        match self.wish.goes {
            Goes::Dropped => delete.into(),
            Goes::Archived => self.moved(of, &format!("{delete} returning *")),
        }
    }

    /// Returns the statement that removes rows of the audit log, which only the function `clean_audit` can delete
    /// (migration `protect_audit`).
    fn text_of_audit(&self, of: &str) -> String {
        let gone = "from clean_audit($1, $2, $3, $4)";
        match self.wish.goes {
            Goes::Dropped => format!("select {gone}"),
            Goes::Archived => self.moved(of, &format!("select * {gone}")),
        }
    }

    fn moved(&self, of: &str, gone: &str) -> String {
        format!("with gone as ({gone}) insert into {} select * from gone", self.archived(of))
    }

    async fn send(
        &mut self,
        db: &mut PgConnection,
        of: &'static str,
        statement: Query<'_, Postgres, PgArguments>,
    ) -> StoreResult<i64> {
        let rows = statement.execute(&mut *db).await?.rows_affected() as i64;
        if rows > 0
            && let Some(note) = self.notes.get_mut(of)
        {
            mark_more(db, note.id, rows).await?;
            note.rows += rows;
        }
        Ok(rows)
    }

    /// Reports each table with the number of rows that were removed since its last report.
    pub(super) fn tell_of_new(&mut self, tell: &mut Tell<'_>) {
        let (wish, stamp) = (self.wish, self.stamp);
        for (table, note) in self.notes.iter_mut().filter(|(_, note)| note.rows > note.told) {
            let archived = archived(table, stamp);
            let place = (wish.goes == Goes::Archived).then_some(&*archived);
            let rows = Some(note.rows - note.told);
            note.told = note.rows;
            tell(
                &Mark { actor: &wish.actor, table, week: None, how: RowDisposal::of(wish.goes), rows, place }.cleaned(),
            );
        }
    }

    /// Deletes the records and archived tables that received no rows.
    pub(super) async fn tidy(&self, db: &mut PgConnection) -> StoreResult<()> {
        for (table, note) in self.notes.iter().filter(|(_, note)| note.rows == 0) {
            let mut tx = db.begin().await?;
            sqlx::query(LOCK_TIMEOUT).execute(&mut *tx).await?;
            if self.wish.goes == Goes::Archived {
                let text = format!("drop table if exists {}", self.archived(table));
                sqlx::query(AssertSqlSafe(text)).execute(&mut *tx).await?;
            }
            sqlx::query!("delete from cleanup where id = $1", note.id).execute(&mut *tx).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

fn archived(table: &str, stamp: &str) -> String {
    format!("archived__{table}__{stamp}")
}

/// Removes old rows of a table that has its own timestamps.
pub(super) async fn clean_rows(
    db: &mut PgConnection,
    wish: &CleanRequest,
    table: Table,
    mover: &mut Mover<'_>,
) -> StoreResult<()> {
    let Some(filter) = filter(wish, table) else { return Ok(()) };
    let (name, may_go) = (table.as_str(), table.may_go());
    mover.prepare(db, &[name]).await?;
    let text = match table {
        Table::Audit => mover.text_of_audit(name),
        _ => mover.text(
            name,
            &format!(
                "delete from {name} where ctid = any(array(select ctid from {name}
                  where at < $1 and {may_go} and {filter} order by at limit $2 for update skip locked))"
            ),
        ),
    };
    loop {
        let mut tx = db.begin().await?;
        sqlx::query(LOCK_TIMEOUT).execute(&mut *tx).await?;
        let mut values = PgArguments::default();
        bind(&mut values, wish);
        let rows = mover.send(&mut tx, name, sqlx::query_with(AssertSqlSafe(text.clone()), values)).await?;
        tx.commit().await?;
        if rows == 0 {
            return Ok(());
        }
    }
}

fn bind(values: &mut PgArguments, wish: &CleanRequest) {
    let added = values.add(wish.before).and_then(|()| values.add(wish.batch.max(1)));
    let added = added.and_then(|()| values.add(wish.only.clone())).and_then(|()| values.add(wish.except.clone()));
    added.expect("times, numbers and texts can be sent");
}

/// Returns the SQL condition that selects the DAGs of a request; `$3` and `$4` are lists of DAG ids. `None` if the
/// table has no DAG column and only some DAGs are cleaned.
pub(super) fn filter(wish: &CleanRequest, table: Table) -> Option<String> {
    match table.dag_column() {
        Some(column) => Some(format!(
            "(cardinality($3::text[]) = 0 or {column} = any($3)) and coalesce({column} <> all($4::text[]), true)"
        )),
        None if wish.is_of_all() => Some("cardinality($3::text[]) = 0 and cardinality($4::text[]) = 0".into()),
        None => None,
    }
}
