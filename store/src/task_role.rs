//! The role `orch_tasks`: as whom the connections that a binary brings speak to the private Postgres of a standalone. It
//! keeps the tables of the lake and makes databases of its own; it cannot read orch's own tables, and on the machine of the
//! server it can neither read files nor run programs, as a superuser could. Beside it `orch_capture`, for the database whose changes a
//! stream captures: only a role with the attribute REPLICATION may.

use crate::{StoreResult, boxed};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use std::path::Path;
use std::str::FromStr as _;

/// How the URL of a private server ends.
const OWNER: &str = "user=orch";
/// Of a private server, in the data folder.
const SOCKET: &str = "postgres/socket";

/// Makes the role, as the superuser of a private server after the migrations. It may be there.
#[boxed]
pub async fn make(db: &mut PgConnection) -> StoreResult<()> {
    sqlx::raw_sql(
        "do $$
        begin
            if not exists (select from pg_roles where rolname = 'orch_tasks') then
                create role orch_tasks login createdb;
            end if;
            if not exists (select from pg_roles where rolname = 'orch_capture') then
                create role orch_capture login createdb replication;
            end if;
            grant orch_lake to orch_tasks;
            grant usage, create on schema lake to orch_tasks;
            alter default privileges for role orch_tasks in schema lake
                grant select, insert, update, delete on tables to orch_lake;
        end $$",
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The URL for tasks: on the private server of this folder as the lesser role, elsewhere as it is.
pub fn url(database_url: &str, data_dir: &Path) -> String {
    let Ok(options) = PgConnectOptions::from_str(database_url) else { return database_url.into() };
    let own = data_dir.join(SOCKET);
    let is_own = |socket: &Path| socket == own || own.canonicalize().is_ok_and(|own| own == socket);
    match database_url.strip_suffix(OWNER) {
        Some(start) if options.get_socket().is_some_and(|socket| is_own(socket)) => format!("{start}user=orch_tasks"),
        _ => database_url.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_private_server_of_the_folder_knows_the_role() {
        let private = "postgres:///orch?host=%2Fdata%2Forch%2Fpostgres%2Fsocket&port=5432&user=orch";
        assert_eq!(url(private, Path::new("/data/orch")), private.replace("user=orch", "user=orch_tasks"));
        for (other, folder) in [
            (private, "/data/other"),
            ("postgres://orch:hush@db/orch", "/data/orch"),
            ("postgres://orch@db/orch?user=orch", "/data/orch"),
        ] {
            assert_eq!(url(other, Path::new(folder)), other);
        }
    }
}
