//! Import and export of the records of a noun. A file has the format of Airflow or orch, and is pasted or selected
//! (the latter requires JavaScript). An import is atomic. An export contains `***` instead of secrets.

use super::list::Lists;
use crate::api::kept::{add, change, done};
use crate::extract::{Actor, Form, Query};
use crate::pages::{Shell, attachment, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_deeds::kept::{ExportFile, ImportFile, Kept};
use orch_document::kept::{Document, FileFormat, Serialization};
use orch_sdk::secret::MASK;
use orch_store::{StoreError, kept};
use orch_wire::NounBody;
use orch_wire::noun::FieldKind;
use serde_json::Value;
use sqlx::{Connection, PgConnection};

#[derive(Template)]
#[template(path = "pages/kept/import.html")]
struct ImportPage {
    shell: Shell,
    list: &'static str,
    /// Noun in the plural, as in "Import connections".
    words: &'static str,
    example: &'static str,
    format: FileFormat,
    overwrites: bool,
    problem: Option<String>,
    done: Option<ImportReport>,
}

/// Result of an import, by record name.
#[derive(Debug, Default)]
struct ImportReport {
    added: Vec<String>,
    changed: Vec<String>,
    /// Existing records that were left unchanged.
    kept: Vec<String>,
    /// Records without their secrets: the file contains `***`, or the record points to another address now.
    without_secrets: Vec<String>,
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

/// `GET …/import`: the empty form.
pub(crate) async fn ask_import<K: Lists>(shell: Shell) -> Result<Response, Refusal> {
    page::<K>(shell, FileFormat::Json, false, None)
}

/// `POST …/import`: imports the text. The response does not repeat the text, because it may contain secrets.
pub(crate) async fn import<K: Lists + ImportFile>(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    form: Form,
) -> Result<Response, Refusal> {
    let format = format_named(form.text("format"), &FileFormat::ALL);
    let overwrites = form.text("overwrite").is_some();
    let ended = match K::read(&Document::new("the text", format, form.text("text").unwrap_or_default())) {
        Ok(all) => match take_over::<K>(&app, &actor, all, overwrites).await {
            Err(refusal @ Refusal::Plain { .. }) => Err(refusal.words()),
            taken => Ok(taken?),
        },
        Err(bad) => Err(bad.to_string()),
    };
    page::<K>(shell, format, overwrites, Some(ended))
}

async fn take_over<K: Kept>(
    app: &App,
    actor: &Actor,
    all: Vec<NounBody>,
    overwrites: bool,
) -> Result<ImportReport, Refusal> {
    let mut db = app.pages().await?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    let mut report = ImportReport::default();
    for sent in all {
        take_over_one::<K>(app, &mut tx, actor, sent, overwrites, &mut report).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    done::<K>(app);
    Ok(report)
}

async fn take_over_one<K: Kept>(
    app: &App,
    tx: &mut PgConnection,
    actor: &Actor,
    mut sent: NounBody,
    overwrites: bool,
    report: &mut ImportReport,
) -> Result<(), Refusal> {
    let name = sent.name.clone();
    let is_there = kept::get(tx, K::TABLE, &name).await?.is_some();
    if is_there && !overwrites {
        report.kept.push(name);
        return Ok(());
    }
    if is_there {
        let (_, dropped) = change::<K>(app, tx, actor, sent).await?;
        if !dropped.is_empty() {
            report.without_secrets.push(name.clone());
        }
        report.changed.push(name);
        return Ok(());
    }
    if leave_out_masks::<K>(&mut sent) {
        report.without_secrets.push(name.clone());
    }
    let holds = |column: &str| sent.columns.iter().any(|(name, _)| *name == column);
    if K::NOUN.parts().all(|field| !field.is_required || holds(field.column)) {
        add::<K>(app, tx, actor, sent).await?;
        report.added.push(name);
    }
    Ok(())
}

/// Removes masked texts and masked members of objects. Returns true if there were any.
fn leave_out_masks<K: Kept>(sent: &mut NounBody) -> bool {
    let mut had_masks = false;
    let kind = |column: &str| K::NOUN.fields.iter().find(|field| field.column == column).map(|field| field.kind);
    sent.columns.retain_mut(|(column, value)| match value {
        _ if !K::TABLE.sealed.contains(column) => true,
        Value::Object(parts) => {
            let many = parts.len();
            parts.retain(|_, value| !value.to_string().contains(MASK));
            had_masks |= parts.len() < many;
            true
        }
        Value::String(text) => {
            let is_masked = match kind(column) {
                Some(FieldKind::AnyText) => text.contains(MASK),
                _ => text == MASK,
            };
            had_masks |= is_masked;
            !is_masked
        }
        _ => true,
    });
    had_masks
}

fn page<K: Lists>(
    shell: Shell,
    format: FileFormat,
    overwrites: bool,
    ended: Option<Result<ImportReport, String>>,
) -> Result<Response, Refusal> {
    let (status, problem, done) = match ended {
        None => (StatusCode::OK, None, None),
        Some(Ok(done)) => (StatusCode::OK, None, Some(done)),
        Some(Err(words)) => (StatusCode::UNPROCESSABLE_ENTITY, Some(words), None),
    };
    let (list, words, example) = (K::LIST, K::NOUN.many, K::FILE_EXAMPLE);
    html(status, &ImportPage { shell, list, words, example, format, overwrites, problem, done })
}

/// `GET …/export?format=json`: exports all records without their secrets.
pub(crate) async fn export<K: ExportFile>(State(app): State<App>, query: Query) -> Result<Response, Refusal> {
    let format = format_named(query.text("format"), K::FILE_FORMATS);
    let records = match kept::list_all(&mut *app.pages().await?, K::TABLE).await {
        Err(StoreError::TooManyBytes(error)) => {
            return Err(Refusal::plain(StatusCode::PAYLOAD_TOO_LARGE, format!("the {} have {error}", K::NOUN.many)));
        }
        records => records?,
    };
    let name = format!("{}.{}", K::NOUN.many, format.as_str());
    let all = records.iter().map(|record| K::masked(record, &app.config.keys)).collect();
    Ok(attachment(&name, K::write(all, format, Serialization::Json)))
}

fn format_named(name: Option<&str>, formats: &[FileFormat]) -> FileFormat {
    formats.iter().copied().find(|format| Some(format.as_str()) == name).unwrap_or(formats[0])
}
