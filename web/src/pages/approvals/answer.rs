//! `/approvals/{approval_id}`: an approval with the form that answers it. Errors are shown next to their fields, and
//! typed values are kept.

use super::{may_answer, run_href, stand};
use crate::api::hitl::{give, is_asked};
use crate::extract::{Actor, Form, Names};
use crate::pages::dag::trigger::fields::{Field, Input as FieldInput, complain, fields, typed};
use crate::pages::home::task_href;
use crate::pages::{Shell, html, see_other};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_spec::approval::ApprovalInput;
use orch_spec::params::{violations, with_defaults};
use orch_store::approval::{ApprovalRow, Stand, approval};
use serde_json::{Map, Value};
use uuid::Uuid;

#[derive(Template)]
#[template(path = "pages/approvals/answer.html")]
struct AnswerPage {
    shell: Shell,
    subject: String,
    task: String,
    task_href: String,
    run: String,
    run_href: String,
    asked: String,
    ago: parts::Ago,
    until: Option<String>,
    /// Consequence if the approval is not answered in time.
    otherwise: String,
    sign: parts::State,
    state: String,
    given: Vec<(String, String)>,
    asks: AnswerForm,
}

/// Form that answers an approval, also shown on the page of its task.
pub(crate) struct AnswerForm {
    pub(crate) id: Uuid,
    pub(crate) body: Option<parts::Markdown>,
    /// Users who may answer, as text.
    pub(crate) of: String,
    /// Each option with whether it is selected.
    pub(crate) options: Vec<(String, bool)>,
    pub(crate) multiple: bool,
    pub(crate) fields: Vec<Field>,
    pub(crate) problems: Vec<String>,
    pub(crate) is_open: bool,
    pub(crate) may_answer: bool,
}

impl AnswerForm {
    /// Builds the form with the default options selected.
    pub(crate) fn new(row: &ApprovalRow, shell: &Shell) -> AnswerForm {
        let chosen = row.question.defaults.clone().unwrap_or_default();
        let fields = fields(&row.question.params, &Map::new());
        AnswerForm::with(row, shell, &chosen, fields, Vec::new())
    }

    fn with(
        row: &ApprovalRow,
        shell: &Shell,
        chosen: &[String],
        fields: Vec<Field>,
        problems: Vec<String>,
    ) -> AnswerForm {
        let question = &row.question;
        AnswerForm {
            id: row.attempt,
            body: parts::markdown(question.body.as_deref().unwrap_or_default()),
            of: match question.assigned_users.as_slice() {
                [] => "anyone who may start runs".into(),
                users => users.join(", "),
            },
            options: question.options.iter().map(|option| (option.clone(), chosen.contains(option))).collect(),
            multiple: question.multiple,
            fields,
            problems,
            is_open: row.stand == Stand::Open,
            may_answer: may_answer(&row.question, shell),
        }
    }

    /// Returns true if the options are inputs. Otherwise each option is a separate button.
    pub(crate) fn has_choices(&self) -> bool {
        self.options.len() > 1 && (self.multiple || !self.fields.is_empty())
    }
}

async fn find(app: &App, names: &Names) -> Result<ApprovalRow, Refusal> {
    let id = names.get("approval_id");
    let missing = || Refusal::not_found(format!("there is no question `{id}`"));
    let attempt: Uuid = id.parse().map_err(|_| missing())?;
    approval(&mut *app.pages().await?, attempt).await?.ok_or_else(missing)
}

pub(crate) async fn show(State(app): State<App>, shell: Shell, names: Names) -> Result<Response, Refusal> {
    let row = find(&app, &names).await?;
    let asks = AnswerForm::new(&row, &shell);
    page(shell, &row, StatusCode::OK, asks)
}

pub(crate) async fn post(
    State(app): State<App>,
    shell: Shell,
    actor: Actor,
    names: Names,
    form: Form,
) -> Result<Response, Refusal> {
    let row = find(&app, &names).await?;
    is_asked(&actor, &row)?;
    let chosen: Vec<String> = form.all("option").map(String::from).collect();
    let input = typed(&row.question.params, &form);
    let mut shown = fields(&row.question.params, &input);
    let filled = with_defaults(&row.question.params, &Value::Object(input.clone()));
    let wrong = violations(&row.question.params, &filled);
    let is_wrong = !wrong.is_empty() && row.question.params.is_object() && row.stand == Stand::Open;
    if is_wrong || chosen.is_empty() {
        let mut problems = if is_wrong { complain(&mut shown, &wrong) } else { Vec::new() };
        if chosen.is_empty() {
            problems.push("Nothing is chosen.".into());
        }
        let asks = AnswerForm::with(&row, &shell, &chosen, shown, problems);
        return page(shell, &row, StatusCode::BAD_REQUEST, asks);
    }
    give(&app, &actor, &row, ApprovalInput { chosen_options: chosen, params_input: input }).await?;
    Ok(see_other(&format!("/approvals/{}", row.attempt)))
}

fn page(shell: Shell, row: &ApprovalRow, status: StatusCode, asks: AnswerForm) -> Result<Response, Refusal> {
    let (sign, state) = stand(row);
    let typed_in = row.given.iter().flat_map(|given| &given.params_input);
    let words = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let page = AnswerPage {
        subject: row.question.subject.clone(),
        task: row.task_id.clone(),
        task_href: task_href(&run_href(row), &row.task_id, row.map_index),
        run_href: run_href(row),
        run: format!("{} of {}", row.run_id, row.dag_id),
        asked: shell.now.exactly(row.asked_at),
        ago: parts::ago(row.asked_at, shell.now),
        until: row.give_up_at.map(|at| shell.now.exactly(at)),
        otherwise: match (&row.give_up_at, &row.question.defaults) {
            (None, _) => String::new(),
            (Some(_), Some(defaults)) => format!("{} is taken", defaults.join(", ")),
            (Some(_), None) => "the task fails".into(),
        },
        sign: parts::bare(sign),
        state,
        given: typed_in.map(|(name, value)| (name.clone(), words(value))).collect(),
        asks,
        shell,
    };
    html(status, &page)
}
