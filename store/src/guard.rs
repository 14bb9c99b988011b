//! Decides which binaries may work on which schema version. A binary refuses to work if it is older than `min_binary`
//! of the row in `schema_guard`. It also refuses if it is newer than the schema, until the schema is migrated. All
//! other binaries work, but never migrate.

mod amended;
mod squashed;

use crate::connect::{first_error, restore_statement_timeout};
use crate::task_role::{INSUFFICIENT_PRIVILEGE, quoted};
use crate::{MIGRATOR, StoreError, StoreResult, boxed, home, partition};
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnection;

/// Schema version that this binary migrates to.
pub const SCHEMA_VERSION: i32 = 44;

/// Advisory lock of migrations: an arbitrary number that is the same in all binaries.
const MIGRATE_LOCK: i64 = 0x6f72_6368_6462;

const UNDEFINED_TABLE: &str = "42P01";

/// State of a database's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// The database has no tables of orch.
    Empty,
    /// This binary can work with the schema.
    Fits,
    /// The schema is older than this binary and must be migrated first.
    Old { version: i32 },
    /// A newer binary has migrated the schema, and this one can no longer work with it.
    TooNew { version: i32, min_binary: i32 },
}

/// Returns the state of the schema.
///
/// # Errors
/// Returns `StoreError::Privilege` if the login may not read the schema.
#[boxed]
pub async fn read_schema(db: &mut PgConnection) -> StoreResult<Schema> {
    // This query is not checked at compile time, because the table may not exist.
    let row = sqlx::query_as("select version, min_binary from schema_guard").fetch_optional(&mut *db).await;
    let row: Option<(i32, i32)> = match row {
        Ok(row) => row,
        Err(error) => {
            let code = error.as_database_error().and_then(|error| Some(error.code()?.into_owned()));
            let is_undefined = code.as_deref() == Some(UNDEFINED_TABLE);
            if (is_undefined || code.as_deref() == Some(INSUFFICIENT_PRIVILEGE))
                && let Some(missing) = missing_privilege(db).await?
            {
                return Err(missing);
            }
            if !is_undefined {
                return Err(error.into());
            }
            None
        }
    };
    Ok(match row {
        None => Schema::Empty,
        Some((version, _)) if version < SCHEMA_VERSION => Schema::Old { version },
        Some((version, min_binary)) if min_binary > SCHEMA_VERSION => Schema::TooNew { version, min_binary },
        Some(_) => Schema::Fits,
    })
}

/// Returns the error for a login that lacks a privilege to read the schema, or `None` if the table does not exist or
/// can be read. Postgres reports the tables of a schema without USAGE as undefined, as if the database had no orch.
async fn missing_privilege(db: &mut PgConnection) -> StoreResult<Option<StoreError>> {
    let row: Option<(String, String, String, bool)> = sqlx::query_as(
        "select n.nspname::text, current_user::text, pg_get_userbyid(c.relowner)::text, has_schema_privilege(n.oid, 'usage')
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relname = 'schema_guard' and c.relkind = 'r'
           and n.nspname = any(string_to_array(
             replace(replace(current_setting('search_path'), '\"$user\"', current_user::text), ' ', ''), ','))
           and not (has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select'))
         order by 1 limit 1",
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|(schema, login, owner, may_use)| {
        let (name, to) = (quoted(&schema), quoted(&login));
        let privilege = if may_use {
            format!("SELECT on the table `schema_guard` of the schema `{schema}`")
        } else {
            format!("USAGE on the schema `{schema}`")
        };
        let usage = if may_use { String::new() } else { format!("grant usage on schema {name} to {to}; ") };
        let grants = format!("{usage}grant select on all tables in schema {name} to {to}");
        StoreError::Privilege {
            message: format!("the login `{login}` lacks the privilege {privilege}"),
            hint: format!(
                "use the login `{owner}`, which owns the tables of orch, in the URL of the database; for commands that only read it is \
                 enough to run `{grants}` as `{owner}`"
            ),
        }
    }))
}

/// Returns an error if this binary cannot work with the schema. Every process calls this once, before it does anything
/// else.
#[boxed]
pub async fn check(db: &mut PgConnection) -> StoreResult<()> {
    let needed = SCHEMA_VERSION;
    match read_schema(db).await? {
        Schema::Fits => home::settle(db).await.map(drop),
        Schema::Empty => {
            Err(StoreError::Schema { found: 0, needed, hint: "prepare the database with `orch db migrate`" })
        }
        Schema::Old { version } if version < squashed::LAST => Err(too_old(version)),
        Schema::Old { version } => {
            Err(StoreError::Schema { found: version, needed, hint: "bring the database up with `orch db migrate`" })
        }
        Schema::TooNew { version, .. } => Err(StoreError::Schema {
            found: version,
            needed,
            hint: "install the orch that migrated this database, or a newer one",
        }),
    }
}

/// Migrates the schema to the version of this binary, one binary at a time. A newer schema is left unchanged.
#[boxed]
pub async fn migrate(db: &mut PgConnection) -> StoreResult<()> {
    if matches!(read_schema(db).await?, Schema::Fits | Schema::TooNew { .. }) {
        return check(db).await;
    }
    // Waiting for another migration, and migrating, may take longer than any ordinary statement.
    sqlx::query("set statement_timeout = 0").execute(&mut *db).await?;
    let migrated = migrate_alone(db).await;
    first_error(migrated, restore_statement_timeout(db).await)
}

/// Waits until no other session is migrating, and then migrates.
async fn migrate_alone(db: &mut PgConnection) -> StoreResult<()> {
    sqlx::query("select pg_advisory_lock($1)").bind(MIGRATE_LOCK).execute(&mut *db).await?;
    let migrated = migrate_locked(db).await;
    let unlocked = sqlx::query("select pg_advisory_unlock($1)").bind(MIGRATE_LOCK).execute(db).await;
    first_error(migrated, unlocked.map(drop).map_err(StoreError::from))
}

async fn migrate_locked(db: &mut PgConnection) -> StoreResult<()> {
    // Another process may have migrated while this one waited.
    let found = read_schema(db).await?;
    match found {
        Schema::Old { version } if version < squashed::LAST => return Err(too_old(version)),
        Schema::Old { version: squashed::LAST } => squashed::adopt(db).await?,
        Schema::Old { .. } => amended::adopt(db).await?,
        _ => {}
    }
    if matches!(found, Schema::Empty | Schema::Old { .. }) {
        let run = MIGRATOR.run_direct(None, db, false).await;
        run.map_err(|error| match error {
            MigrateError::Execute(error) => error.into(),
            MigrateError::ExecuteMigration(source, version) => migration_error(version, source),
            other => StoreError::corrupt(format!("the record of migrations: {other}")),
        })?;
        // Creates partitions immediately, so that `orch doctor` finds them after the first start. Later, a scheduler
        // checks once an hour.
        partition::make_ahead(db).await?;
    }
    check(db).await
}

/// Returns the error for a failed migration. If the session was lost, it is `Unreachable`, because callers retry the
/// migration on another connection. A full disk is reported as an error of the migration.
fn migration_error(version: i64, source: sqlx::Error) -> StoreError {
    match StoreError::from(source) {
        error @ StoreError::Unreachable(_) if !error.is_disk_full() => error,
        StoreError::Unreachable(source) | StoreError::TryAgain(source) | StoreError::Sql(source) => {
            StoreError::Migration { version, source }
        }
        other => other,
    }
}

/// Returns an error if `migrate` cannot migrate a schema of that version.
pub fn can_be_brought_up(version: i32) -> StoreResult<()> {
    if version < squashed::LAST { Err(too_old(version)) } else { Ok(()) }
}

fn too_old(found: i32) -> StoreError {
    StoreError::Schema { found, needed: SCHEMA_VERSION, hint: squashed::TOO_OLD }
}
