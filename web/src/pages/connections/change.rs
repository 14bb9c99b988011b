//! What the form of a connection sends.

use super::edit::{ConnectionForm, ConnectionNotice, page, saved};
use super::kinds;
use crate::api::kept::{save, stored};
use crate::extract::{Actor, Form, Query};
use crate::pages::{Shell, see_other};
use crate::refusal::Refusal;
use crate::state::App;
use crate::trial::try_connection;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_deeds::Connection as Kept;
use orch_sdk::task::Connection as Reached;
use orch_spec::ids::ConnectionId;
use orch_store::connection::open;
use orch_store::kept::Columns;
use serde_json::{Map, Value, json};

/// The form, and what is wrong with it.
struct ConnectionSubmission {
    wish: ConnectionForm,
    /// `None`: the one that is stored stays.
    password: Option<Value>,
    problem: Option<String>,
}

impl ConnectionSubmission {
    fn of(form: &Form, own_id: &str) -> ConnectionSubmission {
        let text = |name: &str| form.text(name).unwrap_or_default().trim().to_string();
        let id = if own_id.is_empty() { text("id") } else { own_id.to_string() };
        let mut problem = None;
        let mut wrong = |words: String| {
            problem.get_or_insert(words);
        };
        if let Err(bad) = ConnectionId::new(&id) {
            wrong(format!("The name cannot be taken: {bad}."));
        }
        let conn_type = Reached::normal_type(&text("conn_type"));
        if conn_type.is_empty() {
            wrong("A connection has a type.".into());
        }
        let port = text("port");
        if !port.is_empty() && port.parse::<u16>().is_err() {
            wrong("The port is a number up to 65535.".into());
        }
        let written = text("extra");
        let (mut extra, mut broken_extra) = (Map::new(), None);
        match serde_json::from_str(&written) {
            _ if written.is_empty() => {}
            Ok(Value::Object(read)) => extra = read,
            Ok(_) => {
                wrong("Extra is a JSON object, such as {\"key\": \"value\"}.".into());
                broken_extra = Some(written);
            }
            Err(error) => {
                wrong(format!("Extra is not JSON: see line {}.", error.line()));
                broken_extra = Some(written);
            }
        }
        for known in kinds::of(&conn_type).extras {
            // A line that the form had, empty or not; what it never had stays out.
            if let Some(value) = form.text(&format!("extra:{}", known.name)).map(str::trim) {
                if value.is_empty() {
                    extra.remove(known.name);
                } else {
                    extra.insert(known.name.into(), value.into());
                }
            }
        }
        let password = match form.text("password").unwrap_or_default() {
            _ if form.text("no_password").is_some() => Some(Value::Null),
            "" => None,
            password => Some(password.into()),
        };
        let wish = ConnectionForm {
            id,
            conn_type,
            description: text("description"),
            host: text("host"),
            port,
            login: text("login"),
            schema: text("schema"),
            extra,
            broken_extra,
        };
        ConnectionSubmission { wish, password, problem }
    }

    fn columns(&self) -> Columns {
        let part = |text: &String| json!(Some(text).filter(|text| !text.is_empty()));
        let ConnectionForm { conn_type, description, host, login, schema, port, extra, .. } = &self.wish;
        let mut columns = vec![
            ("conn_type", json!(conn_type)),
            ("description", part(description)),
            ("host", part(host)),
            ("port", json!(port.parse::<u16>().ok())),
            ("login", part(login)),
            ("schema", part(schema)),
            ("extra", json!(extra)),
        ];
        columns.extend(self.password.clone().map(|password| ("password", password)));
        columns
    }

    /// To be shown again, without any secret that was typed.
    fn masked_form(self) -> ConnectionForm {
        let typed = Reached { extra: self.wish.extra, host: Some(self.wish.host), ..Reached::default() }.masked();
        ConnectionForm { extra: typed.extra, host: typed.host.unwrap_or_default(), ..self.wish }
    }
}

/// `POST /connections/edit`: `?id=` changes that one, without it a new one is added.
pub(crate) async fn submit(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    query: Query,
    form: Form,
) -> Result<Response, Refusal> {
    let own_id = query.text("id").unwrap_or_default();
    let sent = ConnectionSubmission::of(&form, own_id);
    let row = match own_id {
        "" => None,
        id => Some(stored::<Kept>(&app, id).await?),
    };
    if let Some(problem) = sent.problem.clone() {
        return page(&app, shell, row.as_ref(), sent.masked_form(), Some(ConnectionNotice::Problem(problem)));
    }
    let id = sent.wish.id.clone();
    let new = orch_wire::NounBody { name: id.clone(), columns: sent.columns() };
    match save::<Kept>(&app, &actor, row.is_none(), new).await {
        Ok((_, dropped)) if !dropped.is_empty() => {
            return saved(&app, shell, &id, Some(ConnectionNotice::Dropped(dropped.join(", ")))).await;
        }
        Ok(_) => {}
        Err(refusal @ (Refusal::Taken(_) | Refusal::Plain { status: StatusCode::CONFLICT, .. })) => {
            let words = match refusal {
                Refusal::Taken(_) => format!("There is a connection `{id}` already."),
                other => other.words(),
            };
            return page(&app, shell, row.as_ref(), sent.masked_form(), Some(ConnectionNotice::Problem(words)));
        }
        Err(refusal) => return Err(refusal),
    }
    if form.text("do") == Some("try") && app.config.test_connection {
        let ended = tried(&app, &id).await?;
        return saved(&app, shell, &id, Some(ended)).await;
    }
    Ok(see_other("/connections"))
}

async fn tried(app: &App, id: &str) -> Result<ConnectionNotice, Refusal> {
    let record = stored::<Kept>(app, id).await?;
    Ok(match try_connection(&open(&record, &app.config.keys)?, &app.config.reach).await {
        Ok(words) => ConnectionNotice::Tried(true, words),
        Err(words) => ConnectionNotice::Tried(false, words),
    })
}
