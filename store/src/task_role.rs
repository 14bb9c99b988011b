//! The role as which default connections of tasks log in to the database of orch. It owns what tasks create in the
//! schema of the lake and can create databases; it cannot read the tables of orch.
//!
//! On the private server of a standalone the role is `orch_tasks`, which each start creates. Beside it is
//! `orch_capture`, for the database whose changes a stream captures: only a role with the attribute REPLICATION can
//! follow them. On a server that a setting names, the setting `task_role` names the role.

use crate::database_url::{split_password, with_login};
use crate::{StoreError, StoreResult, boxed, connect};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use std::fmt;
use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr as _;

/// The role that captures changes of databases on a private server.
pub const CAPTURE: &str = "orch_capture";
const TASKS: &str = "orch_tasks";
/// The superuser of a private server.
const OWNER: &str = "orch";
/// Paths below the data folder of a private server.
const SOCKET: &str = "postgres/socket";
const PASSWORD: &str = "postgres.password";
/// SQLSTATE: the current user lacks a privilege.
pub(crate) const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// An arbitrary number, the same in all processes. Concurrent grants of the same role fail with "tuple concurrently
/// updated".
const GRANT_LOCK: i64 = 0x6f72_6368_7461;

/// The role of the setting `task_role`.
#[derive(Clone)]
pub struct TaskRole {
    pub name: String,
    /// `None` if the server identifies the role without a password.
    pub password: Option<String>,
}

impl fmt::Debug for TaskRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskRole").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a role cannot be used for tasks. The messages contain hints.
#[derive(Debug, thiserror::Error)]
pub enum TaskRoleError {
    #[error(
        "the role `{role}` of the setting `task_role` does not exist\nhint: as an administrator of the database, \
         `create role {} login createdb password '…'`, and set `ORCH_TASK_PASSWORD`", quoted(.role)
    )]
    NoSuchRole { role: String },
    #[error(
        "the role `{role}` of the setting `task_role` can read orch's table `{table}`\nhint: name a role that is neither a superuser \
         nor a member of the role that owns the database of orch, and that was not granted its tables"
    )]
    ReadsMetadata { role: String, table: String },
    #[error(
        "the role `{role}` of the setting `task_role` cannot use the lake, and orch may not grant it\nhint: as an administrator of \
         the database, `{}`", .statements.join("; ")
    )]
    Lacks { role: String, statements: Vec<String> },
    #[error(
        "cannot log in as the role `{role}` of the setting `task_role`: {cause}\nhint: `ORCH_TASK_PASSWORD` is its password, and the role \
         needs the attribute LOGIN"
    )]
    Login { role: String, cause: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for TaskRoleError {
    fn from(error: sqlx::Error) -> Self {
        TaskRoleError::Store(error.into())
    }
}

/// Creates the roles of a private server if they do not exist. The caller is its superuser and has applied the
/// migrations.
#[boxed]
pub async fn make(db: &mut PgConnection, database_url: &str) -> StoreResult<()> {
    sqlx::raw_sql(
        "do $$
        begin
            if not exists (select from pg_roles where rolname = 'orch_tasks') then
                create role orch_tasks login createdb;
            end if;
            if not exists (select from pg_roles where rolname = 'orch_capture') then
                create role orch_capture login createdb replication;
            end if;
            -- A role with REPLICATION can read all changes of each database to which it may connect, even of tables that it may not read.
            execute format('revoke connect on database %I from public', current_database());
            execute format('grant connect on database %I to orch_lake', current_database());
            grant orch_lake to orch_tasks;
            grant usage, create on schema lake to orch_tasks;
            alter default privileges for role orch_tasks in schema lake
                grant select, insert, update, delete on tables to orch_lake;
        end $$",
    )
    .execute(&mut *db)
    .await?;
    // Over TCP the roles need a password. Over the socket Postgres trusts every process of the user.
    if let (_, Some(password)) = split_password(database_url) {
        let derived = derived(&password);
        let set = format!("alter role {TASKS} password '{derived}'; alter role {CAPTURE} password '{derived}'");
        sqlx::raw_sql(AssertSqlSafe(set)).execute(db).await?;
    }
    Ok(())
}

/// Returns the password of the roles of a private server that listens on TCP. It is derived from the password of the
/// superuser, so every process with the superuser's URL has it, and tasks cannot compute the superuser's password from
/// theirs.
fn derived(password: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(password.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(TASKS.as_bytes());
    mac.finalize().into_bytes().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// Returns true if the URL leads to the private server of this data folder.
pub fn is_private(database_url: &str, data_dir: &Path) -> bool {
    let Ok(options) = PgConnectOptions::from_str(database_url) else { return false };
    if options.get_username() != OWNER {
        return false;
    }
    let own = data_dir.join(SOCKET);
    match options.get_socket() {
        Some(socket) => socket == &own || own.canonicalize().is_ok_and(|own| own == *socket),
        // If the path of the socket is too long, the URL contains a host and a password instead.
        None => {
            let kept = std::fs::read_to_string(data_dir.join(PASSWORD)).ok();
            options.get_host() == "127.0.0.1"
                && kept.is_some_and(|kept| split_password(database_url).1.as_deref() == Some(kept.trim()))
        }
    }
}

/// Returns the URL of the database for tasks: with the role of a private server, or with the configured role, otherwise
/// unchanged.
pub fn url(database_url: &str, data_dir: &Path, configured: Option<&TaskRole>) -> String {
    if is_private(database_url, data_dir) {
        let password = split_password(database_url).1.map(|password| derived(&password));
        return with_login(database_url, TASKS, password.as_deref());
    }
    match configured {
        Some(role) => with_login(database_url, &role.name, role.password.as_deref()),
        None => database_url.into(),
    }
}

/// Grants the lake to the configured role as far as orch may, and checks that the role can log in and cannot read
/// orch's tables.
///
/// # Errors
/// Returns an error with the statements that an administrator has to run if a privilege is missing.
#[boxed]
pub async fn prepare(db: &mut PgConnection, database_url: &str, role: &TaskRole) -> Result<(), TaskRoleError> {
    let name = &role.name;
    let mut tx = db.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(GRANT_LOCK).execute(&mut *tx).await?;
    let exists = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)").bind(name);
    if !exists.fetch_one(&mut *tx).await? {
        return Err(TaskRoleError::NoSuchRole { role: name.clone() });
    }
    // Superusers have every privilege. A member of the role that owns a table can become its owner.
    let readable = sqlx::query_scalar(
        "select relname::text from pg_class
         where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p')
           and (has_table_privilege($1::name, oid, 'select') or pg_has_role($1::name, relowner, 'member'))
         order by relname limit 1",
    );
    if let Some(table) = readable.bind(name).fetch_optional(&mut *tx).await? {
        return Err(TaskRoleError::ReadsMetadata { role: name.clone(), table });
    }
    for statement in missing(&mut tx, name).await? {
        let mut savepoint = tx.begin().await?;
        match sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *savepoint).await {
            Ok(_) => savepoint.commit().await?,
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(INSUFFICIENT_PRIVILEGE) => {
                savepoint.rollback().await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    tx.commit().await?;
    // Postgres only warns about a grant without the right to grant.
    let statements = missing(db, name).await?;
    if !statements.is_empty() {
        return Err(TaskRoleError::Lacks { role: name.clone(), statements });
    }
    let steps = "select coalesce((select rolname::text from pg_roles where rolname = 'orch_lake'), current_user::text)";
    let steps: String = sqlx::query_scalar(steps).fetch_one(db).await?;
    let url = with_login(database_url, name, role.password.as_deref());
    let connected = connect::one(&url, "orch task role").await;
    let mut own = connected.map_err(|error| TaskRoleError::Login { role: name.clone(), cause: error.in_full() })?;
    grant_own_tables(&mut own, &steps).await?;
    own.close().await?;
    Ok(())
}

/// Returns the statements that grant the role what tasks need, without those that have taken effect.
async fn missing(db: &mut PgConnection, role: &str) -> sqlx::Result<Vec<String>> {
    let (has_lake_role, is_member, can_create, can_write): (bool, bool, bool, bool) = sqlx::query_as(
        "select exists (select from pg_roles where rolname = 'orch_lake'),
           exists (select from pg_roles where rolname = 'orch_lake' and pg_has_role($1::name, oid, 'usage')),
           has_schema_privilege($1::name, 'lake', 'usage') and has_schema_privilege($1::name, 'lake', 'create'),
           not exists (select from pg_class where relnamespace = 'lake'::regnamespace and relkind = 'r'
             and relowner = current_user::regrole and not (has_table_privilege($1::name, oid, 'select')
               and has_table_privilege($1::name, oid, 'insert') and has_table_privilege($1::name, oid, 'update')
               and has_table_privilege($1::name, oid, 'delete')))",
    )
    .bind(role)
    .fetch_one(db)
    .await?;
    let role = quoted(role);
    let mut statements = Vec::new();
    if has_lake_role && !is_member {
        statements.push(format!("grant orch_lake to {role}"));
    }
    if !can_create {
        statements.push(format!("grant usage, create on schema lake to {role}"));
    }
    // If `orch_lake` does not exist, the steps of commits run as the owner, and the role needs privileges on the tables
    // itself.
    if !has_lake_role && !can_write {
        statements.push(format!("grant select, insert, update, delete on all tables in schema lake to {role}"));
    }
    Ok(statements)
}

/// Lets the steps of commits, which run as `grantee`, use the tables that tasks create in the schema of the lake. Runs
/// as the tasks' role, because another user may not change its default privileges.
async fn grant_own_tables(own: &mut PgConnection, grantee: &str) -> sqlx::Result<()> {
    let is_granted = "select exists (select from pg_default_acl
        where defaclrole = current_user::regrole and defaclnamespace = 'lake'::regnamespace)";
    let mut tx = own.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(GRANT_LOCK).execute(&mut *tx).await?;
    if !sqlx::query_scalar(is_granted).fetch_one(&mut *tx).await? {
        let grantee = quoted(grantee);
        let grant = format!(
            "alter default privileges in schema lake grant select, insert, update, delete on tables to {grantee}"
        );
        sqlx::raw_sql(AssertSqlSafe(grant)).execute(&mut *tx).await?;
    }
    tx.commit().await
}

/// Quotes an identifier for SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_server_of_the_folder_has_its_own_role() {
        let private = "postgres:///orch?host=%2Fdata%2Forch%2Fpostgres%2Fsocket&port=5432&user=orch";
        let role = TaskRole { name: "tasks".into(), password: Some("p".into()) };
        for configured in [None, Some(&role)] {
            let url = url(private, Path::new("/data/orch"), configured);
            assert_eq!(url, private.replace("user=orch", "user=orch_tasks"));
        }
        for (other, folder) in [
            (private, "/data/other"),
            ("postgres://orch:hush@db/orch", "/data/orch"),
            ("postgres://orch@db/orch?user=orch", "/data/orch"),
        ] {
            assert_eq!(url(other, Path::new(folder), None), other);
        }
        assert_eq!(url("postgres://orch:hush@db/orch", Path::new("/x"), Some(&role)), "postgres://tasks:p@db/orch");
    }

    #[test]
    fn a_private_server_that_listens_on_tcp_has_a_derived_password() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(PASSWORD), "owners\n").unwrap();
        let of_owner = "postgres://orch:owners@127.0.0.1:5611/orch?sslmode=disable";
        let (bare, password) = split_password(&url(of_owner, folder.path(), None));
        assert_eq!(bare, "postgres://orch_tasks@127.0.0.1:5611/orch?sslmode=disable");
        assert_eq!(password.as_deref(), Some(derived("owners").as_str()));
        assert_ne!(password.as_deref(), Some("owners"));
        let other = of_owner.replace("owners", "another");
        assert_eq!(url(&other, folder.path(), None), other, "another server at the same address");
    }
}
