//! Variables as files of Airflow's: imported with their secrets, exported without (`***`).

use crate::api::kept::{add, change};
use crate::extract::{Actor, Form};
use crate::pages::import::{self, ImportForm, ImportReport, Imported, Takes, ask};
use crate::pages::{Shell, attachment};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::response::Response;
use orch_deeds::Variable;
use orch_document::kept::{WrittenVariable, write_variables};
use orch_sdk::secret::MASK;
use orch_spec::ids::check_variable_key;
use orch_store::kept::{self, MOST_KEPT, VARIABLE};
use orch_wire::NounBody;
use serde_json::json;
use sqlx::PgConnection;
use std::collections::BTreeMap;

const WHAT: Imported = Imported {
    list: "/variables",
    words: "variables",
    example: "{\"limit\": 42, \"tables\": {\"value\": [\"a\", \"b\"], \"description\": \"what is copied\"}}",
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
    import::import::<Variables>(&app, &actor, shell, ImportForm::of(&form)).await
}

struct Variables;

impl Takes for Variables {
    const WHAT: &'static Imported = &WHAT;
    type All = BTreeMap<String, WrittenVariable>;

    fn read(wish: &ImportForm) -> Result<Self::All, String> {
        let all = wish.document().variables().map_err(|error| error.to_string())?;
        all.keys().try_for_each(|key| check_variable_key(key).map_err(|error| error.to_string()))?;
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
        for (key, WrittenVariable { value, description }) in all {
            let is_there = kept::get(tx, &VARIABLE, &key).await?.is_some();
            if is_there && !overwrites {
                done.kept.push(key);
                continue;
            }
            if !is_there && value.contains(MASK) {
                done.without_secrets.push(key);
                continue;
            }
            let mut columns = vec![("value", json!(value))];
            // Without a description the old one stays, as at the command line.
            columns.extend(description.map(|text| ("description", json!(text))));
            let sent = NounBody { name: key.clone(), columns };
            if is_there {
                change::<Variable>(app, tx, actor, sent).await?;
                done.changed.push(key);
            } else {
                add::<Variable>(app, tx, actor, sent).await?;
                done.added.push(key);
            }
        }
        Ok(done)
    }
}

/// `GET /variables/export`: all of them, without their secrets.
pub(crate) async fn export(State(app): State<App>) -> Result<Response, Refusal> {
    let rows = kept::list(&mut *app.pages().await?, &VARIABLE, None, MOST_KEPT).await?;
    let all = rows.into_iter().map(|row| {
        let value = Variable::visible(&row, &app.config.keys, true);
        (row.name().to_string(), WrittenVariable { value, description: row.text("description").map(String::from) })
    });
    Ok(attachment("variables.json", write_variables(all)))
}
