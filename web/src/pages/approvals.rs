//! `/approvals`: open approvals that the user may answer, other open approvals, and closed ones.

pub(crate) mod answer;

use super::filters::Filters;
use super::home::task_href;
use super::turned::Turned;
use super::{Shell, encoded, html};
use crate::extract::Query;
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_spec::approval::{Person, Question};
use orch_store::approval::{APPROVALS, ApprovalRow, OpenQuestion, Stand, by, open_questions};
use sqlx::PgConnection;

#[derive(Template)]
#[template(path = "pages/approvals.html")]
struct ApprovalsPage {
    shell: Shell,
    mine: Vec<ListedApproval>,
    others: Vec<ListedApproval>,
    ended: Vec<ListedApproval>,
    filters: Filters,
    before: Option<String>,
    after: Option<String>,
}

struct ListedApproval {
    href: String,
    subject: String,
    task: String,
    task_href: String,
    at: String,
    ago: parts::Ago,
    sign: parts::State,
    state: String,
    note: String,
}

/// Maximum number of open approvals read for one page.
const MOST_OPEN: i64 = 500;
const OF_A_PAGE: i64 = 50;
const MOST_WORDS: usize = 200;

pub(crate) async fn show(State(app): State<App>, shell: Shell, mut query: Query) -> Result<Response, Refusal> {
    let turned = Turned::to(&mut query, OF_A_PAGE);
    let (search, filters) = Filters::read(query, APPROVALS.columns, &[], shell.now)?;
    let filters = filters.alone();
    let mut db = app.pages().await?;
    let are = |open: bool| search.clone().and(by::OPEN.is_so(open));
    let open = APPROVALS.rows(&mut db, &are(true).page(0, MOST_OPEN)).await?;
    let mut ended = APPROVALS.rows(&mut db, &are(false).page(turned.skip(), turned.most())).await?;
    drop(db);
    let (before, after) = turned.cut(&mut ended, |page| format!("/approvals?page={page}{}", filters.rest(&[])));
    let (mine, others): (Vec<ApprovalRow>, Vec<ApprovalRow>) =
        open.into_iter().partition(|row| may_answer(&row.question, &shell));
    let lines = |rows: &[ApprovalRow]| rows.iter().map(|row| line(row, &shell)).collect::<Vec<_>>();
    let (mine, others, ended) = (lines(&mine), lines(&others), lines(&ended));
    html(StatusCode::OK, &ApprovalsPage { shell, mine, others, ended, filters, before, after })
}

/// Returns the open approvals that the user may answer, newest first.
pub(crate) async fn waiting_for(db: &mut PgConnection, shell: &Shell) -> Result<Vec<OpenQuestion>, Refusal> {
    let open = open_questions(db, MOST_OPEN).await?;
    Ok(open.into_iter().filter(|open| may_answer(&open.question, shell)).collect())
}

/// Returns true for assigned users, or without an assignment for users who may start runs.
fn may_answer(question: &Question, shell: &Shell) -> bool {
    let Some(user) = &shell.user else { return false };
    question.asks(Person { name: &user.name, may_start_runs: shell.can_run() }).is_ok()
}

fn line(row: &ApprovalRow, shell: &Shell) -> ListedApproval {
    let (sign, state) = stand(row);
    let note = match (row.stand, row.give_up_at) {
        (Stand::Open, Some(at)) => format!("until {}", shell.now.exactly(at)),
        (Stand::Open, None) => String::new(),
        _ => row.ended_at.map(|at| shell.now.exactly(at)).unwrap_or_default(),
    };
    ListedApproval {
        href: format!("/approvals/{}", row.attempt),
        subject: parts::cut(row.question.subject.clone(), MOST_WORDS),
        task: format!("{} of {}", row.task_id, row.dag_id),
        task_href: task_href(&run_href(row), &row.task_id, row.map_index),
        at: shell.now.exactly(row.asked_at),
        ago: parts::ago(row.asked_at, shell.now),
        sign: parts::bare(sign),
        state,
        note,
    }
}

fn run_href(row: &ApprovalRow) -> String {
    format!("{}/runs/{}", parts::dag_href(&row.dag_id), encoded(&row.run_id))
}

/// Returns the state whose icon represents the approval, and its status as text.
fn stand(row: &ApprovalRow) -> (&'static str, String) {
    let chosen = row.given.as_ref().map(|given| given.chosen_options.join(", ")).unwrap_or_default();
    match (row.stand, &row.given_by) {
        (Stand::Open, _) if row.question.assigned_users.is_empty() => ("awaiting_input", "open".into()),
        (Stand::Open, _) => ("awaiting_input", format!("asks {}", row.question.assigned_users.join(", "))),
        (Stand::TimedOut, _) if row.given.is_some() => ("success", format!("no answer in time: {chosen}")),
        (Stand::TimedOut, _) => ("failed", "no answer in time".into()),
        (Stand::TakenBack, _) => ("skipped", "taken back".into()),
        (Stand::Answered, Some(name)) => ("success", format!("{name}: {chosen}")),
        (Stand::Answered, None) => ("success", chosen),
    }
}
