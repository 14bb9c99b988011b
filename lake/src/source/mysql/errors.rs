//! Adds context to errors of a MySQL server: the connection, table or column, and a hint.

use super::Server;
use super::session::Session;
use mysql_async::Error;
use mysql_async::prelude::Queryable;
use orch_sdk::task::fatal;
use std::fmt;

/// Maximum number of table or column names in a hint.
const MOST_NAMES: usize = 20;

/// The table or query that an error is about.
pub(super) enum ErrorSubject<'a> {
    Table(&'a str),
    Query,
}

impl fmt::Display for ErrorSubject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorSubject::Table(table) => write!(f, "table `{table}`"),
            ErrorSubject::Query => f.write_str("the query"),
        }
    }
}

/// Converts an error of connecting. It is fatal if the server rejects the account, and otherwise retryable.
pub(super) fn unreachable(error: Error, server: &Server) -> anyhow::Error {
    let (id, address) = (server.id(), server.address());
    match &error {
        // Access was denied for the account (1045), for the database (1044) or by a plugin (1698), or the database
        // does not exist (1049).
        Error::Server(refused) if matches!(refused.code, 1044 | 1045 | 1049 | 1698) => fatal(format!(
            "the MySQL server at {address} refuses connection `{id}`: {}\n\
             hint: look at login, password and schema of the connection: `orch connections get {id}`",
            refused.message
        )),
        _ => anyhow::Error::new(error).context(format!(
            "cannot reach the MySQL server of connection `{id}` at {address}\n\
             hint: is it running, and is the address right? `orch connections get {id}`"
        )),
    }
}

/// Converts the error of a statement. If it is fatal, its hint lists the existing tables or columns.
pub(super) async fn statement_error(
    error: Error,
    server: &Server,
    session: &mut Session,
    asked: &ErrorSubject<'_>,
) -> anyhow::Error {
    let id = server.id();
    let Error::Server(refused) = &error else {
        return broken(error, &asked.to_string(), 0);
    };
    let message = &refused.message;
    match (refused.code, asked) {
        (1146 | 1051, ErrorSubject::Table(table)) => {
            let sql = "select table_name from information_schema.tables where table_schema = ? order by table_name";
            let hint = names(session, sql, &[database(server, table)]).await;
            fatal(format!("connection `{id}` has no table `{table}`: {message}\nhint: its tables are {hint}"))
        }
        (1054, ErrorSubject::Table(table)) => {
            let bare = table.rsplit('.').next().unwrap_or(table).to_string();
            let sql = "select column_name from information_schema.columns \
                       where table_schema = ? and table_name = ? order by ordinal_position";
            let hint = names(session, sql, &[database(server, table), bare]).await;
            fatal(format!("table `{table}` of connection `{id}`: {message}\nhint: its columns are {hint}"))
        }
        // SQLSTATE class 42: errors of syntax, names and privileges, which are permanent.
        _ if refused.state.starts_with("42") => {
            fatal(format!("the MySQL server of connection `{id}` refuses {asked}: {message}"))
        }
        _ => anyhow::Error::new(error).context(format!("the MySQL server of connection `{id}` refuses {asked}")),
    }
}

/// Converts an error that occurred while a result was read.
pub(super) fn broken(error: Error, what: &str, rows: u64) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("reading {what} broke off after {rows} rows"))
}

/// Returns the database of a table name. An unqualified name refers to the connection's database.
fn database(server: &Server, table: &str) -> String {
    match table.split_once('.') {
        Some((database, _)) => database.into(),
        None => server.database().unwrap_or_default().into(),
    }
}

async fn names(session: &mut Session, sql: &str, params: &[String]) -> String {
    let found: Result<Vec<String>, _> = session.conn().exec(sql, params.to_vec()).await;
    match found {
        Ok(names) if names.is_empty() => "none that this account sees".into(),
        Ok(names) => {
            let more = if names.len() > MOST_NAMES { ", …" } else { "" };
            let names: Vec<String> = names.iter().take(MOST_NAMES).map(|name| format!("`{name}`")).collect();
            format!("{}{more}", names.join(", "))
        }
        Err(_) => "not told by the server".into(),
    }
}
