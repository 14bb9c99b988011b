//! `orch connections test`.

use super::connections::as_tasks_find_it;
use super::kept::get;
use crate::api::connection_of;
use crate::cx::Cx;
use orch_binary::config::Config;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::roles::reach;
use orch_deeds::kept::CONNECTION;
use orch_spec::ids::ConnectionId;
use orch_web::try_connection;

/// Try whether a connection leads anywhere
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ORCH_TEST_CONNECTION=true orch connections test sales\n\n\
    Off unless the setting `test_connection` says otherwise, as in Airflow. Postgres is logged in to, HTTP is asked, of others \
    the port is reached; from here, or from the server of `--api-url`. Addresses that are not public are reached only if \
    `test_networks` names them. Whether an alert arrives: `orch alerts test`.")]
pub(crate) struct TestConnection {
    conn_id: String,
}

fn check_tests_are_on(config: &Config) -> Result<(), Failure> {
    if config.test_connection {
        return Ok(());
    }
    Err(Failure::new("testing connections is switched off")
        .hint("switch it on with `ORCH_TEST_CONNECTION=true`, or `test_connection = true` in the settings"))
}

impl TestConnection {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        ConnectionId::new(&self.conn_id)?;
        let tried = match cx.remote()? {
            Some(api) => {
                let found = get(&api, CONNECTION, &self.conn_id).await?;
                api.test_connection(&connection_of(&found)?).await?
            }
            None => {
                let config = cx.config()?;
                check_tests_are_on(&config)?;
                let found = as_tasks_find_it(cx, &self.conn_id).await?.0;
                try_connection(&found, &reach(&config)).await.map_err(|error| error.to_string())
            }
        };
        match tried {
            Ok(words) => {
                eprintln!("{words}");
                Ok(Exit::Done)
            }
            Err(words) => {
                eprintln!("error: the test of connection `{}` failed: {words}", self.conn_id);
                Ok(Exit::Failed)
            }
        }
    }
}
