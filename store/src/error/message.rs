//! Builds messages for errors of sqlx: what failed, the reason and the next step, each once.
//!
//! sqlx repeats the message of Postgres in the source of its error, and appends the line number in Postgres' C code.
//! The repetition and the line number are omitted here.

use super::StoreError;
use sqlx::postgres::PgDatabaseError;
use std::error::Error;

const UNREACHABLE: &str = "the database cannot be reached";
const DISK_IS_FULL: &str = "the disk of the database is full";
/// Prefix of messages of rustls about a rejected certificate.
const BAD_CERTIFICATE: &str = "invalid peer certificate";

/// Returns a short text about what failed, without the reason.
pub(super) fn summary(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Database(error) => refusal(error.code().as_deref().unwrap_or_default(), error.message()),
        sqlx::Error::Io(error) if error.to_string().starts_with(BAD_CERTIFICATE) => {
            "the TLS certificate of the database server is rejected"
        }
        sqlx::Error::Tls(_) => "no TLS connection to the database can be opened",
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => UNREACHABLE,
        sqlx::Error::Configuration(_) => "the address of the database cannot be used",
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => "a value from the database cannot be read",
        _ => "a statement to the database failed",
    }
}

/// Returns what failed, for an error with this SQLSTATE and message of Postgres.
fn refusal(code: &str, message: &str) -> &'static str {
    if let Some(shortage) = shortage_of(code, message) {
        return shortage;
    }
    match code {
        "25006" => "the database is read-only",
        "28000" | "28P01" => "the database refused the login",
        "3D000" => "the database refused the connection",
        "57P03" => "the database does not accept connections",
        "25P03" => "the database closed the connection",
        code if code.starts_with("08") || code.starts_with("57P") => "the database closed the connection",
        _ => "the database refused a statement",
    }
}

/// Returns the resource (such as disk or memory) that the server has run out of, or `None` if the error has another
/// cause.
pub(super) fn shortage(error: &sqlx::Error) -> Option<&'static str> {
    let error = error.as_database_error()?;
    shortage_of(error.code().as_deref().unwrap_or_default(), error.message())
}

fn shortage_of(code: &str, message: &str) -> Option<&'static str> {
    match code {
        _ if is_disk_full(code, message) => Some(DISK_IS_FULL),
        "53200" => Some("the database is out of memory"),
        "53300" => Some("the database has no connection left"),
        code if code.starts_with("53") => Some("the database is out of resources"),
        _ => None,
    }
}

/// True if the server cannot write because its disk is full. A new session of an older server then fails with an
/// internal error: it cannot write a cache of the catalog (`pg_internal.init`), and the message does not contain the
/// reason.
fn is_disk_full(code: &str, message: &str) -> bool {
    code == "53100" || message.contains("No space left on device") || message.starts_with("could not write init file")
}

pub(super) fn has_full_disk(error: &sqlx::Error) -> bool {
    shortage(error) == Some(DISK_IS_FULL)
}

/// Returns the reason of a failure: the message of Postgres with its SQLSTATE, or the message of sqlx.
fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => match error.code() {
            Some(code) => format!("{} (SQLSTATE {code})", error.message()),
            None => error.message().to_owned(),
        },
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => error.to_string(),
        sqlx::Error::Protocol(message) => message.clone(),
        sqlx::Error::PoolTimedOut => "no connection was available within the timeout".into(),
        error => error.to_string(),
    }
}

/// Returns advice for a failure of orch's own database: our advice for some SQLSTATEs, otherwise the hint of Postgres.
pub(super) fn hint(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Database(error) => {
            let own = next_step(error.code().as_deref().unwrap_or_default(), error.message());
            own.or_else(|| Some(error.try_downcast_ref::<PgDatabaseError>()?.hint()?.replace('\n', " ")))
        }
        sqlx::Error::Io(error) => tls_step(&error.to_string()).map(String::from),
        sqlx::Error::Tls(error) => tls_step(&error.to_string()).map(String::from),
        _ => None,
    }
}

fn next_step(code: &str, message: &str) -> Option<String> {
    if is_disk_full(code, message) {
        return Some("free space on the disk of the database server, then try again".into());
    }
    Some(match code {
        "28P01" => "correct the user and the password in the URL of the database".into(),
        "3D000" => "create the database with `createdb`, or correct its name in the URL of the database".into(),
        "42501" => privilege_step(message),
        "53300" => "raise `max_connections` of the server, or close connections of other programs".into(),
        _ => return None,
    })
}

/// Returns advice for a login that lacks a privilege, with the `GRANT` to execute. The message of Postgres names the
/// object, but neither the privilege nor the login.
fn privilege_step(message: &str) -> String {
    let owner = "use the login that owns the tables of orch";
    match grant(message) {
        Some(grant) => format!(
            "{owner} in the URL of the database, or run `{grant}` as that owner, with the login of the URL in place of LOGIN"
        ),
        None => format!("{owner} in the URL of the database"),
    }
}

fn grant(message: &str) -> Option<String> {
    let (kind, name) = message.strip_prefix("permission denied for ")?.split_once(' ')?;
    let (privileges, kind) = match kind {
        "table" | "view" | "relation" => ("select, insert, update, delete", "table"),
        "sequence" => ("usage, select, update", "sequence"),
        "schema" => ("usage, create", "schema"),
        "database" => ("connect, create", "database"),
        _ => return None,
    };
    Some(format!("grant {privileges} on {kind} {name} to LOGIN"))
}

fn tls_step(message: &str) -> Option<&'static str> {
    if is_unknown_issuer(message) {
        Some(
            "name the file with the certificate of your CA in the URL of the database: \
             `postgres://…?sslmode=verify-full&sslrootcert=/path/to/ca.pem`",
        )
    } else if message.contains("NotValidForName") || message.contains("not valid for name") {
        Some("use a host name of the certificate in the URL of the database, or `sslmode=verify-ca`")
    } else if message.contains("does not support TLS") {
        Some("turn on `ssl` in postgresql.conf, or use `sslmode=prefer` in the URL of the database")
    } else {
        None
    }
}

fn is_unknown_issuer(message: &str) -> bool {
    message.starts_with(BAD_CERTIFICATE) && message.contains("UnknownIssuer")
}

/// True if the certificate of the server is signed by a CA that this process does not trust.
pub fn has_unknown_issuer(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if is_unknown_issuer(&error.to_string()))
}

/// Returns the messages of an error and its causes, outermost first, joined by `: `. An error of sqlx appears once, as
/// what failed and the reason. A cause is omitted if its message is already part of the text.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    join(Some(error), false)
}

/// Joins the messages of `first` and its causes. Set `is_named` if `first` is the cause of a `StoreError`, whose
/// message already contains what failed.
pub(super) fn join(first: Option<&(dyn Error + 'static)>, mut is_named: bool) -> String {
    let mut text = String::new();
    let mut next = first;
    while let Some(error) = next {
        let sql = error.downcast_ref::<sqlx::Error>();
        let message = match sql {
            Some(sql) if is_named || text.ends_with(summary(sql)) => reason(sql),
            Some(sql) => format!("{}: {}", summary(sql), reason(sql)),
            None => error.to_string(),
        };
        if text.is_empty() {
            text = message;
        } else if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        is_named = error.is::<StoreError>();
        // The message of an sqlx error already contains its causes.
        next = if sql.is_some() { None } else { error.source() };
    }
    text
}

/// Like `chain`, followed by a line `hint: …` if a cause is an error of sqlx with a known remedy.
pub fn chain_with_hint(error: &(dyn Error + 'static)) -> String {
    let text = chain(error);
    match sql_error(error).and_then(hint) {
        Some(hint) if !text.contains("\nhint: ") => format!("{text}\nhint: {hint}"),
        _ => text,
    }
}

fn sql_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e sqlx::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(sql) = error.downcast_ref::<sqlx::Error>() {
            return Some(sql);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::error::{DatabaseError, ErrorKind};
    use std::borrow::Cow;
    use std::fmt;

    /// Test double for an error of Postgres with this SQLSTATE and message, displayed as sqlx displays it.
    #[derive(Debug)]
    struct Refused(&'static str, &'static str);

    impl fmt::Display for Refused {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} at line 334", self.1)
        }
    }

    impl Error for Refused {}

    impl DatabaseError for Refused {
        fn message(&self) -> &str {
            self.1
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed(self.0))
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    fn refused(code: &'static str, message: &'static str) -> sqlx::Error {
        sqlx::Error::Database(Box::new(Refused(code, message)))
    }

    fn io(message: &str) -> sqlx::Error {
        sqlx::Error::Io(std::io::Error::other(message.to_owned()))
    }

    #[test]
    fn an_error_of_postgres_appears_once_and_without_the_line_of_its_code() {
        for (code, message, expected) in [
            (
                "28P01",
                "password authentication failed for user \"me\"",
                "the database refused the login: password authentication failed for user \"me\" (SQLSTATE 28P01)",
            ),
            (
                "3D000",
                "database \"x\" does not exist",
                "the database refused the connection: database \"x\" does not exist (SQLSTATE 3D000)",
            ),
            (
                "42601",
                "syntax error at or near \"x\"",
                "the database refused a statement: syntax error at or near \"x\" (SQLSTATE 42601)",
            ),
            (
                "57P03",
                "the database system is starting up",
                "the database does not accept connections: the database system is starting up (SQLSTATE 57P03)",
            ),
            (
                "57P01",
                "terminating connection due to administrator command",
                "the database closed the connection: terminating connection due to administrator command (SQLSTATE 57P01)",
            ),
        ] {
            assert_eq!(chain(&StoreError::from(refused(code, message))), expected);
            assert_eq!(StoreError::from(refused(code, message)).in_full(), expected);
            assert_eq!(chain(&refused(code, message)), expected, "without a StoreError around it");
        }
        let waits = StoreError::from(refused("40P01", "deadlock detected"));
        assert_eq!(waits.source_text(), "deadlock detected (SQLSTATE 40P01)");
    }

    #[test]
    fn only_a_failed_connection_is_one_that_cannot_be_reached() {
        for (error, reason) in [
            (io("Connection refused (os error 111)"), "Connection refused (os error 111)"),
            (io("failed to lookup address information"), "failed to lookup address information"),
            (sqlx::Error::PoolTimedOut, "no connection was available within the timeout"),
        ] {
            assert_eq!(chain(&StoreError::from(error)), format!("{UNREACHABLE}: {reason}"));
        }
        for code in ["28P01", "42501", "42601", "53100", "57P01", "57P03", "25006", "08006"] {
            let text = chain(&StoreError::from(refused(code, "no")));
            assert!(!text.contains("reached"), "{code}: {text}");
        }
    }

    #[test]
    fn a_missing_privilege_is_shown_with_its_grant() {
        let hint_of = |message| hint(&refused("42501", message)).expect("there is a next step");
        assert_eq!(
            hint_of("permission denied for table dag_run"),
            "use the login that owns the tables of orch in the URL of the database, or run \
             `grant select, insert, update, delete on table dag_run to LOGIN` as that owner, with the login of the URL in place of LOGIN"
        );
        assert!(
            hint_of("permission denied for schema public").contains("`grant usage, create on schema public to LOGIN`")
        );
        let owner = "use the login that owns the tables of orch in the URL of the database";
        assert_eq!(hint_of("must be owner of table dag_run"), owner);
        let text = chain_with_hint(&StoreError::from(refused("42501", "must be owner of table dag_run")));
        let message = "the database refused a statement: must be owner of table dag_run (SQLSTATE 42501)";
        assert_eq!(text, format!("{message}\nhint: {owner}"));
    }

    #[test]
    fn a_certificate_of_a_private_ca_names_the_setting_for_its_file() {
        let unknown = io("invalid peer certificate: UnknownIssuer");
        assert!(has_unknown_issuer(&unknown) && !has_unknown_issuer(&io("Connection refused (os error 111)")));
        let text = chain_with_hint(&StoreError::from(unknown));
        assert!(
            text.starts_with(
                "the TLS certificate of the database server is rejected: invalid peer certificate: UnknownIssuer\nhint: "
            ) && text.contains("sslrootcert=/path/to/ca.pem"),
            "{text}"
        );
        let plain = StoreError::from(sqlx::Error::Tls("server does not support TLS".into()));
        let text = chain_with_hint(&plain);
        assert!(text.starts_with("no TLS connection to the database can be opened: server does not"), "{text}");
        assert!(text.contains("\nhint: turn on `ssl`"), "{text}");
    }

    #[test]
    fn a_full_disk_is_recognized() {
        for (code, message) in [
            ("53100", "could not extend file \"base/1/2\": No space left on device"),
            ("58030", "could not write to file \"pg_wal/xlogtemp.1\": No space left on device"),
            ("XX000", "could not write init file"),
        ] {
            let error = StoreError::from(refused(code, message));
            assert!(error.is_disk_full(), "{code} {message}");
            let text = chain_with_hint(&error);
            assert!(
                text.starts_with(&format!("{DISK_IS_FULL}: {message} (SQLSTATE {code})\nhint: free space")),
                "{text}"
            );
        }
        assert!(!StoreError::from(refused("53300", "too many clients")).is_disk_full());
        assert!(!StoreError::from(sqlx::Error::PoolTimedOut).is_disk_full());
    }

    #[test]
    fn causes_around_an_error_of_sqlx_stay() {
        let migration = StoreError::Migration { version: 7, source: refused("42601", "syntax error") };
        assert!(chain(&migration).ends_with("left it: syntax error (SQLSTATE 42601)"), "{}", chain(&migration));
        let wrapped = std::io::Error::other(StoreError::from(refused("42601", "syntax error")));
        assert_eq!(chain(&wrapped), "the database refused a statement: syntax error (SQLSTATE 42601)");
    }
}
