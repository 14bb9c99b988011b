//! The Postgres role that tasks' default connections use to log in to the database of orch. The role owns what tasks
//! create in the lake's schema and can create databases, but cannot read the tables of orch.
//!
//! In standalone mode with a private server, the role is `orch_tasks`, which is created at each start. A second role,
//! `orch_capture`, serves streams that capture changes of a database, because only a role with the attribute
//! REPLICATION can read such changes. On a server that the user configures, the setting `task_role` names the role.

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

/// Role for streams that capture database changes on a private server.
pub const CAPTURE: &str = "orch_capture";
const TASKS: &str = "orch_tasks";
/// The superuser of a private server.
const OWNER: &str = "orch";
/// Path of the server's Unix socket, relative to the data folder.
const SOCKET: &str = "postgres/socket";
const PASSWORD: &str = "postgres.password";
/// SQLSTATE: the current user lacks a privilege.
pub(crate) const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// Key of the advisory lock that serializes grants: concurrent grants of the same role fail with "tuple concurrently
/// updated". The number is arbitrary, but must be the same in all processes.
const GRANT_LOCK: i64 = 0x6f72_6368_7461;

/// The Postgres role from the setting `task_role`.
#[derive(Clone)]
pub struct TaskRole {
    pub name: String,
    /// Password of the role, or `None` if the server authenticates the role without a password.
    pub password: Option<String>,
}

impl fmt::Debug for TaskRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskRole").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Reasons why a Postgres role cannot be used for tasks. The error messages contain hints.
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

/// Creates the roles of a private server unless they exist. The caller must be the server's superuser and must have
/// applied the migrations.
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
    // Over TCP, the roles need a password. Over the Unix socket, Postgres trusts every process of the operating system
    // user.
    if let (_, Some(password)) = split_password(database_url) {
        let derived = derived(&password);
        let set = format!("alter role {TASKS} password '{derived}'; alter role {CAPTURE} password '{derived}'");
        sqlx::raw_sql(AssertSqlSafe(set)).execute(db).await?;
    }
    Ok(())
}

/// Derives the password of a private server's roles from the superuser's password, for servers that listen on TCP.
/// Every process with the superuser's URL can compute the derived password, but tasks cannot compute the superuser's
/// password from it.
fn derived(password: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(password.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(TASKS.as_bytes());
    mac.finalize().into_bytes().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// Returns true if the URL points to the private server of this data folder.
pub fn is_private(database_url: &str, data_dir: &Path) -> bool {
    let Ok(options) = PgConnectOptions::from_str(database_url) else { return false };
    if options.get_username() != OWNER {
        return false;
    }
    let own = data_dir.join(SOCKET);
    match options.get_socket() {
        Some(socket) => socket == &own || own.canonicalize().is_ok_and(|own| own == *socket),
        // If the socket path is too long for the operating system, the URL contains a host and a password instead.
        None => {
            let kept = std::fs::read_to_string(data_dir.join(PASSWORD)).ok();
            options.get_host() == "127.0.0.1"
                && kept.is_some_and(|kept| split_password(database_url).1.as_deref() == Some(kept.trim()))
        }
    }
}

/// Returns the database URL for tasks. It logs in as `orch_tasks` on a private server, or as the configured role.
/// Without either, the URL is returned unchanged.
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

/// Grants the configured role access to the lake, as far as orch has the right to grant it. Then verifies that the role
/// can log in and cannot read the tables of orch.
///
/// # Errors
/// If a privilege is missing, the error message contains the SQL statements that an administrator has to run.
#[boxed]
pub async fn prepare(db: &mut PgConnection, database_url: &str, role: &TaskRole) -> Result<(), TaskRoleError> {
    let name = &role.name;
    let mut tx = db.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(GRANT_LOCK).execute(&mut *tx).await?;
    let exists = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)").bind(name);
    if !exists.fetch_one(&mut *tx).await? {
        return Err(TaskRoleError::NoSuchRole { role: name.clone() });
    }
    // The query also covers indirect access: superusers have every privilege, and a member of the role that owns a
    // table can act as the owner.
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
    // Check the privileges afterwards, because a GRANT without the right to grant is only a warning in Postgres.
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

/// Returns the GRANT statements that the tasks' role needs and that have not taken effect yet.
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
    // Without the role `orch_lake`, lake commits run as the owner of the database, and the tasks' role needs privileges
    // on the tables itself.
    if !has_lake_role && !can_write {
        statements.push(format!("grant select, insert, update, delete on all tables in schema lake to {role}"));
    }
    Ok(statements)
}

/// Grants `grantee`, the role of lake commit statements, access to the tables that tasks create in the lake's schema.
/// Must run as the tasks' role, because only a role itself may change its default privileges.
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
