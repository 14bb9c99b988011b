//! Context of every command: the settings, the API, a session.

use crate::api::Api;
use orch_binary::app;
pub(crate) use orch_binary::app::{block_on, block_on_value};
use orch_binary::failure::Failure;
use orch_binary::session::Session;
use std::ops::Deref;

pub(crate) struct Cx {
    of_binary: app::Cx,
    command_line: fn() -> clap::Command,
}

impl Deref for Cx {
    type Target = app::Cx;

    fn deref(&self) -> &app::Cx {
        &self.of_binary
    }
}

impl Cx {
    pub(crate) fn new(of_binary: app::Cx, command_line: fn() -> clap::Command) -> Cx {
        Cx { of_binary, command_line }
    }

    pub(crate) fn command_line(&self) -> clap::Command {
        (self.command_line)()
    }

    /// Returns a client of the configured server, otherwise of the API in this process on the database.
    pub(crate) async fn api(&self) -> Result<Api, Failure> {
        match self.remote()? {
            Some(api) => Ok(api),
            None => {
                let config = self.config()?;
                Api::here(&config, Session::open(&config).await?)
            }
        }
    }

    /// Returns a client of the configured server, if there is one.
    pub(crate) fn remote(&self) -> Result<Option<Api>, Failure> {
        let config = self.config()?;
        config.api_url()?.map(|url| Api::over_http(url, config.api_token.as_ref())).transpose()
    }
}
