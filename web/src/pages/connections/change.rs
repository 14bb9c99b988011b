//! What the form of a connection sends: saved, tried, deleted.

use super::edit::{Ended, Wish, page, stored};
use super::{href, kinds};
use crate::api::connections::{add, no_such_connection, remove, update};
use crate::extract::{Actor, Form, Query};
use crate::pages::delete::DeletePage;
use crate::pages::{Shell, html, see_other};
use crate::refusal::Refusal;
use crate::state::App;
use crate::trial::try_connection;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::ids::ConnectionId;
use orch_core::task::Connection as Reached;
use orch_store::connection::{ConnectionChange, get_connection};
use orch_store::part::Becomes;
use serde_json::{Map, Value};

/// The form, and what is wrong with it.
struct Sent {
    wish: Wish,
    password: Option<Becomes<String>>,
    problem: Option<String>,
}

impl Sent {
    fn of(form: &Form, own_id: &str) -> Sent {
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
                wrong(format!("Extra is no JSON: look at line {}.", error.line()));
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
            _ if form.text("no_password").is_some() => Some(Becomes(None)),
            "" => None,
            password => Some(Becomes(Some(password.to_string()))),
        };
        let wish = Wish {
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
        Sent { wish, password, problem }
    }

    fn change(&self) -> ConnectionChange {
        let part = |text: &String| Some(Becomes((!text.is_empty()).then(|| text.clone())));
        let Wish { description, host, login, schema, port, .. } = &self.wish;
        ConnectionChange {
            conn_type: Some(self.wish.conn_type.clone()),
            description: part(description),
            host: part(host),
            port: Some(Becomes(port.parse().ok())),
            login: part(login),
            password: self.password.clone(),
            schema: part(schema),
            extra: Some(self.wish.extra.clone()),
        }
    }

    /// To be shown again, without any secret that was typed.
    fn shown(self) -> Wish {
        let typed = Reached { extra: self.wish.extra, host: Some(self.wish.host), ..Reached::default() }.masked();
        Wish { extra: typed.extra, host: typed.host.unwrap_or_default(), ..self.wish }
    }
}

/// `POST /connections/edit`: `?id=` changes that one, without it a new one is added.
pub(crate) async fn save(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    query: Query,
    form: Form,
) -> Result<Response, Refusal> {
    let own_id = query.text("id").unwrap_or_default();
    let sent = Sent::of(&form, own_id);
    let mut db = app.pages().await?;
    let row = match own_id {
        "" => None,
        id => Some(get_connection(&mut db, id).await?.ok_or_else(|| no_such_connection(id))?),
    };
    if let Some(problem) = sent.problem.clone() {
        return page(&app, shell, row.as_ref(), sent.shown(), Some(Ended::Problem(problem)));
    }
    let id = sent.wish.id.clone();
    drop(db);
    let done = app.in_transaction(async |tx| {
        if row.is_some() {
            update(&app, tx, &actor, &id, sent.change()).await.map(|(_, dropped)| dropped)
        } else {
            let nothing = Reached { id: id.clone(), ..Reached::default() };
            add(&app, tx, &actor, &sent.change().applied(&nothing).connection).await.map(|_| Vec::new())
        }
    });
    match done.await {
        Ok(dropped) if !dropped.is_empty() => {
            return stored(&app, shell, &id, Some(Ended::Dropped(dropped.join(", ")))).await;
        }
        Ok(_) => {}
        Err(refusal @ (Refusal::Taken(_) | Refusal::Plain { status: StatusCode::CONFLICT, .. })) => {
            let words = match refusal {
                Refusal::Taken(_) => format!("There is a connection `{id}` already."),
                other => other.words(),
            };
            return page(&app, shell, row.as_ref(), sent.shown(), Some(Ended::Problem(words)));
        }
        Err(refusal) => return Err(refusal),
    }
    if form.text("do") == Some("try") && app.config.test_connection {
        let ended = tried(&app, &id).await?;
        return stored(&app, shell, &id, Some(ended)).await;
    }
    Ok(see_other("/connections"))
}

async fn tried(app: &App, id: &str) -> Result<Ended, Refusal> {
    let row = get_connection(&mut *app.hot().await?, id).await?.ok_or_else(|| no_such_connection(id))?;
    Ok(match try_connection(&row.open(&app.config.keys)?, &app.config.reach).await {
        Ok(words) => Ended::Tried(true, words),
        Err(words) => Ended::Tried(false, words),
    })
}

/// `GET /connections/delete?id=…`: what will happen.
pub(crate) async fn ask_delete(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let id = query.text("id").unwrap_or_default();
    let row = get_connection(&mut *app.hot().await?, id).await?.ok_or_else(|| no_such_connection(id))?;
    let page = DeletePage {
        shell,
        list: ("/connections", "Connections"),
        sentence: "Tasks that ask for it fail from then on, unless a file, a vault or the environment has one of that \
            name. Its secrets are gone for good."
            .into(),
        action: "/connections/delete".into(),
        field: Some(("id", row.conn_id.clone())),
        back: href(&row.conn_id),
        name: row.conn_id,
    };
    html(StatusCode::OK, &page)
}

pub(crate) async fn delete(State(app): State<App>, actor: Actor, form: Form) -> Result<Response, Refusal> {
    app.in_transaction(async |tx| remove(tx, &actor, form.text("id").unwrap_or_default()).await).await?;
    Ok(see_other("/connections"))
}
