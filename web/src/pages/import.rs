//! A file of Airflow or of ours that is taken over: pasted, or chosen where there is JavaScript. All of it, or nothing.

use super::{Shell, html};
use crate::extract::{Actor, Form};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use orch_document::kept::{Document, FileFormat};
use orch_store::StoreError;
use sqlx::{Connection, PgConnection};

#[derive(Template)]
#[template(path = "pages/import.html")]
struct ImportPage {
    shell: Shell,
    what: &'static Imported,
    format: FileFormat,
    overwrites: bool,
    problem: Option<String>,
    done: Option<ImportReport>,
}

/// What is imported there.
pub(crate) struct Imported {
    pub(crate) list: &'static str,
    /// As in "Import connections".
    pub(crate) words: &'static str,
    pub(crate) example: &'static str,
}

/// A list that takes over files.
pub(crate) trait Takes {
    const WHAT: &'static Imported;
    type All: Send;

    fn read(wish: &ImportForm) -> Result<Self::All, String>;

    fn take_over(
        app: &App,
        tx: &mut PgConnection,
        actor: &Actor,
        all: Self::All,
        overwrites: bool,
    ) -> impl Future<Output = Result<ImportReport, Refusal>> + Send;
}

/// Takes over all of it, or nothing, and tells what became of it.
pub(crate) async fn import<T: Takes>(
    app: &App,
    actor: &Actor,
    shell: Shell,
    wish: ImportForm,
) -> Result<Response, Refusal> {
    let ended = match T::read(&wish) {
        Ok(all) => {
            let mut db = app.pages().await?;
            let mut tx = db.begin().await.map_err(StoreError::from)?;
            match T::take_over(app, &mut tx, actor, all, wish.overwrites).await {
                Ok(done) => {
                    tx.commit().await.map_err(StoreError::from)?;
                    Ok(done)
                }
                Err(refusal @ Refusal::Plain { .. }) => Err(refusal.words()),
                Err(refusal) => return Err(refusal),
            }
        }
        Err(words) => Err(words),
    };
    tell(shell, T::WHAT, &wish, ended)
}

/// What became of the file.
#[derive(Debug, Default)]
pub(crate) struct ImportReport {
    pub(crate) added: Vec<String>,
    pub(crate) changed: Vec<String>,
    /// They are there already and stay as they are.
    pub(crate) kept: Vec<String>,
    /// They had `***` where a secret belongs, or lead elsewhere than those that had the secrets.
    pub(crate) without_secrets: Vec<String>,
}

impl ImportReport {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let lines = [
            ("Added", &self.added),
            ("Changed", &self.changed),
            ("There already, and left as they are", &self.kept),
            ("Their secrets are missing (they came as ***, or lead elsewhere now): set them", &self.without_secrets),
        ];
        let said = lines.into_iter().filter(|(_, names)| !names.is_empty());
        said.map(|(words, names)| (words, names.join(", "))).collect()
    }
}

/// The form as it was sent.
pub(crate) struct ImportForm {
    text: String,
    format: FileFormat,
    pub(crate) overwrites: bool,
}

impl ImportForm {
    pub(crate) fn of(form: &Form) -> ImportForm {
        let format = FileFormat::ALL.into_iter().find(|format| Some(format.as_str()) == form.text("format"));
        ImportForm {
            text: form.text("text").unwrap_or_default().to_string(),
            format: format.unwrap_or(FileFormat::Json),
            overwrites: form.text("overwrite").is_some(),
        }
    }

    pub(crate) fn document(&self) -> Document<'_> {
        Document::new("the text", self.format, &self.text)
    }
}

/// The empty form.
pub(crate) fn ask(shell: Shell, what: &'static Imported) -> Result<Response, Refusal> {
    let page = ImportPage { shell, what, format: FileFormat::Json, overwrites: false, problem: None, done: None };
    html(StatusCode::OK, &page)
}

/// After an attempt. The text is not shown again: it may hold secrets.
fn tell(
    shell: Shell,
    what: &'static Imported,
    wish: &ImportForm,
    ended: Result<ImportReport, String>,
) -> Result<Response, Refusal> {
    let (status, problem, done) = match ended {
        Ok(done) => (StatusCode::OK, None, Some(done)),
        Err(words) => (StatusCode::UNPROCESSABLE_ENTITY, Some(words), None),
    };
    let (format, overwrites) = (wish.format, wish.overwrites);
    html(status, &ImportPage { shell, what, format, overwrites, problem, done })
}
