//! Variables as files of Airflow's: imported with their secrets, exported without (`***`).

use crate::api::variables::{Sent, add, update, visible};
use crate::auth::Role;
use crate::extract::{Actor, Form};
use crate::pages::import::{self, Done, Imported, Takes, Wish, ask};
use crate::pages::{Shell, attachment};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::response::Response;
use orch_core::ids::check_variable_key;
use orch_core::secret::MASK;
use orch_core::task::{WrittenVariable, write_variables};
use orch_store::part::Becomes;
use orch_store::variable::{MOST_VARIABLES, VariableChange, get_variable, list_variables};
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
    import::import::<Variables>(&app, &actor, shell, Wish::of(&form)).await
}

struct Variables;

impl Takes for Variables {
    const WHAT: &'static Imported = &WHAT;
    type All = BTreeMap<String, WrittenVariable>;

    fn read(wish: &Wish) -> Result<Self::All, String> {
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
    ) -> Result<Done, Refusal> {
        let mut done = Done::default();
        for (key, WrittenVariable { value, description }) in all {
            let is_there = get_variable(tx, &key).await?.is_some();
            if is_there && !overwrites {
                done.kept.push(key);
            } else if is_there {
                // Without a description the old one stays, as at the command line.
                let change =
                    VariableChange { value: Some(value), description: description.map(|text| Becomes(Some(text))) };
                update(app, tx, actor, &key, change).await?;
                done.changed.push(key);
            } else if value.contains(MASK) {
                done.without_secrets.push(key);
            } else {
                let change = VariableChange { value: Some(value), description: Some(Becomes(description)) };
                add(app, tx, actor, Sent { key: key.clone(), change }).await?;
                done.added.push(key);
            }
        }
        Ok(done)
    }
}

/// `GET /variables/export`: all of them, without their secrets.
pub(crate) async fn export(State(app): State<App>) -> Result<Response, Refusal> {
    let rows = list_variables(&mut *app.pages().await?, None, MOST_VARIABLES).await?;
    let all = rows.into_iter().map(|row| {
        let value = visible(&app, Role::Op, &row);
        (row.key, WrittenVariable { value, description: row.description })
    });
    Ok(attachment("variables.json", write_variables(all)))
}
