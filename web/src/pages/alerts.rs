//! `/alerts`: alerts that were sent, and those that could not be delivered. The filter is in the query.

use super::filters::Filters;
use super::turned::Turned;
use super::{Shell, html, see_other};
use crate::api::alerts::{problem_of, send_again};
use crate::auth::Role;
use crate::extract::{Actor, Form, Query};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::alert::{AlertKind, AlertState, message, path};
use orch_store::alert::{ALERTS, AlertRow, by};
use orch_store::list::Column;

#[derive(Template)]
#[template(path = "pages/alerts.html")]
struct AlertsPage {
    shell: Shell,
    lines: Vec<ListedAlert>,
    filter: Filter,
    filters: Filters,
    states: &'static [&'static str],
    kinds: &'static [&'static str],
    before: Option<String>,
    after: Option<String>,
}

/// Values of the query parameters.
struct Filter {
    state: String,
    kind: String,
    dag: String,
    run: String,
    task: String,
}

struct ListedAlert {
    id: i64,
    at: String,
    ago: parts::Ago,
    words: String,
    reason: String,
    href: Option<String>,
    over: String,
    sign: parts::State,
    state: String,
    problem: String,
    may_be_sent: bool,
}

/// Query parameters that the page reads itself instead of as column filters.
pub(crate) const OWN: &[&str] = &["state", "kind"];
const OF_A_PAGE: i64 = 50;
const MOST_WORDS: usize = 300;

pub(crate) async fn show(State(app): State<App>, shell: Shell, mut query: Query) -> Result<Response, Refusal> {
    let turned = Turned::to(&mut query, OF_A_PAGE);
    let text = |name: &str| query.text(name).unwrap_or_default().trim().to_string();
    let filter =
        Filter { state: text("state"), kind: text("kind"), dag: text("dag"), run: text("run"), task: text("task") };
    let said = |text: &str, column: Column| (!text.is_empty()).then(|| column.is(text));
    let (search, filters) = Filters::read(query, ALERTS.columns, OWN, shell.now)?;
    let search = search
        .and(filter.state.parse::<AlertState>().ok().map(|state| by::STATE.is(state.as_str())))
        .and(filter.kind.parse::<AlertKind>().ok().map(|kind| by::KIND.is(kind.as_str())))
        .and(said(&filter.dag, by::DAG_ID))
        .and(said(&filter.run, by::RUN_ID))
        .and(said(&filter.task, by::TASK_ID));
    let mut rows = ALERTS.rows(&mut *app.pages().await?, &search.page(turned.skip(), turned.most())).await?;
    let (before, after) = turned.cut(&mut rows, |page| format!("/alerts?page={page}{}", filters.rest(&[])));
    let lines = rows.into_iter().map(|row| line(row, &shell)).collect();
    html(
        StatusCode::OK,
        &AlertsPage {
            shell,
            lines,
            filter,
            filters,
            states: AlertState::WORDS,
            kinds: AlertKind::WORDS,
            before,
            after,
        },
    )
}

/// `POST /alerts/retry`: sends an alert immediately.
pub(crate) async fn retry(State(app): State<App>, actor: Actor, form: Form) -> Result<Response, Refusal> {
    let id = form.text("id").unwrap_or_default().parse().map_err(|_| Refusal::bad_request("which alert?"))?;
    send_again(&app, &actor, id).await?;
    Ok(see_other("/alerts"))
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.pairs().iter().all(|(_, value)| value.is_empty())
    }

    fn pairs(&self) -> [(&'static str, &str); 5] {
        [("state", &self.state), ("kind", &self.kind), ("dag", &self.dag), ("run", &self.run), ("task", &self.task)]
    }
}

fn line(row: AlertRow, shell: &Shell) -> ListedAlert {
    let plain = orch_spec::Notifier::default();
    let said = message((&row.key, row.kind), &plain, &row.facts, (row.run_id.as_deref(), row.logical_date), row.at);
    let href =
        (row.dag_id.is_some() || row.facts.stream.is_some()).then(|| path(row.kind, &row.facts, row.run_id.as_deref()));
    let (sign, state) = match row.state {
        AlertState::Sent => ("success", "sent".to_string()),
        AlertState::Failed => ("failed", "given up".into()),
        AlertState::Waiting if row.tries == 0 => ("queued", "waiting".into()),
        AlertState::Waiting => ("up_for_retry", format!("tried {}", parts::counted(row.tries, "time"))),
    };
    let problem = problem_of(&row, shell.can(Role::Admin));
    ListedAlert {
        id: row.id,
        at: shell.now.exactly(row.at),
        ago: parts::ago(row.at, shell.now),
        words: parts::cut(said.subject, MOST_WORDS),
        reason: parts::cut(row.facts.reason, MOST_WORDS),
        href,
        over: row.notifier.connection,
        sign: parts::bare(sign),
        state,
        problem: parts::cut(problem.unwrap_or_default(), MOST_WORDS),
        may_be_sent: row.state != AlertState::Sent,
    }
}
