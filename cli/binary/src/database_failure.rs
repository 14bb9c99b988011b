//! Database failures as commands and processes print them: the database, the reason and the next step.

use crate::config::{Config, LoadedFrom, Secret, Text as _};
use crate::failure::Failure;
use orch_store::StoreError;
use orch_store::error::chain;
use sqlx::postgres::PgConnectOptions;
use std::path::Path;
use std::str::FromStr as _;

/// Returns the failure of a connection to the database that a setting names. It contains the URL without the password.
pub fn unusable_database(config: &Config, error: &StoreError) -> Failure {
    let shown = config.database_url.as_ref().map_or_else(String::new, Secret::show);
    let from = config.sources.get("database_url").map_or_else(String::new, LoadedFrom::to_string);
    let url = config.database_url.as_ref().map_or("", Secret::reveal);
    Failure::new(with_reason(&format!("the database `{shown}` (from {from})"), error)).hint(next_step(url, error))
}

/// Returns a sentence about a database: its name, what failed and the reason.
pub(crate) fn with_reason(database: &str, error: &StoreError) -> String {
    let text = chain(error);
    match text.strip_prefix("the database ") {
        Some(what) => format!("{database} {what}"),
        None => format!("{database} cannot be used: {text}"),
    }
}

fn next_step(url: &str, error: &StoreError) -> String {
    const FORM: &str = "`postgres://user:password@host:5432/database`";
    match (error, error.hint()) {
        (_, Some(hint)) => hint,
        (StoreError::Unreachable(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut), None) => format!(
            "start the Postgres server at {}, or name another one with `--database-url` or `ORCH_DATABASE_URL` ({FORM}); \
             `orch standalone` starts its own",
            address(url)
        ),
        (_, None) => format!("check that the server accepts connections and that the URL is right: {FORM}"),
    }
}

/// Returns the host and the port of a database, or the folder of its socket and the port.
fn address(url: &str) -> String {
    match PgConnectOptions::from_str(url) {
        Ok(options) => match options.get_socket() {
            Some(folder) => format!("the socket in `{}`, port {}", folder.display(), options.get_port()),
            None => format!("`{}:{}`", options.get_host(), options.get_port()),
        },
        Err(_) => "that address".into(),
    }
}

/// Returns the failure of the private server of a data folder whose disk is full.
pub fn full_disk(data_dir: &Path, error: &StoreError) -> Failure {
    Failure::new(format!("the disk of `{}` is full: {}", data_dir.display(), error.source_text()))
        .hint("free space on it, then try again; do not delete files in `postgres`: they are the database")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> StoreError {
        sqlx::Error::Io(std::io::Error::other(message.to_owned())).into()
    }

    #[test]
    fn a_server_that_does_not_run_is_named_with_how_to_start_one() {
        let error = refused("Connection refused (os error 111)");
        assert_eq!(
            with_reason("the database `postgres://me:***@db/orch` (from ORCH_DATABASE_URL)", &error),
            "the database `postgres://me:***@db/orch` (from ORCH_DATABASE_URL) cannot be reached: Connection refused (os error 111)"
        );
        let hint = next_step("postgres://me:secret@db/orch", &error);
        assert!(hint.starts_with("start the Postgres server at `db:5432`, or name another one"), "{hint}");
        assert!(!hint.contains("secret"), "{hint}");
        let hint = next_step("postgres:///orch?host=/run/postgresql&port=5433", &error);
        assert!(hint.contains("the socket in `/run/postgresql`, port 5433"), "{hint}");
    }

    #[test]
    fn a_server_that_was_reached_gets_another_hint() {
        let error = refused("invalid peer certificate: UnknownIssuer");
        let text = with_reason("the database `x`", &error);
        assert!(text.starts_with("the database `x` cannot be used: the TLS certificate"), "{text}");
        assert!(next_step("postgres://db/orch", &error).contains("sslrootcert"));
        let closed = StoreError::from(sqlx::Error::PoolClosed);
        assert!(next_step("postgres://db/orch", &closed).starts_with("check that the server accepts connections"));
    }

    #[test]
    fn a_full_disk_is_named_by_its_folder() {
        let failure = full_disk(Path::new("/data/orch"), &refused("No space left on device (os error 28)"));
        assert_eq!(failure.line(), "the disk of `/data/orch` is full: No space left on device (os error 28)");
    }
}
