//! Connections as files of Airflow's: imported with their secrets, exported without (`***`).

use crate::api::kept::{add, change};
use crate::extract::{Actor, Form, Query};
use crate::pages::import::{self, ImportForm, ImportReport, Imported, Takes, ask};
use crate::pages::{Shell, attachment};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::response::Response;
use orch_deeds::Connection as Kept;
use orch_document::kept::{FileFormat, Serialization, write_connections};
use orch_sdk::secret::MASK;
use orch_sdk::task::Connection as Reached;
use orch_spec::ids::ConnectionId;
use orch_store::connection::columns;
use orch_store::kept::{self, CONNECTION, Columns, MOST_KEPT};
use orch_wire::NounBody;
use serde_json::json;
use sqlx::PgConnection;
use std::collections::BTreeMap;

const WHAT: Imported = Imported {
    list: "/connections",
    words: "connections",
    example: "{\"sales\": {\"conn_type\": \"postgres\", \"host\": \"db\", \"login\": \"me\", \"password\": \"…\"}}",
};

pub(crate) async fn ask_import(shell: Shell) -> Result<Response, Refusal> {
    ask(shell, &WHAT)
}

pub(crate) async fn import(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    form: Form,
) -> Result<Response, Refusal> {
    import::import::<Connections>(&app, &actor, shell, ImportForm::of(&form)).await
}

struct Connections;

impl Takes for Connections {
    const WHAT: &'static Imported = &WHAT;
    type All = BTreeMap<String, Reached>;

    fn read(wish: &ImportForm) -> Result<Self::All, String> {
        let all = wish.document().connections().map_err(|error| error.to_string())?;
        for (id, connection) in &all {
            ConnectionId::new(id).map_err(|error| error.to_string())?;
            if connection.conn_type.is_empty() {
                return Err(format!("connection `{id}` has no type"));
            }
        }
        Ok(all)
    }

    async fn take_over(
        app: &App,
        tx: &mut PgConnection,
        actor: &Actor,
        all: Self::All,
        overwrites: bool,
    ) -> Result<ImportReport, Refusal> {
        let mut done = ImportReport::default();
        for (id, mut new) in all {
            let is_there = kept::get(tx, &CONNECTION, &id).await?.is_some();
            if is_there && !overwrites {
                done.kept.push(id);
            } else if is_there {
                let (_, dropped) =
                    change::<Kept>(app, tx, actor, NounBody { name: id.clone(), columns: sent(&new) }).await?;
                if !dropped.is_empty() {
                    done.without_secrets.push(id.clone());
                }
                done.changed.push(id);
            } else {
                if leave_out_masks(&mut new) {
                    done.without_secrets.push(id.clone());
                }
                add::<Kept>(app, tx, actor, NounBody { name: id.clone(), columns: sent(&new) }).await?;
                done.added.push(id);
            }
        }
        Ok(done)
    }
}

/// All columns; an empty `extra` takes away what was there.
fn sent(new: &Reached) -> Columns {
    let set = |(column, value)| if column == "extra" { (column, json!(new.extra)) } else { (column, value) };
    columns(new).into_iter().map(set).collect()
}

/// Whether there was one.
fn leave_out_masks(new: &mut Reached) -> bool {
    let parts = new.extra.len();
    new.extra.retain(|_, value| !value.to_string().contains(MASK));
    let had_password = new.password.take_if(|password| password == MASK).is_some();
    had_password || new.extra.len() < parts
}

/// `GET /connections/export?format=json`: all of them, without their secrets.
pub(crate) async fn export(State(app): State<App>, query: Query) -> Result<Response, Refusal> {
    let format = FileFormat::ALL.into_iter().find(|format| Some(format.as_str()) == query.text("format"));
    let format = format.unwrap_or(FileFormat::Json);
    let rows = kept::list(&mut *app.pages().await?, &CONNECTION, None, MOST_KEPT).await?;
    let all: Vec<_> = rows.iter().map(|row| Kept::visible(row, &app.config.keys, true)).collect();
    let text = write_connections(&all, format, Serialization::Json);
    Ok(attachment(&format!("connections.{}", format.as_str()), text))
}
