//! `orch db shell`: psql at the database that commands would ask.

use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::session::Session;
use orch_sdk::task::Connection;
use std::io::ErrorKind;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// Open psql at orch's database; the password does not stand in the list of processes
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch db shell\n  orch db shell -- -c 'select state, count(*) from dag_run group by 1'"
)]
pub(crate) struct Shell {
    /// Passed on to psql
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

impl Shell {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let config = cx.config_of_database()?;
        // A private server that nobody runs is started for as long as the shell is open.
        let session = Session::open_unchecked(&config).await?;
        let (url, password) = apart(&session.url);
        let mut psql = Command::new("psql");
        psql.arg(&url).args(&self.arguments);
        if let Some(password) = password {
            psql.env("PGPASSWORD", password);
        }
        // Ctrl-C is psql's: it ends a query there, and must not end us.
        let interrupts = signal(SignalKind::interrupt()).map_err(Failure::io("cannot listen to signals"))?;
        let ended = psql.status().await;
        drop((interrupts, session));
        match ended {
            Ok(status) if status.success() => Ok(Exit::Done),
            Ok(_) => Ok(Exit::Failed),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(Failure::new("there is no `psql` on this machine").hint("install `postgresql-client`"))
            }
            Err(error) => Err(Failure::io("cannot start `psql`")(error)),
        }
    }
}

/// A URL without its password, and the password.
fn apart(url: &str) -> (String, Option<String>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.into(), None) };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (who, host) = authority.rsplit_once('@').map_or((None, authority), |(who, host)| (Some(who), host));
    let user = who.map(|who| who.split_once(':').map_or(who, |(user, _)| user));
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("password=")).collect();
    let bare = format!(
        "{scheme}://{}{host}{path}{}{}",
        user.map_or_else(String::new, |user| format!("{user}@")),
        if kept.is_empty() { "" } else { "?" },
        kept.join("&")
    );
    let password = Connection::from_uri("database", url).ok().and_then(|connection| {
        let in_query = connection.extra_field("password").and_then(|password| password.as_str().map(String::from));
        connection.password.clone().or(in_query)
    });
    (bare, password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_taken_out_of_the_url() {
        let check = |url: &str, bare: &str, password: Option<&str>| {
            assert_eq!(apart(url), (bare.to_owned(), password.map(String::from)), "{url}");
        };
        check("postgres://orch:s%40cret@db:5432/orch", "postgres://orch@db:5432/orch", Some("s@cret"));
        check("postgres://orch@db/orch?sslmode=require", "postgres://orch@db/orch?sslmode=require", None);
        check("postgres:///orch?host=%2Ftmp&port=5&user=orch", "postgres:///orch?host=%2Ftmp&port=5&user=orch", None);
        check("postgres://db/orch?password=a%26b&user=o", "postgres://db/orch?user=o", Some("a&b"));
        check("postgres://o:p@db", "postgres://o@db", Some("p"));
    }
}
