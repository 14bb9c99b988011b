//! A file of Airflow or of ours that is taken over: pasted, or chosen where there is JavaScript. All of it, or nothing.

use super::{Shell, html};
use crate::extract::Form;
use crate::parts;
use crate::refusal::Refusal;
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::task::{Document, FileFormat};

#[derive(Template)]
#[template(path = "pages/import.html")]
struct ImportPage {
    shell: Shell,
    what: &'static Imported,
    format: FileFormat,
    overwrites: bool,
    problem: Option<String>,
    done: Option<Done>,
}

/// What is imported there.
pub(crate) struct Imported {
    pub(crate) list: &'static str,
    /// As in "Import connections".
    pub(crate) words: &'static str,
    pub(crate) example: &'static str,
}

/// What became of the file.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) added: Vec<String>,
    pub(crate) changed: Vec<String>,
    /// They are there already and stay as they are.
    pub(crate) kept: Vec<String>,
    /// They had `***` where a secret belongs.
    pub(crate) without_secrets: Vec<String>,
}

impl Done {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let lines = [
            ("Added", &self.added),
            ("Changed", &self.changed),
            ("There already, and left as they are", &self.kept),
            ("Came without their secrets: set them", &self.without_secrets),
        ];
        let said = lines.into_iter().filter(|(_, names)| !names.is_empty());
        said.map(|(words, names)| (words, names.join(", "))).collect()
    }
}

/// The form as it was sent.
pub(crate) struct Wish {
    text: String,
    format: FileFormat,
    pub(crate) overwrites: bool,
}

impl Wish {
    pub(crate) fn of(form: &Form) -> Wish {
        let format = FileFormat::ALL.into_iter().find(|format| Some(format.as_str()) == form.text("format"));
        Wish {
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
pub(crate) fn tell(
    shell: Shell,
    what: &'static Imported,
    wish: &Wish,
    ended: Result<Done, String>,
) -> Result<Response, Refusal> {
    let (status, problem, done) = match ended {
        Ok(done) => (StatusCode::OK, None, Some(done)),
        Err(words) => (StatusCode::UNPROCESSABLE_ENTITY, Some(words), None),
    };
    let (format, overwrites) = (wish.format, wish.overwrites);
    html(status, &ImportPage { shell, what, format, overwrites, problem, done })
}
