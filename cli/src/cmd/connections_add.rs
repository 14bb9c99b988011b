//! `orch connections add`, with Airflow's flags. Secrets should not be on a command line, so each flag that may contain
//! one reads it from standard input if it is `-`.

use crate::api::connection_body;
use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::person;
use orch_deeds::kept::CONNECTION;
use orch_sdk::task::Connection;
use orch_spec::ids::ConnectionId;

/// Add a connection
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch connections add sales --conn-type postgres --conn-host db --conn-login me \
    --conn-password -\n  orch connections add sales --conn-uri - < uri.txt\n  \
    orch connections add lake --conn-json '{\"conn_type\": \"s3\", \"extra\": {\"region_name\": \"eu-central-1\"}}'\n\n\
    What stands on a command line can be read by everybody on the machine: `-` asks for it, or reads standard input.")]
pub(crate) struct AddConnection {
    conn_id: String,
    /// The whole connection as a URI; `-` asks for it
    #[arg(long, value_name = "URI", conflicts_with_all = ["conn_json", "conn_type", "conn_host", "conn_login", "conn_password", "conn_schema", "conn_port"])]
    conn_uri: Option<String>,
    /// The whole connection as JSON; `-` asks for it
    #[arg(long, value_name = "JSON", conflicts_with_all = ["conn_type", "conn_host", "conn_login", "conn_password", "conn_schema", "conn_port", "conn_extra"])]
    conn_json: Option<String>,
    /// Kind of what it leads to: postgres, http, s3, …
    #[arg(long, value_name = "TYPE")]
    conn_type: Option<String>,
    #[arg(long, value_name = "HOST")]
    conn_host: Option<String>,
    #[arg(long, value_name = "PORT")]
    conn_port: Option<u16>,
    #[arg(long, value_name = "LOGIN")]
    conn_login: Option<String>,
    /// `-` asks for it
    #[arg(long, value_name = "PASSWORD")]
    conn_password: Option<String>,
    #[arg(long, value_name = "SCHEMA")]
    conn_schema: Option<String>,
    /// What else is to be known, as a JSON object; `-` asks for it
    #[arg(long, value_name = "JSON")]
    conn_extra: Option<String>,
    #[arg(long, value_name = "TEXT")]
    conn_description: Option<String>,
}

impl AddConnection {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let new = self.connection()?;
        let is_on_command_line = self.secret_flags().into_iter().flatten().any(|given| given != "-");
        if is_on_command_line && !new.secrets().is_empty() {
            eprintln!("a secret on a command line can be read by everybody on this machine: `-` asks for it");
        }
        if !cx.api().await?.add_kept(CONNECTION, &connection_body(&new)).await? {
            return Err(Failure::new(format!("there is a connection `{}` already", new.id))
                .hint(format!("delete it first: `orch connections delete {}`", new.id)));
        }
        eprintln!("connection `{}` is added", new.id);
        Ok(Exit::Done)
    }

    /// Returns the values of the flags that may contain a secret.
    fn secret_flags(&self) -> [Option<&str>; 4] {
        [&self.conn_password, &self.conn_uri, &self.conn_json, &self.conn_extra].map(Option::as_deref)
    }

    fn connection(&self) -> Result<Connection, Failure> {
        let id = ConnectionId::new(&self.conn_id)?;
        if self.secret_flags().into_iter().flatten().filter(|given| *given == "-").count() > 1 {
            return Err(Failure::new("only one of the flags can be `-`"));
        }
        let read = |given: &Option<String>, what: &str| match given.as_deref() {
            Some("-") => person::long_secret(&format!("{what} of {id}")).map(Some),
            given => Ok(given.map(String::from)),
        };
        let mut new = if let Some(uri) = read(&self.conn_uri, "URI")? {
            Connection::from_uri(&id, uri.trim())?
        } else if let Some(json) = read(&self.conn_json, "JSON")? {
            Connection::from_json(&id, json.trim())?
        } else {
            Connection {
                id: id.to_string(),
                conn_type: Connection::normal_type(self.conn_type.as_deref().unwrap_or_default()),
                host: self.conn_host.clone(),
                port: self.conn_port,
                login: self.conn_login.clone(),
                password: read(&self.conn_password, "Password")?,
                schema: self.conn_schema.clone(),
                ..Connection::default()
            }
        };
        if let Some(extra) = read(&self.conn_extra, "Extra")? {
            let fields = serde_json::Map::from_iter([("extra".to_string(), extra.into())]);
            new.extra = Connection::from_object(&id, &fields)?.extra;
        }
        if new.conn_type.is_empty() {
            let hint = "add a type, such as `--conn-type postgres` (or mysql, mssql, http, aws, kafka, iceberg, sftp, ftp, smtp, redis, \
                spark, …), or write the whole connection with `--conn-uri` or `--conn-json`";
            return Err(Failure::new(format!("connection `{}` has no type", new.id)).hint(hint));
        }
        if self.conn_description.is_some() {
            new.description.clone_from(&self.conn_description);
        }
        Ok(new)
    }
}
